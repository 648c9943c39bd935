"""Temperature and diffusion of motions whose answer is known."""

import numpy as np
import pytest

from beadsmith.analysis.dynamics import (
    count_degrees_of_freedom,
    kinetic_temperatures,
    mean_square_displacement,
    measure_displacements,
    unwrap_positions,
)
from beadsmith.errors import InputError
from beadsmith.statistics import block_edges
from example_trajectories import TEMPERATURE, make_ideal_gas, make_random_walk, make_trajectory


def cut_into_blocks(trajectory, n_blocks=10):
    return [trajectory.select(block) for block in block_edges(trajectory.n_frames, n_blocks, trajectory.segment)]


def test_thermal_velocities_have_the_temperature_they_were_drawn_at():
    trajectory = make_ideal_gas(np.random.default_rng(0), n_frames=400, n_beads=50)
    degrees = count_degrees_of_freedom(trajectory)
    series = kinetic_temperatures(trajectory, degrees_of_freedom=degrees)
    assert degrees == 150
    assert series.mean() == pytest.approx(TEMPERATURE, abs=3.0 * series.std() / np.sqrt(len(series)))
    # closed form: the relative spread of the temperature is sqrt(2 / n)
    assert series.std() == pytest.approx(TEMPERATURE * np.sqrt(2.0 / degrees), rel=0.12)


def test_a_held_centre_of_mass_takes_three_degrees_of_freedom():
    trajectory = make_ideal_gas(np.random.default_rng(1), n_frames=50, n_beads=10)
    velocities = trajectory.velocities - trajectory.velocities.mean(axis=1, keepdims=True)
    held = make_trajectory(trajectory.positions, cell=np.eye(3) * 2.0, velocities=velocities)
    assert count_degrees_of_freedom(held) == 27


def test_a_trajectory_without_velocities_has_no_temperature():
    trajectory = make_random_walk(np.random.default_rng(2), diffusion=0.001, n_frames=4)
    with pytest.raises(InputError, match="no velocities"):
        count_degrees_of_freedom(trajectory)


def test_uniform_motion_through_the_boundary_is_unwrapped_exactly():
    times = np.arange(30.0)
    velocity = np.array([0.31, -0.2, 0.05])
    positions = np.array([[0.1, 0.2, 0.3]]) + times[:, None, None] * velocity
    trajectory = make_trajectory(positions % 1.0, cell=np.eye(3))
    np.testing.assert_allclose(unwrap_positions(trajectory), positions, atol=1e-5)


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
        trajectory = make_random_walk(np.random.default_rng(seed), diffusion=2.2e-3)
        records, reason = measure_displacements(cut_into_blocks(trajectory))
        assert reason is None
        found = records["bead"].diffusion
        # 100 beads, 80 ps: a few per cent
        assert found.standard_error < 0.06 * 2.2e-3
        sigmas.append((found.value - 2.2e-3) / found.standard_error)
    assert abs(np.mean(sigmas)) < 3.0 / np.sqrt(len(sigmas)) * np.sqrt(9.0 / 7.0)


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
    records, _ = measure_displacements(cut_into_blocks(both))
    assert records["slow"].diffusion.value == pytest.approx(1e-3, abs=3.5 * records["slow"].diffusion.standard_error)
    assert records["fast"].diffusion.value == pytest.approx(4e-3, abs=3.5 * records["fast"].diffusion.standard_error)


def test_time_lags_never_cross_a_segment():
    first = make_random_walk(np.random.default_rng(5), diffusion=1e-3, n_frames=100)
    second = make_random_walk(np.random.default_rng(6), diffusion=1e-3, n_frames=100)
    joined = make_trajectory(
        np.concatenate([first.positions, second.positions]),
        cell=np.eye(3) * 3.0,
        times=np.tile(first.times, 2),
        segment=np.repeat([0, 1], 100),
    )
    records, reason = measure_displacements(cut_into_blocks(joined))
    assert reason is None
    assert records["bead"].diffusion.value == pytest.approx(1e-3, abs=4.0 * records["bead"].diffusion.standard_error)


def test_the_stump_of_a_stopped_replica_does_not_shorten_the_lags():
    whole = make_random_walk(np.random.default_rng(7), diffusion=1e-3, n_frames=100)
    records, _ = measure_displacements([whole, whole.select(slice(0, 5))])
    assert records["bead"].lags[-1] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        (lambda walk: [walk.select(slice(0, 6))], "shorter than 8 frames"),
        (lambda walk: [walk.select(np.array([0, 1, 2, 5, 6, 7, 8, 9, 10]))], "not equally spaced"),
        (lambda walk: [walk.select(slice(None, None, 40))], "too far apart"),
    ],
)
def test_where_there_is_no_diffusion_coefficient_the_reason_is_given(blocks, reason):
    walk = make_random_walk(np.random.default_rng(8), diffusion=0.05, edge=2.0)
    records, found = measure_displacements(blocks(walk))
    assert records == {}
    assert reason in found
