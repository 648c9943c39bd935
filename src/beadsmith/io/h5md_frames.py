"""H5MD files of any writer: units are read from their attributes.

Source of the format: de Buyl, Colberg, Höfling, Comput. Phys. Commun. 185, 1546 (2014), doi 10.1016/j.cpc.2014.01.018.
"""

from pathlib import Path

import h5py
import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import FORCES, LENGTHS, FileUnits, parse_unit
from beadsmith.io.frame_files import AbstractFrameFile, FileSites, FrameBlock, all_frames, damaged, file_size

_TIMES = {"ps": 1.0, "fs": 1e-3, "ns": 1e3}
_VELOCITIES = {"nm/ps": 1.0, "angstrom/ps": 0.1, "angstrom/fs": 100.0}


class H5mdFile(AbstractFrameFile):
    """An H5MD file with one group of particles."""

    def __init__(self, path: Path, units: FileUnits | None) -> None:
        """Read the description.

        Raises
        ------
        InputError : the file is missing, empty, truncated or no H5MD file, has several groups of particles, states no
            units, or holds different frames of positions and forces.
        """
        self.path = path
        file_size(path)
        with self._open() as file:
            groups = list(file["particles"]) if "particles" in file else []
            if len(groups) != 1:
                raise InputError(
                    f"'{path}' has {len(groups)} groups of particles ({', '.join(groups)}), expected one",
                    fix="Write the system as one group under /particles.",
                )
            self._group = f"particles/{groups[0]}"
            group = file[self._group]
            present = {name: group[name] for name in ("position", "force", "velocity") if name in group}
            if not present:
                raise damaged(path, f"'/{self._group}' has neither position nor force")
            self.units = self._read_units(present, units)
            steps = {name: entry["step"][()] for name, entry in present.items() if "step" in entry}
            counts = {name: len(entry["value"]) for name, entry in present.items()}
            reference = next(iter(steps.values()), np.zeros(0))
            if len(set(counts.values())) > 1 or any(not np.array_equal(step, reference) for step in steps.values()):
                raise InputError(
                    f"'{path}' holds different frames of {', '.join(f'{n} ({c})' for n, c in counts.items())}",
                    fix="Write positions and forces at the same steps.",
                )
            self._present = tuple(present)
            first = next(iter(present.values()))["value"]
            self.n_frames, self.n_atoms = first.shape[0], first.shape[1]
            self.sites = _h5md_sites(group, self.n_atoms)
            boundary = [bytes(flag).decode() if isinstance(flag, bytes) else str(flag)
                        for flag in group["box"].attrs.get("boundary", ())] if "box" in group else []  # fmt: skip
            self._has_cell = "box" in group and "edges" in group["box"] and boundary.count("none") == 0
        if self.n_frames == 0:
            raise InputError(f"'{path}' holds no frame", fix="Check that the run saved frames.")
        self.has_positions = all_frames(self.n_frames, "position" in self._present)
        self.has_forces = all_frames(self.n_frames, "force" in self._present)

    def read(self, start: int, stop: int) -> FrameBlock:
        """Return frames `start` to `stop` (excluded).

        Raises
        ------
        InputError : the data are damaged.
        """
        with self._open() as file:
            group = file[self._group]
            try:
                found = {name: group[name]["value"][start:stop] for name in self._present}
                cell = _h5md_cell(group["box/edges"], start, stop) if self._has_cell else None
                time = group[self._present[0]].get("time")
                times = None if time is None or time.shape == () else time[start:stop]
            except OSError as error:
                raise damaged(self.path, f"frames {start} to {stop - 1} cannot be read ({error})") from error
        return FrameBlock(
            positions=found.get("position"),
            forces=found.get("force"),
            velocities=found.get("velocity"),
            cell=cell,
            times=times,
        )

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise damaged(self.path, f"HDF5 says: {error}") from error

    def _read_units(self, present: dict[str, h5py.Group], stated: FileUnits | None) -> FileUnits:
        def factor(name: str, known: dict[str, float], *, key: str = "value") -> float | None:
            if name not in present or key not in present[name] or "unit" not in present[name][key].attrs:
                return None
            unit = present[name][key].attrs["unit"]
            text = unit.decode() if isinstance(unit, bytes) else str(unit)
            return parse_unit(text, known, what=f"'{name}'", where=f"file '{self.path}'")

        length, force = factor("position", LENGTHS), factor("force", FORCES)
        if ("position" in present and length is None) or ("force" in present and force is None):
            if stated is None:
                raise InputError(
                    f"'{self.path}' has no unit attributes, so its units are not known",
                    fix="Say them, e.g. 'units: {style: gromacs}', or add the attributes 'unit' to the file.",
                )
            return stated
        return FileUnits(
            length=length or 1.0,
            force=force,
            velocity=factor("velocity", _VELOCITIES) or 1.0,
            time=factor(next(iter(present)), _TIMES, key="time") or 1.0,
            name="as the file's unit attributes say",
        )


def _h5md_cell(edges: h5py.Group | h5py.Dataset, start: int, stop: int) -> np.ndarray:
    values = edges["value"][start:stop] if isinstance(edges, h5py.Group) else np.asarray(edges[()])[None]
    matrices = values if values.ndim == 3 else values[:, :, None] * np.eye(3)
    return np.broadcast_to(matrices, (stop - start, 3, 3)).copy()


def _h5md_sites(group: h5py.Group, n_atoms: int) -> FileSites | None:
    masses = group["mass"][()] if "mass" in group and isinstance(group["mass"], h5py.Dataset) else None
    if "species" not in group or not isinstance(group["species"], h5py.Dataset) or len(group["species"]) != n_atoms:
        return None
    names = tuple(str(value.decode() if isinstance(value, bytes) else value) for value in group["species"][()].tolist())
    return FileSites(names=names, masses=masses)
