"""The atoms behind the beads of one molecule: what each bead is chemically, and which stereocentres the beads show."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from beadsmith.analysis.graph_symmetry import list_neighbours, refine_until_stable

_FEWEST_BRANCHES = 3
"""Branches of a stereocentre that beads must stand for: three of four tell the hand."""


@dataclass(frozen=True, kw_only=True)
class AtomGraph:
    """One molecule of the atomistic reference and its beads; atoms are counted within the molecule."""

    names: tuple[str, ...]
    """Atoms as NUMBER:RESIDUE:NAME."""
    elements: tuple[str, ...]
    """Element of each atom, or anything that tells elements apart."""
    bonds: Int[np.ndarray, "bonds 2"]
    """Bonded pairs of atoms."""
    members: tuple[tuple[int, ...], ...]
    """Atoms of each bead."""


def read_atom_graph(molecule: dict[str, Any]) -> AtomGraph | None:
    """Return the atoms of one molecule kind from the metadata of a mapped trajectory, or None if they are not there."""
    atoms = molecule.get("atoms")
    if atoms is None:
        return None
    return AtomGraph(
        names=tuple(atoms["names"]),
        elements=tuple(atoms["elements"]),
        bonds=np.array(atoms["bonds"], dtype=np.int64).reshape(-1, 2),
        members=tuple(tuple(row) for row in atoms["members"]),
    )


def label_beads(atoms: AtomGraph) -> tuple[Hashable, ...]:
    """Return what each bead is chemically: equal for beads whose atoms look the same in the whole molecule."""
    colors = refine_until_stable(atoms.elements, atoms.bonds)
    return tuple(tuple(sorted(colors[atom] for atom in row)) for row in atoms.members)


def find_stereocentres(atoms: AtomGraph) -> tuple[int, ...]:
    """Return the atoms with four bonds to four different branches.

    Branches differ where refined colours do. Limit: a ring whose two ways round differ by the hands of other centres
    alone is taken for two equal branches.
    """
    neighbours = list_neighbours(len(atoms.elements), atoms.bonds)
    colors = refine_until_stable(atoms.elements, atoms.bonds)
    return tuple(
        atom
        for atom, around in enumerate(neighbours)
        if len(around) == 4 and len({colors[other] for other in around}) == 4
    )


def find_lost_stereocentres(atoms: AtomGraph, bead_bonds: Int[np.ndarray, "bead_bonds 2"]) -> tuple[int, ...]:
    """Return the stereocentres whose hand the beads cannot show.

    A hand is shown where the bead of the centre, or the nearest to it, is bonded to beads in three of the four
    branches.

    Parameters
    ----------
    atoms : The atoms and their beads.
    bead_bonds : Bonded pairs of beads.
    """
    neighbours = list_neighbours(len(atoms.elements), atoms.bonds)
    bead_neighbours = list_neighbours(len(atoms.members), bead_bonds)
    lost = []
    for centre in find_stereocentres(atoms):
        branch = _spread(neighbours[centre], neighbours, {centre})
        owner = _find_owner(centre, neighbours, atoms.members)
        shown = set()
        for bead in () if owner is None else bead_neighbours[owner]:
            # a bead may hold atoms of several branches: that of most of them counts
            branches = [branch[atom] for atom in atoms.members[bead] if atom in branch]
            shown |= {max(sorted(set(branches)), key=branches.count)} if branches else set()
        if len(shown) < _FEWEST_BRANCHES:
            lost.append(centre)
    return tuple(lost)


def _spread(starts: list[int], neighbours: list[list[int]], closed: set[int]) -> dict[int, int]:
    """Return the nearest of some atoms for every atom, along bonds that avoid the closed ones."""
    origin = {start: start for start in starts}
    front = deque(starts)
    while front:
        atom = front.popleft()
        for other in neighbours[atom]:
            if other not in origin and other not in closed:
                origin[other] = origin[atom]
                front.append(other)
    return origin


def _find_owner(atom: int, neighbours: list[list[int]], members: tuple[tuple[int, ...], ...]) -> int | None:
    """Return the bead of an atom, else the bead that is the fewest bonds away."""
    bead_of = {member: bead for bead, row in reversed(list(enumerate(members))) for member in row}
    seen, front = {atom}, [atom]
    while front:
        found = sorted(bead_of[site] for site in front if site in bead_of)
        if found:
            return found[0]
        front = [other for site in front for other in neighbours[site]]
        front = [other for other in dict.fromkeys(front) if other not in seen]
        seen |= set(front)
    return None
