"""Force maps: how the forces on the atoms of a molecule add up to the forces on its beads.

Every valid map has the same conditional mean, the mean force; they differ in noise only (see `Mapping`). Three
consequences are worth knowing. The molecular virial and the energy of a frame do not depend on the force map. The sum
map conserves the net force of a frame; any other map conserves it on average only, which is no bias. And a map sees
the atoms of its own molecules only: forces on other molecules could lower the noise further, but not with fixed
weights in a liquid.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.mapping.constraints import group_indicator


def sum_weights(position_weights: Float[np.ndarray, "beads atoms"]) -> Float[np.ndarray, "beads atoms"]:
    """Return the map that adds up the forces on all atoms of each bead."""
    return (position_weights != 0.0).astype(np.float64)


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
    weights_of_groups = position_weights @ indicator
    n_beads = len(position_weights)
    if np.linalg.matrix_rank(weights_of_groups) < n_beads:
        raise InputError(
            "rigid groups of atoms reach across beads so that no unbiased force map exists",
            fix="Choose beads that do not cut through rigid groups of atoms.",
        )
    ridge = regularization * np.trace(products) / len(groups) * indicator.sum(axis=0)
    quadratic = products + np.diag(ridge)
    particular = np.linalg.pinv(weights_of_groups)
    free = scipy.linalg.null_space(weights_of_groups)
    # least squares: without forces, or with fewer frames than groups, the smallest of the equally good maps
    steps = np.linalg.lstsq(free.T @ quadratic @ free, -free.T @ quadratic @ particular, rcond=None)[0]
    return (particular + free @ steps).T @ indicator.T
