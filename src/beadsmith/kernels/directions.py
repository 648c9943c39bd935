"""Where the neighbours of each site are, as the sweeps of MACE want it: harmonics of directions and spline weights.

Only neighbours within the cutoff are kept. Each site's row starts at a multiple of 16 entries, so that quantities that
do not depend on the channel are computed for whole vector registers of neighbours. Entries between rows hold zeros.

The harmonics are those of `beadsmith.networks.spherical_harmonics`, which also gives their source.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.rows import compiled
from beadsmith.kernels.splines import find_weights

LANES = 16
"""Entries to which rows are padded."""
N_HARMONICS = 16
"""Components of the harmonics up to l = 3."""


@compiled
def find_starts(offsets):
    """Return where each site's padded row starts; has one more entry than sites."""
    starts = np.zeros_like(offsets)
    for i in range(offsets.shape[0] - 1):
        starts[i + 1] = starts[i] + (offsets[i + 1] - offsets[i] + LANES - 1) // LANES * LANES
    return starts


@compiled
def load_rows_(first, last, offsets, vectors, second, classes, table, rows, unit, weights):
    """Fill the rows of sites `first` to `last` − 1.

    Parameters
    ----------
    offsets, vectors, second, classes : Start of each site's pairs; vector, neighbour and class of each pair.
    table : Cutoff, spacing of the knots, number of intervals, and rows of the table for each class.
    rows : For each site its padded start and number of entries; for each entry its pair, neighbour and first knot.
    unit : Filled with n and 1/r, shape (4, entries).
    weights : Filled with the weights of four knots and their slopes, shape (entries, 8).
    """
    real = vectors.dtype.type
    cutoff, spacing, n_intervals, n_knots = table
    starts, counts, pairs, neighbours, knots = rows
    for i in range(first, last):
        at = starts[i]
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
            distance = np.sqrt(x * x + y * y + z * z)
            if distance >= cutoff:
                continue
            inverse = real(1.0) / distance
            k, w0, w1, w2, w3, s0, s1, s2, s3 = find_weights(distance, spacing, n_intervals)
            pairs[at], neighbours[at], knots[at] = p, second[p], classes[p] * n_knots + k
            unit[0, at], unit[1, at], unit[2, at], unit[3, at] = x * inverse, y * inverse, z * inverse, inverse
            weights[at, 0], weights[at, 1], weights[at, 2], weights[at, 3] = w0, w1, w2, w3
            weights[at, 4], weights[at, 5], weights[at, 6], weights[at, 7] = s0, s1, s2, s3
            at += 1
        counts[i] = at - starts[i]
        for q in range(at, starts[i + 1]):
            for a in range(4):
                unit[a, q] = real(0.0)


@compiled
def fill_harmonics_(start, stop, unit, harmonics):
    """Fill Y_lm up to l = 3 of the entries from `start` to `stop` − 1, shape (16, entries)."""
    real = unit.dtype.type
    c1, c2, c20 = real(math.sqrt(3.0)), real(math.sqrt(15.0)), real(math.sqrt(5.0))
    c33, c32, c31, c30 = (
        real(math.sqrt(70.0) / 4.0),
        real(math.sqrt(105.0)),
        real(math.sqrt(42.0) / 4.0),
        real(math.sqrt(7.0) / 2.0),
    )
    half, two, three, four = real(0.5), real(2.0), real(3.0), real(4.0)
    for q in range(start, stop):
        harmonics[0, q] = real(1.0)
        harmonics[1, q] = c1 * unit[0, q]
        harmonics[2, q] = c1 * unit[1, q]
        harmonics[3, q] = c1 * unit[2, q]
    for q in range(start, stop):
        x, y, z = unit[0, q], unit[1, q], unit[2, q]
        harmonics[4, q] = c2 * x * z
        harmonics[5, q] = c2 * x * y
        harmonics[6, q] = c20 * (y * y - half * (x * x + z * z))
        harmonics[7, q] = c2 * y * z
        harmonics[8, q] = c2 * half * (z * z - x * x)
    for q in range(start, stop):
        x, y, z = unit[0, q], unit[1, q], unit[2, q]
        xx, yy, zz = x * x, y * y, z * z
        around = four * yy - xx - zz
        harmonics[9, q] = c33 * x * (three * zz - xx)
        harmonics[10, q] = c32 * x * y * z
        harmonics[11, q] = c31 * x * around
        harmonics[12, q] = c30 * y * (two * yy - three * (xx + zz))
        harmonics[13, q] = c31 * z * around
        harmonics[14, q] = c32 * half * y * (zz - xx)
        harmonics[15, q] = c33 * z * (zz - three * xx)


@compiled
def fill_rates_(start, stop, unit, move, rates):
    """Fill the rates of Y_lm when each direction n moves by `move`, shape (3, entries), at right angles to n."""
    real = unit.dtype.type
    c1, c2, c20 = real(math.sqrt(3.0)), real(math.sqrt(15.0)), real(math.sqrt(5.0))
    c33, c32, c31, c30 = (
        real(math.sqrt(70.0) / 4.0),
        real(math.sqrt(105.0)),
        real(math.sqrt(42.0) / 4.0),
        real(math.sqrt(7.0) / 2.0),
    )
    two, three, four, six = real(2.0), real(3.0), real(4.0), real(6.0)
    for q in range(start, stop):
        rates[0, q] = real(0.0)
        rates[1, q] = c1 * move[0, q]
        rates[2, q] = c1 * move[1, q]
        rates[3, q] = c1 * move[2, q]
    for q in range(start, stop):
        x, y, z, a, b, c = unit[0, q], unit[1, q], unit[2, q], move[0, q], move[1, q], move[2, q]
        rates[4, q] = c2 * (x * c + z * a)
        rates[5, q] = c2 * (x * b + y * a)
        rates[6, q] = c20 * (two * y * b - x * a - z * c)
        rates[7, q] = c2 * (y * c + z * b)
        rates[8, q] = c2 * (z * c - x * a)
    for q in range(start, stop):
        x, y, z, a, b, c = unit[0, q], unit[1, q], unit[2, q], move[0, q], move[1, q], move[2, q]
        xx, yy, zz = x * x, y * y, z * z
        around, turned = four * yy - xx - zz, two * (four * y * b - x * a - z * c)
        rates[9, q] = c33 * (three * a * (zz - xx) + six * x * z * c)
        rates[10, q] = c32 * (a * y * z + x * b * z + x * y * c)
        rates[11, q] = c31 * (a * around + x * turned)
        rates[12, q] = c30 * (b * (six * yy - three * (xx + zz)) - six * y * (x * a + z * c))
        rates[13, q] = c31 * (c * around + z * turned)
        rates[14, q] = c32 * (real(0.5) * b * (zz - xx) + y * (z * c - x * a))
        rates[15, q] = c33 * (three * c * (zz - xx) - six * x * z * a)


@compiled
def fill_tangents_(start, stop, unit, tangents):
    """Fill two directions at right angles to each n and to each other, shape (2, 3, entries).

    Source: T. Duff et al., Journal of Computer Graphics Techniques 6, 1 (2017), listing 3.
    """
    one = unit.dtype.type(1.0)
    for q in range(start, stop):
        x, y, z = unit[0, q], unit[1, q], unit[2, q]
        sign = -one if z < 0.0 else one
        a = -one / (sign + z)
        b = x * y * a
        tangents[0, 0, q], tangents[0, 1, q], tangents[0, 2, q] = one + sign * x * x * a, sign * b, -sign * x
        tangents[1, 0, q], tangents[1, 1, q], tangents[1, 2, q] = b, sign + y * y * a, -y


@compiled
def load_moves_(first, last, rows, direction, unit, weights, move):
    """Turn the slopes of the spline weights into rates, and fill those of n, when pair vectors move by `direction`."""
    starts, counts, pairs = rows[0], rows[1], rows[2]
    for i in range(first, last):
        for q in range(starts[i], starts[i] + counts[i]):
            p = pairs[q]
            x, y, z = unit[0, q], unit[1, q], unit[2, q]
            rate = x * direction[p, 0] + y * direction[p, 1] + z * direction[p, 2]
            for a in range(4, 8):
                weights[q, a] *= rate
            move[0, q] = (direction[p, 0] - x * rate) * unit[3, q]
            move[1, q] = (direction[p, 1] - y * rate) * unit[3, q]
            move[2, q] = (direction[p, 2] - z * rate) * unit[3, q]
        for q in range(starts[i] + counts[i], starts[i + 1]):
            move[0, q] = move[1, q] = move[2, q] = unit.dtype.type(0.0)


@compiled
def write_gradient_(first, last, rows, unit, tangents, slopes, gradient):
    """Write dE/dv of each pair from its slopes by r and along both tangents, shape (entries, 4)."""
    starts, counts, pairs = rows[0], rows[1], rows[2]
    for i in range(first, last):
        for q in range(starts[i], starts[i] + counts[i]):
            p, inverse = pairs[q], unit[3, q]
            along, one, other = slopes[q, 0], slopes[q, 1] * inverse, slopes[q, 2] * inverse
            for a in range(3):
                gradient[p, a] = along * unit[a, q] + one * tangents[0, a, q] + other * tangents[1, a, q]
