"""The one-particle basis of MACE as sweeps over neighbours, compiled by numba.

A[i,(p,m3),k] = Σ_j R_pk(r_ij) Σ_m1 T_{m3 m1}(n_ij) h[j,(l1 m1),k] with T = Σ_m2 C_{m1 m2 m3} Y_{l2 m2}: for each path
p = (l1, l2, l3) and site a product of the small matrices T, which do not depend on the channel, with rows of channels
R h. One path is swept at a time: its rows of the result stay in registers while the neighbours of a site pass. A few
sites take all paths before the next few: what is known of their neighbours stays in the cache.

The derivative by the direction n is taken along two tangents, which need a matrix like T each.
The readable twin is `beadsmith.networks.tensor_sweeps.tensor_messages`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

from beadsmith.kernels.directions import LANES, N_HARMONICS
from beadsmith.kernels.rows import compiled
from beadsmith.kernels.vectors import (
    add_outer,
    add_sums,
    allocate_vectors,
    count_lanes,
    get,
    load,
    load_tile,
    store,
    store_tile,
    weigh_rows,
    zero_tile,
    zero_vector,
)

_SITES = 32
"""Sites that take all paths before the next ones."""


@compiled
def longest_row(first, last, starts):
    """Return the largest number of padded entries of a site."""
    longest = 1
    for i in range(first, last):
        longest = max(longest, starts[i + 1] - starts[i])
    return longest


@compiled
def fill_matrices_(matrices, first, n_elements, coupling, harmonics, n_entries, start, stop):
    """Fill T of a row of neighbours: element e = (m1, m3) of neighbour 16 b + q is at (b · n_elements + e) · 16 + q."""
    firsts, places, values = coupling
    lanes = count_lanes(matrices)
    for q in range(0, stop - start, lanes):
        at = first + q // LANES * n_elements * LANES + q % LANES
        for e in range(n_elements):
            total = zero_vector(matrices)
            for t in range(get(firsts, e), get(firsts, e + 1)):
                total = total + get(values, t) * load(harmonics, get(places, t) * n_entries + start + q)
            store(matrices, at + e * LANES, total)


@compiled
def interpolate(table, at, stride, weights, first):
    """Return Σ_a weights[first + a] · table[at + a · stride], a = 0..3, for a vector of channels."""
    lower = get(weights, first) * load(table, at) + get(weights, first + 1) * load(table, at + stride)
    return (
        lower
        + get(weights, first + 2) * load(table, at + 2 * stride)
        + get(weights, first + 3) * load(table, at + 3 * stride)
    )


@compiled
def _sum_path_(d3, first, last, path, rows, weights, harmonics, coupling, table, features, sums):
    """Write the rows of one path of the sums of sites `first` to `last` − 1; d3 has 2 l3 + 1 entries."""
    starts, counts, neighbours, knots = rows
    d1, column, before, after = path
    n_channels, stride, n_entries = features.shape[2], table.shape[1], harmonics.shape[1]
    flat_table, flat_features, flat_sums = table.reshape(-1), features.reshape(-1), sums.reshape(-1)
    flat_weights, flat_harmonics, n_elements = weights.reshape(-1), harmonics.reshape(-1), d1 * len(d3)
    matrices = allocate_vectors(n_elements * longest_row(first, last, starts), table.dtype)
    for i in range(first, last):
        start = starts[i]
        fill_matrices_(matrices, 0, n_elements, coupling, flat_harmonics, n_entries, start, starts[i + 1])
        for block in range(0, n_channels, count_lanes(flat_table)):
            tile = zero_tile(flat_table, d3)
            for q in range(counts[i]):
                at = get(knots, start + q) * stride + column + block
                radial = interpolate(flat_table, at, stride, flat_weights, 8 * (start + q))
                own = (get(neighbours, start + q) * features.shape[1] + before) * n_channels + block
                element = q // LANES * n_elements * LANES + q % LANES
                for m in range(d1):
                    vector = radial * load(flat_features, own + m * n_channels)
                    tile = add_outer(tile, vector, matrices, element + m * len(d3) * LANES, LANES)
            store_tile(flat_sums, (i * sums.shape[1] + after) * n_channels + block, n_channels, tile)


@compiled
def sum_messages_(first, last, plan, rows, weights, harmonics, table, features, sums):
    """Fill A of sites `first` to `last` − 1; each site's row has `counts` entries from its start on.

    Parameters
    ----------
    first, last : Range of sites.
    plan : For each path 2 l1 + 1, 2 l3 + 1, first column of the table, first component of h and of A, and its first
        element; the first term of each element of T; and for each term its harmonic and its coefficient.
    rows : Start and number of entries of each site; neighbour and first row of the table of each entry.
    weights, harmonics : Spline weights (entries, 8); Y (16, entries).
    table : Spline coefficients of all classes, one below the other, columns by path and channel.
    features, sums : h (sites, components, channels) and A (sites, results, channels); channels fill whole
        vectors.
    """
    paths, firsts, places, values = plan
    for start in range(first, last, _SITES):
        for a in range(paths.shape[0]):
            d1, d3, column, before, after, begin = paths[a]
            path, coupling = (d1, column, before, after), (firsts[begin:], places, values)
            common = (path, rows, weights, harmonics, coupling, table, features, sums)
            if d3 == 1:
                _sum_path_((0,), start, min(start + _SITES, last), *common)
            elif d3 == 3:
                _sum_path_((0, 0, 0), start, min(start + _SITES, last), *common)
            elif d3 == 5:
                _sum_path_((0, 0, 0, 0, 0), start, min(start + _SITES, last), *common)
            else:
                _sum_path_((0, 0, 0, 0, 0, 0, 0), start, min(start + _SITES, last), *common)


@compiled
def _gradient_of_path_(d3, first, last, path, rows, weights, angular, coupling, table, features, adjoint, results):
    """Add what one path gives to dE/dr, to the slopes along the tangents, and to dE/dh."""
    starts, counts, neighbours, knots = rows
    slopes, on_features, with_features = results
    d1, turns, column, before, after = path
    n_channels, stride, n_entries = features.shape[2], table.shape[1], weights.shape[0]
    flat_table, flat_features = table.reshape(-1), features.reshape(-1)
    flat_adjoint, flat_on, flat_slopes = adjoint.reshape(-1), on_features.reshape(-1), slopes.reshape(-1)
    flat_weights, flat_angular, n_elements = weights.reshape(-1), angular.reshape(-1), d1 * len(d3)
    size = n_elements * longest_row(first, last, starts)
    matrices = allocate_vectors(3 * size, table.dtype)
    for i in range(first, last):
        start = starts[i]
        for a in range(3 if turns else 1):
            row = flat_angular[a * N_HARMONICS * n_entries :]
            fill_matrices_(matrices, a * size, n_elements, coupling, row, n_entries, start, starts[i + 1])
        for block in range(0, n_channels, count_lanes(flat_table)):
            here = (i * adjoint.shape[1] + after) * n_channels + block
            tile = load_tile(flat_adjoint, here, n_channels, d3)
            for q in range(counts[i]):
                at = get(knots, start + q) * stride + column + block
                radial = interpolate(flat_table, at, stride, flat_weights, 8 * (start + q))
                slope = interpolate(flat_table, at, stride, flat_weights, 8 * (start + q) + 4)
                own = (get(neighbours, start + q) * features.shape[1] + before) * n_channels + block
                along, one = zero_vector(flat_table), zero_vector(flat_table)
                other = zero_vector(flat_table)
                for m in range(d1):
                    vector = load(flat_features, own + m * n_channels)
                    element = (q // LANES * n_elements + m * len(d3)) * LANES + q % LANES
                    received = weigh_rows(tile, matrices, element, LANES)
                    along = along + vector * received
                    if turns:
                        one = one + vector * weigh_rows(tile, matrices, size + element, LANES)
                        other = other + vector * weigh_rows(tile, matrices, 2 * size + element, LANES)
                    if with_features:
                        total = load(flat_on, own + m * n_channels) + radial * received
                        store(flat_on, own + m * n_channels, total)
                add_sums(flat_slopes, 4 * (start + q), slope * along, radial * one, radial * other)


@compiled
def message_gradient_(first, last, plan, rows, weights, angular, table, features, adjoint, results):
    """Add dE/dr and the slopes along the tangents of sites `first` to `last` − 1, and dE/dh of their neighbours.

    Parameters
    ----------
    plan, rows, weights, table, features : As in `sum_messages_`.
    angular : Y and its rates along both tangents, shape (3, 16, entries).
    adjoint : dE/dA.
    results : Slopes (entries, 4), of which three are used; dE/dh; and whether dE/dh is wanted.
    """
    paths, firsts, places, values = plan
    for start in range(first, last, _SITES):
        for a in range(paths.shape[0]):
            d1, d3, column, before, after, begin = paths[a]
            # the harmonic of degree 0 comes first, and does not turn with the pair
            turns = places[firsts[begin + d1 * d3] - 1] > 0
            path, coupling = (d1, turns, column, before, after), (firsts[begin:], places, values)
            common = (path, rows, weights, angular, coupling, table, features, adjoint, results)
            if d3 == 1:
                _gradient_of_path_((0,), start, min(start + _SITES, last), *common)
            elif d3 == 3:
                _gradient_of_path_((0, 0, 0), start, min(start + _SITES, last), *common)
            elif d3 == 5:
                _gradient_of_path_((0, 0, 0, 0, 0), start, min(start + _SITES, last), *common)
            else:
                _gradient_of_path_((0, 0, 0, 0, 0, 0, 0), start, min(start + _SITES, last), *common)
