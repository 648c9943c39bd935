"""Rigid groups are the connected components of the constraints."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.constraints import find_rigid_groups, group_indicator, groups_in_molecule
from beadsmith.topology import group_equal_molecules
from example_molecules import ALCOHOL, DIMER, build_topology


def test_atoms_without_constraints_are_groups_of_their_own():
    np.testing.assert_array_equal(find_rigid_groups(build_topology(DIMER, DIMER)), [0, 1, 2, 3])


def test_constrained_atoms_share_a_group():
    np.testing.assert_array_equal(find_rigid_groups(build_topology(DIMER, ALCOHOL)), [0, 1, 2, 3, 3])


def test_chained_constraints_make_one_group():
    water = ("water", ("O", "H", "H"), (16.0, 1.0, 1.0), ((0, 1), (0, 2)), ((1, 0), (0, 2)))
    np.testing.assert_array_equal(find_rigid_groups(build_topology(water, water)), [0, 0, 0, 1, 1, 1])


def test_groups_of_a_molecule_are_numbered_from_zero():
    topology = build_topology(DIMER, ALCOHOL, ALCOHOL)
    alcohol = group_equal_molecules(topology)[1]
    np.testing.assert_array_equal(groups_in_molecule(find_rigid_groups(topology), alcohol), [0, 1, 1])


def test_indicator_adds_up_the_atoms_of_each_group():
    forces = np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(forces @ group_indicator(np.array([1, 0, 1])), [10.0, 101.0])


def test_constraint_between_molecules_is_refused():
    topology = replace(build_topology(DIMER, DIMER), constraints=np.array([[1, 2]]))
    with pytest.raises(InputError, match=r"between sites 1 \('B'\) and 2 \('A'\) joins two molecules"):
        find_rigid_groups(topology)
