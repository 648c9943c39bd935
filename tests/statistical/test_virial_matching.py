"""A fluid of pairs and triplets mapped one to one: a network trained on its forces has its structure and pressure."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.analysis.structure import StructureBins, count_blocks, radial_distributions
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
LONG_RUN = replace(RUN, duration=300.0, replicas=4)
SETTINGS = TrainingSettings(epochs=20, batch_size=2, noise_floor_fractions=(), early_stop_patience=20)
NETWORK = HipnnSettings(
    l_max=1, n_features=16, n_sensitivities=12, n_atom_layers=2, cutoff=CUTOFF, soft_min=0.24, soft_max=0.55
)


def make_truth():
    """Return a wall at contact, attraction of pairs, and repulsion of triplets: ρ² of the density network."""
    record = make_force_field(make_wall()).record
    return ForceField([make_wall()], DensityNetwork(-6.0, 1.0).float(), record)


def run(path, force_field, settings=RUN, *, seed):
    """Return frames of 64 beads."""
    simulate(
        force_field, make_liquid(4, spacing=0.36, n_frames=2), settings, path, temperature=300.0, seed=seed,
        identity="t",
    )  # fmt: skip
    return read_trajectory(path)


def label(frames, force_field):
    """Return frames with the exact forces and virials of a force field."""
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    with torch.no_grad():
        prediction = predict(force_field.double(), batch, find_pairs(batch, CUTOFF))
    forces = prediction.forces.view(frames.n_frames, -1, 3).float().numpy()
    return replace(frames, forces=forces, virial=prediction.virial.numpy(), velocities=None)


def measure_pressure(frames):
    """Return the mean pressure [bar] and its standard error."""
    return measure_mean(pressures(frames) / BAR, unit="bar", n_blocks=20, segment=frames.segment)


def measure_structure(frames):
    """Return g(r) up to the cutoff in bins of 0.02 nm."""
    bins = StructureBins(
        distance_edges=np.arange(0.0, CUTOFF + 0.01, 0.02), angle_edges=np.array([0.0, 180.0]), arm_cutoff=1e-6
    )
    (curve,) = radial_distributions(count_blocks(frames, bins, n_blocks=20), bins, frames.topology).values()
    return curve


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Return a long run of the fluid, and the file of its first frames with labels."""
    folder = tmp_path_factory.mktemp("fluid")
    frames = run(folder / "reference.h5", make_truth(), LONG_RUN, seed=1)
    labelled = label(frames.select(np.arange(0, frames.n_frames, frames.n_frames // 600)), make_truth())
    write_trajectory(folder / "mapped.h5", labelled, {"aggregation": "optimal"})
    return frames, folder / "mapped.h5"


@pytest.mark.parametrize("virials", [1.0, 0.0])
def test_a_network_trained_on_the_forces_of_a_fluid_has_its_structure_and_pressure(tmp_path, reference, virials):
    frames, mapped = reference
    summary = train(
        replace(SETTINGS, labels=LabelSettings(virials=virials)), NETWORK, PriorSettings(cutoff=CUTOFF), (mapped,),
        tmp_path / "force_field", baseline_output=tmp_path / "pair_spline", seed=1, identity="t",
    )  # fmt: skip
    explained = summary["explained_variance"]["network"]["test"]["value"]
    # the labels have no noise: what is missing is the network's
    assert explained > 0.999
    if virials:
        models = summary["virials"]["models"]
        assert models["network"]["explained"]["value"] > 0.99
        # pairs alone cannot have the pressure of triplets
        assert abs(models["network"]["pressure_error"]["value"]) < 0.02 * abs(
            models["pair_spline"]["pressure_error"]["value"]
        )
    found = run(tmp_path / "simulation.h5", load_force_field(tmp_path / "force_field"), LONG_RUN, seed=2)
    structures = [measure_structure(which) for which in (frames, found)]
    difference = np.abs(structures[1].density - structures[0].density).max()
    expected, measured = (measure_pressure(which) for which in (frames, found))
    error = np.hypot(expected.standard_error, measured.standard_error)
    figures = {
        "R2 of forces": explained,
        "max difference of g(r)": difference,
        "pressure, bar": f"{measured.value:.0f} for {expected.value:.0f} +- {error:.0f}",
    }
    print(f"virials {virials:g}:", figures)
    assert difference < 0.02
    if virials:
        assert error < 40.0
        assert abs(measured.value - expected.value) < 3.0 * error
