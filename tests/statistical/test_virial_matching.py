"""A fluid of pairs and triplets mapped one to one: a network trained on its forces and virials has its pressure."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.analysis.thermodynamics import measure_mean, pressures
from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.priors.fit import PriorSettings
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.training.fit import train
from beadsmith.training.labels import LabelSettings
from beadsmith.training.settings import TrainingSettings
from beadsmith.units import BAR
from example_force_fields import make_force_field, make_liquid
from example_force_matching import CUTOFF, DensityNetwork, make_wall

pytestmark = pytest.mark.slow

RUN = SimulationSettings(
    timestep=0.005, friction=5.0, equilibration=5.0, duration=60.0, save_interval=0.2, replicas=2, threads=1
)
SETTINGS = TrainingSettings(
    epochs=20, batch_size=2, noise_floor_fractions=(), labels=LabelSettings(virials=1.0), early_stop_patience=20
)
NETWORK = HipnnSettings(
    l_max=1, n_features=16, n_sensitivities=12, n_atom_layers=2, cutoff=CUTOFF, soft_min=0.24, soft_max=0.55
)


def make_truth():
    """Return a wall at contact, attraction of pairs, and repulsion of triplets: ρ² of the density network."""
    record = make_force_field(make_wall()).record
    return ForceField([make_wall()], DensityNetwork(-6.0, 1.0).float(), record)


def run(path, force_field, *, seed):
    """Return frames of 64 beads."""
    simulate(
        force_field, make_liquid(4, spacing=0.36, n_frames=2), RUN, path, temperature=300.0, seed=seed, identity="t"
    )
    return read_trajectory(path)


def label(frames, force_field):
    """Return frames with the exact forces and virials of a force field."""
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    with torch.no_grad():
        prediction = predict(force_field.double(), batch, find_pairs(batch, CUTOFF))
    forces = prediction.forces.view(frames.n_frames, -1, 3).float().numpy()
    return replace(frames, forces=forces, virial=prediction.virial.numpy(), velocities=None)


def test_a_network_trained_on_forces_and_virials_has_the_pressure_of_the_fluid(tmp_path):
    reference = run(tmp_path / "reference.h5", make_truth(), seed=1)
    write_trajectory(tmp_path / "mapped.h5", label(reference, make_truth()), {"aggregation": "optimal"})
    summary = train(
        SETTINGS, NETWORK, PriorSettings(cutoff=CUTOFF), (tmp_path / "mapped.h5",), tmp_path / "force_field",
        baseline_output=tmp_path / "pair_spline", seed=1, identity="t",
    )  # fmt: skip
    # the labels have no noise: what is missing is the network's
    assert summary["explained_variance"]["network"]["test"]["value"] > 0.999
    virials = summary["virials"]["models"]
    assert virials["network"]["explained"]["value"] > 0.99
    # pairs alone cannot have the pressure of triplets
    assert abs(virials["network"]["pressure_error"]["value"]) < 0.02 * abs(
        virials["pair_spline"]["pressure_error"]["value"]
    )
    found = run(tmp_path / "simulation.h5", load_force_field(tmp_path / "force_field"), seed=2)
    expected, measured = (
        measure_mean(pressures(frames) / BAR, unit="bar", n_blocks=20, segment=frames.segment)
        for frames in (reference, found)
    )
    error = np.hypot(expected.standard_error, measured.standard_error)
    assert error < 40.0
    assert abs(measured.value - expected.value) < 3.0 * error
