"""Sums over neighbours that couple features of any degree with spherical harmonics, in plain torch.

The readable twin of the fused sweep in `beadsmith.kernels.mace`. It runs on any device and can be differentiated any
number of times.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.networks.coupling import CouplingPath, coupling, n_path_components
from beadsmith.networks.spherical_harmonics import component_slice

SumCouplings = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""`sum_couplings`, or what takes its place on a GPU."""


def sum_couplings(
    radial: Float[Tensor, "pairs paths channels"],
    matrices: Float[Tensor, "pairs results components"],
    path_of: Int[Tensor, "results"],
    pair_index: Int[Tensor, "2 pairs"],
    features: Float[Tensor, "sites components channels"],
) -> Float[Tensor, "sites results channels"]:
    """Return A[i,ρ,k] = Σ_j R[p,π(ρ),k] Σ_c T[p,ρ,c] h[j,c,k] with the path π of each result ρ."""
    first, second = pair_index
    messages = torch.matmul(matrices, features.index_select(0, second)) * radial.index_select(1, path_of)
    return messages.new_zeros(len(features), *messages.shape[1:]).index_add(0, first, messages)


def tensor_messages(
    radial: Float[Tensor, "pairs paths channels"],
    harmonics: Float[Tensor, "pairs harmonics"],
    pair_index: Int[Tensor, "2 pairs"],
    features: Float[Tensor, "sites components channels"],
    paths: tuple[CouplingPath, ...],
    sum_pairs: SumCouplings = sum_couplings,
) -> Float[Tensor, "sites results channels"]:
    """Return A[i,(p,m3),k] = Σ_j R_pk(r_ij) Σ_{m1 m2} C_{m1 m2 m3} Y_{l2 m2}(n_ij) h[j,l1 m1,k], path after path.

    Parameters
    ----------
    radial : R, one value for each path and channel of each pair.
    harmonics : Y, all degrees up to the highest (see `spherical_harmonics`).
    pair_index : First site i and second site j of each directed pair.
    features : h, all degrees up to the highest, one after the other; channels are contiguous.
    paths : Degrees (l1, l2, l3) of each path; its 2 l3 + 1 results take as many places of the second axis.
    sum_pairs : Does the sum.
    """
    matrices = harmonic_matrices(harmonics, features.shape[1], paths)
    _, path_of = _constants(paths, harmonics.shape[1], features.shape[1], radial.dtype, radial.device)
    return sum_pairs(radial, matrices, path_of, pair_index, features)


def harmonic_matrices(
    harmonics: Float[Tensor, "pairs harmonics"], n_components: int, paths: tuple[CouplingPath, ...]
) -> Float[Tensor, "pairs results components"]:
    """Return T[(p,m3),(l1,m1)] = Σ_m2 C_{m1 m2 m3} Y_{l2 m2}: what turns a neighbour's features into messages."""
    table, _ = _constants(paths, harmonics.shape[1], n_components, harmonics.dtype, harmonics.device)
    return (harmonics @ table.flatten(1)).unflatten(1, table.shape[1:])


@cache
def _constants(
    paths: tuple[CouplingPath, ...], n_harmonics: int, n_components: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return C as (harmonic, result, component of the feature), and the path of each result."""
    table = np.zeros((n_harmonics, n_path_components(paths), n_components))
    start = 0
    for l1, l2, l3 in paths:
        results = slice(start, start + 2 * l3 + 1)
        table[component_slice(l2), results, component_slice(l1)] = coupling(l1, l2, l3).transpose(1, 2, 0)
        start = results.stop
    path_of = [p for p, path in enumerate(paths) for _ in range(2 * path.message_degree + 1)]
    with torch.inference_mode(False):
        return torch.tensor(table, dtype=dtype, device=device), torch.tensor(path_of, device=device)
