"""Topology files of simulation programs, read by MDAnalysis: names, masses, residues, bonds.

GROMACS TPR, GRO, TOP and ITP, PDB, PSF, AMBER parm7, LAMMPS data, DeePMD type.raw and beadsmith's own store. Nothing is
guessed here: what a file does not say stays None.
"""

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.frame_files import FileSites, damaged, file_size
from beadsmith.io.h5md import open_trajectory
from beadsmith.topology import Topology

_PARSERS = {
    ".tpr": ("MDAnalysis.topology.TPRParser", "TPRParser"),
    ".gro": ("MDAnalysis.topology.GROParser", "GROParser"),
    ".pdb": ("MDAnalysis.topology.PDBParser", "PDBParser"),
    ".ent": ("MDAnalysis.topology.PDBParser", "PDBParser"),
    ".psf": ("MDAnalysis.topology.PSFParser", "PSFParser"),
    ".parm7": ("MDAnalysis.topology.TOPParser", "TOPParser"),
    ".prmtop": ("MDAnalysis.topology.TOPParser", "TOPParser"),
    ".itp": ("MDAnalysis.topology.ITPParser", "ITPParser"),
    ".data": ("MDAnalysis.topology.LAMMPSParser", "DATAParser"),
}
_OTHERS = (".top", ".raw", ".h5")

_ATOM_STYLES = {
    "full": "id resid type charge x y z",
    "molecular": "id resid type x y z",
    "bond": "id resid type x y z",
    "angle": "id resid type x y z",
    "charge": "id type charge x y z",
    "atomic": "id type x y z",
}
"""Columns of the section Atoms of a LAMMPS data file (docs.lammps.org/read_data.html)."""


def read_topology_file(path: Path) -> FileSites:
    """Return what a topology file says about its sites.

    Raises
    ------
    InputError : the file is missing, of an unknown format, or cannot be read.
    """
    file_size(path)
    suffix = path.suffix.lower()
    if suffix == ".top":
        suffix = ".parm7" if path.read_bytes()[:8] == b"%VERSION" else ".itp"
    if suffix == ".raw":
        return _read_types(path)
    if suffix == ".h5":
        with open_trajectory(path) as stored:
            return sites_of(stored.topology)
    if suffix not in _PARSERS:
        raise InputError(
            f"the format of the topology '{path}' is not known",
            fix=f"Known endings: {', '.join((*_PARSERS, *_OTHERS))}.",
        )
    if suffix == ".itp":
        with _with_found_includes(path) as complete:
            return _parse(path, suffix, complete)
    return _parse(path, suffix, path, **({"atom_style": _atom_style(path)} if suffix == ".data" else {}))


def sites_of(topology: Topology) -> FileSites:
    """Return the sites of a topology as those of a file."""
    return FileSites(
        names=topology.names,
        types=tuple(topology.type_names[kind] for kind in topology.types.tolist()),
        elements=topology.elements,
        masses=topology.masses,
        molecules=topology.molecule_index,
        residue_index=topology.residue_index,
        residue_names=topology.residue_names,
        bonds=topology.bonds,
        constraints=topology.constraints,
    )


def _parse(path: Path, suffix: str, source: Path, **options: Any) -> FileSites:
    from importlib import import_module

    module, name = _PARSERS[suffix]
    try:
        with warnings.catch_warnings():
            # MDAnalysis warns about what a file lacks; what is needed is asked for below
            warnings.simplefilter("ignore")
            with getattr(import_module(module), name)(str(source)) as parser:
                parsed = parser.parse(**options)
    except Exception as error:
        # the parsers raise whatever their first unexpected line leads to
        raise damaged(path, f"MDAnalysis says: {error}") from error

    def values(attribute: str) -> np.ndarray | None:
        return getattr(parsed, attribute).values if hasattr(parsed, attribute) else None

    names, types, masses = values("names"), values("types"), values("masses")
    # the parser of ITP files guesses elements from type names, which the masses know better
    elements = None if suffix == ".itp" else values("elements")
    residue_names, numbers = values("resnames"), values("molnums")
    molecules = None
    if numbers is not None and suffix == ".tpr":
        molecules = np.asarray(numbers, dtype=np.int64)
        if len(molecules) != parsed.n_atoms:
            molecules = molecules[parsed.tt.atoms2residues(np.arange(parsed.n_atoms))]
    bonds = getattr(parsed, "bonds", None)
    has_bonds = bonds is not None and (len(bonds.values) > 0 or suffix in (".tpr", ".parm7", ".prmtop", ".psf"))
    labels = names if names is not None else types
    if labels is None:
        raise damaged(path, "it names no atoms")
    return FileSites(
        names=tuple(str(label) for label in labels),
        types=None if types is None else tuple(str(kind) for kind in types),
        elements=tuple(str(element).capitalize() for element in elements)
        if elements is not None and all(str(element).strip() for element in elements)
        else None,
        masses=None if masses is None or not np.any(np.asarray(masses) > 0.0) else np.asarray(masses, dtype=np.float64),
        molecules=molecules,
        residue_index=None
        if residue_names is None
        else np.asarray(parsed.tt.atoms2residues(np.arange(parsed.n_atoms)), dtype=np.int64),
        residue_names=None if residue_names is None else tuple(str(residue) for residue in residue_names),
        bonds=np.array(bonds.values, dtype=np.int64).reshape(-1, 2) if bonds is not None and has_bonds else None,
    )


@contextmanager
def _with_found_includes(path: Path) -> Iterator[Path]:
    """Give a copy of a GROMACS topology without the included files that are not here.

    The force field's files are often only on the machine that ran the simulation; atoms, bonds and molecules are in
    the topology itself.
    """

    def find(match: re.Match[str]) -> str:
        found = path.parent / match[1]
        return f'#include "{found.resolve()}"' if found.is_file() else f"; not found: {match[1]}"

    text = re.sub(r'^\s*#include\s+"([^"]+)".*$', find, path.read_text(errors="replace"), flags=re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(text)
        yield copy


def _atom_style(path: Path) -> str:
    """Return the columns of the section Atoms of a LAMMPS data file, from its comment or its only possible meaning."""
    with path.open(errors="replace") as file:
        lines = iter(file)
        header = next((line for line in lines if re.match(r"\s*Atoms\b", line)), None)
        first = next((line.split("#")[0].split() for line in lines if line.split("#")[0].strip()), [])
    if header is None:
        raise damaged(path, "a LAMMPS data file has a section 'Atoms'")
    stated = header.partition("#")[2].strip()
    by_width = {7: "full", 10: "full", 5: "atomic", 8: "atomic"}
    style = stated or by_width.get(len(first), "")
    if style not in _ATOM_STYLES:
        raise InputError(
            f"the atom style of '{path}' is {f'{stated!r}' if stated else 'not stated'}, "
            f"expected one of: {', '.join(_ATOM_STYLES)}",
            fix="Write the style behind the section's name: 'Atoms # molecular'.",
        )
    return _ATOM_STYLES[style]


def _read_types(path: Path) -> FileSites:
    """Read the type of each atom from DeePMD's type.raw, and the names of the types from type_map.raw beside it."""
    table = path.with_name("type_map.raw")
    try:
        kinds = [int(word) for word in path.read_text().split()]
        names = table.read_text().split() if table.is_file() else []
    except ValueError as error:
        raise damaged(path, "a type.raw holds one whole number for each atom") from error
    if not names:
        raise InputError(
            f"'{path}' has no 'type_map.raw' beside it, so its types have no names",
            fix="Write the names of the types, in order, into that file.",
        )
    if max(kinds) >= len(names):
        raise damaged(path, f"it has type {max(kinds)}, but 'type_map.raw' names {len(names)} types")
    labels = tuple(names[kind] for kind in kinds)
    return FileSites(names=labels, elements=labels)
