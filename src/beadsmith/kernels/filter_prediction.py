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
from beadsmith.kernels.vectors import count_lanes, load, load_tile, store, weigh_rows, zero_vector

BLOCK = 32
"""Sites that go through the layers together."""


@compiled
def _sum_(pairs, table, sent, at, n, sums):
    """Fill y_ia = Σ_j W_a(r_ij) z_ja of n sites from site `at` on; row 0 of `sums` is the first of them."""
    offsets, sources, starts, weights = pairs
    width, lanes, rows = sums.shape[1], count_lanes(table), (0, 0, 0, 0)
    for i in range(n):
        first, last = offsets[at + i], offsets[at + i + 1]
        a = 0
        # sums stay in registers, four vectors of them where there are as many
        while a + 4 * lanes <= width:
            one, two, three, four = zero_vector(table), zero_vector(table), zero_vector(table), zero_vector(table)
            b, c, d = a + lanes, a + 2 * lanes, a + 3 * lanes
            for p in range(first, last):
                k, j, w = starts[p] * width, sources[p] * width, 8 * p
                one = one + weigh_rows(load_tile(table, k + a, width, rows), weights, w, 1) * load(sent, j + a)
                two = two + weigh_rows(load_tile(table, k + b, width, rows), weights, w, 1) * load(sent, j + b)
                three = three + weigh_rows(load_tile(table, k + c, width, rows), weights, w, 1) * load(sent, j + c)
                four = four + weigh_rows(load_tile(table, k + d, width, rows), weights, w, 1) * load(sent, j + d)
            store(sums, i * width + a, one)
            store(sums, i * width + b, two)
            store(sums, i * width + c, three)
            store(sums, i * width + d, four)
            a += 4 * lanes
        while a < width:
            total = zero_vector(table)
            for p in range(first, last):
                tile = load_tile(table, starts[p] * width + a, width, rows)
                total = total + weigh_rows(tile, weights, 8 * p, 1) * load(sent, sources[p] * width + a)
            store(sums, i * width + a, total)
            a += lanes


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
        multiply_(
            (values, 0, n_features),
            (sums, 0, n_filters, 1),
            (receive, 0, n_features),
            (n, n_filters, n_features),
            False,
        )
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
        multiply_(
            (outputs, at * n_outputs, n_outputs), left, (outward, 0, n_outputs), (n, n_features, n_outputs), False
        )


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
        multiply_(
            (adjoint, 0, n_features), (on_outputs, at * n_outputs, n_outputs, 1), (outward, 0, n_features), shape, True
        )
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
def write_gradient(pairs, table, sent, on_sums, by_distance, chosen, units, gradient, start, stop):
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
            gradient[q, 0], gradient[q, 1], gradient[q, 2] = (
                total * units[p, 0],
                total * units[p, 1],
                total * units[p, 2],
            )
