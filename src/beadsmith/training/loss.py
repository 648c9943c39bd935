"""The force-matching loss, frame by frame, so that two force fields can be compared on the same frames.

Loss of a frame: mean squared error of all force components [(kJ/mol/nm)²]. Loss of a data set: mean over frames.
Most of it is noise that no force field can predict: mapped forces fluctuate at fixed bead positions. So only
differences on the same frames, and fractions of the zero-force loss, say something about a force field.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractNetwork, EnergyModel, predict, predict_network
from beadsmith.neighbors import find_pairs
from beadsmith.statistics import block_edges, mean_and_error
from beadsmith.training.data import N_BLOCKS, PreparedFrames, load_example, order_batches
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with the standard error of its block values."""

    value: float
    """Mean over all frames."""
    error: float
    """Block standard error; NaN for fewer than two blocks."""


def squared_error(predicted: Float[Tensor, "sites 3"], targets: Float[Tensor, "sites 3"]) -> Float[Tensor, ""]:
    """Return the mean squared error per force component [(kJ/mol/nm)²]."""
    return (predicted - targets).square().mean()


def zero_force_losses(
    trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"]
) -> Float[np.ndarray, "rows"]:
    """Return the loss of predicting no force at all: the variance of the labels of each frame."""
    return np.array([np.mean(_labels(trajectories[t], f) ** 2) for t, f in rows.tolist()])


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
        for row, (number, frame) in enumerate(rows.tolist()):
            batch = build_batch(trajectories[number], np.array([frame]), device=device, dtype=dtype)
            forces = predict(force_field, batch, find_pairs(batch, cutoff)).forces.double().cpu().numpy()
            losses[row] = np.mean((forces - _labels(trajectories[number], frame)) ** 2)
    return losses


def residual_losses(
    network: AbstractNetwork, frames: PreparedFrames, rows: Int[np.ndarray, "rows 2"], *, batch_size: int = 4
) -> Float[np.ndarray, "rows"]:
    """Return the loss of a network on what the prior leaves: equal to that of prior and network on the labels."""
    losses = []
    with torch.no_grad():
        for chosen in order_batches(rows, batch_size):
            example = load_example(frames, chosen)
            forces = predict_network(network, example.batch, example.pairs).forces
            errors = (forces - example.targets).double().square()
            losses.append(errors.reshape(len(chosen), -1).mean(1).cpu().numpy())
    return np.concatenate(losses) if losses else np.empty(0)


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


def _labels(trajectory: Trajectory, frame: int) -> np.ndarray:
    assert trajectory.forces is not None
    return trajectory.forces[frame].astype(np.float64)
