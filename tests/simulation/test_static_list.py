"""Neighbour lists of fixed shape against the ordinary search."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.neighbors import find_pairs
from beadsmith.simulation.static_list import drop_padding, list_pairs, make_room, plan_search, search_pairs
from example_systems import CELLS, make_batch

# wide enough for four boxes of 0.4 nm along each vector
LARGE = np.array([[2.1, 0.0, 0.0], [0.4, 2.0, 0.0], [-0.3, 0.5, 1.9]])


def place(cell, *, n_sites=60, n_systems=2, seed=0):
    """Return replicas of random points, some of them outside the cell."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(-0.7, 1.6, size=(n_systems * n_sites, 3))
    return make_batch(spread @ (np.eye(3) if cell is None else cell), cell, n_systems=n_systems)


def chain(batch, length):
    """Return the batch with its sites joined to chains."""
    index = torch.arange(batch.n_sites)
    bonds = torch.stack([index[:-1], index[1:]], dim=1)
    return replace(batch, molecule_index=index // length, bonds=bonds[bonds[:, 1] % length != 0])


def as_set(pairs):
    """Return all pairs with their shifts and classes, in one order."""
    columns = torch.cat([pairs.index.T.double(), pairs.shifts.double(), pairs.bond_class[:, None].double()], dim=1)
    return sorted(map(tuple, columns.tolist()))


@pytest.mark.parametrize("name", [*CELLS, None])
@pytest.mark.parametrize(("cutoff", "skin"), [(0.5, 0.2), (1.4, 0.3)])
def test_the_search_finds_the_same_pairs_in_any_cell(name, cutoff, skin):
    batch = place(None if name is None else CELLS[name], n_sites=70 if name is None else 20)
    plan = plan_search(batch, cutoff, skin)
    assert as_set(drop_padding(plan, search_pairs(plan, batch.positions))) == as_set(find_pairs(batch, cutoff + skin))


def test_search_boxes_find_the_same_pairs_as_all_sites():
    batch = place(LARGE, n_sites=120)
    plan = plan_search(batch, 0.3, 0.1)
    assert plan.grid == (5, 4, 4)
    assert as_set(drop_padding(plan, search_pairs(plan, batch.positions))) == as_set(find_pairs(batch, 0.4))


@pytest.mark.parametrize("cell", [None, CELLS["triclinic"], 3.0 * CELLS["triclinic"]])
def test_bond_classes_are_those_of_the_ordinary_search(cell):
    rng = np.random.default_rng(3)
    # chains of six that are whole, in a cell of less than twice the reach, and in a large one
    steps = rng.normal(scale=0.06, size=(12, 6, 3)).cumsum(axis=1)
    starts = rng.uniform(size=(12, 1, 3)) @ (np.eye(3) if cell is None else cell)
    batch = chain(make_batch((starts + steps).reshape(-1, 3), cell, n_systems=2), 6)
    plan = plan_search(batch, 1.0, 0.2)
    expected = find_pairs(batch, 1.2 if cell is not None else 100.0)
    assert set(expected.bond_class.tolist()) == {0, 1, 2, 3, 4}
    assert as_set(drop_padding(plan, search_pairs(plan, batch.positions))) == as_set(expected)


def test_half_list_holds_each_pair_once():
    batch = place(CELLS["triclinic"], n_sites=15)
    plan = plan_search(batch, 1.5, 0.2)
    pairs = drop_padding(plan, search_pairs(plan, batch.positions))
    assert 2 * len(pairs.half) == pairs.n_pairs
    assert torch.equal(pairs.row_offsets, find_pairs(batch, 1.7).row_offsets)


def test_small_open_systems_keep_all_pairs_for_ever():
    plan = plan_search(place(None, n_sites=10), 0.5, 0.2)
    assert plan.is_permanent
    assert plan.capacity == 9


@pytest.mark.parametrize("grid", [False, True])
def test_too_little_room_is_counted_and_can_be_made(grid):
    batch = place(LARGE, n_sites=120)
    plan = plan_search(batch, 0.3, 0.1)
    plan = replace(plan, capacity=2, box_capacity=2) if grid else replace(plan, capacity=2, grid=None)
    found = search_pairs(plan, batch.positions)
    assert int(found.most_pairs) > plan.capacity
    # a first try may not know all pairs, because the boxes lost sites
    for _ in range(2):
        plan = make_room(plan, search_pairs(plan, batch.positions))
    assert as_set(drop_padding(plan, search_pairs(plan, batch.positions))) == as_set(find_pairs(batch, 0.4))


def test_a_whole_list_is_found_however_little_room_the_plan_has():
    batch = place(LARGE, n_sites=120)
    plan = replace(plan_search(batch, 0.3, 0.1), capacity=1, box_capacity=1)
    assert as_set(list_pairs(plan, batch.positions)) == as_set(find_pairs(batch, 0.4))


def test_padding_points_from_a_site_to_itself():
    batch = place(LARGE, n_sites=40)
    plan = plan_search(batch, 0.3, 0.1)
    found = search_pairs(plan, batch.positions)
    first = torch.arange(len(found.second)) // plan.capacity
    unused = ~found.is_used
    assert unused.any()
    assert torch.equal(found.second[unused], first[unused])
    assert not found.shifts[unused].any()
