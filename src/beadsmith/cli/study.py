"""The command `study`: many runs that share what they have in common, and one report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Reuse, compose_command
from beadsmith.errors import InputError, InterruptedRunError

if TYPE_CHECKING:
    from beadsmith.study.record import Study

_WORKFLOW = "With Snakemake"


@guarded
def study(
    target: Annotated[
        Path, typer.Argument(metavar="STUDY", help="YAML file, or a study folder made from one.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Study folder (default: studies/NAME).", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the jobs with time, memory and disk, and do nothing.")
    ] = False,
    stop_after: Annotated[
        str | None,
        typer.Option(metavar="'2 h'", help="Stop after this time; the same command goes on.", show_default=False),
    ] = None,
    reuse: Reuse = None,
    report: Annotated[bool, typer.Option("--report", help="Only write the report of what is done so far.")] = False,
    snakemake: Annotated[
        bool, typer.Option("--snakemake", help="Let Snakemake do the jobs.", rich_help_panel=_WORKFLOW)
    ] = False,
    cores: Annotated[int, typer.Option(metavar="N", help="Cores for its jobs.", rich_help_panel=_WORKFLOW)] = 1,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its profile, for a cluster.", rich_help_panel=_WORKFLOW, show_default=False),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Do one job, as it does.", rich_help_panel=_WORKFLOW, show_default=False),
    ] = None,
) -> None:
    """Compare mappings and networks, or states, in many runs that share reference, mapping and training.

    Jobs that are done are skipped and an interrupted one goes on where it was: to resume, repeat the command.

    Examples: beadsmith study study_hexane.yaml --dry-run

    beadsmith study study_hexane.yaml --stop-after '2 h' --reuse runs/hexane
    """
    from beadsmith.config.quantities import parse_quantity
    from beadsmith.study.definition import read_study

    found = read_study(target, output)
    seconds = None
    if stop_after is not None:
        seconds = parse_quantity(stop_after, "s", name="stop-after", where="option '--stop-after'")
    if profile is not None and not snakemake:
        raise InputError("'--profile' goes with '--snakemake'")
    if job is not None:
        _do_one(found, job, reuse or [])
    elif report:
        _report(found)
    elif dry_run:
        _show_jobs(found)
    else:
        _do_all(found, target, output, reuse or [], seconds, cores=cores if snakemake else None, profile=profile)


def _do_one(study: "Study", name: str, reuse: list[Path]) -> None:
    import difflib

    from beadsmith.cli.console import RunConsole
    from beadsmith.study.jobs import plan_jobs
    from beadsmith.study.work import do_job, read_finished

    jobs = {job.name: job for job in plan_jobs(study)}
    if name not in jobs:
        close = difflib.get_close_matches(name, jobs, n=1)
        raise InputError(f"the study has no job '{name}'", fix=f"Did you mean '{close[0]}'?" if close else None)
    if name in read_finished(study, tuple(jobs.values())):
        typer.echo(f"{name}: done before")
        return
    listener = RunConsole()
    try:
        record = do_job(study, jobs[name], listener, tuple(reuse))
    finally:
        listener.stop()
    typer.echo(f"{name}: {record.status} {record.error}".rstrip())


def _report(study: "Study") -> None:
    from beadsmith.study.report import build_study_report

    typer.echo(f"report: {build_study_report(study)}")


def _show_jobs(study: "Study") -> None:
    from beadsmith.cli.console import make_console
    from beadsmith.cli.studies import show_jobs
    from beadsmith.study.costs import estimate_jobs
    from beadsmith.study.jobs import plan_jobs
    from beadsmith.study.work import read_finished

    jobs = plan_jobs(study)
    finished = read_finished(study, jobs) if study.folder.is_dir() else {}
    show_jobs(make_console(), study, jobs, finished, estimate_jobs(study, jobs))


def _do_all(
    study: "Study",
    target: Path,
    output: Path | None,
    reuse: list[Path],
    stop_after: float | None,
    *,
    cores: int | None,
    profile: str | None,
) -> None:
    from beadsmith.cli.console import make_console
    from beadsmith.cli.studies import StudyConsole
    from beadsmith.pipeline.reuse import check_donors
    from beadsmith.study.engine import do_study

    check_donors(reuse)
    command = compose_command("study", target, None, output, reuse)
    console = StudyConsole(make_console())
    console.announce(study, command)
    try:
        result = do_study(
            study,
            (target / "study.yaml" if target.is_dir() else target).read_bytes(),
            reuse=tuple(reuse),
            stop_after=stop_after,
            cores=cores,
            profile=profile,
            listener=console,
        )
    except KeyboardInterrupt as error:
        raise InterruptedRunError("interrupted; what was saved is kept", fix=f"Go on with: {command}") from error
    finally:
        console.stop()
    console.conclude(result)
    if result.refused:
        name, first = next(iter(result.refused.items()))
        raise InputError(f"{len(result.refused)} jobs could not be done; '{name}': {first.what}", fix=first.fix)
    if not result.is_stopped and len(result.records) < len(result.jobs):
        raise InputError("not all jobs could be done; Snakemake's output says why")
    if result.is_stopped:
        raise InterruptedRunError(
            f"the time is up with {len(result.records)} of {len(result.jobs)} jobs done; what was saved is kept",
            fix=f"Go on with: {command}",
        )
