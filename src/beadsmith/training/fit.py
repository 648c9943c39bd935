"""The verb `train`: mapped trajectories in, force field folders and a table of losses out."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beadsmith import __version__
from beadsmith.energy import AbstractEnergyTerm, AbstractNetwork, trust_fused
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field, save_force_field
from beadsmith.io.records import write_json
from beadsmith.networks.kinds import NetworkSettings
from beadsmith.priors.fit import PriorSettings, fit_prior
from beadsmith.progress import Progress, silent
from beadsmith.training.allocator import LARGE_BATCH, keep_freed_memory
from beadsmith.training.apply_correction import check_correction, correct, drop_corrections
from beadsmith.training.by_file import describe_files
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import (
    load_example,
    prepare_frames,
    segment_labels,
    select_rows,
)
from beadsmith.training.describe import describe_data
from beadsmith.training.folds import Fold
from beadsmith.training.label_errors import measure_offsets
from beadsmith.training.label_noise import note_offsets, weigh_labels
from beadsmith.training.loop import Counters, FitResult, fit_network
from beadsmith.training.loss import residual_losses, target_losses, zero_force_losses
from beadsmith.training.noise_floor import measure_noise_floor
from beadsmith.training.prior_run import simulate_prior
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.start import start_network
from beadsmith.training.table import FrameLosses, compare_with_baseline, measure_gap, tabulate_losses
from beadsmith.training.virial_labels import measure_virials
from beadsmith.training.volume_fit import (
    MissingPressure,
    find_missing_pressure,
    fit_volume_term,
    simulate_missing_pressure,
)
from beadsmith.training.volume_settings import VolumeTermSettings
from beadsmith.training.work import Work, measure_losses, read_work

CHECKPOINTS = "training.checkpoint"
"""Folder, beside the force field, of the checkpoints of an unfinished training."""

_CORRECTION_BEGINS = 0.9
"""Progress at which a correction begins after a fit."""


def train(
    settings: TrainingSettings,
    network_settings: NetworkSettings | None,
    prior_settings: PriorSettings,
    mapped: tuple[Path, ...],
    output: Path,
    *,
    baseline_output: Path,
    seed: int,
    identity: str,
    start: Path | None = None,
    fold: Fold | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Fit prior, pair spline and network to mapped forces; go on where an interrupted call with this identity stopped.

    Writes both force field folders and, beside `output`, ``training.csv`` (one line per epoch) and ``training.json``
    (the returned summary). The same files, seed, settings and thread count give the same weights on a CPU.

    Parameters
    ----------
    settings, network_settings, prior_settings : What to fit and how; None for a pair spline without a network.
    mapped : Mapped trajectories, one or more state points.
    output, baseline_output : Folders of the force field and of the pair-spline force field.
    seed : Seed of the initial weights and of the order of the frames.
    identity : Hash of everything the result depends on; checkpoints of another identity are ignored.
    start : Force field folder to continue or fine-tune from: its prior and its weights are the start; a correction of
        it is dropped.
    fold : Part of the training frames to leave out, for a member of an ensemble.
    progress : Receives the work done, in epochs of the main fit.

    Raises
    ------
    InputError : data, settings and start do not fit each other, CUDA is asked for but missing, or the frames cannot
        determine the correction.
    PhysicsError : the loss became non-finite too often, a constant of the prior is not positive, molecules blow up with
        the prior alone, or the force field cannot be simulated for its correction.
    """
    _prepare_device(settings)
    if settings.epochs == 0 and start is None:
        raise InputError(
            "'training.epochs' is 0 and there is no force field to start from",
            fix="Give one with '--from FORCE_FIELD', or train for at least one epoch.",
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    previous = None if start is None else load_force_field(start)
    work = read_work(settings, mapped, previous, folder=Path(output).parent, seed=seed, identity=identity, fold=fold)
    with _limited_threads(settings.threads):
        type_names = work.trajectories[0].topology.type_names
        network = start_network(network_settings, type_names, work.derive_seed(0), previous, form=work.form)
        progress(0.0, 1.0, "prior and pair spline")
        prior_fit = fit_prior(select_rows(work.trajectories, work.rows["train"]), prior_settings)
        record = describe_data(
            work.trajectories,
            search_cutoff=prior_settings.cutoff,
            mapping_summary=work.mapping_summary,
            metadata={"beadsmith": __version__, "seed": seed, "identity": identity, "training": asdict(settings)},
        )
        baseline = force_field = ForceField(prior_fit.baseline, None, record)
        check_correction(settings, baseline, work.trajectories)
        losses = {"zero_force": measure_losses(work, None), "pair_spline": measure_losses(work, baseline)}
        details: dict[str, Any] = dict.fromkeys(("network", "labels", "noise_floor", "correction", "volume_term"))
        if network is not None:
            prior = prior_fit.terms if previous is None else drop_corrections(previous)
            if previous is None and prior_fit.summary["bonded"]:
                prior_fit.summary["simulations"] = simulate_prior(
                    ForceField(prior, None, record),
                    work.trajectories,
                    seed=work.derive_seed(2),
                    progress=lambda done, total, note="": progress(0.0, 1.0, f"{note} {done:g}/{total:g}"),
                )
            network, details = _fit_all(work, network, prior, baseline, losses, progress)
            record = replace(record, metadata={**record.metadata, "labels": details["labels"]})
            force_field = ForceField(prior, network, record, work.form)
        if settings.correction is not None:
            force_field, details["correction"] = _correct(work, force_field, losses, progress)
        name = "pair_spline" if force_field is baseline else "corrected" if network is None else "network"
        models = {"pair_spline": baseline, name: force_field}
        models, details["volume_term"], details["virials"] = _settle_pressure(work, models, progress)
        baseline, force_field = models["pair_spline"], models[name]
        summary = {**_summarise(work, losses), "prior": prior_fit.summary, **details}
    save_force_field(baseline, baseline_output)
    save_force_field(force_field, output)
    write_json(work.folder / "training.json", summary)
    shutil.rmtree(work.folder / CHECKPOINTS, ignore_errors=True)
    return summary


def _prepare_device(settings: TrainingSettings) -> None:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is asked for but torch sees no CUDA device", fix="Use 'device: cpu'.")
    if settings.device == "cpu" and settings.batch_size >= LARGE_BATCH:
        keep_freed_memory()


def _correct(
    work: Work, force_field: ForceField, losses: FrameLosses, progress: Progress
) -> tuple[ForceField, dict[str, Any]]:
    """Return the force field with a correction, as far as the frames ask for one, and what is known about it."""
    # a share of the time that the fit took, which nobody knows beforehand
    begin = _CORRECTION_BEGINS if work.settings.epochs else 0.0
    corrected, summary = correct(
        force_field,
        work.trajectories,
        work.rows,
        work.settings,
        scratch=work.folder / CHECKPOINTS,
        identity=work.identity,
        seed=work.derive_seed(3),
        progress=lambda done, total, note="": progress(
            begin * total + (1.0 - begin) * done, total, f"{note} {done:g}/{total:g}"
        ),
    )
    if corrected is not force_field:
        losses["corrected"] = measure_losses(work, corrected)
    return corrected, summary


def _settle_pressure(
    work: Work, models: dict[str, ForceField], progress: Progress
) -> tuple[dict[str, ForceField], dict[str, Any] | None, dict[str, Any] | None]:
    """Return the force fields with their terms of the volume, what is known about these, and how far virials are off.

    Terms are fitted to training and validation frames; virials are looked at on test frames, before and after.
    """
    settings, seen, terms = work.settings.volume_term, dict(models), {}
    if settings is not None:
        models = dict(models)
        for name, model in seen.items():
            missing = _find_missing_pressure(work, name, model, settings, progress)
            models[name], terms[name] = fit_volume_term(model, missing, order=settings.order)
        seen |= {f"{name}_with_volume_term": model for name, model in models.items()}
    found = measure_virials(
        seen,
        work.trajectories,
        work.rows["test"],
        work.labels["test"],
        cutoff=max(work.find_cutoff(model) for model in models.values()),
        dtype=work.dtype,
    )
    return models, terms or None, found


def _find_missing_pressure(
    work: Work, name: str, model: ForceField, settings: VolumeTermSettings, progress: Progress
) -> MissingPressure:
    """Return what a force field's pressure lacks, on frames of the data or in its own simulations."""
    rows = np.concatenate([work.rows["train"], work.rows["validation"]])
    if settings.method == "labels":
        labels = segment_labels(work.trajectories, rows)
        return find_missing_pressure(
            model, work.trajectories, rows, labels, cutoff=work.find_cutoff(model), dtype=work.dtype
        )
    return simulate_missing_pressure(
        model,
        work.trajectories,
        rows,
        settings.simulation.to_simulation(
            precision=work.settings.precision,
            device=work.settings.device,
            threads=work.settings.threads,
            checkpoint_interval=work.settings.checkpoint_interval,
        ),
        name_output=lambda number: work.folder / CHECKPOINTS / f"pressure-{name}-{number}.h5",
        identity=work.identity,
        seed=work.derive_seed(4),
        progress=lambda done, total, note="": progress(1.0, 1.0, f"pressure of {name}: {done:g}/{total:g} ps"),
    )


def _fit_all(
    work: Work,
    network: AbstractNetwork,
    prior: list[AbstractEnergyTerm],
    baseline: ForceField,
    losses: FrameLosses,
    progress: Progress,
) -> tuple[AbstractNetwork, dict[str, Any]]:
    """Fit the network to all training frames and, for the noise floor, to parts of them; add both to the losses."""
    settings = work.settings
    fractions = settings.noise_floor_fractions if settings.epochs else ()
    total = max(settings.epochs, 1) * (1.0 + (settings.noise_floor_cost if fractions else 0.0))
    weighing = weigh_labels(
        work.trajectories,
        work.rows["train"],
        baseline=baseline,
        baseline_losses=losses["pair_spline"]["train"],
        cutoff=work.find_cutoff(baseline),
        form=work.form,
        settings=settings.labels,
    )
    frames = prepare_frames(
        work.trajectories,
        prior,
        cutoff=network.cutoff,
        memory_limit=settings.pair_memory,
        thermal_form=work.form,
        weights=weighing.weights,
        device=settings.device,
        dtype=work.dtype,
        progress=lambda done, n_frames, note="": progress(0.0, total, f"{note} {done:g}/{n_frames:g}"),
    )

    example = load_example(frames, work.rows["train"][:1])
    trust_fused(network.to(frames.device, frames.dtype), example.batch, example.pairs)

    def fit(
        name: str, first: AbstractNetwork, rows: np.ndarray, chosen: TrainingSettings, report: Progress
    ) -> FitResult:
        weight = len(rows) / len(work.rows["train"])
        return fit_network(
            first,
            frames,
            train_rows=rows,
            validation_rows=work.rows["validation"],
            settings=chosen,
            files=_fit_files(work, name),
            seed=work.derive_seed(1),
            progress=lambda epochs, _, note="": report(weight * epochs, total, f"{name} fit, {note}"),
        )

    def fit_part(number: int, rows: np.ndarray, report: Progress) -> FitResult:
        share = settings.noise_floor_cost / len(fractions)
        short = _shorten(settings, main.counters, len(rows) / len(work.rows["train"]), share)
        return fit(f"noise-floor-{number + 1}", main.network, rows, short, report)

    main = fit("main", network, work.rows["train"], settings, progress)
    losses["prior"] = {use: target_losses(frames, rows) for use, rows in work.rows.items()}
    losses["network"] = {use: residual_losses(main.network, frames, rows) for use, rows in work.rows.items()}
    offsets = measure_offsets(main.network, frames, work.rows["train"], most=None)
    details: dict[str, Any] = {
        "network": _summarise_fit(work, main),
        "labels": note_offsets(weighing.summary, offsets),
        "noise_floor": None,
        "correction": None,
    }
    if fractions:
        details["noise_floor"] = measure_noise_floor(
            fit_part,
            frames,
            rows=work.rows,
            reference=losses["pair_spline"],
            zero_force_loss=float(losses["zero_force"]["test"].mean()),
            fractions=fractions,
            main=main,
            progress=lambda done, _, note="": progress(settings.epochs + done, total, note),
        )
    return main.network.cpu(), details


def _fit_files(work: Work, name: str) -> FitFiles:
    return FitFiles(
        checkpoint=work.folder / CHECKPOINTS / f"{name}.safetensors",
        identity=work.identity,
        log=work.folder / "training.csv" if name == "main" else None,
    )


def _shorten(settings: TrainingSettings, main: Counters, fraction: float, share: float) -> TrainingSettings:
    """Return the recipe of a fit to part of the frames: the main one at part of its cost, and never stopped early."""
    epochs = max(1, round(share * main.epoch / fraction))
    return replace(
        settings,
        epochs=epochs,
        early_stop_patience=epochs,
        # validation gets worse from the start, so the rate falls four times on the way
        plateau_patience=max(1, epochs // 4),
        max_time=None if settings.max_time is None else share * settings.max_time,
    )


def _summarise_fit(work: Work, fit: FitResult) -> dict[str, Any]:
    network, counters = fit.network, fit.counters
    sites = sum(work.trajectories[number].n_sites for number in work.rows["train"][:, 0].tolist())
    earlier = [entry["validation_loss"] for entry in counters.log if entry["epoch"] <= 0.75 * counters.epoch]
    variance = float(zero_force_losses(work.trajectories, work.rows["validation"]).mean())
    return {
        "config": {"kind": network.kind, **network.to_config()},
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": counters.epoch,
        "steps": counters.step,
        "best_epoch": counters.best_epoch,
        "best_validation_loss": counters.best_loss,
        # fraction of the force variance that the last quarter of the epochs gained
        "late_improvement": (min(earlier, default=variance) - counters.best_loss) / variance if counters.epoch else 0.0,
        "last_learning_rate": counters.rate,
        "restarts": counters.restarts,
        "stop_reason": counters.stop_reason,
        "seconds": counters.seconds,
        "sites_per_second": sites * counters.epoch / counters.step_seconds if counters.step_seconds else None,
    }


def _summarise(work: Work, losses: FrameLosses) -> dict[str, Any]:
    has_network = "network" in losses
    return {
        "n_frames": {use: len(rows) for use, rows in work.rows.items()},
        "n_sites": [trajectory.n_sites for trajectory in work.trajectories],
        "seed": work.seed,
        "settings": asdict(work.settings),
        **tabulate_losses(losses, work.labels),
        "files": describe_files(work, losses),
        "improvement": compare_with_baseline(losses, work.labels) if has_network else None,
        "gap": measure_gap(losses, work.labels) if has_network else None,
    }


@contextmanager
def _limited_threads(n_threads: int | None) -> Iterator[None]:
    """Let torch use the given number of CPU threads inside the block."""
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
