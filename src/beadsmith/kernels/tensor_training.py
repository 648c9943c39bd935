"""Derivatives of the sweeps of `tensor_messages` with respect to their parameters, for training; compiled by numba.

Pair vectors are data here. What the radial table receives is scattered to the four knots around each distance; it and
what the features of the neighbours receive are sums that belong to one thread.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

from beadsmith.kernels.directions import LANES, N_HARMONICS
from beadsmith.kernels.rows import compiled
from beadsmith.kernels.tensor_messages import fill_matrices_, interpolate, longest_row
from beadsmith.kernels.vectors import (
    add_outer,
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


@compiled
def _spread_path_(d3, first, last, path, rows, weights, harmonics, coupling, table, features, adjoint, results):
    """Add what one path gives to the derivatives by the table and by h."""
    starts, counts, neighbours, knots = rows
    d1, column, before, after = path
    n_channels, stride, n_entries = features.shape[2], table.shape[1], harmonics.shape[1]
    flat_table, flat_features, flat_adjoint = table.reshape(-1), features.reshape(-1), adjoint.reshape(-1)
    on_table, on_features = results[0].reshape(-1), results[1].reshape(-1)
    flat_weights, flat_harmonics, n_elements = weights.reshape(-1), harmonics.reshape(-1), d1 * len(d3)
    matrices = allocate_vectors(n_elements * longest_row(first, last, starts), table.dtype)
    for i in range(first, last):
        start = starts[i]
        fill_matrices_(matrices, 0, n_elements, coupling, flat_harmonics, n_entries, start, starts[i + 1])
        for block in range(0, n_channels, count_lanes(flat_table)):
            tile = load_tile(flat_adjoint, (i * adjoint.shape[1] + after) * n_channels + block, n_channels, d3)
            for q in range(counts[i]):
                at = get(knots, start + q) * stride + column + block
                radial = interpolate(flat_table, at, stride, flat_weights, 8 * (start + q))
                own = (get(neighbours, start + q) * features.shape[1] + before) * n_channels + block
                total = zero_vector(flat_table)
                for m in range(d1):
                    element = (q // LANES * n_elements + m * len(d3)) * LANES + q % LANES
                    received = weigh_rows(tile, matrices, element, LANES)
                    total = total + load(flat_features, own + m * n_channels) * received
                    store(
                        on_features, own + m * n_channels, load(on_features, own + m * n_channels) + radial * received
                    )
                for a in range(4):
                    weight = get(flat_weights, 8 * (start + q) + a)
                    store(on_table, at + a * stride, load(on_table, at + a * stride) + weight * total)


@compiled
def spread_messages_(first, last, plan, rows, weights, harmonics, table, features, adjoint, results):
    """Add the derivatives by the table and by h of an energy whose derivative by A is `adjoint`.

    Other parameters as in `beadsmith.kernels.tensor_messages.sum_messages_`; `results` has the shapes of table and h.
    """
    paths, firsts, places, values = plan
    for a in range(paths.shape[0]):
        d1, d3, column, before, after, begin = paths[a]
        path, coupling = (d1, column, before, after), (firsts[begin:], places, values)
        common = (path, rows, weights, harmonics, coupling, table, features, adjoint, results)
        if d3 == 1:
            _spread_path_((0,), first, last, *common)
        elif d3 == 3:
            _spread_path_((0, 0, 0), first, last, *common)
        elif d3 == 5:
            _spread_path_((0, 0, 0, 0, 0), first, last, *common)
        else:
            _spread_path_((0, 0, 0, 0, 0, 0, 0), first, last, *common)


@compiled
def _move_path_(d3, first, last, path, rows, weights, angular, coupling, table, features, adjoint, results):
    """Add what one path gives to the derivatives by the table and h, and write what it gives to the one by dE/dA."""
    starts, counts, neighbours, knots = rows
    d1, column, before, after = path
    values, changes = features
    n_channels, stride, n_entries = values.shape[2], table.shape[1], weights.shape[0]
    flat_table, flat_values, flat_changes = table.reshape(-1), values.reshape(-1), changes.reshape(-1)
    flat_adjoint, on_adjoint = adjoint.reshape(-1), results[2].reshape(-1)
    on_table, on_features = results[0].reshape(-1), results[1].reshape(-1)
    flat_weights, flat_angular, n_elements = weights.reshape(-1), angular.reshape(-1), d1 * len(d3)
    size = n_elements * longest_row(first, last, starts)
    matrices = allocate_vectors(2 * size, table.dtype)
    rates = flat_angular[N_HARMONICS * n_entries :]
    for i in range(first, last):
        start = starts[i]
        fill_matrices_(matrices, 0, n_elements, coupling, flat_angular, n_entries, start, starts[i + 1])
        fill_matrices_(matrices, size, n_elements, coupling, rates, n_entries, start, starts[i + 1])
        for block in range(0, n_channels, count_lanes(flat_table)):
            here = (i * adjoint.shape[1] + after) * n_channels + block
            tile = load_tile(flat_adjoint, here, n_channels, d3)
            sums = zero_tile(flat_table, d3)
            for q in range(counts[i]):
                at = get(knots, start + q) * stride + column + block
                weight = 8 * (start + q)
                radial = interpolate(flat_table, at, stride, flat_weights, weight)
                moved = interpolate(flat_table, at, stride, flat_weights, weight + 4)
                own = (get(neighbours, start + q) * values.shape[1] + before) * n_channels + block
                still, total = zero_vector(flat_table), zero_vector(flat_table)
                for m in range(d1):
                    here_too = own + m * n_channels
                    element = (q // LANES * n_elements + m * len(d3)) * LANES + q % LANES
                    value, change = load(flat_values, here_too), load(flat_changes, here_too)
                    received = weigh_rows(tile, matrices, element, LANES)
                    turned = weigh_rows(tile, matrices, size + element, LANES)
                    sums = add_outer(sums, moved * value + radial * change, matrices, element, LANES)
                    sums = add_outer(sums, radial * value, matrices, size + element, LANES)
                    store(on_features, here_too, load(on_features, here_too) + (moved * received + radial * turned))
                    still = still + value * received
                    total = total + (value * turned + change * received)
                for a in range(4):
                    grown = get(flat_weights, weight + a) * total + get(flat_weights, weight + 4 + a) * still
                    store(on_table, at + a * stride, load(on_table, at + a * stride) + grown)
            store_tile(on_adjoint, here, n_channels, sums)


@compiled
def move_messages_(first, last, plan, rows, weights, angular, table, features, adjoint, results):
    """Add the derivatives of the rate of E by the table and by h, and write the one by dE/dA.

    The rate is that of E = Σ `adjoint` · A when the pair vectors and h move; it is what the derivatives of E by both
    are multiplied with in the backward pass.

    Parameters
    ----------
    first, last, plan, rows, table : As in `beadsmith.kernels.tensor_messages.sum_messages_`.
    weights : Spline weights and their rates (entries, 8).
    angular : Y and its rates, shape (2, 16, entries).
    features : h and its rates.
    adjoint : dE/dA.
    results : Derivatives by the table, by h and by dE/dA.
    """
    paths, firsts, places, values = plan
    for a in range(paths.shape[0]):
        d1, d3, column, before, after, begin = paths[a]
        path, coupling = (d1, column, before, after), (firsts[begin:], places, values)
        common = (path, rows, weights, angular, coupling, table, features, adjoint, results)
        if d3 == 1:
            _move_path_((0,), first, last, *common)
        elif d3 == 3:
            _move_path_((0, 0, 0), first, last, *common)
        elif d3 == 5:
            _move_path_((0, 0, 0, 0, 0), first, last, *common)
        else:
            _move_path_((0, 0, 0, 0, 0, 0, 0), first, last, *common)
