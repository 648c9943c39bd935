"""Diffusion of motions whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.displacement import (
    available_lag,
    cut_into_blocks,
    mean_square_displacement,
    measure_displacements,
    unwrap_positions,
)
from example_trajectories import make_random_walk, make_trajectory


def measure(trajectory, *, fit_window=(1.0, 4.0)):
    """Return the displacement records of a trajectory in memory."""
    segment = np.zeros(trajectory.n_frames, dtype=np.int64) if trajectory.segment is None else trajectory.segment
    pieces = cut_into_blocks(trajectory.times, segment, longest_lag=fit_window[1])
    return measure_displacements((trajectory.select(piece) for piece in pieces), fit_window=fit_window)


def test_uniform_motion_through_the_boundary_is_unwrapped_exactly():
    times = np.arange(30.0)
    velocity = np.array([0.31, -0.2, 0.05])
    positions = np.array([[0.1, 0.2, 0.3]]) + times[:, None, None] * velocity
    trajectory = make_trajectory(positions % 1.0, cell=np.eye(3))
    np.testing.assert_allclose(unwrap_positions(trajectory), positions, atol=1e-5)


def test_sites_that_move_with_a_changing_cell_stand_still():
    """Continuous positions some cells away breathe with the cell by more than any step of their own."""
    generator = np.random.default_rng(11)
    edges = 2.0 + generator.normal(0.0, 0.02, 40)
    fractions = generator.random((5, 3)) + np.array([30.0, -20.0, 0.0])
    steps = np.cumsum(generator.normal(0.0, 0.002, (40, 5, 3)), axis=0)
    bare = make_trajectory(np.zeros((40, 5, 3)), cell=np.eye(3))
    cells = edges[:, None, None] * np.eye(3)
    positions = (fractions + steps) * edges[:, None, None]
    trajectory = replace(bare, positions=positions.astype(np.float32), cell=cells.astype(np.float32))
    walked = unwrap_positions(trajectory)
    expected = np.cumsum(np.diff(steps, axis=0) * edges[1:, None, None], axis=0)
    # float32 positions of 60 nm carry 4e-6 nm each
    np.testing.assert_allclose(walked[1:] - walked[:1], expected, atol=5e-5)


def test_unwrapping_is_refused_where_a_step_could_be_the_other_way_round():
    positions = np.array([[[0.1, 0.1, 0.1]], [[0.55, 0.1, 0.1]]])
    assert unwrap_positions(make_trajectory(positions, cell=np.eye(3))) is None


def test_mean_square_displacement_equals_the_double_sum():
    positions = np.random.default_rng(3).normal(size=(12, 3, 3))
    found = mean_square_displacement(positions, np.array([0, 1, 5]))
    for row, lag in enumerate((0, 1, 5)):
        slow = np.mean([np.sum((positions[t + lag] - positions[t]) ** 2, axis=1) for t in range(12 - lag)], axis=0)
        np.testing.assert_allclose(found[row], slow)


def test_random_walk_gives_back_its_diffusion_coefficient_within_3_standard_errors():
    sigmas = []
    for seed in range(6):
        records, reason = measure(make_random_walk(np.random.default_rng(seed), diffusion=2.2e-3))
        assert reason is None
        found = records["bead"].diffusion
        # 100 beads, 80 ps: a few per cent
        assert found.standard_error < 0.06 * 2.2e-3
        sigmas.append((found.value - 2.2e-3) / found.standard_error)
    # mean of 6 values of Student's t with 9 degrees of freedom
    assert abs(np.mean(sigmas)) < 3.0 / np.sqrt(len(sigmas)) * np.sqrt(9.0 / 7.0)


def test_error_bar_of_the_diffusion_coefficient_is_calibrated():
    sigmas = []
    for seed in range(30):
        records, _ = measure(make_random_walk(np.random.default_rng(seed), diffusion=1e-3, n_beads=10))
        sigmas.append((records["bead"].diffusion.value - 1e-3) / records["bead"].diffusion.standard_error)
    # Student's t with 9 degrees of freedom: mean square 1.29, known to 0.5 from 30 values
    assert 0.4 < np.mean(np.square(sigmas)) < 2.6


def test_each_type_of_a_mixture_has_its_own_diffusion_coefficient():
    generator = np.random.default_rng(4)
    slow = make_random_walk(generator, diffusion=1e-3, n_beads=60)
    fast = make_random_walk(generator, diffusion=4e-3, n_beads=60)
    both = make_trajectory(
        np.concatenate([slow.positions, fast.positions], axis=1),
        cell=np.eye(3) * 3.0,
        types=[0] * 60 + [1] * 60,
        type_names=("slow", "fast"),
    )
    records, _ = measure(both)
    assert records["slow"].diffusion.value == pytest.approx(1e-3, abs=3.5 * records["slow"].diffusion.standard_error)
    assert records["fast"].diffusion.value == pytest.approx(4e-3, abs=3.5 * records["fast"].diffusion.standard_error)


def test_blocks_never_cross_a_segment_and_hold_twice_the_longest_lag():
    times, segment = np.tile(0.2 * np.arange(100), 2), np.repeat([3, 5], 100)
    blocks = cut_into_blocks(times, segment, longest_lag=4.0)
    assert [len(block) for block in blocks] == [50, 50, 50, 50]
    assert all(len(np.unique(segment[block])) == 1 for block in blocks)


def test_the_stump_of_a_stopped_replica_is_left_out():
    times, segment = 0.2 * np.arange(105), np.repeat([0, 1], [100, 5])
    blocks = cut_into_blocks(times, segment, longest_lag=4.0)
    assert [len(block) for block in blocks] == [50, 50]


@pytest.mark.parametrize(
    ("lengths", "lag"),
    [((400,), 4.0), ((120, 120), 4.0), ((100,), 2.0), ((30, 30), 1.0), ((100, 10), 2.0), ((3,), 0.0), ((1,), 0.0)],
)
def test_lags_are_as_long_as_five_blocks_allow(lengths, lag):
    times = np.concatenate([0.2 * np.arange(n) for n in lengths])
    segment = np.repeat(np.arange(len(lengths)), lengths)
    found = available_lag(times, segment, wanted=4.0)
    assert found == pytest.approx(lag)
    assert found == 0.0 or len(cut_into_blocks(times, segment, longest_lag=found)) >= 5


def test_only_so_many_blocks_are_read_of_a_long_run():
    blocks = cut_into_blocks(0.2 * np.arange(100_000), np.zeros(100_000, dtype=np.int64), longest_lag=4.0)
    assert len(blocks) == 200
    assert blocks[0][0] == 0
    assert blocks[-1][-1] == 99_999


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.arange(0, 200, 20), "too short"),
        (np.array([0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13]), "not equally spaced"),
        (np.arange(0, 400, 10), "too far apart"),
    ],
)
def test_where_there_is_no_diffusion_coefficient_the_reason_is_given(frames, reason):
    walk = make_random_walk(np.random.default_rng(8), diffusion=0.05, edge=2.0)
    window = (0.4, 1.0) if reason != "too far apart" else (4.0, 10.0)
    records, found = measure_displacements([walk.select(frames)], fit_window=window)
    assert records == {}
    assert reason in found
