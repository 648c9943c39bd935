"""Permutation probe: what does it cost to exchange two beads of a molecule, or the partners of two molecules?

An energy of types and distances is the same after two beads of one type have changed places, although the molecule is
another one: only labels, pair classes or a prior on the bonds make a difference. Beads of different types must differ.
Beads of two molecules of one kind always have one type, and labels are no help: only what knows the bonds differs.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.graph_symmetry import is_exchange_automorphism, list_neighbours
from beadsmith.diagnostics.energies import NETWORK, TOTAL, Energies, Probe
from beadsmith.geometry import minimum_image
from beadsmith.statistics import mean_and_error
from beadsmith.topology import MoleculeKind, Topology

UNCHANGED = 1e-9
"""Relative change of the energy below which an exchange is not seen; rounding of float64 makes less than 1e-12."""

_N_FRAMES = 8
_MOST_SAME, _MOST_DISTINCT = 24, 8
"""Exchanges that are tried, from beads that are few bonds apart on: only those can come about in a simulation."""


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Two beads that change places."""

    beads: tuple[str, str]
    """The beads by residue and name, ``2:CB``."""
    types: tuple[str, str]
    """Their types."""
    relative: dict[str, float]
    """Largest |change| over the mean |energy|, of the ``total`` energy and of the ``network`` alone."""
    rise: dict[str, Measurement]
    """Mean change [kJ/mol]."""
    is_between: bool = False
    """Whether the beads stand at one place of two molecules of a kind, so that their bonds change partners."""

    @property
    def is_same_type(self) -> bool:
        """Whether both beads have one type."""
        return self.types[0] == self.types[1]

    def to_json(self) -> dict[str, Any]:
        """Return the exchange as a JSON-ready dictionary."""
        return {
            "beads": list(self.beads),
            "types": list(self.types),
            "is_same_type": self.is_same_type,
            "is_between": self.is_between,
            "relative": self.relative,
            "rise": {name: value.to_json() for name, value in self.rise.items()},
        }


def probe_permutations(
    probe: Probe, molecules: MoleculeKind, labels: Sequence[Hashable] | None = None
) -> tuple[Swap, ...]:
    """Return what exchanges of two beads of a molecule do to the energy, in float64.

    Exchanges that are a symmetry of the bond graph are left out: they change nothing chemical.

    Parameters
    ----------
    probe : Force field and frames.
    molecules : The molecule; its first copy is changed.
    labels : What each bead is chemically; its type where that is not known.
    """
    pairs = choose_pairs(probe.frames.topology, molecules, labels)
    chosen, positions = _choose_frames(probe)
    before = probe.compute_energies(positions, chosen)
    every = np.ones(len(chosen), dtype=np.int64)
    return tuple(
        _swap(probe, positions, chosen, before, np.outer(every, molecules.sites[0][list(pair)])) for pair in pairs
    )


def probe_partners(probe: Probe, molecules: MoleculeKind) -> Swap | None:
    """Return what it does to the energy, in float64, when two molecules exchange an end each; None for one molecule.

    The end is the bead with the fewest bonds. The first copy exchanges it with the copy whose end is nearest, so that
    all bonds of both ends get the length of a contact and no bead stands where none has stood.

    Parameters
    ----------
    probe : Force field and frames.
    molecules : The molecules, of several beads.
    """
    topology = probe.frames.topology
    bonds = topology.bonds[np.isin(topology.bonds, molecules.sites[0]).all(axis=1)]
    if len(molecules.sites) < 2 or not len(bonds):
        return None
    degrees = np.bincount(bonds.ravel() - int(molecules.sites[0, 0]), minlength=molecules.sites.shape[1])
    place = int(np.argmin(np.where(degrees > 0, degrees, len(bonds) + 1)))
    ends = molecules.sites[:, place]
    chosen, positions = _choose_frames(probe)
    vectors = positions[:, ends[1:]] - positions[:, ends[:1]]
    if probe.frames.cell is not None:
        vectors = minimum_image(vectors, probe.frames.cell[chosen])
    nearest = ends[1:][np.argmin(np.linalg.norm(vectors, axis=-1), axis=1)]
    before = probe.compute_energies(positions, chosen)
    pairs = np.stack([np.full(len(chosen), ends[0]), nearest], axis=1)
    return replace(_swap(probe, positions, chosen, before, pairs), is_between=True)


def _choose_frames(probe: Probe) -> tuple[Int[np.ndarray, "frames"], Float[np.ndarray, "frames sites 3"]]:
    """Return the frames that are tried, and their positions [nm]."""
    chosen = np.unique(np.linspace(0, probe.frames.n_frames - 1, _N_FRAMES).astype(np.int64))
    return chosen, probe.frames.positions[chosen].astype(np.float64)


def choose_pairs(
    topology: Topology, molecules: MoleculeKind, labels: Sequence[Hashable] | None = None
) -> list[tuple[int, int]]:
    """Return the pairs of beads, counted within the molecule, whose exchange is worth trying, nearest ones first."""
    sites = molecules.sites[0]
    types = topology.types[sites].tolist()
    bonds = topology.bonds[np.isin(topology.bonds[:, 0], sites)] - int(sites[0])
    labels = types if labels is None else labels
    apart = _count_bonds(len(sites), bonds)
    every = [(a, b) for a in range(len(sites)) for b in range(a + 1, len(sites))]
    every.sort(key=lambda pair: int(apart[pair]))
    same = [pair for pair in every if types[pair[0]] == types[pair[1]]]
    same = [pair for pair in same if not is_exchange_automorphism(labels, bonds, pair)]
    distinct = [pair for pair in every if types[pair[0]] != types[pair[1]]]
    return same[:_MOST_SAME] + distinct[:_MOST_DISTINCT]


def _swap(
    probe: Probe,
    positions: Float[np.ndarray, "frames sites 3"],
    frame: Int[np.ndarray, "frames"],
    before: Energies,
    pairs: Int[np.ndarray, "frames 2"],
) -> Swap:
    """Return what the exchange of a pair of sites in each frame does; the pair of the first gives the names."""
    exchanged, rows = positions.copy(), np.arange(len(positions))[:, None]
    exchanged[rows, pairs] = positions[rows, pairs[:, ::-1]]
    after = probe.compute_energies(exchanged, frame)
    relative, rise = {}, {}
    for name in (TOTAL, NETWORK):
        if name in before.parts:
            change = after.parts[name] - before.parts[name]
            scale = float(np.abs(before.parts[name]).mean())
            relative[name] = float(np.abs(change).max()) / scale if scale > 0.0 else float(np.abs(change).max())
            mean, error = mean_and_error(change)
            rise[name] = Measurement(
                value=float(mean), standard_error=float(error), unit="kJ/mol", n_samples=len(change)
            )
    topology = probe.frames.topology
    first, second = (name_bead(topology, int(site)) for site in pairs[0])
    kinds = tuple(topology.type_names[topology.types[site]] for site in pairs[0].tolist())
    return Swap(beads=(first, second), types=(kinds[0], kinds[1]), relative=relative, rise=rise)


def name_bead(topology: Topology, site: int) -> str:
    """Return a bead by its residue within the molecule and its name: ``2:CB``."""
    start = int(np.searchsorted(topology.molecule_index, topology.molecule_index[site]))
    return f"{int(topology.residue_index[site] - topology.residue_index[start]) + 1}:{topology.names[site]}"


def _count_bonds(n_sites: int, bonds: Int[np.ndarray, "bonds 2"]) -> Int[np.ndarray, "sites sites"]:
    """Return how many bonds each two sites are apart; as many as there are sites where nothing joins them."""
    apart = np.full((n_sites, n_sites), n_sites, dtype=np.int64)
    neighbours = list_neighbours(n_sites, bonds)
    for start in range(n_sites):
        front, distance = [start], 0
        while front:
            apart[start, front] = distance
            distance += 1
            front = [k for site in front for k in neighbours[site] if apart[start, k] == n_sites]
    return apart
