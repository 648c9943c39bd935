"""Energy conservation of trained networks: is the tabulated force the exact, smooth derivative of the tabulated energy?

A force that is not the derivative of its energy, or a kink in a table, heats or cools a run at constant energy. The
slope of the total energy over 200 ps at 1 fs in float64 is fitted for each of several replicas; its error is that of
their mean, so that a random walk of the energy counts as what it is.
"""

import numpy as np
import pytest
import torch

from beadsmith.force_field import ForceField
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import FileStart
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import prepare_frames, split_by_use
from beadsmith.training.describe import describe_data
from beadsmith.training.loop import fit_network
from beadsmith.training.settings import TrainingSettings
from beadsmith.units import thermal_energy
from example_force_matching import CUTOFF, DensityNetwork, make_labelled_liquid, make_wall

pytestmark = pytest.mark.drift

TEMPERATURE = 300.0
N_REPLICAS = 4
NETWORKS = {
    "hipnn": HipnnSettings(cutoff=CUTOFF, soft_min=0.24, soft_max=0.5, n_features=12, n_sensitivities=12),
    "schnet": SchnetSettings(cutoff=CUTOFF, n_features=16, n_filters=16, n_radial=20),
    "mace": MaceSettings(cutoff=CUTOFF, n_features=8, l_max=2, l_max_hidden=0, correlation=2),
}


def train(settings, folder):
    """Return a force field of the wall and a network that has learned a many-body truth, and its frames."""
    liquid = make_labelled_liquid(0, n_frames=60, truth=DensityNetwork(-8.0, 1.5))
    wall = make_wall(liquid.topology.type_names)
    frames = prepare_frames((liquid,), [wall], cutoff=CUTOFF, memory_limit=1.0, dtype=torch.float64)
    split = split_by_use((liquid,), validation_fraction=0.1, test_fraction=0.2)
    fit = fit_network(
        build_network(settings, liquid.topology.type_names, torch.Generator().manual_seed(1)),
        frames,
        train_rows=split.train,
        validation_rows=split.validation,
        settings=TrainingSettings(epochs=12, averaging=0.9, precision="float64"),
        files=FitFiles(checkpoint=folder / "fit.safetensors", identity="drift", log=None),
        seed=0,
        progress=lambda done, total, note="": None,
    )
    to_learn = np.mean(frames.targets[0] ** 2)
    assert fit.counters.best_loss < 0.1 * to_learn, "the network has not learned: the test would say nothing"
    record = describe_data((liquid,), search_cutoff=CUTOFF, mapping_summary={}, metadata={})
    return ForceField([wall], fit.network.requires_grad_(False), record), liquid


@pytest.mark.parametrize("kind", NETWORKS)
def test_total_energy_drifts_by_less_than_a_ten_thousandth_of_kt_per_degree_of_freedom_and_nanosecond(kind, tmp_path):
    force_field, liquid = train(NETWORKS[kind], tmp_path)
    write_trajectory(tmp_path / "start.h5", liquid)
    settings = SimulationSettings(
        integrator="verlet",
        timestep=0.001,
        equilibration=5.0,
        duration=200.0,
        save_interval=0.1,
        replicas=N_REPLICAS,
        precision="float64",
    )
    start = FileStart(path=tmp_path / "start.h5")
    output = tmp_path / "simulation.h5"
    simulate(force_field, start, settings, output, temperature=TEMPERATURE, seed=3, identity="drift")
    slopes = [fit_slope(replica) for replica in split_segments(read_trajectory(output))]
    slope, error = np.mean(slopes), np.std(slopes, ddof=1) / np.sqrt(N_REPLICAS)
    print(f"{kind}: {slope:+.1e} ± {error:.1e} kT per degree of freedom and ns")
    # the runs must be long enough to see such a drift at 3 standard errors, and must not show one
    assert error < 1e-4 / 3.0
    assert abs(slope) < 1e-4


def split_segments(run):
    """Return each replica by itself."""
    return [run.select(np.flatnonzero(run.segment == replica)) for replica in range(N_REPLICAS)]


def fit_slope(run):
    """Return the slope of the total energy of one replica [kT per degree of freedom and ns]."""
    kinetic = 0.5 * (run.topology.masses[:, None] * run.velocities.astype(np.float64) ** 2).sum(axis=(1, 2))
    energies = (kinetic + run.energy) / ((3 * run.n_sites - 3) * thermal_energy(TEMPERATURE))
    # ps to ns
    slope, _ = np.polyfit(1e-3 * run.times, energies, 1)
    return slope
