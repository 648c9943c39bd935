"""The commands that look without computing: `check` a configuration, `doctor` a machine."""

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Output, Overrides, Target


@guarded
def check(target: Target, overrides: Overrides = None, output: Output = None) -> None:
    """Validate a configuration and say what it will cost, without computing anything.

    Example: beadsmith check methanol.yaml --set sampling.duration='1 ns'
    """
    import shutil
    from pathlib import Path

    from beadsmith.cli.console import make_console
    from beadsmith.cli.tables import format_size, show_estimates
    from beadsmith.config.consistency import find_box_edge
    from beadsmith.pipeline.estimate import UNCERTAINTY, check_config
    from beadsmith.pipeline.execute import choose_folder

    console = make_console()
    settings, estimates = check_config(target, tuple(overrides or ()))
    molecules = ", ".join(f"{molecule.count} {molecule.name}" for molecule in settings.system.molecules)
    console.print(f"{target}: valid", markup=False)
    console.print(f"{molecules}; box of {find_box_edge(settings):.3f} nm", markup=False)
    console.print(f"run folder: {choose_folder(target, settings, output)}", markup=False)
    show_estimates(console, estimates)
    console.print(UNCERTAINTY)
    free = shutil.disk_usage(Path.cwd()).free
    # parts and their joined file lie side by side for a moment
    needed = 2.0 * sum(entry.disk for entry in estimates)
    if free < needed:
        console.print(f"warning: {format_size(free)} of disk are free here, about {format_size(needed)} are needed")


@guarded
def doctor() -> None:
    """Look at this machine: versions, OpenMM platforms, threads, GPU, memory, disk and known traps.

    Example: beadsmith doctor
    """
    from rich.table import Table

    from beadsmith.cli.console import make_console
    from beadsmith.cli.machine import find_problems, inspect_machine

    console = make_console()
    table = Table("what", "found", title="This machine", title_justify="left")
    for name, value in inspect_machine().items():
        table.add_row(name, value)
    console.print(table)
    problems = find_problems()
    for problem in problems:
        console.print(f"warning: {problem}", markup=False)
    if not problems:
        console.print("nothing in the way")
