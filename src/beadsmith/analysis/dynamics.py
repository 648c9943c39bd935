"""Motion: kinetic temperature, mean-square displacement and diffusion coefficient.

A coarse-grained model moves faster than its reference because the friction of the removed atoms is gone; the ratio
of the diffusion coefficients says by how much, and so how to read its time axis.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.analysis.distribution import Measurement
from beadsmith.errors import InputError
from beadsmith.statistics import mean_and_error
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory
from beadsmith.units import GAS_CONSTANT

_N_LAGS = 40
# a step above this fraction of the cell could as well be the shorter way round it
_LARGEST_STEP = 0.4


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


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """Mean-square displacement of the sites of one type."""

    lags: Float[np.ndarray, "lags"]
    """Time differences, from 0 [ps]."""
    mean_square: Float[np.ndarray, "lags"]
    """Mean over sites, time origins and blocks [nm²]."""
    standard_error: Float[np.ndarray, "lags"]
    """One standard error of `mean_square`, from the spread of the blocks [nm²]."""
    diffusion: Measurement
    """Diffusion coefficient [nm²/ps]: a sixth of the slope over `fit_window`."""
    fit_window: tuple[float, float]
    """First and last time difference of the fit [ps]."""


def unwrap_positions(trajectory: Trajectory) -> Float[np.ndarray, "frames sites 3"] | None:
    """Return positions that follow each site from frame to frame, or None where the frames are too far apart.

    Every step takes the nearest image. It is ambiguous, and None is returned, when any step is longer than 0.4 of the
    cell along one of its vectors. The frames must be of one segment and in time order.
    """
    positions = trajectory.positions.astype(np.float64)
    if trajectory.cell is None:
        return positions
    cell = trajectory.cell[1:].astype(np.float64)
    fractional = np.einsum("fsx,fxy->fsy", np.diff(positions, axis=0), np.linalg.inv(cell))
    fractional -= np.round(fractional)
    if np.abs(fractional).max(initial=0.0) > _LARGEST_STEP:
        return None
    steps = np.einsum("fsx,fxy->fsy", fractional, cell)
    return positions[:1] + np.concatenate([np.zeros_like(positions[:1]), np.cumsum(steps, axis=0)])


def mean_square_displacement(
    positions: Float[np.ndarray, "frames sites 3"], lags: np.ndarray
) -> Float[np.ndarray, "lags sites"]:
    """Return <|x(t + lag) − x(t)|²> of each site over all time origins, for lags in frames."""
    rows = [
        np.sum((positions[lag:] - positions[: len(positions) - lag]) ** 2, axis=2).mean(axis=0) for lag in lags.tolist()
    ]
    return np.array(rows)


def measure_displacements(
    blocks: list[Trajectory], *, fit_start: float = 1.0
) -> tuple[dict[str, Displacement], str | None]:
    """Return displacement and diffusion coefficient of each site type, and a reason where there is none.

    Each block gives its own mean-square displacement for lags up to half the shortest block, and its own slope; means
    and errors are over blocks. The result is not corrected for the finite box, which slows diffusion by
    2.837 kT/(6 π η L): B. Dünweg and K. Kremer, J. Chem. Phys. 99, 6983 (1993).

    Parameters
    ----------
    blocks : Contiguous blocks of equal spacing, none of which crosses a segment.
    fit_start : Shortest lag of the fit [ps], beyond the ballistic motion; at most half of the longest lag.
    """
    # the stump of a replica that stopped early would shorten the lags of all others
    enough = max((block.n_frames for block in blocks), default=0) // 2
    blocks = [block for block in blocks if block.n_frames >= enough]
    longest = min((block.n_frames for block in blocks), default=0) // 2
    if longest < 4:
        return {}, "the blocks of frames are shorter than 8 frames"
    steps = np.concatenate([np.diff(block.times) for block in blocks])
    spacing = float(np.median(steps))
    if np.abs(steps - spacing).max() > 1e-3 * spacing:
        return {}, "the frames are not equally spaced in time"
    lags = np.unique(np.linspace(0, longest, _N_LAGS + 1).round().astype(np.int64))
    curves = []
    for block in blocks:
        unwrapped = unwrap_positions(block)
        if unwrapped is None:
            return {}, "the frames are too far apart in time to follow a site through the periodic boundary"
        curves.append(mean_square_displacement(unwrapped, lags))
    return fit_displacements(np.array(curves), lags * spacing, blocks[0].topology, fit_start=fit_start), None


def fit_displacements(
    curves: Float[np.ndarray, "blocks lags sites"],
    lags: Float[np.ndarray, "lags"],
    topology: Topology,
    *,
    fit_start: float = 1.0,
) -> dict[str, Displacement]:
    """Return the displacement record of each type from the curves of blocks; see `measure_displacements`."""
    first = min(fit_start, 0.5 * float(lags[-1]))
    window = lags >= first - 1e-9
    records = {}
    for index, name in enumerate(topology.type_names):
        chosen = topology.types == index
        if not chosen.any():
            continue
        per_block = curves[:, :, chosen].mean(axis=2)
        slopes = [float(np.polyfit(lags[window], curve[window], 1)[0]) / 6.0 for curve in per_block]
        value, error = mean_and_error(slopes)
        mean, standard_error = mean_and_error(per_block)
        records[name] = Displacement(
            lags=lags,
            mean_square=mean,
            standard_error=standard_error,
            diffusion=Measurement(
                value=float(value), standard_error=float(error), unit="nm^2/ps", n_samples=len(slopes)
            ),
            fit_window=(float(lags[window][0]), float(lags[-1])),
        )
    return records


def _require_velocities(trajectory: Trajectory) -> Float[np.ndarray, "frames sites 3"]:
    if trajectory.velocities is None:
        raise InputError(
            "the trajectory has no velocities, so it has no kinetic temperature",
            fix="Save velocities in the simulation.",
        )
    return trajectory.velocities.astype(np.float64)
