"""GROMACS TRR and XTC: frames are counted by walking their headers, and read by MDAnalysis's low-level readers.

MDAnalysis's own trajectory classes leave index files beside a trajectory and can stop early without an error; the
readers below them do neither when they are told where each frame starts.
"""

import struct
from array import array
from pathlib import Path

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import GROMACS_UNITS
from beadsmith.io.frame_files import AbstractFrameFile, FrameBlock, Role, all_frames, damaged, file_size

_TRR_MAGIC = 1993
_XTC_MAGICS = (1995, 2023)
_POSITIONS, _VELOCITIES, _FORCES = 1, 2, 4


class TrrFile(AbstractFrameFile):
    """A TRR file: positions, velocities and forces, each of them possibly in only some of the frames."""

    def __init__(self, path: Path) -> None:
        """Walk the headers of all frames.

        Raises
        ------
        InputError : the file is missing, empty, no TRR file, or its frames have different atoms.
        """
        self.path, self.units = path, GROMACS_UNITS
        self._offsets, contents, self.n_atoms, self.damage = _walk(path, _read_trr_header)
        self.n_frames = len(self._offsets)
        self.has_positions, self.has_forces = (contents & _POSITIONS) > 0, (contents & _FORCES) > 0
        self._has_velocities = bool(np.all(contents & _VELOCITIES))

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded)."""
        from MDAnalysis.lib.formats.libmdaxdr import TRRFile

        with TRRFile(str(self.path)) as file:
            file.set_offsets(self._offsets)
            file.seek(start)
            frames = [_read_next(file, self.path, start + k) for k in range(stop - start)]
        return FrameBlock(
            positions=np.array([f.x for f in frames]) if self.has_positions[start:stop].all() else None,
            forces=np.array([f.f for f in frames]) if self.has_forces[start:stop].all() else None,
            velocities=np.array([f.v for f in frames]) if self._has_velocities else None,
            cell=_cells([f.box for f in frames]),
            times=np.array([f.time for f in frames], dtype=np.float64),
        )


class XtcFile(AbstractFrameFile):
    """An XTC file: positions of limited precision; for role ``forces`` what stands in their place."""

    def __init__(self, path: Path, role: Role = "positions") -> None:
        """Walk the headers of all frames.

        Raises
        ------
        InputError : the file is missing, empty or no XTC file, or it is to serve as forces.
        """
        if role == "forces":
            raise InputError(f"'{path}' is an XTC file, which holds no forces", fix="Save the forces as TRR or npy.")
        self.path, self.units = path, GROMACS_UNITS
        self._offsets, _, self.n_atoms, self.damage = _walk(path, _read_xtc_header)
        self.n_frames = len(self._offsets)
        self.has_positions, self.has_forces = all_frames(self.n_frames, True), all_frames(self.n_frames, False)

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded)."""
        from MDAnalysis.lib.formats.libmdaxdr import XTCFile

        with XTCFile(str(self.path)) as file:
            file.set_offsets(self._offsets)
            file.seek(start)
            frames = [_read_next(file, self.path, start + k) for k in range(stop - start)]
        return FrameBlock(
            positions=np.array([f.x for f in frames]),
            cell=_cells([f.box for f in frames]),
            times=np.array([f.time for f in frames], dtype=np.float64),
        )


def _read_next(file, path: Path, frame: int):  # type: ignore[no-untyped-def]
    try:
        return file.read()
    except (OSError, StopIteration, RuntimeError) as error:
        raise damaged(path, f"frame {frame} cannot be read ({error})") from error


def _cells(boxes: list[np.ndarray]) -> np.ndarray | None:
    """Return the cells, or None if all are zero: GROMACS writes zeros for a run without one."""
    cells = np.array(boxes)
    return cells if np.any(cells) else None


def _walk(path: Path, read_header):  # type: ignore[no-untyped-def]
    """Return where each complete frame starts, what it contains, its atoms, and what is wrong after the last one."""
    size = file_size(path)
    # compact arrays: lists of Python numbers would take 200 MB for a million frames
    offsets, contents = array("q"), bytearray()
    n_atoms, damage, position = 0, None, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            try:
                n_bytes, n_here, content = read_header(file)
            except struct.error:
                damage = f"frame {len(offsets)} is truncated: the file ends in its header"
                break
            except ValueError as error:
                if not offsets:
                    raise damaged(path, str(error)) from error
                damage = f"frame {len(offsets)} is damaged: {error}"
                break
            end = file.tell() + n_bytes
            if end > size:
                damage = f"frame {len(offsets)} is truncated: it lacks its last {end - size} bytes"
                break
            n_atoms = n_atoms or n_here
            if n_here != n_atoms:
                raise InputError(
                    f"frame {len(offsets)} of '{path}' has {n_here} atoms, the first frame has {n_atoms}",
                    fix="Split the file: all frames must be of the same system.",
                )
            offsets.append(position)
            contents.append(content)
            position = end
    if not offsets:
        raise damaged(path, damage or "it has no frame")
    return np.array(offsets, dtype=np.int64), np.frombuffer(contents, dtype=np.uint8), n_atoms, damage


def _read_trr_header(file) -> tuple[int, int, int]:  # type: ignore[no-untyped-def]
    """Return bytes after the header, atoms, and which of positions, velocities and forces follow."""
    magic, _, length = struct.unpack(">3i", file.read(12))
    if magic != _TRR_MAGIC or not 0 < length < 100:
        raise ValueError(f"a frame of a TRR file starts with {_TRR_MAGIC}, found {magic}")
    file.seek((length + 3) // 4 * 4, 1)
    sizes = struct.unpack(">13i", file.read(52))
    blocks, n_atoms = sizes[:10], sizes[10]
    if n_atoms < 1 or min(blocks) < 0:
        raise ValueError("the header of a frame makes no sense")
    per_atom = next((block // n_atoms for block in blocks[7:10] if block), 0)
    real = per_atom // 3 if per_atom else blocks[2] // 9
    if real not in (4, 8):
        raise ValueError("a frame is in neither single nor double precision")
    if len(file.read(2 * real)) < 2 * real:
        raise struct.error
    content = _POSITIONS * (blocks[7] > 0) | _VELOCITIES * (blocks[8] > 0) | _FORCES * (blocks[9] > 0)
    return sum(blocks), n_atoms, content


def _read_xtc_header(file) -> tuple[int, int, int]:  # type: ignore[no-untyped-def]
    """Return bytes after the header, atoms, and that positions follow."""
    magic, n_atoms, _, _, *_, again = struct.unpack(">3if9fi", file.read(56))
    if magic not in _XTC_MAGICS or n_atoms < 1 or again != n_atoms:
        raise ValueError(f"a frame of an XTC file starts with {_XTC_MAGICS[0]}, found {magic}")
    # up to nine atoms are not compressed
    if n_atoms <= 9:
        return 12 * n_atoms, n_atoms, _POSITIONS
    struct.unpack(">f7i", file.read(32))
    (length,) = struct.unpack(">q", file.read(8)) if magic == 2023 else struct.unpack(">i", file.read(4))
    return (length + 3) // 4 * 4, n_atoms, _POSITIONS
