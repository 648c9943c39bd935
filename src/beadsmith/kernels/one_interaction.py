"""Energies and pair gradients of a HIP-NN-TS network with one interaction, in one sweep compiled by numba.

With one interaction a site's energy depends on its own row of neighbours alone, so a few sites at a time go through
sums, layers, the adjoint of the layers and the adjoint of the sums while everything stays in the nearest caches.
Nothing is differentiated automatically; the plain-torch twin is `beadsmith.energy.AbstractNetwork.pair_gradient`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.environments import allocate, spread_block_, sum_block_
from beadsmith.kernels.gaussians import evaluate_, scale_
from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled, load_pairs, longest_row
from beadsmith.kernels.site_layers import BLOCK, allocate_layers, apply_layers_, differentiate_layers_


@compiled
def predict_sites(pairs, functions, interaction, layers, readout, kinds, energies, gradient, start, stop):
    """Fill weighted site energies and dE/dv of each pair for the sites from `start` to `stop`.

    Parameters (arrays of one precision; functions and features padded to whole vectors)
    ----------
    pairs, functions : As in `beadsmith.kernels.environments`.
    interaction : V as (types × functions, features) and its transpose, and for each type what enters the interaction
        and what bypasses it, (types, features).
    layers : As in `beadsmith.kernels.site_layers`.
    readout : row vector of each site (sites, features), constant energy of each site.
    kinds : type of each site.
    """
    order, offsets, vectors = pairs
    mixing, mixing_transposed, entering, bypassing = interaction
    n_kinds, n_features = entering.shape
    n_functions, n_sums, dtype = functions[0].shape[0], mixing.shape[0], vectors.dtype
    n_components = (1, 4, 9)[layers[0].shape[0]]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    memory = allocate(width, n_functions, dtype)
    radial, angular, values, slopes = memory
    more = np.empty_like(values), np.empty(width, dtype), np.zeros((9, width), dtype)
    sums = np.empty((BLOCK, n_components, n_kinds, n_functions), dtype)
    tensors = np.empty((BLOCK, n_components, n_features), dtype)
    features, inner = np.empty((BLOCK, n_features), dtype), np.empty((BLOCK, n_features), dtype)
    kept = allocate_layers(BLOCK, n_features, (layers[2].shape[0] // 2 + 1, layers[0].shape[0]), dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        n_sites, begin = last - first, offsets[first * n_kinds]
        n = load_pairs(vectors, order, begin, offsets[last * n_kinds], functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        sum_block_(pairs, first, last, angular, values, sums, 0)
        shape = (n_sites * n_components, n_sums, n_features)
        multiply_((tensors, 0, n_features), (sums, 0, n_sums, 1), (mixing, 0, n_features), shape, True)
        for i in range(n_sites):
            for a in range(n_features):
                inner[i, a] = entering[kinds[first + i], a]
                features[i, a] = bypassing[kinds[first + i], a]
        apply_layers_(0, n_sites, tensors, inner, features, layers, kept)
        for i in range(n_sites):
            energy = readout[1][first + i]
            for a in range(n_features):
                energy += readout[0][first + i, a] * features[i, a]
            energies[first + i] = energy
            for a in range(n_features):
                features[i, a] = readout[0][first + i, a]
        differentiate_layers_(0, n_sites, tensors, inner, features, layers, kept)
        shape = (n_sites * n_components, n_features, n_sums)
        multiply_((sums, 0, n_sums), (tensors, 0, n_features, 1), (mixing_transposed, 0, n_sums), shape, True)
        spread_block_(pairs, first, last, memory, more, sums, 0, gradient)
