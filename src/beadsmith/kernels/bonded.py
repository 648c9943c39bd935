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
def sum_bonded_terms(sites, cells, terms, form, parameters):
    """Return the energy of each system and the gradient by positions.

    Parameters
    ----------
    sites : positions (sites, 3) and system of each site.
    cells : cell vectors and their inverse, each (systems, 3, 3); (0, 3, 3) for open systems.
    terms : sites of each term (terms, 2 | 3 | 4), number of its parameters (terms), and the number of systems.
    form : coordinate and form of the energy.
    parameters : (numbers, columns).
    """
    positions, system_index = sites
    index, numbers, n_systems = terms
    coordinate, kind = form
    energies = np.zeros(n_systems, np.float64)
    gradient = np.zeros(positions.shape, np.float64)
    width = index.shape[1]
    slopes = np.empty((4, 3), np.float64)
    vectors = np.empty((3, 3), np.float64)
    for t in range(len(index)):
        system = system_index[index[t, 0]]
        value = _measure(coordinate, positions, cells, system, index[t], vectors, slopes)
        energy, slope = _evaluate(kind, parameters[numbers[t]], value)
        energies[system] += energy
        for s in range(width):
            for a in range(3):
                gradient[index[t, s], a] += slope * slopes[s, a]
    return energies, gradient


@compiled
def measure_terms(sites, cells, index, coordinate):
    """Return the coordinate of each term (terms,), and its gradient by the term's sites (terms, width, 3)."""
    positions, system_index = sites
    n_terms, width = index.shape
    values = np.empty(n_terms, np.float64)
    gradients = np.empty((n_terms, width, 3), np.float64)
    slopes = np.empty((4, 3), np.float64)
    vectors = np.empty((3, 3), np.float64)
    for t in range(n_terms):
        system = system_index[index[t, 0]]
        values[t] = _measure(coordinate, positions, cells, system, index[t], vectors, slopes)
        for s in range(width):
            for a in range(3):
                gradients[t, s, a] = slopes[s, a]
    return values, gradients


@compiled
def _measure(coordinate, positions, cells, system, term, vectors, slopes):
    """Return the coordinate of one term and fill its gradient."""
    for s in range(coordinate + 1):
        _find_vector(positions, cells, system, term[s], term[s + 1], vectors[s])
    if coordinate == LENGTH:
        return _measure_length(vectors, slopes)
    if coordinate == ANGLE:
        return _measure_angle(vectors, slopes)
    return _measure_dihedral(vectors, slopes)


@compiled
def _find_vector(positions, cells, system, first, second, vector):
    """Fill the shortest image of the vector from the first to the second site."""
    for a in range(3):
        vector[a] = np.float64(positions[second, a]) - np.float64(positions[first, a])
    if cells[0].shape[0] == 0:
        return
    cell, inverse = cells[0][system], cells[1][system]
    fractions = vector[0] * inverse[0] + vector[1] * inverse[1] + vector[2] * inverse[2]
    for b in range(3):
        shift = np.floor(fractions[b] + 0.5)
        if shift != 0.0:
            for a in range(3):
                vector[a] -= shift * cell[b, a]


@compiled
def _measure_length(vectors, slopes):
    v = vectors[0]
    length = math.sqrt(_dot(v, v))
    # two sites on one point push in no direction
    scale = 1.0 / max(length, 1e-12)
    for a in range(3):
        slopes[1, a] = scale * v[a]
        slopes[0, a] = -slopes[1, a]
    return length


@compiled
def _measure_angle(vectors, slopes):
    """Return θ = atan2(|u × v|, u · v) with u, v from the vertex; ∂θ/∂u = ((u·v) u/|u|² − v) / |u × v|."""
    w, v = vectors[0], vectors[1]
    # u = −w
    uu, vv, uv = _dot(w, w), _dot(v, v), -_dot(w, v)
    n0, n1, n2 = _cross(w, v)
    # the cross product keeps the digits that uu vv − uv² loses near 0 and π
    area = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    scale = 1.0 / max(area, _STRAIGHT_SINE * math.sqrt(uu * vv), 1e-300)
    by_u, by_v = uv / max(uu, 1e-300), uv / max(vv, 1e-300)
    for a in range(3):
        slopes[0, a] = -scale * (by_u * w[a] + v[a])
        slopes[2, a] = scale * (by_v * v[a] + w[a])
        slopes[1, a] = -slopes[0, a] - slopes[2, a]
    return math.atan2(area, uv)


@compiled
def _measure_dihedral(vectors, slopes):
    """Return φ (IUPAC sign) and its gradient, which is regular at 0 and π.

    Source: A. Blondel and M. Karplus, J. Comput. Chem. 17, 1132 (1996), eq. 27.
    """
    b1, b2, b3 = vectors[0], vectors[1], vectors[2]
    m, n = _cross(b1, b2), _cross(b2, b3)
    axis = math.sqrt(_dot(b2, b2))
    value = math.atan2(axis * _dot(b1, n), _dot(m, n))
    smallest = _STRAIGHT_TORSION * _STRAIGHT_TORSION * axis * axis
    by_m = axis / max(_dot(m, m), smallest * _dot(b1, b1), 1e-300)
    by_n = axis / max(_dot(n, n), smallest * _dot(b3, b3), 1e-300)
    before, behind = _dot(b1, b2) / max(axis * axis, 1e-300), _dot(b3, b2) / max(axis * axis, 1e-300)
    for a in range(3):
        first, last = -by_m * m[a], by_n * n[a]
        slopes[0, a] = first
        slopes[3, a] = last
        slopes[1, a] = -(1.0 + before) * first + behind * last
        slopes[2, a] = before * first - (1.0 + behind) * last
    return value


@compiled
def _evaluate(kind, parameters, value):
    """Return energy and slope of one term."""
    if kind in (HARMONIC, PERIODIC_HARMONIC):
        deviation = value - parameters[0]
        if kind == PERIODIC_HARMONIC:
            deviation -= 2.0 * math.pi * math.floor(deviation / (2.0 * math.pi) + 0.5)
        return 0.5 * parameters[1] * deviation * deviation, parameters[1] * deviation
    if kind == FOURIER:
        return _evaluate_fourier(parameters, value)
    n_intervals = (len(parameters) - 2) // 4
    x = (value - parameters[0]) / parameters[1]
    inside = min(max(x, 0.0), float(n_intervals))
    k = min(int(inside), n_intervals - 1)
    u = inside - k
    c0, c1, c2, c3 = parameters[2 + 4 * k], parameters[3 + 4 * k], parameters[4 + 4 * k], parameters[5 + 4 * k]
    slope = (3.0 * c3 * u + 2.0 * c2) * u + c1
    return ((c3 * u + c2) * u + c1) * u + c0 + slope * (x - inside), slope / parameters[1]


@compiled
def _evaluate_fourier(parameters, value):
    """Return Σ a_n cos nφ + b_n sin nφ and its slope; multiples of φ by rotation."""
    order = len(parameters) // 2
    cosine, sine = math.cos(value), math.sin(value)
    c, s = cosine, sine
    energy, slope = 0.0, 0.0
    for k in range(order):
        energy += parameters[k] * c + parameters[order + k] * s
        slope += (k + 1) * (parameters[order + k] * c - parameters[k] * s)
        c, s = c * cosine - s * sine, s * cosine + c * sine
    return energy, slope


@compiled
def _dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@compiled
def _cross(u, v):
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
