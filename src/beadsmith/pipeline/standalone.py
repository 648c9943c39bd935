"""Import files, diagnose a mapped trajectory, or simulate with a force field folder, outside any run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from beadsmith.config.build import build_settings
from beadsmith.config.describe import to_document
from beadsmith.config.document import Node, set_value
from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose
from beadsmith.errors import InputError
from beadsmith.force_field import load_force_field
from beadsmith.importing.run import import_reference
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.io.h5md import open_trajectory
from beadsmith.pipeline.record import hash_data, hash_path
from beadsmith.progress import Progress, silent
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import CountStart, FileStart
from beadsmith.trajectory import StatePoint


def read_simulation_settings(overrides: list[str]) -> SimulationSettings:
    """Return simulation settings with some defaults replaced, each ``"timestep=5 fs"``.

    Raises
    ------
    InputError : an override cannot be used.
    """
    root = Node(value={}, where="options")
    for option in overrides:
        root = set_value(root, option)
    return build_settings(SimulationSettings, root)


def import_files(
    options: list[str], output: Path, *, temperature: float, progress: Progress = silent
) -> dict[str, Any]:
    """Import trajectory files; an interrupted call is resumed by the same call.

    Parameters
    ----------
    options : Settings of the reference, each ``"topology=conf.gro"``; ``files`` at least.
    output : Trajectory file to write.
    temperature : Temperature of the simulation [K].
    progress : Receives frames done.

    Returns
    -------
    The summary of `beadsmith.importing.run.import_reference`.

    Raises
    ------
    InputError : an option or a file cannot be used, or the output holds something else.
    """
    root = Node(value={}, where="options")
    for option in options:
        root = set_value(root, option)
    settings = build_settings(ReferenceSettings, root)
    identity = hash_data(
        {
            "inputs": {name: hash_path(Path(name)) for name in settings.list_inputs()},
            "settings": to_document(settings),
            "temperature": temperature,
        }
    )
    _refuse_foreign_output(output, identity, work="import")
    return import_reference(settings, StatePoint(temperature=temperature), output, identity=identity, progress=progress)


def diagnose_file(
    mapped: Path, options: list[str], *, output: Path | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Judge the map of a mapped trajectory for a network and a prior, before any training.

    Parameters
    ----------
    mapped : Mapped trajectory.
    options : Settings of network and prior, each ``"network.kind=mace"``; defaults are those of a configuration.
    output : JSON file for the result, or None.
    progress : Receives the work done.

    Returns
    -------
    What `beadsmith.diagnostics.mapping.run.diagnose` returns.

    Raises
    ------
    InputError : an option or the file cannot be used, or the output exists.
    """
    if output is not None and output.exists():
        raise InputError(f"'{output}' exists already", fix="Choose another file with '--output', or delete it.")
    root = Node(value={}, where="options")
    for option in options:
        root = set_value(root, option)
    return diagnose(mapped, build_settings(ModelSettings, root), output=output, progress=progress)


def simulate_force_field(
    folder: Path,
    start: FileStart | CountStart,
    settings: SimulationSettings,
    output: Path,
    *,
    temperature: float | None = None,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Simulate with the force field in a folder, from any start; an interrupted call is resumed by the same call.

    Parameters
    ----------
    folder : Force field folder.
    start : Frames of a file, replicated or not, or molecules at a density.
    settings : How to simulate.
    output : Trajectory file to write.
    temperature : Temperature [K]; that of the training data if not given.
    seed : Seed of all random numbers.
    progress : Receives picoseconds done.

    Returns
    -------
    The summary of `beadsmith.simulation.run.simulate`.

    Raises
    ------
    InputError : force field or start cannot be used, or the output holds something else.
    PhysicsError : every replica stopped.
    """
    force_field = load_force_field(folder)
    if temperature is None:
        temperature = _only_temperature(sorted({point.temperature for point in force_field.state_points}))
    if not temperature > 0.0:
        raise InputError(f"temperature is {temperature:g} K, expected > 0")
    identity = hash_data(
        {
            "force_field": hash_path(folder),
            "start": {**asdict(start), "path": hash_path(start.path)}
            if isinstance(start, FileStart)
            else asdict(start),
            "settings": to_document(settings),
            "temperature": temperature,
            "seed": seed,
        }
    )
    _refuse_foreign_output(output, identity, work="simulation")
    return simulate(
        force_field,
        start,
        settings,
        output,
        temperature=temperature,
        seed=seed,
        identity=identity,
        progress=progress,
    )


def _only_temperature(temperatures: list[float]) -> float:
    if len(temperatures) != 1:
        listed = ", ".join(f"{value:g} K" for value in temperatures)
        raise InputError(f"the force field was trained at {listed}", fix="Say which temperature: '--temperature'.")
    return temperatures[0]


def _refuse_foreign_output(output: Path, identity: str, *, work: str) -> None:
    """Never overwrite a file that came from anything else than this very command."""
    if output.is_dir():
        raise InputError(f"the output '{output}' is a folder", fix="Give a file name such as 'simulation.h5'.")
    if not output.exists():
        return
    try:
        with open_trajectory(output) as stored:
            is_same = stored.metadata.get("identity") == identity
    except InputError:
        is_same = False
    if not is_same:
        raise InputError(
            f"'{output}' exists and came from another {work}",
            fix="Choose another file with '--output', or delete it.",
        )
