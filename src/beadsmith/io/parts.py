"""A trajectory that grows and survives a kill at any moment.

Frames and the engine's state go together into one small file per checkpoint, written atomically. After a crash the
last part says exactly where to go on: no saved frame is lost and none is written twice.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory, write_chunks
from beadsmith.io.records import describe_os_error, replacing
from beadsmith.trajectory import Trajectory


class PartStore:
    """The parts of one growing trajectory, in the folder ``<path>.parts``."""

    def __init__(self, path: Path, identity: str) -> None:
        """Open the parts that exist for this path.

        Parameters
        ----------
        path : The file that `finish` will write.
        identity : Hash of everything the frames depend on. Parts of another identity are deleted.

        Raises
        ------
        InputError : the folder cannot be made.
        """
        self.path = Path(path)
        self.folder = self.path.with_name(self.path.name + ".parts")
        self.identity = identity
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise describe_os_error(error, self.folder) from error
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        self._parts = sorted(self.folder.glob("part-*.h5"))
        if any(_read_identity(part) != identity for part in self._parts):
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            self._parts = []
        self._counts = [_count_frames(part) for part in self._parts]

    @property
    def n_frames(self) -> int:
        """Number of frames saved so far."""
        return sum(self._counts)

    @property
    def last_state(self) -> dict[str, np.ndarray] | None:
        """Engine state stored with the last part, or None at the start."""
        if not self._parts:
            return None
        with h5py.File(self._parts[-1], "r") as file:
            return {name: np.asarray(value[()]) for name, value in file["state"].items()}

    def append(self, trajectory: Trajectory, state: dict[str, np.ndarray]) -> None:
        """Save frames (possibly none) and the engine state that follows them, as one atomic step.

        Raises
        ------
        InputError : the disk is full or the folder cannot be written to; nothing is half written.
        """
        part = self.folder / f"part-{len(self._parts):06d}.h5"
        with replacing(part) as temporary:
            write_chunks(temporary, [trajectory], n_frames=trajectory.n_frames, metadata={})
            with h5py.File(temporary, "a") as file:
                file.attrs["identity"] = self.identity
                group = file.create_group("state")
                for name, value in state.items():
                    group[name] = value
        self._parts.append(part)
        self._counts.append(trajectory.n_frames)

    def count_frames(self, segments: range) -> int:
        """Return the number of frames saved so far that belong to some segments."""
        return sum(int(np.isin(_read_segments(part), segments).sum()) for part in self._parts)

    def write_segments(self, path: Path, segments: range, *, temperature: float, metadata: dict[str, Any]) -> None:
        """Join the frames of some segments, numbered from 0, into a file of their own; the parts are kept.

        Parameters
        ----------
        path : File to write.
        segments : Which segments.
        temperature : Temperature of their state point [K].
        metadata : What the file says about itself, beside the identity.

        Raises
        ------
        InputError : none of their frames was saved, or the disk is full.
        """
        if (n_frames := self.count_frames(segments)) == 0:
            raise InputError(f"no frame was saved for '{path}'", fix="Make the run longer than one save interval.")

        def renumber(chunk: Trajectory) -> Trajectory:
            assert chunk.segment is not None
            state_point = replace(chunk.state_point, temperature=temperature)
            return replace(chunk, segment=chunk.segment - segments.start, state_point=state_point)

        chunks = (renumber(chunk) for chunk in self._sorted_chunks(segments))
        with replacing(path) as temporary:
            write_chunks(temporary, chunks, n_frames=n_frames, metadata={"identity": self.identity, **metadata})

    def finish(self, metadata: dict[str, Any]) -> None:
        """Join all parts into the final file, frames sorted by segment and in order of saving, then delete the parts.

        The metadata get the identity, by which a file that was finished just before a crash is known again.

        Raises
        ------
        InputError : nothing was saved, or the disk is full (the parts are then kept).
        """
        if self.n_frames == 0:
            raise InputError(f"no frame was saved for '{self.path}'", fix="Make the run longer than one save interval.")
        with replacing(self.path) as temporary:
            write_chunks(
                temporary,
                self._sorted_chunks(),
                n_frames=self.n_frames,
                metadata={"identity": self.identity, **metadata},
            )
        self.delete()

    def delete(self) -> None:
        """Delete the parts: everything they hold stands in files of its own."""
        shutil.rmtree(self.folder)

    def _sorted_chunks(self, segments: range | None = None) -> Iterator[Trajectory]:
        parts_of: dict[int, list[Path]] = {}
        for part, count in zip(self._parts, self._counts, strict=True):
            if count:
                for segment in np.unique(_read_segments(part)).tolist():
                    parts_of.setdefault(segment, []).append(part)
        for segment in sorted(parts_of if segments is None else parts_of.keys() & set(segments)):
            for part in parts_of[segment]:
                with open_trajectory(part) as stored:
                    chosen = None if stored.segment is None else np.flatnonzero(stored.segment == segment)
                    yield stored.read(chosen)


def _read_identity(part: Path) -> str | None:
    try:
        with h5py.File(part, "r") as file:
            return str(file.attrs.get("identity"))
    except OSError:
        return None


def _read_segments(part: Path) -> np.ndarray:
    with open_trajectory(part) as stored:
        return np.zeros(stored.n_frames, dtype=np.int64) if stored.segment is None else stored.segment


def _count_frames(part: Path) -> int:
    with open_trajectory(part) as stored:
        return stored.n_frames
