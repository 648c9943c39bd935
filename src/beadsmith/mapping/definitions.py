"""From definitions by name to bead templates: which atoms of each molecule kind make which bead.

A molecule takes the first that fits: a definition of the whole molecule; definitions of its residues, and the scheme
for those without; the scheme. Residues named under `omit`, and those that a peptide scheme does not know, get no bead;
the coverage says which atoms that leaves out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.errors import InputError
from beadsmith.mapping.beads import BeadTemplate, center_of_mass
from beadsmith.mapping.bonds import derive_angles, derive_bonds, derive_dihedrals
from beadsmith.mapping.constraints import find_rigid_groups, groups_in_molecule
from beadsmith.mapping.graph_types import Fragment, describe_fragments, name_graph_types
from beadsmith.mapping.schemes import define_residue
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules

# Source: IUPAC, Pure Appl. Chem. 94, 573 (2022), abridged [u]
_STANDARD_MASSES = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Na": 22.990, "Mg": 24.305, "Si": 28.085,
    "P": 30.974, "S": 32.06, "Cl": 35.45, "K": 39.098, "Ca": 40.078, "Zn": 65.38, "Se": 78.971, "Br": 79.904,
    "I": 126.90,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Molecule:
    """One molecule kind as definitions see it; atoms and residues are counted within the molecule."""

    kind: MoleculeKind
    names: tuple[str, ...]
    elements: tuple[str, ...] | None
    residues: Int[np.ndarray, "atoms"]
    residue_names: tuple[str, ...]
    masses: Float[np.ndarray, "atoms"]
    bonds: Int[np.ndarray, "bonds 2"]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One definition applied: its beads with their atoms, and the residue they stand in."""

    definition: MoleculeBeads
    atoms: tuple[Int[np.ndarray, "_members"], ...]


def build_templates(
    topology: Topology, settings: MappingSettings, imported: tuple[MoleculeBeads, ...] = ()
) -> tuple[BeadTemplate, ...]:
    """Return one template per molecule kind that has beads.

    Parameters
    ----------
    topology : The atoms.
    settings : Scheme, definitions, omitted residues, types and masses.
    imported : Definitions read from files; those of the settings come first.

    Raises
    ------
    InputError : an atom is not found or not unique, a definition fits nothing, bonds cannot be derived, or no bead is
        left.
    """
    definitions = {definition.name: definition for definition in (*imported, *settings.definitions)}
    is_plain = settings.masses == "simulation" and settings.types != "graph"
    if settings.beads == "center_of_mass" and not definitions and not settings.omit and is_plain:
        return center_of_mass(topology)
    _refuse_unused(definitions, topology, settings)
    groups = find_rigid_groups(topology)
    templates = []
    for kind in group_equal_molecules(topology):
        molecule = _describe_molecule(topology, kind, standard_masses=settings.masses == "standard")
        parts = _apply_definitions(molecule, definitions, settings)
        if parts:
            templates.append(_build_template(molecule, parts, groups_in_molecule(groups, kind), settings))
    if not templates:
        raise InputError(
            f"mapping.beads is '{settings.beads}', which gives no bead to any of the residues "
            f"{', '.join(sorted(set(topology.residue_names))[:8])}",
            fix="Choose another scheme, or define beads under 'definitions'.",
        )
    _refuse_unequal_masses(templates)
    return tuple(templates)


def _refuse_unequal_masses(templates: Sequence[BeadTemplate]) -> None:
    """A bead type has one mass everywhere downstream."""
    mass_of: dict[str, tuple[float, str]] = {}
    for template in templates:
        for bead, (name, mass) in enumerate(zip(template.type_names, template.masses.tolist(), strict=True)):
            residue = int(template.residue_index[bead])
            where = f"'{template.names[bead]}' of residue {residue + 1}, '{template.residue_names[residue]}'"
            known, first = mass_of.setdefault(name, (mass, where))
            if abs(known - mass) > 1e-4 * known:
                raise InputError(
                    f"beads of type '{name}' have the masses {known:g} u ({first}) and {mass:g} u ({where})",
                    fix="Set mapping.terminal_types to true if they are the ends of a chain, use 'masses: standard', "
                    "or give the beads a 'type' or 'mass' of their own.",
                )


def _refuse_unused(definitions: dict[str, MoleculeBeads], topology: Topology, settings: MappingSettings) -> None:
    residues = set(topology.residue_names)
    known = residues | {kind.name for kind in group_equal_molecules(topology)}
    for field, names in (("definitions", sorted(definitions)), ("omit", sorted(settings.omit))):
        for name in names:
            if name not in known:
                raise InputError(
                    f"mapping.{field} name '{name}', which is neither a residue nor a molecule of the reference",
                    fix=f"Its residues are: {', '.join(sorted(residues)[:20])}.",
                )


def _describe_molecule(topology: Topology, kind: MoleculeKind, *, standard_masses: bool) -> _Molecule:
    sites = kind.sites[0]
    residues, first_of = np.unique(topology.residue_index[sites], return_inverse=True)
    inside = np.isin(topology.bonds, sites).all(axis=1)
    masses = topology.masses[sites].astype(np.float64)
    if standard_masses:
        masses = _look_up_masses(topology, sites)
    return _Molecule(
        kind=kind,
        names=tuple(topology.names[site] for site in sites.tolist()),
        elements=None if topology.elements is None else tuple(topology.elements[site] for site in sites.tolist()),
        residues=first_of.astype(np.int64),
        residue_names=tuple(topology.residue_names[residue] for residue in residues.tolist()),
        masses=masses,
        bonds=topology.bonds[inside] - sites[0],
    )


def _look_up_masses(topology: Topology, sites: Int[np.ndarray, "atoms"]) -> Float[np.ndarray, "atoms"]:
    if topology.elements is None:
        raise InputError("mapping.masses is 'standard', but the reference does not say which elements its atoms are")
    elements = [topology.elements[site] for site in sites.tolist()]
    unknown = [element for element in elements if element not in _STANDARD_MASSES]
    if unknown:
        raise InputError(
            f"mapping.masses is 'standard', but no standard mass is known for element '{unknown[0]}'",
            fix="Use masses: simulation, or give the beads a 'mass'.",
        )
    return np.array([_STANDARD_MASSES[element] for element in elements])


def _apply_definitions(
    molecule: _Molecule, definitions: dict[str, MoleculeBeads], settings: MappingSettings
) -> tuple[_Part, ...]:
    """Return the definitions that make up a molecule; none if it has no beads."""
    name = molecule.kind.name
    if name in settings.omit:
        return ()
    everything = np.arange(len(molecule.names))
    if name in definitions:
        return (_find_atoms(molecule, definitions[name], everything),)
    is_defined = any(residue in definitions for residue in molecule.residue_names)
    if settings.beads == "center_of_mass" and not is_defined:
        kept = everything[[molecule.residue_names[r] not in settings.omit for r in molecule.residues.tolist()]]
        if not len(kept):
            return ()
        type_ = None if settings.types == "graph" else name
        whole = BeadDefinition(name=name, atoms=tuple(f"#{atom + 1}" for atom in kept.tolist()), type=type_)
        return (_find_atoms(molecule, MoleculeBeads(name=name, beads=(whole,)), everything),)
    parts = []
    for index, residue in enumerate(molecule.residue_names):
        if residue in settings.omit:
            continue
        atoms = np.flatnonzero(molecule.residues == index)
        definition = definitions.get(residue)
        if definition is None and settings.beads == "center_of_mass":
            raise InputError(
                f"mapping.definitions know some residues of molecule '{name}' but not '{residue}'",
                fix="Define its beads too, choose 'beads: residue' for the rest, or name it under 'omit'.",
            )
        if definition is None and settings.beads == "residue":
            # by number: the atoms of a residue may have equal names
            bead = BeadDefinition(name=residue, atoms=tuple(f"#{atom + 1}" for atom in atoms.tolist()))
            definition = MoleculeBeads(name=residue, beads=(bead,))
        elif definition is None:
            names = [molecule.names[atom] for atom in atoms.tolist()]
            definition = define_residue(settings.beads, residue, names)
        if definition is not None:
            parts.append(_find_atoms(molecule, definition, atoms))
    return tuple(parts)


def _find_atoms(molecule: _Molecule, definition: MoleculeBeads, among: Int[np.ndarray, "_candidates"]) -> _Part:
    atoms = []
    for bead in definition.beads:
        found = np.array([_find_atom(molecule, selector, among, bead, definition) for selector in bead.atoms])
        if len(np.unique(found)) < len(found):
            raise InputError(f"bead '{bead.name}' of '{definition.name}' names an atom twice")
        atoms.append(found.astype(np.int64))
    return _Part(definition=definition, atoms=tuple(atoms))


def _find_atom(
    molecule: _Molecule,
    selector: str,
    among: Int[np.ndarray, "_candidates"],
    bead: BeadDefinition,
    definition: MoleculeBeads,
) -> int:
    """Return the atom that NAME, RESIDUE:NAME, NUMBER:RESIDUE:NAME or #NUMBER stands for."""
    if selector.startswith("#") and selector[1:].isdecimal() and 0 < int(selector[1:]) <= len(molecule.names):
        return int(selector[1:]) - 1
    *place, name = selector.split(":")
    candidates = [atom for atom in among.tolist() if molecule.names[atom] == name]
    if place:
        candidates = [a for a in candidates if molecule.residue_names[molecule.residues[a]] == place[-1]]
    if len(place) == 2:
        candidates = [a for a in candidates if str(molecule.residues[a] + 1) == place[0]]
    if len(candidates) == 1:
        return candidates[0]
    what = f"bead '{bead.name}' of '{definition.name}' names atom '{selector}', which "
    if candidates:
        raise InputError(
            f"{what}stands for {len(candidates)} atoms of molecule '{molecule.kind.name}'",
            fix="Write NUMBER:RESIDUE:NAME, for example 2:ALA:CA, or #9 for the ninth atom.",
        )
    names = ", ".join(dict.fromkeys(molecule.names[atom] for atom in among[:40].tolist()))
    raise InputError(f"{what}is not in molecule '{molecule.kind.name}'", fix=f"Atoms there are: {names}.")


def _build_template(
    molecule: _Molecule, parts: Sequence[_Part], groups: Int[np.ndarray, "atoms"], settings: MappingSettings
) -> BeadTemplate:
    definitions = [bead for part in parts for bead in part.definition.beads]
    atoms = [found for part in parts for found in part.atoms]
    weights = np.zeros((len(atoms), len(molecule.names)))
    members = np.zeros(weights.shape, dtype=bool)
    shares = np.zeros(weights.shape)
    for row, (bead, found) in enumerate(zip(definitions, atoms, strict=True)):
        members[row, found] = True
        weights[row, found] = _position_weights(bead, molecule.masses[found])
        shares[row, found] = bead.factors if bead.factors and bead.weights == "mass" else 1.0
    shares /= np.maximum(shares.sum(axis=0), np.finfo(float).tiny)
    residues = molecule.residues[[int(found[0]) for found in atoms]]
    masses = shares @ molecule.masses
    stated = [bead.mass for bead in definitions]
    bonds = _collect_bonds(molecule, parts, members)
    if settings.types == "graph":
        type_names = name_graph_types(_describe_beads(molecule, definitions, members), bonds, settings.graph_depth)
    else:
        type_names = _name_types(molecule, parts, residues, settings)
    return BeadTemplate(
        molecules=molecule.kind,
        position_weights=weights,
        members=members,
        rigid_groups=groups,
        names=tuple(bead.name for bead in definitions),
        type_names=type_names,
        masses=np.array([own if own is not None else sum_ for own, sum_ in zip(stated, masses, strict=True)]),
        residue_index=residues.astype(np.int64),
        residue_names=molecule.residue_names,
        bonds=bonds,
        angles=derive_angles(bonds),
        dihedrals=derive_dihedrals(bonds),
        impropers=_collect_impropers(parts),
    )


def _position_weights(bead: BeadDefinition, masses: Float[np.ndarray, "_members"]) -> Float[np.ndarray, "_members"]:
    weights = np.array(bead.factors or [1.0] * len(masses))
    if bead.weights == "mass":
        weights = weights * masses
    elif bead.weights == "atom":
        weights = (np.arange(len(masses)) == 0).astype(np.float64)
    return weights / weights.sum()


def _describe_beads(
    molecule: _Molecule, definitions: Sequence[BeadDefinition], members: Bool[np.ndarray, "beads atoms"]
) -> list[Fragment]:
    """Return what each bead is: the type it was given, else its atoms."""
    stated = [bead.type for bead in definitions]
    if molecule.elements is None:
        nameless = [bead.name for bead in definitions if bead.type is None]
        if nameless:
            raise InputError(
                f"mapping.types is 'graph', but the reference does not say which elements the atoms of bead "
                f"'{nameless[0]}' are",
                fix="Give the beads a 'type' to start from, or use 'types: residue'.",
            )
        return [Fragment(name=name, key=name) for name in stated if name is not None]
    fragments = describe_fragments(molecule.elements, members, molecule.bonds)
    return [
        fragment if name is None else Fragment(name=name, key=name)
        for name, fragment in zip(stated, fragments, strict=True)
    ]


def _name_types(
    molecule: _Molecule, parts: Sequence[_Part], residues: Int[np.ndarray, "beads"], settings: MappingSettings
) -> tuple[str, ...]:
    """Return the stated types, else RESIDUE_BEAD (RESIDUE alone where it has one bead), with N or C at chain ends."""
    names, row = [], 0
    last = len(molecule.residue_names) - 1
    for part in parts:
        for bead in part.definition.beads:
            residue = int(residues[row])
            label = molecule.residue_names[residue]
            only = len(part.definition.beads) == 1
            name = bead.name if settings.types == "name" else label if only else f"{label}_{bead.name}"
            if settings.terminal_types and last > 0 and residue in (0, last):
                name = ("N" if residue == 0 else "C") + name
            names.append(bead.type or name)
            row += 1
    return tuple(names)


def _collect_bonds(
    molecule: _Molecule, parts: Sequence[_Part], members: np.ndarray
) -> Int[np.ndarray, "_bead_bonds 2"]:
    """Return stated bonds inside each part, and derived ones wherever none are stated."""
    all_stated = all(part.definition.bonds is not None for part in parts)
    if len(members) > 1 and not len(molecule.bonds) and not (all_stated and len(parts) == 1):
        raise InputError(
            f"molecule '{molecule.kind.name}' has {len(members)} beads, but the reference has no bonds to derive "
            "theirs from",
            fix="Give the topology its bonds, or state 'bonds' in a definition of the whole molecule.",
        )
    part_of = np.repeat(np.arange(len(parts)), [len(part.atoms) for part in parts])
    starts = np.searchsorted(part_of, np.arange(len(parts)))
    derived = derive_bonds(members, molecule.bonds)
    keep = [a != b or parts[a].definition.bonds is None for a, b in part_of[derived].tolist()]
    bonds = [tuple(pair) for pair in derived[np.array(keep, dtype=bool)].tolist()]
    for part, start in zip(parts, starts.tolist(), strict=True):
        names = [bead.name for bead in part.definition.beads]
        bonds += [tuple(sorted(start + names.index(name) for name in pair)) for pair in part.definition.bonds or ()]
    return np.array(sorted(set(bonds)), dtype=np.int64).reshape(-1, 2)


def _collect_impropers(parts: Sequence[_Part]) -> Int[np.ndarray, "_impropers 4"]:
    impropers, start = [], 0
    for part in parts:
        names = [bead.name for bead in part.definition.beads]
        impropers += [[start + names.index(name) for name in term] for term in part.definition.impropers]
        start += len(names)
    return np.array(impropers, dtype=np.int64).reshape(-1, 4)
