"""Tabulated pair energies in one compiled sweep over the half list: energies and exact gradients, no automatic graph.

The slow twin is the sum of `AbstractPairTerm.forward`, differentiated automatically. Sums run in the order of the list:
results are reproducible bit for bit.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.rows import compiled


@compiled
def sum_pair_tables(positions, cell, system_index, types, pairs, tables, start, step, weights):
    """Return energy at each first site, and the gradients of the weighted energies by positions and cell.

    Parameters
    ----------
    positions : (sites, 3).
    cell : (systems, 3, 3), rows are cell vectors; (0, 3, 3) for open systems.
    system_index, types : (sites).
    pairs : index (2, pairs), positions in it of the half list, shifts (pairs, 3), bond class (pairs).
    tables : number of the table of each type pair and bond class (types, types, classes), −1 for none; cubic
        coefficients (tables, intervals, 4) in the fraction of an interval, constant term first.
    start, step : First distance and spacing of the tables [nm]. Below them the first interval's slope continues.
    weights : Weight of the energy of each site in the gradients (sites).
    """
    index, half, shifts, bond_class = pairs
    numbers, coefficients = tables
    n_intervals = coefficients.shape[1]
    energies = np.zeros(len(positions), positions.dtype)
    by_position = np.zeros(positions.shape, positions.dtype)
    by_cell = np.zeros(cell.shape, np.float64)
    is_periodic = cell.shape[0] > 0
    vector = np.empty(3, np.float64)
    limit = start + n_intervals * step
    for h in range(len(half)):
        p = half[h]
        i, j = index[0, p], index[1, p]
        number = numbers[types[i], types[j], bond_class[p]]
        if number < 0:
            continue
        for a in range(3):
            vector[a] = np.float64(positions[j, a]) - np.float64(positions[i, a])
        if is_periodic:
            system = system_index[i]
            for b in range(3):
                shift = np.float64(shifts[p, b])
                if shift != 0.0:
                    for a in range(3):
                        vector[a] += shift * cell[system, b, a]
        square = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]
        # written so that a distance that is not a number is not skipped
        if square >= limit * limit:
            continue
        distance = math.sqrt(square)
        x = (distance - start) / step
        k = 0
        if x >= 1.0:
            k = min(int(x), n_intervals - 1)
        u = x - k
        c = coefficients[number, k]
        if u >= 0.0:
            energy = ((c[3] * u + c[2]) * u + c[1]) * u + c[0]
            slope = (3.0 * c[3] * u + 2.0 * c[2]) * u + c[1]
        else:
            energy = c[1] * u + c[0]
            slope = c[1]
        energies[i] += energy
        # two sites on one point push in no direction
        scale = weights[i] * slope / step / max(distance, 1e-12)
        for a in range(3):
            pull = scale * vector[a]
            by_position[j, a] += pull
            by_position[i, a] -= pull
            if is_periodic:
                for b in range(3):
                    if shifts[p, b] != 0:
                        by_cell[system_index[i], b, a] += shifts[p, b] * pull
    return energies, by_position, by_cell
