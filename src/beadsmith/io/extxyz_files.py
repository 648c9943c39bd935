"""Extended XYZ: one count, one comment line of key=value pairs with ``Properties``, then one line per atom.

Source of the format: github.com/libAtoms/extxyz and the description in ASE's documentation.
"""

import itertools
import re
from pathlib import Path

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import FileUnits, unit_style
from beadsmith.io.frame_files import (
    AbstractFrameFile,
    FileSites,
    FrameBlock,
    all_frames,
    damaged,
    ends_with_newline,
    file_size,
)

_PAIR = re.compile(r"""([A-Za-z_][\w.-]*)\s*=\s*(?:"([^"]*)"|'([^']*)'|\{([^}]*)\}|(\S+))""")
_FORCE_NAMES = ("forces", "force", "REF_forces", "dft_forces")


class ExtxyzFile(AbstractFrameFile):
    """An extended XYZ file; without stated units it is read as angstrom and eV, the convention of its writers."""

    def __init__(self, path: Path, units: FileUnits | None, forces_key: str | None) -> None:
        """Find where each frame starts and read the first.

        Raises
        ------
        InputError : the file is missing, empty or no XYZ file, or its frames have different atoms.
        """
        self.path = path
        size = file_size(path)
        self.units = units or unit_style("metal", who="the convention of extended XYZ, not stated")
        self._forces_key = forces_key
        self._starts, counts, self.damage = _find_frames(path, size)
        self.n_frames, self.n_atoms = len(counts), counts[0]
        different = [frame for frame, count in enumerate(counts) if count != counts[0]]
        if different:
            raise InputError(
                f"frame {different[0]} of '{path}' has {counts[different[0]]} atoms, frame 0 has {counts[0]}",
                fix="Write one file for each system.",
            )
        block, self._species = self._read_frame(0)
        self.has_positions = all_frames(self.n_frames, True)
        self.has_forces = all_frames(self.n_frames, block["forces"] is not None)
        self.sites = FileSites(names=self._species, elements=self._species)

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded).

        Raises
        ------
        InputError : a frame has other atoms or other columns than the first, or a value that is no number.
        """
        frames = []
        for frame in range(start, stop):
            values, species = self._read_frame(frame)
            if species != self._species:
                raise InputError(
                    f"frame {frame} of '{self.path}' has other atoms than frame 0, or in another order",
                    fix="Write one file for each system.",
                )
            frames.append(values)
        return FrameBlock(
            **{name: self._stack(name, frames, start) for name in ("positions", "forces", "velocities", "cell")}
        )

    def _stack(self, name: str, frames: list[dict[str, np.ndarray | None]], start: int) -> np.ndarray | None:
        has = [values[name] is not None for values in frames]
        if all(has):
            return np.array([values[name] for values in frames])
        if any(has) or (name == "forces" and self.has_forces[0]):
            raise InputError(
                f"frame {start + has.index(False)} of '{self.path}' has no {name}, but other frames have",
                fix="Write the same properties in all frames.",
            )
        return None

    def _read_frame(self, frame: int) -> tuple[dict[str, np.ndarray | None], tuple[str, ...]]:
        with self.path.open("rb") as file:
            file.seek(int(self._starts[frame]))
            text = file.read(int(self._starts[frame + 1] - self._starts[frame])).decode(errors="replace")
        try:
            return self._parse(text)
        except (ValueError, IndexError) as error:
            raise InputError(f"frame {frame} of '{self.path}' cannot be read: {error}") from error

    def _parse(self, text: str) -> tuple[dict[str, np.ndarray | None], tuple[str, ...]]:
        _, comment, *lines = text.split("\n", self.n_atoms + 2)
        pairs = {match[0]: next(filter(None, match[1:]), "") for match in _PAIR.findall(comment)}
        layout = pairs.get("Properties", "species:S:1:pos:R:3").split(":")
        columns: dict[str, slice] = {}
        start = 0
        for name, width in zip(layout[0::3], layout[2::3], strict=True):
            columns[name] = slice(start, start + int(width))
            start += int(width)
        words = [line.split() for line in lines[: self.n_atoms]]
        if "species" not in columns or "pos" not in columns:
            raise ValueError("its Properties have no species or no pos")
        if any(len(row) < start for row in words):
            raise ValueError(f"an atom has fewer than {start} values")
        forces_name = self._forces_key or next((name for name in _FORCE_NAMES if name in columns), "forces")

        def numbers(name: str) -> np.ndarray | None:
            if name not in columns:
                return None
            return np.array([row[columns[name]] for row in words], dtype=np.float64).reshape(self.n_atoms, 3)

        cell = None
        if "Lattice" in pairs and _is_periodic(pairs.get("pbc", "T T T")):
            cell = np.array(pairs["Lattice"].split(), dtype=np.float64).reshape(3, 3)
        species = tuple(row[columns["species"].start] for row in words)
        # velocities have no agreed unit in this format and are left out
        return {"positions": numbers("pos"), "forces": numbers(forces_name), "velocities": None, "cell": cell}, species


def _is_periodic(text: str) -> bool:
    flags = [word.strip(",[]").upper()[:1] in ("T", "1") for word in text.split()]
    if any(flags) and not all(flags):
        raise ValueError("its cell is periodic in only some directions, expected all or none")
    return all(flags)


def _find_frames(path: Path, size: int) -> tuple[np.ndarray, list[int], str | None]:
    """Return where frames start (and where the last ends), their atom counts, and what is wrong at the end."""
    starts, offset, damage = [0], 0, None
    counts: list[int] = []
    with path.open("rb") as file:
        while line := file.readline():
            if not line.strip():
                if file.read().strip():
                    raise damaged(path, f"there is an empty line before frame {len(counts)}")
                break
            try:
                n_atoms = int(line)
            except ValueError:
                raise damaged(path, f"frame {len(counts)} starts with '{line[:40].decode(errors='replace').strip()}', "
                              "expected the number of atoms") from None  # fmt: skip
            rows = list(map(len, itertools.islice(file, n_atoms + 1)))
            offset += len(line) + sum(rows)
            if len(rows) < n_atoms + 1:
                damage = f"frame {len(counts)} is truncated: it has {max(0, len(rows) - 1)} of {n_atoms} atoms"
                break
            starts.append(offset)
            counts.append(n_atoms)
    if damage is None and counts and not ends_with_newline(path):
        # a number that is cut in the middle still reads as a number
        counts.pop()
        damage = f"frame {len(counts)} is truncated: the file ends in the middle of a line"
    if not counts or counts[0] < 1:
        raise damaged(path, damage or "it has no frame")
    return np.array(starts, dtype=np.int64), counts, damage
