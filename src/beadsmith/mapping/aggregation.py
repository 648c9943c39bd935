"""Force maps: how the forces on the atoms of a molecule add up to the forces on its beads.

Every valid map has the same conditional mean, the mean force; they differ in noise only (see `Mapping`). Three
consequences are worth knowing. The molecular virial and the energy of a frame do not depend on the force map. The sum
map conserves the net force of a frame; any other map conserves it on average only, which is no bias. And a map sees
the atoms of its own molecules only: forces on other molecules could lower the noise further, but not with fixed
weights in a liquid.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int

from beadsmith.errors import InputError
from beadsmith.mapping.constraints import group_indicator

TOLERANCE = 1e-9
"""How far B Cᵀ may be from 1, and weights of a rigid group from each other: the maps are built in float64 from sums of
at most some thousand weights of order 1, good to about 1e-13; a wrong map is off by an atom's weight, 1e-3 or more."""

_WELL_CONDITIONED = 1e11
"""Condition number up to which float64 solves a linear system to five digits at least, so that Cholesky may do it."""


def slice_weights(position_weights: Float[np.ndarray, "beads atoms"]) -> Float[np.ndarray, "beads atoms"]:
    """Return the map that takes the forces on the atoms that carry a bead's position, and nothing else.

    Biased where one of these atoms is rigidly joined to an atom outside (see `find_bias`).
    """
    return (position_weights != 0.0).astype(np.float64)


def uniform_weights(
    position_weights: Float[np.ndarray, "beads atoms"], groups: Int[np.ndarray, "atoms"]
) -> Float[np.ndarray, "beads atoms"]:
    """Return the map that adds up the forces on the atoms that carry a bead's position and on all rigidly joined ones.

    Source: A. Krämer et al., J. Phys. Chem. Lett. 14, 3970 (2023), the basic aggregation.
    """
    return _complete_groups(position_weights != 0.0, groups)


def sum_weights(
    members: Bool[np.ndarray, "beads atoms"], groups: Int[np.ndarray, "atoms"]
) -> Float[np.ndarray, "beads atoms"]:
    """Return the map that adds up the forces on all atoms of each bead and on all that are rigidly joined to them."""
    return _complete_groups(members, groups)


def _complete_groups(
    chosen: Bool[np.ndarray, "beads atoms"], groups: Int[np.ndarray, "atoms"]
) -> Float[np.ndarray, "beads atoms"]:
    indicator = group_indicator(groups)
    return ((chosen @ indicator > 0.0) @ indicator.T > 0.0).astype(np.float64)


def find_bias(
    weights: Float[np.ndarray, "beads atoms"],
    position_weights: Float[np.ndarray, "beads atoms"],
    groups: Int[np.ndarray, "atoms"],
) -> str | None:
    """Return why the labels of a force map are biased, or None if they are not.

    The structural rule: B Cᵀ = 1 and equal weights within every rigid group. Neither noise nor loss shows a breach.
    """
    for group in range(int(groups.max()) + 1):
        inside = np.flatnonzero(groups == group)
        spread = np.ptp(weights[:, inside], axis=1)
        bead = int(np.argmax(spread))
        if spread[bead] > TOLERANCE:
            low, high = inside[np.argmin(weights[bead, inside])], inside[np.argmax(weights[bead, inside])]
            return (
                f"atoms #{high + 1} and #{low + 1} are rigidly joined but enter bead {bead} with the weights "
                f"{weights[bead, high]:.3g} and {weights[bead, low]:.3g}; the constraint force between them is missing "
                "from the data and cancels only at equal weights"
            )
    error = weights @ position_weights.T - np.eye(len(weights))
    first, second = np.unravel_index(np.argmax(np.abs(error)), error.shape)
    if not abs(error[first, second]) <= TOLERANCE:
        return (
            f"the force on bead {first} answers to a move of bead {second} by {error[first, second]:+.3g} too much "
            "(B Cᵀ is not 1)"
        )
    return None


def optimal_weights(
    products: Float[np.ndarray, "groups groups"],
    position_weights: Float[np.ndarray, "beads atoms"],
    groups: Int[np.ndarray, "atoms"],
    *,
    regularization: float,
) -> Float[np.ndarray, "beads atoms"]:
    """Return the force map of least mean squared bead force among all unbiased linear maps.

    With the group indicator G, the map B = B' Gᵀ minimises tr(B' P B'ᵀ) subject to B' Aᵀ = 1, where A = C G and
    P = <φ φᵀ> + λ (tr <φ φᵀ> / n_atoms) GᵀG for the total forces φ on the rigid groups. The closed form is
    B'ᵀ = P⁻¹ Aᵀ (A P⁻¹ Aᵀ)⁻¹; it is evaluated in the null space of A, which meets the constraint to rounding even
    where P is singular (the total force on a molecule without surroundings vanishes).

    Parameters
    ----------
    products : <φ φᵀ>, mean over frames, molecules and components [(kJ/mol/nm)²].
    position_weights : C of one molecule [1].
    groups : Rigid group of each atom.
    regularization : λ: weight of Σ b² against the mean squared force on an atom [1].

    Raises
    ------
    InputError : the rigid groups leave no unbiased map.

    Source: A. Krämer et al., J. Phys. Chem. Lett. 14, 3970 (2023), who solve the same problem by quadratic programming.
    Limit: linear, configuration-independent maps. Cost: O(n_groups³).
    """
    indicator = group_indicator(groups)
    n_atoms = len(groups)
    particular, free = _solve_constraint(position_weights @ indicator)
    ridge = regularization * np.trace(products) / n_atoms * indicator.sum(axis=0)
    quadratic = products + np.diag(ridge)
    matrix, right = free.T @ quadratic @ free, -free.T @ quadratic @ particular
    # the largest eigenvalue is at most the trace, so the condition number is at most n_atoms / regularization
    if np.trace(products) > 0.0 and n_atoms < _WELL_CONDITIONED * regularization:
        steps = scipy.linalg.solve(matrix, right, assume_a="pos")
    else:
        # least squares: without forces, or with fewer frames than groups, the smallest of the equally good maps
        steps = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return (particular + free @ steps).T @ indicator.T


def _solve_constraint(
    weights_of_groups: Float[np.ndarray, "beads groups"],
) -> tuple[Float[np.ndarray, "groups beads"], Float[np.ndarray, "groups _free"]]:
    """Return the smallest X with A X = 1 and an orthonormal basis of the null space of A.

    Raises
    ------
    InputError : there is none, because the rows of A are linearly dependent.
    """
    n_beads, n_groups = weights_of_groups.shape
    left, singular, right = scipy.linalg.svd(weights_of_groups)
    if n_beads > n_groups or singular[-1] <= singular[0] * n_groups * np.finfo(np.float64).eps:
        raise InputError(
            "rigid groups of atoms reach across beads so that no unbiased force map exists",
            fix="Choose beads that do not cut through rigid groups of atoms.",
        )
    return right[:n_beads].T @ (left / singular).T, right[n_beads:].T


def blurred_weights(
    optimal: Float[np.ndarray, "beads atoms"],
    mean_squares: Float[np.ndarray, "beads beads"],
    *,
    noise_width: float,
    kT: float,
) -> Float[np.ndarray, "beads atoms"]:
    """Return the atoms' part of the noise-augmented force map of least noise, for beads at R' = C r + s ε.

    With ε normal, R' is a particle of the energy u(r) + kT |R' - C r|² / 2s². Its own force is the score
    ψ = -kT ε / s, that on the atoms f - Cᵀψ, and every map ψ + B (f - Cᵀψ) = B f + (1 - B Cᵀ) ψ whose B is constant
    over rigid groups is unbiased for the blurred potential of mean force. Its mean square is least, without any
    constraint, at B = κ C (P + κ CᵀC)⁻¹ with κ = (kT/s)² and P = <f fᵀ>, which is (1 + Q/κ)⁻¹ B₀ for the optimal map
    B₀ without noise and Q = B₀ P B₀ᵀ. For s → 0 it becomes B₀.

    Parameters
    ----------
    optimal : B₀ [1].
    mean_squares : Q: mean product of the bead forces of that map, per component [(kJ/mol/nm)²].
    noise_width : s [nm].
    kT : Thermal energy [kJ/mol].

    Source: A. E. P. Durumeric et al., arXiv:2407.01286 (2024), who solve the same problem by quadratic programming.
    """
    return np.linalg.solve(np.eye(len(optimal)) + (noise_width / kT) ** 2 * mean_squares, optimal)
