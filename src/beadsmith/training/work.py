"""What all parts of one training share: data, their division by use, settings, seeds; and losses on all frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beadsmith.force_field import ForceField
from beadsmith.io.h5md import open_trajectory
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.data import check_labels, check_mappings, segment_labels, split_by_use
from beadsmith.training.folds import Fold, leave_out
from beadsmith.training.loss import force_field_losses, zero_force_losses
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.start import choose_form
from beadsmith.training.volume_fit import check_volume_term
from beadsmith.trajectory import Trajectory

_SMALLEST_CUTOFF = 0.1
"""Cutoff of neighbour lists for force fields without any [nm]."""

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all parts of one training share."""

    trajectories: tuple[Trajectory, ...]
    """Mapped data."""
    sources: tuple[dict[str, Any], ...]
    """Of each trajectory its ``file`` and, of averaged labels, the ``noise_floor`` of instantaneous ones."""
    mapping_summary: dict[str, Any]
    """How atoms became beads."""
    rows: dict[str, np.ndarray]
    """Frames of each use: train, validation, test."""
    settings: TrainingSettings
    """How to fit."""
    form: ThermalForm
    """How the potential depends on temperature."""
    seed: int
    """Seed of everything random."""
    identity: str
    """Hash of everything the result depends on."""
    folder: Path
    """Where log and checkpoints go."""

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Segment label of each frame of each use."""
        return {use: segment_labels(self.trajectories, rows) for use, rows in self.rows.items()}

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the fit."""
        return _PRECISIONS[self.settings.precision]

    def derive_seed(self, purpose: int) -> int:
        """Return independent seeds for different purposes."""
        return int(np.random.SeedSequence([self.seed, purpose]).generate_state(1)[0])

    def find_cutoff(self, model: ForceField) -> float:
        """Return the cutoff of neighbour lists for a force field [nm]."""
        # small bonded molecules may have no pair term at all, and a list needs some cutoff
        return max(model.cutoff, _SMALLEST_CUTOFF)


def read_work(
    settings: TrainingSettings,
    mapped: tuple[Path, ...],
    previous: ForceField | None,
    *,
    folder: Path,
    seed: int,
    identity: str,
    fold: Fold | None = None,
) -> Work:
    """Read, check and divide all mapped trajectories; the mapping is described by the first one.

    A fold is left out of the training frames.

    Raises
    ------
    InputError : the data cannot be trained on together, or not with these settings.
    """
    read, metadata = [], []
    for path in mapped:
        with open_trajectory(path) as stored:
            read.append(stored.read())
            metadata.append(stored.metadata)
    trajectories = tuple(read)
    names = tuple(str(path) for path in mapped)
    check_labels(trajectories, names)
    check_mappings(tuple(metadata), names)
    check_volume_term(settings.volume_term, trajectories)
    split = split_by_use(
        trajectories, validation_fraction=settings.validation_fraction, test_fraction=settings.test_fraction
    )
    return Work(
        trajectories=trajectories,
        sources=tuple(
            {"file": name, "noise_floor": None if trajectory.n_averaged is None else own.get("noise_floor")}
            for name, own, trajectory in zip(names, metadata, trajectories, strict=True)
        ),
        mapping_summary=metadata[0],
        rows={"train": leave_out(split.train, fold), "validation": split.validation, "test": split.test},
        settings=settings,
        form=choose_form(settings, trajectories, previous),
        seed=seed,
        identity=identity,
        folder=folder,
    )


def measure_losses(work: Work, model: ForceField | None) -> dict[str, np.ndarray]:
    """Return the losses of a model (of no force if None) on all frames, by use."""
    if model is None:
        return {use: zero_force_losses(work.trajectories, rows) for use, rows in work.rows.items()}
    cutoff = work.find_cutoff(model)
    return {
        use: force_field_losses(model, work.trajectories, rows, cutoff=cutoff, dtype=work.dtype)
        for use, rows in work.rows.items()
    }
