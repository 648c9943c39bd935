"""The loss, frame by frame, so that two force fields can be compared on the same frames.

Force loss of a frame: mean squared error of all force components [(kJ/mol/nm)²]. Loss of a data set: mean over frames.
Most of it is noise that no force field can predict: mapped forces fluctuate at fixed bead positions. So only
differences on the same frames, and fractions of the zero-force loss, say something about a force field.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractNetwork, EnergyModel, predict
from beadsmith.neighbors import find_pairs
from beadsmith.statistics import block_edges, mean_and_error
from beadsmith.training.data import N_BLOCKS, SITES_AT_ONCE, PreparedFrames, group_rows, load_example
from beadsmith.training.label_errors import predict_label
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with the standard error of its block values."""

    value: float
    """Mean over all frames."""
    error: float
    """Block standard error; NaN for fewer than two blocks."""


def zero_force_losses(
    trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"]
) -> Float[np.ndarray, "rows"]:
    """Return the loss of predicting no force at all: the variance of the labels of each frame."""
    losses = np.empty(len(rows))
    for places in group_rows(trajectories, rows):
        labels = _labels(trajectories[rows[places[0], 0]], rows[places, 1])
        losses[places] = np.mean(labels**2, axis=(1, 2))
    return losses


def force_field_losses(
    force_field: EnergyModel,
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    *,
    cutoff: float,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[np.ndarray, "rows"]:
    """Return the loss of a whole force field on each frame, with neighbours found anew."""
    losses = np.empty(len(rows))
    with torch.no_grad():
        for places in group_rows(trajectories, rows):
            trajectory, frames = trajectories[rows[places[0], 0]], rows[places, 1]
            batch = build_batch(trajectory, frames, device=device, dtype=dtype)
            forces = predict(force_field, batch, find_pairs(batch, cutoff)).forces.double().cpu().numpy()
            labels = _labels(trajectory, frames)
            losses[places] = np.mean((forces.reshape(labels.shape) - labels) ** 2, axis=(1, 2))
    return losses


def target_losses(frames: PreparedFrames, rows: Int[np.ndarray, "rows 2"]) -> Float[np.ndarray, "rows"]:
    """Return the loss of the prior alone on each frame: the mean square of what it leaves of the labels."""
    losses = np.empty(len(rows))
    for places in group_rows(frames.trajectories, rows):
        targets = frames.targets[rows[places[0], 0]][rows[places, 1]].astype(np.float64)
        losses[places] = np.mean(targets**2, axis=(1, 2))
    return losses


def residual_losses(
    network: AbstractNetwork,
    frames: PreparedFrames,
    rows: Int[np.ndarray, "rows 2"],
    *,
    max_sites: int = SITES_AT_ONCE,
) -> Float[np.ndarray, "rows"]:
    """Return the force loss of a network on what the prior leaves: equal to that of prior and network on the labels."""
    losses = np.empty(len(rows))
    with torch.no_grad():
        for places in group_rows(frames.trajectories, rows, max_sites=max_sites):
            example = load_example(frames, rows[places])
            forces = predict_label(network, frames.thermal_form, "forces", example).forces
            errors = (forces - example.targets).double().square()
            losses[places] = errors.reshape(len(places), -1).mean(1).cpu().numpy()
    return losses


def block_means(losses: Float[np.ndarray, "frames"], labels: Int[np.ndarray, "frames"]) -> Float[np.ndarray, "blocks"]:
    """Return the mean of each block of frames; blocks are contiguous and never cross a segment label."""
    return np.array([losses[block].mean() for block in block_edges(len(labels), min(N_BLOCKS, len(labels)), labels)])


def block_fractions(
    losses: Float[np.ndarray, "frames"], zero_force: Float[np.ndarray, "frames"], labels: Int[np.ndarray, "frames"]
) -> Float[np.ndarray, "blocks"]:
    """Return loss over zero-force loss of each block: noise that both share cancels."""
    return block_means(losses, labels) / block_means(zero_force, labels)


def estimate_loss(losses: Float[np.ndarray, "frames"], labels: Int[np.ndarray, "frames"]) -> Estimate:
    """Return mean and block standard error of frame losses."""
    _, error = mean_and_error(block_means(losses, labels))
    return Estimate(value=float(losses.mean()), error=float(error))


def estimate_explained(
    losses: Float[np.ndarray, "frames"], zero_force: Float[np.ndarray, "frames"], labels: Int[np.ndarray, "frames"]
) -> Estimate:
    """Return the explained fraction of the force variance, 1 − loss / zero-force loss on the same frames.

    The error comes from the blocks' own fractions.
    """
    _, error = mean_and_error(block_fractions(losses, zero_force, labels))
    return Estimate(value=float(1.0 - losses.mean() / zero_force.mean()), error=float(error))


def _labels(trajectory: Trajectory, frames: np.ndarray) -> np.ndarray:
    assert trajectory.forces is not None
    return trajectory.forces[frames].astype(np.float64)
