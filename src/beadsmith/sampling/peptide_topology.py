"""The topology record of a peptide, with or without its water, from OpenMM's."""

import itertools

import numpy as np
import openmm
from openmm import app
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from beadsmith.topology import Topology


def build_peptide_topology(topology: app.Topology, system: openmm.System, *, n_saved: int | None = None) -> Topology:
    """Return the topology of the first atoms of an OpenMM topology, with true masses.

    Angles and dihedrals are all chains of two and three bonds, whether or not the force field has a term for them;
    impropers are the force field's periodic torsions that are no such chains. A site's type is its residue and name.

    Parameters
    ----------
    topology : Atoms, residues and bonds.
    system : System of the same atoms: its constraints are listed.
    n_saved : Number of atoms to keep, from the first; all if None. No bond may cross the border.
    """
    atoms = list(topology.atoms())[:n_saved]
    residues = list(dict.fromkeys(atom.residue for atom in atoms))
    residue_of = {residue: index for index, residue in enumerate(residues)}
    site_types = [f"{atom.residue.name}-{atom.name}" for atom in atoms]
    type_names = tuple(dict.fromkeys(site_types))
    number_of = {name: index for index, name in enumerate(type_names)}
    bonds = _sort_pairs([(bond[0].index, bond[1].index) for bond in topology.bonds()], len(atoms))
    constraints = [tuple(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())]
    angles, dihedrals = _list_chains(bonds, len(atoms))
    return Topology(
        names=tuple(atom.name for atom in atoms),
        types=np.array([number_of[name] for name in site_types], dtype=np.int64),
        type_names=type_names,
        elements=tuple(atom.element.symbol for atom in atoms),
        masses=np.array([atom.element.mass._value for atom in atoms]),
        molecule_index=_number_molecules(bonds, len(atoms)),
        residue_index=np.array([residue_of[atom.residue] for atom in atoms], dtype=np.int64),
        residue_names=tuple(residue.name for residue in residues),
        bonds=bonds,
        angles=angles,
        dihedrals=dihedrals,
        impropers=_list_impropers(system, dihedrals, len(atoms)),
        constraints=_sort_pairs(constraints, len(atoms)),
    )


def _sort_pairs(pairs: list[tuple[int, int]], n_atoms: int) -> np.ndarray:
    kept = {(min(pair), max(pair)) for pair in pairs if max(pair) < n_atoms}
    return np.array(sorted(kept), dtype=np.int64).reshape(-1, 2)


def _list_chains(bonds: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all chains of three and of four bonded atoms, each once."""
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    angles = [(i, j, k) for j in range(n_atoms) for i, k in itertools.combinations(sorted(neighbours[j]), 2)]
    dihedrals = [
        (i, j, k, m)
        for j, k in bonds.tolist()
        for i in sorted(neighbours[j])
        for m in sorted(neighbours[k])
        if i != k and m != j and i != m
    ]
    return np.array(angles, dtype=np.int64).reshape(-1, 3), np.array(dihedrals, dtype=np.int64).reshape(-1, 4)


def _list_impropers(system: openmm.System, dihedrals: np.ndarray, n_atoms: int) -> np.ndarray:
    proper = {tuple(row) for row in dihedrals.tolist()} | {tuple(row[::-1]) for row in dihedrals.tolist()}
    found: dict[tuple[int, ...], None] = {}
    for force in system.getForces():
        if isinstance(force, openmm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                row = tuple(force.getTorsionParameters(k)[:4])
                if row not in proper and max(row) < n_atoms:
                    found[row] = None
    return np.array(list(found), dtype=np.int64).reshape(-1, 4)


def _number_molecules(bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Return the molecule of each atom, numbered in the order of their first atoms."""
    graph = csr_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n_atoms, n_atoms))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
