"""Put together what the atoms are: from the topology file or the settings, and where these are silent from the data.

Whatever is guessed is said in a notice. Atoms are sorted so that those of a molecule follow each other.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Int
from scipy.sparse.csgraph import connected_components

from beadsmith.errors import InputError
from beadsmith.importing.bonds import guess_bonds
from beadsmith.importing.elements import element_mass, element_of_mass, element_of_name, forms_bonds, is_element
from beadsmith.importing.settings import MoleculeSites, ReferenceSettings
from beadsmith.importing.source import FrameSource
from beadsmith.io.frame_files import FileSites
from beadsmith.io.topology_files import read_topology_file
from beadsmith.topology import Topology


@dataclass(frozen=True, kw_only=True)
class ImportedSites:
    """The atoms, and where each stands in the files."""

    topology: Topology
    """Atoms; constraints only where a file or the settings state them."""
    order: Int[np.ndarray, "sites"]
    """Index in the files of each site."""
    dropped: Int[np.ndarray, "_massless"]
    """Index in the files of the sites without mass, which are left out."""
    has_constraints: bool
    """Whether constraints (or that there are none) are stated."""
    notices: tuple[str, ...]
    """What was guessed."""


@dataclass(frozen=True, kw_only=True)
class StatedSites:
    """What is stated about the atoms; virtual sites, which have no mass, are left out."""

    sites: FileSites
    """The atoms, masses in u."""
    kept: Int[np.ndarray, "sites"]
    """Index in the files of each atom."""
    dropped: Int[np.ndarray, "_massless"]
    """Index in the files of the virtual sites."""


def read_sites(settings: ReferenceSettings, source: FrameSource) -> StatedSites:
    """Return what the topology, the settings or the trajectory say about the atoms.

    Raises
    ------
    InputError : none of them says what the atoms are, or their number differs from that in the frames.
    """
    given = _read_sites(settings, source)
    if given.n_sites != source.n_atoms:
        raise InputError(
            f"the topology has {given.n_sites} atoms, the frames of '{settings.files[0]}' have {source.n_atoms}",
            where=None if settings.topology is None else f"file '{settings.topology}'",
            fix="Give the topology of just what the trajectory holds, without solvent if that was left out.",
        )
    _refuse_other_order(settings, source, given)
    # masses of trajectories and of LAMMPS data files are in the units of the run
    is_own = settings.topology is None and not settings.molecules
    is_lammps = settings.topology is not None and settings.topology.endswith(".data")
    if given.masses is not None and (is_own or is_lammps):
        given = replace(given, masses=given.masses * source.units.mass)
    has_mass = np.ones(given.n_sites, dtype=bool) if given.masses is None else given.masses > 0.0
    kept, dropped = np.flatnonzero(has_mass), np.flatnonzero(~has_mass)
    return StatedSites(sites=_restrict(given, kept) if len(dropped) else given, kept=kept, dropped=dropped)


def _refuse_other_order(settings: ReferenceSettings, source: FrameSource, given: FileSites) -> None:
    """Hold elements, and the types of LAMMPS, of topology and trajectory against each other where both state them."""
    if source.sites is None or source.sites is given:
        return
    is_lammps = settings.topology is not None and settings.topology.endswith(".data")
    pairs = [("element", source.sites.elements, given.elements)]
    pairs += [("type", source.sites.types, given.types)] if is_lammps else []
    for what, found, stated in pairs:
        if found is None or stated is None or found == stated:
            continue
        site = next(site for site in range(given.n_sites) if found[site] != stated[site])
        raise InputError(
            f"atom {site + 1} has {what} '{stated[site]}' in the topology and '{found[site]}' in '{settings.files[0]}'",
            fix="Give the topology of this very simulation: its atoms must be in the same order.",
        )


def _restrict(given: FileSites, kept: np.ndarray) -> FileSites:
    place = np.full(given.n_sites, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))

    def labels(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if values is None else tuple(values[site] for site in kept.tolist())

    def numbers(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[kept]

    def pairs(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else place[values[(place[values] >= 0).all(axis=1)]]

    return FileSites(
        names=tuple(given.names[site] for site in kept.tolist()),
        types=labels(given.types),
        elements=labels(given.elements),
        masses=numbers(given.masses),
        molecules=numbers(given.molecules),
        residue_index=numbers(given.residue_index),
        residue_names=given.residue_names,
        bonds=pairs(given.bonds),
        constraints=pairs(given.constraints),
    )


def build_sites(
    settings: ReferenceSettings, source: FrameSource, stated: StatedSites, elements: tuple[str, ...] | None
) -> ImportedSites:
    """Return the atoms of a reference.

    Parameters
    ----------
    settings : How to find bonds.
    source : Frames, for bonds that must be guessed.
    stated : From `read_sites`.
    elements : From `find_elements`.

    Raises
    ------
    InputError : a mass is not known, or bonds are neither stated nor to be guessed.
    """
    notices: list[str] = []
    given = stated.sites
    if len(stated.dropped):
        notices.append(f"{len(stated.dropped)} sites without mass (virtual sites) are left out")
    masses = _find_masses(given, elements)
    if given.elements is None and given.masses is None:
        notices.append("elements and masses were guessed from the names of the atoms")
    bonds = _find_bonds(settings, stated, elements, source, notices)
    if given.elements is None and not len(bonds) and elements is not None and forms_bonds(elements).any():
        # a lone carbon or sulphur is a bead that has its name or mass by chance
        elements = None
    topology, order = _assemble(given, elements, masses, bonds)
    return ImportedSites(
        topology=topology,
        order=stated.kept[order],
        dropped=stated.dropped,
        has_constraints=given.constraints is not None,
        notices=tuple(notices),
    )


def _read_sites(settings: ReferenceSettings, source: FrameSource) -> FileSites:
    if settings.molecules:
        return _repeat(settings.molecules)
    if settings.topology is not None:
        return read_topology_file(Path(settings.topology))
    first = Path(settings.files[0])
    if first.suffix == ".h5":
        try:
            return read_topology_file(first)
        except InputError:
            # an H5MD file of another program
            pass
    if source.sites is None:
        raise InputError(
            f"'{first}' does not say what its atoms are",
            fix="Give a file that does in 'topology' (GRO, TPR, PDB, PSF, parm7, LAMMPS data), or list 'molecules'.",
        )
    return source.sites


def _repeat(molecules: tuple[MoleculeSites, ...]) -> FileSites:
    names: list[str] = []
    masses: list[float] = []
    residues: list[int] = []
    bonds: list[tuple[int, int]] = []
    constraints: list[tuple[int, int]] = []
    residue_names: list[str] = []
    for molecule in molecules:
        for _ in range(molecule.count):
            start = len(names) - 1
            bonds += [(start + i, start + j) for i, j in molecule.bonds]
            constraints += [(start + i, start + j) for i, j in molecule.constraints]
            residues += [len(residue_names)] * len(molecule.names)
            residue_names.append(molecule.name)
            names += molecule.names
            masses += molecule.masses or [np.nan] * len(molecule.names)
    has_masses, has_bonds = not np.isnan(masses).any(), bool(bonds) or max(len(m.names) for m in molecules) == 1
    return FileSites(
        names=tuple(names),
        masses=np.array(masses) if has_masses else None,
        residue_index=np.array(residues),
        residue_names=tuple(residue_names),
        bonds=np.array(bonds, dtype=np.int64).reshape(-1, 2) if has_bonds else None,
        constraints=np.array(constraints, dtype=np.int64) if constraints else None,
    )


def find_elements(given: FileSites) -> tuple[str, ...] | None:
    """Return the elements, from the file, from the masses or from the names; None if any site has none (beads)."""
    if given.elements is not None and all(map(is_element, given.elements)):
        return given.elements
    if given.masses is not None:
        by_mass = {mass: element_of_mass(mass) for mass in np.unique(given.masses).tolist()}
        if None not in by_mass.values():
            return tuple(str(by_mass[mass]) for mass in given.masses.tolist())
    index = np.zeros(given.n_sites, dtype=np.int64) if given.residue_index is None else given.residue_index
    sizes = np.bincount(index)
    pairs = list(zip(given.names, (sizes[index] == 1).tolist(), strict=True))
    by_name = {pair: element_of_name(pair[0], is_alone=pair[1]) for pair in set(pairs)}
    if None in by_name.values():
        return None
    elements = tuple(str(by_name[pair]) for pair in pairs)
    # heavy hydrogens take their mass from their neighbours; beads that are named like atoms do not keep the sum
    if given.masses is not None:
        total = sum(map(element_mass, elements))
        return elements if abs(total - given.masses.sum()) < 0.01 * total else None
    return elements


def _find_masses(given: FileSites, elements: tuple[str, ...] | None) -> np.ndarray:
    if given.masses is not None:
        return given.masses
    if elements is None:
        raise InputError(
            f"the masses of the sites are not known: no element is named like '{_first_unknown(given.names)}'",
            fix="Give a topology with masses (TPR, PSF, parm7, LAMMPS data), or list 'molecules' with 'masses'.",
        )
    return np.array([element_mass(element) for element in elements])


def _first_unknown(names: tuple[str, ...]) -> str:
    return next((name for name in names if element_of_name(name, is_alone=False) is None), names[0])


def _find_bonds(
    settings: ReferenceSettings,
    stated: StatedSites,
    elements: tuple[str, ...] | None,
    source: FrameSource,
    notices: list[str],
) -> np.ndarray:
    given = stated.sites
    if settings.bonds == "none":
        return np.zeros((0, 2), dtype=np.int64)
    if settings.bonds == "auto":
        if given.bonds is not None:
            return given.bonds
        numbers = given.molecules
        if numbers is not None and len(np.unique(numbers)) == given.n_sites:
            return np.zeros((0, 2), dtype=np.int64)
    if elements is None:
        raise InputError(
            "the bonds are not known: the topology states none, and without elements they cannot be guessed",
            fix="Give a topology with bonds (TPR, PSF, parm7, LAMMPS data), list 'molecules' with 'bonds', or say "
            "'bonds: none' if every site is a molecule of its own.",
        )
    cell = None if source.first.cell is None else source.first.cell[0]
    bonds = guess_bonds(source.first.positions[0, stated.kept], cell, elements)
    notices.append(f"the {len(bonds)} bonds were guessed from the distances in the first frame")
    return bonds


def _assemble(
    given: FileSites, elements: tuple[str, ...] | None, masses: np.ndarray, bonds: np.ndarray
) -> tuple[Topology, np.ndarray]:
    """Return the topology with the atoms of each molecule side by side, and the place of each site in the files."""
    n_sites = given.n_sites
    constraints = np.zeros((0, 2), dtype=np.int64) if given.constraints is None else given.constraints
    joined = np.concatenate([bonds, constraints])
    graph = sparse.coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(n_sites, n_sites))
    _, label = connected_components(graph, directed=False)
    # number molecules by their first atom in the files
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    molecule = np.argsort(np.argsort(first))[inverse]
    order = np.argsort(molecule, kind="stable").astype(np.int64)
    place = np.empty(n_sites, dtype=np.int64)
    place[order] = np.arange(n_sites)
    names = tuple(given.names[site] for site in order.tolist())
    labels = given.types or elements or given.names
    types = [labels[site] for site in order.tolist()]
    type_names = tuple(dict.fromkeys(types))
    number = {name: k for k, name in enumerate(type_names)}
    residue_index, residue_names = _residues(given, elements, order, molecule[order])

    def moved(pairs: np.ndarray) -> np.ndarray:
        sites = np.sort(place[pairs], axis=1)
        return sites[np.lexsort((sites[:, 1], sites[:, 0]))]

    topology = Topology(
        names=names,
        types=np.array([number[name] for name in types], dtype=np.int64),
        type_names=type_names,
        elements=None if elements is None else tuple(elements[site] for site in order.tolist()),
        masses=masses[order],
        molecule_index=molecule[order].astype(np.int64),
        residue_index=residue_index,
        residue_names=residue_names,
        bonds=moved(bonds),
        angles=np.zeros((0, 3), dtype=np.int64),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=moved(constraints),
    )
    return topology, order


def _residues(
    given: FileSites, elements: tuple[str, ...] | None, order: np.ndarray, molecule: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return residue and residue names of the sorted sites; without residues each molecule is one, named by formula."""
    if given.residue_index is not None and given.residue_names is not None:
        old = given.residue_index[order]
        numbers, first, inverse = np.unique(old, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        names = [given.residue_names[number] for number in numbers[np.argsort(first)].tolist()]
        return rank[inverse].astype(np.int64), tuple(names)
    labels = elements or given.types or given.names
    members: list[list[str]] = [[] for _ in range(int(molecule[-1]) + 1)]
    for site, number in zip(order.tolist(), molecule.tolist(), strict=True):
        members[number].append(labels[site])
    return molecule.astype(np.int64), tuple(_formula(tuple(sorted(kinds))) for kinds in members)


def _formula(kinds: tuple[str, ...]) -> str:
    """Return a formula in the order of Hill: carbon, hydrogen, then by alphabet."""
    ranked = sorted(set(kinds), key=lambda kind: ({"C": 0, "H": 1}.get(kind, 2) if "C" in kinds else 2, kind))
    return "".join(kind + (str(kinds.count(kind)) if kinds.count(kind) > 1 else "") for kind in ranked)


def with_constraints(sites: ImportedSites, pairs: Int[np.ndarray, "_constraints 2"]) -> ImportedSites:
    """Return the sites with these constraints."""
    return replace(sites, topology=replace(sites.topology, constraints=pairs), has_constraints=True)


def bond_constraints(topology: Topology, *, only_hydrogen: bool) -> Int[np.ndarray, "_constraints 2"]:
    """Return the constraints of a run with rigid bonds: all or those to hydrogen, and all three sides of water.

    Raises
    ------
    InputError : elements are needed but not known.
    """
    if topology.elements is None:
        if only_hydrogen:
            raise InputError("constraints is 'h_bonds', but the elements of the sites are not known")
        return topology.bonds
    is_hydrogen = np.array([element in ("H", "D") for element in topology.elements])
    bonds = topology.bonds
    rigid = bonds[is_hydrogen[bonds].any(axis=1)] if only_hydrogen else bonds
    sizes = np.bincount(topology.molecule_index)
    starts = np.cumsum(sizes) - sizes
    waters = [
        (start + hydrogens[0], start + hydrogens[1])
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
        if size == 3
        and topology.elements[start : start + 3].count("O") == 1
        and len(hydrogens := np.flatnonzero(is_hydrogen[start : start + 3]).tolist()) == 2
    ]
    pairs = np.concatenate([rigid, np.array(waters, dtype=np.int64).reshape(-1, 2)])
    return np.unique(np.sort(pairs, axis=1), axis=0)
