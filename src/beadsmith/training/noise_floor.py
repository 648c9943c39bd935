"""A bracket of the noise floor: how the losses on training and held-out frames close in as frames are added.

A network fitted to n frames learns some of their noise. Its loss on them is too low and its loss on other frames too
high, both by about b/n; extrapolated to 1/n = 0, the one bounds what this network can reach at this training budget
from below and the other from above. What a better network could reach lies below the upper bound; whether it lies
below the lower one, no curve of a single network can tell.

Losses are taken as fractions of the zero-force loss of the same frames: the noise that both share cancels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import InputError
from beadsmith.statistics import mean_and_error
from beadsmith.training.data import PreparedFrames, segment_labels
from beadsmith.training.loop import Counters
from beadsmith.training.loss import Estimate, block_fractions, residual_losses, zero_force_losses

MEANING = (
    "Loss of this network at this training budget, extrapolated to infinitely many frames as a + b/n: from held-out "
    "frames (upper bound of the noise floor) and from the training frames (lower bound for this network)."
)


def measure_noise_floor(
    fit_part: Callable[[int, Int[np.ndarray, "train 2"]], tuple[AbstractNetwork, Counters]],
    frames: PreparedFrames,
    *,
    train_rows: Int[np.ndarray, "train 2"],
    test_rows: Int[np.ndarray, "test 2"],
    fractions: tuple[float, ...],
    full_fit: tuple[AbstractNetwork, Counters],
) -> dict[str, Any]:
    """Train on leading parts of the training frames and return the bracket as JSON (`summarise_noise_floor`).

    Parameters
    ----------
    fit_part : Fits a fresh network to some rows; its first argument numbers the fit.
    frames : Data with targets.
    train_rows, test_rows : Frames of the main fit and held-out frames.
    fractions : Parts of the training frames, each segment's leading ones.
    full_fit : The main fit, the last point of the curve.
    """
    labels = segment_labels(frames.trajectories, train_rows)
    parts = [take_leading(train_rows, labels, fraction) for fraction in sorted(fractions)]
    fits = [fit_part(number, rows) for number, rows in enumerate(parts)] + [full_fit]
    curves = []
    for used in (parts + [train_rows], [test_rows] * len(fits)):
        curve = [_block_curve(network, frames, rows) for (network, _), rows in zip(fits, used, strict=True)]
        # many short segments give many blocks, and each fit its own number of them: keep what all have
        n_blocks = min(len(row) for row in curve)
        curves.append(np.array([_merge(row, n_blocks) for row in curve]))
    return summarise_noise_floor(
        [len(rows) for rows in parts] + [len(train_rows)],
        curves[0],
        curves[1],
        float(zero_force_losses(frames.trajectories, test_rows).mean()),
        epochs=[counters.epoch for _, counters in fits],
    )


def fit_inverse_size(
    sizes: Float[np.ndarray, "sizes"], losses: Float[np.ndarray, "sizes blocks"]
) -> tuple[Estimate, Estimate]:
    """Return a and b of the least-squares line loss = a + b/n, with errors from the blocks' own lines.

    Parameters
    ----------
    sizes : Numbers of training frames n, at least two different ones.
    losses : Loss at each size, on each block of frames.

    Raises
    ------
    InputError : fewer than two different sizes.
    """
    if len(np.unique(sizes)) < 2:
        raise InputError("the extrapolation a + b/n needs at least two different numbers of frames")
    design = np.stack([np.ones(len(sizes)), 1.0 / sizes], axis=1)
    lines = np.linalg.lstsq(design, losses, rcond=None)[0]
    values, errors = mean_and_error(lines, axis=1)
    limit, slope = (Estimate(value=float(v), error=float(e)) for v, e in zip(values, errors, strict=True))
    return limit, slope


def take_leading(
    rows: Int[np.ndarray, "rows 2"], labels: Int[np.ndarray, "rows"], fraction: float
) -> Int[np.ndarray, "_ 2"]:
    """Return the first part of each segment: contiguous frames, as a shorter run would have given."""
    chosen = [
        mine[: max(1, round(fraction * len(mine)))]
        for label in dict.fromkeys(labels.tolist())
        for mine in [np.flatnonzero(labels == label)]
    ]
    return rows[np.concatenate(chosen)]


def summarise_noise_floor(
    sizes: list[int],
    train: Float[np.ndarray, "sizes blocks"],
    held_out: Float[np.ndarray, "sizes blocks"],
    zero_force_loss: float,
    *,
    epochs: list[int],
) -> dict[str, Any]:
    """Return curve and bracket as JSON.

    Parameters
    ----------
    sizes : Number of training frames of each fit.
    train, held_out : Loss over zero-force loss on each block of the fit's own and of the test frames.
    zero_force_loss : Zero-force loss of the test frames, which turns fractions into losses [(kJ/mol/nm)²].
    epochs : Length of each fit.
    """

    def entry(values: np.ndarray) -> dict[str, float]:
        mean, error = mean_and_error(values)
        return {"value": float(mean), "error": float(error)}

    bounds = {}
    for name, losses in (("upper_bound", held_out), ("lower_bound", train)):
        limit, slope = fit_inverse_size(np.array(sizes, dtype=np.float64), losses)
        bounds[name] = {
            "value": limit.value,
            "error": limit.error,
            "slope": slope.value,
            "slope_error": slope.error,
            "loss": limit.value * zero_force_loss,
            "loss_error": limit.error * zero_force_loss,
        }
    points = [
        {"n_frames": size, "epochs": epochs[k], "train": entry(train[k]), "held_out": entry(held_out[k])}
        for k, size in enumerate(sizes)
    ]
    return {"unit": "fraction of the zero-force loss", "meaning": MEANING, "points": points, **bounds}


def _block_curve(network: AbstractNetwork, frames: PreparedFrames, rows: np.ndarray) -> np.ndarray:
    zero_force = zero_force_losses(frames.trajectories, rows)
    return block_fractions(
        residual_losses(network, frames, rows), zero_force, segment_labels(frames.trajectories, rows)
    )


def _merge(blocks: np.ndarray, n_blocks: int) -> np.ndarray:
    return np.array([part.mean() for part in np.array_split(blocks, n_blocks)])
