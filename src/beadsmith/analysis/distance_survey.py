"""Distances between the sites of a reference: would anyone know its bonds who sees types and distances alone?

A network of types and distances has no other way. Where a site that is not bonded comes as close as the partner, the
two may change places, and radial distribution functions hardly notice.
Source of the question: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.bond_graph import BondGraph, build_bond_graph
from beadsmith.analysis.contacts import Contacts, find_contacts
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.internal import distances
from beadsmith.geometry import minimum_image
from beadsmith.progress import Progress, silent
from beadsmith.statistics import block_edges, leave_one_out_error
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory

SEPARATIONS = ("1-3", "same molecule", "other molecule")
"""Where the nearest site without a bond may be: two bonds away, further along the molecule, or in another one."""

EDGE_WIDTH = 0.1
"""Contacts up to this much longer than the closest one [nm] are on the repulsive side of the first shell."""

_BIN = 0.0005
_CONTACT_BIN = 0.002
_CHUNK_SITES = 20_000
_KINDS_PER_CHUNK = 20
_N_BLOCKS = 10
_PROBED_FRAMES = 20
_MARGIN = 0.15
_FURTHEST = 1.5
_FURTHER = 0.3
_LOW, _HIGH = 0.001, 0.999


@dataclass(frozen=True, kw_only=True)
class ContactSurvey:
    """How close sites of two types come that are more than two bonds apart."""

    kind: str
    """Pair of types, ``"a-b"``."""
    is_inside: bool
    """Whether both sites are of one molecule."""
    closest: float
    """Smallest distance in any frame [nm]."""
    n_edge: int
    """Number of such pairs, of all frames, at most `EDGE_WIDTH` longer than that."""


@dataclass(frozen=True, kw_only=True)
class DistanceSurvey:
    """Histograms of distances over all frames, block by block."""

    kinds: tuple[str, ...]
    """Pairs of types that are bonded somewhere, ``"a-b"``."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the bins [nm]."""
    bonded: Float[np.ndarray, "blocks kinds bins"]
    """Number of bonds of each length."""
    nearest: Float[np.ndarray, "separations blocks kinds bins"]
    """Number of sites whose nearest site without a bond, of a kind and separation, is at each distance."""
    asked: Float[np.ndarray, "separations blocks kinds"]
    """Number of sites that have any site of that kind and separation, at whatever distance."""
    recovered: Float[np.ndarray, "blocks"]
    """Number of sites whose nearest sites are their partners, and mutually so."""
    n_bonded_sites: Float[np.ndarray, "blocks"]
    """Number of sites that have a bond."""
    closest: float
    """Smallest distance of any two sites [nm]; infinite where none was within reach."""
    closest_sites: tuple[int, int] | None
    """The sites that came so close."""
    contacts: tuple[ContactSurvey, ...]
    """Sites more than two bonds apart, by types and apart for one molecule and two. Kinds that stay much further apart
    than the closest, by 0.1 nm in one molecule and 0.3 nm in two, are left out where that is out of reach."""

    def measure_overlap(self, separation: int, kind: int) -> Measurement:
        """Return ∫ min(p_bonded(r), p_nearest(r)) dr with its jackknife error: 0 if a length tells bonds, 1 if not.

        p_nearest is normalised to all sites that have such a neighbour at all. Bins are as wide as the number of bonds
        asks for (D. Freedman and P. Diaconis, Z. Wahrscheinlichkeitstheorie 57, 453 (1981)).
        """
        bonded, nearest = self.bonded[:, kind], self.nearest[separation, :, kind]
        asked = self.asked[separation, :, kind]
        starts = np.arange(0, bonded.shape[1], self._join_bins(kind))

        def overlap(bonds: np.ndarray, others: np.ndarray, n_asked: float) -> float:
            p = np.add.reduceat(bonds, starts) / max(bonds.sum(), 1.0)
            return float(np.minimum(p, np.add.reduceat(others, starts) / n_asked).sum())

        totals = bonded.sum(axis=0), nearest.sum(axis=0), float(asked.sum())
        parts = [
            overlap(totals[0] - bonds, totals[1] - others, totals[2] - n)
            for bonds, others, n in zip(bonded, nearest, asked.tolist(), strict=True)
            if totals[2] > n
        ]
        error = leave_one_out_error(np.array(parts)[:, None])[0] if parts else np.nan
        return Measurement(value=overlap(*totals), standard_error=float(error), unit="1", n_samples=len(bonded))

    def measure_gap(self, separation: int, kind: int) -> tuple[float, bool]:
        """Return z = (q_0.1%(nearest) − q_99.9%(bonded)) / σ(bonded), and whether it is a lower bound only.

        It is one where fewer than 0.1 % of the sites had such a neighbour within reach.
        """
        bonded = self.bonded[:, kind].sum(axis=0)
        centres = 0.5 * (self.edges[1:] + self.edges[:-1])
        mean = float(bonded @ centres / bonded.sum())
        # of rigid bonds nothing but the width of a bin is known
        deviation = max(float(np.sqrt(bonded @ (centres - mean) ** 2 / bonded.sum())), _BIN)
        longest = self.edges[1 + int(np.searchsorted(np.cumsum(bonded), _HIGH * bonded.sum()))]
        reached = np.cumsum(self.nearest[separation, :, kind].sum(axis=0))
        wanted = max(_LOW * float(self.asked[separation, :, kind].sum()), 1.0)
        is_bound = bool(reached[-1] < wanted)
        shortest = self.edges[-1] if is_bound else self.edges[int(np.searchsorted(reached, wanted))]
        return float((shortest - longest) / deviation), is_bound

    def measure_recovery(self) -> Measurement:
        """Return the fraction of bonded sites that are recovered without labels, with its jackknife error.

        A site of d bonds is recovered where its d nearest sites are its partners, and it is in turn among the nearest
        of each of them, as many as that one has bonds.
        """
        found, all_ = self.recovered, self.n_bonded_sites
        parts = [(found.sum() - part) / (all_.sum() - n) for part, n in zip(found, all_, strict=True) if all_.sum() > n]
        error = leave_one_out_error(np.array(parts)[:, None])[0] if parts else np.nan
        value = float(found.sum() / all_.sum())
        return Measurement(value=value, standard_error=float(error), unit="1", n_samples=len(found))

    def _join_bins(self, kind: int) -> int:
        """Return how many fine bins make one: 2 IQR n^(−1/3) of the bonds."""
        summed = np.cumsum(self.bonded[:, kind].sum(axis=0))
        first, last = np.searchsorted(summed, summed[-1] * np.array([0.25, 0.75]))
        return max(1, round(2.0 * (int(last) - int(first)) * max(float(summed[-1]), 1.0) ** (-1.0 / 3.0)))


def survey_distances(trajectory: Trajectory, progress: Progress = silent) -> DistanceSurvey:
    """Return what the distances of all frames say about bonds and contacts.

    Parameters
    ----------
    trajectory : Mapped frames, periodic with any cell or open; weights of frames do not count.
    progress : Receives frames done.
    """
    graph = build_bond_graph(trajectory.topology)
    blocks = block_edges(trajectory.n_frames, min(_N_BLOCKS, trajectory.n_frames), trajectory.segment)
    tally = _Tally(trajectory.topology, graph, _choose_reach(trajectory, graph), n_blocks=len(blocks))
    step, done = (
        max(1, _CHUNK_SITES // (trajectory.n_sites * (1 + len(np.unique(graph.bond_kinds)) // _KINDS_PER_CHUNK))),
        0,
    )
    for number, frames in enumerate(blocks):
        for start in range(0, len(frames), step):
            part = trajectory.select(frames[start : start + step])
            tally.add_(part, number)
            done += part.n_frames
            progress(done, trajectory.n_frames, "distances")
    return tally.finish()


def measure_bonds(part: Trajectory) -> Float[np.ndarray, "frames bonds"]:
    """Return the length of every bond in every frame [nm]."""
    bonds = part.topology.bonds
    if part.cell is None:
        return distances(part.positions, bonds)
    vectors = part.positions[:, bonds[:, 1]].astype(np.float64) - part.positions[:, bonds[:, 0]]
    return np.linalg.norm(minimum_image(vectors, part.cell), axis=-1)


def _choose_reach(trajectory: Trajectory, graph: BondGraph) -> float:
    """Return how far to look: past the longest bond, and past the repulsive side of the closest contacts."""
    reach = _MARGIN
    if len(graph.bonds):
        step = max(1, _CHUNK_SITES // trajectory.n_sites)
        parts = (trajectory.select(slice(k, k + step)) for k in range(0, trajectory.n_frames, step))
        reach += max(float(measure_bonds(part).max()) for part in parts)
    probed = trajectory.select(np.unique(np.linspace(0, trajectory.n_frames - 1, _PROBED_FRAMES).astype(np.int64)))
    found = find_contacts(probed, _FURTHEST)
    kept = ~graph.is_excluded(found.first, found.second)
    if not kept.any():
        return reach
    topology = trajectory.topology
    rows = _contact_rows(graph, topology.molecule_index, found.first[kept], found.second[kept])
    closest = np.full(2 * len(graph.kinds), np.inf)
    np.minimum.at(closest, rows, found.distances[kept])
    # pairs grow with the cube of the reach: along a molecule only the closest kinds are worth it
    limits = closest.min() + np.repeat([EDGE_WIDTH, _FURTHER], len(graph.kinds))
    furthest = closest[closest <= limits].max()
    return max(reach, float(furthest) + EDGE_WIDTH + _CONTACT_BIN)


def _contact_rows(
    graph: BondGraph,
    molecules: Int[np.ndarray, "sites"],
    first: Int[np.ndarray, "pairs"],
    second: Int[np.ndarray, "pairs"],
) -> Int[np.ndarray, "pairs"]:
    """Return the row of each pair: its pair of types, those of one molecule before those of two."""
    kind = graph.kind_table[graph.types[first], graph.types[second]]
    return kind + len(graph.kinds) * (molecules[first] != molecules[second])


class _Tally:
    """Sums over chunks of frames."""

    def __init__(self, topology: Topology, graph: BondGraph, reach: float, *, n_blocks: int) -> None:
        self._graph, self._reach = graph, reach
        self._molecules = topology.molecule_index
        self._kinds = np.unique(graph.bond_kinds)
        # place among the bonded kinds of each pair of types, −1 for pairs that are nowhere bonded
        place = np.full(len(graph.kinds), -1, dtype=np.int64)
        place[self._kinds] = np.arange(len(self._kinds))
        self._kind_table = place[graph.kind_table]
        self._degrees = np.bincount(graph.bonds.ravel(), minlength=graph.n_sites)
        self._n_bins = int(np.ceil(reach / _BIN)) + 1
        shape = (n_blocks, len(self._kinds), self._n_bins)
        self._bonded, self._nearest = np.zeros(shape), np.zeros((len(SEPARATIONS), *shape))
        self._asked_per_frame = _count_asked(topology, graph, self._kind_table, len(self._kinds))
        self._n_frames, self._recovered = np.zeros(n_blocks), np.zeros(n_blocks)
        self._closest = np.inf
        self._closest_sites: tuple[int, int] | None = None
        self._contacts = np.zeros((2 * len(graph.kinds), int(np.ceil(reach / _CONTACT_BIN)) + 1), dtype=np.int64)
        self._closest_contact = np.full(2 * len(graph.kinds), np.inf)

    def add_(self, part: Trajectory, block: int) -> None:
        """Add the frames of a chunk, all of one block."""
        contacts = find_contacts(part, self._reach)
        self._n_frames[block] += part.n_frames
        self._note_closest_(contacts)
        if not len(self._kinds):
            return
        lengths = measure_bonds(part)
        kind = np.broadcast_to(np.searchsorted(self._kinds, self._graph.bond_kinds), lengths.shape)
        self._bonded[block] += self._count(kind.ravel(), lengths.ravel())
        self._add_nearest_(contacts, part.n_frames, block)
        self._recovered[block] += self._count_recovered(contacts, part.n_frames, float(lengths.max()))

    def _count(self, kinds: np.ndarray, values: np.ndarray) -> Float[np.ndarray, "kinds bins"]:
        bins = np.minimum((values / _BIN).astype(np.int64), self._n_bins - 1)
        size = len(self._kinds) * self._n_bins
        return np.bincount(kinds * self._n_bins + bins, minlength=size).reshape(-1, self._n_bins)

    def _note_closest_(self, contacts: Contacts) -> None:
        if not len(contacts.distances):
            return
        nearest = int(np.argmin(contacts.distances))
        if contacts.distances[nearest] < self._closest:
            self._closest = float(contacts.distances[nearest])
            self._closest_sites = (int(contacts.first[nearest]), int(contacts.second[nearest]))
        kept = ~self._graph.is_excluded(contacts.first, contacts.second)
        rows = _contact_rows(self._graph, self._molecules, contacts.first[kept], contacts.second[kept])
        apart = contacts.distances[kept]
        np.minimum.at(self._closest_contact, rows, apart)
        place = rows * self._contacts.shape[1] + (apart / _CONTACT_BIN).astype(np.int64)
        self._contacts += np.bincount(place, minlength=self._contacts.size).reshape(self._contacts.shape)

    def _add_nearest_(self, contacts: Contacts, n_frames: int, block: int) -> None:
        """Add the distance of each site's nearest site without a bond, by kind of pair and separation."""
        graph, n_kinds = self._graph, len(self._kinds)
        kind = self._kind_table[graph.types[contacts.first], graph.types[contacts.second]]
        used = (kind >= 0) & ~graph.is_bonded(contacts.first, contacts.second)
        first, second, apart = contacts.first[used], contacts.second[used], contacts.distances[used]
        separation = np.where(graph.is_excluded(first, second), 0, 1)
        separation[self._molecules[first] != self._molecules[second]] = 2
        flat = np.full(len(SEPARATIONS) * n_frames * graph.n_sites * n_kinds, np.inf)
        for site in (first, second):
            row = (separation * n_frames + contacts.frame[used]) * graph.n_sites + site
            np.minimum.at(flat, row * n_kinds + kind[used], apart)
        nearest = flat.reshape(len(SEPARATIONS), -1, n_kinds)
        for row, values in enumerate(nearest):
            within = np.isfinite(values)
            self._nearest[row, block] += self._count(np.nonzero(within)[1], values[within])

    def _count_recovered(self, contacts: Contacts, n_frames: int, longest: float) -> int:
        """Return the number of sites, of all frames, whose nearest sites are their partners, and mutually so."""
        graph, n_sites = self._graph, self._graph.n_sites
        # a site further away than the longest bond stands in no partner's way
        near = contacts.distances <= longest
        first, second, apart = contacts.first[near], contacts.second[near], contacts.distances[near]
        one, other = np.concatenate([first, second]), np.concatenate([second, first])
        place = np.tile(contacts.frame[near], 2) * n_sites + one
        order = np.lexsort((np.tile(apart, 2), place))
        one, other, place = one[order], other[order], place[order]
        rank = np.arange(len(place)) - np.searchsorted(place, place)
        hit = (rank < self._degrees[one]) & graph.is_bonded(one, other)
        one, other, place = one[hit], other[hit], place[hit]
        mutual = np.isin(place * n_sites + other, (place - one + other) * n_sites + one)
        kept = np.bincount(place[mutual], minlength=n_frames * n_sites).reshape(n_frames, n_sites)
        return int(((kept == self._degrees) & (self._degrees > 0)).sum())

    def finish(self) -> DistanceSurvey:
        """Return the record."""
        edges = _BIN * np.arange(self._n_bins + 1)
        return DistanceSurvey(
            kinds=tuple(self._graph.kinds[kind] for kind in self._kinds.tolist()),
            edges=edges,
            bonded=self._bonded,
            nearest=self._nearest,
            asked=self._asked_per_frame[:, None] * self._n_frames[:, None],
            recovered=self._recovered,
            n_bonded_sites=float((self._degrees > 0).sum()) * self._n_frames,
            closest=self._closest,
            closest_sites=self._closest_sites,
            contacts=tuple(self._list_contacts()),
        )

    def _list_contacts(self) -> Iterator[ContactSurvey]:
        """Give the kinds of contacts whose repulsive side was within reach."""
        kinds, low = self._graph.kinds, _CONTACT_BIN * np.arange(self._contacts.shape[1])
        for row, closest in enumerate(self._closest_contact.tolist()):
            if closest + EDGE_WIDTH <= self._reach:
                yield ContactSurvey(
                    kind=kinds[row % len(kinds)],
                    is_inside=row < len(kinds),
                    closest=closest,
                    n_edge=int(self._contacts[row, low < closest + EDGE_WIDTH].sum()),
                )


def _count_asked(
    topology: Topology, graph: BondGraph, kind_table: Int[np.ndarray, "types types"], n_kinds: int
) -> Float[np.ndarray, "separations kinds"]:
    """Return how many sites have any site without a bond of each kind, by separation."""
    n_sites, n_types = topology.n_sites, len(topology.type_names)
    of_molecule = np.zeros((max(topology.n_molecules, 1), n_types), dtype=np.int64)
    np.add.at(of_molecule, (topology.molecule_index, topology.types), 1)
    inside = of_molecule[topology.molecule_index]
    partners, near = (np.zeros((n_sites, n_types), dtype=np.int64) for _ in range(2))
    for counts, keys in ((partners, graph.bonded_keys), (near, graph.excluded_keys)):
        np.add.at(counts, (keys // n_sites, topology.types[keys % n_sites]), 1)
    itself = np.eye(n_types, dtype=np.int64)[topology.types]
    by_separation = (near - partners, inside - near - itself, of_molecule.sum(axis=0) - inside)
    asked = np.zeros((len(SEPARATIONS), n_kinds))
    for row, counts in enumerate(by_separation):
        site, other_type = np.nonzero(counts > 0)
        kind = kind_table[topology.types[site], other_type]
        asked[row] = np.bincount(kind[kind >= 0], minlength=n_kinds)
    return asked
