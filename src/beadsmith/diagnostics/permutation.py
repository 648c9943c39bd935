"""Permutation probe: what does it cost to exchange two beads of a molecule?

An energy of types and distances is the same after two beads of one type have changed places, although the molecule is
another one: only labels, pair classes or a prior on the bonds make a difference. Beads of different types must differ.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.graph_symmetry import is_exchange_automorphism, list_neighbours
from beadsmith.diagnostics.energies import NETWORK, TOTAL, Energies, Probe
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
    chosen = np.unique(np.linspace(0, probe.frames.n_frames - 1, _N_FRAMES).astype(np.int64))
    positions = probe.frames.positions[chosen].astype(np.float64)
    before = probe.compute_energies(positions, chosen)
    return tuple(_swap(probe, positions, chosen, before, molecules.sites[0][list(pair)]) for pair in pairs)


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
    pair: Int[np.ndarray, "2"],
) -> Swap:
    exchanged = positions.copy()
    exchanged[:, pair] = positions[:, pair[::-1]]
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
    first, second = (name_bead(topology, int(site)) for site in pair)
    kinds = tuple(topology.type_names[topology.types[site]] for site in pair.tolist())
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
