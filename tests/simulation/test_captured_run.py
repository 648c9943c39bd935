"""The verb `simulate` with captured steps, run uncaptured on a CPU."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.errors import PhysicsError
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.io.h5md import read_trajectory
from beadsmith.networks.kinds import build_network
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.bonded import find_type_tuples
from beadsmith.priors.fourier import FourierDihedrals
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.tabulated import tabulate_pair_terms
from beadsmith.simulation import run as module
from beadsmith.simulation.captured import CapturedLangevin
from beadsmith.simulation.run import build_integrator, capture_steps, simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.trajectory import StatePoint
from example_chains import build_chain, build_positions
from example_chains import make_frames as make_chains
from example_force_fields import SoftPair, Trap, make_force_field, make_frames, make_liquid

SETTINGS = SimulationSettings(timestep=0.005, equilibration=0.05, duration=0.2, save_interval=0.02, replicas=2)
WALLS = ExponentialRepulsion(("bead",), joining_distances=(0.3,), joining_forces=(60.0,), decays=(40.0,), cutoff=0.5)


def capture(monkeypatch, noise="device"):
    """Let every run go in captured steps, whatever the device."""

    def build(settings):
        return CapturedLangevin(
            build_integrator(settings),
            first_frame=settings.n_equilibration_steps,
            stride=settings.stride,
            n_replicas=settings.replicas,
            noise=noise,
        )

    monkeypatch.setattr(module, "build_integrator", build)


def run(path, *, prior=(WALLS,), frames=None, settings=SETTINGS, **options):
    frames = make_liquid(n_frames=2) if frames is None else frames
    force_field = make_force_field(*prior)
    return simulate(force_field, frames, settings, path, temperature=300.0, seed=1, identity="test", **options)


def test_frames_are_those_of_the_ordinary_simulation(tmp_path, monkeypatch):
    expected = run(tmp_path / "plain.h5")
    capture(monkeypatch, noise="host")
    found = run(tmp_path / "captured.h5")
    for name in ("n_steps", "n_frames"):
        assert found[name] == expected[name]
    a, b = read_trajectory(tmp_path / "captured.h5"), read_trajectory(tmp_path / "plain.h5")
    # rounding of float32 forces, 1e-6 of them, over 50 steps
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)
    np.testing.assert_allclose(a.velocities, b.velocities, atol=1e-3)
    np.testing.assert_allclose(a.energy, b.energy, atol=1e-2)
    np.testing.assert_array_equal(a.times, b.times)
    assert found["closest_distance"] == pytest.approx(expected["closest_distance"], abs=1e-5)


def test_bonded_molecules_in_open_space_follow_the_ordinary_path(tmp_path, monkeypatch):
    topology = build_chain(5)
    names = topology.type_names
    bonds, angles, dihedrals = (
        find_type_tuples((topology,), coordinate) for coordinate in ("bond", "angle", "dihedral")
    )
    torsion = FourierDihedrals(names, dihedrals, order=2)
    torsion.coefficients.copy_(torch.tensor([[2.0, -1.0, 0.5, 1.5]]).expand(len(dihedrals), 4))
    prior = [
        HarmonicBonds(names, bonds, centres=(0.2,) * 4, stiffnesses=(2e4,) * 4),
        HarmonicAngles(names, angles, centres=(1.9,) * 3, stiffnesses=(60.0,) * 3),
        torsion,
    ]
    record = ForceFieldRecord(templates=(topology,), state_points=(StatePoint(temperature=300.0),))
    network = build_network(SchnetSettings(pair_classes=True), names, torch.Generator().manual_seed(2))
    force_field = ForceField(prior, network, record)
    angle = np.full((2, 3), 1.9)
    frames = make_chains(topology, build_positions(np.full((2, 4), 0.2), angle, np.full((2, 2), [[1.0], [2.5]])))

    def simulate_chains(name):
        simulate(force_field, frames, SETTINGS, tmp_path / name, temperature=300.0, seed=1, identity="test")
        return read_trajectory(tmp_path / name)

    plain = simulate_chains("plain.h5")
    capture(monkeypatch, noise="host")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured = simulate_chains("captured.h5")
    # rounding of float32 forces, 1e-6 of them, over 50 steps
    np.testing.assert_allclose(captured.positions, plain.positions, atol=1e-5)
    np.testing.assert_allclose(captured.energy, plain.energy, atol=1e-2)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    capture(monkeypatch)
    settings = replace(SETTINGS, checkpoint_interval=0.0)
    run(tmp_path / "whole.h5", settings=settings)
    calls = []

    def interrupt(done, total, note):
        calls.append(done)
        if len(calls) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts.h5", settings=settings, progress=interrupt)
    run(tmp_path / "parts.h5", settings=settings)
    a, b = read_trajectory(tmp_path / "whole.h5"), read_trajectory(tmp_path / "parts.h5")
    np.testing.assert_array_equal(a.times, b.times)
    # the list may have another order after a restart: rounding of float32 over 25 steps
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)


def test_a_replica_that_blows_up_is_taken_out_at_the_next_frame(tmp_path, monkeypatch):
    capture(monkeypatch)
    positions = np.random.default_rng(0).normal(scale=0.3, size=(2, 5, 3))
    # thermal motion, 0.35 nm/ps, takes some bead of replica 1 past the edge
    positions[1, :, 0] = 4.995
    frames = make_frames(positions)
    summary = run(tmp_path / "s.h5", prior=(Trap(edge=5.0),), frames=frames)
    (stopped,) = summary["stopped"]
    assert stopped["replica"] == 1
    assert stopped["step"] % SETTINGS.stride == SETTINGS.n_equilibration_steps % SETTINGS.stride
    n_saved = (stopped["step"] - SETTINGS.n_equilibration_steps) // SETTINGS.stride - 1
    assert 0 < n_saved < 9
    assert np.bincount(read_trajectory(tmp_path / "s.h5").segment).tolist() == [10, n_saved]
    with pytest.raises(PhysicsError, match="all 1 replicas stopped"):
        run(
            tmp_path / "t.h5",
            prior=(Trap(edge=5.0),),
            frames=frames.select(slice(1, 2)),
            settings=replace(SETTINGS, replicas=1),
        )


def test_langevin_steps_of_tabulated_force_fields_are_captured():
    model = make_force_field(*tabulate_pair_terms([WALLS]))
    captured = capture_steps(build_integrator(SETTINGS), model, SETTINGS)
    assert isinstance(captured, CapturedLangevin)
    assert (captured.first_frame, captured.stride, captured.n_replicas) == (10, 4, 2)


@pytest.mark.parametrize(
    ("settings", "term", "reason"),
    [
        (SETTINGS, SoftPair(), "the prior term 'test_soft_pair' has no table"),
        (replace(SETTINGS, integrator="verlet"), Trap(edge=5.0), "not verlet"),
    ],
)
def test_a_run_that_cannot_be_captured_says_why_and_goes_on(settings, term, reason):
    integrator = build_integrator(settings)
    with pytest.warns(UserWarning, match=reason):
        assert capture_steps(integrator, make_force_field(term), settings) is integrator
