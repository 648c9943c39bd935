"""The folder of an export: a script for another engine beside the force field and the frame it starts from."""

from dataclasses import replace
from pathlib import Path
from string import Template

import numpy as np

from beadsmith import __version__
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, adopt_topology, fix_temperature, save_force_field
from beadsmith.io.h5md import open_trajectory, write_trajectory
from beadsmith.io.records import describe_os_error, write_bytes
from beadsmith.trajectory import Trajectory


def read_start(path: Path, force_field: ForceField, *, frame: int) -> Trajectory:
    """Return one frame of a file with the bead types and masses of a force field.

    Raises
    ------
    InputError : the file cannot be read, has no such frame, or holds beads that the force field does not know.
    """
    with open_trajectory(path) as stored:
        if not -stored.n_frames <= frame < stored.n_frames:
            raise InputError(f"frame {frame} does not exist: '{path}' has {stored.n_frames} frames")
        frames = stored.read(np.array([frame % stored.n_frames]))
    topology = adopt_topology(frames.topology, force_field, where=f"'{path}'")
    return replace(frames, topology=topology, segment=None)


def write_export_folder(
    output: Path,
    script: str,
    *,
    force_field: ForceField,
    start: Trajectory,
    temperature: float | None,
    template: str,
) -> Path:
    """Write script, force field and start frame; return the script's path.

    Parameters
    ----------
    output : Folder to write; made if it does not exist.
    script : Name of the script.
    force_field : Force field to copy into the folder.
    start : The frame to start from.
    temperature : Temperature of the script [K]; that of the first training state point if not given, but a force field
        that depends on temperature wants one.
    template : The script with ``$$temperature`` and ``$$version`` in it.

    Raises
    ------
    InputError : the folder cannot be written to, or the temperature is not positive or must be given.
    """
    fix_temperature(force_field, temperature)
    if temperature is None:
        temperature = force_field.state_points[0].temperature
    if not temperature > 0.0:
        raise InputError(f"temperature is {temperature:g} K, expected > 0")
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise describe_os_error(error, output) from error
    save_force_field(force_field, output / "force_field")
    write_trajectory(output / "start.h5", start)
    text = Template(template).substitute(temperature=repr(float(temperature)), version=__version__)
    write_bytes(output / script, text.encode())
    return output / script
