"""A series in slow coordinates that gives a force field the reference's distribution of them: `method: simulation`.

The force field is simulated without the series, and the series is found by reweighting these samples
(`beadsmith.training.relative_entropy`). Unlike the fit to the labels this is exact in the slow coordinates: how the
force field's other coordinates move along with them is in the samples. The price is that the reference's own
distribution enters, with its sampling error. The equations stand in ``docs/explanation/slow-coordinates.md``.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.batch import build_batch
from beadsmith.errors import InputError, PhysicsError
from beadsmith.force_field import ForceField
from beadsmith.priors.coordinate_series import CoordinateSeries
from beadsmith.priors.frames import split_frames
from beadsmith.progress import Progress, silent
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.statistics import mean_and_error
from beadsmith.training.correction_run import ModelRun, RunFiles, find_late, run_model
from beadsmith.training.data import N_BLOCKS, SITES_AT_ONCE
from beadsmith.training.populations import Samples, predict_energy, reweigh_populations
from beadsmith.training.relative_entropy import (
    ReweightingFit,
    compute_relative_entropy,
    effective_fraction,
    fit_left_out,
)
from beadsmith.training.slow_coordinates import CorrectionSettings, SlowSeries, find_series
from beadsmith.trajectory import StatePoint, Trajectory, join_trajectories
from beadsmith.units import thermal_energy

_SAMPLES_PER_FUNCTION = 10
"""Fewer frames for each coefficient say nothing about its error."""

_RIDGE_FACTORS = (1.0, 10.0, 100.0)
"""Multiples of the ridge that are tried. A basin that one block alone has seen looks impossible without that block, and
a weak ridge lets the fit say so; which one predicts left-out blocks best depends on how often basins were entered."""

_LARGEST_RATIO = 20.0
"""Population of the reference over that of the simulation beyond which a few frames would have to stand for a basin."""

_SMALLEST_POPULATION = 0.01
"""Population, two standard errors below the measured one, from which on a basin must be in the simulation."""

_MOST_STARTS = 10_000
"""Frames of each trajectory that replicas may start from: all that is read of it for the start."""

_SAMPLES_AT_ONCE = 20_000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Slow coordinates of one kind of molecule, from every source."""

    reference: Samples
    """Fitted frames."""
    unseen: Samples
    """Test frames."""
    simulated: Samples
    """Frames of the uncorrected force field."""
    is_late: np.ndarray
    """Which frames of the simulation lie in its second half."""
    temperature: float
    """Temperature of all [K]."""


def fit_by_simulation(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: dict[str, Int[np.ndarray, "_ 2"]],
    settings: CorrectionSettings,
    *,
    simulation: SimulationSettings,
    files: RunFiles,
    progress: Progress = silent,
) -> tuple[list[CoordinateSeries], dict[str, Any]]:
    """Return the series to add to a force field, and what is known about them as JSON.

    Parameters
    ----------
    force_field : Prior and network, without an earlier correction.
    trajectories : Mapped data; every frame holds one molecule.
    rows : Training, validation and test frames; the test frames stay unseen and say what the series is worth.
    settings : Coordinates and order.
    simulation : How to simulate.
    files : Where to simulate; each kind of molecule adds its number.
    progress : Receives picoseconds done.

    Raises
    ------
    InputError : the frames are not of single molecules at one temperature, or there are too few.
    PhysicsError : replicas blew up, or the force field hardly knows a basin of the reference.
    """
    check_molecules(settings, force_field, trajectories)
    terms, summaries = [], []
    for number, series in enumerate(find_series(settings, force_field.record.templates)):
        chosen = _choose_frames(series, trajectories, rows)
        own = replace(
            files, output=files.output.with_stem(f"{files.output.stem}-{number}"), identity=f"{files.identity}-{number}"
        )
        run = run_model(force_field, _collect_starts(chosen), simulation, own, progress)
        measured, term = _measure_all(series.term, chosen, run, settings.n_blocks)
        fitted, summary = fit_samples(replace(series, term=term), measured, settings)
        _refuse_missing_basins(summary)
        summaries.append(summary | {"simulation": run.summary | summary["simulation"]})
        if fitted is not None:
            terms.append(fitted)
    return terms, {"settings": asdict(settings), "molecules": summaries}


def check_molecules(
    settings: CorrectionSettings, force_field: ForceField, trajectories: tuple[Trajectory, ...]
) -> None:
    """Refuse data that a simulation of one molecule cannot be compared with.

    Raises
    ------
    InputError : a frame holds several molecules, or frames of one molecule have several temperatures.
    """
    where, fix = "training.correction.method", "Use 'method: labels'."
    if any(trajectory.topology.n_molecules != 1 for trajectory in trajectories):
        raise InputError(
            "a correction from a simulation is for single molecules, but frames hold several", where=where, fix=fix
        )
    for series in find_series(settings, force_field.record.templates):
        temperatures = set().union(*(_list_temperatures(entry) for entry in trajectories if _is_of(series, entry)))
        if len(temperatures) > 1:
            raise InputError(
                f"a correction from a simulation is for one temperature, but the frames of {series.molecule} have "
                f"{', '.join(f'{value:g} K' for value in sorted(temperatures))}",
                where=where,
                fix=fix,
            )


def fit_samples(
    series: SlowSeries, measured: Measured, settings: CorrectionSettings
) -> tuple[CoordinateSeries | None, dict[str, Any]]:
    """Return the series that gives the simulation the distribution of the reference, and its summary.

    Parameters
    ----------
    series : Coordinates with their ranges, and basins.
    measured : What reference and simulation have seen.
    settings : Largest order and smallest ridge.

    Raises
    ------
    InputError : there are too few frames, or two coordinates say the same.
    """
    term, kt = series.term, thermal_energy(measured.temperature)
    targets, shares = _average_functions(term, measured.reference)
    functions = _evaluate(term, measured.simulated.values)
    stiffness = _spread_evenly(term)
    if len(targets) < 2 or len(measured.reference.values) < _SAMPLES_PER_FUNCTION * functions.shape[1]:
        raise InputError(
            f"the correction has {functions.shape[1]} coefficients, too many for {len(measured.reference.values)} "
            f"frames in {len(targets)} blocks",
            where="training.correction",
            fix="Sample more frames, or lower 'order'.",
        )

    def fit(order: int, ridge: float) -> ReweightingFit:
        n = int(np.sum(term.degrees <= order))
        penalty = ridge * stiffness[:n]
        return fit_left_out(functions[:, :n], measured.simulated.group, targets[:, :n], shares, penalty=penalty)

    ridges = sorted({factor * settings.ridge for factor in _RIDGE_FACTORS})
    fits_by_ridge = {ridge: [fit(order, ridge) for order in range(1, settings.order + 1)] for ridge in ridges}
    ridge = max(ridges, key=lambda value: max(entry.gain for entry in fits_by_ridge[value]))
    fits = fits_by_ridge[ridge]
    best = max(range(settings.order), key=lambda number: fits[number].gain)
    is_used = fits[best].gain > 0.0
    summary: dict[str, Any] = {
        "molecule": series.molecule,
        "method": "simulation",
        "coordinates": [entry.name for entry in term.coordinates],
        "order": best + 1 if is_used else 0,
        "ridge": ridge,
        "n_samples": len(measured.reference.values),
        "n_blocks": len(targets),
        "orders": [
            {
                "order": number + 1,
                "n_functions": len(entry.coefficients),
                "gain": entry.gain,
                "gain_error": entry.gain_error,
            }
            for number, entry in enumerate(fits)
        ],
        "simulation": {"effective_fraction": 1.0},
    }
    if not is_used:
        return None, summary
    chosen = term.with_order(best + 1)
    coefficients = np.vstack([fits[best].coefficients, fits[best].replicates])
    used = functions[:, : coefficients.shape[1]]
    exponents = -used @ coefficients.T
    gain, error = _measure_unseen(chosen, measured.unseen, used, coefficients[0])
    thinned = measured.reference.values[:: -(-len(measured.reference.values) // _SAMPLES_AT_ONCE)]
    summary |= {
        "held_out_gain": gain,
        "held_out_gain_error": error,
        "energy": predict_energy(_evaluate(chosen, thinned), kt * coefficients),
        "basins": reweigh_populations(
            chosen,
            series.basins,
            reference=measured.reference,
            simulated=measured.simulated,
            exponents=exponents,
            is_late=measured.is_late,
        ),
        "simulation": {"effective_fraction": effective_fraction(exponents[:, 0])},
    }
    return chosen.with_coefficients(kt * coefficients[0]), summary


def _choose_frames(
    series: SlowSeries, trajectories: tuple[Trajectory, ...], rows: dict[str, np.ndarray]
) -> dict[str, list[tuple[Trajectory, np.ndarray]]]:
    """Return trajectories of the molecule and their frames, fitted and unseen."""
    uses = {"fitted": np.concatenate([rows["train"], rows["validation"]]), "unseen": rows["test"]}
    return {
        use: [
            (trajectory, np.sort(chosen[chosen[:, 0] == number, 1]))
            for number, trajectory in enumerate(trajectories)
            if _is_of(series, trajectory)
        ]
        for use, chosen in uses.items()
    }


def _is_of(series: SlowSeries, trajectory: Trajectory) -> bool:
    topology = trajectory.topology
    return tuple(topology.type_names[number] for number in topology.types.tolist()) == series.term.molecule


def _list_temperatures(trajectory: Trajectory) -> set[float]:
    if trajectory.temperature is None:
        return {trajectory.state_point.temperature}
    return set(np.unique(trajectory.temperature).tolist())


def _collect_starts(chosen: dict[str, list[tuple[Trajectory, np.ndarray]]]) -> Trajectory:
    """Return some of the fitted frames, without what a start does not need."""
    parts = []
    for trajectory, frames in chosen["fitted"]:
        part = trajectory.select(frames[:: -(-len(frames) // _MOST_STARTS)])
        parts.append(
            Trajectory(
                topology=part.topology,
                state_point=StatePoint(temperature=min(_list_temperatures(part))),
                positions=part.positions,
                times=part.times,
                cell=part.cell,
            )
        )
    return join_trajectories(parts)


def _measure_all(
    term: CoordinateSeries, chosen: dict[str, list[tuple[Trajectory, np.ndarray]]], run: ModelRun, n_blocks: int
) -> tuple[Measured, CoordinateSeries]:
    """Return the coordinates of all frames, and the series over the range that they were seen in."""
    parts = {}
    for use, wanted in (("fitted", n_blocks), ("unseen", N_BLOCKS)):
        trajectories, frames = zip(*chosen[use], strict=True)
        blocks = split_frames(trajectories, frames, n_blocks=wanted).blocks
        # every segment has a block of its own, so there may be more blocks than groups of replicas
        n_groups = min(wanted, len(blocks))
        parts[use] = Samples(
            values=np.concatenate([_measure(term, trajectories[number], block) for number, block in blocks]),
            group=np.repeat(np.arange(len(blocks)) * n_groups // len(blocks), [len(block) for _, block in blocks]),
            weight=np.concatenate([_weigh_frames(trajectories[number], block) for number, block in blocks]),
        )
    n_groups, n_replicas = int(parts["fitted"].group.max()) + 1, int(run.replica.max()) + 1
    simulated = Samples(
        values=_measure(term, run.frames, np.arange(run.frames.n_frames)),
        group=run.replica * n_groups // n_replicas,
        weight=np.ones(run.frames.n_frames),
    )
    seen = np.concatenate([parts["fitted"].values, simulated.values])
    measured = Measured(
        reference=parts["fitted"],
        unseen=parts["unseen"],
        simulated=simulated,
        is_late=find_late(run.frames.times),
        temperature=run.frames.state_point.temperature,
    )
    return measured, term.with_limits(np.stack([seen.min(axis=0), seen.max(axis=0)], axis=1))


def _measure(
    term: CoordinateSeries, trajectory: Trajectory, frames: Int[np.ndarray, "frames"]
) -> Float[np.ndarray, "frames coordinates"]:
    size = max(1, SITES_AT_ONCE // trajectory.n_sites)
    parts = [frames[first : first + size] for first in range(0, len(frames), size)]
    return np.concatenate([term.measure(build_batch(trajectory, part, dtype=torch.float64))[0] for part in parts])


def _weigh_frames(trajectory: Trajectory, frames: Int[np.ndarray, "frames"]) -> Float[np.ndarray, "frames"]:
    return np.ones(len(frames)) if trajectory.weight is None else trajectory.weight[frames].astype(np.float64)


def _evaluate(
    term: CoordinateSeries, values: Float[np.ndarray, "samples coordinates"]
) -> Float[np.ndarray, "samples functions"]:
    parts = range(0, len(values), _SAMPLES_AT_ONCE)
    return np.concatenate([term.evaluate_basis(values[first : first + _SAMPLES_AT_ONCE])[0] for first in parts])


def _average_functions(
    term: CoordinateSeries, samples: Samples
) -> tuple[Float[np.ndarray, "groups functions"], Float[np.ndarray, "groups"]]:
    """Return the mean functions of each group, and its weight."""
    n_groups = int(samples.group.max()) + 1
    shares = np.bincount(samples.group, weights=samples.weight, minlength=n_groups)
    sums = np.zeros((n_groups, len(term.multiples)))
    for first in range(0, len(samples.values), _SAMPLES_AT_ONCE):
        part = slice(first, first + _SAMPLES_AT_ONCE)
        functions = samples.weight[part, None] * term.evaluate_basis(samples.values[part])[0]
        np.add.at(sums, samples.group[part], functions)
    return sums / np.maximum(shares, 1e-300)[:, None], shares


def _spread_evenly(term: CoordinateSeries) -> Float[np.ndarray, "functions"]:
    """Return the squared slope of each function by the angles, averaged over all values of the coordinates.

    Ranges of distances and angles count as half a turn; cos² and sin² average to one half.
    """
    return np.sum(term.multiples**2, axis=1) * 0.5 ** np.sum(term.multiples != 0, axis=1)


def _measure_unseen(
    term: CoordinateSeries, unseen: Samples, functions: np.ndarray, coefficients: np.ndarray
) -> tuple[float, float]:
    """Return by how much D falls on blocks of test frames: mean and standard error [nats]."""
    targets, _ = _average_functions(term, unseen)
    gains = [-compute_relative_entropy(functions, coefficients, target) for target in targets]
    mean, error = mean_and_error(gains)
    return float(mean), float(error)


def _refuse_missing_basins(summary: dict[str, Any]) -> None:
    for basin in summary.get("basins", []):
        least = basin["reference"] - 2.0 * basin["reference_error"]
        if least > _SMALLEST_POPULATION and basin["simulated"] * _LARGEST_RATIO < basin["reference"]:
            raise PhysicsError(
                f"the force field without correction has hardly any of {summary['molecule']} in {basin['name']}: "
                f"{basin['simulated']:.2g}, where the reference has {basin['reference']:.2g} ± "
                f"{basin['reference_error']:.1g}; so few frames cannot be reweighted",
                where="training.correction",
                fix="Train longer or on more frames, lengthen 'simulation', or use 'method: labels', which needs no "
                "simulation.",
            )
