"""The command `simulate`: the simulations of a run folder, or any force field from any start."""

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Overrides, RestartFrom, Reuse
from beadsmith.cli.run import run_verbs
from beadsmith.errors import InputError, InterruptedRunError

if TYPE_CHECKING:
    from beadsmith.simulation.start import CountStart, FileStart

FORCE_FIELD_FILE = "force_field.json"

_FREE = "With a FORCE_FIELD folder"


@guarded
def simulate(
    target: Annotated[
        Path, typer.Argument(metavar="CONFIG|FORCE_FIELD", help="YAML file, run folder, or force field folder.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Run folder, or the file to write (default: simulation.h5).", show_default=False
        ),
    ] = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Start from this trajectory.", rich_help_panel=_FREE)
    ] = None,
    frame: Annotated[
        int | None, typer.Option(help="Frame of that file; -1 is the last.", rich_help_panel=_FREE, show_default=False)
    ] = None,
    replicate: Annotated[
        str | None, typer.Option(metavar="2x2x2", help="Copies of the frame along each axis.", rich_help_panel=_FREE)
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=N,...", help="Place these molecules instead of reading a file.", rich_help_panel=_FREE
        ),
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(metavar="'0.75 g/cm^3'", help="Density of the placed molecules.", rich_help_panel=_FREE),
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(metavar="'300 K'", help="Default: that of the training data.", rich_help_panel=_FREE)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.", rich_help_panel=_FREE)] = 1,
) -> None:
    """Run the coarse-grained simulation of a configuration, or any force field without one.

    With a FORCE_FIELD folder, '--set' takes the keys of the section 'simulation': --set duration='50 ps'.

    Examples: beadsmith simulate methanol.yaml

    beadsmith simulate runs/methanol/force_field --from runs/methanol/mapped.h5 --replicate 2x2x2 --set timestep='10 fs'

    beadsmith simulate runs/methanol/force_field --counts methanol=512 --density '0.75 g/cm^3' --temperature '320 K'
    """
    if not (target / FORCE_FIELD_FILE).exists():
        given = {"--from": start, "--frame": frame, "--replicate": replicate, "--counts": counts, "--density": density}
        used = [name for name, value in {**given, "--temperature": temperature}.items() if value is not None]
        if used:
            raise InputError(
                f"'{target}' is no force field folder (it has no {FORCE_FIELD_FILE}), so '{used[0]}' means nothing",
                fix="Give the force field folder, for example runs/methanol/force_field.",
            )
        run_verbs("simulate", target, overrides, output, restart_from, reuse)
        return
    start_record = _read_start(start, frame, replicate, counts, density)
    _simulate_force_field(target, start_record, overrides or [], output or Path("simulation.h5"), temperature, seed)


def _simulate_force_field(
    folder: Path,
    start: "FileStart | CountStart",
    overrides: list[str],
    output: Path,
    temperature: str | None,
    seed: int,
) -> None:
    from beadsmith.cli.console import RunConsole
    from beadsmith.cli.tables import show_simulation
    from beadsmith.config.quantities import parse_quantity
    from beadsmith.pipeline.standalone import read_simulation_settings, simulate_force_field

    settings = read_simulation_settings(overrides)
    kelvin = (
        None
        if temperature is None
        else parse_quantity(temperature, "K", name="temperature", where="option '--temperature'")
    )
    listener = RunConsole()
    command = shlex.join(["beadsmith", *sys.argv[1:]])
    listener.output_announced(output, seed, command)
    try:
        progress = listener.stage_started("simulate")
        summary = simulate_force_field(
            folder, start, settings, output, temperature=kelvin, seed=seed, progress=progress
        )
    except KeyboardInterrupt as error:
        raise InterruptedRunError("interrupted; what was saved is kept", fix=f"Go on with: {command}") from error
    finally:
        listener.stop()
    show_simulation(listener.console, output, summary)


def _read_start(
    path: Path | None, frame: int | None, replicate: str | None, counts: str | None, density: str | None
) -> "FileStart | CountStart":
    """Return the start that the options describe.

    Raises
    ------
    InputError : no start is given, two are, or one is malformed.
    """
    from beadsmith.config.quantities import parse_quantity
    from beadsmith.simulation.start import CountStart, FileStart

    if (path is None) == (counts is None):
        raise InputError(
            "say where to start: either from a file or from counts" + ("" if path is None else ", not both"),
            fix="Use '--from FILE' (with '--frame', '--replicate'), or '--counts' with '--density'.",
        )
    if path is not None:
        if density is not None:
            raise InputError("'--density' goes with '--counts'; a file has its own density")
        return FileStart(path=path, frame=frame, repeats=_read_repeats(replicate))
    if frame is not None or replicate is not None:
        raise InputError("'--frame' and '--replicate' go with '--from FILE'")
    if density is None:
        raise InputError("'--counts' needs '--density'", fix="Add for example --density '0.75 g/cm^3'.")
    return CountStart(
        counts=_read_counts(counts or ""),
        density=parse_quantity(density, "u/nm**3", name="density", where="option '--density'"),
    )


def _read_repeats(text: str | None) -> tuple[int, int, int]:
    if text is None:
        return (1, 1, 1)
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise InputError(
            f"'--replicate' is '{text}', expected three whole numbers of at least 1", fix="Write for example 2x2x2."
        )
    return int(match[1]), int(match[2]), int(match[3])


def _read_counts(text: str) -> dict[str, int]:
    counts = {}
    for entry in text.split(","):
        match = re.fullmatch(r"\s*([\w.-]+)\s*=\s*(\d+)\s*", entry)
        if match is None:
            raise InputError(f"'--counts' has '{entry}', expected NAME=NUMBER", fix="Write for example methanol=256.")
        counts[match[1]] = int(match[2])
    return counts
