"""Kinetic temperature of trajectories with velocities."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri

from beadsmith.errors import InputError
from beadsmith.trajectory import Trajectory
from beadsmith.units import GAS_CONSTANT

_CHANCE = 1e-3


def kinetic_temperatures(trajectory: Trajectory, *, degrees_of_freedom: int) -> Float[np.ndarray, "frames"]:
    """Return T = Σ m v² / (n k) of each frame [K].

    Raises
    ------
    InputError : the trajectory has no velocities.
    """
    velocities = _require_velocities(trajectory)
    twice_energy = np.einsum("s,fsx->f", trajectory.topology.masses, velocities**2)
    return twice_energy / (degrees_of_freedom * GAS_CONSTANT)


def find_hottest_frame(series: dict[str, np.ndarray], degrees_of_freedom: int, temperature: float) -> dict[str, Any]:
    """Return the highest kinetic temperature of any frame, and the highest that chance makes likely [K].

    Of f degrees of freedom, f T/T₀ is distributed as χ². A few beads are often at twice the target, so the limit of
    chance is the value that one run of as many frames in a thousand exceeds.

    Parameters
    ----------
    series : ``time`` [ps] and ``kinetic_temperature`` [K] of each frame.
    degrees_of_freedom : Number of free momenta.
    temperature : Target [K].
    """
    values = series["kinetic_temperature"]
    place = int(np.argmax(values))
    expected = float(chdtri(degrees_of_freedom, _CHANCE / len(values))) / degrees_of_freedom
    return {
        "value": float(values[place]),
        "unit": "K",
        "time": {"value": float(series["time"][place]), "unit": "ps"},
        "by_chance": {"value": temperature * expected, "unit": "K"},
        "degrees_of_freedom": degrees_of_freedom,
    }


def count_degrees_of_freedom(trajectory: Trajectory) -> int:
    """Return the number of momenta that are free in these frames.

    That is 3 per site, minus the constraints, minus 3 where the total momentum stands still: its mean square is then
    below a thousandth of the thermal M kT (a run whose centre of mass was held has rounding noise there).

    Raises
    ------
    InputError : the trajectory has no velocities.
    """
    topology = trajectory.topology
    momentum = np.einsum("s,fsx->fx", topology.masses, _require_velocities(trajectory))
    thermal = topology.total_mass * GAS_CONSTANT * trajectory.state_point.temperature
    is_held = float(np.mean(momentum**2)) < 1e-3 * thermal
    return 3 * topology.n_sites - len(topology.constraints) - (3 if is_held else 0)


def _require_velocities(trajectory: Trajectory) -> Float[np.ndarray, "frames sites 3"]:
    if trajectory.velocities is None:
        raise InputError(
            "the trajectory has no velocities, so it has no kinetic temperature",
            fix="Save velocities in the simulation.",
        )
    return trajectory.velocities.astype(np.float64)
