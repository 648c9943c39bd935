"""Read what all runs of a study have left, into one JSON object that its report and its tables are made of."""

from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.check import worst_status
from beadsmith.config.describe import to_document
from beadsmith.io.records import read_json
from beadsmith.pipeline.execute import read_checks
from beadsmith.pipeline.record import RunRecord, read_record
from beadsmith.pipeline.tasks import EVALUATION, TRAINING
from beadsmith.study.errors import collect_errors
from beadsmith.study.jobs import EVALUATE, Job
from beadsmith.study.record import PlannedRun, Study
from beadsmith.study.work import DONE, JobRecord

FORMAT_VERSION = 1
DIAGNOSIS = "diagnosis.json"

_UNFINISHED = "unfinished"
_DIGITS = 6


def collect_study(study: Study, jobs: tuple[Job, ...], records: dict[str, JobRecord]) -> dict[str, Any]:
    """Return everything that is known about the results of a study.

    Parameters
    ----------
    study : The study.
    jobs : All its jobs.
    records : Those that have ended.

    Raises
    ------
    InputError : a file is damaged.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": study.name,
        "kind": study.kind,
        "axes": {axis: list(options) for axis, options in study.axes.items()},
        "stability": to_document(study.stability),
        "jobs": {
            "n_jobs": len(jobs),
            "n_done": sum(record.status == DONE for record in records.values()),
            "failed": [
                {"job": record.job, "status": record.status, "error": record.error}
                for record in records.values()
                if record.status != DONE
            ],
            "wall_time": {"value": sum(record.wall_time for record in records.values()), "unit": "s"},
        },
        "runs": {run.name: _collect_run(study, run, jobs, records) for run in study.results},
    }


def _collect_run(study: Study, run: PlannedRun, jobs: tuple[Job, ...], records: dict[str, JobRecord]) -> dict[str, Any]:
    folder = study.run_folder(run.name)
    status, error = _find_status(run, jobs, records)
    record = read_record(folder)
    found: dict[str, Any] = {
        "options": run.options,
        "folder": f"runs/{run.name}",
        "status": status,
        "error": error,
        "state": to_document(run.settings.state),
        "training": _describe_training(folder),
        "speed": _describe_speed(record),
        "stopped": _describe_stopped(record),
        "diagnosis": _read_diagnosis(folder),
        "errors": {},
        "checks": [],
        "verdict": None,
        "stability": None,
        "curves": {},
    }
    if status != DONE:
        return found
    evaluation = read_json(folder / EVALUATION)
    name = "network" if "network" in evaluation["comparisons"] else "pair_spline"
    measured = read_json(study.measured_file(run.name))
    checks = read_checks(folder)
    return found | {
        "errors": collect_errors(evaluation, name),
        "checks": [check.to_json() for check in checks],
        "probes": evaluation.get("probes"),
        "verdict": worst_status(checks),
        "stability": measured["stability"],
        "curves": {label: _round_curve(curve) for label, curve in measured["curves"].items()},
        "pressure": evaluation["systems"][name]["pressure"],
        "reference_pressure": evaluation["systems"]["reference"]["pressure"],
    }


def _find_status(run: PlannedRun, jobs: tuple[Job, ...], records: dict[str, JobRecord]) -> tuple[str, str]:
    """Return how a run has ended, and why if not well."""
    own = [records[job.name] for job in jobs if job.run == run.name and job.name in records]
    lost = [record for record in own if record.status != DONE]
    if lost:
        return lost[0].status, lost[0].error
    is_done = any(EVALUATE in job.verbs and job.run == run.name and job.name in records for job in jobs)
    return (DONE, "") if is_done else (_UNFINISHED, "")


def _describe_training(folder: Path) -> dict[str, Any] | None:
    """Return what the forces taught: explained variance, size and time of the network."""
    path = folder / TRAINING[0]
    if not path.is_file():
        return None
    training = read_json(path)
    network = training.get("network") or {}
    model = "network" if network else "pair_spline"
    explained = training["explained_variance"].get(model, {}).get("test")
    return {
        "explained_variance": explained,
        "n_frames": training["n_frames"],
        "n_parameters": network.get("n_parameters"),
        "epochs": network.get("epochs"),
        "seconds": network.get("seconds"),
        "sites_per_second": network.get("sites_per_second"),
    }


def _describe_speed(record: RunRecord | None) -> dict[str, Any] | None:
    entry = None if record is None else record.stages.get("simulate")
    return None if entry is None else entry.summary.get("speed")


def _describe_stopped(record: RunRecord | None) -> dict[str, Any] | None:
    """Return how many replicas stopped, also where all did and nothing was evaluated."""
    entry = None if record is None else record.stages.get("simulate")
    if entry is None or "stopped" not in entry.summary:
        return None
    stopped = entry.summary["stopped"]
    return {
        "n_replicas": entry.summary["n_replicas"],
        "n_stopped": len(stopped),
        "first_reason": stopped[0]["reason"] if stopped else "",
    }


def _read_diagnosis(folder: Path) -> list[dict[str, Any]] | None:
    """Return the checks of the mapping that were made before training; None where there were none."""
    path = folder / DIAGNOSIS
    return list(read_json(path)["checks"]) if path.is_file() else None


def _round_curve(curve: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) if isinstance(value, list) else value for name, value in curve.items()}


def _round(values: list[float | None]) -> list[float | None]:
    """Return numbers with so many significant digits as any screen can show."""
    return [None if value is None else float(np.format_float_scientific(value, _DIGITS - 1)) for value in values]
