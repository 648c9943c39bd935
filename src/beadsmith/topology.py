"""What the sites are and how they are connected; the same record serves atoms and beads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError

_TERMS = {"bonds": 2, "angles": 3, "dihedrals": 4, "impropers": 4, "constraints": 2}


def _no_terms(width: int) -> np.ndarray:
    return np.zeros((0, width), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Sites (atoms or beads) with their types, masses, molecules and bonded terms. Index arrays are int64."""

    names: tuple[str, ...]
    """Name of each site, for example ``"CA"``."""
    types: Int[np.ndarray, "sites"]
    """Index into `type_names` of each site."""
    type_names: tuple[str, ...]
    """Names of the site types."""
    elements: tuple[str, ...] | None = None
    """Chemical element of each site, or None for beads."""
    masses: Float[np.ndarray, "sites"]
    """Mass of each site [u], float64."""
    molecule_index: Int[np.ndarray, "sites"]
    """Molecule of each site, 0-based and non-decreasing."""
    residue_index: Int[np.ndarray, "sites"]
    """Residue of each site, 0-based."""
    residue_names: tuple[str, ...]
    """Name of each residue."""
    bonds: Int[np.ndarray, "bonds 2"]
    """Site pairs that are chemically bonded (constrained bonds included)."""
    angles: Int[np.ndarray, "angles 3"]
    """Site triples, the vertex in the middle."""
    dihedrals: Int[np.ndarray, "dihedrals 4"]
    """Proper dihedrals along bonds."""
    impropers: Int[np.ndarray, "impropers 4"]
    """Improper dihedrals."""
    constraints: Int[np.ndarray, "constraints 2"]
    """Site pairs held at a fixed distance by the simulation that made the data."""

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same sites.

        Raises
        ------
        InputError : lengths differ, an index is out of range, or a mass is not positive.
        """
        n_sites = len(self.names)
        for field in ("types", "masses", "molecule_index", "residue_index"):
            if len(getattr(self, field)) != n_sites:
                raise InputError(
                    f"topology field '{field}' has {len(getattr(self, field))} entries for {n_sites} sites"
                )
        if self.elements is not None and len(self.elements) != n_sites:
            raise InputError(f"topology field 'elements' has {len(self.elements)} entries for {n_sites} sites")
        for field, width in _TERMS.items():
            indices = getattr(self, field)
            if indices.shape[1:] != (width,):
                raise InputError(f"topology field '{field}' has shape {indices.shape}, expected (n, {width})")
            if len(indices) and (indices.min() < 0 or indices.max() >= n_sites):
                raise InputError(f"topology field '{field}' names site {indices.max()} but there are {n_sites} sites")
        if n_sites and (self.types.min() < 0 or self.types.max() >= len(self.type_names)):
            raise InputError(f"site type {self.types.max()} has no name: {len(self.type_names)} type names are given")
        if n_sites and (self.residue_index.min() < 0 or self.residue_index.max() >= len(self.residue_names)):
            raise InputError(f"residue {self.residue_index.max()} has no name: {len(self.residue_names)} are given")
        if not np.all(self.masses > 0.0):
            site = int(np.argmin(self.masses))
            raise InputError(f"site {site} ('{self.names[site]}') has mass {self.masses[site]} u, expected > 0")
        if n_sites and (self.molecule_index[0] != 0 or np.any(~np.isin(np.diff(self.molecule_index), (0, 1)))):
            raise InputError("molecule_index must start at 0 and grow by 0 or 1 from site to site")

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.names)

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return int(self.molecule_index[-1]) + 1 if self.n_sites else 0

    @property
    def total_mass(self) -> float:
        """Sum of all masses [u]."""
        return float(self.masses.sum())


@dataclass(frozen=True, kw_only=True)
class MoleculeKind:
    """All molecules of a topology that are copies of each other."""

    name: str
    """Residue names of the molecule joined by ``-``, for example ``"methanol"``."""
    sites: Int[np.ndarray, "molecules sites"]
    """Site indices of every copy, one row a molecule, in the same site order."""

    @property
    def n_molecules(self) -> int:
        """Number of copies."""
        return len(self.sites)


def group_equal_molecules(topology: Topology) -> tuple[MoleculeKind, ...]:
    """Return the kinds of molecules, in order of first appearance.

    Two molecules are equal when their site names, types, masses, residue names and bonded terms agree in order.
    """
    starts = np.flatnonzero(np.diff(topology.molecule_index, prepend=-1))
    ends = np.append(starts[1:], topology.n_sites)
    terms_of: list[dict[str, list[tuple[int, ...]]]] = [{field: [] for field in _TERMS} for _ in starts]
    for field in _TERMS:
        for row in getattr(topology, field).tolist():
            molecule = int(topology.molecule_index[row[0]])
            terms_of[molecule][field].append(tuple(site - int(starts[molecule]) for site in row))
    kinds: dict[Any, list[int]] = {}
    for molecule, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        residues = topology.residue_index[start:end]
        key = (
            topology.names[start:end],
            tuple(topology.types[start:end].tolist()),
            tuple(topology.masses[start:end].tolist()),
            tuple((int(r - residues[0]), topology.residue_names[r]) for r in residues.tolist()),
            tuple(tuple(sorted(terms_of[molecule][field])) for field in _TERMS),
        )
        kinds.setdefault(key, []).append(molecule)
    result = []
    for members in kinds.values():
        first = slice(int(starts[members[0]]), int(ends[members[0]]))
        members_residues = dict.fromkeys(topology.residue_index[first].tolist())
        sites = np.array([np.arange(starts[m], ends[m]) for m in members], dtype=np.int64)
        result.append(MoleculeKind(name="-".join(topology.residue_names[r] for r in members_residues), sites=sites))
    return tuple(result)


def build_bead_topology(
    *, type_names: tuple[str, ...], types: Int[np.ndarray, "sites"], masses: Float[np.ndarray, "types"]
) -> Topology:
    """Return a topology of single-bead molecules.

    Parameters
    ----------
    type_names : Name of each bead type; it is also the bead's and the residue's name.
    types : Type of each bead.
    masses : Mass of each *type* [u].
    """
    types = np.asarray(types, dtype=np.int64)
    index = np.arange(len(types), dtype=np.int64)
    names = tuple(type_names[t] for t in types.tolist())
    return Topology(
        names=names,
        types=types,
        type_names=type_names,
        masses=np.asarray(masses, dtype=np.float64)[types],
        molecule_index=index,
        residue_index=index,
        residue_names=names,
        bonds=_no_terms(2),
        angles=_no_terms(3),
        dihedrals=_no_terms(4),
        impropers=_no_terms(4),
        constraints=_no_terms(2),
    )
