"""GROMACS keeps atoms in the box: molecules made whole again, and followed across its faces from frame to frame."""

import numpy as np
from jaxtyping import Float

from beadsmith.geometry import build_spanning_tree, fractional_coordinates, make_whole
from beadsmith.topology import Topology


class Unwrapper:
    """Where each molecule was, so that the next frame can go on from there."""

    def __init__(
        self, topology: Topology, positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
    ) -> None:
        """Begin with whole molecules.

        Parameters
        ----------
        topology : Molecules and bonds.
        positions : Positions [nm] of whole molecules, anywhere.
        cell : Cell vectors as rows [nm].

        Raises
        ------
        InputError : a molecule is not connected by bonds.
        """
        self.positions = positions
        """Positions of the last frame [nm], molecules whole, not wrapped into the cell."""
        self._firsts = np.searchsorted(topology.molecule_index, topology.molecule_index)
        self._tree = _build_tree(topology)
        self._fractions = fractional_coordinates(positions[None], cell[None])[0][self._firsts]

    def unwrap(
        self, positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
    ) -> Float[np.ndarray, "atoms 3"]:
        """Return the positions of the next frame [nm]: molecules whole, at the image nearest to where they were.

        Nearest in units of the cell, so that a volume that changes moves no molecule to another image.

        Parameters
        ----------
        positions : Positions [nm], each atom in any image.
        cell : Cell vectors of this frame [nm].
        """
        whole = make_whole(positions[None], cell[None], self._tree)[0]
        fractions = fractional_coordinates(whole[None], cell[None])[0][self._firsts]
        shifts = np.round(self._fractions - fractions)
        self._fractions = fractions + shifts
        self.positions = whole + shifts @ cell.astype(np.float64)
        return self.positions


def _build_tree(topology: Topology) -> tuple[np.ndarray, ...]:
    """Return the spanning trees of all molecules, generation by generation."""
    molecule_index = topology.molecule_index
    n_molecules = int(molecule_index[-1]) + 1
    starts = np.searchsorted(molecule_index, np.arange(n_molecules + 1))
    bonds_of = np.searchsorted(molecule_index[topology.bonds[:, 0]], np.arange(n_molecules + 1))
    generations: list[list[np.ndarray]] = []
    for molecule in range(n_molecules):
        start = starts[molecule]
        bonds = topology.bonds[bonds_of[molecule] : bonds_of[molecule + 1]] - start
        for depth, edges in enumerate(build_spanning_tree(int(starts[molecule + 1] - start), bonds)):
            if depth == len(generations):
                generations.append([])
            generations[depth].append(edges + start)
    return tuple(np.concatenate(edges) for edges in generations)
