"""Open a file of frames by its format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from beadsmith.errors import InputError
from beadsmith.io.amber_files import AmberFile
from beadsmith.io.array_files import ArrayFile
from beadsmith.io.dcd_files import DcdFile
from beadsmith.io.extxyz_files import ExtxyzFile
from beadsmith.io.file_units import FileUnits
from beadsmith.io.frame_files import AbstractFrameFile, Role, file_size
from beadsmith.io.gromacs_files import TrrFile, XtcFile
from beadsmith.io.h5md_frames import H5mdFile
from beadsmith.io.lammps_files import LammpsDump

FrameFormat = Literal["auto", "trr", "xtc", "dcd", "lammps", "amber", "h5md", "arrays", "extxyz"]

_ENDINGS: dict[str, FrameFormat] = {
    ".trr": "trr",
    ".xtc": "xtc",
    ".dcd": "dcd",
    ".dump": "lammps",
    ".lammpstrj": "lammps",
    ".lammpsdump": "lammps",
    ".nc": "amber",
    ".ncdf": "amber",
    ".h5": "h5md",
    ".h5md": "h5md",
    ".hdf5": "h5md",
    ".npy": "arrays",
    ".npz": "arrays",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
}


@dataclass(frozen=True, kw_only=True)
class FileHints:
    """What a user says about files whose format leaves it open."""

    format: FrameFormat = "auto"
    """Format, or auto to go by the ending."""
    units: FileUnits | None = None
    """Units, or None if they are not stated."""
    positions_key: str | None = None
    """Name of the array of positions in an npz file."""
    forces_key: str | None = None
    """Name of the array or column of forces."""
    cell_key: str | None = None
    """Name of the array of cells in an npz file."""


def open_frame_file(path: Path, role: Role, hints: FileHints) -> AbstractFrameFile:
    """Open a file of frames and count what it holds.

    Parameters
    ----------
    path : File.
    role : What it is opened for.
    hints : Format, units and names where the file leaves them open.

    Raises
    ------
    InputError : the format is unknown, or the file cannot be used (see the readers).
    """
    kind = _ENDINGS.get(path.suffix.lower()) if hints.format == "auto" else hints.format
    file_size(path)
    match kind:
        case "trr":
            return TrrFile(path)
        case "xtc":
            return XtcFile(path, role)
        case "dcd":
            return DcdFile(path, role, hints.units)
        case "lammps":
            return LammpsDump(path, hints.units)
        case "amber":
            return AmberFile(path)
        case "h5md":
            return H5mdFile(path, hints.units)
        case "arrays":
            keys = {"positions": hints.positions_key, "forces": hints.forces_key, "cell": hints.cell_key}
            return ArrayFile(path, role, hints.units, keys)
        case "extxyz":
            return ExtxyzFile(path, hints.units, hints.forces_key)
    raise InputError(
        f"the format of '{path}' is not known by its ending '{path.suffix}'",
        fix=f"Known endings: {', '.join(_ENDINGS)}. Otherwise say 'format'.",
    )
