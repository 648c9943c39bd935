"""Kinetic temperature of trajectories with velocities."""

import numpy as np
from jaxtyping import Float

from beadsmith.errors import InputError
from beadsmith.trajectory import Trajectory
from beadsmith.units import GAS_CONSTANT


def kinetic_temperatures(trajectory: Trajectory, *, degrees_of_freedom: int) -> Float[np.ndarray, "frames"]:
    """Return T = Σ m v² / (n k) of each frame [K].

    Raises
    ------
    InputError : the trajectory has no velocities.
    """
    velocities = _require_velocities(trajectory)
    twice_energy = np.einsum("s,fsx->f", trajectory.topology.masses, velocities**2)
    return twice_energy / (degrees_of_freedom * GAS_CONSTANT)


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
