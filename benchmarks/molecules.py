"""How fast replicas of one small molecule run, and what of a step is not the network.

Run `python -m benchmarks.molecules`; `--replicas 10` and `--threads 1 2` change what is run. Chains have the size and
the stiffness of capped alanine (6 beads) and of chignolin (10 alpha carbons), a bonded prior and an untrained SchNet
that knows the classes of pairs: speed does not depend on the weights, and the prior keeps the chain together.
Everything that a simulation does is counted, saving a frame every 0.2 ps included. Of several runs the fastest counts,
because others may share the machine.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_network, predict_prior
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import build_skin_list
from beadsmith.networks.kinds import build_network
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.fourier import FourierDihedrals
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.simulation.run import limit_threads, prepare_model, simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory

_TEMPERATURE = 300.0
_SAVE_INTERVAL = 0.2
_N_RUNS = 5


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A linear molecule of beads that all differ in type."""

    name: str
    """Name in the table."""
    n_beads: int
    """Number of beads."""
    bond: float
    """Length of its bonds [nm]."""
    bond_stiffness: float
    """Stiffness of its bonds [kJ/mol/nm²]."""
    angle_stiffness: float
    """Stiffness of its angles [kJ/mol/rad²]."""
    mass: float
    """Mass of a bead [u]."""
    timestep: float
    """Timestep [ps]."""

    def build_topology(self) -> Topology:
        """Return bonds, angles and dihedrals along the chain."""
        n = self.n_beads
        types = tuple("ABCDEFGHIJKLMNOP"[:n])

        def windows(width: int) -> np.ndarray:
            return np.arange(n - width + 1)[:, None] + np.arange(width)

        return Topology(
            names=types,
            types=np.arange(n),
            type_names=types,
            masses=np.full(n, self.mass),
            molecule_index=np.zeros(n, dtype=np.int64),
            residue_index=np.zeros(n, dtype=np.int64),
            residue_names=("chain",),
            bonds=windows(2),
            angles=windows(3),
            dihedrals=windows(4),
            impropers=np.zeros((0, 4), dtype=np.int64),
            constraints=np.zeros((0, 2), dtype=np.int64),
        )

    def build_start(self, n_replicas: int) -> Trajectory:
        """Return one zigzag chain a replica."""
        steps = np.zeros((self.n_beads, 3))
        steps[1:, 0] = self.bond * np.cos(np.radians(35.0))
        steps[1:, 1] = self.bond * np.sin(np.radians(35.0)) * (-1.0) ** np.arange(self.n_beads - 1)
        positions = np.cumsum(steps, axis=0)
        return Trajectory(
            topology=self.build_topology(),
            state_point=StatePoint(temperature=_TEMPERATURE),
            positions=np.repeat(positions[None], n_replicas, axis=0).astype(np.float32),
            times=np.zeros(n_replicas),
        )

    def build_force_field(self, n_features: int) -> ForceField:
        """Return a bonded prior and an untrained SchNet."""
        topology = self.build_topology()
        types = topology.type_names
        bonds, angles, dihedrals = (
            tuple(tuple(types[site] for site in row) for row in rows.tolist())
            for rows in (topology.bonds, topology.angles, topology.dihedrals)
        )
        prior = [
            HarmonicBonds(
                types,
                bonds,
                centres=(self.bond,) * len(bonds),
                stiffnesses=(self.bond_stiffness,) * len(bonds),
            ),
            HarmonicAngles(
                types,
                angles,
                centres=(float(np.radians(110.0)),) * len(angles),
                stiffnesses=(self.angle_stiffness,) * len(angles),
            ),
            FourierDihedrals(types, dihedrals, order=3),
        ]
        settings = SchnetSettings(
            n_features=n_features, n_filters=n_features, cutoff=1.5, pair_classes=True, energy_scale=1.0
        )
        network = build_network(settings, types, torch.Generator().manual_seed(1))
        state_points = (StatePoint(temperature=_TEMPERATURE),)
        return ForceField(prior, network, ForceFieldRecord(templates=(topology,), state_points=state_points))


CHAINS = (
    Chain(
        name="alanine",
        n_beads=6,
        bond=0.15,
        bond_stiffness=3.0e5,
        angle_stiffness=800.0,
        mass=13.0,
        timestep=0.002,
    ),
    Chain(
        name="chignolin",
        n_beads=10,
        bond=0.38,
        bond_stiffness=2.0e4,
        angle_stiffness=30.0,
        mass=110.0,
        timestep=0.004,
    ),
)


def measure_simulation(chain: Chain, *, n_features: int, n_replicas: int, n_threads: int, seconds: float) -> float:
    """Return the steps/s of all that `simulate` does in its loop.

    Parameters
    ----------
    seconds : Wall time of all runs together.
    """
    force_field, start = chain.build_force_field(n_features), chain.build_start(n_replicas)
    n_frames, rates = 2, []
    with tempfile.TemporaryDirectory() as folder:
        # the first run compiles, the second tells how long the others may be
        for attempt in range(2 + _N_RUNS):
            settings = SimulationSettings(
                timestep=chain.timestep,
                friction=5.0,
                equilibration=0.0,
                duration=n_frames * _SAVE_INTERVAL,
                save_interval=_SAVE_INTERVAL,
                replicas=n_replicas,
                threads=n_threads,
            )
            path = Path(folder) / f"{attempt}.h5"
            summary = simulate(
                force_field, start, settings, path, temperature=_TEMPERATURE, seed=1, identity=str(attempt)
            )
            rates.append(summary["speed"]["steps_per_second"])
            if attempt == 1:
                n_frames = max(2, int(seconds / _N_RUNS * rates[1] / settings.stride))
    return max(rates[2:])


def measure_parts(chain: Chain, *, n_features: int, n_replicas: int, n_threads: int) -> tuple[float, float]:
    """Return the time of the network's and of the prior's part of a step [s]."""
    force_field, start = chain.build_force_field(n_features), chain.build_start(n_replicas)
    # as a simulation prepares it
    force_field = prepare_model(force_field, SimulationSettings(), torch.float32)
    batch = build_batch(start, np.arange(n_replicas))
    pairs = build_skin_list(batch, force_field.cutoff, 0.2).pairs
    network, prior = force_field.network, list(force_field.prior)
    assert network is not None
    with torch.no_grad(), limit_threads(n_threads):
        return (
            _time(lambda: predict_network(network, batch, pairs)),
            _time(lambda: predict_prior(prior, batch, pairs)),
        )


def _time(call) -> float:
    """Return the time of a call in the fastest of several batches of 20 [s]."""
    call()
    times = []
    for _ in range(25):
        begin = time.perf_counter()
        for _ in range(20):
            call()
        times.append((time.perf_counter() - begin) / 20)
    return min(times)


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[100])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="wall time of each run")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, torch {torch.__version__}; times of a step of all replicas in µs")
    print("chain      features replicas threads    steps/s  replica-steps/s    step  network   prior    rest")
    for chain in CHAINS:
        for n_features in options.features:
            for n_replicas in options.replicas:
                for n_threads in options.threads:
                    size = {"n_features": n_features, "n_replicas": n_replicas, "n_threads": n_threads}
                    rate = measure_simulation(chain, seconds=options.seconds, **size)
                    network, prior = measure_parts(chain, **size)
                    step = 1.0 / rate
                    parts = " ".join(f"{1e6 * part:7.0f}" for part in (step, network, prior, step - network - prior))
                    print(
                        f"{chain.name:10s} {n_features:8d} {n_replicas:8d} {n_threads:7d} {rate:10.0f} "
                        f"{rate * n_replicas:16.0f} {parts}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
