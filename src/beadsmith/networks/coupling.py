"""Real Clebsch-Gordan coefficients: how two features of degrees l1 and l2 are coupled to one of degree l3.

The complex coefficients come from Racah's closed sum; a unitary change to the real spherical harmonics of
`spherical_harmonics` makes them real. Couplings with an odd l1 + l2 + l3 give pseudotensors (the cross product is the
first of them) and tell mirror images apart.

Source: D. A. Varshalovich et al., Quantum Theory of Angular Momentum (1988), section 8.2.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class CouplingPath(NamedTuple):
    """One way for a message: feature of degree l1, harmonic of degree l2, result of degree l3."""

    feature_degree: int
    """Degree l1 of the neighbour's feature."""
    harmonic_degree: int
    """Degree l2 of the spherical harmonic of the direction to the neighbour."""
    message_degree: int
    """Degree l3 of the result."""


def list_paths(l_max_feature: int, l_max: int, *, natural_parity: bool) -> tuple[CouplingPath, ...]:
    """Return all paths from features up to `l_max_feature` by harmonics up to `l_max` to results up to `l_max`.

    Sorted by l3, then l1, then l2, so that results of one degree lie side by side.

    Parameters
    ----------
    l_max_feature, l_max : Highest degree of the features, and of harmonics and results.
    natural_parity : Whether to keep only paths with an even l1 + l2 + l3, which are blind to mirror images.
    """
    return tuple(
        CouplingPath(l1, l2, l3)
        for l3 in range(l_max + 1)
        for l1 in range(l_max_feature + 1)
        for l2 in range(abs(l3 - l1), min(l1 + l3, l_max) + 1)
        if not (natural_parity and (l1 + l2 + l3) % 2)
    )


def n_path_components(paths: tuple[CouplingPath, ...]) -> int:
    """Return the number of components of the results of all paths together."""
    return sum(2 * path.message_degree + 1 for path in paths)


@cache
def coupling(l1: int, l2: int, l3: int) -> Float[np.ndarray, "m1 m2 m3"]:
    """Return the real coefficients C of (a ⊗ b)_m3 = Σ C_{m1 m2 m3} a_m1 b_m2, in float64.

    Normalised to Σ_{m1 m2} C_{m1 m2 m3} C_{m1 m2 m3'} = δ: if the components of a and of b are independent with unit
    variance, so are those of the result. For an odd l1 + l2 + l3 the sign is chosen so that the first coefficient of
    the degrees in ascending order is positive: (1, 1, 1) is a × b / √2. The array is shared and cannot be written to.

    Raises
    ------
    AssertionError : the degrees break the triangle rule |l1 − l2| ≤ l3 ≤ l1 + l2.
    """
    assert abs(l1 - l2) <= l3 <= l1 + l2, f"degrees {l1}, {l2} and {l3} cannot be coupled"
    result = _real_coupling(l1, l2, l3)
    if (l1 + l2 + l3) % 2:
        # all orders of three degrees share one sign, so that a ⊗ b = −b ⊗ a stays true
        ascending = _real_coupling(*sorted((l1, l2, l3))).flatten()
        result = result * np.sign(ascending[np.flatnonzero(np.abs(ascending) > 1e-9)[0]])
    result.flags.writeable = False
    return result


def _real_coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the coefficients in the basis of real harmonics, with the sign that Racah's formula gives them."""
    complex_ones = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                complex_ones[l1 + m1, l2 + m2, l3 + m1 + m2] = _complex_coupling(l1, m1, l2, m2, l3)
    matrices = (_to_complex(l1), _to_complex(l2), _to_complex(l3).conj())
    return np.einsum("am,bn,cp,mnp->abc", *matrices, complex_ones).real


def _to_complex(degree: int) -> np.ndarray:
    """Return the complex harmonics (columns) that make up each real one (rows), with the phase (−i)^l."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    matrix[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign = (-1.0) ** m
        matrix[degree + m, [degree - m, degree + m]] = np.array([1.0, sign]) / math.sqrt(2.0)
        matrix[degree - m, [degree - m, degree + m]] = np.array([1.0j, -1.0j * sign]) / math.sqrt(2.0)
    # this phase makes the real coefficients real for odd l1 + l2 + l3, too
    return matrix * (-1.0j) ** degree


def _complex_coupling(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """Return <l1 m1 l2 m2 | l3 m1+m2> by Racah's sum."""
    f, m3 = math.factorial, m1 + m2
    triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 - l1 + l3) / f(l1 + l2 + l3 + 1)
    factors = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k)
        total += (-1.0) ** k / (below * f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k))
    return math.sqrt((2 * l3 + 1) * triangle * factors) * total
