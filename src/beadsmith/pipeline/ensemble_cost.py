"""What an ensemble adds to the estimate of a run: each further network is trained, simulated and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from beadsmith.config.settings import RunSettings
from beadsmith.machine import count_cores

if TYPE_CHECKING:
    from beadsmith.pipeline.estimate import Estimate

_RUNS_EVALUATED = 3.0
"""Trajectories behind the estimate of an evaluation: reference, network and pair spline."""


def add_ensemble(settings: RunSettings, estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return the estimates of all stages with those of the ensemble in their place; the same where there is none."""
    if settings.ensemble is None:
        return list(estimates)
    n_others = settings.ensemble.members - 1
    n_parts = len(settings.training.noise_floor_fractions)
    # members do without the fits of the noise floor
    floor = settings.training.noise_floor_cost / min(n_parts, count_cores()) if n_parts else 0.0
    found = []
    for entry in estimates:
        work = f"{n_others} x {entry.work}"
        if entry.stage == "evaluate":
            entry = replace(entry, time=entry.time * (1.0 + n_others / _RUNS_EVALUATED))
        found.append(entry)
        if entry.stage == "train":
            time = n_others * entry.time / (1.0 + floor)
            found.append(replace(entry, stage="train_ensemble", work=work, time=time, disk=n_others * entry.disk))
        if entry.stage == "simulate":
            time, disk = n_others * entry.time, n_others * entry.disk
            found.append(replace(entry, stage="simulate_ensemble", work=work, time=time, disk=disk))
    return found
