"""Neighbouring sites of many frames at once: all pairs within a distance, nearest neighbours, closest contacts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.bond_graph import BondGraph
from beadsmith.analysis.structure import PairSearch
from beadsmith.trajectory import Trajectory

LOW_QUANTILE = 1e-4
"""Share of the reference's contacts that are closer than its closest regular ones."""

_MOST_SITES_FOR_ALL_PAIRS = 128
"""Open systems up to this size compare every site with every other, for all frames of a chunk at once."""

_BIN = 0.001


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """Pairs of sites within reach, each once, of all frames of a chunk."""

    frame: Int[np.ndarray, "pairs"]
    """Frame within the chunk."""
    first: Int[np.ndarray, "pairs"]
    """One site."""
    second: Int[np.ndarray, "pairs"]
    """The other site."""
    distances: Float[np.ndarray, "pairs"]
    """Distance [nm]."""


@dataclass(frozen=True, kw_only=True)
class ContactCounts:
    """How close sites come that are more than two bonds apart."""

    kinds: tuple[str, ...]
    """Labels of the pairs of types."""
    closest: Float[np.ndarray, "kinds"]
    """Smallest distance of each kind in any frame [nm]; infinite where none was within reach."""
    counts: Float[np.ndarray, "kinds bins"]
    """Number of sites, of all frames, whose nearest contact of a kind is at each distance, in bins of 0.001 nm."""
    n_samples: Float[np.ndarray, "kinds"]
    """Number of sites, of all frames, that were asked for their nearest contact of each kind."""

    @classmethod
    def empty(cls, graph: BondGraph, reach: float) -> "ContactCounts":
        """Return the counts of no frame."""
        n_kinds = len(graph.kinds)
        return cls(
            kinds=graph.kinds,
            closest=np.full(n_kinds, np.inf),
            counts=np.zeros((n_kinds, int(np.ceil(reach / _BIN)) + 1)),
            n_samples=np.zeros(n_kinds),
        )

    def with_frames(self, contacts: Contacts, n_frames: int, graph: BondGraph) -> "ContactCounts":
        """Return the counts with those of another chunk."""
        n_types = len(graph.kind_table)
        is_contact = ~graph.is_excluded(contacts.first, contacts.second)
        frame, distances = contacts.frame[is_contact], contacts.distances[is_contact]
        ends = contacts.first[is_contact], contacts.second[is_contact]
        flat = np.full(n_frames * graph.n_sites * n_types, np.inf)
        for one, other in (ends, ends[::-1]):
            place = (frame * graph.n_sites + one) * n_types + graph.types[other]
            np.minimum.at(flat, place, distances)
        nearest = flat.reshape(n_frames, graph.n_sites, n_types)
        closest, counts = self.closest.copy(), self.counts.copy()
        asked = np.zeros((len(self.kinds), n_types))
        for site_type in range(n_types):
            own = nearest[:, graph.types == site_type]
            for other_type in range(n_types):
                kind = int(graph.kind_table[site_type, other_type])
                values = own[..., other_type][np.isfinite(own[..., other_type])]
                asked[kind, site_type] = own.shape[0] * own.shape[1]
                if len(values):
                    closest[kind] = min(closest[kind], float(values.min()))
                    counts[kind] += np.bincount((values / _BIN).astype(np.int64), minlength=counts.shape[1])
        return replace(self, closest=closest, counts=counts, n_samples=self.n_samples + asked.sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Return the closest contact of each kind, and the distance below which regular contacts are rare."""
        limits = {kind: self._find_quantile(row) for row, kind in enumerate(self.kinds)}
        return {
            "closest_contact": {
                kind: {"value": float(value), "unit": "nm"}
                for kind, value in zip(self.kinds, self.closest, strict=True)
                if np.isfinite(value)
            },
            "regular_contact": {
                kind: {"value": value, "unit": "nm"} for kind, value in limits.items() if value is not None
            },
        }

    def _find_quantile(self, row: int) -> float | None:
        """Return the upper end of the bin that the quantile lies in, or None where too few were within reach."""
        wanted = LOW_QUANTILE * self.n_samples[row]
        reached = np.flatnonzero(np.cumsum(self.counts[row]) >= max(wanted, 1.0))
        return _BIN * float(reached[0] + 1) if len(reached) else None


def find_contacts(part: Trajectory, reach: float) -> Contacts:
    """Return the pairs of sites closer than a distance [nm] in all frames of a chunk, bonded ones too.

    Under periodic boundaries all images count; a site's own image is no contact.
    """
    n_sites = part.n_sites
    if part.cell is None and n_sites <= _MOST_SITES_FOR_ALL_PAIRS:
        first, second = np.triu_indices(n_sites, 1)
        positions = part.positions.astype(np.float64)
        distances = np.linalg.norm(positions[:, second] - positions[:, first], axis=-1)
        frame, pair = np.nonzero(distances < reach)
        return Contacts(frame=frame, first=first[pair], second=second[pair], distances=distances[frame, pair])
    search = PairSearch(part, reach)
    found = [search.find(frame) for frame in range(part.n_frames)]
    frame = np.repeat(np.arange(part.n_frames), [len(pairs.first) for pairs in found])
    first, second = (np.concatenate([getattr(pairs, name) for pairs in found]) for name in ("first", "second"))
    distances = np.concatenate([pairs.distances for pairs in found])
    other = first != second
    return Contacts(frame=frame[other], first=first[other], second=second[other], distances=distances[other])


def nearest_sites(
    contacts: Contacts, n_frames: int, n_sites: int
) -> tuple[Int[np.ndarray, "frames sites"], Float[np.ndarray, "frames sites"]]:
    """Return the nearest other site of each site and its distance [nm]; −1 and infinity where none is within reach."""
    nearest = np.full(n_frames * n_sites, -1, dtype=np.int64)
    distance = np.full(n_frames * n_sites, np.inf)
    directions = (contacts.first, contacts.second), (contacts.second, contacts.first)
    for one, _ in directions:
        np.minimum.at(distance, contacts.frame * n_sites + one, contacts.distances)
    for one, other in directions:
        place = contacts.frame * n_sites + one
        is_nearest = contacts.distances == distance[place]
        nearest[place[is_nearest]] = other[is_nearest]
    return nearest.reshape(n_frames, n_sites), distance.reshape(n_frames, n_sites)
