"""Bonds, angles and dihedrals between the beads of a molecule, derived from the bonds between its atoms."""

import numpy as np
from jaxtyping import Bool, Int


def derive_bonds(
    members: Bool[np.ndarray, "beads atoms"], atom_bonds: Int[np.ndarray, "bonds 2"]
) -> Int[np.ndarray, "_bead_bonds 2"]:
    """Return the pairs of beads that are bonded.

    Every atom belongs to the bead that is the fewest bonds away (the first of several), its own bead first; two beads
    are bonded where a bond joins an atom of the one to an atom of the other. So the alpha carbons of neighbouring
    residues are bonded, although the atoms between them are in no bead.
    """
    owner = _nearest_bead(members, atom_bonds)
    pairs = {
        (min(first, second), max(first, second))
        for first, second in owner[atom_bonds].tolist()
        if first != second and min(first, second) >= 0
    }
    # beads that share an atom are joined, too
    shared = members[:, members.sum(axis=0) > 1]
    for atom in range(shared.shape[1]):
        beads = np.flatnonzero(shared[:, atom]).tolist()
        pairs |= {(first, second) for first in beads for second in beads if first < second}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def derive_angles(bonds: Int[np.ndarray, "bonds 2"]) -> Int[np.ndarray, "_angles 3"]:
    """Return all i-j-k with bonds i-j and j-k, each once (i < k)."""
    neighbours = _neighbours(bonds)
    angles = [
        (first, centre, last)
        for centre, around in sorted(neighbours.items())
        for first in around
        for last in around
        if first < last
    ]
    return np.array(angles, dtype=np.int64).reshape(-1, 3)


def derive_dihedrals(bonds: Int[np.ndarray, "bonds 2"]) -> Int[np.ndarray, "_dihedrals 4"]:
    """Return all i-j-k-l along bonds with four different beads, each once (j < k)."""
    neighbours = _neighbours(bonds)
    dihedrals = [
        (first, j, k, last)
        for j, k in sorted((min(pair), max(pair)) for pair in bonds.tolist())
        for first in neighbours[j]
        for last in neighbours[k]
        if first != k and last != j and first != last
    ]
    return np.array(dihedrals, dtype=np.int64).reshape(-1, 4)


def _neighbours(bonds: Int[np.ndarray, "bonds 2"]) -> dict[int, list[int]]:
    found: dict[int, set[int]] = {}
    for first, second in bonds.tolist():
        found.setdefault(first, set()).add(second)
        found.setdefault(second, set()).add(first)
    return {site: sorted(others) for site, others in found.items()}


def _nearest_bead(
    members: Bool[np.ndarray, "beads atoms"], atom_bonds: Int[np.ndarray, "bonds 2"]
) -> Int[np.ndarray, "atoms"]:
    """Return the bead of each atom, or -1 where no bond leads to any."""
    owner = np.where(members.any(axis=0), members.argmax(axis=0), -1).astype(np.int64)
    neighbours = _neighbours(atom_bonds)
    front = np.flatnonzero(owner >= 0).tolist()
    while front:
        claims: dict[int, int] = {}
        for atom in front:
            for other in neighbours.get(atom, ()):
                if owner[other] < 0:
                    claims[other] = min(claims.get(other, int(owner[atom])), int(owner[atom]))
        for other, bead in claims.items():
            owner[other] = bead
        front = sorted(claims)
    return owner
