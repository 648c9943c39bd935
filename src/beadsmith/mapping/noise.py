"""Force statistics of molecules: what optimal maps are fitted to, and how much noise they remove.

The mean squared bead force splits into an explained part, the mean squared mean force, and noise. The explained part
is the same for every valid map, so the difference of two maps is a difference of noise alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.mapping.aggregation import (
    blurred_weights,
    find_bias,
    optimal_weights,
    slice_weights,
    sum_weights,
    uniform_weights,
)
from beadsmith.mapping.beads import BeadTemplate
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory

N_BLOCKS = 10
"""Contiguous blocks of frames for held-out errors: enough for an error bar good to a quarter of itself."""


@dataclass(frozen=True, kw_only=True)
class ForceProducts:
    """Sums of the products of the total forces on the rigid groups of one molecule kind, per block of frames."""

    sums: Float[np.ndarray, "blocks groups groups"]
    """Σ φ φᵀ over the block's frames, all molecules and x, y, z [(kJ/mol/nm)²]; float64."""
    slice_squares: Float[np.ndarray, "blocks"]
    """Σ over beads, too, of the squared force on the atoms that carry a bead's position [(kJ/mol/nm)²]."""
    n_samples: Float[np.ndarray, "blocks"]
    """Number of terms (sum of frame weights · molecules · 3)."""

    def mean(self, blocks: Int[np.ndarray, "chosen"] | None = None) -> Float[np.ndarray, "groups groups"]:
        """Return <φ φᵀ> over the given blocks (all if None)."""
        chosen = slice(None) if blocks is None else blocks
        return self.sums[chosen].sum(axis=0) / self.n_samples[chosen].sum()


@dataclass(frozen=True, kw_only=True)
class NoiseComparison:
    """Mean squared bead force per component of every force map, on frames that it was not fitted to."""

    mean_squares: dict[str, float]
    """Of each unbiased map, by name [(kJ/mol/nm)²]."""
    removed: float
    """Noise that the optimal map removes from the sum map's (NaN where the sum is biased) [(kJ/mol/nm)²]."""
    removed_error: float
    """Its standard error, from blocks; NaN for fewer than two."""
    n_blocks: int
    """Blocks of frames; the map of each block's score was fitted to the others. 1: fitted and scored on all frames."""
    biased: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Maps that must not make training labels: mean square [(kJ/mol/nm)²] and the reason."""
    blurred: float | None = None
    """Mean square of the labels of blurred beads [(kJ/mol/nm)²], if there is noise on their positions. Its mean force
    is that of another density, so it is not comparable with the others beyond their size."""

    def removed_fraction(self, explained_mean_square: float = 0.0) -> float:
        """Return the fraction of the sum map's noise that is removed.

        Parameters
        ----------
        explained_mean_square : Mean squared mean force, or any lower bound of it, such as the drop of the held-out
            loss that a fitted force field reaches [(kJ/mol/nm)²]. The result is then a lower bound too (of a
            positive removal): with 0 it is the least that can be said.
        """
        noise = self.mean_squares.get("sum", float("nan")) - explained_mean_square
        return self.removed / noise if noise > 0.0 else float("nan")

    def data_gain(self, name: str, explained_mean_square: float = 0.0) -> float:
        """Return how many frames with a map's labels are worth one with the optimal labels: the ratio of their noise.

        Parameters
        ----------
        name : An unbiased map.
        explained_mean_square : As in `removed_fraction`: the larger a lower bound, the closer the result to the truth,
            from below.
        """
        left = self.mean_squares["optimal"] - explained_mean_square
        return (self.mean_squares[name] - explained_mean_square) / left if left > 0.0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        found: dict[str, Any] = {
            "unit": "(kJ/mol/nm)^2 per component",
            "force_mean_square": self.mean_squares,
            "effective_data_gain": {
                name: {"lower_bound": self.data_gain(name)} for name in self.mean_squares if name != "optimal"
            },
            "n_blocks": self.n_blocks,
        }
        if "sum" in self.mean_squares:
            found["noise_removed"] = {
                "mean_square": self.removed,
                "standard_error": self.removed_error,
                "fraction_lower_bound": self.removed_fraction(),
            }
        if self.biased:
            found["biased_maps"] = self.biased
        if self.blurred is not None:
            found["blurred_force_mean_square"] = self.blurred
        return found


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
    slices = [np.zeros(n_blocks) for _ in templates]
    n_samples = [np.zeros(n_blocks) for _ in templates]
    start = 0
    for chunk in chunks:
        if chunk.forces is None:
            raise InputError("the trajectory has no forces, which force maps are fitted to")
        block_of_frame = np.arange(start, start + chunk.n_frames) * n_blocks // n_frames
        weight = np.ones(chunk.n_frames) if chunk.weight is None else chunk.weight
        for block in np.unique(block_of_frame).tolist():
            frames = np.flatnonzero(block_of_frame == block)
            part = slice(int(frames[0]), int(frames[-1]) + 1)
            for k, template in enumerate(templates):
                by_atom = _forces_by_atom(chunk.forces[part], template, weight[part])
                totals = _add_groups(by_atom, template.rigid_groups)
                sums[k][block] += totals @ totals.T
                slices[k][block] += _sum_slice_squares(by_atom, template)
                n_samples[k][block] += weight[part].sum() * template.molecules.n_molecules * 3
        start += chunk.n_frames
    return tuple(
        ForceProducts(sums=s, slice_squares=c, n_samples=n) for s, c, n in zip(sums, slices, n_samples, strict=True)
    )


def compare_noise(
    products: tuple[ForceProducts, ...],
    templates: tuple[BeadTemplate, ...],
    *,
    regularization: float,
    noise_width: float | None = None,
    kT: float = 1.0,
) -> NoiseComparison:
    """Score every map on each block of frames, the optimal map fitted to the other blocks.

    A biased map is scored, too, and set apart: its labels are not those of the beads, however small their noise.

    Parameters
    ----------
    products : Force products of each template.
    templates : Bead templates.
    regularization : That of the optimal map.
    noise_width : Width of the noise on bead positions [nm], to score the labels of blurred beads as well.
    kT : Thermal energy [kJ/mol], for them.
    """
    names = ("sum", "uniform", "slice", "optimal")
    n_blocks = len(products[0].n_samples)
    scores = dict.fromkeys(names, np.zeros(n_blocks))
    blurred = np.zeros(n_blocks)
    reasons: dict[str, str] = {}
    n_beads = sum(t.molecules.n_molecules * t.n_beads for t in templates)
    for product, template in zip(products, templates, strict=True):
        share = template.molecules.n_molecules * template.n_beads / n_beads
        for name in names:
            of_blocks, reason = _score(name, product, template, regularization=regularization)
            scores[name] = scores[name] + share * of_blocks
            if reason is not None:
                reasons.setdefault(name, f"molecule '{template.molecules.name}': {reason}")
        if noise_width is not None:
            blurred += share * _score_blurred(
                product, template, regularization=regularization, noise_width=noise_width, kT=kT
            )
    mean_squares = {name: float(scores[name].mean()) for name in names if name not in reasons}
    removed, error = mean_and_error(scores["sum"] - scores["optimal"])
    has_sum = "sum" not in reasons
    return NoiseComparison(
        mean_squares=mean_squares,
        removed=float(removed) if has_sum else float("nan"),
        removed_error=float(error) if has_sum else float("nan"),
        n_blocks=n_blocks,
        biased={
            name: {"force_mean_square": float(scores[name].mean()), "reason": reason}
            for name, reason in reasons.items()
        },
        blurred=None if noise_width is None else float(blurred.mean()),
    )


def _score(
    name: str, product: ForceProducts, template: BeadTemplate, *, regularization: float
) -> tuple[Float[np.ndarray, "blocks"], str | None]:
    """Return the mean square of one map on each block, and why it is biased or None."""
    fixed = None if name == "optimal" else plain_weights(name, template)
    reason = None if fixed is None else find_bias(fixed, template.position_weights, template.rigid_groups)
    if name == "slice":
        # a slice may cut through rigid groups, whose total forces then say nothing about it
        return product.slice_squares / (product.n_samples * template.n_beads), reason
    found = []
    for block, others in _held_out_blocks(product):
        weights = fit_weights(product, template, others, regularization=regularization) if fixed is None else fixed
        found.append(mean_square(weights, product.mean(block), template.rigid_groups))
    return np.array(found), reason


def _score_blurred(
    product: ForceProducts, template: BeadTemplate, *, regularization: float, noise_width: float, kT: float
) -> Float[np.ndarray, "blocks"]:
    """Return the mean square of the labels of blurred beads on each block: <|B f|²> + (kT/s)² |1 - B Cᵀ|²."""
    found = []
    for block, others in _held_out_blocks(product):
        optimal = fit_weights(product, template, others, regularization=regularization)
        weights = blur_weights(optimal, product, template, others, noise_width=noise_width, kT=kT)
        score_weights = np.eye(template.n_beads) - weights @ template.position_weights.T
        of_score = (kT / noise_width) ** 2 * np.sum(score_weights**2) / template.n_beads
        found.append(mean_square(weights, product.mean(block), template.rigid_groups) + of_score)
    return np.array(found)


def _held_out_blocks(
    product: ForceProducts,
) -> Iterator[tuple[Int[np.ndarray, "chosen"], Int[np.ndarray, "chosen"] | None]]:
    """Yield each block and all others; a single block beside itself (None: all)."""
    n_blocks = len(product.n_samples)
    for block in range(n_blocks):
        yield np.array([block]), np.delete(np.arange(n_blocks), block) if n_blocks > 1 else None


def plain_weights(name: str, template: BeadTemplate) -> Float[np.ndarray, "beads atoms"]:
    """Return the weights of a force map that is fitted to nothing: sum, uniform or slice."""
    if name == "sum":
        return sum_weights(template.members, template.rigid_groups)
    if name == "uniform":
        return uniform_weights(template.position_weights, template.rigid_groups)
    return slice_weights(template.position_weights)


def fit_weights(
    product: ForceProducts,
    template: BeadTemplate,
    blocks: Int[np.ndarray, "chosen"] | None = None,
    *,
    regularization: float,
) -> Float[np.ndarray, "beads atoms"]:
    """Return the optimal map of one template from some blocks of its force products (all if None)."""
    return optimal_weights(
        product.mean(blocks), template.position_weights, template.rigid_groups, regularization=regularization
    )


def blur_weights(
    optimal: Float[np.ndarray, "beads atoms"],
    product: ForceProducts,
    template: BeadTemplate,
    blocks: Int[np.ndarray, "chosen"] | None = None,
    *,
    noise_width: float,
    kT: float,
) -> Float[np.ndarray, "beads atoms"]:
    """Return the atoms' part of the noise-augmented map that belongs to an optimal map (see `blurred_weights`)."""
    of_groups = _weights_of_groups(optimal, template.rigid_groups)
    mean_squares = of_groups @ product.mean(blocks) @ of_groups.T
    return blurred_weights(optimal, mean_squares, noise_width=noise_width, kT=kT)


def mean_square(
    weights: Float[np.ndarray, "beads atoms"],
    products: Float[np.ndarray, "groups groups"],
    groups: Int[np.ndarray, "atoms"],
) -> float:
    """Return the mean squared bead force per component of a map that is constant over rigid groups."""
    of_groups = _weights_of_groups(weights, groups)
    return float(np.sum((of_groups @ products) * of_groups)) / len(weights)


def _weights_of_groups(
    weights: Float[np.ndarray, "beads atoms"], groups: Int[np.ndarray, "atoms"]
) -> Float[np.ndarray, "beads groups"]:
    """Return the weight of each rigid group: that of its first atom."""
    return weights[:, np.unique(groups, return_index=True)[1]]


def _forces_by_atom(
    forces: Float[np.ndarray, "frames sites 3"],
    template: BeadTemplate,
    weight: Float[np.ndarray, "frames"],
) -> Float[np.ndarray, "atoms samples"]:
    """Return the force on each atom of all molecules, scaled by the root of the frame weight, in float64."""
    sites = template.molecules.sites
    by_atom = np.empty((sites.shape[1], len(forces), len(sites), 3))
    for atom in range(sites.shape[1]):
        by_atom[atom] = forces[:, _as_slice(sites[:, atom])]
    if np.any(weight != 1.0):
        by_atom *= np.sqrt(weight)[:, None, None]
    return by_atom.reshape(sites.shape[1], -1)


def _as_slice(sites: Int[np.ndarray, "molecules"]) -> slice | Int[np.ndarray, "molecules"]:
    """Return evenly spaced sites as a slice, which NumPy reads several times faster than an index array."""
    steps = np.diff(sites)
    if len(sites) > 1 and (steps <= 0).any() | (steps != steps[0]).any():
        return sites
    step = int(steps[0]) if len(steps) else 1
    return slice(int(sites[0]), int(sites[-1]) + 1, step)


def _add_groups(
    by_atom: Float[np.ndarray, "atoms samples"], groups: Int[np.ndarray, "atoms"]
) -> Float[np.ndarray, "groups samples"]:
    n_groups = int(groups.max()) + 1
    if n_groups == len(groups):
        return by_atom[np.argsort(groups)] if np.any(np.diff(groups) < 0) else by_atom
    totals = np.zeros((n_groups, by_atom.shape[1]))
    for atom, group in enumerate(groups.tolist()):
        totals[group] += by_atom[atom]
    return totals


def _sum_slice_squares(by_atom: Float[np.ndarray, "atoms samples"], template: BeadTemplate) -> float:
    squares = 0.0
    for row in template.position_weights:
        carriers = np.flatnonzero(row)
        total = by_atom[carriers[0]] if len(carriers) == 1 else by_atom[carriers].sum(axis=0)
        squares += float(total @ total)
    return squares
