"""How fast files of frames become a reference, beside plain reading of their bytes, and in how much memory.

Run `python -m benchmarks.importing`; `--frames 0.1` takes a tenth of the frames, `--only TEXT` the cases with the text
in their names. Import checks units and constraints on a sample, writes the frames in parts with fsync and joins the
parts, so it needs room for the reference twice in TMPDIR. Each case is a process of its own, for the sake of its peak
memory; the files lie in the page cache for both if they have room there. Speeds by the clock suffer from whatever else
runs; those by processor time do not count the waiting.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from beadsmith.importing.run import import_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.trajectory import StatePoint
from beadsmith.units import thermal_energy

_SITES_AT_ONCE = 500_000
_BYTES_AT_ONCE = 2**24
_TEMPERATURE = 300.0
_BOND, _STIFFNESS = 0.15, 2.0e5
_GROMACS = FileUnitSettings(style="gromacs")

Block = tuple[np.ndarray, np.ndarray]
"""Positions [nm] and forces [kJ/mol/nm], each (frames, atoms, 3) in float32."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One freely jointed chain of carbon atoms with harmonic bonds, in open space."""

    form: Literal["npy", "trr", "dump"]
    """Format of the files."""
    n_atoms: int
    """Atoms."""
    n_frames: int
    """Frames."""

    def write(self, folder: Path) -> ReferenceSettings:
        """Write the files, some frames again and again, and return what to import."""
        positions, *forces = WRITERS[self.form](folder, self)
        bonds = tuple((k, k + 1) for k in range(1, self.n_atoms))
        return ReferenceSettings(
            files=(positions,),
            forces=tuple(forces),
            molecules=(MoleculeSites(name="chain", names=("C",) * self.n_atoms, bonds=bonds),),
            units=None if self.form == "trr" else _GROMACS,
            periodic=False,
        )

    def blocks(self) -> Iterator[Block]:
        """Yield all frames."""
        step = min(self.n_frames, max(1, _SITES_AT_ONCE // self.n_atoms))
        generator = np.random.default_rng(0)
        directions = generator.normal(size=(step, self.n_atoms - 1, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        width = (thermal_energy(_TEMPERATURE) / _STIFFNESS) ** 0.5
        stretch = generator.normal(scale=width, size=(step, self.n_atoms - 1, 1))
        positions = np.zeros((step, self.n_atoms, 3), dtype=np.float32)
        positions[:, 1:] = np.cumsum((_BOND + stretch) * directions, axis=1)
        pull = _STIFFNESS * stretch * directions
        forces = np.zeros_like(positions)
        forces[:, :-1] += pull
        forces[:, 1:] -= pull
        for start in range(0, self.n_frames, step):
            yield positions[: self.n_frames - start], forces[: self.n_frames - start]


CASES = {
    "npy, 22 atoms": Case(form="npy", n_atoms=22, n_frames=1_000_000),
    "npy, 1,000 atoms": Case(form="npy", n_atoms=1000, n_frames=20_000),
    "TRR, 1,000 atoms": Case(form="trr", n_atoms=1000, n_frames=20_000),
    "LAMMPS dump, 1,000 atoms": Case(form="dump", n_atoms=1000, n_frames=1_000),
}


def measure(case: Case) -> dict[str, float]:
    """Return frames per second, GB of files per second of import and of plain reading, and peak memory [GB]."""
    with tempfile.TemporaryDirectory() as folder:
        settings = case.write(Path(folder))
        files = [Path(name) for name in settings.list_inputs()]
        size = sum(path.stat().st_size for path in files) / 1e9
        began, worked = time.perf_counter(), time.process_time()
        for path in files:
            with path.open("rb") as file:
                while file.read(_BYTES_AT_ONCE):
                    pass
        read, read_worked = time.perf_counter() - began, time.process_time() - worked
        output = Path(folder) / "reference.h5"
        began, worked = time.perf_counter(), time.process_time()
        import_reference(settings, StatePoint(temperature=_TEMPERATURE), output, identity="benchmark")
        imported, import_worked = time.perf_counter() - began, time.process_time() - worked
    return {
        "frames/s": case.n_frames / imported,
        "import GB/s": size / imported,
        "reading GB/s": size / read,
        "frames/s of processor": case.n_frames / import_worked,
        "import GB/s of processor": size / import_worked,
        "reading GB/s of processor": size / read_worked,
        "files GB": size,
        "peak memory GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def _write_npy(folder: Path, case: Case) -> tuple[str, ...]:
    paths = [folder / f"{name}.npy" for name in ("positions", "forces")]
    shape = (case.n_frames, case.n_atoms, 3)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in case.blocks():
                file.write(block[number].tobytes())
    return tuple(map(str, paths))


def _write_trr(folder: Path, case: Case) -> tuple[str, ...]:
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile

    path, nothing, frame = folder / "frames.trr", np.zeros((3, 3), dtype=np.float32), 0
    with TRRFile(str(path), "w") as file:
        for block in case.blocks():
            for positions, forces in zip(*block, strict=True):
                file.write(positions, None, forces, nothing, frame, 0.2 * frame, 0.0, case.n_atoms)
                frame += 1
    return (str(path),)


def _write_dump(folder: Path, case: Case) -> tuple[str, ...]:
    path, frame = folder / "frames.lammpstrj", 0
    head = "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n{}\nITEM: BOX BOUNDS ss ss ss\n" + 3 * "-100 100\n"
    columns = "ITEM: ATOMS id xu yu zu fx fy fz\n"
    identity = np.arange(1, case.n_atoms + 1)[:, None]
    with path.open("w") as file:
        for block in case.blocks():
            for positions, forces in zip(*block, strict=True):
                file.write(head.format(frame, case.n_atoms) + columns)
                np.savetxt(file, np.hstack([identity, positions, forces]), fmt="%d" + 6 * " %.6g")
                frame += 1
    return (str(path),)


WRITERS: dict[str, Callable[[Path, Case], tuple[str, ...]]] = {
    "npy": _write_npy,
    "trr": _write_trr,
    "dump": _write_dump,
}


def main() -> None:
    """Measure all cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=float, default=1.0, help="fraction of the frames")
    parser.add_argument("--only", default="", help="part of the names of the cases to measure")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name, case in CASES.items():
        if arguments.only not in name:
            continue
        shorter = replace(case, n_frames=max(1, round(arguments.frames * case.n_frames)))
        with context.Pool(1) as pool:
            found = pool.apply(measure, (shorter,))
        print(f"{name}, {shorter.n_frames} frames: " + ", ".join(f"{value:.3g} {key}" for key, value in found.items()))


if __name__ == "__main__":
    main()
