"""Sums over neighbours of u_m Σ_ν s_ν Q[j,ν], and their derivatives, compiled by numba; notation as in `rows`.

The readable twin is `beadsmith.networks.sweeps.message_sums`. A sweep takes the sites j that send from `start` to
`stop`, one after the other: what one of them sends, Q[j], stays in the nearest cache while all its neighbours receive,
and all messages of a site are one small matrix product. What sites receive is summed into memory of the sweep's own.

Arguments that all share are those of `beadsmith.kernels.environments`, except
pairs : Pairs by the site where they end, start of each site among them, vectors (pairs, 3), first site of each pair.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.components import deliver_, meet_
from beadsmith.kernels.environments import allocate
from beadsmith.kernels.gaussians import collect_parameters_, evaluate_, scale_
from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled, load_direction, load_pairs, longest_row, write_gradient


@compiled
def _send_(message, values, n, projected, j, is_fresh):
    """Put Σ_ν `values` Q[j,ν] of each pair into `message`, or add it."""
    n_functions, n_features = projected.shape[1:]
    # whole tiles of four pairs: what the last ones hold is never read
    multiply_(
        (message, 0, n_features),
        (values, 0, values.shape[1], 1),
        (projected, j * n_functions * n_features, n_features),
        ((n + 3) // 4 * 4, n_functions, n_features),
        is_fresh,
    )


@compiled
def _deliver_(sums, pairs, begin, n, components, message):
    """Add u_m times its message to the sums of the site that receives it."""
    n_components, n_features = sums.shape[1:]
    for q in range(n):
        at = pairs[3][pairs[0][begin + q]] * n_components * n_features
        deliver_((sums, at), (components, q), (message, q * n_features), (n_components, n_features))


@compiled
def _collect_(received, pairs, begin, n, components, adjoint):
    """Fill Σ_m u_m dE/dE[i,m] of the site i that receives, for each pair."""
    n_components, n_features = adjoint.shape[1:]
    for q in range(n):
        i = pairs[3][pairs[0][begin + q]]
        multiply_(
            (received, q * n_features, n_features),
            (components, q, 0, components.shape[1]),
            (adjoint, i * n_components * n_features, n_features),
            (1, n_components, n_features),
            True,
        )


@compiled
def _return_(on_projected, j, values, n, received, is_fresh):
    """Put Σ `values` ⊗ `received` over the pairs into dE/dQ[j], or add it."""
    n_functions, n_features = on_projected.shape[1:]
    multiply_(
        (on_projected, j * n_functions * n_features, n_features),
        (values, 0, 1, values.shape[1]),
        (received, 0, n_features),
        (n_functions, n, n_features),
        is_fresh,
    )


@compiled
def _overlap_(overlap, received, n, matrix, j, transposed, is_fresh):
    """Put the products of what each pair receives with each row of matrix j into `overlap`, or add them."""
    n_functions, n_features = matrix.shape[1:]
    for k in range(n_functions):
        for a in range(n_features):
            transposed[a, k] = matrix[j, k, a]
    width = overlap.shape[1]
    multiply_(
        (overlap, 0, width),
        (received, 0, n_features, 1),
        (transposed, 0, width),
        ((n + 3) // 4 * 4, n_features, width),
        is_fresh,
    )


@compiled
def sum_messages(pairs, functions, projected, n_components, start, stop):
    """Return E[i,m,a] = Σ_j u_m y_a with the message y_a = Σ_ν s_ν Q[j,ν,a]; `projected` is Q."""
    order, offsets, vectors, _ = pairs
    n_features = projected.shape[2]
    width = longest_row(offsets, start, stop, 1)
    radial, angular, values, slopes = allocate(width, functions[0].shape[0], vectors.dtype)
    message = np.empty((width, n_features), vectors.dtype)
    sums = np.zeros((projected.shape[0], n_components, n_features), vectors.dtype)
    for j in range(start, stop):
        begin = offsets[j]
        n = load_pairs(vectors, order, begin, offsets[j + 1], functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        _send_(message, values, n, projected, j, True)
        _deliver_(sums, pairs, begin, n, angular, message)
    return sums


@compiled
def message_adjoint(pairs, functions, projected, adjoint, gradient, on_projected, start, stop):
    """Fill dE/dv of each pair and dE/dQ from `adjoint` = dE/dE[i,m,a]."""
    order, offsets, vectors, receivers = pairs
    n_components, n_features = adjoint.shape[1:]
    width = longest_row(offsets, start, stop, 1)
    radial, angular, values, slopes = allocate(width, functions[0].shape[0], vectors.dtype)
    message, received = np.empty((width, n_features), vectors.dtype), np.empty((width, n_features), vectors.dtype)
    change = np.empty((width, n_features), vectors.dtype)
    along, across = np.empty(width, vectors.dtype), np.zeros((9, width), vectors.dtype)
    for j in range(start, stop):
        begin = offsets[j]
        n = load_pairs(vectors, order, begin, offsets[j + 1], functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        _send_(message, values, n, projected, j, True)
        _send_(change, slopes, n, projected, j, True)
        for q in range(n):
            row, at = q * n_features, receivers[order[begin + q]] * n_components * n_features
            lines = (received, row), (angular, q), (adjoint, at), (message, row), (change, row)
            meet_(*lines, (along, across), (n_components, n_features))
        _return_(on_projected, j, values, n, received, True)
        write_gradient(order, begin, n, radial, angular, along, across, gradient)


@compiled
def message_backward(pairs, functions, projected, adjoint, on_projected, start, stop):
    """Fill dE/dQ and return the derivatives by the functions' parameters from `adjoint` = dE/dE[i,m,a]."""
    order, offsets, vectors, _ = pairs
    n_features = projected.shape[2]
    width = longest_row(offsets, start, stop, 1)
    radial, angular, values, slopes = allocate(width, functions[0].shape[0], vectors.dtype)
    received, overlap = np.zeros((width, n_features), vectors.dtype), np.empty_like(values)
    transposed, rates = np.zeros((n_features, values.shape[1]), vectors.dtype), np.zeros(width, vectors.dtype)
    totals = np.zeros((functions[2].shape[0], 3, values.shape[1]))
    for j in range(start, stop):
        begin = offsets[j]
        n = load_pairs(vectors, order, begin, offsets[j + 1], functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        _collect_(received, pairs, begin, n, angular, adjoint)
        _overlap_(overlap, received, n, projected, j, transposed, True)
        collect_parameters_(functions, order, begin, n, radial, rates, values, slopes, overlap, overlap, totals)
        scale_(functions, order, begin, n, values)
        _return_(on_projected, j, values, n, received, True)
    return totals


@compiled
def message_adjoint_backward(pairs, functions, projected, adjoint, direction, bar, on_projected, start, stop):
    """Return the derivatives of Σ_p direction_p · dE/dv_p + Σ `bar` dE/dQ by `adjoint` and the functions' parameters.

    Fills the derivative by Q.
    """
    order, offsets, vectors, _ = pairs
    n_features = projected.shape[2]
    width = longest_row(offsets, start, stop, 1)
    radial, angular, values, slopes = allocate(width, functions[0].shape[0], vectors.dtype)
    rates, tangent = np.empty(width, vectors.dtype), np.empty((9, width), vectors.dtype)
    received, rate = np.zeros((width, n_features), vectors.dtype), np.zeros((width, n_features), vectors.dtype)
    message, change = np.empty((width, n_features), vectors.dtype), np.empty((width, n_features), vectors.dtype)
    overlap, other = np.empty_like(values), np.empty_like(values)
    transposed = np.zeros((n_features, values.shape[1]), vectors.dtype)
    on_adjoint = np.zeros(adjoint.shape, vectors.dtype)
    totals = np.zeros((functions[2].shape[0], 3, values.shape[1]))
    for j in range(start, stop):
        begin = offsets[j]
        n = load_pairs(vectors, order, begin, offsets[j + 1], functions[4], radial, angular)
        load_direction(order, begin, n, radial, angular, direction, rates, tangent)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        _collect_(received, pairs, begin, n, angular, adjoint)
        _collect_(rate, pairs, begin, n, tangent, adjoint)
        _overlap_(other, received, n, bar, j, transposed, True)
        _overlap_(overlap, received, n, projected, j, transposed, True)
        _overlap_(other, rate, n, projected, j, transposed, False)
        collect_parameters_(functions, order, begin, n, radial, rates, values, slopes, overlap, other, totals)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        for q in range(n):
            for k in range(slopes.shape[1]):
                slopes[q, k] *= rates[q]
        _send_(message, values, n, projected, j, True)
        _send_(change, slopes, n, projected, j, True)
        _send_(change, values, n, bar, j, False)
        _deliver_(on_adjoint, pairs, begin, n, angular, change)
        _deliver_(on_adjoint, pairs, begin, n, tangent, message)
        _return_(on_projected, j, slopes, n, received, True)
        _return_(on_projected, j, values, n, rate, False)
    return on_adjoint, totals
