"""What the bonds of a topology say about pairs of sites: who is bonded to whom, and which pairs are no contacts."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Int

from beadsmith.analysis.graph_symmetry import list_neighbours
from beadsmith.analysis.structure import kind_label, pair_kinds
from beadsmith.topology import Topology


@dataclass(frozen=True, kw_only=True)
class BondGraph:
    """Bonds by the types of their sites, and membership of directed pairs as sorted keys first · n_sites + second."""

    n_sites: int
    """Number of sites."""
    types: Int[np.ndarray, "sites"]
    """Type of each site."""
    kinds: tuple[str, ...]
    """Label of every unordered pair of types, ``"a-b"``."""
    kind_table: Int[np.ndarray, "types types"]
    """Place in `kinds` of a pair of types."""
    bonds: Int[np.ndarray, "bonds 2"]
    """Bonded pairs of sites."""
    bond_kinds: Int[np.ndarray, "bonds"]
    """Place in `kinds` of each bond."""
    bonded_keys: Int[np.ndarray, "_bonded"]
    """Keys of bonded pairs, both directions."""
    excluded_keys: Int[np.ndarray, "_excluded"]
    """Keys of pairs one or two bonds apart, both directions."""

    @property
    def bonded_sites(self) -> Int[np.ndarray, "bonded_sites"]:
        """Sites that have a bond, ascending."""
        return np.unique(self.bonds)

    def is_bonded(self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]) -> Bool[np.ndarray, "pairs"]:
        """Return which pairs are bonded."""
        return _is_member(first * self.n_sites + second, self.bonded_keys)

    def is_excluded(
        self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]
    ) -> Bool[np.ndarray, "pairs"]:
        """Return which pairs are one or two bonds apart: their distance is that of a bond or an angle."""
        return _is_member(first * self.n_sites + second, self.excluded_keys)


def build_bond_graph(topology: Topology) -> BondGraph:
    """Return the bonds of a topology, ready to be asked about pairs."""
    n_sites, n_types = topology.n_sites, len(topology.type_names)
    kinds = pair_kinds(topology)
    table = np.zeros((n_types, n_types), dtype=np.int64)
    for place, (a, b) in enumerate(kinds):
        table[a, b] = table[b, a] = place
    bonds = topology.bonds.astype(np.int64)
    ends = [pair for around in list_neighbours(n_sites, bonds) for pair in combinations(around, 2)]
    second_neighbours = np.array(ends, dtype=np.int64).reshape(-1, 2)
    return BondGraph(
        n_sites=n_sites,
        types=topology.types,
        kinds=tuple(kind_label(topology, kind) for kind in kinds),
        kind_table=table,
        bonds=bonds,
        bond_kinds=table[topology.types[bonds[:, 0]], topology.types[bonds[:, 1]]],
        bonded_keys=_directed_keys(bonds, n_sites),
        excluded_keys=_directed_keys(np.concatenate([bonds, second_neighbours]), n_sites),
    )


def _directed_keys(pairs: Int[np.ndarray, "pairs 2"], n_sites: int) -> Int[np.ndarray, "_keys"]:
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return np.unique(both[:, 0] * n_sites + both[:, 1])


def _is_member(keys: Int[np.ndarray, "pairs"], members: Int[np.ndarray, "members"]) -> Bool[np.ndarray, "pairs"]:
    place = np.searchsorted(members, keys)
    return members[np.minimum(place, len(members) - 1)] == keys if len(members) else np.zeros(len(keys), dtype=bool)
