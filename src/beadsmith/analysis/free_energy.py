"""Divergences of two histograms and free-energy surfaces, with their errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.blocks import BlockCounts, jackknife, split_halves
from beadsmith.analysis.distribution import Distribution, Measurement

_PSEUDO_COUNT = 0.5
_HIGHEST = 5.0


def find_bins(values: Float[np.ndarray, "..."], edges: Float[np.ndarray, "edges"]) -> Int[np.ndarray, "..."]:
    """Return the bin of each value for equal bins; values beyond the ends count in the outermost bins."""
    position = (values - edges[0]) / (edges[-1] - edges[0]) * (len(edges) - 1)
    return np.clip(np.floor(position), 0, len(edges) - 2).astype(np.int64)


def jensen_shannon(first: Float[np.ndarray, "*bins"], second: Float[np.ndarray, "*bins"]) -> float:
    """Return the Jensen-Shannon divergence of two histograms [nats]: 0 if equal, ln 2 if disjoint.

    JS = ½ Σ p ln(p/m) + ½ Σ q ln(q/m), m = (p + q)/2, of the normalised histograms. An empty bin contributes nothing
    to its own sum, so no pseudo-count is needed. Source: J. Lin, IEEE Trans. Inf. Theory 37, 145 (1991).
    """
    p, q = first / first.sum(), second / second.sum()
    middle = 0.5 * (p + q)
    return max(0.0, 0.5 * _relative_entropy(p, middle) + 0.5 * _relative_entropy(q, middle))


def kullback_leibler(
    first: Float[np.ndarray, "*bins"], second: Float[np.ndarray, "*bins"], n_samples: tuple[float, float]
) -> float:
    """Return the Kullback-Leibler divergence Σ p ln(p/q) of two histograms [nats].

    Where q is empty the divergence of the raw histograms is infinite. Half a sample is therefore added to every bin
    that either histogram has visited: p = (n + ½)/(N + K/2), K such bins; `n_samples` are the N of both.
    """
    visited = (first > 0.0) | (second > 0.0)
    p, q = (
        histogram[visited] / histogram.sum() * n + _PSEUDO_COUNT
        for histogram, n in zip((first, second), n_samples, strict=True)
    )
    return max(0.0, _relative_entropy(p / p.sum(), q / q.sum()))


def free_energy_rms(first: Float[np.ndarray, "*bins"], second: Float[np.ndarray, "*bins"]) -> float:
    """Return the root-mean-square difference of two free energies −ln p [kT], the best constant removed.

    Over bins that both have visited and where the second, the reference, is at most 5 kT above its minimum, each
    weighted by the reference's probability. NaN if there is no such bin.
    """
    known = (first > 0.0) & (second >= second.max() * np.exp(-_HIGHEST))
    if not known.any():
        return float("nan")
    weights = second[known] / second[known].sum()
    difference = np.log(second[known]) - np.log(first[known])
    return float(np.sqrt(weights @ (difference - weights @ difference) ** 2))


def align_free_energy(
    energy: Float[np.ndarray, "*bins"], reference: Float[np.ndarray, "*bins"], probability: Float[np.ndarray, "*bins"]
) -> Float[np.ndarray, "*bins"]:
    """Return the difference of two free energies without its mean over a probability; NaN where either is unknown."""
    difference = energy - reference
    known = np.isfinite(difference)
    weight = np.where(known, probability, 0.0)
    if not weight.sum() > 0.0:
        return difference
    return difference - float(np.sum(weight * np.nan_to_num(difference)) / weight.sum())


def measure_divergence(
    statistic: Callable[[np.ndarray, np.ndarray], float], first: BlockCounts, second: BlockCounts, *, unit: str = "nat"
) -> Measurement:
    """Return a divergence of two sets of counts; the error is the jackknife over the blocks of both.

    Noise makes every divergence positive: compare the value with `expected_by_chance`.
    """
    error = np.hypot(
        jackknife(lambda counts: statistic(counts, second.total), first),
        jackknife(lambda counts: statistic(first.total, counts), second),
    )
    return Measurement(
        value=statistic(first.total, second.total),
        standard_error=float(error),
        unit=unit,
        n_samples=first.n_blocks + second.n_blocks,
    )


def measure_halves(
    blocks: BlockCounts, statistic: Callable[[np.ndarray, np.ndarray], float] = jensen_shannon
) -> Measurement | None:
    """Return a divergence of the two halves of one data set [nats]; None where it has no halves."""
    halves = split_halves(blocks)
    if halves is None:
        return None
    return Measurement(value=statistic(*halves), standard_error=float("nan"), unit="nat", n_samples=2)


def expected_by_chance(first: Measurement | None, second: Measurement | None) -> Measurement | None:
    """Return the divergence that two perfect runs would show [nats], from the halves of each; None if unknown.

    To second order JS = ⅛ Σ (δp)²/p, and KL four times that. The difference of two halves has four times the variance
    of their whole, so two whole runs are expected to show a quarter of the sum of both runs' halves.
    """
    if first is None or second is None:
        return None
    value = 0.25 * (first.value + second.value)
    return Measurement(value=value, standard_error=float("nan"), unit="nat", n_samples=4)


def measure_asymmetry(blocks: BlockCounts, axes: tuple[int, ...]) -> Measurement:
    """Return the Jensen-Shannon divergence of a distribution and its mirror image [nats], with its jackknife error."""

    def statistic(counts: np.ndarray) -> float:
        return jensen_shannon(counts, np.flip(counts, axis=axes))

    return Measurement(
        value=statistic(blocks.total),
        standard_error=float(jackknife(statistic, blocks)),
        unit="nat",
        n_samples=blocks.n_blocks,
    )


def build_curve(blocks: BlockCounts, edges: Float[np.ndarray, "edges"], *, label: str, unit: str) -> Distribution:
    """Return the probability density of one coordinate [1/unit], with block errors."""
    widths = np.diff(edges)
    totals = blocks.counts.sum(axis=1, keepdims=True)
    return Distribution(
        label=label,
        unit=unit,
        edges=edges,
        density=blocks.probability / widths,
        standard_error=blocks.standard_error / widths,
        n_effective=float(blocks.n_blocks),
        blocks=blocks.counts / totals / widths,
    )


@dataclass(frozen=True, kw_only=True)
class FreeEnergySurface:
    """Free energy over two coordinates, from the probabilities of bins."""

    x: str
    """Name of the horizontal coordinate."""
    y: str
    """Name of the vertical coordinate."""
    x_edges: Float[np.ndarray, "x_edges"]
    """Edges of the horizontal bins, in the coordinate's unit."""
    y_edges: Float[np.ndarray, "y_edges"]
    """Edges of the vertical bins."""
    probability: Float[np.ndarray, "x y"]
    """Probability of each bin; the sum is 1."""
    free_energy: Float[np.ndarray, "x y"]
    """−ln p above its minimum [kT]; NaN in bins that were never visited."""
    standard_error: Float[np.ndarray, "x y"]
    """One standard error of `free_energy` [kT], σ(p)/p: about 1 where a single block has seen the bin."""
    thermal_energy: float
    """kT [kJ/mol]."""
    n_blocks: int
    """Number of blocks behind the errors."""

    def to_json(self) -> dict[str, Any]:
        """Return the surface as a JSON-ready dictionary; rows follow x."""
        return {
            "x": self.x,
            "y": self.y,
            "x_edges": self.x_edges.tolist(),
            "y_edges": self.y_edges.tolist(),
            "probability": self.probability.tolist(),
            "free_energy": self.free_energy.tolist(),
            "standard_error": self.standard_error.tolist(),
            "unit": "kT",
            "thermal_energy": {"value": self.thermal_energy, "unit": "kJ/mol"},
            "n_effective": self.n_blocks,
        }


def build_surface(
    blocks: BlockCounts,
    names: tuple[str, str],
    edges: tuple[Float[np.ndarray, "x_edges"], Float[np.ndarray, "y_edges"]],
    *,
    thermal_energy: float,
) -> FreeEnergySurface:
    """Return the free-energy surface of two-dimensional counts; `thermal_energy` is kT [kJ/mol]."""
    probability = blocks.probability
    visited = probability > 0.0
    safe = np.where(visited, probability, 1.0)
    free_energy = np.where(visited, -np.log(safe), np.nan)
    return FreeEnergySurface(
        x=names[0],
        y=names[1],
        x_edges=edges[0],
        y_edges=edges[1],
        probability=probability,
        free_energy=free_energy - np.nanmin(free_energy),
        standard_error=np.where(visited, blocks.standard_error / safe, np.nan),
        thermal_energy=thermal_energy,
        n_blocks=blocks.n_blocks,
    )


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Return Σ p ln(p/q) over the bins where p is not empty."""
    used = p > 0.0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))
