"""Sampling runs: what is written, what is refused, and what survives a kill."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.sampling.run import SamplingSettings, sample
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.statistics import block_mean_and_error
from beadsmith.trajectory import StatePoint
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE, thermal_energy
from example_kills import KilledError, kill_at

GAS = SystemSettings(molecules=(MoleculeCount(name="methane", count=20),))
GAS_STATE = StatePoint(temperature=300.0, density=0.15 * GRAM_PER_CUBIC_CENTIMETRE)
ISOBARIC = StatePoint(temperature=300.0, pressure=100.0 * BAR)
SHORT = SamplingSettings(
    timestep=0.002,
    equilibration=0.08,
    duration=0.32,
    save_interval=0.04,
    checkpoint_interval=0.08,
    barostat_interval=0.01,
    initial_density=0.15 * GRAM_PER_CUBIC_CENTIMETRE,
    cutoff=0.7,
    platform="Reference",
    threads=1,
)


def run_to(path, *, settings=SHORT, state=GAS_STATE, system=GAS, seed=1, **options):
    """Sample into a file and return it."""
    sample(settings, system, state, path, seed=seed, identity="test", **options)
    return path


def read_metadata(path):
    """Return the metadata of a trajectory file."""
    with open_trajectory(path) as stored:
        return stored.metadata


def assert_equal_frames(first, second):
    """Compare every stored array of two files bit for bit."""
    one, two = read_trajectory(first), read_trajectory(second)
    for field in ("times", "positions", "forces", "cell", "energy", "virial", "segment"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field), err_msg=field)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the file of a run that nothing interrupted."""
    return run_to(tmp_path_factory.mktemp("sampling") / "reference.h5")


def test_frames_carry_positions_forces_energy_cell_virial_and_times(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    assert trajectory.positions.shape == trajectory.forces.shape == (8, 100, 3)
    np.testing.assert_allclose(trajectory.times, 0.04 * np.arange(1, 9))
    np.testing.assert_array_equal(trajectory.segment, 0)
    assert trajectory.energy.shape == (8,)
    assert trajectory.virial.shape == (8, 3, 3)
    np.testing.assert_allclose(trajectory.volumes(), 20 * 16.043 / GAS_STATE.density, rtol=1e-5)
    assert len(np.unique(trajectory.positions[:, 0, 0])) == 8


def test_metadata_say_how_the_frames_were_made(uninterrupted):
    metadata = read_metadata(uninterrupted)
    assert metadata["platform"] == "Reference"
    assert metadata["ensemble"] == "NVT"
    assert metadata["n_constraints"] == 80
    assert metadata["ns_per_day"] > 0.0
    assert metadata["n_resumed"] == 0
    assert metadata["settings"]["cutoff"] == 0.7
    assert metadata["system"]["molecules"] == [{"name": "methane", "count": 20}]


def test_constrained_bonds_keep_their_length(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    i, j = trajectory.topology.constraints.T
    lengths = np.linalg.norm(trajectory.positions[:, i] - trajectory.positions[:, j], axis=-1)
    # 1e-5 relative: OpenMM's constraint tolerance; float32 of coordinates up to 10 nm adds 1e-6 nm
    np.testing.assert_allclose(lengths, 0.109, atol=4e-6)


def test_forces_are_minus_the_energy_gradient_without_constraint_forces(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    system = build_system(GAS, density=GAS_STATE.density, cutoff=SHORT.cutoff, seed=1).system
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)

    def energy(positions):
        context.setPositions(positions)
        return context.getState(energy=True).getPotentialEnergy()._value

    generator = np.random.default_rng(1)
    positions, forces = (array[-1].astype(float) for array in (trajectory.positions, trajectory.forces))
    assert energy(positions) == pytest.approx(trajectory.energy[-1], abs=1e-3)  # positions are stored in float32
    for _ in range(5):
        # along one C-H bond: a constraint force would add some 1000 kJ/mol/nm
        carbon, hydrogen = trajectory.topology.constraints[generator.integers(80)]
        step = np.zeros_like(positions)
        step[hydrogen] = 1e-4 * (positions[hydrogen] - positions[carbon]) / 0.109
        slope = (energy(positions + step) - energy(positions - step)) / 2e-4
        assert slope == pytest.approx(-np.sum(forces * step) / 1e-4, rel=1e-3, abs=0.1)


def test_run_killed_between_checkpoints_resumes_bit_equal_on_the_reference_platform(uninterrupted, tmp_path):
    path = tmp_path / "reference.h5"
    for time in (0.04, 0.2, 0.32):  # in the equilibration, between two checkpoints, at a checkpoint
        with pytest.raises(KilledError):
            run_to(path, progress=kill_at(time))
        assert not path.exists()
    run_to(path)
    assert_equal_frames(path, uninterrupted)
    assert read_metadata(path)["n_resumed"] == 2
    assert read_metadata(path)["n_resumed_from_positions"] == 0


def test_resumed_run_repeats_nothing_that_was_saved(tmp_path):
    path = tmp_path / "reference.h5"
    with pytest.raises(KilledError):
        run_to(path, progress=kill_at(0.28))
    seen = []
    run_to(path, progress=lambda done, total, note="": seen.append(done))
    np.testing.assert_allclose(seen, [0.28, 0.32, 0.36, 0.40])


def test_run_ended_by_sigkill_resumes_bit_equal(uninterrupted, tmp_path):
    path = tmp_path / "reference.h5"
    script = f"""
import os, signal
from pathlib import Path
from beadsmith.sampling.run import *
from beadsmith.sampling.systems import *

def progress(done, total, note=""):
    if done > 0.21:
        os.kill(os.getpid(), signal.SIGKILL)

sample({SHORT!r}, {GAS!r}, {GAS_STATE!r}, Path({str(path)!r}), seed=1, identity="test", progress=progress)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    run_to(path)
    assert_equal_frames(path, uninterrupted)


def test_isobaric_run_resumes_bit_equal_on_the_reference_platform(tmp_path):
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    run_to(whole, state=ISOBARIC)
    with pytest.raises(KilledError):
        run_to(broken, state=ISOBARIC, progress=kill_at(0.2))
    run_to(broken, state=ISOBARIC)
    assert_equal_frames(broken, whole)
    assert len(np.unique(read_trajectory(whole).volumes())) > 1
    assert read_metadata(whole)["ensemble"] == "NPT"


def test_run_on_one_thread_of_the_cpu_platform_resumes_bit_equal(tmp_path):
    settings = replace(SHORT, platform="CPU")
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    run_to(whole, settings=settings)
    with pytest.raises(KilledError):
        run_to(broken, settings=settings, progress=kill_at(0.2))
    run_to(broken, settings=settings)
    assert_equal_frames(broken, whole)


def test_checkpoint_of_another_engine_goes_on_from_positions_and_says_so(tmp_path):
    path = tmp_path / "reference.h5"
    with pytest.raises(KilledError):
        run_to(path, progress=kill_at(0.2))
    run_to(path, settings=replace(SHORT, platform="CPU"))
    trajectory = read_trajectory(path)
    np.testing.assert_allclose(trajectory.times, 0.04 * np.arange(1, 9))
    # no molecule jumps: 0.04 ps at a thermal speed of a light atom (1.6 nm/ps) is 0.06 nm
    steps = np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=-1)
    assert steps.max() < 0.4
    metadata = read_metadata(path)
    assert metadata["n_resumed_from_positions"] == metadata["n_resumed"] == 1


def test_damaged_checkpoint_goes_on_from_positions(tmp_path):
    path = tmp_path / "reference.h5"
    with pytest.raises(KilledError):
        run_to(path, progress=kill_at(0.2))
    last = sorted((tmp_path / "reference.h5.parts").glob("part-*.h5"))[-1]
    with h5py.File(last, "a") as file:
        del file["state/checkpoint_0"]
        file["state/checkpoint_0"] = np.zeros(10, dtype=np.uint8)
    run_to(path)
    assert read_metadata(path)["n_resumed_from_positions"] == 1


def test_other_seed_gives_other_frames(uninterrupted, tmp_path):
    other = read_trajectory(run_to(tmp_path / "reference.h5", seed=2))
    assert not np.allclose(other.positions, read_trajectory(uninterrupted).positions)


def test_progress_counts_picoseconds_and_notes_the_speed(tmp_path):
    calls = []
    run_to(tmp_path / "reference.h5", progress=lambda *call: calls.append(call))
    assert [round(done, 6) for done, _, _ in calls] == [round(0.04 * n, 6) for n in range(1, 11)]
    assert all(total == pytest.approx(0.4) for _, total, _ in calls)
    assert calls[0][2].endswith("ns/day, equilibration")
    assert calls[-1][2].endswith("ns/day")


def test_open_cluster_is_sampled_without_a_cell(tmp_path):
    system = SystemSettings(molecules=(MoleculeCount(name="methanol", count=2),))
    path = run_to(tmp_path / "reference.h5", system=system, state=StatePoint(temperature=200.0))
    trajectory = read_trajectory(path)
    assert trajectory.cell is None
    np.testing.assert_allclose(trajectory.virial, np.transpose(trajectory.virial, (0, 2, 1)))


def test_single_methane_has_the_energy_of_its_free_vibrations(tmp_path):
    # 15 coordinates, 4 constraints, 6 rigid motions: 5 harmonic bending modes, <U> = 5 kT/2 above the minimum
    system = SystemSettings(molecules=(MoleculeCount(name="methane", count=1),))
    settings = SamplingSettings(
        equilibration=2.0, duration=100.0, save_interval=0.4, checkpoint_interval=100.0, friction=5.0
    )
    path = run_to(tmp_path / "reference.h5", system=system, state=StatePoint(temperature=300.0), settings=settings)
    energy = read_trajectory(path).energy
    _, error = block_mean_and_error(energy, n_blocks=20)
    # minimum: the six angles of 107.8 degrees cannot all be met, 109.47 degrees costs 0.705 kJ/mol
    expected = 0.7048 + 2.5 * thermal_energy(300.0)
    assert error < 0.35
    # 3.5 standard errors, plus 1 % for anharmonicity of 10-degree bends
    assert abs(energy.mean() - expected) < 3.5 * error + 0.06


def test_run_that_diverges_names_the_step_and_the_remedy(tmp_path, monkeypatch):
    def explode(*arguments):
        raise openmm.OpenMMException("Particle coordinate is NaN.")

    monkeypatch.setattr("beadsmith.sampling.replicas.take_snapshot", explode)
    with pytest.raises(PhysicsError, match=r"diverged before step 20.*shorter timestep") as caught:
        run_to(tmp_path / "reference.h5")
    assert caught.value.exit_code == 3


def test_box_that_shrinks_below_twice_the_cutoff_is_reported_with_advice(tmp_path):
    system = SystemSettings(molecules=(MoleculeCount(name="methane", count=20),))
    state = StatePoint(temperature=150.0, pressure=20000.0 * BAR)
    settings = replace(SHORT, duration=20.0, save_interval=0.08)
    with pytest.raises(PhysicsError, match=r"box shrank below twice the cutoff of 0\.7 nm.*more molecules"):
        run_to(tmp_path / "reference.h5", system=system, state=state, settings=settings)


def test_density_and_pressure_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="either a density or a pressure"):
        run_to(tmp_path / "reference.h5", state=replace(GAS_STATE, pressure=BAR))


BAD_SETTINGS = {
    "negative timestep": ({"timestep": -0.001}, "timestep is -0.001, expected > 0"),
    "zero duration": ({"duration": 0.0}, "duration is 0.0, expected > 0"),
    "not a number": ({"friction": float("nan")}, "friction is nan"),
    "negative equilibration": ({"equilibration": -1.0}, "equilibration is -1.0 ps"),
    "long timestep": ({"timestep": 0.006, "save_interval": 0.6}, "stable up to 5 fs"),
    "true hydrogens at 4 fs": ({"hydrogen_mass": None}, r"stable up to 2\.5 fs.*hydrogen_mass: 3 u"),
    "hydrogens lighter than they are": ({"hydrogen_mass": 0.5}, "hydrogen_mass is 0.5 u"),
    "save between steps": ({"save_interval": 0.2021}, "not a multiple of timestep .*nearest that fits is 0.204 ps"),
    "duration between frames": ({"duration": 100.1}, "duration is 100.1 ps, not a multiple of save_interval"),
    "duration below one frame": ({"duration": 0.05}, "nearest that fits is 0.2 ps"),
    "checkpoints between frames": ({"checkpoint_interval": 0.5}, "not a multiple of save_interval"),
    "no threads": ({"threads": 0}, "threads is 0, expected at least 1"),
    "loose Ewald sum": ({"ewald_tolerance": 0.5}, "ewald_tolerance is 0.5"),
    "no cutoff": ({"cutoff": 0.0}, "cutoff is 0.0, expected > 0"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused_with_field_and_remedy(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        SamplingSettings(**changes)
    assert caught.value.exit_code == 2
