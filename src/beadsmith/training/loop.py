"""The training loop: AdamW on the force-matching loss, averaged weights, plateau schedule and early stop.

One process today. For `torchrun` later: give each rank its share of every batch in `_step_` and average the gradients
there; nothing else depends on the number of processes.
"""

import copy
import csv
import io
import math
import time
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import PhysicsError
from beadsmith.io.records import write_bytes
from beadsmith.progress import Progress, silent
from beadsmith.training.checkpoint import (
    FitFiles,
    load_checkpoint,
    load_module_,
    load_optimiser_,
    module_tensors,
    optimiser_tensors,
    save_checkpoint,
)
from beadsmith.training.data import PreparedFrames, load_example, shuffle_batches
from beadsmith.training.label_errors import compute_loss, label_losses, measure_offsets
from beadsmith.training.labels import LabelKind
from beadsmith.training.loss import target_losses
from beadsmith.training.settings import TrainingSettings

MIN_IMPROVEMENT = 1e-4
"""Relative decrease of the validation loss that is worth going on."""

LOG_FIELDS = ("epoch", "step", "train_loss", "validation_loss", "learning_rate", "seconds")


@dataclass(kw_only=True)
class Counters:
    """Where a fit stands; all of it is stored in its checkpoint."""

    rate: float
    """Current learning rate."""
    epoch: int = 0
    """Number of finished epochs."""
    position: int = 0
    """Number of finished batches of the current epoch."""
    step: int = 0
    """Number of optimiser steps."""
    loss_sum: float = 0.0
    """Sum of the batch losses of the current epoch [(kJ/mol/nm)²]."""
    best_loss: float = math.inf
    """Smallest validation loss so far [(kJ/mol/nm)²]."""
    best_epoch: int = 0
    """Epoch of the smallest validation loss."""
    patience_start: int = 0
    """Epoch of the last decrease beyond the plateau threshold, or of the last reduction of the rate."""
    improved_epoch: int = 0
    """Epoch of the last improvement that counts."""
    restarts: int = 0
    """Number of returns to the best weights after a non-finite loss."""
    offsets: list[float] = field(default_factory=list)
    """Label minus predicted energy of each trajectory in the mean [kJ/mol]."""
    seconds: float = 0.0
    """Wall time spent."""
    step_seconds: float = 0.0
    """Wall time spent on optimiser steps."""
    stop_reason: str = ""
    """Why the fit ended; empty while it runs."""
    log: list[dict[str, float]] = field(default_factory=list)
    """One entry per epoch, see `LOG_FIELDS`; where there are several kinds of labels, the part of each as well."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit ended with."""

    network: AbstractNetwork
    """The averaged weights with the smallest validation loss."""
    last: AbstractNetwork
    """The averaged weights at the end."""
    counters: Counters
    """How it went."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The moving parts of a fit; they change in place."""

    network: AbstractNetwork
    average: AbstractNetwork
    best: AbstractNetwork
    # kept because walking the modules for them takes as long as a kernel
    parameters: list[nn.Parameter]
    averaged_parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    epoch_start: torch.Tensor
    counters: Counters


def fit_network(
    network: AbstractNetwork,
    frames: PreparedFrames,
    *,
    train_rows: Int[np.ndarray, "train 2"],
    validation_rows: Int[np.ndarray, "validation 2"],
    settings: TrainingSettings,
    files: FitFiles,
    seed: int,
    progress: Progress = silent,
) -> FitResult:
    """Fit a network to what the prior leaves of the labels; go on from a checkpoint where there is one.

    Minimises the mean of the weighted squared errors of force components, plus that of each other kind of label.

    Parameters
    ----------
    network : Start; it is not changed.
    frames : Data with targets.
    train_rows, validation_rows : Frames to fit and to validate.
    settings : Optimiser and stopping rules.
    files : Checkpoint and log.
    seed : Seed of the order of the batches.
    progress : Receives epochs done and the validation loss.

    Raises
    ------
    PhysicsError : loss or gradient became non-finite more than `max_restarts` times.
    """
    # makes loss and gradient clipping free of units
    scale = max(float(target_losses(frames, train_rows).mean()), 1e-12)
    fit = _start(network, frames, settings, seed)
    if not _resume_(fit, files):
        fit.counters.offsets = measure_offsets(fit.network, frames, train_rows)
        _validate_(fit, frames, validation_rows, settings)
    counters, saved = fit.counters, time.monotonic()
    if settings.epochs == 0:
        counters.stop_reason = "no epochs asked for"
    while not counters.stop_reason:
        fit.generator.set_state(fit.epoch_start)
        batches = shuffle_batches(train_rows, settings.batch_size, fit.generator)
        for rows in batches[counters.position :]:
            began = time.monotonic()
            _step_(fit, frames, rows, scale, settings)
            counters.seconds += time.monotonic() - began
            counters.step_seconds += time.monotonic() - began
            progress(counters.epoch + counters.position / len(batches), settings.epochs, _note(counters))
            if settings.max_time is not None and counters.seconds > settings.max_time:
                counters.stop_reason = f"max_time of {settings.max_time:g} s reached"
                break
            if time.monotonic() - saved > settings.checkpoint_interval:
                _save(fit, files)
                saved = time.monotonic()
        fit.epoch_start.copy_(fit.generator.get_state())
        _end_epoch_(fit, frames, validation_rows, settings)
        _write_log(fit.counters, files)
    _save(fit, files)
    return FitResult(network=fit.best, last=fit.average, counters=counters)


def average_weights_(averages: list[nn.Parameter], weights: list[nn.Parameter], decay: float) -> None:
    """Move the averaged weights towards the current ones: m ← decay · m + (1 − decay) · w."""
    with torch.no_grad():
        torch._foreach_lerp_(tuple(averages), tuple(weights), 1.0 - decay)


def _start(network: AbstractNetwork, frames: PreparedFrames, settings: TrainingSettings, seed: int) -> _Fit:
    def twin() -> AbstractNetwork:
        return copy.deepcopy(network).to(frames.device, frames.dtype)

    learned, average = twin().train().requires_grad_(True), twin().eval().requires_grad_(False)
    parameters = list(learned.parameters())
    generator = torch.Generator().manual_seed(seed)
    return _Fit(
        network=learned,
        average=average,
        best=twin().eval().requires_grad_(False),
        parameters=parameters,
        averaged_parameters=list(average.parameters()),
        optimiser=torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        ),
        generator=generator,
        epoch_start=generator.get_state(),
        counters=Counters(rate=settings.learning_rate),
    )


def _step_(fit: _Fit, frames: PreparedFrames, rows: np.ndarray, scale: float, settings: TrainingSettings) -> None:
    """Take one optimiser step and move the average, or go back to the best weights if the loss is not finite."""
    counters = fit.counters
    example = load_example(frames, rows)
    loss = compute_loss(fit.network, frames.thermal_form, example, counters.offsets, create_graph=True) / scale
    fit.optimiser.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(fit.parameters, settings.gradient_clip)
    counters.position += 1
    counters.step += 1
    if not math.isfinite(loss.item() + norm.item()):
        _go_back_(fit, settings)
        return
    counters.loss_sum += loss.item() * scale
    for group in fit.optimiser.param_groups:
        group["lr"] = counters.rate
    fit.optimiser.step()
    # the first steps would otherwise weigh the untrained start for 1/(1 - averaging) steps
    decay = min(settings.averaging, counters.step / (counters.step + 10.0))
    average_weights_(fit.averaged_parameters, fit.parameters, decay)


def _go_back_(fit: _Fit, settings: TrainingSettings) -> None:
    """Return to the best weights with fresh moments and half the rate.

    Raises
    ------
    PhysicsError : that has been done too often.
    """
    counters = fit.counters
    counters.restarts += 1
    if counters.restarts > settings.max_restarts:
        raise PhysicsError(
            f"the training loss became non-finite {counters.restarts} times (epoch {counters.epoch + 1}, rate "
            f"{counters.rate:.1e})",
            fix="Lower 'learning_rate', use 'precision: float64', or look for wrong forces in the mapped data.",
        )
    counters.rate *= 0.5
    fit.network.load_state_dict(fit.best.state_dict())
    fit.average.load_state_dict(fit.best.state_dict())
    fit.optimiser.state.clear()


def _end_epoch_(fit: _Fit, frames: PreparedFrames, validation_rows: np.ndarray, settings: TrainingSettings) -> None:
    """Validate the averaged weights, then decide on the rate and on going on."""
    counters = fit.counters
    train_loss = counters.loss_sum / max(counters.position, 1)
    counters.epoch, counters.position, counters.loss_sum = counters.epoch + 1, 0, 0.0
    began = time.monotonic()
    losses = _validate_(fit, frames, validation_rows, settings)
    counters.seconds += time.monotonic() - began
    values = (counters.epoch, counters.step, train_loss, sum(losses.values()), counters.rate, counters.seconds)
    by_kind = {f"validation_{kind}": loss for kind, loss in losses.items()} if len(losses) > 1 else {}
    counters.log.append(dict(zip(LOG_FIELDS, values, strict=True)) | by_kind)
    if counters.stop_reason:
        return
    if counters.epoch - counters.patience_start > settings.plateau_patience:
        counters.rate *= settings.plateau_factor
        counters.patience_start = counters.epoch
    if counters.epoch - counters.improved_epoch >= settings.early_stop_patience:
        counters.stop_reason = f"no better validation loss for {settings.early_stop_patience} epochs"
    elif counters.epoch >= settings.epochs:
        counters.stop_reason = f"all {settings.epochs} epochs done"


def _validate_(
    fit: _Fit, frames: PreparedFrames, validation_rows: np.ndarray, settings: TrainingSettings
) -> dict[LabelKind, float]:
    """Return the validation loss of the averaged weights by kind of label; keep them if they are the best so far."""
    counters = fit.counters
    losses = {kind: float(each.mean()) for kind, each in label_losses(fit.average, frames, validation_rows).items()}
    loss = sum(losses.values())
    if not math.isfinite(loss) and counters.epoch:
        _go_back_(fit, settings)
    elif loss < counters.best_loss:
        if loss < counters.best_loss * (1.0 - settings.plateau_threshold):
            counters.patience_start = counters.epoch
        if loss < counters.best_loss * (1.0 - MIN_IMPROVEMENT):
            counters.improved_epoch = counters.epoch
        counters.best_loss, counters.best_epoch = loss, counters.epoch
        fit.best.load_state_dict(fit.average.state_dict())
    return losses


def _save(fit: _Fit, files: FitFiles) -> None:
    tensors = {
        **module_tensors("network", fit.network),
        **module_tensors("average", fit.average),
        **module_tensors("best", fit.best),
        **optimiser_tensors(fit.optimiser),
        "epoch_start": fit.epoch_start,
    }
    save_checkpoint(files, tensors=tensors, counters=asdict(fit.counters))


def _resume_(fit: _Fit, files: FitFiles) -> bool:
    """Put a checkpoint's state into a fresh fit; return whether there was one."""
    saved = load_checkpoint(files)
    if saved is None:
        return False
    tensors, counters = saved
    for name in ("network", "average", "best"):
        load_module_(name, getattr(fit, name), tensors)
    load_optimiser_(fit.optimiser, tensors)
    fit.epoch_start.copy_(tensors["epoch_start"])
    for name, value in counters.items():
        setattr(fit.counters, name, value)
    return True


def _write_log(counters: Counters, files: FitFiles) -> None:
    if files.log is None:
        return
    text = io.StringIO()
    fields = tuple(counters.log[0]) if counters.log else LOG_FIELDS
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(counters.log)
    write_bytes(files.log, text.getvalue().encode())


def _note(counters: Counters) -> str:
    return f"epoch {counters.epoch + 1}, validation loss {counters.best_loss:.4g} (kJ/mol/nm)^2"
