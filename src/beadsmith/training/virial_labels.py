"""Molecular virials as labels: what a force field says about them, and the pressure that it is off by.

A virial is one number for each of six independent strains of a frame. Its mean is the pressure; most of its
fluctuation, like that of mapped forces, is noise of the atoms that no bead knows of.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.batch import build_batch
from beadsmith.energy import EnergyModel, predict
from beadsmith.neighbors import find_pairs
from beadsmith.statistics import mean_and_error
from beadsmith.training.data import group_rows
from beadsmith.training.loss import block_means
from beadsmith.training.virial_components import virial_components
from beadsmith.trajectory import Trajectory
from beadsmith.units import BAR


@torch.no_grad()
def predict_virials(
    model: EnergyModel,
    trajectory: Trajectory,
    frames: Int[np.ndarray, "frames"],
    *,
    cutoff: float,
    dtype: torch.dtype = torch.float32,
) -> Float[np.ndarray, "frames 3 3"]:
    """Return the virials [kJ/mol] that a force field has on some frames.

    Parameters
    ----------
    model : Force field.
    trajectory, frames : Where.
    cutoff : Cutoff of the neighbour lists [nm].
    dtype : Precision of the force field.
    """
    virials = np.empty((len(frames), 3, 3))
    rows = np.stack([np.zeros_like(frames), frames], axis=1)
    for places in group_rows((trajectory,), rows):
        batch = build_batch(trajectory, frames[places], dtype=dtype)
        virials[places] = predict(model, batch, find_pairs(batch, cutoff)).virial.numpy()
    return virials


def has_virials(trajectory: Trajectory) -> bool:
    """Tell whether the frames have virials and a volume to divide them by."""
    return trajectory.virial is not None and trajectory.cell is not None


def measure_virials(
    models: Mapping[str, EnergyModel],
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    labels: Int[np.ndarray, "rows"],
    *,
    cutoff: float,
    dtype: torch.dtype,
) -> dict[str, Any] | None:
    """Return how far force fields are off the virials of some frames, as JSON; None where no frame has any.

    ``pressure_error`` is the mean of the model's pressure minus the label's on the same frames: what its pressure is
    off by in a simulation that visits the configurations of the reference. ``explained`` is the explained fraction of
    the variance of all six components about their means. ``noise`` is the standard deviation of a frame's pressure that
    is left: an upper bound of the noise of the labels.

    Parameters
    ----------
    models : Force fields by name.
    trajectories : Mapped data.
    rows : Frames to look at.
    labels : Segment label of each of them, for block errors.
    cutoff : Cutoff of the neighbour lists, that of the force field that sees farthest [nm].
    dtype : Precision of the force fields.
    """
    kept = np.array([has_virials(trajectories[number]) for number in rows[:, 0]], dtype=bool)
    if not kept.any():
        return None
    rows, labels = rows[kept], labels[kept]
    known, volumes = np.empty((len(rows), 3, 3)), np.empty(len(rows))
    places_of = {number: np.flatnonzero(rows[:, 0] == number) for number in np.unique(rows[:, 0]).tolist()}
    for number, places in places_of.items():
        virial = trajectories[number].virial
        assert virial is not None
        known[places] = virial[rows[places, 1]]
        volumes[places] = trajectories[number].volumes()[rows[places, 1]]
    spread = _square_spread(virial_components(known), places_of)
    summary = {}
    for name, model in models.items():
        found = np.empty_like(known)
        for number, places in places_of.items():
            found[places] = predict_virials(model, trajectories[number], rows[places, 1], cutoff=cutoff, dtype=dtype)
        left = found - known
        pressure = np.trace(left, axis1=1, axis2=2) / (3.0 * volumes * BAR)
        remaining = _square_spread(virial_components(left), places_of)
        _, error = mean_and_error(block_means(pressure, labels))
        _, explained = mean_and_error(block_means(remaining, labels) / block_means(spread, labels))
        summary[name] = {
            "pressure_error": {"value": float(pressure.mean()), "error": float(error), "unit": "bar"},
            "explained": {"value": float(1.0 - remaining.mean() / spread.mean()), "error": float(explained)},
            "noise": {"value": float(np.sqrt(np.mean(_square_spread(pressure[:, None], places_of)))), "unit": "bar"},
        }
    return {"n_frames": len(rows), "models": summary}


def _square_spread(
    values: Float[np.ndarray, "rows components"], places_of: dict[int, np.ndarray]
) -> Float[np.ndarray, "rows"]:
    """Return the summed squared deviation of each row from the mean of its trajectory."""
    squares = np.empty(len(values))
    for places in places_of.values():
        own = values[places]
        # n - 1: the mean is taken from the same few frames
        factor = len(own) / max(len(own) - 1, 1)
        squares[places] = factor * np.sum((own - own.mean(axis=0)) ** 2, axis=1)
    return squares
