"""Sparse linear maps from atoms to beads, for positions and for forces."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float

from beadsmith.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """A configuration-independent linear map: beads = matrix · atoms, for each Cartesian component alike."""

    matrix: sparse.csr_array
    """Weights, shape (n_beads, n_atoms) [1], float64."""

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return int(self.matrix.shape[0])

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.matrix.shape[1])

    def apply(self, vectors: Float[np.ndarray, "frames atoms 3"]) -> Float[np.ndarray, "frames beads 3"]:
        """Map per-atom vectors of each frame to per-bead vectors, in float64.

        Raises
        ------
        InputError : the number of atoms differs from the map's.
        """
        n_frames, n_atoms, _ = vectors.shape
        if n_atoms != self.n_atoms:
            raise InputError(f"the map takes {self.n_atoms} atoms but the frames have {n_atoms}")
        flat = np.ascontiguousarray(vectors.transpose(1, 0, 2), dtype=np.float64).reshape(n_atoms, n_frames * 3)
        return np.ascontiguousarray((self.matrix @ flat).reshape(self.n_beads, n_frames, 3).transpose(1, 0, 2))
