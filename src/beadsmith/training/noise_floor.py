"""A bracket of the noise floor: how the losses on training and held-out frames close in as frames are added.

A network fitted to n frames learns some of their noise: its loss on them is too low and its loss on other frames too
high, both by about b/n. Extrapolated to 1/n = 0, the one bounds from below and the other from above what this network
can reach at this training budget. What a better network could reach, no curve of a single network can tell.

To first order in 1/n both lines end in the same point, the loss of this network on infinitely many frames: their limits
are two estimates of one number, and noise alone lets them cross half of the time. So the pooled estimate is given as
well, with how many standard errors the limits cross. A crossing beyond noise means that the fits were not near their
minimum, so that a + b/n did not hold.

Fresh networks on few frames would not do within a bearable cost: after the same number of epochs they are far from
their own minimum, and their training loss falls as frames are added. So each fit starts from the main one and goes on
with a part of its frames, to the end (validation would choose the start). It forgets the other frames only partly, so
the slopes come out too small. Near the minimum that makes the bracket wider; it is not proven in general.

All losses are taken relative to the pair spline's on the same frames and given as they would be on the test frames:
the label noise, which differs between frames by more than the bracket is wide, cancels.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.progress import Progress, silent
from beadsmith.statistics import mean_and_error
from beadsmith.training.data import PreparedFrames, segment_labels
from beadsmith.training.loop import FitResult
from beadsmith.training.loss import Estimate, block_fractions, residual_losses
from beadsmith.training.side_by_side import run_side_by_side

MEANING = (
    "Loss of this network at this training budget, extrapolated to infinitely many frames as a + b/n: from held-out "
    "frames (upper bound) and from training frames (lower bound for this network). The fits on fewer frames start from "
    "the main fit. Errors are those of the loss relative to the pair spline's on the same frames. Both limits estimate "
    "one number, so they may cross by chance; the estimate pools them."
)


def measure_noise_floor(
    fit_part: Callable[[int, Int[np.ndarray, "_ 2"], Progress], FitResult],
    frames: PreparedFrames,
    *,
    rows: dict[str, Int[np.ndarray, "_ 2"]],
    reference: dict[str, Float[np.ndarray, "_"]],
    zero_force_loss: float,
    fractions: tuple[float, ...],
    main: FitResult,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on leading parts of the training frames and return the bracket as JSON (`summarise_noise_floor`).

    Parameters
    ----------
    fit_part : Goes on from the main fit with some of its rows; its first argument numbers the part, its last receives
        the progress.
    frames : Data with targets.
    rows : Training and test frames (``train``, ``test``).
    reference : Losses of the pair spline on these frames [(kJ/mol/nm)²].
    zero_force_loss : Mean zero-force loss of the test frames [(kJ/mol/nm)²].
    fractions : Parts of the training frames, each segment's leading ones.
    main : The main fit, the last point of the curve.
    progress : Receives the sum of what the fits report.
    """
    labels = {use: segment_labels(frames.trajectories, rows[use]) for use in ("train", "test")}
    parts = [find_leading(labels["train"], fraction) for fraction in sorted(fractions)]
    jobs = [partial(fit_part, number, rows["train"][part]) for number, part in enumerate(parts)]
    fits = run_side_by_side(jobs, progress)
    networks = [fit.last for fit in fits] + [main.network]
    parts.append(np.arange(len(rows["train"])))

    def curve(use: str, chosen: list[np.ndarray]) -> np.ndarray:
        points = [
            block_fractions(residual_losses(network, frames, rows[use][part]), reference[use][part], labels[use][part])
            for network, part in zip(networks, chosen, strict=True)
        ]
        return _align_blocks(points)

    return summarise_noise_floor(
        [len(part) for part in parts],
        curve("train", parts),
        curve("test", [np.arange(len(rows["test"]))] * len(parts)),
        reference_loss=float(reference["test"].mean()),
        zero_force_loss=zero_force_loss,
        epochs=[fit.counters.epoch for fit in (*fits, main)],
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


def find_leading(labels: Int[np.ndarray, "rows"], fraction: float) -> Int[np.ndarray, "_"]:
    """Return the positions of the first part of each segment: contiguous frames, as a shorter run would have given."""
    segments = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    return np.concatenate([segment[: max(1, round(fraction * len(segment)))] for segment in segments])


def summarise_noise_floor(
    sizes: list[int],
    train: Float[np.ndarray, "sizes blocks"],
    held_out: Float[np.ndarray, "sizes blocks"],
    *,
    reference_loss: float,
    zero_force_loss: float,
    epochs: list[int],
) -> dict[str, Any]:
    """Return curve and bracket as JSON; values are fractions of the zero-force loss of the test frames.

    Parameters
    ----------
    sizes : Number of training frames of each fit.
    train, held_out : Loss relative to the reference's, on each block of the fit's own and of the test frames.
    reference_loss, zero_force_loss : Mean losses of the reference and of no force on the test frames [(kJ/mol/nm)²].
    epochs : Length of each fit.
    """
    scale = reference_loss / zero_force_loss

    def describe(values: np.ndarray) -> dict[str, float]:
        mean, error = mean_and_error(scale * values)
        return {"value": float(mean), "error": float(error)}

    bounds = {}
    for name, losses in (("upper_bound", held_out), ("lower_bound", train)):
        limit, slope = fit_inverse_size(np.array(sizes, dtype=np.float64), scale * losses)
        bounds[name] = {
            "value": limit.value,
            "error": limit.error,
            "slope": slope.value,
            "slope_error": slope.error,
            "loss": limit.value * zero_force_loss,
            "loss_error": limit.error * zero_force_loss,
        }
    lower, upper = bounds["lower_bound"], bounds["upper_bound"]
    combined = math.hypot(lower["error"], upper["error"])
    value = 0.5 * (lower["value"] + upper["value"])
    # half the distance is kept in the error: curvature that a + b/n leaves out moves the limits apart
    error = 0.5 * math.hypot(combined, upper["value"] - lower["value"])
    bounds["estimate"] = {
        "value": value,
        "error": error,
        "loss": value * zero_force_loss,
        "loss_error": error * zero_force_loss,
        # standard errors by which the lower bound lies above the upper one
        "crossing": (lower["value"] - upper["value"]) / combined if combined > 0.0 else 0.0,
    }
    points = [
        {"n_frames": size, "epochs": epochs[k], "train": describe(train[k]), "held_out": describe(held_out[k])}
        for k, size in enumerate(sizes)
    ]
    return {"unit": "fraction of the zero-force loss", "meaning": MEANING, "points": points, **bounds}


def _align_blocks(points: list[np.ndarray]) -> np.ndarray:
    """Merge neighbouring blocks so that all sizes have equally many: many short segments give each size its own."""
    n_blocks = min(len(blocks) for blocks in points)
    return np.array([[part.mean() for part in np.array_split(blocks, n_blocks)] for blocks in points])
