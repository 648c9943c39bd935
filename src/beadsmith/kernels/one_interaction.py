"""Energies and pair gradients of a HIP-NN-TS network with one interaction, in one sweep compiled by numba.

With one interaction a site's energy depends on its own row of neighbours alone, so each site goes through sums, layers,
the adjoint of the layers and the adjoint of the sums while everything stays in the nearest cache. Nothing is
differentiated automatically; the plain-torch twin is `beadsmith.energy.AbstractNetwork.pair_gradient`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.rows import (
    add_product_,
    compiled,
    evaluate,
    exp_of_negative,
    load_row,
    row_width,
    write_gradient,
)


@compiled
def predict_sites(rows, radial_functions, interaction, layers, readout):
    """Return weighted site energies and dE/dv of each pair.

    Parameters (tuples of arrays of one precision)
    ----------
    rows : offsets (sites + 1), vectors (pairs, 3), type of each pair's second site (pairs), type of each site.
    radial_functions : c_ν, w_ν, cutoff.
    interaction : V as (types × functions, features) and its transpose, t (l_max, features), ε, and for each type
        what enters the interaction and what bypasses it, (types, features).
    layers : matrices (1 + 2 n_atom_layers, features, features) as out × in, the same transposed, biases.
    readout : row vector of each site (sites, features), constant energy of each site.
    """
    offsets, vectors, _, site_kinds = rows
    n_kinds, n_functions, n_features = interaction[4].shape[0], radial_functions[0].shape[0], layers[0].shape[1]
    n_components, n_rows = (1, 4, 9)[interaction[2].shape[0]], n_kinds * n_functions
    dtype, width = vectors.dtype, row_width(offsets)
    energies, gradient = np.empty(len(site_kinds), dtype), np.zeros(vectors.shape, dtype)
    # one array each: numba loses track of the memory layout when it unpacks a larger one
    row_memory = (
        np.empty((n_kinds, 2), np.int64),
        np.empty((n_kinds, width), np.int64),
        np.empty((n_kinds, 3, width), dtype),
        np.empty((n_kinds, 9, width), dtype),
        np.empty((n_rows, width), dtype),
        np.empty((n_rows, width), dtype),
    )
    spread_memory = (np.empty(width, dtype), np.empty(width, dtype), np.empty((9, width), dtype))
    layer_memory = (
        np.empty((n_components, n_features), dtype),
        np.empty((2, n_features), dtype),
        np.empty((len(layers[0]) // 2 + 1, n_features), dtype),
        np.empty(n_features, dtype),
        np.empty(n_features, dtype),
    )
    sums = np.empty((n_components, n_rows), dtype)
    for i in range(len(site_kinds)):
        _sum_(sums, i, rows, radial_functions, row_memory)
        energies[i] = readout[1][i] + _apply_layers_(
            sums, site_kinds[i], interaction, layers, readout[0][i], layer_memory
        )
        _spread_(sums, gradient, row_memory, spread_memory)
    return energies, gradient


@compiled
def _sum_(sums, site, rows, radial_functions, memory):
    """Fill the sums of one site, and keep its rows and its radial functions in memory."""
    offsets, vectors, kinds, _ = rows
    centres, weights, cutoff = radial_functions
    lengths, chosen, radial, angular, values, slopes = memory
    n_functions = centres.shape[0]
    for t in range(lengths.shape[0]):
        kind = t if lengths.shape[0] > 1 else -1
        n, padded = load_row(
            vectors, kinds, kind, offsets[site], offsets[site + 1], cutoff, chosen[t], radial[t], angular[t]
        )
        lengths[t, 0], lengths[t, 1] = n, padded
        for k in range(n_functions):
            row = t * n_functions + k
            evaluate(radial[t], padded, centres[k], weights[k], values[row], slopes[row])
            for m in range(sums.shape[0]):
                total = vectors.dtype.type(0.0)
                for q in range(padded):
                    total += values[row, q] * angular[t, m, q]
                sums[m, row] = total


@compiled
def _apply_layers_(sums, kind, interaction, layers, vector, memory):
    """Return the energy of one site less its constant, and replace its sums by the derivatives with respect to them."""
    mixing, mixing_transposed, scales, cusp, start, shortcut = interaction
    matrices, transposed, biases = layers
    tensors, factors, slopes, features, inner = memory
    n_inner, n_features = slopes.shape[0], features.shape[0]
    for m in range(sums.shape[0]):
        for a in range(n_features):
            tensors[m, a] = 0.0
        add_product_(tensors[m], mixing, sums[m])
    for a in range(n_features):
        inner[a] = tensors[0, a] + start[kind, a]
        features[a] = shortcut[kind, a] + biases[0, a]
    _add_norms_(inner, tensors, scales, cusp, factors)
    _softplus_(inner, slopes[0])
    add_product_(features, transposed[0], inner)
    for layer in range(1, n_inner):
        for a in range(n_features):
            inner[a] = biases[2 * layer - 1, a]
        add_product_(inner, transposed[2 * layer - 1], features)
        _softplus_(inner, slopes[layer])
        for a in range(n_features):
            features[a] += biases[2 * layer, a]
        add_product_(features, transposed[2 * layer], inner)
    energy = sums.dtype.type(0.0)
    for a in range(n_features):
        energy += vector[a] * features[a]
        # the way back: from here on `features` and `inner` hold derivatives of the energy
        features[a] = vector[a]
    for layer in range(n_inner - 1, -1, -1):
        for a in range(n_features):
            inner[a] = 0.0
        add_product_(inner, matrices[2 * layer], features)
        for a in range(n_features):
            inner[a] *= slopes[layer, a]
        if layer > 0:
            add_product_(features, matrices[2 * layer - 1], inner)
    _differentiate_norms_(tensors, inner, factors)
    for m in range(sums.shape[0]):
        for row in range(sums.shape[1]):
            sums[m, row] = 0.0
        add_product_(sums[m], mixing_transposed, tensors[m])
    return energy


@compiled
def _spread_(adjoint, gradient, row_memory, memory):
    """Write dE/dv of the pairs of one site from the derivatives with respect to its sums."""
    lengths, chosen, radial, angular, values, slopes = row_memory
    along, factor, across = memory
    n_functions = values.shape[0] // lengths.shape[0]
    for t in range(lengths.shape[0]):
        n, padded = lengths[t, 0], lengths[t, 1]
        for q in range(padded):
            along[q] = 0.0
            for m in range(9):
                across[m, q] = 0.0
        for row in range(t * n_functions, (t + 1) * n_functions):
            for q in range(padded):
                factor[q] = adjoint[0, row]
            for m in range(1, adjoint.shape[0]):
                g = adjoint[m, row]
                for q in range(padded):
                    factor[q] += g * angular[t, m, q]
                    across[m, q] += g * values[row, q]
            for q in range(padded):
                along[q] += factor[q] * slopes[row, q]
        write_gradient(n, chosen[t], radial[t], angular[t], along, across, gradient)


@compiled
def _softplus_(values, slopes):
    """Replace values by softplus = log(1 + exp) and fill its slopes; exact to rounding, without branches."""
    real = values.dtype.type
    one, two, zero = real(1.0), real(2.0), real(0.0)
    for a in range(values.shape[0]):
        slopes[a] = exp_of_negative(-abs(values[a]))
    for a in range(values.shape[0]):
        x, y = values[a], slopes[a]
        slopes[a] = (one if x >= zero else y) / (one + y)
        # log(1 + y) = 2 atanh(t), t = y / (2 + y) ≤ 1/3: 17 terms leave less than one rounding of float64
        t = y / (two + y)
        square, series = t * t, zero
        for n in range(33, 0, -2):
            series = series * square + real(1.0 / n)
        values[a] = (x if x >= zero else zero) + two * t * series


@compiled
def _add_norms_(total, tensors, scales, cusp, factors):
    """Add Σ_l t^l √(|E^l|² + ε) and fill `factors` with t^l / √(|E^l|² + ε)."""
    two = total.dtype.type(2.0)
    if scales.shape[0] >= 1:
        for a in range(total.shape[0]):
            x, y, z = tensors[1, a], tensors[2, a], tensors[3, a]
            norm = np.sqrt(x * x + y * y + z * z + cusp)
            total[a] += scales[0, a] * norm
            factors[0, a] = scales[0, a] / norm
    if scales.shape[0] >= 2:
        for a in range(total.shape[0]):
            xx, xy, xz, yy, yz = tensors[4, a], tensors[5, a], tensors[6, a], tensors[7, a], tensors[8, a]
            norm = np.sqrt(two * (xx * xx + xy * xy + xz * xz + yy * yy + yz * yz + xx * yy) + cusp)
            total[a] += scales[1, a] * norm
            factors[1, a] = scales[1, a] / norm


@compiled
def _differentiate_norms_(tensors, adjoint, factors):
    """Replace tensors by the derivatives with respect to them; `adjoint` belongs to the sum of norms."""
    two = adjoint.dtype.type(2.0)
    for a in range(adjoint.shape[0]):
        tensors[0, a] = adjoint[a]
    if tensors.shape[0] >= 4:
        for m in range(1, 4):
            for a in range(adjoint.shape[0]):
                tensors[m, a] *= adjoint[a] * factors[0, a]
    if tensors.shape[0] >= 9:
        for a in range(adjoint.shape[0]):
            factor = adjoint[a] * factors[1, a]
            xx, yy = tensors[4, a], tensors[7, a]
            tensors[4, a] = factor * (two * xx + yy)
            tensors[7, a] = factor * (two * yy + xx)
            tensors[5, a] *= two * factor
            tensors[6, a] *= two * factor
            tensors[8, a] *= two * factor
