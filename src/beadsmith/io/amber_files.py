"""AMBER NetCDF trajectories: classic NetCDF read record by record, NetCDF-4 through HDF5.

The header of a classic file says how many records there are and where each variable lies in a record, so any block of
frames is one read, and memory does not grow with the file (a memory map of a long file would).
Source of the format: NetCDF classic format specification, docs.unidata.ucar.edu/netcdf-c; AMBER NetCDF convention 1.0,
ambermd.org/netcdf.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from beadsmith.io.file_units import FORCES, LENGTHS, FileUnits, parse_unit
from beadsmith.io.frame_files import AbstractFrameFile, FrameBlock, all_frames, damaged, file_size

_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}
_STREAMING = 0xFFFFFFFF
_TIMES = {"ps": 1.0, "fs": 1e-3}
_VELOCITIES = {"angstrom/ps": LENGTHS["angstrom"], "nm/ps": 1.0}


class AmberFile(AbstractFrameFile):
    """An AMBER NetCDF trajectory in any of the NetCDF forms."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises
        ------
        InputError : the file is missing, empty, no NetCDF file, not of AMBER's convention, or of unknown units.
        """
        self.path = path
        size = file_size(path)
        with path.open("rb") as file:
            magic = file.read(4)
        if magic[:3] == b"CDF":
            self._header: _Header | None = _read_header(path)
            names, attributes = self._header.names, self._header.attributes
            complete = (size - self._header.begin + self._header.padding) // self._header.dtype.itemsize
            promised = complete if self._header.n_records == _STREAMING else self._header.n_records
            self.n_frames = max(0, min(complete, promised))
            if complete < promised:
                self.damage = f"frame {self.n_frames} is truncated: the header promises {promised} frames"
        elif magic == b"\x89HDF":
            self._header = None
            with _open_hdf(path) as hdf:
                names = set(hdf)
                attributes = {
                    name: {key: _text(value) for key, value in hdf[name].attrs.items() if key in _WANTED}
                    for name in names
                }
                self.n_frames = len(hdf["coordinates"]) if "coordinates" in hdf else 0
        else:
            raise damaged(path, "a NetCDF file starts with 'CDF' or '\\x89HDF'")
        if not names & {"coordinates", "forces"}:
            raise damaged(path, f"it has neither 'coordinates' nor 'forces' but {', '.join(sorted(names))}")
        self._names = names
        self._scales = {name: float(str(entries.get("scale_factor", 1.0))) for name, entries in attributes.items()}
        self.units = self._read_units({name: entries.get("units") for name, entries in attributes.items()})
        self.has_positions = all_frames(self.n_frames, "coordinates" in names)
        self.has_forces = all_frames(self.n_frames, "forces" in names)
        if self.n_frames == 0:
            raise damaged(path, self.damage or "it has no frame")
        first = self._values("coordinates" if "coordinates" in names else "forces", 0, 1)
        self.n_atoms = first.shape[1]

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded)."""
        found = {
            ours: self._values(theirs, start, stop)
            for ours, theirs in (
                ("positions", "coordinates"),
                ("forces", "forces"),
                ("velocities", "velocities"),
                ("times", "time"),
            )
            if theirs in self._names
        }
        cell = None
        if {"cell_lengths", "cell_angles"} <= self._names:
            cell = _cell_vectors(self._values("cell_lengths", start, stop), self._values("cell_angles", start, stop))
        return FrameBlock(cell=cell, **found)

    def _values(self, name: str, start: int, stop: int) -> np.ndarray:
        if self._header is None:
            with _open_hdf(self.path) as hdf:
                values = hdf[name][start:stop]
        else:
            step = self._header.dtype.itemsize
            with self.path.open("rb") as file:
                file.seek(self._header.begin + start * step)
                content = file.read((stop - start) * step).ljust((stop - start) * step, b"\0")
            values = np.frombuffer(content, dtype=self._header.dtype)[name]
        scale = self._scales.get(name, 1.0)
        native = values.astype(values.dtype.newbyteorder("="))
        return native if scale == 1.0 else native * scale

    def _read_units(self, stated: dict[str, object]) -> FileUnits:
        def factor(name: str, known: dict[str, float], default: str) -> float:
            text = str(stated.get(name) or default)
            return parse_unit(text, known, what=f"'{name}'", where=f"file '{self.path}'")

        # AMBER states velocities in angstrom/ps and stores them in its own unit with the factor between the two
        return FileUnits(
            length=factor("coordinates", LENGTHS, "angstrom"),
            force=factor("forces", FORCES, "kcal/mol/angstrom"),
            time=factor("time", _TIMES, "ps"),
            velocity=factor("velocities", _VELOCITIES, "angstrom/ps"),
            name="angstrom, kcal/mol/angstrom, ps (stated by the file)",
        )


_WANTED = ("units", "scale_factor")


class _Header:
    """Where the variables of a classic NetCDF file lie in each of its records."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._large = file.read(4)[3:]
        if self._large not in (b"\x01", b"\x02"):
            raise ValueError("only the classic NetCDF formats 1 and 2 are read")
        self.n_records = self._number()
        sizes = [self._dimension() for _ in range(self._count())]
        self._read_attributes()
        layout: dict[str, tuple[np.dtype, int]] = {}
        self.attributes: dict[str, dict[str, object]] = {}
        padded = 0
        for _ in range(self._count()):
            name = self._name()
            shape = [sizes[self._number()] for _ in range(self._number())]
            self.attributes[name] = self._read_attributes()
            kind, stated = self._number(), self._number()
            begin = struct.unpack(
                ">q" if self._large == b"\x02" else ">i", file.read(8 if self._large == b"\x02" else 4)
            )
            # the record dimension is written with length 0
            if shape and shape[0] == 0:
                layout[name] = (np.dtype((_TYPES[kind], tuple(shape[1:]))), begin[0])
                padded += stated
        self.names = set(layout)
        if not layout:
            raise ValueError("it has no variable with one entry per frame")
        self.begin = min(offset for _, offset in layout.values())
        # a single record variable is not padded
        itemsize = padded if len(layout) > 1 else next(iter(layout.values()))[0].itemsize
        self.dtype = np.dtype(
            {
                "names": list(layout),
                "formats": [form for form, _ in layout.values()],
                "offsets": [offset - self.begin for _, offset in layout.values()],
                "itemsize": itemsize,
            }
        )
        # the last record may lack its final padding
        self.padding = itemsize - max(offset - self.begin + form.itemsize for form, offset in layout.values())

    def _number(self) -> int:
        return int(struct.unpack(">I", self._file.read(4))[0])

    def _count(self) -> int:
        """Return the length of a list, after its tag."""
        self._number()
        return self._number()

    def _name(self) -> str:
        return self._padded(self._number()).decode()

    def _padded(self, length: int) -> bytes:
        content = self._file.read((length + 3) // 4 * 4)
        if len(content) < length:
            raise struct.error("end of file")
        return content[:length]

    def _dimension(self) -> int:
        self._name()
        return self._number()

    def _read_attributes(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(self._count()):
            name, kind, length = self._name(), np.dtype(_TYPES[self._number()]), self._number()
            content = self._padded(length * kind.itemsize)
            is_text = kind == np.dtype("S1")
            found[name] = content.decode(errors="replace").rstrip("\0") if is_text else np.frombuffer(content, kind)[0]
        return found


def _read_header(path: Path) -> _Header:
    try:
        with path.open("rb") as file:
            return _Header(file)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise damaged(path, f"its header cannot be read ({error})") from error


def _open_hdf(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise damaged(path, str(error)) from error


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else (value[0] if isinstance(value, np.ndarray) else value)


def _cell_vectors(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray | None:
    """Return the cell vectors of each frame from its edges and angles [degrees]; zeros mean no cell."""
    return cell_from_edges(lengths, angles) if np.any(lengths) else None


def cell_from_edges(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return cell vectors (frames, 3, 3), the first along x and the second in the xy plane."""
    a, b, c = lengths.astype(np.float64).T
    # cos(90°) is 6e-17 in floating point, which would make every box triclinic
    alpha, beta, gamma = np.where(angles == 90.0, 0.0, np.cos(np.radians(angles.astype(np.float64)))).T
    cell = np.zeros((len(a), 3, 3))
    cell[:, 0, 0] = a
    sine = np.sqrt(1.0 - gamma**2)
    cell[:, 1, 0], cell[:, 1, 1] = b * gamma, b * sine
    cell[:, 2, 0], cell[:, 2, 1] = c * beta, c * (alpha - beta * gamma) / sine
    cell[:, 2, 2] = np.sqrt(np.maximum(c**2 - cell[:, 2, 0] ** 2 - cell[:, 2, 1] ** 2, 0.0))
    return cell
