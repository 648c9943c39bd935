"""What each stage of a run does: the files it reads and writes in the run folder, and the verb it calls."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from beadsmith.analysis.evaluate import evaluate
from beadsmith.config.settings import RunSettings
from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose, list_alarms
from beadsmith.diagnostics.mapping.verdict import verdict_from_json
from beadsmith.diagnostics.probes import probe_force_field
from beadsmith.errors import InputError
from beadsmith.force_field import load_force_field
from beadsmith.importing.run import import_reference
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import read_json, write_json
from beadsmith.mapping.apply import map_reference
from beadsmith.pipeline.averaging import average_labels
from beadsmith.pipeline.bead_energies import add_bead_energies
from beadsmith.pipeline.checks import collect_checks
from beadsmith.pipeline.ensemble import add_ensemble, list_simulations, simulate_members, take_ensemble
from beadsmith.pipeline.training_inputs import find_mapped, take_training
from beadsmith.progress import Progress
from beadsmith.report.build import build_report
from beadsmith.sampling.run import sample
from beadsmith.simulation.run import simulate
from beadsmith.simulation.start import FileStart
from beadsmith.training.ensemble import train_ensemble
from beadsmith.training.fit import train

REFERENCE = "reference.h5"
MAPPED = "mapped.h5"
MEAN_FORCE = "mean_force.h5"
DIAGNOSIS = "diagnosis.json"
FORCE_FIELD = "force_field"
PAIR_SPLINE = "pair_spline"
TRAINING = ("training.json", "training.csv")
ENSEMBLE = "ensemble"
ENSEMBLE_CHECKPOINTS = "ensemble.checkpoint"
SIMULATION = "simulation.h5"
BASELINE_SIMULATION = "pair_spline.h5"
ENSEMBLE_SIMULATIONS = "ensemble_simulations"
EVALUATION = "evaluation.json"
CHECKS = "checks.json"
REPORT = "report.html"

ALARMS = "alarms"
"""What a stage found that spoils all that comes after it, in its summary."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a stage is given."""

    folder: Path
    """Run folder."""
    settings: RunSettings
    """The whole configuration."""
    identity: str
    """Hash of everything the stage's result depends on."""
    summaries: dict[str, dict[str, Any]]
    """What the stages before it reported, by stage."""
    progress: Progress
    """Receives how far the stage is."""


def has_baseline(settings: RunSettings) -> bool:
    """Whether the pair spline is simulated beside a network."""
    return settings.network is not None and settings.baseline


def run_sample(task: Task) -> dict[str, Any]:
    """Sample the reference."""
    settings, output = task.settings, task.folder / REFERENCE
    assert settings.system is not None
    if (finished := _read_finished(output, task.identity)) is not None:
        return finished
    sample(
        settings.sampling,
        settings.system,
        settings.state.to_state_point(),
        output,
        seed=settings.seed,
        identity=task.identity,
        progress=task.progress,
    )
    return _read_finished(output, task.identity) or {}


def run_import(task: Task) -> dict[str, Any]:
    """Import the reference from files."""
    settings, output = task.settings, task.folder / REFERENCE
    assert settings.reference is not None
    if (finished := _read_finished(output, task.identity)) is not None:
        return finished
    return import_reference(
        settings.reference,
        settings.state.to_state_point(),
        output,
        identity=task.identity,
        progress=task.progress,
    )


def run_map(task: Task) -> dict[str, Any]:
    """Map atoms to beads."""
    return map_reference(
        task.folder / REFERENCE,
        task.folder / MAPPED,
        task.settings.mapping,
        identity=task.identity,
        progress=task.progress,
    )


def run_diagnose(task: Task) -> dict[str, Any]:
    """Judge the map before any training."""
    settings = task.settings
    found = diagnose(
        task.folder / MAPPED,
        ModelSettings(network=settings.network, prior=settings.prior),
        correction=settings.training.correction,
        output=task.folder / DIAGNOSIS,
        progress=task.progress,
    )
    return {**found["summary"], ALARMS: list_alarms([verdict_from_json(entry) for entry in found["checks"]])}


def run_average(task: Task) -> dict[str, Any]:
    """Average forces at fixed beads."""
    output = task.folder / MEAN_FORCE
    if (finished := _read_finished(output, task.identity)) is not None:
        return _summarise_averages(finished)
    found = average_labels(
        task.settings,
        task.folder / REFERENCE,
        task.folder / MAPPED,
        output,
        identity=task.identity,
        progress=task.progress,
    )
    return _summarise_averages(found)


def _summarise_averages(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("platform", "timestep", "noise_floor", "heat_capacity")} | {
        "frames_per_second": found.get("frames_per_second")
    }


def run_train(task: Task) -> dict[str, Any]:
    """Fit prior, pair spline and network."""
    settings = task.settings
    if settings.trained_in is not None:
        return take_training(Path(settings.trained_in), task.folder)
    summary = train(
        settings.training,
        settings.network,
        settings.prior,
        _list_mapped(task),
        task.folder / FORCE_FIELD,
        baseline_output=task.folder / PAIR_SPLINE,
        seed=settings.seed,
        identity=task.identity,
        start=None if settings.start_from is None else Path(settings.start_from),
        progress=task.progress,
    )
    # the rest is in training.json
    return {} if summary["network"] is None else {"sites_per_second": summary["network"]["sites_per_second"]}


def run_train_ensemble(task: Task) -> dict[str, Any]:
    """Train the other members of the ensemble."""
    settings = task.settings
    assert settings.ensemble is not None
    if settings.trained_in is not None:
        return {"flagged": take_ensemble(settings, task.folder / ENSEMBLE)["flagged"]}
    # the noise floor is one of data and network, not of a seed
    training = replace(settings.training, noise_floor_fractions=())
    mapped = _list_mapped(task)
    found = train_ensemble(
        settings.ensemble,
        training,
        partial(train, training, settings.network, settings.prior, mapped),
        mapped,
        task.folder / ENSEMBLE,
        main=task.folder / FORCE_FIELD,
        scratch=task.folder / ENSEMBLE_CHECKPOINTS,
        seed=settings.seed,
        identity=task.identity,
        progress=task.progress,
    )
    # the rest is in the folder's own record
    return {"flagged": found["flagged"]}


def _list_mapped(task: Task) -> tuple[Path, ...]:
    """Return all files that training reads frames from."""
    settings = task.settings
    return (
        task.folder / MAPPED,
        *([] if settings.mean_force is None else [task.folder / MEAN_FORCE]),
        *(path for entry in settings.train_with for path in find_mapped(entry)),
    )


def run_simulate(task: Task) -> dict[str, Any]:
    """Simulate with the force field."""
    return _simulate_with(task, FORCE_FIELD, SIMULATION)


def run_simulate_baseline(task: Task) -> dict[str, Any]:
    """Simulate with the pair spline beside it."""
    return _simulate_with(task, PAIR_SPLINE, BASELINE_SIMULATION)


def run_simulate_ensemble(task: Task) -> dict[str, Any]:
    """Simulate with the other members of the ensemble."""
    return simulate_members(
        task.settings,
        task.folder / ENSEMBLE,
        task.folder / MAPPED,
        task.folder / ENSEMBLE_SIMULATIONS,
        identity=task.identity,
        progress=task.progress,
    )


def _simulate_with(task: Task, force_field: str, output: str) -> dict[str, Any]:
    return simulate(
        load_force_field(task.folder / force_field),
        FileStart(path=task.folder / MAPPED),
        task.settings.simulation,
        task.folder / output,
        temperature=task.settings.state.temperature,
        seed=task.settings.seed,
        identity=task.identity,
        progress=task.progress,
    )


def run_evaluate(task: Task) -> dict[str, Any]:
    """Compare the simulations with the reference, probe the force field, and judge the checks."""
    simulations = {"pair_spline" if task.settings.network is None else "network": task.folder / SIMULATION}
    if has_baseline(task.settings):
        simulations["pair_spline"] = task.folder / BASELINE_SIMULATION
    members = list_simulations(task.settings, task.folder / ENSEMBLE_SIMULATIONS)
    simulations |= members
    evaluation = evaluate(task.folder / MAPPED, simulations, task.settings.evaluation, progress=task.progress)
    training = read_json(task.folder / TRAINING[0])
    evaluation = _add_bead_energies(task, evaluation, simulations, training)
    if members:
        evaluation = add_ensemble(
            task.settings,
            evaluation,
            ensemble=task.folder / ENSEMBLE,
            main=task.folder / FORCE_FIELD,
            simulation=task.folder / SIMULATION,
            members=members,
            progress=task.progress,
        )
    evaluation["probes"] = _probe(task, evaluation["systems"]["reference"]["molecules"])
    write_json(task.folder / EVALUATION, evaluation)
    diagnosis = []
    if "diagnose" in task.summaries and (task.folder / DIAGNOSIS).is_file():
        diagnosis = [verdict_from_json(entry) for entry in read_json(task.folder / DIAGNOSIS)["checks"]]
    checks = collect_checks(evaluation, training, task.summaries, diagnosis)
    write_json(task.folder / CHECKS, {"checks": [check.to_json() for check in checks]})
    return {"n_checks": len(checks)}


def _add_bead_energies(
    task: Task, evaluation: dict[str, Any], simulations: dict[str, Path], training: dict[str, Any]
) -> dict[str, Any]:
    """Return the evaluation with what networks of energy and entropy say of their simulations, members' included."""
    if task.settings.network is None:
        return evaluation
    numbers = range(1, task.settings.ensemble.members) if task.settings.ensemble is not None else ()
    folders = {f"member-{number}": task.folder / ENSEMBLE / str(number) for number in numbers}
    files = [Path(entry["file"]) for entry in training.get("files") or ()]
    if task.settings.trained_in is None:
        # the run's own frames come first, and the folder may have been moved since
        files = [task.folder / MAPPED, *files[1:]]
    return add_bead_energies(
        evaluation,
        {"network": task.folder / FORCE_FIELD, **folders},
        simulations,
        task.settings.evaluation,
        mapped=task.folder / MAPPED,
        training=files,
        main="network",
    )


def _probe(task: Task, molecules: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the force field itself can tell apart; None where there is no network."""
    if task.settings.network is None:
        return None
    return probe_force_field(
        load_force_field(task.folder / FORCE_FIELD),
        task.folder / MAPPED,
        molecules,
        inversion=task.settings.evaluation.inversion_barrier,
        temperature=task.settings.state.temperature,
        seed=task.settings.seed,
        progress=task.progress,
    )


def run_report(task: Task) -> dict[str, Any]:
    """Write the report."""
    build_report(task.folder)
    return {}


def _read_finished(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the metadata of a trajectory of this identity: a kill may come after the file, before its record."""
    try:
        with open_trajectory(path) as stored:
            return stored.metadata if stored.metadata.get("identity") == identity else None
    except InputError:
        return None
