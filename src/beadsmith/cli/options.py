"""Options and arguments that several commands share."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file, or a run folder made from one.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one setting, e.g. --set training.epochs=10. Repeatable.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Run folder (default: runs/NAME).", show_default=False)
]
RestartFrom = Annotated[
    str | None,
    typer.Option(
        metavar="STAGE", help="Discard the results of this stage and all later ones first.", show_default=False
    ),
]
Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        "--reuse",
        metavar="FOLDER",
        help="Take what the same settings gave in this run folder, as hard links. Repeatable.",
        show_default=False,
    ),
]


def compose_command(
    verb: str, target: Path, overrides: list[str] | None, output: Path | None, reuse: Sequence[Path] = ()
) -> str:
    """Return the command that does, or resumes, the same again."""
    words = ["beadsmith", verb, str(target)]
    words += [word for option in overrides or [] for word in ("--set", option)]
    words += ["--output", str(output)] if output is not None else []
    words += [word for folder in reuse for word in ("--reuse", str(folder))]
    return shlex.join(words)
