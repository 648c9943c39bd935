"""What a study shows: its jobs with their costs, and each as it is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from beadsmith.cli.console import RunConsole, format_duration
from beadsmith.cli.tables import format_size
from beadsmith.errors import InputError
from beadsmith.pipeline.estimate import UNCERTAINTY, Estimate
from beadsmith.progress import Progress
from beadsmith.study.cautions import list_cautions
from beadsmith.study.engine import StudyResult
from beadsmith.study.jobs import Job
from beadsmith.study.record import Study
from beadsmith.study.work import DONE, JobRecord


class StudyConsole:
    """Show the events of a study (see `beadsmith.study.engine.StudyListener`) and of the runs in it."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console
        self._stages = RunConsole(console)

    def announce(self, study: Study, command: str) -> None:
        """Show folder and resume command."""
        self._console.print(f"study folder  [bold]{study.folder}[/bold]")
        self._console.print(f"resume        {command}", markup=False)
        show_cautions(self._console, study)

    def job_started(self, job: Job, number: int, total: int, left: float | None) -> "StudyConsole":
        """Show which job begins, and how long all may take."""
        remaining = "" if left is None else f", about {format_duration(left)} left"
        self._console.print(f"\n[bold]{job.name}[/bold] (job {number} of {total}{remaining})")
        return self

    def job_ended(self, job: Job, record: JobRecord) -> None:
        """Say how a job ended if not well."""
        if record.status != DONE:
            self._console.print(f"{record.status}: {record.error}", markup=False)

    def job_refused(self, job: Job, error: InputError) -> None:
        """Say why a job could not be done."""
        self._console.print(f"not done: {error}", markup=False)

    def run_started(self, folder: Path, settings: Any, resume_command: str) -> None:
        """Leave out what every run of a study would say."""

    def stage_started(self, stage: str) -> Progress:
        """Begin a bar, or a line."""
        return self._stages.stage_started(stage)

    def stage_finished(self, stage: str, wall_time: float) -> None:
        """End the bar and keep one line."""
        self._stages.stage_finished(stage, wall_time)

    def stage_skipped(self, stage: str) -> None:
        """Leave out what was done before."""

    def stage_taken(self, stage: str, folder: Path) -> None:
        """Leave out what another run has done."""

    def stage_alarmed(self, stage: str, alarms: list[str]) -> None:
        """Say loudly what is wrong."""
        self._stages.stage_alarmed(stage, alarms)

    def stop(self) -> None:
        """Remove a bar that is still shown."""
        self._stages.stop()

    def conclude(self, result: StudyResult) -> None:
        """Show how many jobs are done, those that ended in something unphysical, and where the report is."""
        ended = [record for record in result.records.values() if record.status == DONE]
        self._console.print(f"\n{len(ended)} of {len(result.jobs)} jobs done", markup=False)
        for record in result.records.values():
            if record.status != DONE:
                self._console.print(f"{record.status}: {record.job}: {record.error}", markup=False)
        self._console.print(f"report: {result.report}", markup=False)


def show_jobs(
    console: Console, study: Study, jobs: Sequence[Job], finished: dict[str, JobRecord], estimates: dict[str, Estimate]
) -> None:
    """Show every job with what it will cost; those that are done cost nothing any more."""
    table = Table("job", "work", "time", "memory", "disk", title=f"Jobs of {study.name}", title_justify="left")
    left = [job for job in jobs if job.name not in finished]
    for job in jobs:
        entry = estimates[job.name]
        time = format_duration(entry.time) if job in left else finished[job.name].status
        table.add_row(job.name, entry.work, time, format_size(entry.memory), format_size(entry.disk))
    costs = [estimates[job.name] for job in left]
    table.add_row(
        f"{len(left)} of {len(jobs)} left",
        f"{len(study.results)} results",
        format_duration(sum(entry.time for entry in costs)),
        format_size(max((entry.memory for entry in costs), default=0.0)),
        format_size(sum(entry.disk for entry in costs)),
    )
    console.print(table)
    console.print(UNCERTAINTY)
    show_cautions(console, study)


def show_cautions(console: Console, study: Study) -> None:
    """Say what may come to nothing, if anything."""
    for caution in list_cautions(study):
        console.print(f"caution: {caution}", markup=False)
