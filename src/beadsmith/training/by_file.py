"""Losses of each file of a data set on its own: state points side by side, and errors without the noise of labels."""

from typing import Any

import numpy as np

from beadsmith.training.labels import list_temperatures
from beadsmith.training.loss import estimate_loss
from beadsmith.training.table import LOSS_UNIT, FrameLosses
from beadsmith.training.work import Work


def describe_files(work: Work, losses: FrameLosses) -> list[dict[str, Any]]:
    """Return what training says about each file, as JSON.

    Parameters
    ----------
    work : The data.
    losses : Loss of each frame, by model and use.

    Returns
    -------
    For each file its name, ``temperatures`` [K], ``n_frames`` by use, and ``test``: the loss of each model on its test
    frames with its block standard error, None without such frames. Of averaged labels also ``label_noise``, the mean
    square of their standard errors, which is what these losses contain beside the error of the model; and
    ``noise_floor``, the variance of an instantaneous force at fixed beads [(kJ/mol/nm)²].
    """
    described = []
    for number, (trajectory, source) in enumerate(zip(work.trajectories, work.sources, strict=True)):
        mine = {use: rows[:, 0] == number for use, rows in work.rows.items()}
        test, labels = mine["test"], work.labels["test"]
        noise = trajectory.force_noise
        own = work.rows["test"][test, 1] if test.any() else slice(None)
        described.append(
            {
                "file": source["file"],
                "temperatures": list_temperatures(trajectory),
                "is_averaged": trajectory.n_averaged is not None,
                "n_frames": {use: int(chosen.sum()) for use, chosen in mine.items()},
                "unit": LOSS_UNIT,
                "test": {
                    model: vars(estimate_loss(values["test"][test], labels[test])) for model, values in losses.items()
                }
                if test.any()
                else None,
                "label_noise": None if noise is None else float(np.mean(noise[own].astype(np.float64) ** 2)),
                "noise_floor": source["noise_floor"],
            }
        )
    return described
