"""All files of a reference as one sequence of frames in nm, kJ/mol/nm and ps."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.io.frame_files import AbstractFrameFile, FrameBlock
from beadsmith.io.open_files import FileHints, open_frame_file

_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class SourceFrames:
    """Consecutive frames of one file, in the files' order of atoms."""

    positions: Float[np.ndarray, "frames atoms 3"]
    """Positions [nm]."""
    forces: Float[np.ndarray, "frames atoms 3"]
    """Forces [kJ/mol/nm]."""
    velocities: Float[np.ndarray, "frames atoms 3"] | None
    """Velocities [nm/ps]."""
    cell: Float[np.ndarray, "frames 3 3"] | None
    """Cell vectors as rows [nm]."""
    times: Float[np.ndarray, "frames"]
    """Times [ps]."""
    segment: Int[np.ndarray, "frames"]
    """Number of the file."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One trajectory file, with the files of its forces and cells, and the frames that are taken."""

    positions: AbstractFrameFile
    forces: AbstractFrameFile
    cells: AbstractFrameFile | None
    chosen: Int[np.ndarray, "frames"]


class FrameSource:
    """The open files."""

    def __init__(self, runs: list[_Run], settings: ReferenceSettings, notices: list[str]) -> None:
        """Hold the files against each other. Use `open_source` instead of this constructor."""
        self._runs, self._settings = runs, settings
        self.notices = notices
        self.n_atoms = runs[0].positions.n_atoms
        self.sites = runs[0].positions.sites
        self.units = runs[0].positions.units
        self.force_unit = runs[0].forces.units
        for run in runs[1:]:
            if run.positions.n_atoms != self.n_atoms:
                raise InputError(
                    f"'{run.positions.path}' has {run.positions.n_atoms} atoms, "
                    f"'{runs[0].positions.path}' has {self.n_atoms}",
                    fix="All files must hold the same atoms. Import other systems separately.",
                )
        self._starts = np.cumsum([0] + [len(run.chosen) for run in runs])
        # what all files have is known after the first frame of each
        self._has_velocities, self.has_cell = True, False
        first = [self._read_run(number, run, run.chosen[:1]) for number, run in enumerate(runs)]
        with_cell = [frames.cell is not None for frames in first]
        if any(with_cell) and not all(with_cell):
            raise InputError(
                f"'{runs[with_cell.index(False)].positions.path}' has no cell, other files have one",
                fix="Say 'periodic: false' if the cells mean nothing, or import the files separately.",
            )
        self._has_velocities = all(frames.velocities is not None for frames in first)
        self.has_cell = all(with_cell)
        self.first = first[0]

    @property
    def n_frames(self) -> int:
        """Number of frames that are taken, of all files."""
        return int(self._starts[-1])

    def describe(self) -> list[dict[str, object]]:
        """Return what was found in each file, JSON-ready."""
        return [
            {
                "file": str(run.positions.path),
                "forces": str(run.forces.path),
                "n_frames_in_file": run.positions.n_frames,
                "n_frames": len(run.chosen),
                "units": run.positions.units.name,
                "force_units": run.forces.units.name,
            }
            for run in self._runs
        ]

    def read(self, start: int, stop: int) -> SourceFrames:
        """Return frames from `start` on, to `stop` (excluded) or to the end of their file.

        Raises
        ------
        InputError : a frame is damaged, has other atoms, or holds a value that is not finite.
        """
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        begin = start - int(self._starts[number])
        return self._read_run(number, self._runs[number], self._runs[number].chosen[begin : begin + stop - start])

    def read_spread(self, n_wanted: int) -> list[SourceFrames]:
        """Return about so many frames, spread evenly over all files."""
        wanted = np.unique(np.linspace(0, self.n_frames - 1, min(n_wanted, self.n_frames)).astype(np.int64))
        cuts = np.flatnonzero((np.diff(wanted) != 1) | np.isin(wanted[1:], self._starts)) + 1
        return [self.read(int(part[0]), int(part[-1]) + 1) for part in np.split(wanted, cuts)]

    def _read_run(self, number: int, run: _Run, frames: np.ndarray) -> SourceFrames:
        block = _read_frames(run.positions, frames)
        forces = block.forces if run.forces is run.positions else _read_frames(run.forces, frames).forces
        cell = block.cell if run.cells is None else _read_frames(run.cells, frames).cell
        positions, velocities = block.positions, block.velocities
        if positions is None or forces is None or (cell is None and self.has_cell):
            raise InputError(f"'{run.positions.path}' has frames without positions, forces or cell among others")
        units = run.positions.units
        for name, values in (("positions", positions), ("forces", forces), ("cell", cell)):
            if values is not None and not np.isfinite(values).all():
                bad = frames[np.flatnonzero(~np.isfinite(values).reshape(len(frames), -1).all(axis=1))[0]]
                raise InputError(
                    f"'{name}' holds a value that is not finite (NaN or inf) in frame {bad} of '{run.positions.path}'",
                    fix="Find out what went wrong in the simulation, and leave that part of the file out.",
                )
        force_unit = run.forces.units.force
        assert force_unit is not None
        is_periodic = self._settings.periodic and cell is not None
        length = units.length if run.cells is None else run.cells.units.length
        return SourceFrames(
            positions=positions.astype(np.float64) * units.length,
            forces=forces.astype(np.float64) * force_unit,
            velocities=velocities.astype(np.float64) * units.velocity
            if velocities is not None and self._has_velocities
            else None,
            cell=cell.astype(np.float64) * length if is_periodic and cell is not None else None,
            times=self._times(block, frames, units.time),
            segment=np.full(len(frames), number, dtype=np.int64),
        )

    def _times(self, block: FrameBlock, frames: np.ndarray, unit: float) -> np.ndarray:
        if self._settings.frame_interval is not None:
            return frames * self._settings.frame_interval
        return frames.astype(np.float64) if block.times is None else block.times.astype(np.float64) * unit


@contextmanager
def open_source(settings: ReferenceSettings) -> Iterator[FrameSource]:
    """Open all files of a reference and count their frames.

    Raises
    ------
    InputError : a file is missing, of an unknown format, truncated, without forces, or does not fit the others.
    """
    notices: list[str] = []
    with ExitStack() as stack:
        runs = []
        for number in range(len(settings.files)):
            run = _open_run(settings, number, notices)
            for file in {id(f): f for f in (run.positions, run.forces, run.cells) if f is not None}.values():
                stack.callback(file.close)
            runs.append(run)
        source = FrameSource(runs, settings, notices)
        if settings.frame_interval is None and runs[0].positions.read(0, 1).times is None:
            notices.append(
                "the files hold no times, so frames are counted as 1 ps apart: diffusion and time lags mean nothing. "
                "Say 'frame_interval' to give them a meaning."
            )
        yield source


def _open_run(settings: ReferenceSettings, number: int, notices: list[str]) -> _Run:
    hints = settings.to_hints()
    positions = open_frame_file(Path(settings.files[number]), "positions", hints)
    # the format was stated for the trajectory files
    others = replace(hints, format="auto")
    forces = positions
    if settings.forces:
        forces = open_frame_file(Path(settings.forces[number]), "forces", others)
    cells = open_frame_file(Path(settings.cells[number]), "cell", others) if settings.cells else None
    for file in (forces, cells):
        if file is None or file is positions:
            continue
        if file.n_frames != positions.n_frames or (file.n_atoms not in (0, positions.n_atoms)):
            raise InputError(
                f"'{file.path}' holds {file.n_frames} frames of {file.n_atoms} atoms, "
                f"'{positions.path}' holds {positions.n_frames} of {positions.n_atoms}",
                fix="Both files must hold the same frames of the same atoms.",
            )
    _refuse_units(positions, forces, hints)
    for file in {id(f): f for f in (positions, forces, cells) if f is not None}.values():
        _judge_end(file, settings, notices)
    return _Run(positions=positions, forces=forces, cells=cells, chosen=_choose(positions, forces, settings, notices))


def _refuse_units(positions: AbstractFrameFile, forces: AbstractFrameFile, hints: FileHints) -> None:
    if not np.isfinite(positions.units.length):
        raise InputError(
            f"the unit of length in '{positions.path}' is not stated", fix="Say 'units: {length: angstrom, ...}'."
        )
    if forces.units.force is None and forces.has_forces.any():
        raise InputError(f"the unit of forces in '{forces.path}' is not stated", fix="Say 'units: {force: ...}'.")
    stated = hints.units
    if stated is None:
        return
    for file, name, found, said in (
        (positions, "length", positions.units.length, stated.length),
        (forces, "force", forces.units.force, stated.force),
    ):
        if said is not None and np.isfinite(said) and found is not None and not np.isclose(found, said, rtol=1e-9):
            raise InputError(
                f"the unit of {name} in '{file.path}' is {file.units.name}, the settings say {stated.name}",
                fix="Correct or remove 'units'.",
            )


def _judge_end(file: AbstractFrameFile, settings: ReferenceSettings, notices: list[str]) -> None:
    if file.damage is None:
        return
    if settings.damaged_end == "refuse":
        raise InputError(
            f"'{file.path}' holds {file.n_frames} complete frames, and then: {file.damage}",
            fix="Copy it again, or say 'damaged_end: skip' to go on with the complete frames.",
        )
    notices.append(f"'{file.path}': {file.damage}; its {file.n_frames} complete frames are used")


def _choose(
    positions: AbstractFrameFile, forces: AbstractFrameFile, settings: ReferenceSettings, notices: list[str]
) -> np.ndarray:
    """Return the frames that are taken of one file."""
    path, n_frames = positions.path, positions.n_frames
    if not forces.has_forces.any():
        raise InputError(
            f"'{forces.path}' holds no forces in any of its {n_frames} frames, which force matching needs",
            fix="Save forces with the trajectory (GROMACS: nstfout; LAMMPS: dump ... fx fy fz; AMBER: ntwf), or give "
            "files that hold them in 'forces'.",
        )
    taken = np.arange(settings.discard, n_frames, settings.stride)
    if not len(taken):
        raise InputError(f"'discard' is {settings.discard}, but '{path}' holds {n_frames} frames")
    for what, has in (("forces", forces.has_forces), ("positions", positions.has_positions)):
        lacking = taken[~has[taken]]
        if not len(lacking):
            continue
        more = len(lacking) - _MOST_NAMED
        named = ", ".join(map(str, lacking[:_MOST_NAMED].tolist())) + (f" and {more} more" if more > 0 else "")
        text = f"{len(lacking)} of {len(taken)} frames of '{path}' hold no {what}: frames {named}"
        if settings.incomplete_frames == "refuse":
            raise InputError(
                text,
                fix="Say 'incomplete_frames: skip' to leave them out. GROMACS saves both in the same frames when "
                "nstxout and nstfout are equal.",
            )
        notices.append(f"{text}; they are left out")
        taken = taken[has[taken]]
    if not len(taken):
        raise InputError(f"no frame of '{path}' holds both positions and forces")
    return taken


def _read_frames(file: AbstractFrameFile, frames: np.ndarray) -> FrameBlock:
    """Read some frames in order, those that follow each other at once."""
    cuts = np.flatnonzero(np.diff(frames) != 1) + 1
    blocks = [file.read(int(part[0]), int(part[-1]) + 1) for part in np.split(frames, cuts)]
    if len(blocks) == 1:
        return blocks[0]
    names = ("positions", "forces", "velocities", "cell", "times")
    joined = {name: [getattr(block, name) for block in blocks] for name in names}
    return FrameBlock(
        **{
            name: None if any(part is None for part in parts) else np.concatenate(parts)
            for name, parts in joined.items()
        }
    )
