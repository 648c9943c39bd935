"""The commands that look without computing: `check` a configuration, `doctor` a machine."""

from beadsmith.cli.failures import guarded
from beadsmith.cli.options import Output, Overrides, Target


@guarded
def check(target: Target, overrides: Overrides = None, output: Output = None) -> None:
    """Validate a configuration and say what it will cost, without computing anything.

    Files of a reference to import are opened, counted, and checked for wrong units, and beads are held against their
    atoms.

    Example: beadsmith check methanol.yaml --set sampling.duration='1 ns'
    """
    import shutil
    from pathlib import Path

    from beadsmith.cli.console import make_console
    from beadsmith.cli.tables import format_size, show_coverage, show_estimates, show_import
    from beadsmith.config.consistency import find_box_edge
    from beadsmith.config.load import load_config
    from beadsmith.importing.run import describe_survey
    from beadsmith.mapping.apply import find_templates
    from beadsmith.mapping.coverage import describe_coverage
    from beadsmith.pipeline.estimate import UNCERTAINTY, estimate_costs, survey
    from beadsmith.pipeline.execute import choose_folder, find_config
    from beadsmith.sampling.gromacs.program import describe_engine
    from beadsmith.sampling.starts import measure_system
    from beadsmith.sampling.systems import SystemSettings

    console = make_console()
    settings = load_config(find_config(target), tuple(overrides or ()))
    found = survey(settings)
    estimates = estimate_costs(settings, found)
    console.print(f"{target}: valid", markup=False)
    if isinstance(settings.system, SystemSettings):
        molecules = ", ".join(f"{molecule.count} {molecule.name}" for molecule in settings.system.molecules)
        console.print(f"{molecules}; box of {find_box_edge(settings.system, settings):.3f} nm", markup=False)
    elif settings.system is not None:
        console.print(settings.system.describe(), markup=False)
        topology = measure_system(settings.system).topology
        show_coverage(console, describe_coverage(topology, find_templates(topology, settings.mapping)))
    if settings.system is not None:
        console.print(describe_engine(settings.sampling), markup=False)
    if found is not None:
        show_import(console, describe_survey(found))
        show_coverage(console, describe_coverage(found.topology, find_templates(found.topology, settings.mapping)))
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
