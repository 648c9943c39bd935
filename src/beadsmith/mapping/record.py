"""The mapping record: position map and force map together, and the rules that make their labels unbiased."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Int

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.mapping.aggregation import TOLERANCE
from beadsmith.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How atoms become beads: R = C r for positions and F = B f for forces.

    The conditional mean of F at fixed R is the mean force, minus the gradient of the potential of mean force, if and
    only if B Cᵀ = 1 and every row of B is constant over each rigid group. Maps that obey differ in their noise only.
    Source: W. G. Noid et al., J. Chem. Phys. 128, 244114 (2008); A. Krämer et al.,
    J. Phys. Chem. Lett. 14, 3970 (2023), for rigid groups.

    With a noise width s the beads are at C r + s ε and the labels are B f + (1 - B Cᵀ) ψ with the score
    ψ = -kT ε / s: unbiased, for the blurred potential of mean force, for every B that is constant over rigid groups
    (see `aggregation.blurred_weights`).
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
    noise_seed: int = 1
    """Seed of that noise: equal seeds give each frame the same noise."""

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
        if self.noise_width is None:
            self._check_orthogonality()
        elif not (self.noise_width > 0.0 and np.all(np.isfinite(forces.data))):
            raise InputError(f"noise width is {self.noise_width} nm, expected > 0, and finite force weights")
        self._check_rigid_groups()

    @property
    def score_map(self) -> LinearMap:
        """1 - B Cᵀ, shape (n_beads, n_beads): how the score of the noise enters the labels."""
        product = self.force_map.matrix @ self.position_map.matrix.T
        return LinearMap(matrix=sparse.csr_array(sparse.eye_array(self.force_map.n_beads) - product))

    def _check_position_rows(self) -> None:
        sums = np.asarray(self.position_map.matrix.sum(axis=1))
        worst = int(np.argmax(np.abs(sums - 1.0)))
        if not abs(sums[worst] - 1.0) <= TOLERANCE:
            raise InputError(
                f"position weights of bead {worst} ('{self.topology.names[worst]}') sum to {sums[worst]:.6g}, "
                "expected 1",
                fix="Divide the weights of each bead by their sum.",
            )

    def _check_orthogonality(self) -> None:
        product = self.force_map.matrix @ self.position_map.matrix.T
        error = sparse.coo_array(product - sparse.eye_array(self.force_map.n_beads))
        deviation = np.abs(error.data)
        if not np.all(deviation <= TOLERANCE):
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
        if len(difference.data) and np.abs(difference.data).max() > TOLERANCE:
            worst = int(np.argmax(np.abs(difference.data)))
            bead, pair = difference.coords[0][worst], difference.coords[1][worst]
            raise InputError(
                f"the force map is biased: the rigidly joined atoms {first[pair]} and {second[pair]} enter bead {bead} "
                f"('{self.topology.names[bead]}') with weights that differ by {abs(difference.data[worst]):.3g}",
                fix="Use forces: optimal, which keeps rigid groups together.",
            )
