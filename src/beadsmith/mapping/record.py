"""The mapping record: position map and force map together, and the rules that make their labels unbiased."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Int

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.topology import Topology

# the maps are built in float64 from sums of at most some thousand weights of order 1, good to about 1e-13;
# a wrong map (an atom forgotten, a group split) is off by the weight of an atom, 1e-3 or more
_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How atoms become beads: R = C r for positions and F = B f for forces.

    The conditional mean of F at fixed R is the mean force, minus the gradient of the potential of mean force, if and
    only if B Cᵀ = 1 and every row of B is constant over each rigid group. Maps that obey differ in their noise only.
    Source: W. G. Noid et al., J. Chem. Phys. 128, 244114 (2008); A. Krämer et al.,
    J. Phys. Chem. Lett. 14, 3970 (2023), for rigid groups.
    """

    position_map: LinearMap
    """C: bead positions from atom positions; rows sum to 1."""
    force_map: LinearMap
    """B: bead forces from atom forces."""
    topology: Topology
    """The beads."""
    constraints: Int[np.ndarray, "constraints 2"]
    """Pairs of atoms at fixed distance in the simulation that made the forces."""
    noise_width: float | None = None
    """Width of Gaussian noise added to bead positions [nm], or None."""

    def __post_init__(self) -> None:
        """Refuse maps whose forces are not those of the beads.

        Raises
        ------
        InputError : the maps differ in shape, a position row does not sum to 1, B Cᵀ is not 1, or weights differ
            within a rigid group.
        """
        positions, forces = self.position_map.matrix, self.force_map.matrix
        if positions.shape != forces.shape or positions.shape[0] != self.topology.n_sites:
            raise InputError(
                f"position map {positions.shape}, force map {forces.shape} and {self.topology.n_sites} beads do not fit"
            )
        self._check_position_rows()
        self._check_orthogonality()
        self._check_rigid_groups()

    def _check_position_rows(self) -> None:
        sums = np.asarray(self.position_map.matrix.sum(axis=1))
        worst = int(np.argmax(np.abs(sums - 1.0)))
        if not abs(sums[worst] - 1.0) <= _TOLERANCE:
            raise InputError(
                f"position weights of bead {worst} ('{self.topology.names[worst]}') sum to {sums[worst]:.6g}, "
                "expected 1",
                fix="Divide the weights of each bead by their sum.",
            )

    def _check_orthogonality(self) -> None:
        product = self.force_map.matrix @ self.position_map.matrix.T
        error = sparse.coo_array(product - sparse.eye_array(self.force_map.n_beads))
        deviation = np.abs(error.data)
        if not np.all(deviation <= _TOLERANCE):
            worst = int(np.argmax(np.nan_to_num(deviation, nan=np.inf)))
            i, j = error.coords[0][worst], error.coords[1][worst]
            raise InputError(
                f"the force map is biased: (B Cᵀ) of beads {i} and {j} is off by {error.data[worst]:.3g}, expected 0",
                fix="Use forces: optimal, or weights that sum to 1 over the position weights of each bead.",
            )

    def _check_rigid_groups(self) -> None:
        columns = sparse.csc_array(self.force_map.matrix)
        first, second = self.constraints.T
        difference = sparse.coo_array(columns[:, first] - columns[:, second])
        if len(difference.data) and np.abs(difference.data).max() > _TOLERANCE:
            worst = int(np.argmax(np.abs(difference.data)))
            bead, pair = difference.coords[0][worst], difference.coords[1][worst]
            raise InputError(
                f"the force map is biased: the rigidly joined atoms {first[pair]} and {second[pair]} enter bead {bead} "
                f"('{self.topology.names[bead]}') with weights that differ by {abs(difference.data[worst]):.3g}",
                fix="Use forces: optimal, which keeps rigid groups together.",
            )
