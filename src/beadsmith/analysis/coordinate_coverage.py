"""Which values of its bonded coordinates a reference has visited, how many of them are independent, and how often.

Counting values alone says nothing: a thousand frames of one torsion that never turned are one value of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.internal import angles, dihedrals, distances
from beadsmith.statistics import block_edges, pooled_inefficiency
from beadsmith.topology import Topology

_TERMS = {"bonds": (distances, "nm"), "angles": (angles, "degree"), "dihedrals": (dihedrals, "degree"),
          "impropers": (dihedrals, "degree")}  # fmt: skip
_FEWEST_TERMS = 12
_MOST_VALUES = 200_000
_N_BLOCKS = 10
_DIHEDRAL_BINS = 72
_BINS_PER_DEVIATION = 2.0
_MOST_BINS = 400
_RIGID = 1e-4


@dataclass(frozen=True, kw_only=True)
class CoordinateCoverage:
    """What a reference knows of all terms of one kind and tuple of types."""

    label: str
    """Kind and types, ``"bonds A-B"``."""
    n_values: int
    """Values in the frames that were looked at, of all terms."""
    n_effective: float
    """How many independent values they are worth."""
    lowest: float
    """Smallest value seen [nm or degrees]."""
    highest: float
    """Largest value seen [nm or degrees]; of a dihedral, the two enclose the widest gap between its values."""
    unit: str
    """Unit of both."""
    seen_once: float
    """Share of the values that lie where only one tenth of the reference has been."""

    def to_json(self) -> dict[str, Any]:
        """Return the coverage as a JSON-ready dictionary."""
        return {
            "n_values": self.n_values,
            "n_effective": self.n_effective,
            "range": {"lowest": self.lowest, "highest": self.highest, "unit": self.unit},
            "seen_once": {"value": self.seen_once, "unit": "1"},
        }


def survey_coverage(
    positions: Float[np.ndarray, "frames sites 3"], topology: Topology, segment: Int[np.ndarray, "frames"] | None
) -> tuple[CoordinateCoverage, ...]:
    """Return the coverage of each kind of bonded coordinate.

    Of many terms with equal types, a dozen at even distances stand for all, or more in short trajectories.
    Autocorrelations are pooled over them, about the mean of all copies of a term, so that copies which never leave
    their state count as one value each. Runs and replicas follow each other in one series, with the same effect.

    Parameters
    ----------
    positions : Frames with all molecules whole [nm].
    topology : Beads and their bonded terms.
    segment : Run or replica of each frame, or None.
    """
    blocks = block_edges(len(positions), min(_N_BLOCKS, len(positions)), segment)
    return tuple(
        _measure(positions, topology, field, label, rows, blocks)
        for field in _TERMS
        for label, rows in _group_terms(topology, field).items()
    )


def _group_terms(topology: Topology, field: str) -> dict[str, Int[np.ndarray, "terms width"]]:
    """Return the terms of each tuple of types, in either direction."""
    terms: Int[np.ndarray, "terms width"] = getattr(topology, field)
    groups: dict[str, list[int]] = {}
    for place, types in enumerate(topology.types[terms].tolist()):
        names = [topology.type_names[kind] for kind in types]
        groups.setdefault(f"{field} {'-'.join(min(names, names[::-1]))}", []).append(place)
    return {label: terms[places] for label, places in groups.items()}


def _measure(
    positions: Float[np.ndarray, "frames sites 3"],
    topology: Topology,
    field: str,
    label: str,
    rows: Int[np.ndarray, "terms width"],
    blocks: Sequence[Int[np.ndarray, "_frames"]],
) -> CoordinateCoverage:
    compute, unit = _TERMS[field]
    n_chosen = max(_FEWEST_TERMS, _MOST_VALUES // len(positions))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, n_chosen).astype(np.int64))]
    values = compute(positions, chosen)
    is_periodic = compute is dihedrals
    first = np.searchsorted(topology.molecule_index, topology.molecule_index[chosen[:, 0]])
    series = [values] if not is_periodic else [np.cos(np.radians(values)), np.sin(np.radians(values))]
    centred = np.concatenate([_centre(part, chosen - first[:, None]) for part in series], axis=1)
    n_values = len(positions) * len(rows)
    lowest, highest = _find_range(values, is_periodic=is_periodic)
    return CoordinateCoverage(
        label=label,
        n_values=n_values,
        n_effective=n_values / pooled_inefficiency(centred),
        lowest=lowest,
        highest=highest,
        unit=unit,
        seen_once=_share_seen_once(values, blocks, is_periodic=is_periodic),
    )


def _centre(
    values: Float[np.ndarray, "frames terms"], places: Int[np.ndarray, "terms width"]
) -> Float[np.ndarray, "frames terms"]:
    """Return values less the mean over all copies of a term: terms at one place of a molecule have one mean.

    What varies by less than rounding, such as a constrained bond, is constant.
    """
    centred, least = np.empty(values.shape), _RIGID * max(float(np.abs(values).max()), 0.1)
    _, group = np.unique(places, axis=0, return_inverse=True)
    for number in np.unique(group):
        copies = np.flatnonzero(group.ravel() == number)
        centred[:, copies] = values[:, copies] - values[:, copies].mean()
    return np.where(np.abs(centred).max(axis=0) > least, centred, 0.0)


def _find_range(values: Float[np.ndarray, "frames terms"], *, is_periodic: bool) -> tuple[float, float]:
    """Return the ends of what was visited; a periodic range goes the way that leaves out the widest gap.

    It may end beyond 180 degrees then, which reads on from −180.
    """
    if not is_periodic:
        return float(values.min()), float(values.max())
    counts = np.histogram(values, bins=_DIHEDRAL_BINS, range=(-180.0, 180.0))[0]
    filled = np.flatnonzero(counts)
    gaps = np.diff(np.append(filled, filled[0] + _DIHEDRAL_BINS))
    widest = int(np.argmax(gaps))
    if gaps[widest] == 1:
        return -180.0, 180.0
    width = 360.0 / _DIHEDRAL_BINS
    start, end = filled[(widest + 1) % len(filled)], filled[widest]
    lowest = -180.0 + width * float(start)
    highest = -180.0 + width * float(end + 1 + (_DIHEDRAL_BINS if end < start else 0))
    return lowest, highest


def _share_seen_once(
    values: Float[np.ndarray, "frames terms"], blocks: Sequence[Int[np.ndarray, "_frames"]], *, is_periodic: bool
) -> float:
    """Return the share of values in bins that only one block has visited: how much of the next block would be news.

    The estimate of I. J. Good, Biometrika 40, 237 (1953), for the chance of the unseen, with blocks as draws.
    """
    if is_periodic:
        edges = np.linspace(-180.0, 180.0, _DIHEDRAL_BINS + 1)
    else:
        low, high = float(values.min()), float(values.max())
        step = max(float(values.std()), 1e-9) / _BINS_PER_DEVIATION
        edges = np.linspace(low, max(high, low + step), min(_MOST_BINS, max(1, int((high - low) / step))) + 1)
    counts = np.stack([np.histogram(values[frames], bins=edges)[0] for frames in blocks])
    once = (counts > 0).sum(axis=0) == 1
    return float(counts[:, once].sum() / counts.sum())
