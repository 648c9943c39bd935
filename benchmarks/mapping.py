"""How fast frames of atoms become frames of beads, beside plain reading of the same file, and in how much memory.

Run `python -m benchmarks.mapping`; `--frames 0.1` takes a tenth of the frames, `--only TEXT` the cases with the text in
their names. A million frames of 1,000 atoms are `--only "1,000 atoms" --frames 50`, with 30 GB of room in TMPDIR. Each
case is a process of its own, for the sake of its peak memory. Mapping reads the file twice, fits the optimal force map
and its ten held-out copies, and writes the beads with fsync. The file lies in the page cache for both if it has room
there. Speeds by the clock suffer from whatever else runs; those by processor time do not count the waiting.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beadsmith.io.h5md import open_trajectory, write_chunks
from beadsmith.mapping.apply import map_reference
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory

_SITES_AT_ONCE = 500_000
_BYTES_PER_ATOM = 24  # float32 positions and forces


@dataclass(frozen=True, kw_only=True)
class Case:
    """Chains of atoms of which every third bond is rigid, with a bead on every so many atoms."""

    n_atoms: int
    """Atoms of one chain."""
    atoms_per_bead: int
    """A bead on the first of so many."""
    n_chains: int = 1
    """Chains in a periodic cell; a single one is in open space."""
    n_frames: int
    """Frames."""

    def build_topology(self) -> Topology:
        """Return all chains."""
        n_sites = self.n_atoms * self.n_chains
        first = self.n_atoms * np.arange(self.n_chains)[:, None, None]
        pairs = np.arange(self.n_atoms - 1)[:, None] + [0, 1]
        nothing = {name: np.zeros((0, k), dtype=np.int64) for name, k in (("angles", 3), ("dihedrals", 4))}
        return Topology(
            names=tuple(f"C{k}" for k in range(self.n_atoms)) * self.n_chains,
            types=np.zeros(n_sites, dtype=np.int64),
            type_names=("C",),
            masses=np.full(n_sites, 12.0),
            molecule_index=np.repeat(np.arange(self.n_chains), self.n_atoms),
            residue_index=np.repeat(np.arange(self.n_chains), self.n_atoms),
            residue_names=("chain",) * self.n_chains,
            bonds=(first + pairs).reshape(-1, 2),
            impropers=np.zeros((0, 4), dtype=np.int64),
            constraints=(first + pairs[::3]).reshape(-1, 2),
            **nothing,
        )

    def choose_beads(self) -> MappingSettings:
        """Return the beads."""
        carriers = range(0, self.n_atoms, self.atoms_per_bead)
        beads = tuple(BeadDefinition(name=f"B{atom}", atoms=(f"C{atom}",)) for atom in carriers)
        return MappingSettings(definitions=(MoleculeBeads(name="chain", beads=beads),))


CASES = {
    "one molecule, 22 atoms, 6 beads": Case(n_atoms=22, atoms_per_bead=4, n_frames=1_000_000),
    "one molecule, 1,000 atoms, 100 beads": Case(n_atoms=1000, atoms_per_bead=10, n_frames=20_000),
    "100 molecules, 10 atoms, 2 beads, periodic": Case(n_atoms=10, atoms_per_bead=5, n_chains=100, n_frames=20_000),
}


def measure(case: Case) -> dict[str, float]:
    """Return frames per second, GB per second of mapping and of plain reading, and peak memory [GB]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.h5"
        _write(path, case)
        size = case.n_frames * case.n_atoms * case.n_chains * _BYTES_PER_ATOM / 1e9
        step = max(1, _SITES_AT_ONCE // (case.n_atoms * case.n_chains))
        began, worked = time.perf_counter(), time.process_time()
        with open_trajectory(path) as stored:
            for _ in stored.iterate(step):
                pass
        read, read_worked = time.perf_counter() - began, time.process_time() - worked
        began, worked = time.perf_counter(), time.process_time()
        map_reference(path, Path(folder) / "mapped.h5", case.choose_beads(), identity="benchmark")
        mapped, map_worked = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "frames/s": case.n_frames / mapped,
        "mapping GB/s": size / mapped,
        "reading GB/s": size / read,
        "frames/s of processor": case.n_frames / map_worked,
        "mapping GB/s of processor": size / map_worked,
        "reading GB/s of processor": size / read_worked,
        "file GB": size,
        "peak memory GB": peak,
    }


def _write(path: Path, case: Case) -> None:
    """Write random walks with random forces, some frames again and again."""
    topology, generator = case.build_topology(), np.random.default_rng(0)
    step = min(case.n_frames, max(1, _SITES_AT_ONCE // topology.n_sites))
    bonds = generator.normal(scale=0.08, size=(step, case.n_chains, case.n_atoms, 3))
    positions = np.cumsum(bonds, axis=2).reshape(step, topology.n_sites, 3).astype(np.float32)
    forces = generator.normal(scale=500.0, size=positions.shape).astype(np.float32)
    cell = None if case.n_chains == 1 else np.broadcast_to(4.0 * np.eye(3, dtype=np.float32), (step, 3, 3))

    def chunks():
        for start in range(0, case.n_frames, step):
            n = min(step, case.n_frames - start)
            yield Trajectory(
                topology=topology,
                state_point=StatePoint(temperature=300.0),
                positions=positions[:n],
                forces=forces[:n],
                cell=None if cell is None else cell[:n],
                times=0.2 * np.arange(start, start + n),
            )

    write_chunks(path, chunks(), n_frames=case.n_frames, metadata={})


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=float, default=1.0, help="fraction of the frames")
    parser.add_argument("--only", default="", help="part of the names of the cases to measure")
    arguments = parser.parse_args()
    fraction = arguments.frames
    context = multiprocessing.get_context("spawn")
    for name, case in CASES.items():
        if arguments.only not in name:
            continue
        shorter = Case(**{**vars(case), "n_frames": max(1, round(fraction * case.n_frames))})
        with context.Pool(1) as pool:
            found = pool.apply(measure, (shorter,))
        print(f"{name}, {shorter.n_frames} frames: " + ", ".join(f"{value:.3g} {key}" for key, value in found.items()))


if __name__ == "__main__":
    main()
