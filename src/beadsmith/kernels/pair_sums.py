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
    """Return −Σ D ⊗ g of each system [kJ/mol] in float64, not symmetrised, differentiable once by the gradient g.

    Parameters
    ----------
    vectors, gradient : Pair vectors [nm] and dE/d(pair vectors) [kJ/mol/nm].
    pair_index : First and second site of each pair.
    offsets : Centre of each site's molecule minus the site [nm]; D = vector + offset_j − offset_i. None for zeros.
    system_index, n_systems : System of each site.
    """
    if gradient.device.type != "cpu":
        first, second = pair_index
        if offsets is not None:
            vectors = vectors + offsets.index_select(0, second) - offsets.index_select(0, first)
        outer = vectors.double()[:, :, None] * gradient.double()[:, None, :]
        sums = torch.zeros(n_systems, 3, 3, dtype=torch.float64, device=gradient.device)
        return -sums.index_add(0, system_index.index_select(0, first), outer)
    offsets = vectors.new_zeros(0, 3) if offsets is None else offsets
    if gradient.requires_grad:
        return _SumVirial.apply(gradient, vectors, pair_index, offsets, system_index, n_systems)
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
        # on one thread: torch would wake all of them, which takes longer than the sweep and waits on a busy machine
        return None, torch.from_numpy(_spread_forces(as_array(pair_index), as_array(adjoint))), None


class _SumVirial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, vectors: Tensor, pair_index: Tensor, offsets: Tensor, system_index: Tensor, n: int
    ) -> Tensor:
        ctx.save_for_backward(vectors, pair_index, offsets, system_index)
        data = (as_array(tensor) for tensor in (vectors, gradient, pair_index, offsets, system_index))
        return torch.from_numpy(_sum_virial(*data, n))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        data = (as_array(tensor) for tensor in ctx.saved_tensors)
        return torch.from_numpy(_spread_virial(as_array(adjoint), *data)), None, None, None, None, None


@compiled
def sum_vectors(positions, system_index, cell, index, shifts):
    """Return ``r_j + shift · cell − r_i`` of each pair; see `beadsmith.neighbors.find_vectors`."""
    vectors = np.empty((index.shape[1], 3), positions.dtype)
    is_periodic = cell.shape[0] > 0
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        x = positions[j, 0] - positions[i, 0]
        y = positions[j, 1] - positions[i, 1]
        z = positions[j, 2] - positions[i, 2]
        if is_periodic:
            a, b, c = shifts[p, 0], shifts[p, 1], shifts[p, 2]
            # most pairs do not cross a face
            if a != 0 or b != 0 or c != 0:
                own = cell[system_index[i]]
                x += a * own[0, 0] + b * own[1, 0] + c * own[2, 0]
                y += a * own[0, 1] + b * own[1, 1] + c * own[2, 1]
                z += a * own[0, 2] + b * own[1, 2] + c * own[2, 2]
        vectors[p, 0], vectors[p, 1], vectors[p, 2] = x, y, z
    return vectors


@compiled
def _sum_forces(index, gradient, n_sites):
    forces = np.zeros((n_sites, 3), gradient.dtype)
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        x, y, z = gradient[p, 0], gradient[p, 1], gradient[p, 2]
        forces[i, 0] += x
        forces[i, 1] += y
        forces[i, 2] += z
        forces[j, 0] -= x
        forces[j, 1] -= y
        forces[j, 2] -= z
    return forces


@compiled
def _spread_forces(index, adjoint):
    spread = np.empty((index.shape[1], 3), adjoint.dtype)
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        spread[p, 0] = adjoint[i, 0] - adjoint[j, 0]
        spread[p, 1] = adjoint[i, 1] - adjoint[j, 1]
        spread[p, 2] = adjoint[i, 2] - adjoint[j, 2]
    return spread


@compiled
def _spread_virial(adjoint, vectors, index, offsets, system_index):
    spread = np.empty_like(vectors)
    has_offsets = offsets.shape[0] > 0
    for p in range(index.shape[1]):
        i, j = index[0, p], index[1, p]
        x, y, z = np.float64(vectors[p, 0]), np.float64(vectors[p, 1]), np.float64(vectors[p, 2])
        if has_offsets:
            x += np.float64(offsets[j, 0]) - np.float64(offsets[i, 0])
            y += np.float64(offsets[j, 1]) - np.float64(offsets[i, 1])
            z += np.float64(offsets[j, 2]) - np.float64(offsets[i, 2])
        own = adjoint[system_index[i]]
        for b in range(3):
            spread[p, b] = -(x * own[0, b] + y * own[1, b] + z * own[2, b])
    return spread


@compiled
def _sum_virial(vectors, gradient, index, offsets, system_index, n_systems):
    virial = np.zeros((n_systems, 3, 3), np.float64)
    has_offsets = offsets.shape[0] > 0
    p, n_pairs = 0, index.shape[1]
    while p < n_pairs:
        # in registers as long as the system is the same
        system = system_index[index[0, p]]
        xx, xy, xz, yx, yy, yz, zx, zy, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        while p < n_pairs and system_index[index[0, p]] == system:
            x, y, z = np.float64(vectors[p, 0]), np.float64(vectors[p, 1]), np.float64(vectors[p, 2])
            if has_offsets:
                i, j = index[0, p], index[1, p]
                x += np.float64(offsets[j, 0]) - np.float64(offsets[i, 0])
                y += np.float64(offsets[j, 1]) - np.float64(offsets[i, 1])
                z += np.float64(offsets[j, 2]) - np.float64(offsets[i, 2])
            to_x, to_y, to_z = np.float64(gradient[p, 0]), np.float64(gradient[p, 1]), np.float64(gradient[p, 2])
            xx += x * to_x
            xy += x * to_y
            xz += x * to_z
            yx += y * to_x
            yy += y * to_y
            yz += y * to_z
            zx += z * to_x
            zy += z * to_y
            zz += z * to_z
            p += 1
        total = virial[system]
        total[0, 0] -= xx
        total[0, 1] -= xy
        total[0, 2] -= xz
        total[1, 0] -= yx
        total[1, 1] -= yy
        total[1, 2] -= yz
        total[2, 0] -= zx
        total[2, 1] -= zy
        total[2, 2] -= zz
    return virial
