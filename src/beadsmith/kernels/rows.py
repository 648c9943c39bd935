"""Rows of neighbours: what all sweeps of HIP-NN-TS over the neighbours of a site have in common, for numba.

A sweep takes one site at a time, loads its neighbours within the cutoff into a short row (padded with neighbours of
no weight to whole vector registers) and evaluates each radial function along the row, so that nothing of the size
pairs × functions ever exists in memory. Sums run in a fixed order: results are reproducible bit for bit.

With x = 1/r, d = x − c_ν:  s_ν = exp(−w_ν d²) φ(r),  φ = cos²(π r / 2 r_c),  w_ν = σ_ν²/2,  c_ν = 1/μ_ν. The angular
components u_m are 1, n and n nᵀ (xx, xy, xz, yy, yz, minus 1/3 on the diagonal).

numba keeps machine code on disk and looks only at the date of the file that holds a kernel: after a change in this
file, delete `__pycache__` beside it (`make clean` does).
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

# no "nnan" and no "ninf": a position that is not a number must reach the energy
_FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function):
    """Compile a function at its first call, and keep the machine code on disk where that is possible."""
    try:
        return njit(cache=True, nogil=True, fastmath=_FAST_MATH)(function)
    except RuntimeError:
        # neither the package's folder nor the user's cache folder can be written to
        return njit(nogil=True, fastmath=_FAST_MATH)(function)


_LANES = 16
"""Rows are padded to whole registers of this many neighbours: AVX-512 in float32."""


def exp_of_negative(x):
    """Return exp(x) for x ≤ 0 in a form that compilers turn into vector instructions."""
    return math.exp(x)


@overload(exp_of_negative)
def _overload_exp_of_negative(x):
    # exp(x) = 2^k exp(f), |f| ≤ ln(2)/2. The series ends where its remainder is below one rounding, and x where 2^k
    # stops to be a normal number. The relative error is about |x| roundings, as from the rounding of x itself
    if x == types.float32:

        def implementation(x):
            x = np.float32(-87.0) if x < np.float32(-87.0) else x
            k = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
            f = x - k * np.float32(0.6931471805599453)
            series = np.float32(1.0)
            for n in range(7, 0, -1):
                series = np.float32(1.0) + series * f * np.float32(1.0 / n)
            power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23))
            return series * power.view(np.float32)

    else:

        def implementation(x):
            x = -708.0 if x < -708.0 else x
            k = np.floor(x * 1.4426950408889634 + 0.5)
            f = x - k * 0.6931471805599453
            series = 1.0
            for n in range(13, 0, -1):
                series = 1.0 + series * f * (1.0 / n)
            power = np.int64((np.int64(k) + np.int64(1023)) << np.int64(52))
            return series * power.view(np.float64)

    return implementation


@compiled
def find_offsets(first, second, n_sites):
    """Return where each site's pairs start, and whether the pairs are sorted and name existing sites only."""
    offsets = np.zeros(n_sites + 1, np.int64)
    is_valid, previous = True, 0
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        if i < previous or i >= n_sites or j < 0 or j >= n_sites:
            is_valid = False
            break
        offsets[i + 1] += 1
        previous = i
    for i in range(n_sites):
        offsets[i + 1] += offsets[i]
    return offsets, is_valid


@compiled
def row_width(offsets):
    """Return the padded length of the longest row."""
    longest = 0
    for i in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    return (longest + _LANES - 1) // _LANES * _LANES


@compiled
def allocate(offsets, dtype):
    """Return memory for the longest row: pair numbers, 1/r with φ and dφ/dr, u_m, another nine rows, and five more."""
    width = row_width(offsets)
    nine = (9, width)
    return (
        np.empty(width, np.int64),
        np.empty((3, width), dtype),
        np.empty(nine, dtype),
        np.empty(nine, dtype),
        np.empty((5, width), dtype),
    )


@compiled
def load_row(vectors, kinds, kind, start, stop, cutoff, chosen, radial, angular):
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
    # several short loops: the compiler gives up on one long loop with this many arrays
    for q in range(padded):
        x, y, z = angular[1, q], angular[2, q], angular[3, q]
        radial[2, q] = np.sqrt(x * x + y * y + z * z)
        radial[0, q] = one / radial[2, q]
    for q in range(padded):
        angular[0, q] = one
        angular[1, q] *= radial[0, q]
        angular[2, q] *= radial[0, q]
        angular[3, q] *= radial[0, q]
    for q in range(padded):
        angular[4, q] = angular[1, q] * angular[1, q] - third
        angular[5, q] = angular[1, q] * angular[2, q]
        angular[6, q] = angular[1, q] * angular[3, q]
        angular[7, q] = angular[2, q] * angular[2, q] - third
        angular[8, q] = angular[2, q] * angular[3, q]
    for q in range(padded):
        # Taylor series on [0, π/2]: the first term left out is below one rounding of float64
        a = radial[2, q] * (real(0.5 * math.pi) / cutoff)
        square, cosine, sine = a * a, one, one
        for k in range(22, 0, -2):
            cosine = one - cosine * square * real(1.0 / (k * (k - 1)))
        for k in range(22, 0, -2):
            sine = one - sine * square * real(1.0 / (k * (k + 1)))
        radial[1, q] = cosine * cosine
        radial[2, q] = cosine * sine * a * (real(-math.pi) / cutoff)
    for q in range(n, padded):
        radial[1, q], radial[2, q] = real(0.0), real(0.0)
    return n, padded


@compiled
def evaluate_value(radial, padded, centre, weight, value):
    """Fill the value of one radial function along a row."""
    for q in range(padded):
        d = radial[0, q] - centre
        value[q] = exp_of_negative(-(weight * d * d)) * radial[1, q]


@compiled
def evaluate(radial, padded, centre, weight, value, slope):
    """Fill the value and the slope ds/dr of one radial function along a row."""
    two = radial.dtype.type(2.0)
    for q in range(padded):
        inverse = radial[0, q]
        d = inverse - centre
        gaussian = exp_of_negative(-(weight * d * d))
        value[q] = gaussian * radial[1, q]
        slope[q] = gaussian * (radial[2, q] + two * weight * d * inverse * inverse * radial[1, q])


@compiled
def write_gradient(n, chosen, radial, angular, along, across, gradient):
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


@compiled
def load_direction(n, padded, chosen, radial, angular, direction, along, tangent):
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


@compiled
def add_product_(total, matrix, vector):
    """Add the product of a row vector with a matrix."""
    whole = matrix.shape[0] // 4 * 4
    # four rows at a time: the total is loaded and stored once for four products
    for b in range(0, whole, 4):
        f0, f1, f2, f3 = vector[b], vector[b + 1], vector[b + 2], vector[b + 3]
        for a in range(matrix.shape[1]):
            pair = f0 * matrix[b, a] + f1 * matrix[b + 1, a]
            total[a] += pair + (f2 * matrix[b + 2, a] + f3 * matrix[b + 3, a])
    for b in range(whole, matrix.shape[0]):
        factor = vector[b]
        for a in range(matrix.shape[1]):
            total[a] += factor * matrix[b, a]
