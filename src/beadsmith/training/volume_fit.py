"""Fit a term of the volume to the pressure that a force field leaves over: the last step of a training.

It changes no force, so the structure at constant volume stays what it was, and the mean pressure there becomes that of
the labels. With one density only its slope can be found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.thermodynamics import measure_mean, pressures
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import read_trajectory
from beadsmith.priors.volume import VolumeTerm
from beadsmith.progress import Progress, silent
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.statistics import block_edges, leave_one_out_error
from beadsmith.training.data import N_BLOCKS
from beadsmith.training.virial_labels import has_virials, predict_virials
from beadsmith.training.volume_settings import VolumeTermSettings
from beadsmith.trajectory import Trajectory
from beadsmith.units import BAR

_SMALLEST_SPREAD = 2e-3
"""Relative standard deviation of the volume below which its pressure has no slope to speak of."""

_NEAR = 0.2
"""Part of the frames, those nearest to the mean volume, that simulations start from."""


@dataclass(frozen=True, kw_only=True)
class MissingPressure:
    """What a force field's pressure lacks at some volumes: in single frames, or in the mean of whole runs."""

    volume: Float[np.ndarray, "points"]
    """Volume of one molecule [nm³]."""
    pressure: Float[np.ndarray, "points"]
    """Pressure of the labels minus that of the force field [kJ/mol/nm³]."""
    variance: Float[np.ndarray, "points"]
    """Variance of the pressure [(kJ/mol/nm³)²]; of single frames up to a factor."""
    blocks: list[np.ndarray] | None = None
    """Blocks of correlated frames, from which errors are taken; None for runs, whose variances are known."""


def check_volume_term(settings: VolumeTermSettings | None, trajectories: tuple[Trajectory, ...]) -> None:
    """Check that the data can determine a term of the volume, before anything is fitted.

    Files without virials, such as labels averaged at fixed beads, say nothing about it and are left out.

    Raises
    ------
    InputError : no file has virials and a cell, or all volumes of a molecule are alike for a term of second order.
    """
    if settings is None:
        return
    trajectories = tuple(trajectory for trajectory in trajectories if has_virials(trajectory))
    if not trajectories:
        raise InputError(
            "'training.volume_term' is given, but no mapped trajectory has virials and a periodic cell",
            fix="Sample with beadsmith in a box, import virials, or set 'volume_term: none'.",
        )
    volumes = np.concatenate([t.volumes() / t.topology.n_molecules for t in trajectories])
    if settings.method == "simulation":
        # one point for each file
        volumes = np.array([np.mean(t.volumes() / t.topology.n_molecules) for t in trajectories])
    spread = float(volumes.std() / volumes.mean())
    if settings.order == 2 and spread < _SMALLEST_SPREAD:
        raise InputError(
            f"'training.volume_term.order' is 2, but the volumes of the data differ by {spread:.1e} only",
            fix="Train with runs at other densities ('train_with'), or use 'order: 1'.",
        )


def find_missing_pressure(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    labels: Int[np.ndarray, "rows"],
    *,
    cutoff: float,
    dtype: torch.dtype,
) -> MissingPressure:
    """Return the pressure that is missing on single frames of the data.

    Parameters
    ----------
    force_field : What is to be corrected.
    trajectories : Mapped data; frames of files without virials do not count.
    rows : Frames to look at.
    labels : Segment label of each of them.
    cutoff : Cutoff of the neighbour lists [nm].
    dtype : Precision of the force field.
    """
    kept = _have_virials(trajectories, rows)
    rows, labels = rows[kept], labels[kept]
    left, volume, size = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    for number in np.unique(rows[:, 0]).tolist():
        trajectory, places = trajectories[number], np.flatnonzero(rows[:, 0] == number)
        frames = rows[places, 1]
        assert trajectory.virial is not None
        predicted = predict_virials(force_field, trajectory, frames, cutoff=cutoff, dtype=dtype)
        volumes = trajectory.volumes()[frames]
        left[places] = np.trace(trajectory.virial[frames] - predicted, axis1=1, axis2=2) / (3.0 * volumes)
        volume[places] = volumes / trajectory.topology.n_molecules
        size[places] = trajectory.topology.n_molecules
    # the variance of a pressure falls with the number of molecules
    blocks = block_edges(len(rows), min(4 * N_BLOCKS, len(rows)), labels)
    return MissingPressure(volume=volume, pressure=left, variance=1.0 / size, blocks=blocks)


def _have_virials(trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"]) -> Bool[np.ndarray, "rows"]:
    """Tell for each frame whether its file has virials."""
    return np.array([has_virials(trajectory) for trajectory in trajectories])[rows[:, 0]]


def simulate_missing_pressure(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    settings: SimulationSettings,
    *,
    name_output: Callable[[int], Path],
    identity: str,
    seed: int,
    progress: Progress = silent,
) -> MissingPressure:
    """Return the pressure that is missing in simulations of the force field at the mean volume of each file.

    Both pressures have the same ideal part. Unfinished simulations go on when the call is repeated.

    Parameters
    ----------
    force_field : What is to be corrected; it is simulated as it is.
    trajectories : Mapped data; files without virials are left out.
    rows : Frames whose labels count, and from which replicas start.
    settings : Of the simulations, at constant volume.
    name_output : Path of the trajectory of each file's number.
    identity : Hash of everything the result depends on.
    seed : Seed of velocities and noise.
    progress : Receives picoseconds done.

    Raises
    ------
    PhysicsError : every replica of a simulation blew up.
    """
    points = []
    rows = rows[_have_virials(trajectories, rows)]
    numbers = np.unique(rows[:, 0]).tolist()
    for place, number in enumerate(numbers):
        frames = trajectories[number].select(rows[rows[:, 0] == number, 1])
        volumes = frames.volumes()
        nearest = np.argsort(np.abs(volumes - volumes.mean()), kind="stable")
        chosen = np.sort(nearest[: max(settings.replicas, int(_NEAR * len(nearest)))])
        path = name_output(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate(
            force_field,
            frames.select(chosen),
            settings,
            path,
            temperature=frames.state_point.temperature,
            seed=seed + number,
            identity=identity,
            progress=lambda done, total, note="", place=place: progress(
                place * total + done, len(numbers) * total, note
            ),
        )
        run = read_trajectory(path)
        known = measure_mean(pressures(frames), unit="", n_blocks=4 * N_BLOCKS, segment=frames.segment)
        own = measure_mean(pressures(run), unit="", n_blocks=4 * N_BLOCKS, segment=run.segment)
        volume = float(run.volumes().mean()) / frames.topology.n_molecules
        points.append((volume, known.value - own.value, known.standard_error**2 + own.standard_error**2))
    volume_of, pressure, variance = np.array(points).T
    return MissingPressure(volume=volume_of, pressure=pressure, variance=variance)


def fit_volume_term(
    force_field: ForceField, missing: MissingPressure, *, order: int
) -> tuple[ForceField, dict[str, Any]]:
    """Return the force field with a term of the volume, and what is known about it as JSON.

    Least squares of the missing pressure by −(1/v₀)(c₁ + c₂ x), each point over its variance.

    Parameters
    ----------
    force_field : What is to be corrected; without such a term.
    missing : What its pressure lacks.
    order : Number of coefficients.
    """
    weight = 1.0 / missing.variance
    reference = float(np.average(missing.volume, weights=weight))
    design = -((missing.volume / reference - 1.0)[:, None] ** np.arange(order)) / reference
    weighted = design * weight[:, None]
    coefficients = np.linalg.solve(weighted.T @ design, weighted.T @ missing.pressure)
    if missing.blocks is None:
        errors = np.sqrt(np.diag(np.linalg.inv(weighted.T @ design)))
    else:
        rest = [np.setdiff1d(np.arange(len(weight)), block) for block in missing.blocks]
        left_out = [np.linalg.solve(weighted[r].T @ design[r], weighted[r].T @ missing.pressure[r]) for r in rest]
        errors = leave_one_out_error(np.array(left_out))
    term = VolumeTerm(tuple(coefficients.tolist()), reference_volume=reference)
    corrected = ForceField(
        [*force_field.prior, term], force_field.network, force_field.record, force_field.thermal_form
    )
    summary = {
        "reference_volume": {"value": reference, "unit": "nm^3"},
        "coefficients": [
            {"value": float(value), "error": float(error), "unit": "kJ/mol"}
            for value, error in zip(coefficients, errors, strict=True)
        ],
        # at the reference volume only the first coefficient acts
        "pressure": {
            "value": float(-coefficients[0] / reference / BAR),
            "error": float(errors[0] / reference / BAR),
            "unit": "bar",
        },
        "n_points": len(missing.pressure),
    }
    return corrected, summary
