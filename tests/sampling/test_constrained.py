"""Averaged labels of capped alanine: which frames, what is in the file, resumption, and what is refused."""

from dataclasses import replace

import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory, read_trajectory, write_trajectory
from beadsmith.mapping.apply import build_mapping, find_templates, map_reference
from beadsmith.mapping.settings import MappingSettings
from beadsmith.sampling.constrained import MeanForceSettings, average_forces, choose_frames
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import GAS_CONSTANT

SETTINGS = MeanForceSettings(frames=6, equilibration=0.0, duration=0.4, sample_interval=0.02, platform="Reference")
MAPPING = MappingSettings(beads="backbone_cb")


@pytest.fixture(scope="module")
def alanine(tmp_path_factory):
    """Return folder, system and mapping of a short run; every other frame is at another temperature."""
    folder = tmp_path_factory.mktemp("alanine")
    starts = build_peptide(PeptideSettings(sequence="ACE-ALA-NME"), n_starts=1, seed=1, hydrogen_mass=3.0)
    system, topology = starts.atoms.system, starts.atoms.topology
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.002)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(starts.positions[0])
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 200)
    context.setVelocitiesToTemperature(300.0, 1)
    frames = []
    for _ in range(24):
        integrator.step(25)
        state = context.getState(positions=True, forces=True, energy=True)
        frames.append([state.getPositions(asNumpy=True)._value, state.getForces(asNumpy=True)._value,
                       state.getPotentialEnergy()._value])  # fmt: skip
    positions, forces, energy = (np.array(part) for part in zip(*frames, strict=True))
    reference = Trajectory(
        topology=topology, state_point=StatePoint(temperature=300.0), positions=positions.astype(np.float32),
        times=np.arange(24.0), forces=forces.astype(np.float32), energy=energy,
        segment=np.repeat([0, 1], 12), temperature=np.tile([300.0, 350.0], 12),
    )  # fmt: skip
    write_trajectory(folder / "reference.h5", reference)
    map_reference(folder / "reference.h5", folder / "mapped.h5", MAPPING, identity="a")
    with open_trajectory(folder / "mapped.h5") as stored:
        weights = tuple(np.array(entry["force_weights"]) for entry in stored.metadata["molecules"])
    return folder, system, build_mapping(topology, find_templates(topology, MAPPING), weights, MAPPING)


def run(alanine, output, settings=SETTINGS, **options):
    folder, system, mapping = alanine
    options = {"system": system, "mapped": folder / "mapped.h5", "identity": "x", **options}
    return average_forces(
        settings, options.pop("system"), folder / "reference.h5", options.pop("mapped"), output,
        position_map=mapping.position_map, force_map=mapping.force_map, reference_timestep=0.002, seed=4, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def averaged(alanine, tmp_path_factory):
    output = tmp_path_factory.mktemp("averaged") / "mean_force.h5"
    return run(alanine, output), output


def test_labels_stand_beside_the_beads_of_frames_of_the_states_temperature(alanine, averaged):
    summary, output = averaged
    labels, mapped = read_trajectory(output), read_trajectory(alanine[0] / "mapped.h5")
    assert mapped.n_frames == 12
    np.testing.assert_array_equal(labels.positions, mapped.positions[summary["source_frames"]])
    assert labels.n_averaged.tolist() == [20] * 6
    for name in ("forces", "response_forces", "energy"):
        assert np.isfinite(getattr(labels, name)).all()
    for name in ("force_noise", "response_noise", "energy_noise", "energy_variance"):
        assert (getattr(labels, name) > 0.0).all()
    assert summary["timestep"] == 0.002
    assert summary["n_projected_beads"] == 0
    # instantaneous forces of six beads on their spheres of 20 atoms scatter by some hundred kJ/mol/nm
    assert 1e4 < summary["noise_floor"]["value"] < 3e5
    expected = labels.energy_variance.mean() / (GAS_CONSTANT * 300.0**2)
    assert summary["heat_capacity"]["value"] == pytest.approx(expected)


def test_averages_differ_from_the_instantaneous_forces_by_their_noise(alanine, averaged):
    summary, output = averaged
    labels, mapped = read_trajectory(output), read_trajectory(alanine[0] / "mapped.h5")
    difference = labels.forces - mapped.forces[summary["source_frames"]]
    spread = np.mean(difference.astype(float) ** 2)
    # one draw less an average: the variance at fixed beads, known to a factor of two from these few frames
    assert 0.4 < spread / summary["noise_floor"]["value"] < 2.5
    assert np.mean(labels.force_noise**2) < 0.3 * summary["noise_floor"]["value"]


class Interrupted(Exception):
    """Stands for a kill."""


def test_an_interrupted_run_ends_with_the_same_labels(alanine, averaged, tmp_path, monkeypatch):
    monkeypatch.setattr("beadsmith.sampling.constrained._CHECKPOINT", 0.0)
    calls = iter(range(100))

    def interrupt(done, total, note=""):
        if next(calls) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(alanine, tmp_path / "cut.h5", progress=interrupt)
    done = []
    summary = run(alanine, tmp_path / "cut.h5", progress=lambda d, t, note="": done.append(d))
    # the fourth frame was done but not saved
    assert len(done) == 3
    expected, found = read_trajectory(averaged[1]), read_trajectory(tmp_path / "cut.h5")
    for name in ("forces", "response_forces", "energy", "force_noise"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert summary["noise_floor"] == averaged[0]["noise_floor"]


@pytest.mark.parametrize("n_wanted", [200, 800, 4000, 1001])
def test_every_replica_gives_its_share_of_the_frames_whatever_their_number(n_wanted):
    # equal spacing over interleaved replicas would take all of them from one: 400,000/800 is a multiple of four
    segment = np.repeat(np.arange(4), 100_000)
    chosen = choose_frames(segment, len(segment), n_wanted)
    counts = np.bincount(segment[chosen], minlength=4)
    assert counts.sum() == len(np.unique(chosen)) == n_wanted
    assert counts.max() - counts.min() <= 1
    # any first part of them is spread over the replicas, too
    assert np.ptp(np.bincount(segment[chosen[: n_wanted // 2]], minlength=4)) <= 1
    for label in range(4):
        gaps = np.diff(chosen[segment[chosen] == label])
        assert np.ptp(gaps) <= 1


def test_frames_are_evenly_spread_over_the_relative_time_of_all_segments():
    segment = np.repeat([0, 1, 2], [100, 50, 50])
    chosen = choose_frames(segment, 200, 40)
    place = np.concatenate([(np.arange(n) + 0.5) / n for n in (100, 50, 50)])[chosen]
    assert (np.diff(place) >= 0.0).all()
    np.testing.assert_allclose(place, (np.arange(40) + 0.5) / 40, atol=0.03)
    assert np.bincount(segment[chosen]).tolist() == [20, 10, 10]
    assert len(set(chosen.tolist())) == 40
    # so the first 70 % of the labels are at beads of the first 70 % of every segment
    assert place[27] < 0.7 + 0.01


BAD_SETTINGS = [
    ({"frames": 0}, "frames is 0"),
    ({"duration": 0.1}, "gives 2 samples, expected at least 20"),
    ({"timestep": 0.01}, "timestep is 0.01 ps"),
    ({"friction": 0.0}, "friction is 0.0"),
    ({"equilibration": -1.0}, "equilibration is -1.0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_SETTINGS)
def test_settings_without_averages_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        MeanForceSettings(**arguments)


def test_more_frames_than_there_are_are_refused(alanine, tmp_path):
    with pytest.raises(InputError, match=r"'mean_force.frames' is 13, but the mapped trajectory has 12"):
        run(alanine, tmp_path / "m.h5", replace(SETTINGS, frames=13))


def test_a_timestep_that_the_hydrogens_do_not_allow_is_refused(alanine, tmp_path):
    with pytest.raises(InputError, match=r"'mean_force.timestep' is 5 fs, .* stable up to 4 fs"):
        run(alanine, tmp_path / "m.h5", replace(SETTINGS, timestep=0.005))


def test_a_reference_without_its_water_is_refused(alanine, tmp_path):
    system = openmm.XmlSerializer.clone(alanine[1])
    system.addParticle(18.0)
    with pytest.raises(InputError, match=r"has 22 atoms, but 23 are simulated.*save: all"):
        run(alanine, tmp_path / "m.h5", system=system)


def test_a_mapped_trajectory_of_another_reference_is_refused(alanine, tmp_path):
    mapped = read_trajectory(alanine[0] / "mapped.h5")
    write_trajectory(tmp_path / "other.h5", mapped.select(slice(0, 10)))
    with pytest.raises(InputError, match=r"has 10 frames, but its reference .* has 12 at 300 K"):
        run(alanine, tmp_path / "m.h5", mapped=tmp_path / "other.h5")


def test_centres_of_mass_of_a_liquid_are_held(tmp_path):
    atoms = build_system(
        SystemSettings(molecules=(MoleculeCount(name="methanol", count=20),)), density=430.0, cutoff=0.55, seed=1
    )
    topology, length = atoms.topology, (20 * 32.042 / 430.0) ** (1.0 / 3.0)
    frames = Trajectory(
        topology=topology, state_point=StatePoint(temperature=300.0), times=np.arange(2.0),
        positions=np.repeat(atoms.positions[None].astype(np.float32), 2, axis=0),
        forces=np.random.default_rng(0).normal(size=(2, topology.n_sites, 3)).astype(np.float32),
        energy=np.zeros(2), cell=np.repeat(length * np.eye(3, dtype=np.float32)[None], 2, axis=0),
    )  # fmt: skip
    write_trajectory(tmp_path / "reference.h5", frames)
    one_bead = MappingSettings(forces="sum")
    map_reference(tmp_path / "reference.h5", tmp_path / "mapped.h5", one_bead, identity="a")
    templates = find_templates(topology, one_bead)
    with open_trajectory(tmp_path / "mapped.h5") as stored:
        weights = tuple(np.array(entry["force_weights"]) for entry in stored.metadata["molecules"])
    mapping = build_mapping(topology, templates, weights, one_bead)
    summary = average_forces(
        MeanForceSettings(frames=1, equilibration=0.1, duration=0.08, sample_interval=0.004, threads=1), atoms.system,
        tmp_path / "reference.h5", tmp_path / "mapped.h5", tmp_path / "mean_force.h5",
        position_map=mapping.position_map, force_map=mapping.force_map, reference_timestep=0.002, seed=1, identity="a",
    )  # fmt: skip
    # the run itself refuses beads that have moved
    assert summary["n_projected_beads"] == 20
    labels = read_trajectory(tmp_path / "mean_force.h5")
    assert labels.virial is None
    assert labels.cell is not None
    # what the molecules do to each other adds up to nothing
    assert np.abs(labels.forces.sum(axis=1)).max() < 0.02 * np.abs(labels.forces).max()
