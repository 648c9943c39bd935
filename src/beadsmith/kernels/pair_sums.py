"""What every network needs per pair and per site besides itself: pair vectors, forces on sites and the virial.

Each is one pass over the pairs in their order, so that results repeat bit for bit. The readable twins are plain torch
(`beadsmith.neighbors.pair_vectors`, and sums by `index_add`), which also serve other devices.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from beadsmith.kernels.rows import compiled


def sum_forces(
    pair_index: Int[Tensor, "2 pairs"], gradient: Float[Tensor, "pairs 3"], n_sites: int
) -> Float[Tensor, "sites 3"]:
    """Return F_i = Σ g(pairs from i) − Σ g(pairs to i), differentiable once by the gradient g."""
    if gradient.device.type != "cpu":
        forces = gradient.new_zeros(n_sites, 3)
        return forces.index_add(0, pair_index[0], gradient).index_add(0, pair_index[1], -gradient)
    return _SumForces.apply(pair_index, gradient, n_sites)


def sum_virial(
    vectors: Float[Tensor, "pairs 3"],
    gradient: Float[Tensor, "pairs 3"],
    pair_index: Int[Tensor, "2 pairs"],
    offsets: Float[Tensor, "sites 3"] | None,
    system_index: Int[Tensor, "sites"],
    n_systems: int,
) -> Float[Tensor, "systems 3 3"]:
    """Return −Σ D ⊗ g of each system [kJ/mol] in float64, not symmetrised and without a graph.

    Parameters
    ----------
    vectors, gradient : Pair vectors [nm] and dE/d(pair vectors) [kJ/mol/nm].
    pair_index : First and second site of each pair.
    offsets : Centre of each site's molecule minus the site [nm]; D = vector + offset_j − offset_i. None for zeros.
    system_index, n_systems : System of each site.
    """
    gradient = gradient.detach()
    if gradient.device.type != "cpu":
        first, second = pair_index
        if offsets is not None:
            vectors = vectors + offsets.index_select(0, second) - offsets.index_select(0, first)
        outer = vectors.double()[:, :, None] * gradient.double()[:, None, :]
        sums = torch.zeros(n_systems, 3, 3, dtype=torch.float64, device=gradient.device)
        return -sums.index_add(0, system_index.index_select(0, first), outer)
    offsets = vectors.new_zeros(0, 3) if offsets is None else offsets
    data = (as_array(tensor) for tensor in (vectors, gradient, pair_index, offsets, system_index))
    return torch.from_numpy(_sum_virial(*data, n_systems))


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor on a CPU as an array without gaps, for a compiled sweep."""
    return tensor.detach().contiguous().numpy()


class _SumForces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pair_index: Tensor, gradient: Tensor, n_sites: int) -> Tensor:
        ctx.save_for_backward(pair_index)
        return torch.from_numpy(_sum_forces(as_array(pair_index), as_array(gradient), n_sites))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        (pair_index,) = ctx.saved_tensors
        return None, adjoint.index_select(0, pair_index[0]) - adjoint.index_select(0, pair_index[1]), None


@compiled
def sum_vectors(positions, system_index, cell, index, shifts):
    """Return ``r_j + shift · cell − r_i`` of each pair; see `beadsmith.neighbors.find_vectors`."""
    vectors = np.empty((index.shape[1], 3), positions.dtype)
    is_periodic = cell.shape[0] > 0
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        for k in range(3):
            vectors[p, k] = positions[j, k] - positions[i, k]
        if is_periodic:
            system = system_index[i]
            for k in range(3):
                shift = shifts[p, 0] * cell[system, 0, k] + shifts[p, 1] * cell[system, 1, k]
                vectors[p, k] += shift + shifts[p, 2] * cell[system, 2, k]
    return vectors


@compiled
def _sum_forces(index, gradient, n_sites):
    forces = np.zeros((n_sites, 3), gradient.dtype)
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        for k in range(3):
            forces[i, k] += gradient[p, k]
            forces[j, k] -= gradient[p, k]
    return forces


@compiled
def _sum_virial(vectors, gradient, index, offsets, system_index, n_systems):
    virial = np.zeros((n_systems, 3, 3), np.float64)
    has_offsets = offsets.shape[0] > 0
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        system = system_index[i]
        for a in range(3):
            distance = np.float64(vectors[p, a])
            if has_offsets:
                distance += np.float64(offsets[j, a]) - np.float64(offsets[i, a])
            for b in range(3):
                virial[system, a, b] -= distance * np.float64(gradient[p, b])
    return virial
