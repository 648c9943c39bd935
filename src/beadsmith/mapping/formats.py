"""Mapping files: VOTCA (.xml), OpenMSCG (.yaml, .yml), Backward (.map) and definitions of our own (.yaml, .yml).

Only the position of the beads is taken over. How forces add up is for the force map to say, so files that weight the
forces of atoms unequally are refused. The files may come from anywhere: an XML document type, which could declare
entities that expand without end, is refused, YAML is read by its safe loader, and numbers are checked before use.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from beadsmith.errors import InputError
from beadsmith.io.records import describe_os_error
from beadsmith.mapping.definition_files import read_definitions
from beadsmith.mapping.settings import BeadDefinition, MoleculeBeads
from beadsmith.topology import Topology, group_equal_molecules

_MAX_BYTES = 10_000_000


def read_mapping_files(paths: tuple[str, ...], topology: Topology) -> tuple[MoleculeBeads, ...]:
    """Return the definitions in mapping files that fit the atoms; of several for one residue the last counts.

    A file may know more residues than there are, but must know one that is there.

    Parameters
    ----------
    paths : Files; the suffix tells the program.
    topology : The atoms, which OpenMSCG counts through.

    Raises
    ------
    InputError : a file cannot be read, is none of these, asks for what beads cannot do, or fits no residue and no
        molecule.
    """
    found: list[MoleculeBeads] = []
    known = {*topology.residue_names, *(kind.name for kind in group_equal_molecules(topology))} if paths else set()
    for path in paths:
        reader = _READERS.get(Path(path).suffix.lower())
        if reader is None:
            raise InputError(
                f"mapping.files name '{path}', expected a name that ends in {', '.join(_READERS)}",
                fix="Write other mappings as 'definitions' in the configuration.",
            )
        try:
            definitions = reader(_read_text(path), topology)
            fitting = [definition for definition in definitions if definition.name in known]
            if not fitting:
                names = ", ".join(definition.name for definition in definitions[:8])
                raise InputError(
                    f"the file gives beads to {names or 'nothing'}, expected a residue or molecule of the reference",
                    fix=f"These are: {', '.join(sorted(known)[:20])}.",
                )
            found += fitting
        except InputError as error:
            raise InputError(error.what, where=error.where or f"file '{path}'", fix=error.fix) from error
    return tuple(found)


def _read_text(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise describe_os_error(error, Path(path)) from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"the file has {len(content)} bytes, expected a mapping of at most {_MAX_BYTES}")
    return content


# VOTCA


class _NoDocumentType(ElementTree.TreeBuilder):
    """Builds a tree, and refuses the only place where entities can be declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type as soon as it begins."""
        raise InputError(f"the file declares a document type ('{name}')", fix="Delete its <!DOCTYPE ...>.")


def _read_votca(content: bytes, _: Topology) -> list[MoleculeBeads]:
    """Read one <cg_molecule> (VOTCA manual, 'Mapping files')."""
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDocumentType()))
    except ElementTree.ParseError as error:
        raise InputError(f"the file is not XML: {error}") from error
    if root.tag != "cg_molecule":
        raise InputError(f"the file holds <{root.tag}>, expected <cg_molecule>, a mapping")
    maps = {_text(entry, "name"): entry for entry in root.iterfind("maps/map")}
    beads = tuple(_read_votca_bead(entry, maps) for entry in root.iterfind("topology/cg_beads/cg_bead"))
    bonded = root.find("topology/cg_bonded")
    bonds = None if bonded is None else tuple(_read_votca_terms(bonded, "bond", 2))
    dihedrals = [] if bonded is None else _read_votca_terms(bonded, "dihedral", 4)
    joined = {frozenset(pair) for pair in bonds or ()}
    along_bonds = [all(frozenset(term[k : k + 2]) in joined for k in range(3)) for term in dihedrals]
    return [
        MoleculeBeads(
            name=_name_votca_molecule(root, beads),
            beads=beads,
            bonds=bonds,
            impropers=tuple(term for term, is_proper in zip(dihedrals, along_bonds, strict=True) if not is_proper),
        )
    ]


def _read_votca_bead(entry: ElementTree.Element, maps: dict[str, ElementTree.Element]) -> BeadDefinition:
    name, atoms = _text(entry, "name"), tuple(_text(entry, "beads").split())
    if entry.findtext("symmetry", "1").strip() != "1":
        raise InputError(f"bead '{name}' has a symmetry other than 1, and beads here are points")
    used = _text(entry, "mapping")
    if used not in maps:
        raise InputError(f"bead '{name}' uses the map '{used}', but the file has {sorted(maps)}")
    if maps[used].find("d") is not None:
        raise InputError(
            f"map '{used}' has force weights <d>, and mapping.forces decides about those",
            fix="Delete them from the file.",
        )
    for atom in atoms:
        if atom.count(":") != 2:
            raise InputError(f"bead '{name}' names atom '{atom}', expected NUMBER:RESIDUE:NAME")
    weights = tuple(_number(word, f"weights of map '{used}'") for word in _text(maps[used], "weights").split())
    return BeadDefinition(
        name=name,
        type=entry.findtext("type", "").strip() or None,
        atoms=atoms,
        weights="geometry",
        factors=weights,
    )


def _read_votca_terms(bonded: ElementTree.Element, tag: str, width: int) -> list[Any]:
    terms = []
    for entry in bonded.iterfind(tag):
        words = _text(entry, "beads").split()
        if len(words) % width:
            raise InputError(f"<{tag}> lists {len(words)} beads, expected a multiple of {width}")
        terms += [tuple(words[k : k + width]) for k in range(0, len(words), width)]
    return terms


def _name_votca_molecule(root: ElementTree.Element, beads: tuple[BeadDefinition, ...]) -> str:
    """Return the residue names in order, which is how molecules are called here; <ident> if some cannot be known."""
    residues = {}
    for bead in beads:
        for atom in bead.atoms:
            number, residue, _ = atom.split(":")
            residues[number] = residue
    numbers = [str(k + 1) for k in range(len(residues))]
    return "-".join(residues[number] for number in numbers) if set(numbers) == set(residues) else _text(root, "ident")


def _text(entry: ElementTree.Element, tag: str) -> str:
    text = (entry.findtext(tag) or "").strip()
    if not text:
        raise InputError(f"<{entry.tag}> has no <{tag}>")
    return text


# YAML: OpenMSCG and our own


def _read_yaml(content: bytes, topology: Topology) -> list[MoleculeBeads]:
    """Read definitions of our own, or a mapping of OpenMSCG."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=yaml.SafeLoader)):
            raise InputError("the file uses aliases (*name), which could make it endless", fix="Write them out.")
        document = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"the file is not YAML: {error}") from error
    if isinstance(document, dict) and "definitions" in document:
        return read_definitions(document)
    if isinstance(document, dict) and {"site-types", "system"} <= set(document):
        return _read_openmscg(document, topology)
    raise InputError(
        "the file has neither 'definitions' nor the 'site-types' and 'system' of a mapping of OpenMSCG",
        fix="Write beads as under 'mapping.definitions' of a configuration, with 'definitions:' before them.",
    )


def _read_openmscg(document: dict[str, Any], topology: Topology) -> list[MoleculeBeads]:
    """Read site types and the tree of groups that places them (OpenMSCG manual, 'cgmap').

    A site takes the atoms at its anchor plus the indices of its type, counted from 0 through the whole system.
    """
    kinds = {str(name): _read_site_type(name, entry) for name, entry in _as(dict, document, "site-types").items()}
    of_molecule: dict[int, list[BeadDefinition]] = {}
    starts = np.flatnonzero(np.diff(topology.molecule_index, prepend=-1))
    for group in _as(list, document, "system"):
        for name, anchor in _place_sites(group, topology.n_sites):
            if name not in kinds:
                raise InputError(f"'system' places a site of type '{name}', but 'site-types' has {sorted(kinds)}")
            indices, factors = kinds[name]
            atoms = [anchor + index for index in indices]
            if min(atoms) < 0 or max(atoms) >= topology.n_sites:
                raise InputError(f"site '{name}' at {anchor} takes atoms {atoms} of {topology.n_sites}")
            molecules = {int(topology.molecule_index[atom]) for atom in atoms}
            if len(molecules) > 1:
                raise InputError(f"site '{name}' at {anchor} takes atoms of {len(molecules)} molecules, expected one")
            beads = of_molecule.setdefault(molecule := molecules.pop(), [])
            beads.append(
                BeadDefinition(
                    name=f"{name}{len(beads) + 1}",
                    type=name,
                    atoms=tuple(f"#{atom - int(starts[molecule]) + 1}" for atom in atoms),
                    weights="geometry",
                    factors=factors,
                )
            )
    return _pool_equal_molecules(of_molecule, topology)


def _read_site_type(name: str, entry: Any) -> tuple[list[int], tuple[float, ...]]:
    where = f"site type '{name}'"
    if not isinstance(entry, dict):
        raise InputError(f"{where} is no section of keys")
    indices, weights = _as(list, entry, "index", where), _as(list, entry, "x-weight", where)
    if not all(type(index) is int for index in indices):
        raise InputError(f"'index' of {where} is {indices}, expected whole numbers")
    forces = entry.get("f-weight", [1.0])
    if not isinstance(forces, list) or any(_number(value, f"f-weight of {where}") != 1.0 for value in forces):
        raise InputError(
            f"'f-weight' of {where} is not 1 for all atoms, and mapping.forces decides how forces add up",
            fix="Set all of them to 1.",
        )
    return indices, tuple(_number(value, f"x-weight of {where}") for value in weights)


def _place_sites(group: Any, n_sites: int) -> Iterator[tuple[str, int]]:
    """Yield type and anchor of every site of a group, repeated copies and groups inside it included."""
    if not isinstance(group, dict):
        raise InputError("'system' has an entry that is no section of keys")
    anchor, repeat, offset = (_as(int, group, key, "a group") for key in ("anchor", "repeat", "offset"))
    inner = group.get("groups") or []
    if not isinstance(inner, list) or (inner and anchor != 0):
        raise InputError(
            f"a group with groups inside has the anchor {anchor}, expected 0: programs differ in what else means",
            fix="Add the anchor to those of the groups inside.",
        )
    if repeat < 1 or (repeat > 1 and (offset < 1 or (repeat - 1) * offset >= n_sites)):
        raise InputError(f"a group is repeated {repeat} times at an offset of {offset}, among {n_sites} atoms")
    sites = [site for entry in inner for site in _place_sites(entry, n_sites)]
    for site in group.get("sites") or []:
        if not (isinstance(site, list) and len(site) == 2 and type(site[1]) is int):
            raise InputError(f"a group has the site {site}, expected [type, anchor]")
        sites.append((str(site[0]), site[1]))
    if len(sites) * repeat > n_sites:
        raise InputError(f"a group has {len(sites) * repeat} sites, more than the {n_sites} atoms")
    for copy in range(repeat):
        for name, start in sites:
            yield name, anchor + copy * offset + start


def _pool_equal_molecules(of_molecule: dict[int, list[BeadDefinition]], topology: Topology) -> list[MoleculeBeads]:
    definitions: dict[str, MoleculeBeads] = {}
    for kind in group_equal_molecules(topology):
        for molecule in topology.molecule_index[kind.sites[:, 0]].tolist():
            beads = tuple(of_molecule.get(molecule, ()))
            if kind.name in definitions and definitions[kind.name].beads != beads:
                raise InputError(f"two molecules '{kind.name}' get different sites, expected the same in all of them")
            if beads:
                definitions.setdefault(kind.name, MoleculeBeads(name=kind.name, beads=beads))
    return list(definitions.values())


def _as(kind: type, section: dict[str, Any], key: str, where: str = "the file") -> Any:
    if type(section.get(key)) is not kind:
        names = {dict: "a section of keys", list: "a list", int: "a whole number"}
        raise InputError(f"'{key}' of {where} is {section.get(key)!r}, expected {names[kind]}")
    return section[key]


# Backward


def _read_backward(content: bytes, _: Topology) -> list[MoleculeBeads]:
    """Read residues with one line per atom: number, name, and the beads that the atom belongs to.

    An atom of several beads is shared among them in the proportion in which they are named; `!` before a bead lets the
    atom belong to it without weight. Beads are at the centre of mass.
    Source: T. A. Wassenaar et al., J. Chem. Theory Comput. 10, 676 (2014), doi 10.1021/ct400617g.
    """
    definitions: list[MoleculeBeads] = []
    section, name, order = "", "", list[str]()
    atoms: list[tuple[str, list[str]]] = []
    lines = content.decode("utf-8", errors="replace").splitlines()
    for line in [*lines, "[ molecule ]"]:
        words = line.split(";")[0].split()
        if not words:
            continue
        if words[0].startswith("["):
            section = "".join(words).strip("[]").lower()
            if section == "molecule" and name:
                definitions.append(_collect_backward(name, order, atoms))
                name, order, atoms = "", [], []
        elif section == "molecule" and not name:
            name = words[0]
        elif section == "martini":
            order += words
        elif section == "atoms":
            if len(words) < 2 or not name:
                raise InputError(f"the line '{line.strip()}' is not 'number atom bead ...' of a [ molecule ]")
            atoms.append((words[1], words[2:]))
    if not definitions:
        raise InputError("the file has no [ molecule ], expected a mapping in the format of Backward")
    return definitions


def _collect_backward(name: str, order: list[str], atoms: list[tuple[str, list[str]]]) -> MoleculeBeads:
    named = dict.fromkeys([*order, *(word.lstrip("!") for _, words in atoms for word in words)])
    beads = []
    for bead in named:
        members = [(atom, words) for atom, words in atoms if bead in [word.lstrip("!") for word in words]]
        counts = [Counter(words) for _, words in members]
        beads.append(
            BeadDefinition(
                name=bead,
                atoms=tuple(atom for atom, _ in members),
                factors=tuple(count[bead] / sum(count.values()) for count in counts),
            )
        )
    return MoleculeBeads(name=name, beads=tuple(beads))


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} are '{value}', expected numbers")
    return number


_READERS: dict[str, Callable[[bytes, Topology], list[MoleculeBeads]]] = {
    ".xml": _read_votca,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".map": _read_backward,
}
