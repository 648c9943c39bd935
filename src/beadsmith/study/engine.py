"""Do all jobs of a study, one after the other or with Snakemake, and write the report of what is done."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from beadsmith.errors import InputError, InterruptedRunError
from beadsmith.pipeline.execute import open_folder
from beadsmith.pipeline.listener import Listener, SilentListener
from beadsmith.pipeline.lock import locked
from beadsmith.study.costs import estimate_jobs
from beadsmith.study.jobs import Job, plan_jobs
from beadsmith.study.record import STUDY_FILE, Study
from beadsmith.study.report import build_study_report
from beadsmith.study.slurm_profile import write_slurm_profile
from beadsmith.study.snakefile import run_snakemake, write_snakefile
from beadsmith.study.work import JobRecord, do_job, prepare_study, read_finished


class StudyListener(Protocol):
    """Receive the events of one study."""

    def job_started(self, job: Job, number: int, total: int, left: float | None) -> Listener:
        """Take a job, its place among all, and the time [s] all that is left may take; return its own listener."""

    def job_ended(self, job: Job, record: JobRecord) -> None:
        """Take how a job ended."""

    def job_refused(self, job: Job, error: InputError) -> None:
        """Take why a job cannot be done; the others go on."""


class SilentStudyListener:
    """Ignore all events: the default."""

    def job_started(self, job: Job, number: int, total: int, left: float | None) -> Listener:
        """Ignore the start of a job."""
        return SilentListener()

    def job_ended(self, job: Job, record: JobRecord) -> None:
        """Ignore the end of a job."""

    def job_refused(self, job: Job, error: InputError) -> None:
        """Ignore a job that cannot be done."""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What one call has left behind."""

    study: Study
    """The study."""
    jobs: tuple[Job, ...]
    """All its jobs."""
    records: dict[str, JobRecord]
    """Those that have ended, in this call or before."""
    refused: dict[str, InputError]
    """Those that could not be done, and why; the same call tries them again."""
    is_stopped: bool
    """Whether the time was up before all were done."""
    report: Path
    """The page of what is done so far."""


def do_study(
    study: Study,
    source: bytes,
    *,
    reuse: tuple[Path, ...] = (),
    stop_after: float | None = None,
    cores: int | None = None,
    profile: str | None = None,
    listener: StudyListener | None = None,
) -> StudyResult:
    """Do the jobs of a study that are not done yet, and write its report.

    Parameters
    ----------
    study : What is to be done.
    source : The study's file, of which a copy goes into the study folder.
    reuse : Run folders whose results are taken where settings and files are the same.
    stop_after : Time after which the running job is interrupted [s]; it goes on with the next call.
    cores : Cores for Snakemake; None does the jobs one after the other, without it.
    profile : Snakemake's profile, for a cluster.
    listener : Receives events and progress.

    Raises
    ------
    InputError : the folder cannot be used, another process works there, or Snakemake is not installed.
    InterruptedRunError : it was interrupted by the user; the same call goes on.
    """
    deadline = None if stop_after is None else time.monotonic() + stop_after
    jobs = plan_jobs(study)
    if not (study.folder / STUDY_FILE).is_file():
        open_folder(study.folder)
    refused: dict[str, InputError] = {}
    with locked(study.folder) as lock:
        prepare_study(study, jobs, source)
        left = [job for job in jobs if job.name not in read_finished(study, jobs)]
        estimates = estimate_jobs(study, left)
        write_snakefile(study, jobs, estimates, reuse)
        write_slurm_profile(study, jobs)
        if cores is None:
            times = {name: entry.time for name, entry in estimates.items()}
            refused, is_stopped = _do_all(study, jobs, reuse, deadline, times, listener or SilentStudyListener())
        else:
            is_stopped = run_snakemake(study, cores=cores, profile=profile, stop_after=stop_after, lock=lock)
        report = build_study_report(study)
    records = read_finished(study, jobs)
    return StudyResult(study=study, jobs=jobs, records=records, refused=refused, is_stopped=is_stopped, report=report)


def _do_all(
    study: Study,
    jobs: tuple[Job, ...],
    reuse: tuple[Path, ...],
    deadline: float | None,
    estimates: dict[str, float],
    listener: StudyListener,
) -> tuple[dict[str, InputError], bool]:
    """Return the jobs that could not be done, and whether the time was up before the last."""
    records = read_finished(study, jobs)
    refused: dict[str, InputError] = {}
    for number, job in enumerate(jobs, start=1):
        if job.name in records:
            continue
        if lost := [need for need in job.needs if need in refused]:
            refused[job.name] = InputError(f"'{lost[0]}', which it needs, could not be done")
            continue
        if deadline is not None and time.monotonic() >= deadline:
            return refused, True
        own = listener.job_started(job, number, len(jobs), _estimate_left(jobs, records, estimates))
        with alarm(deadline) as rung:
            try:
                records[job.name] = do_job(study, job, own, reuse)
            except InputError as error:
                refused[job.name] = error
                listener.job_refused(job, error)
                continue
            except (InterruptedRunError, KeyboardInterrupt):
                if rung.is_set():
                    return refused, True
                raise
        listener.job_ended(job, records[job.name])
    return refused, False


@contextmanager
def alarm(deadline: float | None) -> Iterator[threading.Event]:
    """Interrupt the block like Ctrl-C at a time of the monotonic clock; the event tells that it was this."""
    rung = threading.Event()
    if deadline is None or threading.current_thread() is not threading.main_thread():
        yield rung
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        rung.set()
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-3))
    try:
        yield rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _estimate_left(jobs: tuple[Job, ...], records: dict[str, JobRecord], estimates: dict[str, float]) -> float | None:
    """Return the time that the jobs without a record may take, by how well the estimates of the others were met [s]."""
    left = [estimates.get(job.name) for job in jobs if job.name not in records]
    if not left or any(entry is None for entry in left):
        return None
    known = [(records[name].wall_time, estimates[name]) for name in records if estimates.get(name)]
    found, expected = (sum(values) for values in zip(*known, strict=True)) if known else (1.0, 1.0)
    return sum(entry for entry in left if entry) * (found / expected if found > 0.0 else 1.0)
