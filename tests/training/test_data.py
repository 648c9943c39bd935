"""Splits that do not leak, and frames whose constant parts are computed once."""

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs
from beadsmith.training.data import (
    check_labels,
    group_rows,
    load_example,
    prepare_frames,
    segment_labels,
    select_rows,
    shuffle_batches,
    split_by_use,
)
from example_force_matching import CUTOFF, make_labelled_liquid, make_wall
from example_trajectories import make_trajectory

FRACTIONS = {"validation_fraction": 0.1, "test_fraction": 0.2}


def make_frames(n_frames, **fields):
    """Return a trajectory of three beads, to be split."""
    return make_trajectory(np.zeros((n_frames, 3, 3)), forces=np.ones((n_frames, 3, 3), dtype=np.float32), **fields)


def test_the_last_fifth_is_for_testing_and_the_tenth_before_it_for_validation():
    split = split_by_use((make_frames(500),), **FRACTIONS)
    assert split.train[:, 1].tolist() == list(range(350))
    assert split.validation[:, 1].tolist() == list(range(350, 400))
    assert split.test[:, 1].tolist() == list(range(400, 500))


def test_each_segment_is_divided_for_itself_into_contiguous_blocks():
    segment = np.repeat([4, 2], [60, 40])
    data = (make_frames(100, segment=segment), make_frames(50))
    split = split_by_use(data, **FRACTIONS)
    for rows, share in ((split.train, 0.7), (split.validation, 0.1), (split.test, 0.2)):
        labels = segment_labels(data, rows)
        assert [int(np.sum(labels == label)) for label in range(3)] == [round(share * n) for n in (40, 60, 50)]
        for label in range(3):
            assert np.all(np.diff(rows[labels == label, 1]) == 1)


def test_no_frame_is_used_twice_and_none_is_lost():
    data = (make_frames(37, segment=np.repeat([0, 1], [8, 29])), make_frames(23))
    split = split_by_use(data, **FRACTIONS)
    rows = np.concatenate([split.train, split.validation, split.test]).tolist()
    assert sorted(rows) == [[0, f] for f in range(37)] + [[1, f] for f in range(23)]


def test_segments_too_short_to_divide_are_for_training():
    data = (make_frames(39, segment=np.repeat([0, 1], [9, 30])),)
    split = split_by_use(data, **FRACTIONS)
    assert np.all(split.validation[:, 1] >= 9)
    assert set(range(9)) <= set(split.train[:, 1].tolist())


def test_too_few_frames_are_refused():
    with pytest.raises(InputError, match="too few"):
        split_by_use((make_frames(20),), **FRACTIONS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((), "at least one"),
        ((make_trajectory(np.zeros((2, 3, 3))),), "no forces"),
        ((make_trajectory(np.zeros((2, 3, 3)), forces=np.full((2, 3, 3), np.nan, dtype=np.float32)),), "not finite"),
        ((make_frames(2), make_frames(2, type_names=("other",))), "bead types"),
        ((make_frames(2, weight=np.ones(2)),), "weights"),
    ],
)
def test_labels_that_cannot_be_matched_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        check_labels(data, tuple(f"{n}.h5" for n in range(len(data))))


def test_one_type_with_two_masses_is_refused():
    light, heavy = make_frames(2), make_frames(2)
    heavy.topology.masses[:] = 50.0
    with pytest.raises(InputError, match=r"two masses.*1\.h5"):
        check_labels((light, heavy), ("0.h5", "1.h5"))


def test_targets_are_labels_minus_prior_forces():
    trajectory = make_labelled_liquid(0, n_frames=2, noise=10.0)
    frames = prepare_frames((trajectory,), [make_wall()], cutoff=0.5, memory_limit=1.0, dtype=torch.float64)
    batch = build_batch(trajectory, np.array([1]), dtype=torch.float64)
    prior = predict_prior([make_wall()], batch, find_pairs(batch, CUTOFF)).forces.numpy()
    # labels are stored in float32
    np.testing.assert_allclose(frames.targets[0][1] + prior, trajectory.forces[1], rtol=1e-6, atol=1e-4)


def test_many_frames_at_once_are_prepared_like_each_alone():
    trajectory = make_labelled_liquid(2, n_frames=100, noise=10.0)
    together = prepare_frames((trajectory,), [make_wall()], cutoff=0.45, memory_limit=1.0)
    for frame in (0, 31, 99):
        alone = prepare_frames(
            (trajectory.select(slice(frame, frame + 1)),), [make_wall()], cutoff=0.45, memory_limit=1.0
        )
        np.testing.assert_array_equal(together.targets[0][frame], alone.targets[0][0])
        for field in ("index", "row_offsets", "half", "shifts", "bond_class"):
            assert torch.equal(getattr(together.pairs[0, frame], field), getattr(alone.pairs[0, 0], field)), field


@pytest.mark.parametrize("memory_limit", [1.0, 1e-9])
def test_stored_and_fresh_neighbours_are_those_of_the_joint_batch(memory_limit):
    trajectory = make_labelled_liquid(1, n_frames=4)
    frames = prepare_frames((trajectory,), [], cutoff=0.55, memory_limit=memory_limit)
    assert (frames.pairs is None) == (memory_limit < 1e-6)
    example = load_example(frames, np.array([[0, 3], [0, 1]]))
    batch = build_batch(trajectory, np.array([3, 1]))
    expected = find_pairs(batch, 0.55)
    assert torch.equal(example.batch.positions, batch.positions)
    for field in ("index", "row_offsets", "half", "shifts", "bond_class"):
        assert torch.equal(getattr(example.pairs, field), getattr(expected, field)), field
    np.testing.assert_array_equal(example.targets.numpy(), trajectory.forces[[3, 1]].reshape(-1, 3))


def test_frames_of_a_small_open_molecule_share_one_list_and_others_keep_their_own():
    cutoff = 0.8
    positions = 0.4 * np.random.default_rng(0).random((4, 3, 3))
    positions[2, 0] += 10.0 * cutoff
    trajectory = make_trajectory(positions, forces=np.ones_like(positions))
    assert trajectory.cell is None
    frames = prepare_frames((trajectory,), [], cutoff=cutoff, memory_limit=1.0)
    assert frames.pairs[0, 0] is frames.pairs[0, 1] is frames.pairs[0, 3]
    assert frames.pairs[0, 2] is not frames.pairs[0, 0]
    example = load_example(frames, np.array([[0, 3], [0, 2], [0, 1]]))
    expected = find_pairs(build_batch(trajectory, np.array([3, 2, 1])), cutoff)
    for field in ("index", "row_offsets", "half", "shifts", "bond_class"):
        assert torch.equal(getattr(example.pairs, field), getattr(expected, field)), field


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_hold_every_row_once_and_never_mix_trajectories(batch_size):
    rows = np.array([[0, f] for f in range(11)] + [[1, f] for f in range(6)])
    batches = shuffle_batches(rows, batch_size, torch.Generator().manual_seed(0))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    assert all(len(batch) <= batch_size and len(set(batch[:, 0])) == 1 for batch in batches)


@pytest.mark.parametrize("max_sites", [1, 12, 10_000])
def test_groups_hold_every_place_once_and_never_mix_trajectories(max_sites):
    rows = np.array([[1, 3], [0, 1], [1, 2], [0, 0], [1, 1]])
    groups = group_rows((make_frames(5), make_frames(5)), rows, max_sites=max_sites)
    assert sorted(np.concatenate(groups).tolist()) == list(range(5))
    assert all(len(set(rows[group, 0])) == 1 for group in groups)
    # frames of three sites
    assert max(len(group) for group in groups) == min(3, max(1, max_sites // 3))


def test_shuffling_depends_on_nothing_but_the_generator():
    rows = np.array([[0, f] for f in range(50)])
    first, second = (shuffle_batches(rows, 2, torch.Generator().manual_seed(7)) for _ in range(2))
    generator = torch.Generator().manual_seed(7)
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
    shuffle_batches(rows, 2, generator)
    assert not np.array_equal(np.concatenate(first), np.concatenate(shuffle_batches(rows, 2, generator)))


def test_selected_rows_keep_only_trajectories_that_have_any():
    data = (make_frames(5), make_frames(6), make_frames(7))
    chosen = select_rows(data, np.array([[0, 1], [0, 2], [2, 6]]))
    assert [trajectory.times.tolist() for trajectory in chosen] == [data[0].times[1:3].tolist(), [data[2].times[6]]]
