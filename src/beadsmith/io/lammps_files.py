"""LAMMPS text dumps with any order of columns and rows, wrapped, scaled or unwrapped coordinates and any cell.

Source of the format: docs.lammps.org/dump.html (custom style) and docs.lammps.org/Howto_triclinic.html.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import KNOWN_STYLES, FileUnits, unit_style
from beadsmith.io.frame_files import (
    AbstractFrameFile,
    FileSites,
    FrameBlock,
    all_frames,
    damaged,
    ends_with_newline,
    file_size,
)

_MARKER = b"ITEM: TIMESTEP"
_SCAN_BYTES = 2**24
_TEXT_COLUMNS = ("element", "type", "typelabel", "mol")
# name of x, whether it is scaled by the cell, whether it is unwrapped; the first that is there is taken
_COORDINATES = (("xu", False, True), ("xsu", True, True), ("x", False, False), ("xs", True, False))


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """One frame as its text says it."""

    columns: tuple[str, ...]
    rows: dict[str, np.ndarray]
    cell: np.ndarray
    origin: np.ndarray
    is_periodic: tuple[bool, bool, bool]


class LammpsDump(AbstractFrameFile):
    """A LAMMPS dump, rows sorted by atom id."""

    def __init__(self, path: Path, units: FileUnits | None) -> None:
        """Find where each frame starts and read the first one.

        Raises
        ------
        InputError : the file is missing, empty, no dump, its columns do not suffice, or its units are not stated.
        """
        self.path = path
        size = file_size(path)
        starts, stated = _find_frames(path)
        if not len(starts):
            raise damaged(path, "a LAMMPS dump has lines 'ITEM: TIMESTEP'")
        self._ends = np.append(starts[1:], size)
        self._starts = starts
        units = _agree(path, units, stated)
        self.units = units
        self.n_frames = len(starts)
        first = self._parse(0)
        self._ids = first.rows["id"]
        self.n_atoms = len(self._ids)
        self._columns = set(first.columns)
        self._check_last()
        self.has_positions = all_frames(self.n_frames, self._coordinate_style() is not None)
        self.has_forces = all_frames(self.n_frames, {"fx", "fy", "fz"} <= self._columns)
        self.sites = _sites(first)

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded).

        Raises
        ------
        InputError : a frame has other atoms, other columns, or a value that is no number.
        """
        snapshots = [self._read_frame(frame) for frame in range(start, stop)]
        cell = np.array([snapshot.cell for snapshot in snapshots]) if any(snapshots[0].is_periodic) else None
        return FrameBlock(
            positions=np.array([self._positions(snapshot) for snapshot in snapshots])
            if self.has_positions[0]
            else None,
            forces=_stack(snapshots, ("fx", "fy", "fz")),
            velocities=_stack(snapshots, ("vx", "vy", "vz")),
            cell=cell,
        )

    def _check_last(self) -> None:
        """Leave out a last frame that the run did not finish writing."""
        last = self.n_frames - 1
        try:
            self._parse(last)
            # a number that is cut in the middle still reads as a number
            wrong = None if ends_with_newline(self.path) else "the file ends in the middle of a line"
        except InputError as error:
            wrong = error.what
        if wrong is None:
            return
        if last == 0:
            raise damaged(self.path, f"its only frame is truncated or damaged ({wrong})")
        self.n_frames, self.damage = last, f"frame {last} is truncated or damaged: {wrong}"

    def _read_frame(self, frame: int) -> _Snapshot:
        snapshot = self._parse(frame)
        if set(snapshot.columns) != self._columns:
            missing = sorted(self._columns - set(snapshot.columns))
            raise InputError(
                f"frame {frame} of '{self.path}' has other columns than frame 0"
                + (f": it lacks {', '.join(missing)}" if missing else ""),
                fix="Split the file where the dump command changed.",
            )
        if not np.array_equal(snapshot.rows["id"], self._ids):
            raise InputError(
                f"frame {frame} of '{self.path}' has {len(snapshot.rows['id'])} atoms with other ids than the "
                f"{self.n_atoms} of frame 0",
                fix="All frames must hold the same atoms.",
            )
        if any(snapshot.is_periodic) and not all(snapshot.is_periodic):
            raise InputError(
                f"the cell of '{self.path}' is periodic in only some directions, expected all or none",
                fix="Simulate in a fully periodic cell, or say 'periodic: false' if no molecule crosses a boundary.",
            )
        return snapshot

    def _parse(self, frame: int) -> _Snapshot:
        with self.path.open("rb") as file:
            file.seek(int(self._starts[frame]))
            text = file.read(int(self._ends[frame] - self._starts[frame]))
        try:
            return _parse_frame(text)
        except (ValueError, IndexError) as error:
            raise InputError(f"frame {frame} of '{self.path}' cannot be read: {error}") from error

    def _coordinate_style(self) -> tuple[str, bool, bool] | None:
        for name, is_scaled, is_unwrapped in _COORDINATES:
            if {name, name.replace("x", "y"), name.replace("x", "z")} <= self._columns:
                return name, is_scaled, is_unwrapped
        return None

    def _positions(self, snapshot: _Snapshot) -> np.ndarray:
        style = self._coordinate_style()
        assert style is not None
        name, is_scaled, is_unwrapped = style
        positions = np.stack([snapshot.rows[name.replace("x", axis)] for axis in "xyz"], axis=1)
        if is_scaled:
            positions = positions @ snapshot.cell + snapshot.origin
        if not is_unwrapped and {"ix", "iy", "iz"} <= self._columns:
            positions = (
                positions + np.stack([snapshot.rows[axis] for axis in ("ix", "iy", "iz")], axis=1) @ snapshot.cell
            )
        return positions


def _find_frames(path: Path) -> tuple[np.ndarray, str | None]:
    """Return the byte at which each frame starts, and the unit style that the file states before the first."""
    starts: list[int] = []
    offset, rest = 0, b""
    with path.open("rb") as file:
        head = file.read(400)
        file.seek(0)
        while block := file.read(_SCAN_BYTES):
            text = rest + block
            found = text.find(_MARKER)
            while found >= 0:
                starts.append(offset - len(rest) + found)
                found = text.find(_MARKER, found + len(_MARKER))
            offset += len(block)
            # the marker may lie across two blocks
            rest = text[-(len(_MARKER) - 1) :]
    lines = head.decode(errors="replace").split("\n")
    stated = lines[1].strip() if lines[0].startswith("ITEM: UNITS") and len(lines) > 1 else None
    return np.array(starts, dtype=np.int64), stated


def _agree(path: Path, given: FileUnits | None, stated: str | None) -> FileUnits:
    """Return the units that the user gives, which must be those that the file states if it does."""
    in_file = unit_style(stated, who="stated by the file") if stated in KNOWN_STYLES else None
    if given is None and in_file is None:
        raise InputError(
            f"the units of '{path}' are not stated" + (f" (the file says '{stated}')" if stated else ""),
            fix="Say 'units: {style: real}' (or metal, electron, lj): the 'units' of the LAMMPS input that wrote it.",
        )
    if given is not None and in_file is not None and (given.length, given.force) != (in_file.length, in_file.force):
        raise InputError(
            f"'{path}' says that its units are '{stated}', the settings say {given.name}", fix="Correct 'units'."
        )
    return given or in_file  # type: ignore[return-value]


def _parse_frame(text: bytes) -> _Snapshot:
    """Read one frame.

    Raises
    ------
    ValueError : a part is missing or is no number.
    """
    header, _, body = text.partition(b"ITEM: ATOMS")
    if not body:
        raise ValueError("it has no line 'ITEM: ATOMS'")
    column_line, _, body = body.partition(b"\n")
    columns = tuple(column_line.decode().split())
    lines = header.decode().splitlines()
    n_atoms = int(_after(lines, "ITEM: NUMBER OF ATOMS")[0])
    cell, origin, is_periodic = _parse_cell(lines)
    # what the next frame says before its own first line
    body = body.partition(b"ITEM:")[0]
    rows = _parse_rows(body, columns, n_atoms)
    if "id" not in columns:
        raise ValueError("it has no column 'id', without which atoms cannot be told apart: add id to the dump command")
    order = np.argsort(rows["id"], kind="stable")
    rows = {name: values[order] for name, values in rows.items()}
    if np.any(np.diff(rows["id"]) == 0):
        raise ValueError("two atoms have the same id")
    return _Snapshot(columns=columns, rows=rows, cell=cell, origin=origin, is_periodic=is_periodic)


def _parse_rows(body: bytes, columns: tuple[str, ...], n_atoms: int) -> dict[str, np.ndarray]:
    n_lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if n_lines < n_atoms:
        raise ValueError(f"it has {n_lines} lines of atoms, expected {n_atoms}")
    words = body.split()
    if len(words) != n_atoms * len(columns):
        raise ValueError(f"it has {len(words)} values, expected {n_atoms} atoms times {len(columns)} columns")
    try:
        return dict(zip(columns, np.array(words, dtype=np.float64).reshape(n_atoms, -1).T, strict=True))
    except ValueError:
        # labels instead of numbers in some columns
        return {
            column: np.array([word.decode() for word in words[k :: len(columns)]])
            if column in _TEXT_COLUMNS
            else np.array(words[k :: len(columns)], dtype=np.float64)
            for k, column in enumerate(columns)
        }


def _after(lines: list[str], item: str) -> list[str]:
    found = [number for number, line in enumerate(lines) if line.startswith(item)]
    if not found or found[0] + 1 >= len(lines):
        raise ValueError(f"it has no '{item}'")
    return lines[found[0] + 1 :]


def _parse_cell(lines: list[str]) -> tuple[np.ndarray, np.ndarray, tuple[bool, bool, bool]]:
    """Return cell vectors as rows, origin, and periodic directions."""
    label = next((line for line in lines if line.startswith("ITEM: BOX BOUNDS")), "")
    words = label.split()[3:]
    values = np.array([[float(word) for word in line.split()] for line in _after(lines, "ITEM: BOX BOUNDS")[:3]])
    flags = [word for word in words if len(word) == 2 and set(word) <= set("pfsm")]
    periodic = tuple(flag == "pp" for flag in flags) if len(flags) == 3 else (True, True, True)
    if "abc" in words:
        cell, origin = values[:, :3], values[:, 3]
    elif values.shape[1] == 3:
        (xlo, xhi, xy), (ylo, yhi, xz), (zlo, zhi, yz) = values.tolist()
        # the bounds are those of the box around the tilted cell
        xlo, xhi = xlo - min(0.0, xy, xz, xy + xz), xhi - max(0.0, xy, xz, xy + xz)
        ylo, yhi = ylo - min(0.0, yz), yhi - max(0.0, yz)
        cell = np.array([[xhi - xlo, 0.0, 0.0], [xy, yhi - ylo, 0.0], [xz, yz, zhi - zlo]])
        origin = np.array([xlo, ylo, zlo])
    else:
        cell, origin = np.diag(values[:, 1] - values[:, 0]), values[:, 0]
    return cell, origin, periodic  # type: ignore[return-value]


def _stack(snapshots: list[_Snapshot], names: tuple[str, str, str]) -> np.ndarray | None:
    if not set(names) <= set(snapshots[0].columns):
        return None
    return np.array([np.stack([snapshot.rows[name] for name in names], axis=1) for snapshot in snapshots])


def _sites(first: _Snapshot) -> FileSites:
    rows = first.rows
    elements = tuple(rows["element"].tolist()) if "element" in rows else None
    labels = rows.get("type", rows["id"])
    names = elements or tuple(f"{label}".removesuffix(".0") for label in labels.tolist())
    molecules = None
    if "mol" in rows:
        numbers = np.unique(rows["mol"], return_inverse=True)[1]
        # LAMMPS gives molecule 0 to atoms that belong to none
        molecules = None if np.all(rows["mol"].astype(float) == 0.0) else numbers.astype(np.int64)
    types = tuple(f"{kind}".removesuffix(".0") for kind in rows["type"].tolist()) if "type" in rows else None
    return FileSites(names=names, types=types, elements=elements, masses=rows.get("mass"), molecules=molecules)
