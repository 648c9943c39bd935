"""The last step of a training: a correction in slow coordinates, by either method, as a term of the force field."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.priors.coordinate_series import CoordinateSeries
from beadsmith.priors.volume import VolumeTerm
from beadsmith.progress import Progress, silent
from beadsmith.training.correction import fit_correction
from beadsmith.training.correction_run import RunFiles
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.simulated_correction import check_molecules, fit_by_simulation
from beadsmith.training.slow_coordinates import find_series
from beadsmith.trajectory import Trajectory


def check_correction(settings: TrainingSettings, force_field: ForceField, trajectories: tuple[Trajectory, ...]) -> None:
    """Check that the correction can be fitted, before a network is trained.

    Raises
    ------
    InputError : a coordinate is unknown, the data do not suit the method, or the potential depends on temperature.
    """
    if settings.correction is not None:
        if settings.thermal != "none":
            raise InputError(
                "'training.correction' belongs to one temperature, but 'training.thermal' is " + settings.thermal,
                fix="Leave one of them out.",
            )
        find_series(settings.correction, force_field.record.templates)
        if settings.correction.method == "simulation":
            check_molecules(settings.correction, force_field, trajectories)


def drop_corrections(force_field: ForceField) -> list[AbstractEnergyTerm]:
    """Return the prior alone: a correction, of populations or pressure, belongs to the network it was fitted beside."""
    return [term for term in force_field.prior if not isinstance(term, CoordinateSeries | VolumeTerm)]


def correct(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: dict[str, Int[np.ndarray, "_ 2"]],
    settings: TrainingSettings,
    *,
    scratch: Path,
    identity: str,
    seed: int,
    progress: Progress = silent,
) -> tuple[ForceField, dict[str, Any]]:
    """Return the force field with a correction, or as it is where the data ask for none, and what is known about it.

    Parameters
    ----------
    force_field : Prior and network, without an earlier correction.
    trajectories : Mapped data with forces.
    rows : Training, validation and test frames.
    settings : Of the training, with a correction.
    scratch : Folder for an unfinished simulation.
    identity : Hash of everything the result depends on.
    seed : Seed of a simulation.
    progress : Receives frames or picoseconds done.

    Raises
    ------
    InputError : the frames cannot determine the correction.
    PhysicsError : replicas blew up, or the force field hardly knows a basin of the reference.
    """
    correction = settings.correction
    assert correction is not None
    if correction.method == "labels":
        dtype = getattr(torch, settings.precision)
        terms, summary = fit_correction(force_field, trajectories, rows, correction, dtype=dtype, progress=progress)
    else:
        terms, summary = fit_by_simulation(
            force_field,
            trajectories,
            rows,
            correction,
            simulation=correction.simulation.to_simulation(
                precision=settings.precision,
                device=settings.device,
                threads=settings.threads,
                checkpoint_interval=settings.checkpoint_interval,
            ),
            files=RunFiles(output=scratch / "correction.h5", identity=identity, seed=seed),
            progress=lambda done, total, note="": progress(done, total, f"correction: {note}, ps"),
        )
    if terms:
        force_field = ForceField([*force_field.prior, *terms], force_field.network, force_field.record)
    return force_field, summary
