"""Bonded terms in one compiled sweep: coordinate, energy and exact gradient of every bond, angle and dihedral.

The slow twin is `beadsmith.priors.internal_coordinates`, differentiated automatically. Sums run in the order of the
terms: results are reproducible bit for bit. Everything is computed in float64, whatever the precision of the positions.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.rows import compiled

LENGTH, ANGLE, DIHEDRAL = range(3)
"""Coordinates of two, three and four sites."""

HARMONIC, PERIODIC_HARMONIC, FOURIER, SPLINE = range(4)
"""Forms of the energy, and the columns of their parameters: centre, k | centre, k | cosine then sine coefficients |
start, spacing, then four powers for each interval."""

_STRAIGHT_SINE = 1e-8
"""Sine of an angle below which the direction of its gradient is rounding: the gradient then fades to zero."""

_STRAIGHT_TORSION = 1e-4
"""Sine of either angle of a dihedral below which its gradient, which grows as 1/sine, stops growing."""


@compiled
def sum_bonded_terms(sites, cells, terms, groups, parameters):
    """Return the energy of each system and the gradient by positions.

    Parameters
    ----------
    sites : positions (sites, 3), system of each site, and the number of systems.
    cells : cell vectors and their inverse, each (systems, 3, 3); (0, 3, 3) for open systems.
    terms : sites of each term (terms, 4), of which the first 2, 3 or 4 count, and place of its first parameter (terms).
    groups : first term, last term + 1, coordinate, form and number of columns of each kind of term (groups, 5).
    parameters : Rows of parameters of all groups, one after the other.
    """
    positions, system_index, n_systems = sites
    index, starts = terms
    energies = np.zeros(n_systems, np.float64)
    gradient = np.zeros(positions.shape, np.float64)
    for g in range(len(groups)):
        coordinate, form, n_columns = groups[g, 2], groups[g, 3], groups[g, 4]
        for t in range(groups[g, 0], groups[g, 1]):
            i, j = index[t, 0], index[t, 1]
            system = system_index[i]
            if coordinate == LENGTH:
                value, second = _measure_length(positions, cells, system, i, j)
                energy, slope = _evaluate(form, parameters, starts[t], n_columns, value)
                _add(gradient, i, -slope, second)
                _add(gradient, j, slope, second)
            elif coordinate == ANGLE:
                k = index[t, 2]
                value, first, second, third = _measure_angle(positions, cells, system, (i, j, k))
                energy, slope = _evaluate(form, parameters, starts[t], n_columns, value)
                _add(gradient, i, slope, first)
                _add(gradient, j, slope, second)
                _add(gradient, k, slope, third)
            else:
                k, m = index[t, 2], index[t, 3]
                value, first, second, third, fourth = _measure_dihedral(positions, cells, system, (i, j, k, m))
                energy, slope = _evaluate(form, parameters, starts[t], n_columns, value)
                _add(gradient, i, slope, first)
                _add(gradient, j, slope, second)
                _add(gradient, k, slope, third)
                _add(gradient, m, slope, fourth)
            energies[system] += energy
    return energies, gradient


@compiled
def measure_terms(sites, cells, index, coordinate):
    """Return the coordinate of each term (terms,), and its gradient by the term's sites (terms, width, 3).

    Parameters
    ----------
    sites : positions (sites, 3) and system of each site.
    cells : cell vectors and their inverse, each (systems, 3, 3); (0, 3, 3) for open systems.
    index : Sites of each term (terms, 2 | 3 | 4).
    coordinate : What to measure.
    """
    positions, system_index = sites
    values = np.empty(len(index), np.float64)
    gradients = np.zeros((len(index), index.shape[1], 3), np.float64)
    for t in range(len(index)):
        i, j = index[t, 0], index[t, 1]
        system = system_index[i]
        if coordinate == LENGTH:
            values[t], second = _measure_length(positions, cells, system, i, j)
            _add(gradients[t], 0, -1.0, second)
            _add(gradients[t], 1, 1.0, second)
        elif coordinate == ANGLE:
            values[t], first, second, third = _measure_angle(positions, cells, system, (i, j, index[t, 2]))
            _add(gradients[t], 0, 1.0, first)
            _add(gradients[t], 1, 1.0, second)
            _add(gradients[t], 2, 1.0, third)
        else:
            four = (i, j, index[t, 2], index[t, 3])
            values[t], first, second, third, fourth = _measure_dihedral(positions, cells, system, four)
            _add(gradients[t], 0, 1.0, first)
            _add(gradients[t], 1, 1.0, second)
            _add(gradients[t], 2, 1.0, third)
            _add(gradients[t], 3, 1.0, fourth)
    return values, gradients


@compiled
def _add(gradient, site, scale, vector):
    gradient[site, 0] += scale * vector[0]
    gradient[site, 1] += scale * vector[1]
    gradient[site, 2] += scale * vector[2]


@compiled
def _find_vector(positions, cells, system, first, second):
    """Return the shortest image of the vector from the first to the second site."""
    x = np.float64(positions[second, 0]) - np.float64(positions[first, 0])
    y = np.float64(positions[second, 1]) - np.float64(positions[first, 1])
    z = np.float64(positions[second, 2]) - np.float64(positions[first, 2])
    cell, inverse = cells
    if cell.shape[0] > 0:
        for b in range(3):
            fraction = x * inverse[system, 0, b] + y * inverse[system, 1, b] + z * inverse[system, 2, b]
            shift = np.floor(fraction + 0.5)
            if shift != 0.0:
                # the fractions along the other cell vectors stay as they are
                x -= shift * cell[system, b, 0]
                y -= shift * cell[system, b, 1]
                z -= shift * cell[system, b, 2]
    return x, y, z


@compiled
def _measure_length(positions, cells, system, first, second):
    """Return |v| and its gradient by the second site; that by the first one is its negative."""
    v = _find_vector(positions, cells, system, first, second)
    length = math.sqrt(_dot(v, v))
    # two sites on one point push in no direction
    return length, _scale(1.0 / max(length, 1e-12), v)


@compiled
def _measure_angle(positions, cells, system, sites):
    """Return θ = atan2(|u × v|, u · v) with u, v from the vertex; ∂θ/∂u = ((u·v) u/|u|² − v) / |u × v|."""
    w = _find_vector(positions, cells, system, sites[0], sites[1])
    v = _find_vector(positions, cells, system, sites[1], sites[2])
    # u = −w
    uu, vv, uv = _dot(w, w), _dot(v, v), -_dot(w, v)
    normal = _cross(w, v)
    # the cross product keeps the digits that uu vv − uv² loses near 0 and π
    area = math.sqrt(_dot(normal, normal))
    scale = 1.0 / max(area, _STRAIGHT_SINE * math.sqrt(uu * vv), 1e-300)
    first = _combine(-scale * uv / max(uu, 1e-300), w, -scale, v)
    third = _combine(scale, w, scale * uv / max(vv, 1e-300), v)
    return math.atan2(area, uv), first, _combine(-1.0, first, -1.0, third), third


@compiled
def _measure_dihedral(positions, cells, system, sites):
    """Return φ (IUPAC sign) and its gradient, which is regular at 0 and π.

    Source: A. Blondel and M. Karplus, J. Comput. Chem. 17, 1132 (1996), eq. 27.
    """
    b1 = _find_vector(positions, cells, system, sites[0], sites[1])
    b2 = _find_vector(positions, cells, system, sites[1], sites[2])
    b3 = _find_vector(positions, cells, system, sites[2], sites[3])
    m, n = _cross(b1, b2), _cross(b2, b3)
    square = _dot(b2, b2)
    axis = math.sqrt(square)
    value = math.atan2(axis * _dot(b1, n), _dot(m, n))
    smallest = _STRAIGHT_TORSION * _STRAIGHT_TORSION * square
    first = _scale(-axis / max(_dot(m, m), smallest * _dot(b1, b1), 1e-300), m)
    fourth = _scale(axis / max(_dot(n, n), smallest * _dot(b3, b3), 1e-300), n)
    before, behind = _dot(b1, b2) / max(square, 1e-300), _dot(b3, b2) / max(square, 1e-300)
    second = _combine(-1.0 - before, first, behind, fourth)
    third = _combine(before, first, -1.0 - behind, fourth)
    return value, first, second, third, fourth


@compiled
def _evaluate(form, parameters, start, n_columns, value):
    """Return energy and slope of one term."""
    if form in (HARMONIC, PERIODIC_HARMONIC):
        deviation = value - parameters[start]
        if form == PERIODIC_HARMONIC:
            deviation -= 2.0 * math.pi * math.floor(deviation / (2.0 * math.pi) + 0.5)
        return 0.5 * parameters[start + 1] * deviation * deviation, parameters[start + 1] * deviation
    if form == FOURIER:
        return _evaluate_fourier(parameters, start, n_columns // 2, value)
    if math.isnan(value):
        # no interval holds it
        return value, value
    n_intervals = (n_columns - 2) // 4
    x = (value - parameters[start]) / parameters[start + 1]
    inside = min(max(x, 0.0), float(n_intervals))
    interval = min(int(inside), n_intervals - 1)
    u = inside - interval
    row = start + 2 + 4 * interval
    c0, c1, c2, c3 = parameters[row], parameters[row + 1], parameters[row + 2], parameters[row + 3]
    slope = (3.0 * c3 * u + 2.0 * c2) * u + c1
    return ((c3 * u + c2) * u + c1) * u + c0 + slope * (x - inside), slope / parameters[start + 1]


@compiled
def _evaluate_fourier(parameters, start, order, value):
    """Return Σ a_n cos nφ + b_n sin nφ and its slope; multiples of φ by rotation."""
    cosine, sine = math.cos(value), math.sin(value)
    c, s = cosine, sine
    energy, slope = 0.0, 0.0
    for k in range(order):
        a, b = parameters[start + k], parameters[start + order + k]
        energy += a * c + b * s
        slope += (k + 1) * (b * c - a * s)
        c, s = c * cosine - s * sine, s * cosine + c * sine
    return energy, slope


@compiled
def _dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@compiled
def _cross(u, v):
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


@compiled
def _scale(factor, v):
    return factor * v[0], factor * v[1], factor * v[2]


@compiled
def _combine(a, u, b, v):
    """Return a u + b v."""
    return a * u[0] + b * v[0], a * u[1] + b * v[1], a * u[2] + b * v[2]
