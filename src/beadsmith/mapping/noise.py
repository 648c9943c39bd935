"""Force statistics of molecules: what optimal maps are fitted to, and how much noise they remove.

The mean squared bead force splits into an explained part, the mean squared mean force, and noise. The explained part
is the same for every valid map, so the difference of two maps is a difference of noise alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.mapping.aggregation import optimal_weights, sum_weights
from beadsmith.mapping.beads import BeadTemplate
from beadsmith.mapping.constraints import group_indicator
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory

N_BLOCKS = 10
"""Contiguous blocks of frames for held-out errors: enough for an error bar good to a quarter of itself."""


@dataclass(frozen=True, kw_only=True)
class ForceProducts:
    """Sums of the products of the total forces on the rigid groups of one molecule kind, per block of frames."""

    sums: Float[np.ndarray, "blocks groups groups"]
    """Σ φ φᵀ over the block's frames, all molecules and x, y, z [(kJ/mol/nm)²]; float64."""
    n_samples: Float[np.ndarray, "blocks"]
    """Number of terms (sum of frame weights · molecules · 3)."""

    def mean(self, blocks: Int[np.ndarray, "chosen"] | None = None) -> Float[np.ndarray, "groups groups"]:
        """Return <φ φᵀ> over the given blocks (all if None)."""
        chosen = slice(None) if blocks is None else blocks
        return self.sums[chosen].sum(axis=0) / self.n_samples[chosen].sum()


@dataclass(frozen=True, kw_only=True)
class NoiseComparison:
    """Mean squared bead force per component of the sum map and of the optimal map, on frames it was not fitted to."""

    sum_mean_square: float
    """Of the sum map [(kJ/mol/nm)²]."""
    optimal_mean_square: float
    """Of the optimal map [(kJ/mol/nm)²]."""
    removed: float
    """Noise that the optimal map removes: the difference of the two [(kJ/mol/nm)²]."""
    removed_error: float
    """Its standard error, from blocks; NaN for fewer than two."""
    n_blocks: int
    """Blocks of frames; the map of each block's score was fitted to the others. 1: fitted and scored on all frames."""

    def removed_fraction(self, explained_mean_square: float = 0.0) -> float:
        """Return the fraction of the sum map's noise that is removed.

        Parameters
        ----------
        explained_mean_square : Mean squared mean force, or any lower bound of it, such as the drop of the held-out
            loss that a fitted force field reaches [(kJ/mol/nm)²]. The result is then a lower bound too (of a
            positive removal): with 0 it is the least that can be said.
        """
        noise = self.sum_mean_square - explained_mean_square
        return self.removed / noise if noise > 0.0 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        return {
            "unit": "(kJ/mol/nm)^2 per component",
            "force_mean_square": {"sum": self.sum_mean_square, "optimal": self.optimal_mean_square},
            "noise_removed": {
                "mean_square": self.removed,
                "standard_error": self.removed_error,
                "fraction_lower_bound": self.removed_fraction(),
            },
            "n_blocks": self.n_blocks,
        }


def sum_force_products(
    chunks: Iterable[Trajectory],
    templates: tuple[BeadTemplate, ...],
    *,
    n_frames: int,
) -> tuple[ForceProducts, ...]:
    """Return the force products of each template's molecules from one pass over the frames, in bounded memory.

    Parameters
    ----------
    chunks : Consecutive frames with forces; frame weights count if there are any.
    templates : Bead templates.
    n_frames : Number of frames in all chunks.

    Raises
    ------
    InputError : the frames have no forces.
    """
    n_blocks = min(N_BLOCKS, n_frames)
    sizes = [int(template.rigid_groups.max()) + 1 for template in templates]
    sums = [np.zeros((n_blocks, size, size)) for size in sizes]
    n_samples = [np.zeros(n_blocks) for _ in templates]
    start = 0
    for chunk in chunks:
        if chunk.forces is None:
            raise InputError("the trajectory has no forces, which force maps are fitted to")
        block_of_frame = np.arange(start, start + chunk.n_frames) * n_blocks // n_frames
        weight = np.ones(chunk.n_frames) if chunk.weight is None else chunk.weight
        for k, template in enumerate(templates):
            for block in np.unique(block_of_frame).tolist():
                frames = block_of_frame == block
                totals = _group_forces(chunk.forces[frames], template, weight[frames])
                sums[k][block] += totals @ totals.T
                n_samples[k][block] += weight[frames].sum() * template.molecules.n_molecules * 3
        start += chunk.n_frames
    return tuple(ForceProducts(sums=s, n_samples=n) for s, n in zip(sums, n_samples, strict=True))


def compare_noise(
    products: tuple[ForceProducts, ...], templates: tuple[BeadTemplate, ...], *, regularization: float
) -> NoiseComparison:
    """Score the sum map and the optimal map on each block of frames, the optimal map fitted to the other blocks."""
    n_blocks = len(products[0].n_samples)
    scores = np.zeros((n_blocks, 2))
    n_beads = sum(t.molecules.n_molecules * t.n_beads for t in templates)
    for product, template in zip(products, templates, strict=True):
        share = template.molecules.n_molecules * template.n_beads / n_beads
        for block in range(n_blocks):
            others = np.delete(np.arange(n_blocks), block) if n_blocks > 1 else None
            optimal = optimal_weights(
                product.mean(others),
                template.position_weights,
                template.rigid_groups,
                regularization=regularization,
            )
            here = product.mean(np.array([block]))
            for column, weights in enumerate((sum_weights(template.position_weights), optimal)):
                scores[block, column] += share * mean_square(weights, here, template.rigid_groups)
    removed, error = mean_and_error(scores[:, 0] - scores[:, 1])
    return NoiseComparison(
        sum_mean_square=float(scores[:, 0].mean()),
        optimal_mean_square=float(scores[:, 1].mean()),
        removed=float(removed),
        removed_error=float(error),
        n_blocks=n_blocks,
    )


def mean_square(
    weights: Float[np.ndarray, "beads atoms"],
    products: Float[np.ndarray, "groups groups"],
    groups: Int[np.ndarray, "atoms"],
) -> float:
    """Return the mean squared bead force per component of a map that is constant over rigid groups."""
    of_groups = weights[:, np.unique(groups, return_index=True)[1]]
    return float(np.einsum("ba,ac,bc->", of_groups, products, of_groups)) / len(weights)


def _group_forces(
    forces: Float[np.ndarray, "frames sites 3"],
    template: BeadTemplate,
    weight: Float[np.ndarray, "frames"],
) -> Float[np.ndarray, "groups samples"]:
    """Return the total force on each rigid group, scaled by the root of the frame weight, in float64."""
    forces = forces[:, template.molecules.sites] * np.sqrt(weight)[:, None, None, None]
    by_atom = forces.transpose(2, 0, 1, 3).reshape(len(template.rigid_groups), -1)
    return group_indicator(template.rigid_groups).T @ by_atom
