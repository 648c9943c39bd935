"""The records that an evaluation is made of: measured numbers and measured curves, each with its error bar."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from beadsmith.statistics import leave_one_out_error, mean_and_error


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with all that is needed to judge it."""

    value: float
    """The estimate, in `unit`."""
    standard_error: float
    """One standard error, in `unit`; NaN where it cannot be estimated (one sample)."""
    unit: str
    """Unit; ``"1"`` for a pure number."""
    n_samples: int
    """Number of samples behind the standard error (blocks of frames unless the name says otherwise)."""

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A histogram estimate of a function of one coordinate, with its block errors."""

    label: str
    """What is counted, for example ``"methanol-methanol"``."""
    unit: str
    """Unit of the coordinate, for example ``"nm"``."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the bins [unit], one more than bins."""
    density: Float[np.ndarray, "bins"]
    """Value in each bin, in the normalisation of the function that made it."""
    standard_error: Float[np.ndarray, "bins"]
    """One standard error of `density`, from the spread of the blocks."""
    n_effective: float
    """Number of independent samples behind the standard errors: the blocks."""
    blocks: Float[np.ndarray, "blocks bins"]
    """Value in each bin from each block of frames alone; empty when read back from JSON."""

    @property
    def centres(self) -> Float[np.ndarray, "bins"]:
        """Middle of each bin [unit]."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def to_json(self) -> dict[str, Any]:
        """Return the distribution without its blocks as a JSON-ready dictionary."""
        return {
            "label": self.label,
            "unit": self.unit,
            "edges": self.edges.tolist(),
            "density": self.density.tolist(),
            "standard_error": self.standard_error.tolist(),
            "n_effective": self.n_effective,
        }


def distribution_from_json(data: dict[str, Any]) -> Distribution:
    """Return the distribution that `Distribution.to_json` wrote; a null (no estimate) becomes NaN."""
    density = np.array(data["density"], dtype=np.float64)
    return Distribution(
        label=data["label"],
        unit=data["unit"],
        edges=np.array(data["edges"], dtype=np.float64),
        density=density,
        standard_error=np.array(data["standard_error"], dtype=np.float64),
        n_effective=float(data["n_effective"]),
        blocks=np.zeros((0, len(density))),
    )


def build_distribution(
    blocks: Float[np.ndarray, "blocks bins"],
    weights: Float[np.ndarray, "blocks"],
    *,
    label: str,
    unit: str,
    edges: Float[np.ndarray, "edges"],
) -> Distribution:
    """Return the weighted mean of block estimates with the standard error from their spread.

    Blocks of zero weight are dropped; without any left, the density is NaN.
    """
    used = blocks[weights > 0.0]
    if len(used) == 0:
        nothing = np.full(len(edges) - 1, np.nan)
        density, standard_error = nothing, nothing.copy()
    else:
        density = np.average(used, axis=0, weights=weights[weights > 0.0])
        _, standard_error = mean_and_error(used)
    return Distribution(
        label=label,
        unit=unit,
        edges=edges,
        density=density,
        standard_error=standard_error,
        n_effective=float(len(used)),
        blocks=used,
    )


def jackknife_error(
    statistic: Callable[[np.ndarray], float], blocks: Float[np.ndarray, "blocks ..."] | Sequence[float]
) -> float:
    """Return the standard error of a statistic of the mean over blocks, leaving out one block at a time.

    σ² = (n − 1)/n Σ_k (s_k − s̄)², s_k = statistic(mean of all blocks but k). NaN for fewer than two blocks.
    Source: B. Efron and C. Stein, Ann. Stat. 9, 586 (1981).
    """
    values = np.asarray(blocks, dtype=np.float64)
    n_blocks = len(values)
    if n_blocks < 2:
        return float("nan")
    total = values.sum(axis=0)
    estimates = np.array([statistic((total - block) / (n_blocks - 1)) for block in values])
    return float(leave_one_out_error(estimates[:, None])[0])
