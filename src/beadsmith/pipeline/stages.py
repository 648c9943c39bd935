"""The stages of a run as a table: what each depends on, what it writes, and the function that does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beadsmith.analysis.evaluate import evaluate
from beadsmith.config.settings import RunSettings
from beadsmith.diagnostics.heat_capacity import measure_model_heat_capacity
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
from beadsmith.pipeline.checks import collect_checks
from beadsmith.pipeline.training_inputs import find_mapped, list_training_inputs, take_training
from beadsmith.progress import Progress
from beadsmith.report.build import build_report
from beadsmith.sampling.run import sample
from beadsmith.sampling.starts import list_structures
from beadsmith.simulation.run import simulate
from beadsmith.simulation.start import FileStart
from beadsmith.training.fit import CHECKPOINTS, train

REFERENCE = "reference.h5"
MAPPED = "mapped.h5"
MEAN_FORCE = "mean_force.h5"
DIAGNOSIS = "diagnosis.json"
FORCE_FIELD = "force_field"
PAIR_SPLINE = "pair_spline"
TRAINING = ("training.json", "training.csv")
SIMULATION = "simulation.h5"
BASELINE_SIMULATION = "pair_spline.h5"
EVALUATION = "evaluation.json"
CHECKS = "checks.json"
REPORT = "report.html"

VERBS = ("sample", "import", "map", "diagnose", "average", "train", "simulate", "evaluate", "report")
"""The stages as a user names them. A run has either ``sample`` or ``import``, and ``average`` where it is asked for;
``simulate`` is two, the force field and the pair spline beside it."""

ALARMS = "alarms"
"""What a stage found that spoils all that comes after it, in its summary."""

EXECUTION_KEYS = (
    "sampling.threads",
    "mapping.chunk_frames",
    "mean_force.threads",
    "training.threads",
    "training.checkpoint_interval",
    "training.pair_memory",
    "simulation.threads",
    "simulation.checkpoint_interval",
)
"""Settings of how, not what, is computed: a change of these changes no result beyond rounding and chance."""


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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run."""

    name: str
    """Unique name; key in the record."""
    verb: str
    """The command it belongs to."""
    keys: tuple[str, ...]
    """Parts of the configuration that its result depends on."""
    inputs: tuple[str, ...]
    """Files and folders of the run folder that it reads."""
    outputs: tuple[str, ...]
    """Files and folders of the run folder that it writes; without a network, some are not written."""
    compute: Callable[[Task], dict[str, Any]]
    """Do it, and return a summary for the record."""
    scratch: tuple[str, ...] = ()
    """What an interrupted stage leaves to go on from."""
    is_baseline: bool = False
    """Whether the stage serves the comparison with a network, and falls away without one."""
    is_optional: bool = False
    """Whether later stages can do without its result: it is computed where it is asked for, and never in their way."""
    list_external: Callable[[RunSettings], list[str]] = lambda settings: []
    """Files and folders outside the run folder that it reads."""


def needed_stages(settings: RunSettings, verbs: tuple[str, ...] = VERBS) -> list[Stage]:
    """Return the stages of some verbs and all before them, in order, as far as a configuration has them.

    Raises
    ------
    InputError : the only verb is to sample an imported reference, to import a sampled one, or to average without being
        told how.
    """
    absent, present = ("sample", "import") if settings.system is None else ("import", "sample")
    if verbs == (absent,):
        raise InputError(
            f"the configuration has {'no system to sample' if absent == 'sample' else 'no reference to import'}",
            fix=f"Use 'beadsmith {present}'.",
        )
    if verbs == ("average",) and settings.mean_force is None:
        raise InputError(
            "the configuration has no section 'mean_force', which says how labels are averaged",
            fix="Add for example 'mean_force: {frames: 200, duration: 20 ps}'.",
        )
    left_out = {absent} | ({"average"} if settings.mean_force is None else set())
    last = max(VERBS.index(verb) for verb in verbs)
    stages = [stage for stage in STAGES if VERBS.index(stage.verb) <= last and stage.verb not in left_out]
    stages = [stage for stage in stages if stage.verb in verbs or not stage.is_optional]
    return [stage for stage in stages if has_baseline(settings) or not stage.is_baseline]


def has_baseline(settings: RunSettings) -> bool:
    """Whether the pair spline is simulated beside a network."""
    return settings.network is not None and settings.baseline


def _sample(task: Task) -> dict[str, Any]:
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


def _import(task: Task) -> dict[str, Any]:
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


def _map(task: Task) -> dict[str, Any]:
    return map_reference(
        task.folder / REFERENCE,
        task.folder / MAPPED,
        task.settings.mapping,
        identity=task.identity,
        progress=task.progress,
    )


def _diagnose(task: Task) -> dict[str, Any]:
    settings = task.settings
    found = diagnose(
        task.folder / MAPPED,
        ModelSettings(network=settings.network, prior=settings.prior),
        correction=settings.training.correction,
        output=task.folder / DIAGNOSIS,
        progress=task.progress,
    )
    return {**found["summary"], ALARMS: list_alarms([verdict_from_json(entry) for entry in found["checks"]])}


def _average(task: Task) -> dict[str, Any]:
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
    return {key: found[key] for key in ("platform", "timestep", "noise_floor")} | {
        "frames_per_second": found.get("frames_per_second")
    }


def _train(task: Task) -> dict[str, Any]:
    settings = task.settings
    if settings.trained_in is not None:
        return take_training(Path(settings.trained_in), task.folder)
    summary = train(
        settings.training,
        settings.network,
        settings.prior,
        (
            task.folder / MAPPED,
            *([] if settings.mean_force is None else [task.folder / MEAN_FORCE]),
            *(path for entry in settings.train_with for path in find_mapped(entry)),
        ),
        task.folder / FORCE_FIELD,
        baseline_output=task.folder / PAIR_SPLINE,
        seed=settings.seed,
        identity=task.identity,
        start=None if settings.start_from is None else Path(settings.start_from),
        progress=task.progress,
    )
    # the rest is in training.json
    return {} if summary["network"] is None else {"sites_per_second": summary["network"]["sites_per_second"]}


def _simulate(task: Task) -> dict[str, Any]:
    return _simulate_with(task, FORCE_FIELD, SIMULATION)


def _simulate_baseline(task: Task) -> dict[str, Any]:
    return _simulate_with(task, PAIR_SPLINE, BASELINE_SIMULATION)


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


def _evaluate(task: Task) -> dict[str, Any]:
    simulations = {"pair_spline" if task.settings.network is None else "network": task.folder / SIMULATION}
    if has_baseline(task.settings):
        simulations["pair_spline"] = task.folder / BASELINE_SIMULATION
    evaluation = evaluate(task.folder / MAPPED, simulations, task.settings.evaluation, progress=task.progress)
    evaluation["probes"] = _probe(task, evaluation["systems"]["reference"]["molecules"])
    _add_heat_capacity(task, evaluation)
    write_json(task.folder / EVALUATION, evaluation)
    checks = collect_checks(evaluation, read_json(task.folder / TRAINING[0]), task.summaries)
    if "diagnose" in task.summaries and (task.folder / DIAGNOSIS).is_file():
        found = read_json(task.folder / DIAGNOSIS)["checks"]
        checks = [*(verdict_from_json(entry).check for entry in found), *checks]
    write_json(task.folder / CHECKS, {"checks": [check.to_json() for check in checks]})
    return {"n_checks": len(checks)}


def _add_heat_capacity(task: Task, evaluation: dict[str, Any]) -> None:
    """Put the network's heat capacity beside the reference's, where its force field knows energy and entropy apart."""
    if task.settings.network is None:
        return
    settings = task.settings.evaluation
    found = measure_model_heat_capacity(
        load_force_field(task.folder / FORCE_FIELD),
        task.folder / SIMULATION,
        n_blocks=settings.n_blocks,
        discard=settings.discard,
    )
    if found is not None:
        parts = {"between": found.between.to_json(), "within": found.within.to_json()}
        evaluation["systems"]["network"] |= {"heat_capacity": found.total.to_json(), "heat_capacity_parts": parts}


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


def _report(task: Task) -> dict[str, Any]:
    build_report(task.folder)
    return {}


def _read_finished(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the metadata of a trajectory of this identity: a kill may come after the file, before its record."""
    try:
        with open_trajectory(path) as stored:
            return stored.metadata if stored.metadata.get("identity") == identity else None
    except InputError:
        return None


STAGES = (
    Stage(
        name="sample",
        verb="sample",
        keys=("seed", "system", "state", "sampling"),
        inputs=(),
        outputs=(REFERENCE,),
        scratch=(f"{REFERENCE}.parts",),
        list_external=lambda settings: list_structures(settings.system),
        compute=_sample,
    ),
    Stage(
        name="import",
        verb="import",
        keys=("state", "reference"),
        inputs=(),
        outputs=(REFERENCE,),
        scratch=(f"{REFERENCE}.parts",),
        list_external=lambda settings: [] if settings.reference is None else settings.reference.list_inputs(),
        compute=_import,
    ),
    Stage(
        name="map",
        verb="map",
        keys=("mapping",),
        inputs=(REFERENCE,),
        outputs=(MAPPED,),
        scratch=(f"{MAPPED}.parts",),
        list_external=lambda settings: list(settings.mapping.files),
        compute=_map,
    ),
    Stage(
        name="diagnose",
        verb="diagnose",
        keys=("network", "prior", "training.correction"),
        inputs=(MAPPED,),
        outputs=(DIAGNOSIS,),
        compute=_diagnose,
        is_optional=True,
    ),
    Stage(
        name="average",
        verb="average",
        keys=("seed", "system", "state", "sampling", "mapping", "mean_force"),
        inputs=(REFERENCE, MAPPED),
        outputs=(MEAN_FORCE,),
        scratch=(f"{MEAN_FORCE}.parts",),
        list_external=lambda settings: [*list_structures(settings.system), *settings.mapping.files],
        compute=_average,
    ),
    Stage(
        name="train",
        verb="train",
        keys=("seed", "prior", "network", "training", "start_from", "train_with", "trained_in"),
        inputs=(MAPPED, MEAN_FORCE),
        outputs=(FORCE_FIELD, PAIR_SPLINE, *TRAINING),
        scratch=(CHECKPOINTS,),
        list_external=list_training_inputs,
        compute=_train,
    ),
    Stage(
        name="simulate",
        verb="simulate",
        keys=("seed", "state.temperature", "simulation"),
        inputs=(FORCE_FIELD, MAPPED),
        outputs=(SIMULATION,),
        scratch=(f"{SIMULATION}.parts",),
        compute=_simulate,
    ),
    Stage(
        name="simulate_pair_spline",
        verb="simulate",
        keys=("seed", "state.temperature", "simulation"),
        inputs=(PAIR_SPLINE, MAPPED),
        outputs=(BASELINE_SIMULATION,),
        scratch=(f"{BASELINE_SIMULATION}.parts",),
        compute=_simulate_baseline,
        is_baseline=True,
    ),
    Stage(
        name="evaluate",
        verb="evaluate",
        keys=("network.kind", "baseline", "evaluation"),
        inputs=(MAPPED, DIAGNOSIS, FORCE_FIELD, TRAINING[0], SIMULATION, BASELINE_SIMULATION),
        outputs=(EVALUATION, CHECKS),
        compute=_evaluate,
    ),
    Stage(
        name="report",
        verb="report",
        keys=("name",),
        inputs=(
            REFERENCE,
            MAPPED,
            DIAGNOSIS,
            FORCE_FIELD,
            *TRAINING,
            SIMULATION,
            BASELINE_SIMULATION,
            EVALUATION,
            CHECKS,
        ),
        outputs=(REPORT,),
        compute=_report,
    ),
)
"""All stages, in order."""
