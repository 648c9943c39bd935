"""Where a peptide starts: a backbone drawn at random or with the same dihedrals throughout, or a PDB file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import openmm
from openmm import app, unit

from beadsmith.errors import InputError
from beadsmith.sampling.amino_acids import (
    BACKBONE_BASINS,
    Atoms,
    build_heavy_atoms,
    closest_contact,
    draw_backbone,
    list_missing_atoms,
)

Backbone = Literal["random", "extended", "helix"]
"""Backbones that are built."""

_UNIFORM = {"extended": (-140.0, 140.0), "helix": BACKBONE_BASINS["right-handed helix"]}
"""phi and psi of the starts that are not random [degrees]."""

_CLASH = 0.28
"""Distance of heavy atoms of residues that are not neighbours, below which a random start is drawn again [nm]."""

_DRAWS = 200
"""Random backbones tried for one start; the most open of them is taken if all clash."""


def build_backbone(residues: tuple[str, ...], start: Backbone, generator: np.random.Generator) -> app.Modeller:
    """Return the heavy atoms of a sequence with a backbone that is drawn, or the same for all residues.

    Parameters
    ----------
    residues : Three-letter codes, caps included.
    start : Which backbone.
    generator : Draws a random one.
    """
    if start == "random":
        chain = max(_draw_chains(residues, generator), key=lambda one: min(closest_contact(one), _CLASH))
    else:
        chain = build_heavy_atoms(residues, np.tile(_UNIFORM[start], (len(residues), 1)))
    return _join(residues, chain)


def read_structure(residues: tuple[str, ...], path: Path) -> app.Modeller:
    """Return the heavy atoms of a PDB file of a sequence, in the order in which `build_backbone` gives them.

    Raises
    ------
    InputError : the file is missing, incomplete or holds another peptide.
    """
    modeller = read_pdb(path)
    points = np.array(modeller.positions.value_in_unit(unit.nanometer))
    found = tuple(residue.name for residue in modeller.topology.residues())
    n_chains = modeller.topology.getNumChains()
    if found != residues or n_chains > 1:
        raise InputError(
            f"structures hold '{path}' with the residues {'-'.join(found)}"
            f"{f' in {n_chains} chains' if n_chains > 1 else ''}, but the sequence is {'-'.join(residues)}",
            fix="Use a structure of the same peptide with the same ends (termini: capped or charged).",
        )
    chain: Atoms = []
    built = build_heavy_atoms(residues, np.tile(_UNIFORM["extended"], (len(residues), 1)))
    for residue, expected in zip(modeller.topology.residues(), built, strict=True):
        atoms = {atom.name: points[atom.index] for atom in residue.atoms()}
        if atoms.keys() != expected.keys():
            wrong = [f"lacks {name}" for name in expected if name not in atoms]
            wrong += [f"has {name} besides" for name in atoms if name not in expected]
            raise InputError(
                f"residue {residue.name} {residue.id} {', '.join(wrong)}",
                where=f"file '{path}'",
                fix="Its heavy atoms must be those of the sequence; a last residue without cap has OXT.",
            )
        chain.append({name: atoms[name] for name in expected})
    return _join(residues, chain)


def read_pdb(path: Path) -> app.Modeller:
    """Return the heavy atoms of the first model of a PDB file, without water.

    Raises
    ------
    InputError : the file is missing, cannot be read, is empty, or an amino acid lacks heavy atoms.
    """
    if not path.is_file():
        raise InputError(f"pdb is '{path}', which is no file", fix="Check the path; it starts from the working folder.")
    try:
        structure = app.PDBFile(str(path))
    except Exception as error:  # OpenMM raises whatever its parser meets
        raise InputError(f"'{path}' cannot be read as a PDB file: {error}") from error
    modeller = app.Modeller(structure.topology, structure.positions)
    modeller.deleteWater()
    hydrogens = [atom for atom in modeller.topology.atoms() if atom.element is app.element.hydrogen]
    modeller.delete(hydrogens)
    if modeller.topology.getNumAtoms() == 0:
        raise InputError(f"'{path}' holds no atoms besides water and hydrogens")
    for residue in modeller.topology.residues():
        missing = list_missing_atoms(residue.name, {atom.name for atom in residue.atoms()})
        if missing:
            raise InputError(
                f"residue {residue.name} {residue.id} of chain '{residue.chain.id}' lacks the atoms "
                f"{', '.join(missing)}",
                where=f"file '{path}'",
                fix="Complete it first, for example with PDBFixer.",
            )
    return modeller


def _draw_chains(residues: tuple[str, ...], generator: np.random.Generator) -> Iterator[Atoms]:
    """Give random chains up to the first without a clash."""
    for _ in range(_DRAWS):
        chain = build_heavy_atoms(residues, draw_backbone(residues, generator))
        yield chain
        if closest_contact(chain) >= _CLASH:
            return


def _join(residues: tuple[str, ...], chain: Atoms) -> app.Modeller:
    """Return atoms and standard bonds of a chain."""
    topology = app.Topology()
    entry = topology.addChain()
    for code, atoms in zip(residues, chain, strict=True):
        residue = topology.addResidue(code, entry)
        for name in atoms:
            topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
    topology.createStandardBonds()
    points = np.array([point for atoms in chain for point in atoms.values()])
    return app.Modeller(topology, [openmm.Vec3(*point) for point in points.tolist()] * unit.nanometer)
