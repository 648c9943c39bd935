"""The command `import`: the imported reference of a run folder, or any trajectory files as one reference file."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Overrides, RestartFrom
from beadsmith.cli.run import run_verbs
from beadsmith.errors import InputError, InterruptedRunError

_FREE = "With trajectory FILEs"


@guarded
def import_(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG|FILE...", help="YAML file or run folder, or trajectory files.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Run folder, or the file to write (default: reference.h5).", show_default=False
        ),
    ] = None,
    restart_from: RestartFrom = None,
    topology: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The atoms: TPR, GRO, parm7, ...", rich_help_panel=_FREE)
    ] = None,
    forces: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Forces of each trajectory, if apart. Repeatable.", rich_help_panel=_FREE),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(metavar="STYLE", help="gromacs, real, metal or electron, where open.", rich_help_panel=_FREE),
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(metavar="'300 K'", help="Temperature of the simulation.", rich_help_panel=_FREE)
    ] = None,
) -> None:
    """Read trajectories with forces of other programs, check their units, and write them as reference.

    GROMACS TRR, LAMMPS dump, AMBER NetCDF, H5MD, extended XYZ, NumPy arrays; DCD or XTC with forces apart. With FILEs,
    '--set' takes the keys of the section 'reference': --set stride=10.

    Examples: beadsmith import imported.yaml

    beadsmith import run1.trr run2.trr --topology topol.tpr --temperature '300 K'
    """
    if len(targets) == 1 and (targets[0].is_dir() or targets[0].suffix.lower() in (".yaml", ".yml")):
        given = {"--topology": topology, "--forces": forces, "--units": units, "--temperature": temperature}
        used = [name for name, value in given.items() if value]
        if used:
            raise InputError(f"'{used[0]}' goes with trajectory files, not with a configuration", fix="Say it there.")
        run_verbs("import", targets[0], overrides, output, restart_from)
        return
    if restart_from is not None:
        raise InputError("'--restart-from' belongs to run folders", fix="Delete the output to import again.")
    if temperature is None:
        raise InputError(
            "the temperature of the simulation is not stated", fix="Add for example --temperature '300 K'."
        )
    options = [f"files=[{', '.join(_quoted(path) for path in targets)}]"]
    options += [] if topology is None else [f"topology={_quoted(topology)}"]
    options += [f"forces=[{', '.join(_quoted(path) for path in forces)}]"] if forces else []
    options += [] if units is None else [f"units.style={units}"]
    _import_files([*options, *(overrides or [])], output or Path("reference.h5"), temperature)


def _quoted(path: Path) -> str:
    """Return a path as YAML text."""
    return "'" + str(path).replace("'", "''") + "'"


def _import_files(options: list[str], output: Path, temperature: str) -> None:
    from beadsmith.cli.console import RunConsole
    from beadsmith.cli.tables import show_import
    from beadsmith.config.quantities import parse_quantity
    from beadsmith.pipeline.standalone import import_files

    console = RunConsole()
    kelvin = parse_quantity(temperature, "K", name="temperature", where="option '--temperature'")
    try:
        summary = import_files(options, output, temperature=kelvin, progress=console.stage_started("import"))
    except KeyboardInterrupt as error:
        again = shlex.join(["beadsmith", *sys.argv[1:]])
        raise InterruptedRunError("interrupted; what was saved is kept", fix=f"Go on with: {again}") from error
    finally:
        console.stop()
    show_import(console.console, summary)
    console.console.print(f"wrote {output}", markup=False)
