"""Sums over neighbours of features times tabulated filters, and their derivatives, compiled by numba.

A filter W_a(r) is a cubic spline with coefficients c: W_a(r_p) = Σ_q w_pq c[k_p + q, a], q = 0..3, and its slope has
the weights s_pq instead (see `splines`). The first row k_p already points into the table of the pair's class.

The sweeps go along rows of neighbours and write each output once, so that results depend neither on the number of
threads nor on the rest of a batch by a single bit. Lists hold both directions and W(r_ij) = W(r_ji), so a sum over the
pairs that point *to* a site is a sum over its own row. The readable twins are `Schnet.forward` and its derivatives.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.rows import compiled
from beadsmith.kernels.splines import find_weights


@compiled
def locate_pairs(offsets, second, vectors, classes, spacing, n_intervals, cutoff):
    """Return all pairs within the cutoff in the form the sweeps take.

    Parameters
    ----------
    offsets, second, vectors : Start of each row (sites + 1), neighbour and vector [nm] of each pair.
    classes : Class of each pair, or empty for one class.
    spacing, n_intervals, cutoff : Grid of the tables [nm].

    Returns
    -------
    Offsets, number in the given list, neighbour, first row in the tables, weights (pairs, 8) and unit vectors.
    """
    n_pairs, real = len(second), vectors.dtype.type
    chosen, neighbours, starts = np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64)
    weights, units = np.empty((n_pairs, 8), vectors.dtype), np.empty((n_pairs, 3), vectors.dtype)
    kept = np.zeros(len(offsets), np.int64)
    n = 0
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
            distance = np.sqrt(x * x + y * y + z * z)
            # written so that a distance that is not a number is kept
            if distance >= cutoff:
                continue
            k, w0, w1, w2, w3, s0, s1, s2, s3 = find_weights(distance, spacing, n_intervals)
            chosen[n], neighbours[n] = p, second[p]
            starts[n] = k + (classes[p] * (n_intervals + 2) if len(classes) else 0)
            weights[n, 0], weights[n, 1], weights[n, 2], weights[n, 3] = w0, w1, w2, w3
            weights[n, 4], weights[n, 5], weights[n, 6], weights[n, 7] = s0, s1, s2, s3
            # two sites on one point push in no direction
            inverse = real(0.0) if distance == real(0.0) else real(1.0) / distance
            units[n, 0], units[n, 1], units[n, 2] = x * inverse, y * inverse, z * inverse
            n += 1
        kept[i + 1] = n
    return kept, chosen[:n], neighbours[:n], starts[:n], weights[:n], units[:n]


@compiled
def find_reverse(offsets, neighbours, chosen, vectors):
    """Return the number of the pair that points back, for each pair; −1 where rounding put it beyond the cutoff.

    `vectors` are those of the given list, `chosen` says which pairs of that list are within the cutoff.
    """
    reverse, cursor = np.full(len(neighbours), -1, np.int64), offsets[:-1].copy()
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            j = neighbours[p]
            # in lists sorted by first and second site the next pair of the other row is the right one, unless several
            # images of a site are neighbours
            q, start, stop = cursor[j], offsets[j], offsets[j + 1]
            is_next = q < stop and neighbours[q] == i
            if is_next and (q == start or neighbours[q - 1] != i) and (q + 1 == stop or neighbours[q + 1] != i):
                reverse[p] = q
            else:
                reverse[p] = _search_reverse(start, stop, i, vectors[chosen[p]], neighbours, chosen, vectors)
            if reverse[p] >= 0:
                cursor[j] = reverse[p] + 1
    return reverse


@compiled
def _search_reverse(start, stop, site, vector, neighbours, chosen, vectors):
    """Return the pair to a site in a row whose vector is closest to minus the given one, or −1."""
    found, closest = -1, 0.0
    for q in range(start, stop):
        if neighbours[q] == site:
            distance = 0.0
            for a in range(3):
                distance += (vector[a] + vectors[chosen[q], a]) ** 2
            if found < 0 or distance < closest:
                found, closest = q, distance
    return found


@compiled
def sum_filtered(pairs, table, features, start, stop, sums):
    """Fill y_ia = Σ_j W_a(r_ij) x_ja for the sites from `start` to `stop`."""
    offsets, neighbours, starts, weights = pairs
    n_features = features.shape[1]
    for i in range(start, stop):
        first, last = offsets[i], offsets[i + 1]
        for a in range(n_features):
            sums[i, a] = 0.0
        if (last - first) % 2 == 1:
            j, k = neighbours[first], starts[first]
            w0, w1, w2, w3 = weights[first, 0], weights[first, 1], weights[first, 2], weights[first, 3]
            for a in range(n_features):
                filter_a = w0 * table[k, a] + w1 * table[k + 1, a] + w2 * table[k + 2, a] + w3 * table[k + 3, a]
                sums[i, a] = filter_a * features[j, a]
            first += 1
        # two neighbours at a time: the sums are loaded and stored half as often
        for p in range(first, last, 2):
            j, k = neighbours[p], starts[p]
            m, n = neighbours[p + 1], starts[p + 1]
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            v0, v1, v2, v3 = weights[p + 1, 0], weights[p + 1, 1], weights[p + 1, 2], weights[p + 1, 3]
            for a in range(n_features):
                one = w0 * table[k, a] + w1 * table[k + 1, a] + w2 * table[k + 2, a] + w3 * table[k + 3, a]
                other = v0 * table[n, a] + v1 * table[n + 1, a] + v2 * table[n + 2, a] + v3 * table[n + 3, a]
                sums[i, a] += one * features[j, a] + other * features[m, a]


@compiled
def filter_slopes(pairs, table, features, adjoint, start, stop, slopes):
    """Fill dE/dr_ij = Σ_a W'_a(r_ij) g_ia x_ja with g = dE/dy, for the pairs of the sites from `start` to `stop`."""
    offsets, neighbours, starts, weights = pairs
    zero = table.dtype.type(0.0)
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            total = zero
            for a in range(features.shape[1]):
                slope = s0 * table[k, a] + s1 * table[k + 1, a] + s2 * table[k + 2, a] + s3 * table[k + 3, a]
                total += slope * (adjoint[i, a] * features[j, a])
            slopes[p] = total


@compiled
def filter_adjoint(pairs, table, features, adjoint, start, stop, on_features, slopes):
    """Fill dE/dx_ia = Σ_j W_a(r_ij) g_ja and what `filter_slopes` fills."""
    offsets, neighbours, starts, weights = pairs
    zero = table.dtype.type(0.0)
    for i in range(start, stop):
        for a in range(features.shape[1]):
            on_features[i, a] = zero
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            total = zero
            for a in range(features.shape[1]):
                c0, c1, c2, c3 = table[k, a], table[k + 1, a], table[k + 2, a], table[k + 3, a]
                on_features[i, a] += (w0 * c0 + w1 * c1 + w2 * c2 + w3 * c3) * adjoint[j, a]
                total += (s0 * c0 + s1 * c1 + s2 * c2 + s3 * c3) * (adjoint[i, a] * features[j, a])
            slopes[p] = total


@compiled
def slopes_backward(pairs, table, features, adjoint, bars, start, stop, on_features, on_adjoint):
    """Fill the derivatives of Σ_p S_p dE/dr_p by x and by g; `bars` is (S_p, S of the pair that points back)."""
    offsets, neighbours, starts, weights = pairs
    here, back = bars
    zero = table.dtype.type(0.0)
    for i in range(start, stop):
        for a in range(features.shape[1]):
            on_features[i, a], on_adjoint[i, a] = zero, zero
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            for a in range(features.shape[1]):
                slope = s0 * table[k, a] + s1 * table[k + 1, a] + s2 * table[k + 2, a] + s3 * table[k + 3, a]
                on_adjoint[i, a] += here[p] * slope * features[j, a]
                on_features[i, a] += back[p] * slope * adjoint[j, a]


@compiled
def adjoint_backward(pairs, table, features, adjoint, bars, bar, start, stop, on_features, on_adjoint):
    """Fill the derivatives of Σ_p S_p dE/dr_p + Σ_ia X_ia dE/dx_ia by x and by g; `bar` is X."""
    offsets, neighbours, starts, weights = pairs
    here, back = bars
    zero = table.dtype.type(0.0)
    for i in range(start, stop):
        for a in range(features.shape[1]):
            on_features[i, a], on_adjoint[i, a] = zero, zero
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            for a in range(features.shape[1]):
                c0, c1, c2, c3 = table[k, a], table[k + 1, a], table[k + 2, a], table[k + 3, a]
                value = w0 * c0 + w1 * c1 + w2 * c2 + w3 * c3
                slope = s0 * c0 + s1 * c1 + s2 * c2 + s3 * c3
                on_adjoint[i, a] += value * bar[j, a] + here[p] * slope * features[j, a]
                on_features[i, a] += back[p] * slope * adjoint[j, a]


@compiled
def _is_counted(p, reverse, i, j):
    """Return whether a pair stands for both directions; each row counts about half of its pairs."""
    # in squares of a checkerboard: rows of neighbours are mostly sorted, so that processors can guess the next answer
    return reverse < 0 or (p < reverse) == ((i // 32 + j // 32) % 2 == 0)


@compiled
def values_table_gradient(pairs, reverse, left, right, start, stop, on_table):
    """Add the derivative of Σ_p Σ_a u_ia W_a(r_p) v_ja by the table; `left` is u, `right` is v."""
    offsets, neighbours, starts, weights = pairs
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            if not _is_counted(p, reverse[p], i, j):
                continue
            both = left.dtype.type(reverse[p] >= 0)
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            for a in range(left.shape[1]):
                value = left[i, a] * right[j, a] + both * (left[j, a] * right[i, a])
                on_table[k, a] += w0 * value
                on_table[k + 1, a] += w1 * value
                on_table[k + 2, a] += w2 * value
                on_table[k + 3, a] += w3 * value


@compiled
def slopes_table_gradient(pairs, reverse, features, adjoint, bars, start, stop, on_table):
    """Add the derivative of Σ_p S_p dE/dr_p by the table; arguments as in `slopes_backward`."""
    offsets, neighbours, starts, weights = pairs
    here, back = bars
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            if not _is_counted(p, reverse[p], i, j):
                continue
            one, other = here[p], back[p]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            for a in range(features.shape[1]):
                slope = one * adjoint[i, a] * features[j, a] + other * adjoint[j, a] * features[i, a]
                on_table[k, a] += s0 * slope
                on_table[k + 1, a] += s1 * slope
                on_table[k + 2, a] += s2 * slope
                on_table[k + 3, a] += s3 * slope


@compiled
def adjoint_table_gradient(pairs, reverse, features, adjoint, bars, bar, start, stop, on_table):
    """Add the derivative of Σ_p S_p dE/dr_p + Σ_ia X_ia dE/dx_ia by the table; arguments as in `adjoint_backward`."""
    offsets, neighbours, starts, weights = pairs
    here, back = bars
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j, k = neighbours[p], starts[p]
            if not _is_counted(p, reverse[p], i, j):
                continue
            one, other, both = here[p], back[p], features.dtype.type(reverse[p] >= 0)
            w0, w1, w2, w3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            s0, s1, s2, s3 = weights[p, 4], weights[p, 5], weights[p, 6], weights[p, 7]
            for a in range(features.shape[1]):
                value = bar[i, a] * adjoint[j, a] + both * (bar[j, a] * adjoint[i, a])
                slope = one * adjoint[i, a] * features[j, a] + other * adjoint[j, a] * features[i, a]
                on_table[k, a] += w0 * value + s0 * slope
                on_table[k + 1, a] += w1 * value + s1 * slope
                on_table[k + 2, a] += w2 * value + s2 * slope
                on_table[k + 3, a] += w3 * value + s3 * slope
