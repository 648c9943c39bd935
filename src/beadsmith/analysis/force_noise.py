"""How much of the force on each bead is noise: what the best linear function of the shape of its molecule leaves.

Mapped forces fluctuate although the beads stand still, because the removed atoms move. Whatever a function of the
beads explains of them on frames that it was not fitted to is no noise, so the rest is an upper bound.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.graph_symmetry import list_neighbours
from beadsmith.statistics import mean_and_error

_MOST_PARTNERS = 8
_N_BLOCKS = 10
_RIDGE = 1e-9
_CHUNK_SAMPLES = 20_000


@dataclass(frozen=True, kw_only=True)
class ForceNoise:
    """The force on one bead of a molecule."""

    rms: float
    """Root mean square of a component [kJ/mol/nm]."""
    noise: Measurement
    """Upper bound of the root mean square of its noise [kJ/mol/nm]."""

    @property
    def explained(self) -> float:
        """Lower bound of the fraction of the mean square that is no noise."""
        return 1.0 - (self.noise.value / self.rms) ** 2 if self.rms > 0.0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON-ready dictionary."""
        return {
            "rms": {"value": self.rms, "unit": "kJ/mol/nm"},
            "noise_upper_bound": self.noise.to_json(),
            "explained_lower_bound": self.explained,
        }


def measure_force_noise(
    positions: Float[np.ndarray, "samples sites 3"],
    forces: Float[np.ndarray, "samples sites 3"],
    bonds: Int[np.ndarray, "bonds 2"],
) -> tuple[ForceNoise, ...]:
    """Return rms and noise of the force on each bead of a molecule.

    The force on bead i is fitted with Σ_j (a_j + b_j (r_ij − <r_ij>)) n_ij over the eight beads j that are the fewest
    bonds away, n_ij the direction to them: bonds, angles and dihedrals of small amplitude are such sums. Each of ten
    contiguous blocks of samples is scored with the fit to the others.

    Parameters
    ----------
    positions : Whole molecules, in the order of the frames [nm].
    forces : Forces on their beads [kJ/mol/nm].
    bonds : Bonded pairs of beads.
    """
    blocks = [block for block in np.array_split(np.arange(len(positions)), _N_BLOCKS) if len(block)]
    neighbours = list_neighbours(positions.shape[1], bonds)
    start = positions[:100].astype(np.float64)
    found = []
    for bead in range(positions.shape[1]):
        # any length near the mean will do: it only keeps the two functions of a partner apart
        lengths = {
            other: float(np.linalg.norm(start[:, other] - start[:, bead], axis=-1).mean())
            for other in _nearest_by_bonds(bead, neighbours)
        }
        sums = [_sum_products(positions, forces, block, bead, lengths) for block in blocks]
        found.append(_score(sums))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Normal equations of one block."""

    gram: Float[np.ndarray, "functions functions"]
    moments: Float[np.ndarray, "functions"]
    square: float
    n_components: int


def _nearest_by_bonds(bead: int, neighbours: list[list[int]]) -> list[int]:
    seen, front = [bead], [bead]
    while front and len(seen) <= _MOST_PARTNERS:
        front = [other for site in front for other in neighbours[site] if other not in seen]
        front = list(dict.fromkeys(front))
        seen += front
    return seen[1 : 1 + _MOST_PARTNERS]


def _sum_products(
    positions: np.ndarray, forces: np.ndarray, block: np.ndarray, bead: int, lengths: dict[int, float]
) -> _Sums:
    size = 2 * len(lengths)
    gram, moments, square = np.zeros((size, size)), np.zeros(size), 0.0
    for first in range(0, len(block), _CHUNK_SAMPLES):
        chosen = block[first : first + _CHUNK_SAMPLES]
        force = forces[chosen, bead].astype(np.float64)
        design = np.empty((size, len(chosen), 3))
        for place, (other, mean) in enumerate(lengths.items()):
            vector = positions[chosen, other].astype(np.float64) - positions[chosen, bead]
            length = np.linalg.norm(vector, axis=-1, keepdims=True)
            design[2 * place] = vector / np.maximum(length, 1e-12)
            design[2 * place + 1] = design[2 * place] * (length - mean)
        flat = design.reshape(size, 3 * len(chosen))
        gram += flat @ flat.T
        moments += flat @ force.ravel()
        square += float(np.sum(force**2))
    return _Sums(gram=gram, moments=moments, square=square, n_components=3 * len(block))


def _score(sums: list[_Sums]) -> ForceNoise:
    """Return rms and what is left of each block by the fit to the others."""
    n_components = sum(entry.n_components for entry in sums)
    left = []
    for block in sums:
        others = [entry for entry in sums if entry is not block] or [block]
        gram = sum((entry.gram for entry in others), np.zeros_like(block.gram))
        moments = sum((entry.moments for entry in others), np.zeros_like(block.moments))
        scale = np.sqrt(np.maximum(np.diag(gram), 1e-30))
        scaled = gram / np.outer(scale, scale) + _RIDGE * np.eye(len(scale))
        weights = np.linalg.solve(scaled, moments / scale) / scale
        rest = block.square - 2.0 * weights @ block.moments + weights @ block.gram @ weights
        # nothing at all is a fit, too
        left.append(min(rest, block.square) / block.n_components)
    mean, error = mean_and_error(left)
    noise = float(np.sqrt(max(float(mean), 0.0)))
    return ForceNoise(
        rms=float(np.sqrt(sum(entry.square for entry in sums) / n_components)),
        noise=Measurement(
            value=noise,
            standard_error=float(0.5 * error / max(noise, 1e-30)),
            unit="kJ/mol/nm",
            n_samples=len(left),
        ),
    )
