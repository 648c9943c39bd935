"""Sums over neighbours of s_ν u_m, and their derivatives, compiled by numba; notation as in `beadsmith.kernels.rows`.

The readable twin is `beadsmith.networks.sweeps.environment_sums`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.rows import (
    allocate,
    compiled,
    evaluate,
    evaluate_value,
    load_direction,
    load_row,
    write_gradient,
)


@compiled
def sum_environments(offsets, vectors, kinds, centres, weights, cutoff, shape):
    """Return A[i,m,t,ν] = Σ_j s_ν u_m over the neighbours of kind t; `shape` is (components, kinds)."""
    n_sites, n_functions = offsets.shape[0] - 1, centres.shape[0]
    n_components, n_kinds = shape
    zero = vectors.dtype.type(0.0)
    sums = np.zeros((n_sites, n_components, n_kinds, n_functions), vectors.dtype)
    chosen, radial, angular, _, rows = allocate(offsets, vectors.dtype)
    value = rows[0]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            _, padded = load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            for k in range(n_functions):
                evaluate_value(radial, padded, centres[k], weights[k], value)
                for m in range(n_components):
                    total = zero
                    for q in range(padded):
                        total += value[q] * angular[m, q]
                    sums[i, m, t, k] = total
    return sums


@compiled
def environment_adjoint(offsets, vectors, kinds, centres, weights, cutoff, adjoint, with_parameters):
    """Return dE/dv of each pair, dE/dc_ν and dE/dw_ν from `adjoint` = dE/dA[i,m,t,ν]."""
    n_sites, n_components, n_kinds, n_functions = adjoint.shape
    two = vectors.dtype.type(2.0)
    gradient = np.zeros(vectors.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, across, rows = allocate(offsets, vectors.dtype)
    value, slope, factor, along = rows[0], rows[1], rows[2], rows[3]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            n, padded = load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            along[:padded] = 0.0
            across[:, :padded] = 0.0
            for k in range(n_functions):
                evaluate(radial, padded, centres[k], weights[k], value, slope)
                factor[:padded] = adjoint[i, 0, t, k]
                for m in range(1, n_components):
                    g = adjoint[i, m, t, k]
                    for q in range(padded):
                        factor[q] += g * angular[m, q]
                        across[m, q] += g * value[q]
                for q in range(padded):
                    along[q] += factor[q] * slope[q]
                if with_parameters:
                    c_total, w_total = vectors.dtype.type(0.0), vectors.dtype.type(0.0)
                    for q in range(padded):
                        d = radial[0, q] - centres[k]
                        c_total += factor[q] * value[q] * d
                        w_total += factor[q] * value[q] * d * d
                    on_centres[k] += two * weights[k] * c_total
                    on_weights[k] -= w_total
            write_gradient(n, chosen, radial, angular, along, across, gradient)
    return gradient, on_centres, on_weights


@compiled
def environment_adjoint_backward(offsets, vectors, kinds, centres, weights, cutoff, adjoint, direction):
    """Return the derivatives of Σ_p direction_p · dE/dv_p with respect to `adjoint`, c_ν and w_ν."""
    n_sites, n_components, n_kinds, n_functions = adjoint.shape
    real = vectors.dtype.type
    two = real(2.0)
    on_adjoint = np.zeros(adjoint.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, tangent, rows = allocate(offsets, vectors.dtype)
    value, slope, factor, rate, along = rows[0], rows[1], rows[2], rows[3], rows[4]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            n, padded = load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            load_direction(n, padded, chosen, radial, angular, direction, along, tangent)
            for k in range(n_functions):
                evaluate(radial, padded, centres[k], weights[k], value, slope)
                factor[:padded] = 0.0
                rate[:padded] = 0.0
                for m in range(n_components):
                    g, total = adjoint[i, m, t, k], real(0.0)
                    for q in range(padded):
                        total += angular[m, q] * along[q] * slope[q] + tangent[m, q] * value[q]
                        factor[q] += g * angular[m, q]
                        rate[q] += g * tangent[m, q]
                    on_adjoint[i, m, t, k] = total
                c_total, w_total = real(0.0), real(0.0)
                for q in range(padded):
                    inverse = radial[0, q]
                    d = inverse - centres[k]
                    change = factor[q] * along[q] * slope[q] + rate[q] * value[q]
                    shift = factor[q] * along[q] * value[q] * inverse * inverse
                    c_total += d * change - shift
                    w_total += d * (two * shift - d * change)
                on_centres[k] += two * weights[k] * c_total
                on_weights[k] += w_total
    return on_adjoint, on_centres, on_weights
