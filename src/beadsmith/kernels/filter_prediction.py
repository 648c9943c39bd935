"""Energies and pair gradients of a whole SchNet without a graph, compiled by numba: what molecular dynamics calls.

What a site sends in later interactions, and what it hands to the output network, is linear in its activations
h_k = act(R_k y_k + c_k), k = 0 … L−1. The matrices in between are multiplied beforehand ("folded"), so that features
never exist: with z_m what sites send in interaction m, and o the input of the output network's first activation,

z_m = z_m(type) + Σ_{k<m} T_km h_k,  o = o(type) + Σ_k O_k h_k.

One block of sites at a time goes through a sum over neighbours and all that follows on these sites, while it is in the
cache; no sweep allocates more than a block. The readable twin is `beadsmith.networks.schnet.Schnet.forward`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.activations import activate_
from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled

BLOCK = 32
"""Sites that go through the layers together."""


@compiled
def _sum_(pairs, table, sent, at, n, sums):
    """Fill y_ia = Σ_j W_a(r_ij) z_ja of n sites from site `at` on; row 0 of `sums` is the first of them."""
    offsets, sources, starts, weights = pairs
    width = sums.shape[1]
    for i in range(n):
        first, last = offsets[at + i], offsets[at + i + 1]
        for a in range(width):
            sums[i, a] = 0.0
        if (last - first) % 2 == 1:
            j, k = sources[first], starts[first]
            w0, w1, w2, w3 = weights[first, 0], weights[first, 1], weights[first, 2], weights[first, 3]
            for a in range(width):
                filter_a = w0 * table[k, a] + w1 * table[k + 1, a] + w2 * table[k + 2, a] + w3 * table[k + 3, a]
                sums[i, a] = filter_a * sent[j, a]
            first += 1
        # two neighbours at a time: the sums are loaded and stored half as often
        for p in range(first, last, 2):
            j, k = sources[p], starts[p]
            m, q = sources[p + 1], starts[p + 1]
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            v0, v1, v2, v3 = weights[p + 1, 0], weights[p + 1, 1], weights[p + 1, 2], weights[p + 1, 3]
            for a in range(width):
                one = w0 * table[k, a] + w1 * table[k + 1, a] + w2 * table[k + 2, a] + w3 * table[k + 3, a]
                other = v0 * table[q, a] + v1 * table[q + 1, a] + v2 * table[q + 2, a] + v3 * table[q + 3, a]
                sums[i, a] += one * sent[j, a] + other * sent[m, a]


@compiled
def advance(pairs, table, sent, layers, kind, types, k, memory, start, stop):
    """Apply interaction k to the sites from `start` to `stop`.

    Parameters
    ----------
    pairs : Start of each site's row, row of `sent` of each neighbour, first row in the table and weights of each pair.
    table, sent : Filters (rows, filters), and what is sent, by site or by type.
    layers : R_k (filters, features) and c_k; T_km (targets, features, filters) and O_k (features, outputs); z_m(type)
        (targets, types, filters) and o(type) (types, outputs). All widths are multiples of a vector's length.
    kind : Number of the activation function.
    memory : Slopes of the activations (interactions, sites, features), z_m (targets, sites, filters), o.
    """
    receive, bias, onward, outward, onward_constants, outward_constants = layers
    slopes, later, outputs = memory
    n_sites, n_filters, n_features, n_outputs = len(types), receive.shape[0], receive.shape[1], outward.shape[1]
    sums, values = np.empty((BLOCK, n_filters), table.dtype), np.empty((BLOCK, n_features), table.dtype)
    flat, flat_slopes = values.reshape(-1), slopes[k].reshape(-1)
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        _sum_(pairs, table, sent, at, n, sums)
        for i in range(n):
            for a in range(n_features):
                values[i, a] = bias[a]
        multiply_((values, 0, n_features), (sums, 0, n_filters, 1), (receive, 0, n_features), (n, n_filters, n_features), False)
        activate_(kind, flat[: n * n_features], flat_slopes[at * n_features : (at + n) * n_features])
        if k == 0:
            for i in range(at, at + n):
                for m in range(later.shape[0]):
                    for a in range(n_filters):
                        later[m, i, a] = onward_constants[m, types[i], a]
                for a in range(n_outputs):
                    outputs[i, a] = outward_constants[types[i], a]
        left = (values, 0, n_features, 1)
        for m in range(k, later.shape[0]):
            result = (later, (m * n_sites + at) * n_filters, n_filters)
            right = (onward, m * n_features * n_filters, n_filters)
            multiply_(result, left, right, (n, n_features, n_filters), False)
        multiply_((outputs, at * n_outputs, n_outputs), left, (outward, 0, n_outputs), (n, n_features, n_outputs), False)


@compiled
def _adjoint_(pairs, table, sent, on_sums, at, n, on_sent, by_distance):
    """Fill dE/dz_ia = Σ_j W_a(r_ij) g_ja of n sites from site `at` on, and add dE/dr of their pairs; g is dE/dy."""
    offsets, sources, starts, weights = pairs
    zero = table.dtype.type(0.0)
    width = on_sent.shape[1]
    for i in range(at, at + n):
        for a in range(width):
            on_sent[i, a] = zero
        for p in range(offsets[i], offsets[i + 1]):
            j, k = sources[p], starts[p]
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            total = zero
            for a in range(width):
                c0, c1, c2, c3 = table[k, a], table[k + 1, a], table[k + 2, a], table[k + 3, a]
                on_sent[i, a] += (w0 * c0 + w1 * c1 + w2 * c2 + w3 * c3) * on_sums[j, a]
                total += (s0 * c0 + s1 * c1 + s2 * c2 + s3 * c3) * (on_sums[i, a] * sent[j, a])
            by_distance[p] += total


@compiled
def retreat(pairs, table, layers, k, memory, buffers, start, stop):
    """Go back through interaction k for the sites from `start` to `stop`, after the sums of the next one.

    Parameters
    ----------
    pairs, table : Pairs and filters of interaction k + 1, as in `advance`.
    layers : R_k, T_km and O_k transposed.
    memory : Slopes of the activations, z_m and dE/do.
    buffers : dE/dz_m, dE/dy_{k+1}, dE/dy_k (is filled) and dE/dr (grows).
    """
    receive, onward, outward = layers
    slopes, later, on_outputs = memory
    on_later, on_next, on_sums, by_distance = buffers
    n_sites, n_outputs = on_outputs.shape
    n_features, n_filters = receive.shape
    adjoint = np.empty((BLOCK, n_features), table.dtype)
    for at in range(start, stop, BLOCK):
        n = min(BLOCK, stop - at)
        if k < later.shape[0]:
            _adjoint_(pairs, table, later[k], on_next, at, n, on_later[k], by_distance)
        shape = (n, n_outputs, n_features)
        multiply_((adjoint, 0, n_features), (on_outputs, at * n_outputs, n_outputs, 1), (outward, 0, n_features), shape, True)
        for m in range(k, later.shape[0]):
            left = (on_later, (m * n_sites + at) * n_filters, n_filters, 1)
            right = (onward, m * n_filters * n_features, n_features)
            multiply_((adjoint, 0, n_features), left, right, (n, n_filters, n_features), False)
        for i in range(n):
            for a in range(n_features):
                adjoint[i, a] *= slopes[k, at + i, a]
        result = (on_sums, at * n_filters, n_filters)
        multiply_(result, (adjoint, 0, n_features, 1), (receive, 0, n_filters), (n, n_features, n_filters), True)


@compiled
def write_gradient(pairs, table, sent, on_sums, by_distance, chosen, units, start, stop, gradient):
    """Write dE/d(pair vectors) of the pairs of the sites from `start` to `stop`, after the sums of interaction 0."""
    offsets, sources, starts, weights = pairs
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j, k, q = sources[p], starts[p], chosen[p]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            total = by_distance[p]
            for a in range(table.shape[1]):
                slope = s0 * table[k, a] + s1 * table[k + 1, a] + s2 * table[k + 2, a] + s3 * table[k + 3, a]
                total += slope * (on_sums[i, a] * sent[j, a])
            gradient[q, 0], gradient[q, 1], gradient[q, 2] = total * units[p, 0], total * units[p, 1], total * units[p, 2]
