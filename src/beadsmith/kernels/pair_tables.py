"""Tabulated pair energies in one compiled sweep over the half list: energies, forces and virials, no automatic graph.

The slow twin is `priors.tabulated.TabulatedPairs.forward`, differentiated automatically. Sums run in the order of the
list and in float64: results are reproducible bit for bit.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.rows import compiled


@compiled
def sum_pair_tables(sites, cell, pairs, tables, grid):
    """Return energy (systems), forces (sites, 3) and molecular virial (systems, 3, 3), all in float64.

    Parameters
    ----------
    sites : positions (sites, 3), system and type of each site, centre of each site's molecule minus the site (sites, 3)
        or (0, 3) if every site is a molecule.
    cell : (systems, 3, 3), rows are cell vectors; (0, 3, 3) for open systems.
    pairs : index (2, pairs), positions in it of the half list, shifts (pairs, 3), bond class (pairs).
    tables : number of the table of each type pair and bond class (types, types, classes), −1 for none; cubic
        coefficients (tables, intervals, 4) in the fraction of an interval, constant term first.
    grid : number of systems; first distance and spacing of the tables [nm]. Below them the first interval's slope
        continues.
    """
    positions, system_index, types, offsets = sites
    index, half, shifts, bond_class = pairs
    numbers, coefficients = tables
    n_systems, start, step = grid
    n_intervals = coefficients.shape[1]
    energy = np.zeros(n_systems, np.float64)
    forces = np.zeros(positions.shape, np.float64)
    virial = np.zeros((n_systems, 3, 3), np.float64)
    is_periodic, has_offsets = cell.shape[0] > 0, offsets.shape[0] > 0
    vector, centres = np.empty(3, np.float64), np.empty(3, np.float64)
    limit = start + n_intervals * step
    for h in range(len(half)):
        p = half[h]
        i, j = index[0, p], index[1, p]
        number = numbers[types[i], types[j], bond_class[p]]
        if number < 0:
            continue
        system = system_index[i]
        for a in range(3):
            vector[a] = np.float64(positions[j, a]) - np.float64(positions[i, a])
        if is_periodic:
            for b in range(3):
                shift = np.float64(shifts[p, b])
                if shift != 0.0:
                    for a in range(3):
                        vector[a] += shift * np.float64(cell[system, b, a])
        square = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]
        # written so that a distance that is not a number is not skipped
        if square >= limit * limit:
            continue
        distance = math.sqrt(square)
        value, slope = _evaluate(coefficients[number], (distance - start) / step)
        energy[system] += value
        # two sites on one point push in no direction
        scale = slope / step / max(distance, 1e-12)
        for a in range(3):
            centres[a] = vector[a]
            if has_offsets:
                centres[a] += np.float64(offsets[j, a]) - np.float64(offsets[i, a])
        for b in range(3):
            pull = scale * vector[b]
            forces[i, b] += pull
            forces[j, b] -= pull
            for a in range(3):
                virial[system, a, b] -= centres[a] * pull
    return energy, forces, virial


@compiled
def _evaluate(coefficients, x):
    """Return energy and its slope per interval of one table at x intervals from its start."""
    k = min(int(x), len(coefficients) - 1) if x >= 1.0 else 0
    u = x - k
    c0, c1, c2, c3 = coefficients[k, 0], coefficients[k, 1], coefficients[k, 2], coefficients[k, 3]
    if u < 0.0:
        return c1 * u + c0, c1
    return ((c3 * u + c2) * u + c1) * u + c0, (3.0 * c3 * u + 2.0 * c2) * u + c1
