"""Molecules as the force-field file names them: atoms, elements, masses and bonds of every residue template.

Read without OpenMM, so that a configuration can be checked in milliseconds.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OPLS_AA = Path(__file__).parent / "force_fields" / "oplsaa.xml"
"""OPLS-AA of Jorgensen, Maxwell and Tirado-Rives (1996) for the molecules that a user can name."""


@dataclass(frozen=True, kw_only=True)
class Residue:
    """One molecule of the force-field file."""

    name: str
    """Name that users write, for example ``"methanol"``."""
    atom_names: tuple[str, ...]
    """Unique name of each atom."""
    type_names: tuple[str, ...]
    """Force-field type of each atom, for example ``"opls_157"``."""
    elements: tuple[str, ...]
    """Chemical element of each atom."""
    masses: tuple[float, ...]
    """Mass of each atom [u]."""
    bonds: tuple[tuple[int, int], ...]
    """Bonded pairs of atoms, numbered within the residue."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atom_names)

    @property
    def mass(self) -> float:
        """Sum of the atom masses [u]."""
        return sum(self.masses)


@cache
def read_residues(path: Path = OPLS_AA) -> dict[str, Residue]:
    """Return all residues of a force-field file by name, in the order of the file."""
    root = ElementTree.parse(path).getroot()
    types = {element.attrib["name"]: element.attrib for element in root.iterfind("AtomTypes/Type")}
    residues = {}
    for element in root.iterfind("Residues/Residue"):
        atoms = [atom.attrib for atom in element.iterfind("Atom")]
        names = tuple(atom["name"] for atom in atoms)
        residues[element.attrib["name"]] = Residue(
            name=element.attrib["name"],
            atom_names=names,
            type_names=tuple(atom["type"] for atom in atoms),
            elements=tuple(types[atom["type"]]["element"] for atom in atoms),
            masses=tuple(float(types[atom["type"]]["mass"]) for atom in atoms),
            bonds=tuple(
                (names.index(bond.attrib["atomName1"]), names.index(bond.attrib["atomName2"]))
                for bond in element.iterfind("Bond")
            ),
        )
    return residues
