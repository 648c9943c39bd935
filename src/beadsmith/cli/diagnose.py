"""The command `diagnose`: the map of a run folder, or any mapped trajectory, judged before training."""

from pathlib import Path
from typing import Annotated, Any

import typer

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Overrides, RestartFrom, Reuse
from beadsmith.cli.run import CHECK_FAILED, run_verbs
from beadsmith.errors import InputError


@guarded
def diagnose(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|FILE", help="YAML file or run folder, or a mapped trajectory (.h5).", show_default=False
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Run folder; with a FILE, a JSON file to write.", show_default=False),
    ] = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Judge in seconds, before any training, whether network and prior can learn what the beads do.

    Every check is judged for the map alone and for the configured force field, and names the setting that cures it.
    With a FILE, '--set' takes the keys of the sections 'network' and 'prior': so remedies can be tried out. Exit code 3
    says that the force field fails a check.

    Examples: beadsmith diagnose runs/methanol

    beadsmith diagnose runs/alanine/mapped.h5 --set prior.dihedrals=none
    """
    from beadsmith.cli.console import make_console
    from beadsmith.cli.tables import show_diagnosis

    if target.suffix.lower() == ".h5":
        if restart_from is not None or reuse:
            raise InputError("'--restart-from' and '--reuse' belong to run folders, not to a mapped trajectory")
        found = _diagnose_file(target, overrides or [], output)
    else:
        found = _diagnose_run(target, overrides, output, restart_from, reuse)
    show_diagnosis(make_console(), found)
    if found["summary"]["with_model"] == "fail":
        raise typer.Exit(CHECK_FAILED)


def _diagnose_file(mapped: Path, overrides: list[str], output: Path | None) -> dict[str, Any]:
    from beadsmith.cli.console import RunConsole
    from beadsmith.pipeline.standalone import diagnose_file

    console = RunConsole()
    try:
        return diagnose_file(mapped, overrides, output=output, progress=console.stage_started("diagnose"))
    finally:
        console.stop()


def _diagnose_run(
    target: Path,
    overrides: list[str] | None,
    output: Path | None,
    restart_from: str | None,
    reuse: list[Path] | None,
) -> dict[str, Any]:
    from beadsmith.io.records import read_json
    from beadsmith.pipeline.tasks import DIAGNOSIS

    folder = run_verbs("diagnose", target, overrides, output, restart_from, reuse)
    return read_json(folder / DIAGNOSIS)
