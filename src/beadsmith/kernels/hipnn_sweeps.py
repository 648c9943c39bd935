"""Neighbour sweeps of HIP-NN-TS compiled by numba; the readable twins are in `beadsmith.networks.sweeps`.

A sweep takes one site at a time, loads its neighbours within the cutoff into a short row (padded with neighbours of
no weight to whole vector registers) and evaluates each radial function along the row, so that nothing of the size
pairs × functions ever exists in memory. Sums run in a fixed order: results are reproducible bit for bit.

With x = 1/r, d = x − c_ν:  s_ν = exp(−w_ν d²) φ(r),  φ = cos²(π r / 2 r_c),  w_ν = σ_ν²/2,  c_ν = 1/μ_ν. The angular
components u_m are 1, n and n nᵀ (xx, xy, xz, yy, yz, minus 1/3 on the diagonal).
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

# no "nnan" and no "ninf": a position that is not a number must reach the energy
_compiled = njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})

_LANES = 16
"""Rows are padded to whole registers of this many neighbours: AVX-512 in float32."""


def _exp_of_negative(x):
    """Return exp(x) for x ≤ 0 in a form that compilers turn into vector instructions."""
    return math.exp(x)


@overload(_exp_of_negative)
def _overload_exp_of_negative(x):
    # exp(x) = 2^k exp(f), |f| ≤ ln(2)/2; ln 2 is cut in two so that k ln 2 loses nothing; the series ends where its
    # remainder is below one rounding, and x where 2^k stops to be a normal number
    if x == types.float32:

        def implementation(x):
            x = np.float32(-87.0) if x < np.float32(-87.0) else x
            k = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
            f = (x - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
            series = np.float32(1.0)
            for n in range(7, 0, -1):
                series = np.float32(1.0) + series * f * np.float32(1.0 / n)
            power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23))
            return series * power.view(np.float32)

    else:

        def implementation(x):
            x = -708.0 if x < -708.0 else x
            k = np.floor(x * 1.4426950408889634 + 0.5)
            f = (x - k * 0.693145751953125) - k * 1.42860682030941723212e-6
            series = 1.0
            for n in range(13, 0, -1):
                series = 1.0 + series * f * (1.0 / n)
            power = np.int64((np.int64(k) + np.int64(1023)) << np.int64(52))
            return series * power.view(np.float64)

    return implementation


@_compiled
def _allocate(offsets, dtype):
    """Return memory for the longest row: pair numbers, 1/r with φ and dφ/dr, u_m, another nine rows, and five more."""
    longest = 0
    for i in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    width = (longest + _LANES - 1) // _LANES * _LANES
    nine = (9, width)
    return (
        np.empty(width, np.int64),
        np.empty((3, width), dtype),
        np.empty(nine, dtype),
        np.empty(nine, dtype),
        np.empty((5, width), dtype),
    )


@_compiled
def _load_row(vectors, kinds, kind, start, stop, cutoff, chosen, radial, angular):
    """Load the neighbours of one site that are of one kind (of any for −1) and return their number and its padding.

    Fills `chosen` with pair numbers, `radial` with 1/r, φ and dφ/dr, and `angular` with all nine components.
    """
    real = vectors.dtype.type
    one, third = real(1.0), real(1.0 / 3.0)
    n = 0
    for p in range(start, stop):
        x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        if (kind >= 0 and kinds[p] != kind) or x * x + y * y + z * z >= cutoff * cutoff:
            continue
        chosen[n] = p
        angular[1, n], angular[2, n], angular[3, n] = x, y, z
        n += 1
    padded = (n + _LANES - 1) // _LANES * _LANES
    for q in range(n, padded):
        angular[1, q], angular[2, q], angular[3, q] = cutoff, real(0.0), real(0.0)
    for q in range(padded):
        x, y, z = angular[1, q], angular[2, q], angular[3, q]
        distance = np.sqrt(x * x + y * y + z * z)
        inverse = one / distance
        x, y, z = x * inverse, y * inverse, z * inverse
        angular[0, q], angular[1, q], angular[2, q], angular[3, q] = one, x, y, z
        angular[4, q], angular[5, q], angular[6, q] = x * x - third, x * y, x * z
        angular[7, q], angular[8, q] = y * y - third, y * z
        # Taylor series on [0, π/2]: the first term left out is below one rounding of float64
        a = distance * (real(0.5 * math.pi) / cutoff)
        cosine, sine = one, one
        for k in range(22, 0, -2):
            cosine = one - cosine * a * a * real(1.0 / (k * (k - 1)))
            sine = one - sine * a * a * real(1.0 / (k * (k + 1)))
        radial[0, q] = inverse
        radial[1, q] = cosine * cosine
        radial[2, q] = cosine * sine * a * (real(-math.pi) / cutoff)
    for q in range(n, padded):
        radial[1, q], radial[2, q] = real(0.0), real(0.0)
    return n, padded


@_compiled
def _evaluate_value(radial, padded, centre, weight, value):
    """Fill the value of one radial function along a row."""
    for q in range(padded):
        d = radial[0, q] - centre
        value[q] = _exp_of_negative(-(weight * d * d)) * radial[1, q]


@_compiled
def _evaluate(radial, padded, centre, weight, value, slope):
    """Fill the value and the slope ds/dr of one radial function along a row."""
    two = radial.dtype.type(2.0)
    for q in range(padded):
        inverse = radial[0, q]
        d = inverse - centre
        gaussian = _exp_of_negative(-(weight * d * d))
        value[q] = gaussian * radial[1, q]
        slope[q] = gaussian * (radial[2, q] + two * weight * d * inverse * inverse * radial[1, q])


@_compiled
def _write_gradient(n, chosen, radial, angular, along, across, gradient):
    """Write dE/dv of each pair of a row from dE/dr and from dE/du_m, m ≥ 1; overwrites `across`."""
    two = radial.dtype.type(2.0)
    for q in range(n):
        x, y, z = angular[1, q], angular[2, q], angular[3, q]
        xx, xy, xz, yy, yz = across[4, q], across[5, q], across[6, q], across[7, q], across[8, q]
        to_x = across[1, q] + two * xx * x + xy * y + xz * z
        to_y = across[2, q] + two * yy * y + xy * x + yz * z
        to_z = across[3, q] + xz * x + yz * y
        inverse = radial[0, q]
        radially = along[q] - inverse * (x * to_x + y * to_y + z * to_z)
        p = chosen[q]
        gradient[p, 0] = x * radially + inverse * to_x
        gradient[p, 1] = y * radially + inverse * to_y
        gradient[p, 2] = z * radially + inverse * to_z


@_compiled
def _load_direction(n, padded, chosen, radial, angular, direction, along, tangent):
    """Fill the rates of r and of all u_m when each pair vector of a row moves along its direction."""
    real = radial.dtype.type
    two, zero = real(2.0), real(0.0)
    for q in range(n, padded):
        along[q] = zero
        for m in range(9):
            tangent[m, q] = zero
    for q in range(n):
        p = chosen[q]
        x, y, z, inverse = angular[1, q], angular[2, q], angular[3, q], radial[0, q]
        along[q] = x * direction[p, 0] + y * direction[p, 1] + z * direction[p, 2]
        dx = (direction[p, 0] - x * along[q]) * inverse
        dy = (direction[p, 1] - y * along[q]) * inverse
        dz = (direction[p, 2] - z * along[q]) * inverse
        tangent[0, q], tangent[1, q], tangent[2, q], tangent[3, q] = zero, dx, dy, dz
        tangent[4, q], tangent[5, q], tangent[6, q] = two * x * dx, x * dy + y * dx, x * dz + z * dx
        tangent[7, q], tangent[8, q] = two * y * dy, y * dz + z * dy


@_compiled
def sum_environments(offsets, vectors, kinds, centres, weights, cutoff, shape):
    """Return A[i,m,t,ν] = Σ_j s_ν u_m over the neighbours of kind t; `shape` is (components, kinds)."""
    n_sites, n_functions = offsets.shape[0] - 1, centres.shape[0]
    n_components, n_kinds = shape
    zero = vectors.dtype.type(0.0)
    sums = np.zeros((n_sites, n_components, n_kinds, n_functions), vectors.dtype)
    chosen, radial, angular, _, rows = _allocate(offsets, vectors.dtype)
    value = rows[0]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            _, padded = _load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            for k in range(n_functions):
                _evaluate_value(radial, padded, centres[k], weights[k], value)
                for m in range(n_components):
                    total = zero
                    for q in range(padded):
                        total += value[q] * angular[m, q]
                    sums[i, m, t, k] = total
    return sums


@_compiled
def environment_adjoint(offsets, vectors, kinds, centres, weights, cutoff, adjoint, with_parameters):
    """Return dE/dv of each pair, dE/dc_ν and dE/dw_ν from `adjoint` = dE/dA[i,m,t,ν]."""
    n_sites, n_components, n_kinds, n_functions = adjoint.shape
    two = vectors.dtype.type(2.0)
    gradient = np.zeros(vectors.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, across, rows = _allocate(offsets, vectors.dtype)
    value, slope, factor, along = rows[0], rows[1], rows[2], rows[3]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            n, padded = _load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            along[:padded] = 0.0
            across[:, :padded] = 0.0
            for k in range(n_functions):
                _evaluate(radial, padded, centres[k], weights[k], value, slope)
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
            _write_gradient(n, chosen, radial, angular, along, across, gradient)
    return gradient, on_centres, on_weights


@_compiled
def environment_adjoint_backward(offsets, vectors, kinds, centres, weights, cutoff, adjoint, direction):
    """Return the derivatives of Σ_p direction_p · dE/dv_p with respect to `adjoint`, c_ν and w_ν."""
    n_sites, n_components, n_kinds, n_functions = adjoint.shape
    real = vectors.dtype.type
    two = real(2.0)
    on_adjoint = np.zeros(adjoint.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, tangent, rows = _allocate(offsets, vectors.dtype)
    value, slope, factor, rate, along = rows[0], rows[1], rows[2], rows[3], rows[4]
    for i in range(n_sites):
        for t in range(n_kinds):
            kind = t if n_kinds > 1 else -1
            n, padded = _load_row(vectors, kinds, kind, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
            _load_direction(n, padded, chosen, radial, angular, direction, along, tangent)
            for k in range(n_functions):
                _evaluate(radial, padded, centres[k], weights[k], value, slope)
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


@_compiled
def sum_messages(offsets, vectors, second, centres, weights, cutoff, projected, n_components):
    """Return E[i,m,a] = Σ_j u_m y_a with the message y_a = Σ_ν s_ν Q[j,ν,a]; `projected` is Q."""
    n_functions, n_features = projected.shape[1:]
    sums = np.zeros((offsets.shape[0] - 1, n_components, n_features), vectors.dtype)
    chosen, radial, angular, _, _ = _allocate(offsets, vectors.dtype)
    values = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    message = np.empty(n_features, vectors.dtype)
    for i in range(sums.shape[0]):
        n, padded = _load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        for k in range(n_functions):
            _evaluate_value(radial, padded, centres[k], weights[k], values[k])
        for q in range(n):
            j = second[chosen[q]]
            message[:] = 0.0
            for k in range(n_functions):
                for a in range(n_features):
                    message[a] += values[k, q] * projected[j, k, a]
            for m in range(n_components):
                for a in range(n_features):
                    sums[i, m, a] += angular[m, q] * message[a]
    return sums


@_compiled
def message_adjoint(offsets, vectors, second, centres, weights, cutoff, projected, adjoint):
    """Return dE/dv of each pair, dE/dQ, dE/dc_ν and dE/dw_ν from `adjoint` = dE/dE[i,m,a]."""
    n_functions, n_features = projected.shape[1:]
    real = vectors.dtype.type
    gradient, on_projected = np.zeros(vectors.shape, vectors.dtype), np.zeros(projected.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, across, rows = _allocate(offsets, vectors.dtype)
    along = rows[0]
    values = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    slopes = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    message, received = np.empty(n_features, vectors.dtype), np.empty(n_features, vectors.dtype)
    for i in range(adjoint.shape[0]):
        n, padded = _load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        for k in range(n_functions):
            _evaluate(radial, padded, centres[k], weights[k], values[k], slopes[k])
        across[:, :padded] = 0.0
        for q in range(n):
            j = second[chosen[q]]
            message[:] = 0.0
            received[:] = 0.0
            for m in range(adjoint.shape[1]):
                for a in range(n_features):
                    received[a] += angular[m, q] * adjoint[i, m, a]
            along[q] = 0.0
            for k in range(n_functions):
                value, overlap = values[k, q], real(0.0)
                for a in range(n_features):
                    message[a] += value * projected[j, k, a]
                    on_projected[j, k, a] += value * received[a]
                    overlap += received[a] * projected[j, k, a]
                along[q] += overlap * slopes[k, q]
                d = radial[0, q] - centres[k]
                on_centres[k] += overlap * value * d * (real(2.0) * weights[k])
                on_weights[k] -= overlap * value * d * d
            for m in range(1, adjoint.shape[1]):
                overlap = real(0.0)
                for a in range(n_features):
                    overlap += adjoint[i, m, a] * message[a]
                across[m, q] = overlap
        _write_gradient(n, chosen, radial, angular, along, across, gradient)
    return gradient, on_projected, on_centres, on_weights


@_compiled
def message_adjoint_backward(offsets, vectors, second, centres, weights, cutoff, projected, adjoint, direction, bar):
    """Return the derivatives of Σ_p direction_p · dE/dv_p + Σ `bar` dE/dQ with respect to Q, `adjoint`, c_ν and w_ν."""
    n_functions, n_features = projected.shape[1:]
    real = vectors.dtype.type
    two = real(2.0)
    on_projected, on_adjoint = np.zeros(projected.shape, vectors.dtype), np.zeros(adjoint.shape, vectors.dtype)
    on_centres, on_weights = np.zeros(n_functions), np.zeros(n_functions)
    chosen, radial, angular, tangent, rows = _allocate(offsets, vectors.dtype)
    along = rows[0]
    values = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    slopes = np.empty((n_functions, radial.shape[1]), vectors.dtype)
    message, change, received, rate = np.empty((4, n_features), vectors.dtype)
    for i in range(adjoint.shape[0]):
        n, padded = _load_row(vectors, second, -1, offsets[i], offsets[i + 1], cutoff, chosen, radial, angular)
        _load_direction(n, padded, chosen, radial, angular, direction, along, tangent)
        for k in range(n_functions):
            _evaluate(radial, padded, centres[k], weights[k], values[k], slopes[k])
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
