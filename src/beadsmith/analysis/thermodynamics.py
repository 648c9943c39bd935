"""Pressure from the molecular virial, and whether the potential energy still drifts."""

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.errors import InputError
from beadsmith.statistics import block_edges, mean_and_error
from beadsmith.trajectory import Trajectory
from beadsmith.units import thermal_energy


def pressures(trajectory: Trajectory) -> Float[np.ndarray, "frames"]:
    """Return the instantaneous molecular pressure P = n_molecules kT/V + tr(Ξ)/(3V) of each frame [kJ/mol/nm³].

    The ideal part takes the temperature of the state point, so that the noise of the velocities does not enter.

    Raises
    ------
    InputError : the trajectory has no virial or no cell.
    """
    if trajectory.virial is None:
        raise InputError("the trajectory has no virial, so it has no pressure", fix="Save virials in the simulation.")
    ideal = trajectory.topology.n_molecules * thermal_energy(trajectory.state_point.temperature)
    return (ideal + np.trace(trajectory.virial, axis1=1, axis2=2) / 3.0) / trajectory.volumes()


def measure_mean(
    series: Float[np.ndarray, "frames"],
    *,
    unit: str,
    n_blocks: int = 10,
    segment: Int[np.ndarray, "frames"] | None = None,
    weight: Float[np.ndarray, "frames"] | None = None,
) -> Measurement:
    """Return the mean of a correlated series with its block error.

    Source: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989).
    """
    weights = np.ones(len(series)) if weight is None else weight
    blocks = block_edges(len(series), min(n_blocks, len(series)), segment)
    means = [np.average(series[block], weights=weights[block]) for block in blocks if weights[block].sum() > 0.0]
    _, error = mean_and_error(means)
    return Measurement(
        value=float(np.average(series, weights=weights)),
        standard_error=float(error),
        unit=unit,
        n_samples=len(means),
    )


def measure_drift(
    series: Float[np.ndarray, "frames"],
    *,
    unit: str,
    n_blocks: int = 10,
    segment: Int[np.ndarray, "frames"] | None = None,
) -> Measurement | None:
    """Return how much the mean of the second half of every segment exceeds that of the first half.

    Each half is cut into blocks for the error. None when a segment is too short for two blocks in each half.
    """
    labels = np.zeros(len(series), dtype=np.int64) if segment is None else segment
    segments = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    per_half = max(2, n_blocks // (2 * max(1, len(segments))))
    differences, variances = [], []
    for frames in segments:
        if len(frames) < 2 * per_half:
            return None
        halves = np.array_split(series[frames], 2)
        means, errors = zip(*(_blocked(half, per_half) for half in halves), strict=True)
        differences.append(means[1] - means[0])
        variances.append(errors[0] ** 2 + errors[1] ** 2)
    n_segments = len(segments)
    return Measurement(
        value=float(np.mean(differences)),
        standard_error=float(np.sqrt(np.sum(variances)) / n_segments),
        unit=unit,
        n_samples=2 * per_half * n_segments,
    )


def _blocked(series: np.ndarray, n_blocks: int) -> tuple[float, float]:
    mean, error = mean_and_error([part.mean() for part in np.array_split(series, n_blocks)])
    return float(mean), float(error)
