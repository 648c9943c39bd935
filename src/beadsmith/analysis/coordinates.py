"""Which coordinates of a molecule are looked at: the user's own, and those a peptide has by its nature.

A `Coordinate` turns whole molecules into one number per frame and copy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.definitions import (
    BasinDefinition,
    CoordinateDefinition,
    CoordinateKind,
    CoordinateRange,
    NativeSettings,
)
from beadsmith.analysis.helices import FEWEST_RESIDUES, handedness, helicity
from beadsmith.analysis.internal import (
    angles,
    dihedrals,
    distances,
    native_contacts,
    radius_of_gyration,
    superposed_rmsd,
)
from beadsmith.errors import InputError
from beadsmith.topology import MoleculeKind, Topology

_UNITS = {"dihedral": "degree", "angle": "degree", "distance": "nm"}

Series = Callable[[np.ndarray], np.ndarray]
"""Positions of whole molecules (frames, sites, 3) [nm] to values (frames, samples); a sample is a copy or a term."""


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """A number that every copy of a molecule has in every frame, or several equivalent ones."""

    name: str
    """Name."""
    unit: str
    """``"degree"``, ``"nm"``, ``"nm^3"`` or ``"1"``."""
    is_periodic: bool = False
    """Whether it is an angle of −180 to 180 degrees."""
    is_odd: bool = False
    """Whether a reflection of the molecule changes its sign."""
    limits: tuple[float, float] | None = None
    """Range of all its values, or None where the data must tell."""
    kind: CoordinateKind | None = None
    """Dihedral, angle or distance; None for anything else."""
    sites: Int[np.ndarray, "copies width"] | None = field(default=None, repr=False, compare=False)
    """The sites of a dihedral, angle or distance in order, one row a sample."""
    compute: Series | None = field(repr=False, compare=False)
    """The function itself; None for a slow component, which is made of the others."""


def resolve_coordinate(definition: CoordinateDefinition, topology: Topology, molecules: MoleculeKind) -> Coordinate:
    """Return the coordinate that a definition names, in every copy of a molecule.

    Raises
    ------
    InputError : a site is unknown or its name is not unique.
    """
    local = [_find_site(text, definition.name, topology, molecules.sites[0]) for text in definition.sites]
    return _internal_coordinate(definition.name, definition.kind, molecules.sites[:, local])


def find_peptide_coordinates(topology: Topology, molecules: MoleculeKind) -> tuple[Coordinate, ...]:
    """Return the coordinates a peptide has by its nature, from the names of its beads; none for other molecules.

    φ is C(i−1)–N–CA–C and ψ is N–CA–C–N(i+1) of every residue that has N, CA and C. Where N and C are missing, the
    dihedrals of four and the angles of three successive CA stand in their place. They are called ``phi`` and
    ``psi`` where there is one of each, else ``phi 2``, with the residue counted from 1 within the molecule.
    The dihedral N–CA–CB–C is the ``chirality`` of a residue: about ±120 degrees, the sign tells the hand.
    """
    names = _backbone(topology, molecules.sites[0])
    terms: dict[str, list[tuple[str, tuple[int, ...]]]] = {"phi": [], "psi": [], "chirality": []}
    for residue, sites in names.items():
        if not {"N", "CA", "C"} <= sites.keys():
            continue
        n, ca, c = (sites[key] for key in ("N", "CA", "C"))
        if "C" in names.get(residue - 1, {}):
            terms["phi"].append((f"phi {residue + 1}", (names[residue - 1]["C"], n, ca, c)))
        if "N" in names.get(residue + 1, {}):
            terms["psi"].append((f"psi {residue + 1}", (n, ca, c, names[residue + 1]["N"])))
        if "CB" in sites:
            terms["chirality"].append((f"chirality {residue + 1}", (n, ca, sites["CB"], c)))
    found = []
    for name, entries in terms.items():
        for title, local in entries:
            title = name if len(entries) == 1 else title
            found.append(_internal_coordinate(title, "dihedral", molecules.sites[:, local]))
    return (*found, *(() if found else _alpha_carbon_coordinates(names, molecules)))


def find_bonded_coordinates(topology: Topology, molecules: MoleculeKind) -> tuple[Coordinate, ...]:
    """Return the bonds, angles, dihedrals and impropers of the topology, those between equal types of sites as one.

    A term counts as equal to its reverse: ``bond C-N`` is also N-C.
    """
    place = {site: local for local, site in enumerate(molecules.sites[0].tolist())}
    kinds: tuple[tuple[str, CoordinateKind], ...] = (
        ("bonds", "distance"),
        ("angles", "angle"),
        ("dihedrals", "dihedral"),
        ("impropers", "dihedral"),
    )
    found: list[Coordinate] = []
    for field_name, kind in kinds:
        terms: dict[str, list[list[int]]] = {}
        for row in getattr(topology, field_name).tolist():
            if row[0] in place:
                types = [topology.type_names[topology.types[site]] for site in row]
                label = "-".join(min(types, types[::-1]))
                terms.setdefault(label, []).append([place[site] for site in row])
        for label, rows in terms.items():
            sites = molecules.sites[:, np.array(rows)].reshape(-1, len(rows[0]))
            found.append(_internal_coordinate(f"{field_name.removesuffix('s')} {label}", kind, sites))
    return tuple(found)


def find_shape_coordinates(topology: Topology, molecules: MoleculeKind) -> tuple[Coordinate, ...]:
    """Return radius of gyration and end-to-end distance, and for chains of alpha carbons helicity and handedness.

    The ends are the first and last CA where there are several, else the first and last site. Two sites have no shape
    beyond their distance.
    """
    sites = molecules.sites
    if sites.shape[1] < 3:
        return ()
    masses = topology.masses[sites[0]]
    carbons = _alpha_carbons(topology, sites[0])
    ends = sites[:, [carbons[0], carbons[-1]] if len(carbons) > 1 else [0, -1]]
    found = [
        Coordinate(
            name="radius of gyration",
            unit="nm",
            compute=lambda positions: radius_of_gyration(positions[:, sites], masses),
        ),
        Coordinate(name="end to end", unit="nm", compute=lambda positions: distances(positions, ends)),
    ]
    if len(carbons) >= FEWEST_RESIDUES:
        chain = sites[:, carbons]
        found.append(
            Coordinate(
                name="helicity",
                unit="1",
                limits=(0.0, 1.0),
                compute=lambda positions: helicity(positions[:, chain]),
            )
        )
        found.append(
            Coordinate(
                name="handedness",
                unit="nm^3",
                is_odd=True,
                limits=(-0.06, 0.06),
                compute=lambda positions: handedness(positions[:, chain]),
            )
        )
    return tuple(found)


def native_coordinates(
    structure: Float[np.ndarray, "sites 3"], settings: NativeSettings, topology: Topology, molecules: MoleculeKind
) -> tuple[Coordinate, ...]:
    """Return RMSD from a structure, and the fraction of native contacts where the structure has any.

    Parameters
    ----------
    structure : Positions of the sites of one molecule, whole [nm].
    settings : Which pairs are contacts.
    topology : The sites.
    molecules : The copies.

    Raises
    ------
    InputError : the structure has another number of sites than the molecule.
    """
    sites = molecules.sites
    if structure.shape != (sites.shape[1], 3):
        raise InputError(f"the native structure has {len(structure)} sites, the molecule {sites.shape[1]}")
    masses = topology.masses[sites[0]]
    found = [
        Coordinate(
            name="RMSD",
            unit="nm",
            compute=lambda positions: superposed_rmsd(positions[:, sites], structure, masses),
        )
    ]
    residues = topology.residue_index[sites[0]]
    first, second = np.triu_indices(len(residues), 1)
    native = np.linalg.norm(structure[first] - structure[second], axis=-1)
    is_contact = (np.abs(residues[first] - residues[second]) >= settings.separation) & (
        native < settings.contact_distance
    )
    if is_contact.any():
        pairs = np.stack([sites[:, first[is_contact]], sites[:, second[is_contact]]], axis=-1)
        found.append(
            Coordinate(
                name="native contacts",
                unit="1",
                limits=(0.0, 1.0),
                compute=lambda positions: native_contacts(
                    distances(positions, pairs.reshape(-1, 2)).reshape(len(positions), *pairs.shape[:2]),
                    native[is_contact],
                ),
            )
        )
    return tuple(found)


def default_basins(coordinates: tuple[Coordinate, ...]) -> tuple[BasinDefinition, ...]:
    """Return β/PII, αR and φ > 0 of every residue with both φ and ψ; none for other molecules.

    αR is φ <= 0 with ψ from −120 to 60 degrees, β/PII the rest of φ <= 0. The published populations of capped
    alanine in explicit water (0.721, 0.255, 0.024) follow from these bounds.
    """
    names = tuple(coordinate.name for coordinate in coordinates)
    basins: list[BasinDefinition] = []
    for phi in (name for name in names if name == "phi" or name.startswith("phi ")):
        suffix = phi.removeprefix("phi")
        psi = f"psi{suffix}"
        if psi not in names:
            continue
        negative = CoordinateRange(coordinate=phi, start=-180.0, end=0.0)
        helix = CoordinateRange(coordinate=psi, start=-120.0, end=60.0)
        strand = CoordinateRange(coordinate=psi, start=60.0, end=-120.0)
        basins += [
            BasinDefinition(name=f"beta/PII{suffix}", ranges=(negative, strand)),
            BasinDefinition(name=f"alphaR{suffix}", ranges=(negative, helix)),
            BasinDefinition(
                name=f"phi > 0{suffix and f' ({suffix.strip()})'}",
                ranges=(CoordinateRange(coordinate=phi, start=0.0, end=180.0),),
            ),
        ]
    return tuple(basins)


def is_inside(
    limits: CoordinateRange, values: Float[np.ndarray, "..."], *, is_periodic: bool
) -> Bool[np.ndarray, "..."]:
    """Return which values of a coordinate lie in a range; a periodic range runs from its start upwards to its end."""
    if not is_periodic:
        return (values >= limits.start) & (values < limits.end)
    width = (limits.end - limits.start) % 360.0 or 360.0
    return (values - limits.start) % 360.0 < width


def _internal_coordinate(name: str, kind: CoordinateKind, terms: Int[np.ndarray, "copies sites"]) -> Coordinate:
    functions = {"dihedral": dihedrals, "angle": angles, "distance": distances}
    function = functions[kind]
    return Coordinate(
        name=name,
        unit=_UNITS[kind],
        is_periodic=kind == "dihedral",
        is_odd=kind == "dihedral",
        limits={"dihedral": (-180.0, 180.0), "angle": (0.0, 180.0), "distance": None}[kind],
        kind=kind,
        sites=terms,
        compute=lambda positions: function(positions, terms),
    )


def _alpha_carbon_coordinates(names: dict[int, dict[str, int]], molecules: MoleculeKind) -> tuple[Coordinate, ...]:
    carbons = [(residue, sites["CA"]) for residue, sites in names.items() if "CA" in sites]
    found: list[Coordinate] = []
    shapes: tuple[tuple[CoordinateKind, int], ...] = (("dihedral", 4), ("angle", 3))
    for kind, width in shapes:
        for start in range(len(carbons) - width + 1):
            residues, local = zip(*carbons[start : start + width], strict=True)
            # a gap in the chain is no dihedral
            if residues[-1] - residues[0] == width - 1:
                title = f"CA {kind} {residues[0] + 1}-{residues[-1] + 1}"
                found.append(_internal_coordinate(title, kind, molecules.sites[:, list(local)]))
    return tuple(found)


def _backbone(topology: Topology, sites: Int[np.ndarray, "sites"]) -> dict[int, dict[str, int]]:
    """Return residue within the molecule → site name → site within the molecule; a name's first site counts."""
    first = int(topology.residue_index[sites[0]])
    residues: dict[int, dict[str, int]] = {}
    for local, site in enumerate(sites.tolist()):
        residue = int(topology.residue_index[site]) - first
        residues.setdefault(residue, {}).setdefault(topology.names[site].upper(), local)
    return residues


def _alpha_carbons(topology: Topology, sites: Int[np.ndarray, "sites"]) -> list[int]:
    return [named["CA"] for named in _backbone(topology, sites).values() if "CA" in named]


def _find_site(text: str, coordinate: str, topology: Topology, sites: Int[np.ndarray, "sites"]) -> int:
    """Return the place within the molecule of the one site that a text names."""
    residue, _, name = text.rpartition(":")
    first = int(topology.residue_index[sites[0]])
    found = []
    for local, site in enumerate(sites.tolist()):
        index = int(topology.residue_index[site])
        labels = (str(index - first + 1), topology.residue_names[index])
        if topology.names[site] == name and (not residue or residue in labels):
            found.append(local)
    if len(found) == 1:
        return found[0]
    known = ", ".join(
        f"{int(topology.residue_index[site]) - first + 1}:{topology.names[site]}" for site in sites[:40].tolist()
    )
    problem = "names no site" if not found else f"names {len(found)} sites"
    raise InputError(
        f"'{text}' in the coordinate '{coordinate}' {problem} of the molecule",
        fix=f"The sites are: {known}.",
    )
