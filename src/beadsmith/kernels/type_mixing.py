"""Mixing of the channels of each site with weights of its type, compiled by numba.

y[a,i,:] = x[a,i,:] · W[l(a), type(i)]: a matrix product of one site at a time, all components of one degree together.
The readable twin is `beadsmith.networks.mace_layers.mix_by_type`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from beadsmith.kernels.rows import compiled
from beadsmith.kernels.threads import run_blocks
from beadsmith.kernels.vectors import VECTOR_BYTES, add_outer, count_lanes, load, make_zeros, store_tile, zero_tile

_SMALLEST_BLOCK = 256
"""Sites below which a second thread costs more than it saves."""


@compiled
def _mix_degree_(rows, first, last, degree, types, features, weights, results):
    """Mix one degree, whose components are as many as `rows` has entries."""
    _, n_sites, n_channels = features.shape
    x, w, y = features.reshape(-1), weights.reshape(-1), results.reshape(-1)
    stride = n_sites * n_channels
    for i in range(first, last):
        begin = (degree * weights.shape[1] + types[i]) * n_channels * n_channels
        at = (degree * degree * n_sites + i) * n_channels
        for block in range(0, n_channels, count_lanes(x)):
            tile = zero_tile(x, rows)
            for k in range(n_channels):
                tile = add_outer(tile, load(w, begin + k * n_channels + block), x, at + k, stride)
            store_tile(y, at + block, stride, tile)


@compiled
def mix_sites_(first, last, types, features, weights, results):
    """Fill y of sites `first` to `last` − 1.

    Parameters
    ----------
    first, last : Range of sites.
    types : Type of each site.
    features, results : x and y, (components, sites, channels); channels fill whole vectors.
    weights : W, (degrees, types, channels, channels).
    """
    for degree in range(weights.shape[0]):
        common = (first, last, degree, types, features, weights, results)
        if degree == 0:
            _mix_degree_((0,), *common)
        elif degree == 1:
            _mix_degree_((0, 0, 0), *common)
        elif degree == 2:
            _mix_degree_((0, 0, 0, 0, 0), *common)
        else:
            _mix_degree_((0, 0, 0, 0, 0, 0, 0), *common)


def mix_types(
    features: Float[Tensor, "components sites channels"],
    weights: Float[Tensor, "degrees types channels channels"],
    types: Int[Tensor, "sites"],
) -> Float[Tensor, "components sites channels"]:
    """Return the channels of each degree, mixed with the weights of the site's type; it is not differentiable.

    Parameters
    ----------
    features : Components of degrees 0, 1, … one after the other; as many as `weights` has, up to 3.
    weights, types : What to mix with, and the type of each site.
    """
    n_channels, n_sites = features.shape[2], len(types)
    missing = -n_channels % (VECTOR_BYTES // features.element_size())
    x = functional.pad(features, (0, missing)) if missing else features.contiguous()
    w = functional.pad(weights, (0, missing, 0, missing)) if missing else weights.contiguous()
    results = make_zeros((len(weights) ** 2, n_sites, n_channels + missing), np.dtype(x.numpy().dtype))
    arguments = (types.contiguous().numpy(), x.numpy(), w.numpy(), results)
    n_blocks = max(1, min(torch.get_num_threads(), n_sites // _SMALLEST_BLOCK))
    borders = [n_sites * b // n_blocks for b in range(n_blocks + 1)]
    run_blocks(lambda first, last: mix_sites_(first, last, *arguments), list(itertools.pairwise(borders)))
    return torch.from_numpy(results)[..., :n_channels].contiguous()
