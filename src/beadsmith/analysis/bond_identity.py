"""Do sites keep the partners they are bonded to? Switched bonds, changed nearest neighbours, closest contacts.

A network of types and distances does not know which two sites are bonded. Where a stranger of the same type comes as
close as the partner, the two may exchange, and radial distribution functions hardly notice.
Source: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035 (nearest neighbours).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.bond_graph import BondGraph, build_bond_graph
from beadsmith.analysis.contacts import ContactCounts, Contacts, find_contacts, nearest_sites
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.measure import read_chunks
from beadsmith.geometry import minimum_image
from beadsmith.io.h5md import StoredTrajectory
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory

DEVIATIONS = 6.0
"""A bond that is this many standard deviations off its mean is no longer where it belongs."""

_LEAST_SHARE = 0.1
"""Least half width of the bond window, as a share of the length: constrained bonds have no width at all."""

_LEAST_REACH = 0.5
"""Contacts are looked for up to this distance [nm], or to the end of the longest bond window if that is more."""

_N_TIMES = 200
_N_BINS = 100


@dataclass(frozen=True, kw_only=True)
class BondRange:
    """Lengths of the bonds between two types of sites in the reference."""

    mean: float
    """Mean length [nm]."""
    deviation: float
    """Standard deviation [nm]."""

    @property
    def half_width(self) -> float:
        """Half width of the window of lengths that count as bonded [nm]."""
        return max(DEVIATIONS * self.deviation, _LEAST_SHARE * self.mean)


@dataclass(frozen=True, kw_only=True)
class BondSurvey:
    """What the reference says about bonds, and how far one must look to judge them."""

    ranges: dict[str, BondRange]
    """By the types of the two sites, ``"a-b"``."""

    @property
    def reach(self) -> float:
        """Distance up to which neighbours are needed [nm]."""
        return max(_LEAST_REACH, 1.001 * max(entry.mean + entry.half_width for entry in self.ranges.values()))


@dataclass(frozen=True, kw_only=True)
class BondIdentity:
    """How bonds and nearest neighbours fared in one trajectory."""

    n_bonds: int
    """Number of bonds."""
    length: float
    """Mean time from the first frame to the last of a segment [ps]."""
    first_switch: Float[np.ndarray, "segments bonds"]
    """Time after the first frame at which each bond was seen switched [ps]; infinite where it never was."""
    first_change: Float[np.ndarray, "segments sites"]
    """Time at which the nearest neighbour of each bonded site was first another than its partners [ps]."""
    n_mutual: int
    """Number of pairs, of all frames, that are each other's nearest neighbours."""
    n_strangers: int
    """Number of these that are not bonded."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the distance bins [nm]."""
    bonded: Float[np.ndarray, "bins"]
    """Number of bonds of each length, over all frames."""
    nearest: Float[np.ndarray, "bins"]
    """Number of bonded sites whose nearest neighbour is at each distance, over all frames."""
    contacts: ContactCounts
    """Closest contacts of sites more than two bonds apart."""
    ranges: dict[str, BondRange] = field(default_factory=dict)
    """Lengths in the reference."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON-ready dictionary."""
        times = np.linspace(0.0, self.last_time, _N_TIMES + 1)
        return {
            "n_bonds": self.n_bonds,
            "length": {"value": self.length, "unit": "ps"},
            "switched": _measure_share(self.first_switch).to_json(),
            "changed": _measure_share(self.first_change).to_json(),
            "strangers": {
                "value": self.n_strangers / self.n_mutual if self.n_mutual else None,
                "standard_error": None,
                "unit": "1",
                "n_samples": max(1, self.n_mutual),
            },
            "first_switch": _first_time(self.first_switch),
            "first_change": _first_time(self.first_change),
            "curve": {
                "time": times.tolist(),
                "switched": _cumulate(self.first_switch, times).tolist(),
                "changed": _cumulate(self.first_change, times).tolist(),
                "units": {"time": "ps", "switched": "1", "changed": "1"},
            },
            "distances": {
                "edges": self.edges.tolist(),
                "bonded": _normalise(self.bonded, self.edges).tolist(),
                "nearest": _normalise(self.nearest, self.edges).tolist(),
                "unit": "nm",
            },
            "bonds": {
                label: {"mean": entry.mean, "deviation": entry.deviation, "half_width": entry.half_width, "unit": "nm"}
                for label, entry in self.ranges.items()
            },
            **self.contacts.to_json(),
        }

    @property
    def last_time(self) -> float:
        """End of the curves [ps]; longer than any first time."""
        seen = np.concatenate([self.first_switch.ravel(), self.first_change.ravel(), [self.length]])
        return float(seen[np.isfinite(seen)].max())


def survey_bonds(stored: StoredTrajectory) -> BondSurvey | None:
    """Return the lengths of the bonds of a reference, or None where sites have no bonds.

    Raises
    ------
    InputError : a frame is damaged.
    """
    graph = build_bond_graph(stored.topology)
    if not len(graph.bonds):
        return None
    sums = np.zeros((3, len(graph.kinds)))
    for part in read_chunks(stored, np.arange(stored.n_frames)):
        lengths = _measure_bonds(part, graph)
        kinds = np.broadcast_to(graph.bond_kinds, lengths.shape).ravel()
        for row, power in enumerate((lengths**0, lengths, lengths**2)):
            sums[row] += np.bincount(kinds, weights=power.ravel(), minlength=len(graph.kinds))
    ranges = {}
    for place in np.unique(graph.bond_kinds).tolist():
        mean = sums[1, place] / sums[0, place]
        variance = max(0.0, sums[2, place] / sums[0, place] - mean**2)
        ranges[graph.kinds[place]] = BondRange(mean=float(mean), deviation=float(variance**0.5))
    return BondSurvey(ranges=ranges)


def follow_bonds(stored: StoredTrajectory, survey: BondSurvey) -> BondIdentity:
    """Follow bonds and nearest neighbours through all frames of a trajectory.

    A bond is *switched* in a frame where its length is outside the window of the reference, mean ± 6 standard
    deviations, while a stranger of the partner's type is inside that window of either end. A site is *changed* where
    its nearest neighbour is none of its partners. Both are counted once, at their first time.

    Parameters
    ----------
    stored : The open file, periodic with any cell or open.
    survey : Windows of the reference.

    Raises
    ------
    InputError : a frame is damaged.
    """
    graph = build_bond_graph(stored.topology)
    ranges = {kind: survey.ranges[kind] for kind in (graph.kinds[place] for place in np.unique(graph.bond_kinds))}
    windows = np.full((2, len(graph.kinds)), np.nan)
    for kind, entry in ranges.items():
        windows[:, graph.kinds.index(kind)] = entry.mean, entry.half_width
    labels, segment, times = _number_segments(stored)
    tally = _Tally(graph=graph, windows=windows, reach=survey.reach, n_segments=len(labels))
    for part in read_chunks(stored, np.arange(stored.n_frames)):
        stop = tally.n_frames + part.n_frames
        tally.add_(part, segment[tally.n_frames : stop], times[tally.n_frames : stop])
    last = [times[segment == number].max() for number in range(len(labels))]
    return tally.finish(length=float(np.mean(last)), ranges=ranges)


class _Tally:
    """Sums over chunks of frames."""

    def __init__(
        self, *, graph: BondGraph, windows: Float[np.ndarray, "2 kinds"], reach: float, n_segments: int
    ) -> None:
        self._graph, self._windows, self._reach = graph, windows, reach
        self._sites = graph.bonded_sites
        self._first_switch = np.full((n_segments, len(graph.bonds)), np.inf)
        self._first_change = np.full((n_segments, len(self._sites)), np.inf)
        self._contacts = ContactCounts.empty(graph, reach)
        self._edges = np.linspace(0.0, reach, _N_BINS + 1)
        self._histograms = np.zeros((2, _N_BINS))
        self._mutual = np.zeros(2, dtype=np.int64)
        self.n_frames = 0

    def add_(self, part: Trajectory, segment: Int[np.ndarray, "frames"], times: Float[np.ndarray, "frames"]) -> None:
        """Add the frames of a chunk."""
        graph = self._graph
        lengths = _measure_bonds(part, graph)
        contacts = find_contacts(part, self._reach)
        nearest, distance = nearest_sites(contacts, part.n_frames, graph.n_sites)
        switched = _find_switched(lengths, contacts, graph, self._windows)
        frame, bond = np.nonzero(switched)
        np.minimum.at(self._first_switch, (segment[frame], bond), times[frame])
        own = nearest[:, self._sites]
        is_kept = (own >= 0) & graph.is_bonded(np.broadcast_to(self._sites, own.shape).ravel(), own.ravel()).reshape(
            own.shape
        )
        frame, site = np.nonzero(~is_kept)
        np.minimum.at(self._first_change, (segment[frame], site), times[frame])
        self._count_mutual(nearest)
        for row, values in enumerate((lengths, distance[:, self._sites])):
            self._histograms[row] += np.histogram(values, bins=self._edges)[0]
        self._contacts = self._contacts.with_frames(contacts, part.n_frames, graph)
        self.n_frames += part.n_frames

    def _count_mutual(self, nearest: Int[np.ndarray, "frames sites"]) -> None:
        """Count pairs that are each other's nearest neighbours, among them those without a bond."""
        site = np.broadcast_to(np.arange(self._graph.n_sites), nearest.shape)
        back = np.take_along_axis(nearest, np.maximum(nearest, 0), axis=1)
        # each pair once
        found = (nearest > site) & (back == site)
        is_stranger = ~self._graph.is_bonded(site[found], nearest[found])
        self._mutual += (int(found.sum()), int(is_stranger.sum()))

    def finish(self, *, length: float, ranges: dict[str, BondRange]) -> BondIdentity:
        """Return the record."""
        return BondIdentity(
            n_bonds=len(self._graph.bonds),
            length=length,
            first_switch=self._first_switch,
            first_change=self._first_change,
            n_mutual=int(self._mutual[0]),
            n_strangers=int(self._mutual[1]),
            edges=self._edges,
            bonded=self._histograms[0],
            nearest=self._histograms[1],
            contacts=self._contacts,
            ranges=ranges,
        )


def _find_switched(
    lengths: Float[np.ndarray, "frames bonds"],
    contacts: Contacts,
    graph: BondGraph,
    windows: Float[np.ndarray, "2 kinds"],
) -> Bool[np.ndarray, "frames bonds"]:
    """Return which bonds are out of their window while a stranger is inside it."""
    n_frames, n_kinds = len(lengths), len(graph.kinds)
    mean, half_width = windows[:, graph.bond_kinds]
    is_out = np.abs(lengths - mean) > half_width
    if not is_out.any():
        return is_out
    kinds = graph.kind_table[graph.types[contacts.first], graph.types[contacts.second]]
    inside = np.abs(contacts.distances - windows[0, kinds]) <= windows[1, kinds]
    inside &= ~graph.is_bonded(contacts.first, contacts.second)
    has_stranger = np.zeros((n_frames, graph.n_sites, n_kinds), dtype=bool)
    for ends in (contacts.first, contacts.second):
        has_stranger[contacts.frame[inside], ends[inside], kinds[inside]] = True
    # of a kind and one of its ends, the type of the other end follows: the stranger is of the partner's type
    near = has_stranger[:, graph.bonds, graph.bond_kinds[:, None]]
    return is_out & near.any(axis=2)


def _measure_bonds(part: Trajectory, graph: BondGraph) -> Float[np.ndarray, "frames bonds"]:
    positions = part.positions.astype(np.float64)
    vectors = positions[:, graph.bonds[:, 1]] - positions[:, graph.bonds[:, 0]]
    return np.asarray(np.linalg.norm(minimum_image(vectors, part.cell), axis=-1))


def _number_segments(stored: StoredTrajectory) -> tuple[np.ndarray, Int[np.ndarray, "frames"], np.ndarray]:
    """Return the labels of the segments, the number of each frame's segment, and times after its first frame."""
    found = stored.segment
    labels, segment = np.unique(
        np.zeros(stored.n_frames, dtype=np.int64) if found is None else found, return_inverse=True
    )
    times = stored.times.astype(np.float64)
    starts = np.full(len(labels), np.inf)
    np.minimum.at(starts, segment, times)
    return labels, segment, times - starts[segment]


def _measure_share(first: Float[np.ndarray, "segments items"]) -> Measurement:
    """Return the share of items that were ever seen, the error from the spread of the segments."""
    mean, error = mean_and_error(np.isfinite(first).mean(axis=1))
    return Measurement(value=float(mean), standard_error=float(error), unit="1", n_samples=len(first))


def _first_time(first: Float[np.ndarray, "segments items"]) -> dict[str, Any]:
    seen = first[np.isfinite(first)]
    return {"value": float(seen.min()) if len(seen) else None, "unit": "ps"}


def _cumulate(first: Float[np.ndarray, "segments items"], times: Float[np.ndarray, "times"]) -> np.ndarray:
    return np.asarray(np.searchsorted(np.sort(first.ravel()), times, side="right") / first.size)


def _normalise(counts: Float[np.ndarray, "bins"], edges: Float[np.ndarray, "edges"]) -> Float[np.ndarray, "bins"]:
    return counts / (max(1.0, counts.sum()) * np.diff(edges))
