"""Rows of neighbours: what all sweeps of HIP-NN-TS over pairs have in common, for numba.

A sweep takes a few sites at a time, loads their pairs within the cutoff and evaluates the radial functions of each, so
that nothing of the size pairs × functions ever exists in memory. Sums run in a fixed order: results are reproducible
bit for bit. φ = cos²(π r / 2 r_c) switches the radial functions off; the angular components u_m are 1, n and n nᵀ (xx,
xy, xz, yy, yz, minus 1/3 on the diagonal).

numba keeps machine code on disk and looks only at the date of the file that holds a kernel: after a change in this
file, delete `__pycache__` beside it (`make clean` does).
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

# no "nnan" and no "ninf": a position that is not a number must reach the energy
_FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function):
    """Compile a function at its first call, and keep the machine code on disk where that is possible.

    Compiled functions become part of those that call them. Otherwise several copies of one function, each rounding in
    its own way, may be in a process, and a process that compiles picks another one than a process that loads from
    disk: then a killed run would not end with the same bits.
    """
    # a division that may raise is no vector instruction
    options: Any = {"nogil": True, "fastmath": _FAST_MATH, "error_model": "numpy", "forceinline": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # neither the package's folder nor the user's cache folder can be written to
        return njit(**options)(function)


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


def cosine_and_sine(x):
    """Return cos(x) and sin(x) for 0 ≤ x ≤ π/2 in a form that compilers turn into vector instructions."""
    return math.cos(x), math.sin(x)


@overload(cosine_and_sine)
def _overload_cosine_and_sine(x):
    # Taylor series: the first term left out is below one rounding
    last = 14 if x == types.float32 else 22
    real = np.float32 if x == types.float32 else np.float64

    def implementation(x):
        square, cosine, sine = x * x, real(1.0), real(1.0)
        for k in range(last, 0, -2):
            cosine = real(1.0) - cosine * square * real(1.0 / (k * (k - 1)))
        for k in range(last, 0, -2):
            sine = real(1.0) - sine * square * real(1.0 / (k * (k + 1)))
        return cosine, sine * x

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
def list_segments(offsets, second, vectors, kinds, n_kinds, cutoff):
    """Return where the pairs of each site with each kind of neighbour start, and the pairs within the cutoff."""
    n_sites = offsets.shape[0] - 1
    segments = np.zeros(n_sites * n_kinds + 1, np.int64)
    order = np.empty(second.shape[0], np.int64)
    n = 0
    for i in range(n_sites):
        for t in range(n_kinds):
            for p in range(offsets[i], offsets[i + 1]):
                x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
                # a vector that is not a number is kept
                is_far = x * x + y * y + z * z >= cutoff * cutoff
                if not is_far and (n_kinds == 1 or kinds[second[p]] == t):
                    order[n] = p
                    n += 1
            segments[i * n_kinds + t + 1] = n
    return segments, order[:n]


@compiled
def list_sources(second, order, n_sites):
    """Return where the pairs that end at each site start, and these pairs."""
    offsets = np.zeros(n_sites + 1, np.int64)
    for p in order:
        offsets[second[p] + 1] += 1
    for j in range(n_sites):
        offsets[j + 1] += offsets[j]
    filled = offsets[:-1].copy()
    found = np.empty_like(order)
    for p in order:
        j = second[p]
        found[filled[j]] = p
        filled[j] += 1
    return offsets, found


@compiled
def longest_row(offsets, start, stop, step):
    """Return the largest number of pairs of `step` neighbouring rows, padded to whole vector registers."""
    longest = 0
    for i in range(start, stop, step):
        longest = max(longest, offsets[min(i + step, stop)] - offsets[i])
    return (longest + 15) // 16 * 16


@compiled
def load_pairs(vectors, order, start, stop, cutoff, radial, angular):
    """Fill `radial` with 1/r, φ and dφ/dr of some pairs, and `angular` with all nine components; return their number.

    Both are padded with pairs at the cutoff to whole vector registers.
    """
    real = vectors.dtype.type
    one, third = real(1.0), real(1.0 / 3.0)
    n = stop - start
    for q in range(n):
        p = order[start + q]
        angular[1, q], angular[2, q], angular[3, q] = vectors[p, 0], vectors[p, 1], vectors[p, 2]
    padded = (n + 15) // 16 * 16
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
        a = radial[2, q] * (real(0.5 * math.pi) / cutoff)
        cosine, sine = cosine_and_sine(a)
        radial[1, q] = cosine * cosine
        radial[2, q] = cosine * sine * (real(-math.pi) / cutoff)
    return n


@compiled
def write_gradient(order, start, n, radial, angular, along, across, gradient):
    """Write dE/dv of some pairs from dE/dr and from dE/du_m, m ≥ 1."""
    two = radial.dtype.type(2.0)
    for q in range(n):
        x, y, z = angular[1, q], angular[2, q], angular[3, q]
        xx, xy, xz, yy, yz = across[4, q], across[5, q], across[6, q], across[7, q], across[8, q]
        to_x = across[1, q] + two * xx * x + xy * y + xz * z
        to_y = across[2, q] + two * yy * y + xy * x + yz * z
        to_z = across[3, q] + xz * x + yz * y
        inverse = radial[0, q]
        radially = along[q] - inverse * (x * to_x + y * to_y + z * to_z)
        p = order[start + q]
        gradient[p, 0] = x * radially + inverse * to_x
        gradient[p, 1] = y * radially + inverse * to_y
        gradient[p, 2] = z * radially + inverse * to_z


@compiled
def load_direction(order, start, n, radial, angular, direction, along, tangent):
    """Fill the rates of r and of all u_m when each pair vector moves along its direction."""
    real = radial.dtype.type
    two, zero = real(2.0), real(0.0)
    for q in range(n):
        p = order[start + q]
        x, y, z, inverse = angular[1, q], angular[2, q], angular[3, q], radial[0, q]
        along[q] = x * direction[p, 0] + y * direction[p, 1] + z * direction[p, 2]
        dx = (direction[p, 0] - x * along[q]) * inverse
        dy = (direction[p, 1] - y * along[q]) * inverse
        dz = (direction[p, 2] - z * along[q]) * inverse
        tangent[0, q], tangent[1, q], tangent[2, q], tangent[3, q] = zero, dx, dy, dz
        tangent[4, q], tangent[5, q], tangent[6, q] = two * x * dx, x * dy + y * dx, x * dz + z * dx
        tangent[7, q], tangent[8, q] = two * y * dy, y * dz + z * dy
