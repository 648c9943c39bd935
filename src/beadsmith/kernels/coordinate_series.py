"""Series of products of cosines and sines of several coordinates of one molecule, in one compiled sweep.

The slow twin is `beadsmith.priors.coordinate_series.CoordinateSeries.forward`, differentiated automatically. Everything
is computed in float64, whatever the precision of the positions.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np

from beadsmith.kernels.bonded import DIHEDRAL, measure_terms
from beadsmith.kernels.rows import compiled


@compiled
def sum_coordinate_series(sites, cells, molecules, coordinates, series, n_systems):
    """Return the energy of each system and the gradient by positions.

    Parameters
    ----------
    sites : positions (sites, 3) and system of each site.
    cells : cell vectors and their inverse, each (systems, 3, 3); (0, 3, 3) for open systems.
    molecules : sites of each molecule (molecules, beads).
    coordinates : beads (coordinates, 4), of which the first two, three or four count; kind; limits (coordinates, 2).
    series : multiples (functions, coordinates), see `evaluate_series`, and coefficients (functions).
    """
    positions, system_index = sites
    beads, kinds, limits = coordinates
    multiples, coefficients = series
    n_molecules, n_coordinates = len(molecules), len(kinds)
    values = np.empty((n_molecules, n_coordinates), np.float64)
    slopes = np.zeros((n_molecules, n_coordinates, 4, 3), np.float64)
    for j in range(n_coordinates):
        width = kinds[j] + 2
        index = np.empty((n_molecules, width), np.int64)
        for s in range(width):
            index[:, s] = molecules[:, beads[j, s]]
        measured, gradients = measure_terms(sites, cells, index, kinds[j])
        for m in range(n_molecules):
            values[m, j] = measured[m]
            slopes[m, j, :width] = gradients[m]
    angles, scales = scale_coordinates(values, kinds, limits)
    energies = np.zeros(n_systems, np.float64)
    gradient = np.zeros(positions.shape, np.float64)
    largest = np.max(np.abs(multiples))
    cosines, sines = _empty_tables(n_coordinates, largest)
    by_angle, one = np.empty(n_coordinates, np.float64), np.empty(n_coordinates, np.float64)
    for m in range(n_molecules):
        _fill_tables(angles[m], cosines, sines)
        energy = 0.0
        by_angle[:] = 0.0
        for k in range(len(multiples)):
            energy += coefficients[k] * _multiply(cosines, sines, multiples[k], one)
            for j in range(n_coordinates):
                by_angle[j] += coefficients[k] * one[j]
        energies[system_index[molecules[m, 0]]] += energy
        for j in range(n_coordinates):
            for s in range(kinds[j] + 2):
                for a in range(3):
                    gradient[molecules[m, beads[j, s]], a] += by_angle[j] * scales[m, j] * slopes[m, j, s, a]
    return energies, gradient


@compiled
def scale_coordinates(values, kinds, limits):
    """Return the angles that the functions take, and their slopes by the coordinates, both (terms, coordinates).

    A dihedral is its own angle. Other coordinates run from 0 at their lower to π at their upper limit and stop there:
    cosines have no slope at 0 and π, so that energy and force are continuous.
    """
    angles, scales = np.empty_like(values), np.ones_like(values)
    for j in range(values.shape[1]):
        for t in range(len(values)):
            if kinds[j] == DIHEDRAL:
                angles[t, j] = values[t, j]
                continue
            scale = math.pi / (limits[j, 1] - limits[j, 0])
            angle = scale * (values[t, j] - limits[j, 0])
            angles[t, j] = min(max(angle, 0.0), math.pi)
            scales[t, j] = scale if angle == angles[t, j] else 0.0
    return angles, scales


@compiled
def evaluate_series(angles, multiples):
    """Return all functions (terms, functions) and their slopes by the angles (terms, functions, coordinates).

    Parameters
    ----------
    angles : (terms, coordinates).
    multiples : Integers n (functions, coordinates): each coordinate gives a factor cos nθ for n > 0, sin |n|θ for
        n < 0, and 1 for n = 0.
    """
    n_functions, n_coordinates = multiples.shape
    values = np.empty((len(angles), n_functions), np.float64)
    slopes = np.empty((len(angles), n_functions, n_coordinates), np.float64)
    cosines, sines = _empty_tables(n_coordinates, np.max(np.abs(multiples)))
    for t in range(len(angles)):
        _fill_tables(angles[t], cosines, sines)
        for k in range(n_functions):
            values[t, k] = _multiply(cosines, sines, multiples[k], slopes[t, k])
    return values, slopes


@compiled
def _empty_tables(n_coordinates, largest):
    shape = (n_coordinates, largest + 1)
    return np.empty(shape, np.float64), np.empty(shape, np.float64)


@compiled
def _fill_tables(angles, cosines, sines):
    """Fill cos nθ and sin nθ of each angle, by rotation."""
    for j in range(len(angles)):
        cosine, sine = math.cos(angles[j]), math.sin(angles[j])
        cosines[j, 0], sines[j, 0] = 1.0, 0.0
        for n in range(cosines.shape[1] - 1):
            cosines[j, n + 1] = cosines[j, n] * cosine - sines[j, n] * sine
            sines[j, n + 1] = sines[j, n] * cosine + cosines[j, n] * sine


@compiled
def _multiply(cosines, sines, multiples, slopes):
    """Return the product of the factors of one function and fill its slope by each angle."""
    n_coordinates = len(multiples)
    product = 1.0
    for j in range(n_coordinates):
        slopes[j] = 1.0
    for j in range(n_coordinates):
        n = abs(multiples[j])
        if multiples[j] < 0:
            factor, slope = sines[j, n], n * cosines[j, n]
        else:
            factor, slope = cosines[j, n], -n * sines[j, n]
        product *= factor
        for i in range(n_coordinates):
            slopes[i] *= slope if i == j else factor
    return product
