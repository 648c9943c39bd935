"""Sums over neighbours of u_m Σ_ν s_ν Q[j,ν], and their derivatives, compiled by numba; notation as in `rows`.

The readable twin is `beadsmith.networks.sweeps.message_sums`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.rows import (
    add_product_,
    allocate,
    compiled,
    evaluate,
    load_direction,
    load_row,
    write_gradient,
)


@compiled
def _evaluate_all_(radial, padded, centres, weights, memory, values, slopes):
    """Fill values and slopes of all radial functions for each neighbour of a row, functions side by side."""
    for k in range(centres.shape[0]):
        evaluate(radial, padded, centres[k], weights[k], memory[0], memory[1])
        for q in range(padded):
            values[q, k] = memory[0, q]
            slopes[q, k] = memory[1, q]


@compiled
def _add_outer_(total, left, right):
    """Add the outer product of two vectors."""
    for k in range(left.shape[0]):
        for a in range(right.shape[0]):
            total[k, a] += left[k] * right[a]


@compiled
def sum_messages(offsets, vectors, second, centres, weights, cutoff, projected, n_components):
    """Return E[i,m,a] = Σ_j u_m y_a with the message y_a = Σ_ν s_ν Q[j,ν,a]; `projected` is Q."""
    n_functions, n_features = projected.shape[1:]
    sums = np.zeros((offsets.shape[0] - 1, n_components, n_features), vectors.dtype)
    chosen, radial, angular, _, rows = allocate(offsets, vectors.dtype)
    values = np.empty((radial.shape[1], n_functions), vectors.dtype)
    slopes = np.empty((radial.shape[1], n_functions), vectors.dtype)
    message = np.empty(n_features, vectors.dtype)
    for i in range(sums.shape[0]):
        n, padded = load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        _evaluate_all_(radial, padded, centres, weights, rows, values, slopes)
        for q in range(n):
            message[:] = 0.0
            add_product_(message, projected[second[chosen[q]]], values[q])
            _add_outer_(sums[i], angular[:n_components, q], message)
    return sums


@compiled
def message_adjoint(offsets, vectors, second, centres, weights, cutoff, projected, adjoint):
    """Return dE/dv of each pair, dE/dQ, dE/dc_ν and dE/dw_ν from `adjoint` = dE/dE[i,m,a]."""
    n_functions, n_features = projected.shape[1:]
    n_components = adjoint.shape[1]
    zero, two = vectors.dtype.type(0.0), vectors.dtype.type(2.0)
    gradient, on_projected = np.zeros(vectors.shape, vectors.dtype), np.zeros(projected.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    transposed = projected.transpose(0, 2, 1).copy()
    chosen, radial, angular, across, rows = allocate(offsets, vectors.dtype)
    along = rows[2]
    values = np.empty((radial.shape[1], n_functions), vectors.dtype)
    slopes = np.empty((radial.shape[1], n_functions), vectors.dtype)
    message, received = np.empty(n_features, vectors.dtype), np.empty(n_features, vectors.dtype)
    overlap = np.empty(n_functions, vectors.dtype)
    for i in range(adjoint.shape[0]):
        n, padded = load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        _evaluate_all_(radial, padded, centres, weights, rows, values, slopes)
        across[:, :padded] = 0.0
        for q in range(n):
            j = second[chosen[q]]
            message[:], received[:], overlap[:] = 0.0, 0.0, 0.0
            add_product_(message, projected[j], values[q])
            add_product_(received, adjoint[i], angular[:n_components, q])
            add_product_(overlap, transposed[j], received)
            _add_outer_(on_projected[j], values[q], received)
            slope = zero
            for k in range(n_functions):
                d = radial[0, q] - centres[k]
                slope += overlap[k] * slopes[q, k]
                on_centres[k] += overlap[k] * values[q, k] * d * (two * weights[k])
                on_weights[k] -= overlap[k] * values[q, k] * d * d
            along[q] = slope
            for m in range(1, n_components):
                total = zero
                for a in range(n_features):
                    total += adjoint[i, m, a] * message[a]
                across[m, q] = total
        write_gradient(n, chosen, radial, angular, along, across, gradient)
    return gradient, on_projected, on_centres, on_weights


@compiled
def message_adjoint_backward(offsets, vectors, second, centres, weights, cutoff, projected, adjoint, direction, bar):
    """Return the derivatives of Σ_p direction_p · dE/dv_p + Σ `bar` dE/dQ with respect to Q, `adjoint`, c_ν and w_ν."""
    n_functions, n_features = projected.shape[1:]
    real = vectors.dtype.type
    two = real(2.0)
    on_projected, on_adjoint = np.zeros(projected.shape, vectors.dtype), np.zeros(adjoint.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, tangent, rows = allocate(offsets, vectors.dtype)
    along = rows[0]
    values = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    slopes = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    memory = np.empty((4, n_features), vectors.dtype)
    message, change, received, rate = memory[0], memory[1], memory[2], memory[3]
    for i in range(adjoint.shape[0]):
        n, padded = load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        load_direction(n, padded, chosen, radial, angular, direction, along, tangent)
        for k in range(n_functions):
            evaluate(radial, padded, centres[k], weights[k], values[k], slopes[k])
        for q in range(n):
            j = second[chosen[q]]
            message[:], change[:], received[:], rate[:] = 0.0, 0.0, 0.0, 0.0
            for m in range(adjoint.shape[1]):
                for a in range(n_features):
                    received[a] += angular[m, q] * adjoint[i, m, a]
                    rate[a] += tangent[m, q] * adjoint[i, m, a]
            for k in range(n_functions):
                value, moved = values[k, q], along[q] * slopes[k, q]
                radially, otherwise = real(0.0), real(0.0)
                for a in range(n_features):
                    message[a] += value * projected[j, k, a]
                    change[a] += moved * projected[j, k, a] + value * bar[j, k, a]
                    on_projected[j, k, a] += moved * received[a] + value * rate[a]
                    radially += received[a] * projected[j, k, a]
                    otherwise += rate[a] * projected[j, k, a] + received[a] * bar[j, k, a]
                inverse = radial[0, q]
                d = inverse - centres[k]
                total = radially * moved + otherwise * value
                shift = radially * along[q] * value * inverse * inverse
                on_centres[k] += two * weights[k] * (d * total - shift)
                on_weights[k] += d * (two * shift - d * total)
            for m in range(adjoint.shape[1]):
                for a in range(n_features):
                    on_adjoint[i, m, a] += angular[m, q] * change[a] + tangent[m, q] * message[a]
    return on_projected, on_adjoint, on_centres, on_weights
