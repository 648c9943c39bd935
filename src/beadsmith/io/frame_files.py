"""What every reader of simulation files gives: how many frames there are, and any block of them in its own units.

Readers count frames on their own (headers, markers, sizes) when they open a file, and never deliver fewer.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.io.file_units import FileUnits
from beadsmith.io.records import describe_os_error

Role = Literal["positions", "forces", "cell"]
"""What a file is opened for: some formats (npy, DCD) hold one array that may be either."""


@dataclass(frozen=True, kw_only=True)
class FrameBlock:
    """Consecutive frames in the file's units and in the file's order of atoms; what the file lacks is None."""

    positions: Float[np.ndarray, "frames sites 3"] | None = None
    """Site positions."""
    forces: Float[np.ndarray, "frames sites 3"] | None = None
    """Force on each site."""
    velocities: Float[np.ndarray, "frames sites 3"] | None = None
    """Site velocities."""
    cell: Float[np.ndarray, "frames 3 3"] | None = None
    """Cell vectors as rows."""
    times: Float[np.ndarray, "frames"] | None = None
    """Time of each frame."""


@dataclass(frozen=True, kw_only=True)
class FileSites:
    """What a file says about its sites, in the file's own order; what it does not say is None."""

    names: tuple[str, ...]
    """Name, element or type of each site."""
    types: tuple[str, ...] | None = None
    """Type of each site."""
    elements: tuple[str, ...] | None = None
    """Chemical element of each site."""
    masses: Float[np.ndarray, "sites"] | None = None
    """Mass of each site, in units of the file."""
    molecules: Int[np.ndarray, "sites"] | None = None
    """Molecule number of each site, in any order."""
    residue_index: Int[np.ndarray, "sites"] | None = None
    """Residue of each site, 0-based."""
    residue_names: tuple[str, ...] | None = None
    """Name of each residue."""
    bonds: Int[np.ndarray, "bonds 2"] | None = None
    """Bonded pairs; an empty array says that there are none."""
    constraints: Int[np.ndarray, "constraints 2"] | None = None
    """Pairs at fixed distance; an empty array says that there are none."""

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.names)


class AbstractFrameFile(ABC):
    """One open file of frames, read block by block in any order."""

    path: Path
    n_frames: int
    """Complete frames in the file."""
    n_atoms: int
    units: FileUnits
    damage: str | None = None
    """What is wrong behind the last complete frame, or None."""
    sites: FileSites | None = None
    has_positions: np.ndarray
    """Whether each frame holds positions."""
    has_forces: np.ndarray
    """Whether each frame holds forces."""

    @abstractmethod
    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded).

        Raises
        ------
        InputError : the frames cannot be read as what the file says they are.
        """

    def close(self) -> None:  # noqa: B027 most files are opened anew for each block
        """Give back what the open file holds."""


def file_size(path: Path) -> int:
    """Return the size of a file [bytes].

    Raises
    ------
    InputError : the file is missing, unreadable or empty.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"'{path}' is a folder, expected a file")
        with path.open("rb"):
            pass
    except OSError as error:
        raise describe_os_error(error, path) from error
    if size == 0:
        raise InputError(f"'{path}' is empty", fix="Check that the simulation wrote it, and copy it again.")
    return size


def ends_with_newline(path: Path) -> bool:
    """Whether the last line of a text file has its end."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in (b"\n", b"\r")


def damaged(path: Path, what: str) -> InputError:
    """Return the error for a file whose content is not what its format promises."""
    return InputError(f"'{path}' is damaged or of another format: {what}", fix="Copy or write the file again.")


def all_frames(n_frames: int, has: bool) -> np.ndarray:
    """Return one flag for every frame."""
    return np.full(n_frames, has)
