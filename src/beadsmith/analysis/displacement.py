"""How far sites travel: mean-square displacement and diffusion coefficient.

A coarse-grained model moves faster than its reference because the friction of the removed atoms is gone; the ratio
of the diffusion coefficients says by how much, and so how to read its time axis.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.geometry import fractional_coordinates
from beadsmith.statistics import mean_and_error
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory

_N_LAGS = 40
_SHORTEST_LAG = 4
_MOST_BLOCKS = 200
# fewer give an error bar that is itself uncertain by half
_FEWEST_BLOCKS = 5
# a step above this fraction of the cell could as well be the shorter way round it
_LARGEST_STEP = 0.4


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
    cell along one of its vectors. Where the cell changes, steps are those in units of its vectors: sites that move with
    the cell stand still. The frames must be of one segment and in time order.
    """
    positions = trajectory.positions.astype(np.float64)
    if trajectory.cell is None:
        return positions
    cell = trajectory.cell[1:].astype(np.float64)
    fractional = np.diff(fractional_coordinates(positions, trajectory.cell.astype(np.float64)), axis=0)
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


def available_lag(times: Float[np.ndarray, "frames"], segment: Int[np.ndarray, "frames"], *, wanted: float) -> float:
    """Return the longest lag [ps], up to the wanted one, that leaves five blocks of twice its length."""
    lengths = np.unique(segment, return_counts=True)[1]
    spacing = _spacing(times, segment)
    # longer blocks than that cannot be five
    frames = min(_to_frames(wanted, spacing), int(lengths.sum()) // (2 * _FEWEST_BLOCKS))
    while frames > 0 and np.sum(lengths // (2 * frames)) < _FEWEST_BLOCKS:
        frames -= 1
    return frames * spacing


def cut_into_blocks(
    times: Float[np.ndarray, "frames"], segment: Int[np.ndarray, "frames"], *, longest_lag: float
) -> list[Int[np.ndarray, "block"]]:
    """Return contiguous blocks of twice the longest lag that never cross a segment, at most 200, evenly spread."""
    length = 2 * _to_frames(longest_lag, _spacing(times, segment))
    blocks = []
    for label in dict.fromkeys(segment.tolist()):
        frames = np.flatnonzero(segment == label)
        n_blocks = len(frames) // max(1, length)
        # the remainder of a segment goes into its blocks, so that no frame is wasted
        blocks += np.array_split(frames, n_blocks) if n_blocks and length else []
    chosen = np.unique(np.linspace(0, len(blocks) - 1, min(len(blocks), _MOST_BLOCKS)).round().astype(np.int64))
    return [blocks[number] for number in chosen.tolist()]


def measure_displacements(
    blocks: Iterable[Trajectory], *, fit_window: tuple[float, float]
) -> tuple[dict[str, Displacement], str | None]:
    """Return displacement and diffusion coefficient of each site type, and a reason where there is none.

    Each block gives its own mean-square displacement and its own slope over the window; means and errors are over
    blocks. The result is not corrected for the finite box, which slows diffusion by 2.837 kT/(6 π η L):
    B. Dünweg and K. Kremer, J. Chem. Phys. 99, 6983 (1993).

    Parameters
    ----------
    blocks : Blocks of frames of one segment each, see `cut_into_blocks`; read one after the other.
    fit_window : First and last lag of the fit [ps]; the first should lie beyond the ballistic motion.
    """
    curves: list[np.ndarray] = []
    spacing, lags = 0.0, np.zeros(0, dtype=np.int64)
    topology: Topology | None = None
    for block in blocks:
        if topology is None:
            topology, spacing = block.topology, float(np.median(np.diff(block.times)))
            longest = _to_frames(fit_window[1], spacing)
            if longest < _SHORTEST_LAG:
                return {}, f"the runs are too short: lags reach {longest * spacing:.3g} ps"
            lags = np.unique(np.linspace(0, longest, _N_LAGS + 1).round().astype(np.int64))
        if np.abs(np.diff(block.times) - spacing).max() > 1e-3 * spacing:
            return {}, "the frames are not equally spaced in time"
        unwrapped = unwrap_positions(block)
        if unwrapped is None:
            return {}, "the frames are too far apart in time to follow a site through the periodic boundary"
        curves.append(mean_square_displacement(unwrapped, lags))
    if topology is None:
        return {}, "the runs are too short"
    return _fit_displacements(np.array(curves), lags * spacing, topology, fit_start=fit_window[0]), None


def _fit_displacements(
    curves: Float[np.ndarray, "blocks lags sites"],
    lags: Float[np.ndarray, "lags"],
    topology: Topology,
    *,
    fit_start: float,
) -> dict[str, Displacement]:
    """Return the displacement record of each type from the curves of blocks."""
    window = lags >= fit_start - 1e-9
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


def _spacing(times: np.ndarray, segment: np.ndarray) -> float:
    """Return the usual time between neighbouring frames of one segment [ps]; 0 where there are none."""
    steps = np.diff(times)[np.diff(segment) == 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _to_frames(lag: float, spacing: float) -> int:
    return int(lag / spacing + 1e-6) if spacing > 0.0 else 0
