"""All neighbour pairs of a batch from one compiled search: cells of half a cutoff, any periodic cell, any cutoff.

The slow twin is the search over all images in the tests. Pairs come out sorted by first site, second site and shift
without being compared: each unordered pair is found once, with second sites ascending, and dealt out to its rows.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.rows import compiled

FEW_SITES = 48
"""Up to this size an open system is searched without cells."""


@compiled
def search_pairs(positions, starts, cells, cutoff, like):
    """Return index (2, pairs), row offsets (sites + 1), half list and shifts (pairs, 3) of all directed pairs.

    Parameters
    ----------
    positions : (sites, 3), finite, float64.
    starts : first site of each system, and the number of sites.
    cells : (systems, 3, 3), rows are cell vectors, float64; (0, 3, 3) for open systems.
    cutoff : largest distance, not included.
    like : empty array of the precision that the shifts should have.
    """
    first, second = np.empty(64 * len(positions) + 64, np.int32), np.empty(64 * len(positions) + 64, np.int32)
    shifts = np.empty((len(first), 3), np.int32)
    n_found = 0
    for system in range(len(starts) - 1):
        start, stop = starts[system], starts[system + 1]
        cell = cells[system] if cells.shape[0] > 0 else np.eye(3)
        bins = _sort_into_bins(positions[start:stop], cell, cells.shape[0] > 0, cutoff)
        while True:
            n_new = _search_system(
                positions[start:stop], cell, bins, cutoff, (first[n_found:], second[n_found:], shifts[n_found:])
            )
            if n_new >= 0:
                break
            first, second, shifts = _doubled(first), _doubled(second), _doubled(shifts)
        for n in range(n_found, n_found + n_new):
            first[n] += start
            second[n] += start
        n_found += n_new
    return _deal_out(first[:n_found], second[:n_found], shifts[:n_found], len(positions), like)


@compiled
def _doubled(values):
    larger = np.empty((2 * len(values),) + values.shape[1:], values.dtype)
    larger[: len(values)] = values
    return larger


@compiled
def _sort_into_bins(positions, cell, is_periodic, cutoff):
    """Return everything about the bins of one system.

    That is: number of bins along each cell vector; first and last bin to search for each site (beyond the borders in
    the next cells); first place of each bin; sites in the order of the bins, ascending in each bin; image of each site,
    the whole cells that it lies away.
    """
    n_sites = len(positions)
    inverse = np.linalg.inv(cell)
    n_bins, reach = np.ones(3, np.int64), np.zeros(3, np.int64)
    fractional, image = np.empty((n_sites, 3)), np.zeros((n_sites, 3), np.int64)
    for i in range(n_sites):
        for a in range(3):
            fractional[i, a] = (
                positions[i, 0] * inverse[0, a] + positions[i, 1] * inverse[1, a] + positions[i, 2] * inverse[2, a]
            )
    most = max(1, int(2.0 * n_sites ** (1.0 / 3.0)))
    for a in range(3):
        # the distance between the two faces along a cell vector
        height = 1.0 / math.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
        lowest, width = 0.0, 1.0
        if not is_periodic:
            lowest = fractional[:, a].min() if n_sites > 0 else 0.0
            width = (fractional[:, a].max() - lowest if n_sites > 0 else 0.0) + 1e-9
        if is_periodic or n_sites > FEW_SITES:
            n_bins[a] = min(most, max(1, int(width * height / (0.5 * cutoff))))
        # rounding may put a site on a border into the next bin: a little is added
        reach[a] = math.ceil(cutoff * n_bins[a] / (width * height) * (1.0 + 1e-12) + 1e-9)
        for i in range(n_sites):
            if is_periodic:
                image[i, a] = math.floor(fractional[i, a])
                fractional[i, a] -= image[i, a]
            else:
                fractional[i, a] = (fractional[i, a] - lowest) / width
    where = np.empty((n_sites, 3), np.int64)
    counts = np.zeros(n_bins[0] * n_bins[1] * n_bins[2] + 1, np.int64)
    for i in range(n_sites):
        for a in range(3):
            where[i, a] = min(n_bins[a] - 1, max(0, int(fractional[i, a] * n_bins[a])))
        counts[(where[i, 0] * n_bins[1] + where[i, 1]) * n_bins[2] + where[i, 2] + 1] += 1
    offsets = np.cumsum(counts)
    order, filled = np.empty(n_sites, np.int64), offsets[:-1].copy()
    for i in range(n_sites):
        b = (where[i, 0] * n_bins[1] + where[i, 1]) * n_bins[2] + where[i, 2]
        order[filled[b]] = i
        filled[b] += 1
    if is_periodic:
        return n_bins, where - reach, where + reach, offsets, order, image
    return n_bins, np.maximum(where - reach, 0), np.minimum(where + reach, n_bins - 1), offsets, order, image


@compiled
def _search_system(positions, cell, bins, cutoff, found):
    """Write the pairs of one system with first ≤ second, second sites ascending; return their number, −1 if too many.

    For the same two sites the shifts ascend, because the bins of the first are visited downwards.
    """
    n_bins, lowest, highest, offsets, order, image = bins
    first, second, shifts = found
    square_cutoff = cutoff * cutoff
    n = 0
    for j in range(len(positions)):
        xj, yj, zj = positions[j, 0], positions[j, 1], positions[j, 2]
        for bx in range(highest[j, 0], lowest[j, 0] - 1, -1):
            wx = bx // n_bins[0]
            for by in range(highest[j, 1], lowest[j, 1] - 1, -1):
                wy = by // n_bins[1]
                for bz in range(highest[j, 2], lowest[j, 2] - 1, -1):
                    wz = bz // n_bins[2]
                    b = ((bx - wx * n_bins[0]) * n_bins[1] + by - wy * n_bins[1]) * n_bins[2] + bz - wz * n_bins[2]
                    for place in range(offsets[b], offsets[b + 1]):
                        i = order[place]
                        if i > j:
                            break
                        # whole cells to add to the second site, for positions as they are given
                        sx = image[i, 0] - image[j, 0] - wx
                        sy = image[i, 1] - image[j, 1] - wy
                        sz = image[i, 2] - image[j, 2] - wz
                        x = xj - positions[i, 0] + (sx * cell[0, 0] + sy * cell[1, 0] + sz * cell[2, 0])
                        y = yj - positions[i, 1] + (sx * cell[0, 1] + sy * cell[1, 1] + sz * cell[2, 1])
                        z = zj - positions[i, 2] + (sx * cell[0, 2] + sy * cell[1, 2] + sz * cell[2, 2])
                        if x * x + y * y + z * z < square_cutoff and not (i == j and sx == 0 and sy == 0 and sz == 0):
                            if n == len(first):
                                return -1
                            first[n], second[n] = i, j
                            shifts[n, 0], shifts[n, 1], shifts[n, 2] = sx, sy, sz
                            n += 1
    return n


@compiled
def _deal_out(first, second, found_shifts, n_sites, like):
    """Return the sorted directed pairs of pairs with first ≤ second whose second sites ascend.

    Each row holds first the smaller sites, then itself and the larger ones.
    """
    smaller, larger = np.zeros(n_sites, np.int64), np.zeros(n_sites, np.int64)
    for n in range(len(first)):
        larger[first[n]] += 1
        if first[n] != second[n]:
            smaller[second[n]] += 1
    offsets = np.zeros(n_sites + 1, np.int64)
    for i in range(n_sites):
        offsets[i + 1] = offsets[i] + smaller[i] + larger[i]
    n_pairs = offsets[n_sites]
    index, shifts = np.empty((2, n_pairs), np.int64), np.empty((n_pairs, 3), like.dtype)
    half = np.empty(len(first), np.int64)
    filled = offsets[:-1] + smaller
    for n in range(len(first)):
        i = first[n]
        place = filled[i]
        index[0, place], index[1, place] = i, second[n]
        for a in range(3):
            shifts[place, a] = found_shifts[n, a]
        filled[i] += 1
    filled[:] = offsets[:-1]
    n_half = 0
    for i in range(n_sites):
        for place in range(offsets[i] + smaller[i], offsets[i + 1]):
            x, y, z = shifts[place, 0], shifts[place, 1], shifts[place, 2]
            # a site and its own image are found from both sides
            if index[1, place] > i or x > 0 or (x == 0 and (y > 0 or (y == 0 and z > 0))):
                half[n_half] = place
                n_half += 1
        # backwards: the opposite shifts of the same two sites then ascend
        for place in range(offsets[i + 1] - 1, offsets[i] + smaller[i] - 1, -1):
            j = index[1, place]
            if j == i:
                break
            opposite = filled[j]
            index[0, opposite], index[1, opposite] = j, i
            for a in range(3):
                shifts[opposite, a] = -shifts[place, a] if shifts[place, a] != 0 else shifts[place, a]
            filled[j] += 1
    return index, offsets, half[:n_half].copy(), shifts


@compiled
def classify_pairs(positions, cells, system_index, molecule_index, bonds, pairs):
    """Return the bond class of each pair: 0 other molecule, 1 1-2, 2 1-3, 3 1-4, 4 farther in one molecule.

    Only the nearest image of two sites counts as intramolecular. Walks along bonds grow by one bond at a time; the
    shortest walk between two sites counts.

    Parameters
    ----------
    positions, cells : as in `search_pairs`, cells in any precision.
    system_index, molecule_index : of each site.
    bonds : (bonds, 2).
    pairs : index (2, pairs), row offsets and shifts, sorted.
    """
    index, offsets, shifts = pairs
    n_sites = len(positions)
    starts = np.zeros(n_sites + 1, np.int64)
    for n in range(len(bonds)):
        starts[bonds[n, 0] + 1] += 1
        starts[bonds[n, 1] + 1] += 1
    starts = np.cumsum(starts)
    ends, filled = np.empty(2 * len(bonds), np.int64), starts[:-1].copy()
    for n in range(len(bonds)):
        for a, b in ((bonds[n, 0], bonds[n, 1]), (bonds[n, 1], bonds[n, 0])):
            ends[filled[a]] = b
            filled[a] += 1
    classes = np.zeros(index.shape[1], np.int64)
    separation, reached = np.full(n_sites, 4, np.int64), np.empty(n_sites, np.int64)
    for i in range(n_sites):
        n_reached = _walk(i, starts, ends, separation, reached)
        place = offsets[i]
        while place < offsets[i + 1]:
            j = index[1, place]
            nearest, smallest, following = place, np.inf, place
            while following < offsets[i + 1] and index[1, following] == j:
                square = 0.0
                for a in range(3):
                    length = positions[j, a] - positions[i, a]
                    if cells.shape[0] > 0:
                        for b in range(3):
                            length += shifts[following, b] * cells[system_index[i], b, a]
                    square += length * length
                if square < smallest:
                    nearest, smallest = following, square
                following += 1
            if j != i and molecule_index[j] == molecule_index[i]:
                classes[nearest] = separation[j]
            place = following
        for n in range(n_reached):
            separation[reached[n]] = 4
    return classes


@compiled
def _walk(origin, starts, ends, separation, reached):
    """Mark sites up to three bonds from the origin, which itself becomes 0; return how many were reached."""
    separation[origin], reached[0] = 0, origin
    n_reached, begin = 1, 0
    for n_bonds in range(1, 4):
        stop = n_reached
        for n in range(begin, stop):
            for place in range(starts[reached[n]], starts[reached[n] + 1]):
                site = ends[place]
                if separation[site] == 4:
                    separation[site] = n_bonds
                    reached[n_reached] = site
                    n_reached += 1
        begin = stop
    return n_reached
