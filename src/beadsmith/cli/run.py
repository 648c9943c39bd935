"""The commands that work in a run folder: all stages at once, or one of them."""

from pathlib import Path
from typing import Annotated

import typer

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Output, Overrides, RestartFrom, Reuse, Target, compose_command

CHECK_FAILED = 3


@guarded
def run(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Do everything: sample, map, diagnose, train, simulate, evaluate and report.

    Stages whose inputs have not changed are skipped and an interrupted stage goes on where it was: to resume, repeat
    the command. A changed configuration is refused, with the names of the changed keys.

    Example: beadsmith run methanol.yaml --set training.epochs=20
    """
    run_verbs("run", target, overrides, output, restart_from, reuse)


@guarded
def sample(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Run the atomistic reference simulation and save positions, forces, energy and virial.

    Example: beadsmith sample methanol.yaml
    """
    run_verbs("sample", target, overrides, output, restart_from, reuse)


@guarded
def map_(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Map atoms and their forces to beads.

    Example: beadsmith map methanol.yaml --set mapping.forces=sum
    """
    run_verbs("map", target, overrides, output, restart_from, reuse)


@guarded
def average(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Hold the beads of some frames fixed and average their forces: labels with little noise.

    Example: beadsmith average alanine.yaml --set mean_force='{frames: 200, duration: 20 ps}'
    """
    run_verbs("average", target, overrides, output, restart_from, reuse)


@guarded
def evaluate(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Compare the simulations with the reference, with error bars, and judge the checks.

    Example: beadsmith evaluate runs/methanol
    """
    run_verbs("evaluate", target, overrides, output, restart_from, reuse)


@guarded
def report(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
) -> None:
    """Write the report: one HTML file that works offline.

    Example: beadsmith report runs/methanol
    """
    run_verbs("report", target, overrides, output, restart_from, reuse)


@guarded
def train(
    target: Target,
    overrides: Overrides = None,
    output: Output = None,
    restart_from: RestartFrom = None,
    reuse: Reuse = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="FORCE_FIELD", help="Start from the weights of this force field folder."),
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda", help="Where to train.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads.")] = None,
    precision: Annotated[str | None, typer.Option(metavar="float32|float64", help="Arithmetic.")] = None,
) -> None:
    """Fit prior, pair spline and network to the mapped forces.

    Example, fine-tuning in a copy of a run folder:
    beadsmith train runs/tuned --from runs/methanol/force_field --restart-from train
    """
    shortcuts = {
        "start_from": start,
        "training.device": device,
        "training.threads": threads,
        "training.precision": precision,
    }
    overrides = (overrides or []) + [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    run_verbs("train", target, overrides, output, restart_from, reuse)


def run_verbs(
    verb: str,
    target: Path,
    overrides: list[str] | None,
    output: Path | None,
    restart_from: str | None,
    reuse: list[Path] | None = None,
) -> Path:
    """Do the stages of a verb in a run folder, show what came out, and return the folder."""
    from beadsmith.check import worst_status
    from beadsmith.cli.console import RunConsole
    from beadsmith.cli.tables import show_result
    from beadsmith.pipeline.execute import run as run_stages
    from beadsmith.pipeline.stages import VERBS

    listener = RunConsole()
    try:
        result = run_stages(
            target,
            overrides or (),
            output=output,
            verbs=VERBS if verb == "run" else (verb,),
            restart_from=restart_from,
            reuse=reuse or (),
            command=compose_command(verb, target, overrides, output, reuse or ()),
            listener=listener,
        )
    finally:
        listener.stop()
    show_result(listener.console, result, verb)
    if verb in ("run", "evaluate", "report") and worst_status(result.checks) == "fail":
        raise typer.Exit(CHECK_FAILED)
    return result.folder
