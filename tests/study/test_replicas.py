"""Replicas of a run: where each ends, and the spread of their distributions."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.io.h5md import write_trajectory
from beadsmith.study.record import StabilitySettings
from beadsmith.study.replicas import measure_replicas
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import GAS_CONSTANT

N_REPLICAS, N_FRAMES, N_MOLECULES = 4, 40, 60
MASS, BOND, TEMPERATURE, EDGE = 40.0, 0.15, 300.0, 2.4
SETTINGS = EvaluationSettings(n_blocks=4, window_end=1.0)
STABILITY = StabilitySettings()
NO_TERMS = {width: np.zeros((0, width), dtype=np.int64) for width in (2, 3, 4)}


def make_pairs(seed, *, n_replicas=N_REPLICAS):
    """Return an ideal gas of two-bead molecules in a box: replicas one after the other, thermal velocities."""
    generator = np.random.default_rng(seed)
    n_frames, n_sites = n_replicas * N_FRAMES, 2 * N_MOLECULES
    centres = generator.uniform(0.0, EDGE, (n_frames, N_MOLECULES, 3))
    axes = generator.normal(size=centres.shape)
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    half = 0.5 * generator.normal(BOND, 0.003, (n_frames, N_MOLECULES, 1)) * axes
    positions = np.stack([centres - half, centres + half], axis=2).reshape(n_frames, n_sites, 3)
    first = 2 * np.arange(N_MOLECULES)
    topology = Topology(
        names=("A", "B") * N_MOLECULES,
        types=np.zeros(n_sites, dtype=np.int64),
        type_names=("A",),
        masses=np.full(n_sites, MASS),
        molecule_index=np.repeat(np.arange(N_MOLECULES), 2),
        residue_index=np.repeat(np.arange(N_MOLECULES), 2),
        residue_names=("PAIR",) * N_MOLECULES,
        bonds=np.stack([first, first + 1], axis=1),
        angles=NO_TERMS[3],
        dihedrals=NO_TERMS[4],
        impropers=NO_TERMS[4],
        constraints=NO_TERMS[2],
    )
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=TEMPERATURE),
        positions=positions.astype(np.float32),
        velocities=generator.normal(0.0, np.sqrt(GAS_CONSTANT * TEMPERATURE / MASS), positions.shape).astype(
            np.float32
        ),
        times=np.tile(0.1 * np.arange(1, N_FRAMES + 1), n_replicas),
        cell=np.repeat(EDGE * np.eye(3, dtype=np.float32)[None], n_frames, axis=0),
        segment=np.repeat(np.arange(n_replicas), N_FRAMES),
    )


def measure(folder, simulation, *, stopped=(), n_replicas=N_REPLICAS):
    write_trajectory(folder / "mapped.h5", make_pairs(1))
    write_trajectory(folder / "simulation.h5", simulation)
    evaluation = evaluate(folder / "mapped.h5", {"network": folder / "simulation.h5"}, SETTINGS)
    summary = {"n_replicas": n_replicas, "stopped": [{"replica": number} for number in stopped]}
    return measure_replicas(folder / "simulation.h5", evaluation, SETTINGS, summary, STABILITY)


def make_gas(seed, *, n_replicas):
    """Return an ideal gas of single beads."""
    pairs = make_pairs(seed, n_replicas=n_replicas)
    n_sites = 2 * N_MOLECULES
    topology = replace(
        pairs.topology,
        molecule_index=np.arange(n_sites),
        residue_index=np.arange(n_sites),
        residue_names=("BEAD",) * n_sites,
        bonds=NO_TERMS[2],
    )
    positions = np.random.default_rng(seed).uniform(0.0, EDGE, pairs.positions.shape).astype(np.float32)
    return replace(pairs, topology=topology, positions=positions)


@pytest.fixture(scope="module")
def gas(tmp_path_factory):
    """Return what is measured on 24 replicas of an ideal gas."""
    folder = tmp_path_factory.mktemp("gas")
    write_trajectory(folder / "mapped.h5", make_gas(1, n_replicas=2))
    write_trajectory(folder / "simulation.h5", make_gas(2, n_replicas=24))
    evaluation = evaluate(folder / "mapped.h5", {"network": folder / "simulation.h5"}, SETTINGS)
    return measure_replicas(
        folder / "simulation.h5", evaluation, SETTINGS, {"n_replicas": 24, "stopped": []}, STABILITY
    )


def test_replicas_of_an_ideal_gas_survive_and_spread_as_counting_says(gas):
    """Distances of pairs are pairwise independent, so over replicas g(r) has the standard deviation sqrt(1/n)."""
    assert gas["stability"]["n_survived"] == 24
    curve = gas["curves"]["rdf A-A"]
    assert curve["n_replicas"] == 24
    edges, inside = np.array(curve["edges"]), slice(60, 110)
    n_pairs = 0.5 * 2 * N_MOLECULES * (2 * N_MOLECULES - 1) * N_FRAMES
    expected = np.sqrt(1.0 / (n_pairs * 4.0 * np.pi / 3.0 * np.diff(edges**3) / EDGE**3))[inside]
    # four standard errors of the mean over 50 bins, and of the mean of 50 standard deviations from 24 replicas each
    assert np.mean(np.array(curve["mean"])[inside]) == pytest.approx(1.0, abs=4 * expected.mean() / np.sqrt(24 * 50))
    assert np.mean(np.array(curve["deviation"])[inside] / expected) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 23 * 50))


def test_angles_of_an_ideal_gas_are_those_of_independent_directions_in_every_replica(gas):
    """The angle between independent directions has the density (1/2) sin, here scaled to mean 1 over its bins."""
    curve = gas["curves"]["adf A-A-A"]
    assert (curve["group"], curve["unit"], curve["n_replicas"]) == ("adf", "degree", 24)
    expected = -0.5 * SETTINGS.n_angle_bins * np.diff(np.cos(np.radians(curve["edges"])))
    errors = np.array(curve["deviation"]) / np.sqrt(24)
    # five standard errors in each of 36 bins
    assert np.all(np.abs(np.array(curve["mean"]) - expected) < 5.0 * errors)
    assert errors.max() < 0.02 * expected.max()


def test_bond_lengths_of_replicas_lie_on_the_references_bins(tmp_path):
    measured = measure(tmp_path, make_pairs(2))
    curve = measured["curves"]["bond A-A"]
    widths = np.diff(curve["edges"])
    assert np.array(curve["mean"]) @ widths == pytest.approx(1.0)
    centres = np.array(curve["edges"][:-1]) + 0.5 * widths
    # bins of less than half a millinanometre leave the mean
    assert (np.array(curve["mean"]) * widths) @ centres == pytest.approx(BOND, abs=2e-4)


def test_a_replica_ends_before_its_first_hot_frame(tmp_path):
    simulation = make_pairs(2)
    velocities = simulation.velocities.copy()
    velocities[N_FRAMES + 10] *= np.sqrt(2.5)
    measured = measure(tmp_path, replace(simulation, velocities=velocities))
    assert measured["stability"]["n_by_reason"] == {"stopped": 0, "hot": 1, "bond broken": 0}
    assert measured["stability"]["stable_time"]["values"] == pytest.approx([4.0, 1.0, 4.0, 4.0])


def test_a_replica_ends_before_its_first_broken_bond_and_the_rest_of_it_is_left_out(tmp_path):
    simulation = make_pairs(2)
    positions = simulation.positions.copy()
    positions[2 * N_FRAMES + 20 : 3 * N_FRAMES, 1] = positions[2 * N_FRAMES + 20 : 3 * N_FRAMES, 0] + [0.21, 0.0, 0.0]
    measured = measure(tmp_path, replace(simulation, positions=positions))
    assert measured["stability"]["n_by_reason"]["bond broken"] == 1
    assert measured["stability"]["stable_time"]["values"][2] == pytest.approx(2.0)
    beyond = np.array(measured["curves"]["bond A-A"]["edges"][1:]) > BOND + 0.03
    assert not np.array(measured["curves"]["bond A-A"]["mean"])[beyond].any()


def test_a_few_beads_are_not_called_hot_for_their_fluctuations(tmp_path):
    """Twelve degrees of freedom reach twice the temperature in one of 60 frames."""
    gas = make_pairs(2)
    few = gas.topology
    sites = slice(0, 4)
    topology = replace(
        few, names=few.names[sites], types=few.types[sites], masses=few.masses[sites],
        molecule_index=few.molecule_index[sites], residue_index=few.residue_index[sites],
        residue_names=few.residue_names[:2], bonds=few.bonds[:2],
    )  # fmt: skip
    simulation = replace(gas, topology=topology, positions=gas.positions[:, sites], velocities=gas.velocities[:, sites])
    write_trajectory(tmp_path / "mapped.h5", replace(simulation, velocities=None))
    write_trajectory(tmp_path / "simulation.h5", simulation)
    evaluation = evaluate(tmp_path / "mapped.h5", {"network": tmp_path / "simulation.h5"}, SETTINGS)
    measured = measure_replicas(
        tmp_path / "simulation.h5", evaluation, SETTINGS, {"n_replicas": 4, "stopped": []}, STABILITY
    )
    temperatures = (simulation.velocities.astype(float) ** 2).sum(axis=(1, 2)) * MASS / (12 * GAS_CONSTANT)
    assert temperatures.max() > 2.0 * TEMPERATURE
    assert measured["stability"]["n_survived"] == 4


def test_a_replica_that_stopped_before_any_frame_counts_with_no_time(tmp_path):
    simulation = make_pairs(2, n_replicas=3)
    measured = measure(tmp_path, simulation, stopped=(3,))
    assert measured["stability"]["n_by_reason"]["stopped"] == 1
    assert measured["stability"]["stable_time"]["values"][3] == 0.0
    assert measured["curves"]["rdf A-A"]["n_replicas"] == 3
