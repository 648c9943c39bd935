"""What the jobs of a study will cost: time, memory and disk of each, before any is started."""

from collections.abc import Sequence
from dataclasses import replace

from beadsmith.config.settings import RunSettings
from beadsmith.pipeline.estimate import Estimate, estimate_costs
from beadsmith.study.jobs import TRAIN, Job
from beadsmith.study.record import Study

ENSEMBLE = "_ensemble"
"""End of the names of the stages of an ensemble."""

_SECONDS_OF_A_LINK = 1.0
_BYTES_OF_A_REPORT = 6e6
"""Page, tables and evaluation of a run."""


def estimate_jobs(study: Study, jobs: Sequence[Job]) -> dict[str, Estimate]:
    """Return the cost of each job; takes a second for a trial of each network.

    Raises
    ------
    InputError : a file that a run reads cannot be used.
    """
    costs: dict[str, list[tuple[str, Estimate]]] = {}
    found: dict[str, Estimate] = {}
    for job in jobs:
        if job.run not in costs:
            (run,) = (entry for entry in study.runs if entry.name == job.run)
            costs[job.run] = [(_verb(entry, run.settings), entry) for entry in _estimate_run(run.settings)]
        found[job.name] = _add([entry for verb, entry in costs[job.run] if verb in job.verbs], job)
    return found


def _estimate_run(settings: RunSettings) -> list[Estimate]:
    return [_adapt(entry, settings) for entry in estimate_costs(settings)]


def _verb(estimate: Estimate, settings: RunSettings) -> str:
    """Return the verb of a stage; without a network it is the pair spline that 'simulate' simulates.

    The other networks of an ensemble belong to the verbs of the first.
    """
    is_main = settings.network is None and estimate.stage == "simulate_pair_spline"
    return "simulate" if is_main else estimate.stage.removesuffix(ENSEMBLE)


def _adapt(estimate: Estimate, settings: RunSettings) -> Estimate:
    """Return the cost of a stage of a run that trains on the frames of others, too, or does not train itself."""
    if estimate.stage.removesuffix(ENSEMBLE) != TRAIN:
        return estimate
    if settings.trained_in is not None:
        return replace(estimate, work="force field of another run", time=_SECONDS_OF_A_LINK, disk=0.0)
    factor = 1 + len(settings.train_with)
    work = estimate.work if factor == 1 else f"{estimate.work}, of {factor} states"
    return replace(estimate, work=work, time=factor * estimate.time)


def _add(parts: Sequence[Estimate], job: Job) -> Estimate:
    """Return the cost of stages one after the other."""
    return Estimate(
        stage=job.name,
        work="; ".join(part.work for part in parts),
        time=sum(part.time for part in parts) or _SECONDS_OF_A_LINK,
        memory=max((part.memory for part in parts), default=0.0),
        disk=sum(part.disk for part in parts) or _BYTES_OF_A_REPORT,
    )
