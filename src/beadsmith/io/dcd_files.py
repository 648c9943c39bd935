"""DCD files: frames are counted from the size of the file and read by MDAnalysis."""

import struct
import warnings
from pathlib import Path

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.amber_files import cell_from_edges
from beadsmith.io.file_units import LENGTHS, FileUnits
from beadsmith.io.frame_files import AbstractFrameFile, FrameBlock, Role, all_frames, damaged, file_size


class DcdFile(AbstractFrameFile):
    """A DCD file: positions in angstrom, or for role ``forces`` forces in the unit that the user states."""

    def __init__(self, path: Path, role: Role, units: FileUnits | None) -> None:
        """Compare the frames that the header promises with the size of the file.

        Raises
        ------
        InputError : the file is missing, empty or no DCD file, or the unit of forces is not stated.
        """
        self.path, self._role = path, role
        size = file_size(path)
        promised, self.n_atoms, begin, per_frame = _read_dcd_header(path)
        self.n_frames = (size - begin) // per_frame
        missing = (size - begin) % per_frame
        if missing:
            self.damage = f"frame {self.n_frames} is truncated: it lacks its last {per_frame - missing} bytes"
        elif 0 < self.n_frames < promised:
            self.damage = f"the header promises {promised} frames, the file holds {self.n_frames}"
        if self.n_frames == 0:
            raise damaged(path, self.damage or "it has no frame")
        if role == "forces" and (units is None or units.force is None):
            raise InputError(
                f"the unit of the forces in '{path}' is not stated",
                fix="Say 'units: {force: kcal/mol/angstrom}' (NAMD and CHARMM), or another.",
            )
        self.units = units if role == "forces" and units is not None else _DCD_UNITS
        self.has_positions = all_frames(self.n_frames, role == "positions")
        self.has_forces = all_frames(self.n_frames, role == "forces")

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded)."""
        from MDAnalysis.coordinates.DCD import DCDReader

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with DCDReader(str(self.path)) as reader:
                if reader.n_frames < stop:
                    raise damaged(self.path, f"{reader.n_frames} frames can be read, expected {self.n_frames}")
                frames = [(ts.positions.copy(), ts.dimensions, ts.time) for ts in reader[start:stop]]
        values = np.array([frame[0] for frame in frames])
        times = np.array([frame[2] for frame in frames], dtype=np.float64)
        if self._role == "forces":
            return FrameBlock(forces=values, times=times)
        cell = None
        if all(frame[1] is not None for frame in frames):
            dimensions = np.array([frame[1] for frame in frames], dtype=np.float64)
            cell = cell_from_edges(dimensions[:, :3], dimensions[:, 3:])
        return FrameBlock(positions=values, cell=cell, times=times)


_DCD_UNITS = FileUnits(length=LENGTHS["angstrom"], force=None, name="angstrom, ps (convention of DCD files)")


def _read_dcd_header(path: Path) -> tuple[int, int, int, int]:
    """Return frames promised, atoms, the byte where frames begin, and bytes per frame."""
    with path.open("rb") as file:
        start = file.read(92)
        for order in ("<", ">"):
            if len(start) == 92 and struct.unpack(f"{order}i", start[:4])[0] == 84 and start[4:8] in (b"CORD", b"VELD"):
                break
        else:
            raise damaged(path, "a DCD file starts with a record of 84 bytes named CORD")
        numbers = struct.unpack(f"{order}20i", start[8:88])
        (title,) = struct.unpack(f"{order}i", file.read(4))
        file.seek(title + 4, 1)
        _, n_atoms, _ = struct.unpack(f"{order}3i", file.read(12))
        begin = file.tell()
    if numbers[8]:
        raise InputError(f"'{path}' has {numbers[8]} fixed atoms, which it stores only once", fix="Write all atoms.")
    is_charmm = numbers[19] != 0
    cell, fourth = is_charmm and numbers[10] == 1, is_charmm and numbers[11] == 1
    return numbers[0], n_atoms, begin, (56 if cell else 0) + (4 if fourth else 3) * (4 * n_atoms + 8)
