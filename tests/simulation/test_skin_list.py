"""The Verlet-skin list: complete as long as it says so, and canonical after the cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.neighbors import build_skin_list, find_pairs, is_covering, pair_vectors, pairs_within, renew_skin_list
from example_systems import CELLS, make_batch

CUTOFF, SKIN = 0.8, 0.2


@pytest.fixture
def batch():
    cell = CELLS["triclinic"]
    return make_batch(np.random.default_rng(1).random((40, 3)) @ cell, cell)


@pytest.mark.parametrize("seed", range(5))
def test_a_covering_list_cut_to_the_cutoff_equals_a_fresh_list(batch, seed):
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    direction = np.random.default_rng(seed).normal(size=(40, 3))
    moved = batch.positions + 0.499 * SKIN * torch.tensor(direction / np.linalg.norm(direction, axis=1)[:, None])
    batch = replace(batch, positions=skin_list.reference + 0.998 * (moved - skin_list.reference))
    assert is_covering(skin_list, batch)
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, skin_list.pairs)
    cut, _ = pairs_within(skin_list.pairs, vectors, CUTOFF)
    fresh = find_pairs(batch, CUTOFF)
    assert torch.equal(cut.index, fresh.index)
    assert torch.equal(cut.shifts, fresh.shifts)


def test_one_site_beyond_half_the_skin_ends_the_list(batch):
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    moved = batch.positions.clone()
    moved[17, 1] += 0.5 * SKIN
    assert not is_covering(skin_list, replace(batch, positions=moved))


def test_a_position_that_is_not_finite_is_never_covered(batch):
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    moved = batch.positions.clone()
    moved[3, 0] = torch.nan
    assert not is_covering(skin_list, replace(batch, positions=moved))


def test_a_changed_cell_ends_the_list(batch):
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    assert is_covering(skin_list, replace(batch, cell=batch.cell.clone()))
    assert not is_covering(skin_list, replace(batch, cell=1.001 * batch.cell))


def test_a_force_field_without_pair_terms_needs_no_pairs(batch):
    skin_list = build_skin_list(batch, 0.0, SKIN)
    assert skin_list.pairs.n_pairs == 0
    assert is_covering(skin_list, batch)


def test_a_skin_that_is_not_positive_is_refused(batch):
    with pytest.raises(InputError, match="skin is 0"):
        build_skin_list(batch, CUTOFF, 0.0)


def test_a_small_open_system_keeps_all_its_pairs_for_ever():
    positions = np.random.default_rng(4).random((6, 3))
    batch = make_batch(positions)
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    assert skin_list.pairs.n_pairs == 6 * 5
    far = make_batch(40.0 * positions)
    # a site that moved far is still noticed: the guard of a simulation looks at such steps only
    assert not is_covering(skin_list, far)
    renewed = renew_skin_list(skin_list, far, CUTOFF)
    assert renewed.pairs is skin_list.pairs
    assert is_covering(renewed, far)


def test_a_list_of_a_box_is_found_anew():
    batch = make_batch(np.random.default_rng(5).random((6, 3)), np.eye(3) * 3.0)
    skin_list = build_skin_list(batch, CUTOFF, SKIN)
    assert renew_skin_list(skin_list, batch, CUTOFF).pairs is not skin_list.pairs
