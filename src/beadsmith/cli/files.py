"""The commands that write one file: a first configuration, the JSON schema, an export for another program."""

import json
from pathlib import Path
from typing import Annotated

import typer

from beadsmith.cli.failures import guarded
from beadsmith.errors import InputError


@guarded
def init(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[liquid|mixture|alanine|import]", help="Kind of system; none lists them.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: NAME.yaml).", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented configuration to begin with.

    Example: beadsmith init liquid
    """
    from beadsmith.config.templates import TEMPLATES, write_template
    from beadsmith.io.records import write_bytes

    if kind is None:
        for name, template in TEMPLATES.items():
            typer.echo(f"beadsmith init {name:<10} {template.title}")
        return
    name, text = write_template(kind)
    path = output or Path(f"{name}.yaml")
    if path.exists() and not force:
        raise InputError(f"'{path}' exists already", fix="Choose another file with '--output', or add '--force'.")
    write_bytes(path, text.encode())
    typer.echo(f"wrote {path}")
    typer.echo(f"next: beadsmith check {path}; beadsmith run {path}")


@guarded
def schema(
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: standard output).", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration, for completion and checks in an editor.

    Example: beadsmith schema --output beadsmith.schema.json

    Then let the YAML begin with '# yaml-language-server: $schema=beadsmith.schema.json'.
    """
    from beadsmith.config.describe import build_json_schema
    from beadsmith.config.settings import RunSettings
    from beadsmith.io.records import write_bytes

    text = json.dumps(build_json_schema(RunSettings, "beadsmith run"), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_bytes(output, text.encode())
        typer.echo(f"wrote {output}")


@guarded
def export(
    force_field: Annotated[Path, typer.Argument(metavar="FORCE_FIELD", help="Force field folder.", show_default=False)],
    to: Annotated[str, typer.Option(metavar="openmm|ase", help="The program to export to.", show_default=False)],
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Start from this file (default: mapped.h5 beside FORCE_FIELD)."),
    ] = None,
    frame: Annotated[int, typer.Option(help="Frame of that file; -1 is the last.")] = -1,
    temperature: Annotated[
        str | None, typer.Option(metavar="'300 K'", help="Default: that of the training data.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New folder (default: export_PROGRAM).", show_default=False),
    ] = None,
) -> None:
    """Write a folder with a script that runs the force field in another program, and all that it needs.

    Example: beadsmith export runs/methanol/force_field --to openmm
    """
    from beadsmith.config.quantities import parse_quantity
    from beadsmith.export.ase import export_ase
    from beadsmith.export.openmm import export_openmm

    exporters = {"openmm": export_openmm, "ase": export_ase}
    if to not in exporters:
        raise InputError(f"'--to' is '{to}', expected one of: {', '.join(exporters)}")
    folder = output or Path(f"export_{to}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' exists and is not an empty folder", fix="Choose another with '--output'.")
    kelvin = temperature and parse_quantity(temperature, "K", name="temperature", where="option '--temperature'")
    script = exporters[to](
        force_field, start or force_field.parent / "mapped.h5", folder, frame=frame, temperature=kelvin or None
    )
    typer.echo(f"wrote {folder}")
    typer.echo(f"next: python {script}")
