"""Kinetic temperature of velocities that were drawn at a known one."""

import numpy as np
import pytest

from beadsmith.analysis.temperature import count_degrees_of_freedom, kinetic_temperatures
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
