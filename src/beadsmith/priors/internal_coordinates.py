"""Lengths, angles and dihedrals of bonded sites, differentiable: the readable twin of `beadsmith.kernels.bonded`."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch


def measure_coordinates(batch: Batch, index: Int[Tensor, "terms width"]) -> Float[Tensor, "terms"]:
    """Return the length [nm], angle [rad] or dihedral [rad] of each term of two, three or four sites.

    Angles are in 0..π, with the vertex in the middle. Dihedrals are in −π..π with the sign of IUPAC: φ = atan2(
    |b2| b1·(b2 × b3), (b1 × b2)·(b2 × b3)) with b1, b2, b3 the vectors along the four sites. Each vector is the
    shortest image; a term lies inside one molecule, so that its images follow the molecule and not the cell.

    Source: A. Blondel and M. Karplus, J. Comput. Chem. 17, 1132 (1996).
    """
    vectors = [_shortest_vector(batch, index[:, s], index[:, s + 1]) for s in range(index.shape[1] - 1)]
    if len(vectors) == 1:
        return _norm(vectors[0])
    if len(vectors) == 2:
        return torch.atan2(_norm(torch.linalg.cross(-vectors[0], vectors[1])), -_dot(vectors[0], vectors[1]))
    b1, b2, b3 = vectors
    n = torch.linalg.cross(b2, b3)
    sine, cosine = _norm(b2) * _dot(b1, n), _dot(torch.linalg.cross(b1, b2), n)
    # four sites on a line have no dihedral: any value without a slope
    is_straight = (sine.detach() ** 2 + cosine.detach() ** 2) < 1e-300
    return torch.atan2(torch.where(is_straight, 0.0, sine), torch.where(is_straight, 1.0, cosine))


def _shortest_vector(batch: Batch, first: Tensor, second: Tensor) -> Tensor:
    vectors = batch.positions.index_select(0, second) - batch.positions.index_select(0, first)
    if batch.cell is None:
        return vectors
    cell = batch.cell.detach().index_select(0, batch.system_index.index_select(0, first))
    a, b, c = cell.unbind(1)
    # by hand: a captured GPU step may call no solver
    normals = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)
    fractions = (normals * vectors.detach()[:, None, :]).sum(2) / _dot(a, normals[:, 0])[:, None]
    # rounding finds every image shorter than half the smallest distance between faces; bonds are
    return vectors - (torch.round(fractions)[:, None, :] @ cell)[:, 0]


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(1)


def _norm(vectors: Tensor) -> Tensor:
    # its gradient is zero, not undefined, for a vector of no length
    return torch.linalg.vector_norm(vectors, dim=1)
