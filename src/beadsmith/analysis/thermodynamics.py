"""Pressure, density, compressibility and heat capacity of trajectories, and whether the potential energy still drifts.

What is read from fluctuations is not linear in the frames: its error comes from leaving out one block of frames at a
time, which also takes off the bias that a variance has in a finite run of correlated frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.errors import InputError
from beadsmith.statistics import block_edges, leave_one_out_error, mean_and_error
from beadsmith.trajectory import Trajectory
from beadsmith.units import GIGAPASCAL, GRAM_PER_CUBIC_CENTIMETRE, JOULE, thermal_energy


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


def densities(trajectory: Trajectory) -> Float[np.ndarray, "frames"]:
    """Return the mass density of each frame [g/cm³].

    Raises
    ------
    InputError : the trajectory has no cell.
    """
    return trajectory.topology.total_mass / trajectory.volumes() / GRAM_PER_CUBIC_CENTIMETRE


@dataclass(frozen=True, kw_only=True)
class HeatCapacity:
    """Heat capacity at constant volume, without the kinetic part, of one molecule [J/mol/K], by total variance."""

    total: Measurement
    """Sum of the two parts, which their common frames correlate."""
    between: Measurement
    """Var U(R)/kT²: what the coarse-grained system shows itself."""
    within: Measurement
    """<Var_R(u)>/kT² = <dU/dT>: what the mapped-out atoms hold."""


def measure_heat_capacity(
    energies: Float[np.ndarray, "frames"],
    within: Float[np.ndarray, "frames"] | None = None,
    *,
    temperature: float,
    n_molecules: int,
    n_blocks: int = 10,
    segment: Int[np.ndarray, "frames"] | None = None,
) -> HeatCapacity:
    """Return the configurational heat capacity C = [Var U(R) + <Var_R(u)>]/(kT²) of frames at constant volume.

    Atomistic frames show the whole variance at once: pass their potential energies and no second array. Coarse-grained
    frames show the variance between bead configurations only if U is evaluated along them, not the free energy W.

    Parameters
    ----------
    energies : U(R) = <u>_R of each frame, or the atomistic potential energy u itself [kJ/mol].
    within : dU/dT = Var_R(u)/(kT²) of each frame [kJ/mol/K], where energies are averages at fixed beads.
    temperature : Temperature [K].
    n_molecules : Number of molecules to divide by.
    n_blocks : Blocks of frames for the errors.
    segment : Run or replica of each frame.
    """
    centred = energies - energies.mean()
    inner = np.zeros(len(energies)) if within is None else within
    moments = np.stack([centred, centred**2, inner], axis=1)
    scale = 1.0 / (thermal_energy(temperature) * temperature)
    per_molecule = 1.0 / (n_molecules * JOULE)

    def measure(of_variance: float, of_inner: float) -> Measurement:
        return _measure_moments(
            moments,
            lambda mean: per_molecule * (of_variance * scale * (mean[1] - mean[0] ** 2) + of_inner * mean[2]),
            unit="J/mol/K",
            n_blocks=n_blocks,
            segment=segment,
        )

    return HeatCapacity(total=measure(1.0, 1.0), between=measure(1.0, 0.0), within=measure(0.0, 1.0))


def measure_compressibility(
    volumes: Float[np.ndarray, "frames"],
    *,
    temperature: float,
    n_blocks: int = 10,
    segment: Int[np.ndarray, "frames"] | None = None,
    weight: Float[np.ndarray, "frames"] | None = None,
) -> Measurement:
    """Return the isothermal compressibility (<V²> − <V>²)/(kT <V>) [1/GPa] of frames at constant pressure.

    Parameters
    ----------
    volumes : Volume of each frame [nm³].
    temperature : Temperature [K].
    n_blocks : Blocks of frames for the error; they should be longer than the memory of the volume.
    segment : Run or replica of each frame.
    weight : Statistical weight of each frame.
    """
    mean_volume = float(np.average(volumes, weights=weight))
    centred = volumes - mean_volume
    scale = GIGAPASCAL / thermal_energy(temperature)
    return _measure_moments(
        np.stack([centred, centred**2], axis=1),
        lambda mean: scale * (mean[1] - mean[0] ** 2) / (mean_volume + mean[0]),
        unit="1/GPa",
        n_blocks=n_blocks,
        segment=segment,
        weight=weight,
    )


def _measure_moments(
    moments: Float[np.ndarray, "frames moments"],
    statistic: Callable[[Float[np.ndarray, "moments"]], float],
    *,
    unit: str,
    n_blocks: int,
    segment: Int[np.ndarray, "frames"] | None = None,
    weight: Float[np.ndarray, "frames"] | None = None,
) -> Measurement:
    """Return a function of the means of some moments, by jackknife over blocks of frames.

    The estimate is n θ − (n − 1) <θ_(b)>, free of the bias in 1/n; NaN errors for one block.
    Source: B. Efron and C. Stein, Ann. Statist. 9, 586 (1981).
    """
    weights = np.ones(len(moments)) if weight is None else weight
    blocks = block_edges(len(moments), min(n_blocks, len(moments)), segment)
    sums = np.array([weights[block] @ moments[block] for block in blocks])
    totals = np.array([weights[block].sum() for block in blocks])
    whole = statistic(sums.sum(axis=0) / totals.sum())
    n = len(blocks)
    if n < 2:
        return Measurement(value=float(whole), standard_error=float("nan"), unit=unit, n_samples=n)
    rest = np.array([statistic(row) for row in (sums.sum(axis=0) - sums) / (totals.sum() - totals)[:, None]])
    return Measurement(
        value=float(n * whole - (n - 1) * rest.mean()),
        standard_error=float(leave_one_out_error(rest[:, None])[0]),
        unit=unit,
        n_samples=n,
    )


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
