"""Do one job of a study and put on record how it ended.

A job's record is the last thing it writes, so a job is either on record or not done: both engines, the sequential one
and Snakemake, go by it. An unphysical end of a simulation is an end like any other, and is not tried again.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from beadsmith.config.describe import to_document, write_yaml
from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.records import read_json, write_bytes, write_json
from beadsmith.pipeline.changes import adopt_new_settings, changed_keys
from beadsmith.pipeline.execute import run
from beadsmith.pipeline.listener import Listener
from beadsmith.pipeline.record import RECORD_FILE, now, read_record
from beadsmith.pipeline.stages import STAGES
from beadsmith.pipeline.tasks import EVALUATION, SIMULATION
from beadsmith.study.jobs import EVALUATE, Job, describe_command
from beadsmith.study.record import STUDY_FILE, Study
from beadsmith.study.replicas import measure_replicas

Status = Literal["done", "failed", "skipped"]
"""``failed`` is an unphysical end, ``skipped`` a job that needs one that failed."""

_OPTIONAL = tuple(stage.verb for stage in STAGES if stage.is_optional)

DONE: Status = "done"
FAILED: Status = "failed"
SKIPPED: Status = "skipped"


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """How a job ended."""

    job: str
    """Its name."""
    key: str
    """Hash of all settings that the result depends on."""
    run: str
    """Run whose folder holds the result."""
    status: Status
    """How."""
    finished: str
    """When it ended (UTC)."""
    wall_time: float
    """Time that its stages took, earlier attempts included [s]."""
    command: str
    """What does the same by hand."""
    error: str = ""
    """Why it failed or was skipped."""


def read_job(study: Study, name: str) -> JobRecord | None:
    """Return the record of a job, or None if it has not ended.

    Raises
    ------
    InputError : the record is damaged.
    """
    path = study.job_file(name)
    return JobRecord(**read_json(path)) if path.is_file() else None


def read_finished(study: Study, jobs: tuple[Job, ...]) -> dict[str, JobRecord]:
    """Return the records of all jobs that have ended with their present settings."""
    found = {job.name: read_job(study, job.name) for job in jobs}
    return {job.name: record for job in jobs if (record := found[job.name]) is not None and record.key == job.key}


def prepare_study(study: Study, jobs: tuple[Job, ...], source: bytes) -> None:
    """Write the study's file and the configuration of each run, and forget jobs whose settings have changed.

    Raises
    ------
    InputError : the folder cannot be written to, or a run lies there that was made with other settings.
    """
    refuse_changed_runs(study)
    _write_changed(study.folder / STUDY_FILE, source)
    for name in ("runs", "configs", "jobs", "measured"):
        (study.folder / name).mkdir(parents=True, exist_ok=True)
    for entry in study.runs:
        header = f"Run '{entry.name}' of the study '{study.name}'; 'beadsmith study' writes this file."
        _write_changed(study.config_file(entry.name), write_yaml(entry.settings, header).encode())
    _rename_records(study, jobs)


def _rename_records(study: Study, jobs: tuple[Job, ...]) -> None:
    """Give every record the present name of its job, which options around it change, and forget what has changed."""
    known = [JobRecord(**read_json(path)) for path in sorted((study.folder / "jobs").glob("*.json"))]
    by_key = {(record.key, record.run): record for record in known}
    for job in jobs:
        record, path = by_key.get((job.key, job.run)), study.job_file(job.name)
        if record is None:
            path.unlink(missing_ok=True)
        elif record.job != job.name or not path.is_file():
            write_json(path, asdict(replace(record, job=job.name)))


def refuse_changed_runs(study: Study) -> None:
    """Check that the runs that lie in the study folder were made with the settings that they have now.

    Raises
    ------
    InputError : one was not; the message names what changed.
    """
    for entry in study.runs:
        folder = study.run_folder(entry.name)
        record = read_record(folder) if (folder / RECORD_FILE).is_file() else None
        made_with = None if record is None else adopt_new_settings(record).configuration
        changed = [] if made_with is None else changed_keys(made_with, to_document(entry.settings))
        if changed:
            raise InputError(
                f"the run '{entry.name}' in '{study.folder}' was made with other settings: {', '.join(changed[:6])}",
                fix=f"Start a new study with '--output NEW_FOLDER' (with '--reuse {folder}' it takes over what has not "
                "changed), restore the old values, or delete this run's folder.",
            )


def do_job(study: Study, job: Job, listener: Listener | None = None, reuse: tuple[Path, ...] = ()) -> JobRecord:
    """Do a job, or what is left of it, and return its record.

    Raises
    ------
    InputError : it cannot be done as it is; nothing is put on record.
    InterruptedRunError : it was interrupted; the same call goes on.
    """
    needed = {name: read_job(study, name) for name in job.needs}
    missing = [name for name, record in needed.items() if record is None]
    if missing:
        raise InputError(f"the job '{job.name}' needs '{missing[0]}', which is not done", where=str(study.folder))
    lost = [name for name, record in needed.items() if record is not None and record.status != DONE]
    if lost:
        return _put_on_record(study, job, SKIPPED, f"it needs '{lost[0]}', which did not end well")
    folder = study.run_folder(job.run)
    # the runs that it is planned to go on from come first; any other may have the same result from an earlier plan
    names = dict.fromkeys([*job.donors, *(entry.name for entry in study.runs)])
    donors = [donor for name in names if ((donor := study.run_folder(name)) / RECORD_FILE).is_file()]
    try:
        run(
            study.config_file(job.run),
            output=folder,
            # a later stage may do without an optional one, but the report wants what is known
            verbs=(*_OPTIONAL, *job.verbs) if EVALUATE in job.verbs else job.verbs,
            reuse=[*donors, *reuse],
            command=describe_command(study, job),
            listener=listener,
        )
    except PhysicsError as error:
        return _put_on_record(study, job, FAILED, str(error))
    except InputError as error:
        if EVALUATE in job.verbs and _has_only_stopped(folder):
            # too few frames are left to measure anything on: so it will be at every try
            return _put_on_record(study, job, FAILED, f"all replicas stopped early; {error}")
        raise
    if EVALUATE in job.verbs:
        _measure(study, job)
    return _put_on_record(study, job, DONE)


def _has_only_stopped(folder: Path) -> bool:
    record = read_record(folder)
    summary = {} if record is None or "simulate" not in record.stages else record.stages["simulate"].summary
    return "stopped" in summary and len(summary["stopped"]) == summary["n_replicas"]


def _measure(study: Study, job: Job) -> None:
    folder = study.run_folder(job.run)
    record = read_record(folder)
    assert record is not None
    (entry,) = (entry for entry in study.runs if entry.name == job.run)
    measured = measure_replicas(
        folder / SIMULATION,
        read_json(folder / EVALUATION),
        entry.settings.evaluation,
        record.stages["simulate"].summary,
        study.stability,
    )
    write_json(study.measured_file(job.run), measured)


def _put_on_record(study: Study, job: Job, status: Status, error: str = "") -> JobRecord:
    run_record = read_record(study.run_folder(job.run)) if status != SKIPPED else None
    stages = () if run_record is None else run_record.stages.items()
    record = JobRecord(
        job=job.name,
        key=job.key,
        run=job.run,
        status=status,
        finished=now(),
        wall_time=sum(entry.wall_time for name, entry in stages if _belongs(name, job)),
        command=describe_command(study, job),
        error=error,
    )
    write_json(study.job_file(job.name), asdict(record))
    return record


def _belongs(stage: str, job: Job) -> bool:
    return any(stage == verb or stage.startswith(f"{verb}_") for verb in job.verbs)


def _write_changed(path: Path, content: bytes) -> None:
    """Write a file only if it is another: an unchanged one keeps its time."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)
