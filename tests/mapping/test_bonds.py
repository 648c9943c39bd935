"""Bonds between beads follow the bonds between atoms, and angles and dihedrals follow the bonds between beads."""

import numpy as np

from beadsmith.mapping.bonds import derive_angles, derive_bonds, derive_dihedrals


def members_of(n_atoms, *beads):
    return np.array([[atom in bead for atom in range(n_atoms)] for bead in beads])


def chain(n_atoms):
    return np.array([(i, i + 1) for i in range(n_atoms - 1)])


def found(array):
    return [tuple(row) for row in array.tolist()]


def test_a_bond_between_their_atoms_joins_two_beads():
    assert found(derive_bonds(members_of(6, {0, 1}, {2, 3}, {4, 5}), chain(6))) == [(0, 1), (1, 2)]


def test_atoms_in_no_bead_belong_to_the_nearest():
    # beads on atoms 0, 3 and 6 of a chain of 7
    assert found(derive_bonds(members_of(7, {0}, {3}, {6}), chain(7))) == [(0, 1), (1, 2)]


def test_beads_that_share_an_atom_are_bonded():
    assert found(derive_bonds(members_of(3, {0, 1}, {1, 2}), chain(3))) == [(0, 1)]


def test_beads_of_separate_fragments_are_not_bonded():
    assert found(derive_bonds(members_of(4, {0, 1}, {2, 3}), np.array([(0, 1), (2, 3)]))) == []


def test_ring_of_four_has_four_angles_and_four_dihedrals():
    ring = np.array([(0, 1), (1, 2), (2, 3), (0, 3)])
    assert len(derive_angles(ring)) == 4
    dihedrals = found(derive_dihedrals(ring))
    assert len(dihedrals) == 4
    assert all(len(set(term)) == 4 for term in dihedrals)


def test_ring_of_three_has_no_dihedral():
    assert found(derive_dihedrals(np.array([(0, 1), (1, 2), (0, 2)]))) == []


def test_star_has_an_angle_for_each_pair_of_arms():
    assert found(derive_angles(np.array([(0, 3), (1, 3), (2, 3)]))) == [(0, 3, 1), (0, 3, 2), (1, 3, 2)]


def test_no_bonds_give_no_terms():
    nothing = np.zeros((0, 2), dtype=np.int64)
    assert derive_angles(nothing).shape == (0, 3)
    assert derive_dihedrals(nothing).shape == (0, 4)
