"""Molecules are whole and vectors shortest in any periodic cell."""

import itertools

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.geometry import (
    build_spanning_tree,
    cell_widths,
    largest_extent,
    make_whole,
    minimum_image,
    wrap,
)
from example_systems import CELLS

# float64 rounding of vectors of a few nm, with a margin of 1000
ROUNDING = 1e-12

BRANCHED_BONDS = np.array([[3, 1], [0, 1], [1, 2], [4, 3], [0, 2]])


def chain_molecules(generator, n_frames, n_copies):
    """Return whole molecules of five sites (bonded as BRANCHED_BONDS) at random places."""
    steps = generator.normal(scale=0.05, size=(n_frames, n_copies, 5, 3))
    shape = np.cumsum(steps, axis=2)
    centre = generator.uniform(-5.0, 5.0, size=(n_frames, n_copies, 1, 3))
    return (centre + shape).reshape(n_frames, n_copies * 5, 3)


def repeat_tree(tree, n_copies):
    return tuple((np.arange(n_copies)[:, None, None] * 5 + edges).reshape(-1, 2) for edges in tree)


@pytest.mark.parametrize("name", CELLS)
def test_minimum_image_is_the_shortest_of_all_images(name):
    generator = np.random.default_rng(1)
    cell = np.broadcast_to(CELLS[name], (4, 3, 3))
    vectors = generator.uniform(-3.0, 3.0, size=(4, 200, 3))
    shifts = np.array(list(itertools.product(range(-4, 5), repeat=3))) @ CELLS[name]
    shortest = np.linalg.norm(vectors[:, :, None, :] + shifts, axis=-1).min(axis=-1)
    found = minimum_image(vectors, cell)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), shortest, atol=ROUNDING)


def test_minimum_image_differs_from_the_vector_by_whole_cell_vectors():
    vectors = np.random.default_rng(2).uniform(-9.0, 9.0, size=(1, 50, 3))
    cell = CELLS["triclinic"][None]
    shifts = (minimum_image(vectors, cell) - vectors) @ np.linalg.inv(cell)
    np.testing.assert_allclose(shifts, np.round(shifts), atol=ROUNDING)


def test_minimum_image_in_an_open_system_is_the_vector():
    vectors = np.array([[[5.0, 0.0, -7.0]]])
    np.testing.assert_array_equal(minimum_image(vectors, None), vectors)


def test_minimum_image_uses_the_cell_of_each_frame():
    vectors = np.array([[0.9, 0.0, 0.0], [0.9, 0.0, 0.0]])
    cell = np.stack([np.eye(3), 2.0 * np.eye(3)])
    np.testing.assert_allclose(minimum_image(vectors, cell)[:, 0], [-0.1, 0.9], atol=ROUNDING)


@pytest.mark.parametrize("name", CELLS)
def test_wrapped_positions_lie_in_the_cell_and_are_periodic_images(name):
    positions = np.random.default_rng(3).uniform(-20.0, 20.0, size=(3, 40, 3))
    cell = np.broadcast_to(CELLS[name], (3, 3, 3))
    wrapped = wrap(positions, cell)
    fractions = wrapped @ np.linalg.inv(cell)
    shifts = (wrapped - positions) @ np.linalg.inv(cell)
    assert fractions.min() >= -ROUNDING
    assert fractions.max() <= 1.0 + ROUNDING
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-11)


def test_widths_of_a_sheared_cell_are_smaller_than_its_edges():
    # a = (1,0,0), b = (1,1,0): the faces holding b and c are 1/sqrt(2) apart
    cell = np.array([[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 3.0]]])
    np.testing.assert_allclose(cell_widths(cell), [[np.sqrt(0.5), 1.0, 3.0]], atol=ROUNDING)


def test_spanning_tree_gives_every_site_but_the_root_one_parent_nearer_to_it():
    tree = build_spanning_tree(5, BRANCHED_BONDS)
    assert [sorted(edges[:, 1].tolist()) for edges in tree] == [[1, 2], [3], [4]]
    assert [sorted(set(edges[:, 0].tolist())) for edges in tree] == [[0], [1], [3]]


def test_spanning_tree_of_one_site_is_empty():
    assert build_spanning_tree(1, np.zeros((0, 2), dtype=np.int64)) == ()


def test_site_without_a_bond_path_is_named():
    with pytest.raises(InputError, match="site 2 of the molecule is not connected"):
        build_spanning_tree(4, np.array([[0, 1], [2, 3]]))


@pytest.mark.parametrize("name", CELLS)
def test_broken_molecules_become_whole(name):
    generator = np.random.default_rng(4)
    whole = chain_molecules(generator, n_frames=6, n_copies=7)
    cell = np.broadcast_to(CELLS[name], (6, 3, 3))
    # every atom goes to a random image of its own
    broken = whole + generator.integers(-2, 3, size=whole.shape).astype(float) @ CELLS[name]
    repaired = make_whole(broken, cell, repeat_tree(build_spanning_tree(5, BRANCHED_BONDS), 7))
    root = np.arange(0, 35, 5)
    np.testing.assert_array_equal(repaired[:, root], broken[:, root])
    shape = (whole.reshape(6, 7, 5, 3) - whole[:, root][:, :, None]).reshape(whole.shape)
    found = (repaired.reshape(6, 7, 5, 3) - repaired[:, root][:, :, None]).reshape(whole.shape)
    np.testing.assert_allclose(found, shape, atol=ROUNDING)


def test_extent_is_the_reach_as_a_fraction_of_the_cell():
    cell = np.stack([np.diag([1.0, 2.0, 4.0]), np.diag([2.0, 2.0, 2.0])])
    positions = np.array([[0.0, 0.0, 0.0], [0.3, 0.2, 0.0], [5.0, 5.0, 5.0], [5.0, 5.8, 5.0]])
    extent = largest_extent(np.stack([positions, positions]), cell, np.array([0, 2]))
    np.testing.assert_allclose(extent, [0.3, 0.4], atol=ROUNDING)
