"""Energies and pair gradients of a HIP-NN-TS network with one interaction, in one sweep compiled by numba.

With one interaction a site's energy depends on its own row of neighbours alone, so a few sites at a time go through
sums, layers, the adjoint of the layers and the adjoint of the sums while everything stays in the nearest caches.
Nothing is differentiated automatically; the plain-torch twin is `beadsmith.energy.AbstractNetwork.pair_gradient`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.environments import allocate, spread_block_, sum_block_
from beadsmith.kernels.gaussians import evaluate_, evaluate_at_, scale_
from beadsmith.kernels.products import multiply_, take_dots_
from beadsmith.kernels.rows import compiled, load_pairs, longest_row, write_gradient
from beadsmith.kernels.site_layers import BLOCK, allocate_layers, apply_layers_, differentiate_layers_


@compiled
def predict_sites(pairs, functions, interaction, layers, readout, sites, results, start, stop):
    """Fill weighted site energies and dE/dv of each pair for the sites from `start` to `stop`.

    Each site goes the way that has fewer multiplications: sums over the neighbours of each type, or messages of single
    neighbours. Its own number of neighbours decides, so that no bit depends on what else is in a batch.

    Parameters (arrays of one precision; features padded to whole vectors)
    ----------
    pairs, functions : As in `beadsmith.kernels.environments`.
    interaction : V as (types × padded functions, features) and its transpose, V as (types, functions, features), and
        for each type what enters the interaction and what bypasses it, (types, features).
    layers : As in `beadsmith.kernels.site_layers`.
    readout : w (channels, features), and the constant energy of each type in each channel (channels, types).
    sites : type and channel weights (channels) of each site.
    results : Energies, gradient, and the record of `site_layers.apply_layers_` for training or an empty one.
    """
    offsets, n_kinds = pairs[1], interaction[2].shape[0]
    n_sums = n_kinds * (1, 4, 9)[layers[0].shape[0]]
    at = start
    while at < stop:
        has_few = offsets[(at + 1) * n_kinds] - offsets[at * n_kinds] < n_sums
        end = at + 1
        while end < stop and (offsets[(end + 1) * n_kinds] - offsets[end * n_kinds] < n_sums) == has_few:
            end += 1
        if has_few:
            _predict_by_messages(pairs, functions, interaction, layers, readout, sites, results, at, end)
        else:
            _predict_by_sums(pairs, functions, interaction, layers, readout, sites, results, at, end)
        at = end


@compiled
def _predict_by_sums(pairs, functions, interaction, layers, readout, sites, results, start, stop):
    """Sum over the neighbours of each type and mix afterwards: good for many neighbours."""
    order, offsets, vectors = pairs
    mixing, mixing_transposed, _, entering, _ = interaction
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
        sum_block_(pairs, first, last, angular, values, sums, 0, True)
        shape = (n_sites * n_components, n_sums, n_features)
        multiply_((tensors, 0, n_features), (sums, 0, n_sums, 1), (mixing, 0, n_features), shape, True)
        _pass_layers_(first, n_sites, tensors, inner, features, interaction, layers, readout, sites, kept, results)
        shape = (n_sites * n_components, n_features, n_sums)
        multiply_((sums, 0, n_sums), (tensors, 0, n_features, 1), (mixing_transposed, 0, n_sums), shape, True)
        spread_block_(pairs, first, last, memory, more, sums, 0, results[1])


@compiled
def _predict_by_messages(pairs, functions, interaction, layers, readout, sites, results, start, stop):
    """Mix before the sum, in products over all pairs of a block with one type of neighbour: good for few neighbours.

    Nothing of the size components × types × functions is touched.
    """
    order, offsets, vectors = pairs
    weights = interaction[2]
    n_kinds, n_functions, n_features = weights.shape
    padded, dtype = functions[0].shape[0], vectors.dtype
    n_components = (1, 4, 9)[layers[0].shape[0]]
    # products take whole tiles of four rows: what stands in the last ones is never read
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds) + 16
    radial, angular, values, slopes = allocate(width, padded, dtype)
    mixed, change = np.empty((width, n_features), dtype), np.empty((width, n_features), dtype)
    message = np.empty((width, n_features), dtype)
    along, across, rates = np.empty(width, dtype), np.zeros((9, width), dtype), np.empty((9, width), dtype)
    place, starts = np.empty(width, np.int64), np.empty(n_kinds + 1, np.int64)
    tensors = np.empty((BLOCK, n_components, n_features), dtype)
    features, inner = np.empty((BLOCK, n_features), dtype), np.empty((BLOCK, n_features), dtype)
    kept = allocate_layers(BLOCK, n_features, (layers[2].shape[0] // 2 + 1, layers[0].shape[0]), dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        n_sites, begin = last - first, offsets[first * n_kinds]
        _sort_by_kind_(offsets, first, last, n_kinds, place, starts)
        n = load_pairs(vectors, order, begin, offsets[last * n_kinds], functions[4], radial, angular)
        evaluate_at_(functions, order, begin, n, radial, place, values, slopes)
        for t in range(n_kinds):
            s = starts[t]
            shape = ((starts[t + 1] - s + 3) // 4 * 4, n_functions, n_features)
            right = (weights, t * n_functions * n_features, n_features)
            multiply_((mixed, s * n_features, n_features), (values, s * padded, padded, 1), right, shape, True)
            multiply_((change, s * n_features, n_features), (slopes, s * padded, padded, 1), right, shape, True)
        for q in range(n):
            for a in range(n_features):
                message[q, a] = mixed[place[q], a]
        for i in range(n_sites):
            q, end = offsets[(first + i) * n_kinds] - begin, offsets[(first + i + 1) * n_kinds] - begin
            multiply_(
                (tensors, i * n_components * n_features, n_features),
                (angular, q, width, 1),
                (message, q * n_features, n_features),
                (n_components, end - q, n_features),
                True,
            )
        _pass_layers_(first, n_sites, tensors, inner, features, interaction, layers, readout, sites, kept, results)
        for i in range(n_sites):
            left = (tensors, i * n_components * n_features, n_features)
            for q in range(offsets[(first + i) * n_kinds] - begin, offsets[(first + i + 1) * n_kinds] - begin):
                size = (n_components, n_features)
                take_dots_((across, q, width), left, (message, q * n_features), size)
                take_dots_((rates, q, width), left, (change, place[q] * n_features), size)
        for q in range(n):
            along[q] = rates[0, q]
        for m in range(1, n_components):
            for q in range(n):
                along[q] += angular[m, q] * rates[m, q]
        write_gradient(order, begin, n, radial, angular, along, across, results[1])


@compiled
def _sort_by_kind_(offsets, first, last, n_kinds, place, starts):
    """Fill the place of each pair of a block when sorted by the neighbour's type, and where each type starts."""
    begin, n = offsets[first * n_kinds], 0
    for t in range(n_kinds):
        starts[t] = n
        for s in range(first * n_kinds + t, last * n_kinds, n_kinds):
            for q in range(offsets[s] - begin, offsets[s + 1] - begin):
                place[q] = n
                n += 1
    starts[n_kinds] = n


@compiled
def _pass_layers_(first, n, tensors, inner, features, interaction, layers, readout, sites, kept, results):
    """Replace E of n sites by dE/dE and fill their energies."""
    _, _, _, entering, bypassing = interaction
    weights, constants = readout
    kinds, channels = sites
    energies, _, record = results
    for i in range(n):
        kind = kinds[first + i]
        for a in range(features.shape[1]):
            inner[i, a] = entering[kind, a]
            features[i, a] = bypassing[kind, a]
    apply_layers_(0, n, tensors, inner, features, layers, kept, record, first)
    for i in range(n):
        energy = features.dtype.type(0.0)
        for c in range(weights.shape[0]):
            own = constants[c, kinds[first + i]]
            for a in range(features.shape[1]):
                own += weights[c, a] * features[i, a]
            energy += channels[first + i, c] * own
        energies[first + i] = energy
        for a in range(features.shape[1]):
            features[i, a] = channels[first + i, 0] * weights[0, a]
        for c in range(1, weights.shape[0]):
            for a in range(features.shape[1]):
                features[i, a] += channels[first + i, c] * weights[c, a]
    differentiate_layers_(0, n, tensors, inner, features, layers, kept, record, first)
