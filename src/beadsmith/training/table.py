"""The table of losses that tells a user what a loss means: no force, prior, pair spline and network side by side."""

from dataclasses import asdict
from typing import Any

import numpy as np

from beadsmith.statistics import mean_and_error
from beadsmith.training.loss import block_fractions, block_means, estimate_explained, estimate_loss

LOSS_UNIT = "(kJ/mol/nm)^2"

FrameLosses = dict[str, dict[str, np.ndarray]]
"""Loss of each frame, by model (``zero_force``, ``prior``, ``pair_spline``, ``network``) and by use of the frame."""


def tabulate_losses(losses: FrameLosses, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return mean losses and explained fractions of the force variance with block standard errors, as JSON.

    Parameters
    ----------
    losses : Frame losses of each model on each use; ``zero_force`` must be among them.
    labels : Segment label of each frame of each use.
    """
    zero_force = losses["zero_force"]
    return {
        "unit": LOSS_UNIT,
        "losses": {
            model: {use: asdict(estimate_loss(values, labels[use])) for use, values in uses.items()}
            for model, uses in losses.items()
        },
        "explained_variance": {
            model: {
                use: asdict(estimate_explained(values, zero_force[use], labels[use])) for use, values in uses.items()
            }
            for model, uses in losses.items()
            if model != "zero_force"
        },
    }


def compare_with_baseline(losses: FrameLosses, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return by how much the network's loss on the test frames is below the pair spline's, block by block, as JSON."""
    spline, network = losses["pair_spline"]["test"], losses["network"]["test"]
    difference = estimate_loss(spline - network, labels["test"])
    return {
        "unit": LOSS_UNIT,
        "value": difference.value,
        "error": difference.error,
        "n_standard_errors": difference.value / difference.error if difference.error > 0.0 else float("nan"),
        "fraction": difference.value / float(spline.mean()),
        "n_blocks": len(block_means(spline, labels["test"])),
    }


def measure_gap(losses: FrameLosses, labels: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the network's explained fraction on training minus on test frames, as JSON; large means overfitted."""
    fractions = [
        block_fractions(losses["network"][use], losses["zero_force"][use], labels[use]) for use in ("train", "test")
    ]
    errors = [float(mean_and_error(values)[1]) for values in fractions]
    explained = [
        estimate_explained(losses["network"][use], losses["zero_force"][use], labels[use]).value
        for use in ("train", "test")
    ]
    return {"value": explained[0] - explained[1], "error": float(np.hypot(errors[0], errors[1]))}
