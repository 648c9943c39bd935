"""The trajectory store: H5MD files that MDAnalysis and VMD read, written atomically and read in chunks.

Layout: H5MD 1.1 (de Buyl, Colberg, Höfling, Comput. Phys. Commun. 185, 1546 (2014)) with particles in
``/particles/all``; what H5MD has no place for (topology, segments, label noise, metadata) lies in ``/beadsmith``.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from beadsmith import __version__
from beadsmith.errors import InputError
from beadsmith.io.records import describe_os_error, replacing, to_plain, topology_from_json, topology_to_json
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory, frame_fields

FORMAT_VERSION = 1

_SPACE_FOR_THE_REST = 4_000_000
"""Room for topology, metadata and engine state beside the frames [bytes]."""

_PARTICLES = "particles/all"
_PLACES: dict[str, tuple[str, str, str]] = {
    "positions": (f"{_PARTICLES}/position", "nm", "f4"),
    "velocities": (f"{_PARTICLES}/velocity", "nm ps-1", "f4"),
    "forces": (f"{_PARTICLES}/force", "kJ mol-1 nm-1", "f4"),
    "cell": (f"{_PARTICLES}/box/edges", "nm", "f4"),
    "energy": ("observables/potential_energy", "kJ mol-1", "f8"),
    "virial": ("observables/molecular_virial", "kJ mol-1", "f8"),
    "segment": ("beadsmith/segment", "", "i8"),
    "temperature": ("beadsmith/temperature", "K", "f8"),
    "weight": ("beadsmith/weight", "", "f8"),
    "n_averaged": ("beadsmith/n_averaged", "", "i8"),
    "force_noise": ("beadsmith/force_noise", "kJ mol-1 nm-1", "f4"),
    "response_forces": ("beadsmith/response_forces", "kJ mol-1 nm-1", "f4"),
    "response_noise": ("beadsmith/response_noise", "kJ mol-1 nm-1", "f4"),
    "energy_noise": ("beadsmith/energy_noise", "kJ mol-1", "f8"),
    "energy_variance": ("beadsmith/energy_variance", "kJ2 mol-2", "f8"),
}
_MUST_BE_FINITE = ("positions", "forces", "velocities", "cell", "energy", "virial")


class StoredTrajectory:
    """An open trajectory file: its description at once, its frames on request."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        """Read the description. Use `open_trajectory` instead of this constructor."""
        self._file = file
        self.path = path
        try:
            record = file["beadsmith"]
            version = int(record.attrs["format_version"])
            if version != FORMAT_VERSION:
                raise InputError(
                    f"'{path}' has format version {version}, this beadsmith reads {FORMAT_VERSION}",
                    fix="Use the beadsmith version that wrote it, or repeat the stage.",
                )
            self.topology: Topology = topology_from_json(json.loads(record["topology"][()]))
            self.state_point = StatePoint(**json.loads(record["state_point"][()]))
            self.metadata: dict[str, Any] = json.loads(record["metadata"][()])
            self.times: np.ndarray = file[f"{_PLACES['positions'][0]}/time"][:]
            self.fields: tuple[str, ...] = tuple(name for name, place in _PLACES.items() if place[0] in file)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"'{path}' is not a beadsmith trajectory: {error}",
                fix="Pass a file written by 'beadsmith sample' or 'map'.",
            ) from error

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def segment(self) -> np.ndarray | None:
        """Segment of each frame, or None."""
        return self._file[f"{_PLACES['segment'][0]}/value"][:] if "segment" in self.fields else None

    @property
    def temperature(self) -> np.ndarray | None:
        """Temperature of each frame [K], or None where all have that of the state point."""
        return self._file[f"{_PLACES['temperature'][0]}/value"][:] if "temperature" in self.fields else None

    def read(self, frames: slice | np.ndarray | None = None) -> Trajectory:
        """Return the chosen frames (all if None).

        Raises
        ------
        InputError : a value is not finite, or the data are damaged.
        """
        chosen = slice(None) if frames is None else frames
        data: dict[str, np.ndarray] = {}
        for name in self.fields:
            dataset = self._file[f"{_PLACES[name][0]}/value"]
            try:
                data[name] = dataset[chosen] if isinstance(chosen, slice) else _read_frames(dataset, chosen)
            except OSError as error:
                raise InputError(
                    f"'{self.path}' is damaged: '{name}' cannot be read", fix="Repeat the stage that wrote it."
                ) from error
            if name in _MUST_BE_FINITE:
                self._refuse_non_finite(name, data[name], chosen)
        return Trajectory(topology=self.topology, state_point=self.state_point, times=self.times[chosen], **data)

    def iterate(self, chunk_frames: int = 256) -> Iterator[Trajectory]:
        """Give all frames in order, in chunks of bounded memory."""
        for start in range(0, self.n_frames, chunk_frames):
            yield self.read(slice(start, start + chunk_frames))

    def _refuse_non_finite(self, name: str, values: np.ndarray, chosen: slice | np.ndarray) -> None:
        # a sum is finite only if every term is (up to overflow, which the exact test then clears)
        if np.isfinite(values.sum(dtype=np.float64)) or np.isfinite(values).all():
            return
        bad = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
        frame = int(np.arange(self.n_frames)[chosen][bad])
        raise InputError(
            f"'{name}' holds a value that is not finite (NaN or inf) in frame {frame} of '{self.path}'",
            fix="Repeat the stage that wrote the file, or remove that frame.",
        )


@contextmanager
def open_trajectory(path: Path) -> Iterator[StoredTrajectory]:
    """Open a trajectory file for reading.

    Raises
    ------
    InputError : the file is missing, truncated, or not written by beadsmith.
    """
    path = Path(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None or not path.is_file():
            raise describe_os_error(error if error.errno else FileNotFoundError(2, "missing"), path) from error
        raise InputError(
            f"'{path}' is not a readable HDF5 file: it is truncated or of another format",
            fix="Delete it and repeat the stage that wrote it.",
        ) from error
    with file:
        yield StoredTrajectory(file, path)


def read_trajectory(path: Path) -> Trajectory:
    """Return all frames of a trajectory file.

    Raises
    ------
    InputError : see `open_trajectory` and `StoredTrajectory.read`.
    """
    with open_trajectory(path) as stored:
        return stored.read()


def write_trajectory(path: Path, trajectory: Trajectory, metadata: dict[str, Any] | None = None) -> None:
    """Write a trajectory file atomically.

    Parameters
    ----------
    path : Target; an existing file is replaced.
    trajectory : Frames.
    metadata : JSON-ready facts about how the frames were made.

    Raises
    ------
    InputError : the folder cannot be written to or the disk is full.
    """
    with replacing(path) as temporary:
        write_chunks(temporary, [trajectory], n_frames=trajectory.n_frames, metadata=metadata or {})


def write_chunks(path: Path, chunks: Iterable[Trajectory], *, n_frames: int, metadata: dict[str, Any]) -> None:
    """Write frames that come in chunks to a new file, in one pass and bounded memory (not atomic by itself).

    Raises
    ------
    OSError : the disk has not enough space for all frames.
    """
    with h5py.File(path, "w") as file:
        start = 0
        for chunk in chunks:
            if start == 0:
                _refuse_full_disk(path, chunk, n_frames)
                _create(file, chunk, n_frames, metadata)
            end = start + chunk.n_frames
            file[f"{_PLACES['positions'][0]}/time"][start:end] = chunk.times
            for name in frame_fields():
                values = getattr(chunk, name)
                if name != "times" and values is not None:
                    file[f"{_PLACES[name][0]}/value"][start:end] = values
            start = end


def _refuse_full_disk(path: Path, first: Trajectory, n_frames: int) -> None:
    """Ask before writing: an HDF5 library that meets a full disk half-way cannot close its file and may crash."""
    arrays = [getattr(first, name) for name in frame_fields()]
    per_frame = sum(array.nbytes for array in arrays if array is not None) / max(first.n_frames, 1)
    if shutil.disk_usage(Path(path).parent).free < n_frames * per_frame + _SPACE_FOR_THE_REST:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _read_frames(dataset: h5py.Dataset, frames: np.ndarray) -> np.ndarray:
    """Read arbitrary frames: HDF5 wants them increasing and unique."""
    indices = np.arange(len(dataset))[frames]
    unique, inverse = np.unique(indices, return_inverse=True)
    if len(unique) and unique[-1] - unique[0] + 1 == len(unique):
        return dataset[unique[0] : unique[-1] + 1][inverse]
    return dataset[unique][inverse]


def _create(file: h5py.File, first: Trajectory, n_frames: int, metadata: dict[str, Any]) -> None:
    header = file.create_group("h5md")
    header.attrs["version"] = np.array([1, 1])
    header.create_group("author").attrs["name"] = "beadsmith"
    header.create_group("creator").attrs.update({"name": "beadsmith", "version": __version__})
    record = file.create_group("beadsmith")
    record.attrs["format_version"] = FORMAT_VERSION
    record["topology"] = json.dumps(topology_to_json(first.topology))
    state = first.state_point
    record["state_point"] = json.dumps(
        {"temperature": state.temperature, "density": state.density, "pressure": state.pressure}
    )
    record["metadata"] = json.dumps(to_plain(metadata))
    box = file.create_group(f"{_PARTICLES}/box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = np.array(["none" if first.cell is None else "periodic"] * 3, dtype="S8")
    steps, times = None, None
    for name, (place, unit, dtype) in _PLACES.items():
        values = getattr(first, name)
        if values is None:
            continue
        group = file.create_group(place)
        shape = (n_frames, *values.shape[1:])
        # a chunk of about 1 MB: one disk read serves a few frames, and random frames stay cheap
        rows = max(1, min(n_frames, 2**20 // max(1, 4 * int(np.prod(values.shape[1:], dtype=np.int64)))))
        value = group.create_dataset("value", shape, dtype, chunks=(rows, *shape[1:]) if n_frames else None)
        if unit:
            value.attrs["unit"] = unit
        if steps is None:
            steps = group["step"] = np.arange(n_frames)
            times = group.create_dataset("time", (n_frames,), "f8")
            times.attrs["unit"] = "ps"
            steps = group["step"]
        else:
            group["step"], group["time"] = steps, times
    file[f"{_PARTICLES}/mass"] = first.topology.masses
    file[f"{_PARTICLES}/species"] = first.topology.types
