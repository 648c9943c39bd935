"""Rigid groups: sets of atoms that a simulation with constraints moves as one piece as far as forces are concerned.

A constrained simulation reports forces without the constraint forces. Only sums over whole rigid groups are free of
the missing part, so every atom of a group must enter a bead's force with the same weight.
"""

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Int
from scipy.sparse.csgraph import connected_components

from beadsmith.errors import InputError
from beadsmith.topology import MoleculeKind, Topology


def find_rigid_groups(topology: Topology) -> Int[np.ndarray, "sites"]:
    """Return the rigid group of each site: the connected components of the constraints, numbered by first site.

    Raises
    ------
    InputError : a constraint joins two molecules.
    """
    first, second = topology.constraints.T
    crossing = np.flatnonzero(topology.molecule_index[first] != topology.molecule_index[second])
    if len(crossing):
        i, j = topology.constraints[crossing[0]].tolist()
        raise InputError(
            f"the constraint between sites {i} ('{topology.names[i]}') and {j} ('{topology.names[j]}') "
            "joins two molecules",
            fix="Give both sites the same molecule_index, or remove the constraint.",
        )
    shape = (topology.n_sites, topology.n_sites)
    graph = sparse.coo_array((np.ones(len(first)), (first, second)), shape=shape)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def groups_in_molecule(groups: Int[np.ndarray, "sites"], molecules: MoleculeKind) -> Int[np.ndarray, "atoms"]:
    """Return the rigid groups of one molecule of a kind, renumbered from 0."""
    return np.unique(groups[molecules.sites[0]], return_inverse=True)[1].astype(np.int64)


def group_indicator(groups: Int[np.ndarray, "atoms"]) -> np.ndarray:
    """Return G (atoms, groups) with G_ia = 1 where atom i belongs to group a, else 0."""
    return (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
