"""Kinetic temperature of velocities that were drawn at a known one."""

import numpy as np
import pytest

from beadsmith.analysis.temperature import count_degrees_of_freedom, find_hottest_frame, kinetic_temperatures
from beadsmith.errors import InputError
from example_trajectories import TEMPERATURE, make_ideal_gas, make_random_walk, make_trajectory


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


@pytest.mark.parametrize(("degrees", "n_frames"), [(3, 1000), (18, 20_000)])
def test_the_hottest_frame_of_thermal_velocities_is_one_that_chance_explains(degrees, n_frames):
    generator = np.random.default_rng(3)
    # f T/T0 is a sum of f squares of normal numbers; in a thousandth of all runs the hottest is beyond the limit
    values = TEMPERATURE * (generator.normal(size=(n_frames, degrees)) ** 2).mean(axis=1)
    found = find_hottest_frame({"time": np.arange(n_frames), "kinetic_temperature": values}, degrees, TEMPERATURE)
    assert found["value"] == values.max()
    assert found["time"]["value"] == values.argmax()
    # a few beads are at twice the target by chance alone
    assert 2.0 * TEMPERATURE < found["value"] < found["by_chance"]["value"]


def test_chance_makes_a_liquid_hardly_hotter_than_its_target():
    series = {"time": np.arange(1000), "kinetic_temperature": np.full(1000, TEMPERATURE)}
    assert find_hottest_frame(series, 900, TEMPERATURE)["by_chance"]["value"] < 1.3 * TEMPERATURE
