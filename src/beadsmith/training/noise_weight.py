"""Weights for force components that carry unequal and correlated noise: generalised least squares.

The noise of a label comes from atoms inside the molecule: it turns with the molecule, differs from bead to bead, along
and across bonds, and is correlated between beads. Its covariance is therefore taken in axes that move with the beads.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beadsmith.geometry import minimum_image

_SHRINKAGE = 1e-3
"""White noise added to the covariance, relative to its mean variance: directions with hardly any must not rule."""

_SMALLEST_SINE = 0.3
"""Three beads nearer to a line than this make no frame."""


@dataclass(frozen=True, kw_only=True)
class LocalFrames:
    """Axes at each bead of a molecule, spanned by two other beads."""

    references: Int[np.ndarray, "beads 2"]
    """The two beads that span the axes of each bead."""

    def build(
        self, positions: Float[np.ndarray, "terms beads 3"], cell: Float[np.ndarray, "terms 3 3"] | None
    ) -> Float[np.ndarray, "terms beads 3 3"]:
        """Return the axes as rows: towards the first reference, in the plane of both, and across it."""
        first, second = (
            minimum_image(positions[:, self.references[:, k]] - positions, cell).astype(np.float64) for k in (0, 1)
        )
        along = first / np.linalg.norm(first, axis=-1, keepdims=True)
        across = np.cross(along, second)
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-300)
        return np.stack([along, np.cross(across, along), across], axis=2)


def choose_frames(
    positions: Float[np.ndarray, "terms beads 3"], cell: Float[np.ndarray, "terms 3 3"] | None
) -> LocalFrames:
    """Return frames from the two beads that are nearest on average and not on a line with the bead.

    Parameters
    ----------
    positions : Molecules of at least three beads, some frames [nm].
    cell : Cell vectors of each [nm], or None.
    """
    n_beads = positions.shape[1]
    references = np.empty((n_beads, 2), dtype=np.int64)
    for bead in range(n_beads):
        vectors = minimum_image(positions - positions[:, bead : bead + 1], cell)
        order = [other for other in np.argsort(np.linalg.norm(vectors, axis=2).mean(axis=0)).tolist() if other != bead]
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-300)
        sines = np.linalg.norm(np.cross(units[:, order[0]][:, None], units[:, order]), axis=2).min(axis=0)
        bent = [other for other, sine in zip(order[1:], sines[1:].tolist(), strict=True) if sine > _SMALLEST_SINE]
        references[bead] = order[0], bent[0] if bent else order[1 + int(np.argmax(sines[1:]))]
    return LocalFrames(references=references)


def to_local(
    frames: Float[np.ndarray, "terms beads 3 3"], vectors: Float[np.ndarray, "terms *kinds beads 3"]
) -> Float[np.ndarray, "terms *kinds components"]:
    """Return the components of vectors on beads along their axes, bead by bead."""
    local = np.einsum("tbxy,t...by->t...bx", frames, vectors)
    return local.reshape(*local.shape[:-2], -1)


def invert_covariance(
    products: Float[np.ndarray, "components components"], n_terms: int
) -> Float[np.ndarray, "components components"]:
    """Return the inverse covariance of forces, a little shrunk, from their summed products [1/(kJ/mol/nm)²]."""
    covariance = products / n_terms
    white = _SHRINKAGE * np.trace(covariance) / len(covariance)
    return np.linalg.inv(covariance + white * np.eye(len(covariance)))
