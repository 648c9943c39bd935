"""NumPy arrays of frames: npy files and the entries of npz files, read as streams so that memory stays small.

No array of Python objects is ever read: that would be a pickle, which can run code.
"""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import FileUnits
from beadsmith.io.frame_files import AbstractFrameFile, FrameBlock, Role, all_frames, damaged, file_size

_KEYS: dict[str, tuple[str, ...]] = {
    "positions": ("positions", "coords", "coordinates", "pos", "R", "xyz"),
    "forces": ("forces", "force", "Fs", "F"),
    "cell": ("cell", "cells", "box", "lattice"),
    "times": ("times", "time"),
}
"""Names that are in use for each array; any other is stated by the user."""


class _ArrayStream:
    """One array on disk, read by blocks of its first axis; fastest when the blocks follow each other."""

    def __init__(self, path: Path, entry: str | None) -> None:
        self.path, self._entry = path, entry
        self.label = f"'{path}'" if entry is None else f"'{entry}' of '{path}'"
        self._archive: zipfile.ZipFile | None = None
        self._file: IO[bytes] = self._open()
        try:
            version = np.lib.format.read_magic(self._file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            self.shape, is_fortran, self.dtype = read_header(self._file)
        except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
            raise damaged(path, f"{self.label} has no readable array header ({error})") from error
        if self.dtype.hasobject:
            raise InputError(
                f"{self.label} holds Python objects (a pickle), which are not read because they can run code",
                fix="Save plain arrays of numbers.",
            )
        if is_fortran and len(self.shape) > 1:
            raise InputError(f"{self.label} is in Fortran order", fix="Save np.ascontiguousarray of it.")
        if self.dtype.kind not in "fiu":
            raise InputError(f"{self.label} holds '{self.dtype}', expected numbers")
        self._begin = self._file.tell()
        self._row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self.n_complete = self.shape[0] if len(self.shape) else 0
        if entry is None and self._row:
            self.n_complete = min(self.shape[0], (path.stat().st_size - self._begin) // self._row)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows `start` to `stop` (excluded)."""
        try:
            self._file.seek(self._begin + start * self._row)
            content = self._file.read((stop - start) * self._row)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise damaged(self.path, f"{self.label} cannot be read ({error})") from error
        if len(content) < (stop - start) * self._row:
            raise damaged(self.path, f"{self.label} ends in row {start + len(content) // self._row}")
        values = np.frombuffer(content, dtype=self.dtype).reshape(stop - start, *self.shape[1:])
        return values.astype(values.dtype.newbyteorder("="))

    def close(self) -> None:
        self._file.close()
        if self._archive is not None:
            self._archive.close()

    def _open(self) -> IO[bytes]:
        if self._entry is None:
            return self.path.open("rb")
        self._archive = zipfile.ZipFile(self.path)
        return self._archive.open(f"{self._entry}.npy")


class ArrayFile(AbstractFrameFile):
    """An npy file with one array, or an npz file with several."""

    def __init__(self, path: Path, role: Role, units: FileUnits | None, keys: dict[str, str | None]) -> None:
        """Read the headers of the arrays.

        Parameters
        ----------
        path : File.
        role : What the array of an npy file is.
        units : Units of the numbers, or None if nobody stated them.
        keys : Names of the arrays in an npz file, where the user states them.

        Raises
        ------
        InputError : the file is missing, empty or no array; names are missing or ambiguous; shapes do not fit; units
            are not stated.
        """
        self.path = path
        file_size(path)
        if path.suffix == ".npy":
            self._streams: dict[str, _ArrayStream] = {role: _ArrayStream(path, None)}
        else:
            self._streams = {name: _ArrayStream(path, entry) for name, entry in _choose_keys(path, keys).items()}
            if role not in self._streams:
                raise InputError(
                    f"'{path}' has no array for {role}: it holds {', '.join(_entries(path))}",
                    fix=f"State the name of the array in '{role}_key'.",
                )
        if units is None:
            raise InputError(
                f"the units of '{path}' are not stated, and arrays carry none",
                fix="Say 'units: {style: real}' (angstrom, kcal/mol/angstrom), '{style: gromacs}' (nm, kJ/mol/nm) or "
                "another style, or 'units: {length: angstrom, force: kcal/mol/angstrom}'.",
            )
        self.units = units
        counts = {name: stream.shape[0] for name, stream in self._streams.items() if len(stream.shape)}
        if len(set(counts.values())) != 1 or len(counts) < len(self._streams):
            shapes = ", ".join(f"{stream.label} {stream.shape}" for stream in self._streams.values())
            raise InputError(f"arrays have different numbers of frames: {shapes}", fix="Save one entry per frame.")
        promised = next(iter(counts.values()))
        self.n_frames = min(stream.n_complete for stream in self._streams.values())
        if self.n_frames < promised:
            self.damage = f"frame {self.n_frames} is truncated: the header promises {promised} frames"
        if promised == 0:
            raise InputError(f"'{path}' holds no frame", fix="Check that the run saved frames.")
        self.n_atoms = max(
            (_count_atoms(stream) for name, stream in self._streams.items() if name in ("positions", "forces")),
            default=0,
        )
        self.has_positions = all_frames(self.n_frames, "positions" in self._streams)
        self.has_forces = all_frames(self.n_frames, "forces" in self._streams)

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded)."""
        found = {name: stream.read(start, stop) for name, stream in self._streams.items()}
        for name in ("positions", "forces"):
            if name in found:
                found[name] = found[name].reshape(stop - start, -1, 3)
        if "cell" in found:
            found["cell"] = _as_cells(found["cell"], self._streams["cell"].label)
        return FrameBlock(**found)

    def close(self) -> None:
        """Close all arrays."""
        for stream in self._streams.values():
            stream.close()


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise damaged(path, f"it is no readable npz archive ({error})") from error


def _choose_keys(path: Path, keys: dict[str, str | None]) -> dict[str, str]:
    """Return the entry of the archive for each array that is there."""
    entries = _entries(path)
    chosen: dict[str, str] = {}
    for name, usual in _KEYS.items():
        stated = keys.get(name)
        if stated is not None and stated not in entries:
            raise InputError(
                f"'{path}' has no array '{stated}': it holds {', '.join(entries)}", fix=f"Correct '{name}_key'."
            )
        found = [stated] if stated is not None else [entry for entry in entries if entry in usual]
        if len(found) > 1:
            raise InputError(
                f"'{path}' holds several arrays that may be {name}: {', '.join(found)}",
                fix=f"State the one to use in '{name}_key'.",
            )
        if found:
            chosen[name] = found[0]
    return chosen


def _count_atoms(stream: _ArrayStream) -> int:
    """Return the number of sites of an array of shape (frames, sites, 3) or (frames, 3 sites)."""
    shape = stream.shape
    if len(shape) == 3 and shape[2] == 3:
        return int(shape[1])
    if len(shape) == 2 and shape[1] % 3 == 0 and shape[1]:
        return int(shape[1]) // 3
    raise InputError(f"{stream.label} has shape {shape}, expected (frames, sites, 3) or (frames, 3 sites)")


def _as_cells(values: np.ndarray, label: str) -> np.ndarray:
    """Return cell matrices from (frames, 3, 3), (frames, 9) or edges (frames, 3)."""
    if values.shape[1:] in ((3, 3), (9,)):
        return values.reshape(-1, 3, 3)
    if values.shape[1:] == (3,):
        return values[:, :, None] * np.eye(3)
    raise InputError(f"{label} has shape {values.shape}, expected (frames, 3, 3), (frames, 9) or edges (frames, 3)")
