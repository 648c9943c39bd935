"""The jobs of a study: every stage of every run, those that would give the same result only once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from beadsmith.config.describe import to_document
from beadsmith.pipeline.changes import select_configuration
from beadsmith.pipeline.record import hash_data
from beadsmith.pipeline.stages import VERBS, Stage, needed_stages
from beadsmith.study.record import PlannedRun, Study

EVALUATE, REPORT, SIMULATE, TRAIN = "evaluate", "report", "simulate", "train"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage, or a few that belong together, in the folder of one run."""

    name: str
    """Unique name: the stage, and the options that the result depends on."""
    verbs: tuple[str, ...]
    """Stages that it does, in order."""
    run: str
    """Run whose folder it works in."""
    key: str
    """Hash of all settings that the result depends on."""
    needs: tuple[str, ...]
    """Jobs that must be done before it."""
    donors: tuple[str, ...]
    """Runs whose folders hold the results that it goes on from."""


@dataclass
class _Group:
    """The runs that share one result while jobs are collected."""

    verbs: tuple[str, ...]
    runs: list[PlannedRun] = field(default_factory=list)
    needs: dict[str, None] = field(default_factory=dict)
    donors: dict[str, None] = field(default_factory=dict)


def plan_jobs(study: Study) -> tuple[Job, ...]:
    """Return all jobs, each after those that it needs.

    A result belongs to the hash of the settings of its stage and of all stages before it. The first run that wants it
    computes it in its own folder; the others take it from there, so that a reference is sampled once, a mapping mapped
    once, and a force field trained once.
    """
    groups: dict[str, _Group] = {}
    last: dict[str, str] = {}
    for run in study.runs:
        before = [last[source] for source in run.sources]
        chain: list[str] = []
        aside: list[str] = []
        for verbs, stages in _divide(run):
            # what its configuration takes from other runs is part of the result
            key = _hash_settings(run, stages, [last[source] for source in run.sources] if TRAIN in verbs else [])
            group = groups.setdefault(key, _Group(verbs=verbs))
            if not group.runs:
                # only the report waits for what the other stages can do without
                extra = before if TRAIN in verbs else aside if REPORT in verbs else []
                group.needs = dict.fromkeys([*chain[-1:], *extra])
                group.donors = dict.fromkeys(groups[earlier].runs[0].name for earlier in (*chain, *aside))
            group.runs.append(run)
            (aside if all(stage.is_optional for stage in stages if stage.verb in verbs) else chain).append(key)
        last[run.name] = chain[-1]
    names = _name_groups(study, groups)
    return tuple(
        Job(
            name=names[key],
            verbs=group.verbs,
            run=group.runs[0].name,
            key=key,
            needs=tuple(names[need] for need in group.needs),
            donors=tuple(name for name in group.donors if name != group.runs[0].name),
        )
        for key, group in groups.items()
    )


def describe_command(study: Study, job: Job) -> str:
    """Return the commands that do a job by hand."""
    words = [f"{study.config_file(job.run)} --output {study.run_folder(job.run)}"]
    words += [f"--reuse {study.run_folder(name)}" for name in job.donors]
    return "; ".join(f"beadsmith {verb} {' '.join(words)}" for verb in job.verbs)


def _divide(run: PlannedRun) -> list[tuple[tuple[str, ...], list[Stage]]]:
    """Return the verbs of each job of a run, and all stages up to its end."""
    last = {"result": len(VERBS), "training": VERBS.index(TRAIN) + 1, "state": VERBS.index(TRAIN)}[run.role]
    stages = needed_stages(run.settings, VERBS[:last])
    if run.role == "state":
        # training on its frames can do without the rest
        stages = [stage for stage in stages if not stage.is_optional]
    verbs = list(dict.fromkeys(stage.verb for stage in stages))
    parts: list[tuple[str, ...]] = []
    for verb in verbs:
        belongs = verb == REPORT or (verb == SIMULATE and run.settings.trained_in is not None)
        parts = [*parts[:-1], (*parts[-1], verb)] if belongs else [*parts, (verb,)]
    return [(part, [stage for stage in stages if verbs.index(stage.verb) <= verbs.index(part[-1])]) for part in parts]


def _hash_settings(run: PlannedRun, stages: Sequence[Stage], sources: Sequence[str]) -> str:
    keys = tuple(key for stage in stages for key in stage.keys)
    settings: dict[str, Any] = select_configuration(to_document(run.settings), keys)
    return hash_data({"stages": [stage.name for stage in stages], "settings": settings, "sources": list(sources)})


def _name_groups(study: Study, groups: dict[str, _Group]) -> dict[str, str]:
    """Return a name for each job: its stage, and the options that all runs that share it have in common."""
    names: dict[str, str] = {}
    for key, group in groups.items():
        first, *others = group.runs
        options = first.options
        if first.role == "result" and others:
            # only what all of them have in common can matter to the result
            options = {axis: name for axis, name in options.items() if all(o.options.get(axis) == name for o in others)}
        label = "-".join(options.values()) if first.role != "result" or others else first.name
        stage = "evaluate" if REPORT in group.verbs else group.verbs[-1]
        name = "-".join(part for part in (stage, label) if part)
        names[key] = name if name not in names.values() else f"{stage}-{first.name}"
    return names


def select_unfinished(jobs: Sequence[Job], finished: dict[str, str]) -> list[Job]:
    """Return the jobs of which there is no record with their key.

    Parameters
    ----------
    jobs : All jobs.
    finished : Key in the record of each finished job.
    """
    return [job for job in jobs if finished.get(job.name) != job.key]
