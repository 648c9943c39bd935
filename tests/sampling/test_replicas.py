"""Several replicas in one run: seeds, temperatures, segments, order, and that a kill loses and repeats nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import openmm
import pytest

from beadsmith.errors import BeadsmithError, InputError, PhysicsError
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.mapping.apply import map_reference
from beadsmith.mapping.settings import MappingSettings
from beadsmith.sampling.crew import _start_worker, hire_crew
from beadsmith.sampling.engine import Platform
from beadsmith.sampling.messages import send
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.replicas import Plan, Task
from beadsmith.sampling.run import sample
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.systems import MoleculeCount, SystemSettings
from beadsmith.sampling.worker import encode_plan, encode_task
from beadsmith.statistics import block_mean_and_error
from beadsmith.trajectory import StatePoint
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE, thermal_energy

ALANINE = PeptideSettings(sequence="ACE-ALA-NME")
STATE = StatePoint(temperature=300.0)
SHORT = SamplingSettings(
    equilibration=0.4,
    duration=2.0,
    save_interval=0.1,
    checkpoint_interval=0.5,
    replicas=2,
    temperatures=(350.0, 300.0),
    platform="Reference",
)
N_FRAMES = 20


class KilledError(Exception):
    """Stands for a kill."""


def kill_at(time):
    def progress(done, total, note=""):
        if done >= time:
            raise KilledError

    return progress


def run_to(path, *, settings=SHORT, system=ALANINE, state=STATE, seed=1, **options):
    sample(settings, system, state, path, seed=seed, identity="test", **options)
    return path


def assert_equal_frames(first, second):
    one, two = read_trajectory(first), read_trajectory(second)
    for field in ("times", "positions", "forces", "energy", "segment", "temperature"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field), err_msg=field)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run_to(tmp_path_factory.mktemp("replicas") / "reference.h5")


def test_replicas_are_segments_with_their_temperature_those_of_the_state_first(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    assert trajectory.n_frames == 4 * N_FRAMES
    np.testing.assert_array_equal(trajectory.segment, np.repeat([0, 1, 2, 3], N_FRAMES))
    np.testing.assert_array_equal(trajectory.temperature, np.repeat([300.0, 300.0, 350.0, 350.0], N_FRAMES))
    np.testing.assert_allclose(trajectory.times, np.tile(0.1 * np.arange(1, N_FRAMES + 1), 4))
    assert trajectory.state_point == STATE


def test_no_two_replicas_share_their_random_numbers(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    energies = trajectory.energy.reshape(4, N_FRAMES)
    assert len(np.unique(energies)) == energies.size
    for replica in range(1, 4):
        # independent series of 20 numbers
        assert abs(np.corrcoef(energies[0], energies[replica])[0, 1]) < 0.95


def test_replicas_from_one_structure_part_by_their_random_forces(tmp_path):
    extended = replace(ALANINE, start="extended")
    settings = replace(SHORT, temperatures=(), equilibration=0.0)
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", system=extended, settings=settings))
    first, second = trajectory.positions.reshape(2, N_FRAMES, 22, 3)
    assert np.abs(first[0] - second[0]).max() > 1e-3
    assert trajectory.temperature is None


def test_a_molecule_without_a_box_is_open_and_centred(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    assert trajectory.cell is None
    assert trajectory.virial is None
    centres = np.einsum("s,fsx->fx", trajectory.topology.masses, trajectory.positions)
    np.testing.assert_allclose(centres / trajectory.topology.total_mass, 0.0, atol=1e-6)


def test_forces_are_those_of_the_saved_positions_and_sum_to_zero(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    system = build_peptide(ALANINE, n_starts=1, seed=1).atoms.system
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    for frame in (0, N_FRAMES, -1):
        context.setPositions(trajectory.positions[frame].astype(float))
        state = context.getState(energy=True, forces=True)
        assert state.getPotentialEnergy()._value == pytest.approx(trajectory.energy[frame], abs=1e-2)
        # positions are stored in float32: 3e-8 nm on bonds of 3e5 kJ/mol/nm^2
        np.testing.assert_allclose(state.getForces(asNumpy=True)._value, trajectory.forces[frame], atol=0.1)
    # in implicit solvent nothing outside pulls
    np.testing.assert_allclose(trajectory.forces.astype(float).sum(axis=1), 0.0, atol=0.02)


def test_bonds_to_hydrogen_keep_their_length(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    i, j = trajectory.topology.constraints.T
    lengths = np.linalg.norm(trajectory.positions[:, i] - trajectory.positions[:, j], axis=-1)
    assert len(i) == 12
    # 1e-5 relative: OpenMM's constraint tolerance
    assert np.ptp(lengths, axis=0).max() < 5e-6


def test_metadata_name_the_replicas_and_the_force_field(uninterrupted):
    with open_trajectory(uninterrupted) as stored:
        metadata = stored.metadata
    assert metadata["n_replicas"] == 4
    assert metadata["temperatures"] == [300.0, 300.0, 350.0, 350.0]
    assert metadata["force_field"] == "ff14SB, obc2"
    assert metadata["system"]["sequence"] == "ACE-ALA-NME"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_killed_at_any_time_resumes_bit_equal(uninterrupted, tmp_path, threads, monkeypatch):
    monkeypatch.setattr("beadsmith.sampling.crew._REPORT_INTERVAL", 0.001)
    settings = replace(SHORT, threads=threads)
    path = tmp_path / "reference.h5"
    for time in (0.1, 4.1, 6.5):  # of 4 x 2.4 ps: in the equilibration, and between checkpoints
        with pytest.raises(KilledError):
            run_to(path, settings=settings, progress=kill_at(time))
        assert not path.exists()
    run_to(path, settings=settings)
    assert_equal_frames(path, uninterrupted)


def test_a_run_ended_by_sigkill_loses_and_repeats_no_frame(uninterrupted, tmp_path):
    path = tmp_path / "reference.h5"
    script = f"""
import os, signal
from pathlib import Path
from beadsmith.sampling.run import *

def progress(done, total, note=""):
    if done > 5.0:
        os.kill(os.getpid(), signal.SIGKILL)

sample({SHORT!r}, {ALANINE!r}, {STATE!r}, Path({str(path)!r}), seed=1, identity="test", progress=progress)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(list((tmp_path / "reference.h5.parts").glob("part-*.h5"))) > 0
    run_to(path)
    assert_equal_frames(path, uninterrupted)


def test_a_longer_checkpoint_interval_changes_no_frame_on_the_reference_platform(uninterrupted, tmp_path):
    path = run_to(tmp_path / "reference.h5", settings=replace(SHORT, checkpoint_interval=None))
    assert_equal_frames(path, uninterrupted)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_failing_replica_ends_the_stretch_and_is_named(n_workers):
    built = build_peptide(ALANINE, n_starts=1, seed=1)
    plan = make_plan(built)
    tasks = [make_task(number, start=built.positions[0]) for number in range(3)]
    broken = {"engine": np.zeros(1, dtype=np.uint8), "positions": built.positions[0], "cell": np.eye(3)}
    broken["velocities"] = np.full((22, 3), np.nan)
    tasks[1] = replace(tasks[1], start=None, state=broken)
    with hire_crew(plan, n_workers) as crew, pytest.raises(PhysicsError, match=r"before step 25.*replica 1, 300 K"):
        crew.advance(tasks, lambda n_done: None)


def make_plan(built):
    return Plan(
        settings=SHORT,
        system=built.atoms.system,
        topology=built.atoms.topology,
        platform=Platform(name="Reference", threads=1),
        pressure=None,
        is_liquid=False,
    )


def make_task(number, *, start, last=4):
    return Task(number=number, temperature=300.0, seed=number + 1, first=1, last=last, start=start, state=None)


def test_a_lost_worker_is_reported_with_what_to_do():
    built = build_peptide(ALANINE, n_starts=1, seed=1)
    with hire_crew(make_plan(built), 2) as crew:
        crew._workers[1].kill()
        crew._workers[1].wait()
        tasks = [make_task(number, start=built.positions[0]) for number in range(2)]
        with pytest.raises(BeadsmithError, match=r"samples replica 1 ended.*Repeat the command"):
            crew.advance(tasks, lambda n_done: None)


def test_a_worker_ends_when_its_run_is_gone():
    built = build_peptide(ALANINE, n_starts=1, seed=1)
    worker = _start_worker()
    send(worker.stdin, encode_plan(make_plan(built)))
    send(worker.stdin, *encode_task(make_task(0, start=built.positions[0], last=100_000_000)))
    # a run that is killed takes both ends of the pipes with it, in the middle of a stretch of hours
    worker.stdin.close()
    worker.stdout.close()
    assert worker.wait(timeout=60) == 1


def test_a_worker_without_work_ends():
    worker = _start_worker()
    worker.stdin.close()
    assert worker.wait(timeout=60) == 0
    worker.stdout.close()


def test_progress_counts_all_replicas_and_ends_at_the_total(tmp_path):
    calls = []
    run_to(tmp_path / "reference.h5", progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(9.6)
    assert all(call[1] == pytest.approx(9.6) for call in calls)


def test_replicas_have_the_temperature_they_are_named_after(tmp_path):
    # vacuum: the mean potential energy of 22 atoms with 12 constraints grows by about 3N-6-12 = 48 halves of k per K
    settings = SamplingSettings(
        equilibration=5.0,
        duration=200.0,
        save_interval=0.2,
        friction=5.0,
        temperatures=(300.0, 400.0),
        platform="Reference",
    )
    system = replace(ALANINE, solvent="vacuum", start="extended")
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", system=system, settings=settings))
    energies = trajectory.energy.reshape(2, -1)
    means, errors = zip(*(block_mean_and_error(values, n_blocks=10) for values in energies), strict=True)
    harmonic = 24.0 * (thermal_energy(400.0) - thermal_energy(300.0))
    error = float(np.hypot(*errors))
    assert error < 2.0
    # torsions and hydrogen bonds are no oscillators: 15 % beside three standard errors
    assert abs(means[1] - means[0] - harmonic) < 3.0 * error + 0.15 * harmonic


def test_only_frames_at_the_temperature_of_the_state_are_mapped(uninterrupted, tmp_path):
    summary = map_reference(uninterrupted, tmp_path / "mapped.h5", MappingSettings(beads="backbone_cb"), identity="x")
    mapped, atoms = read_trajectory(tmp_path / "mapped.h5"), read_trajectory(uninterrupted)
    assert summary["n_frames_at_other_temperatures"] == {"350 K": 2 * N_FRAMES}
    assert (mapped.n_frames, mapped.n_sites) == (2 * N_FRAMES, 6)
    np.testing.assert_array_equal(mapped.segment, atoms.segment[: 2 * N_FRAMES])
    carbon = atoms.topology.names.index("CA")
    alpha = mapped.topology.names.index("CA")
    np.testing.assert_allclose(mapped.positions[:, alpha], atoms.positions[: 2 * N_FRAMES, carbon], atol=1e-6)
    assert mapped.temperature is None


def test_temperatures_without_that_of_the_state_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"temperatures are 350, 300 K, without the 310 K of the state"):
        run_to(tmp_path / "reference.h5", state=StatePoint(temperature=310.0))


@pytest.mark.parametrize(
    ("system", "state", "message"),
    [
        (ALANINE, {"density": 100.0}, "density is given, but a peptide with solvent obc2 has no box"),
        (ALANINE, {"pressure": 0.06}, "pressure is given, but a peptide with solvent obc2 has no box"),
        (replace(ALANINE, solvent="tip3p"), {"density": 100.0}, "box of a peptide follows from its 'padding'"),
    ],
)
def test_a_state_that_a_peptide_cannot_have_is_refused(tmp_path, system, state, message):
    with pytest.raises(InputError, match=message):
        run_to(tmp_path / "reference.h5", system=system, state=replace(STATE, **state))


def test_a_long_timestep_without_constraints_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"timestep is 4 fs, but without constraints .* up to 2 fs"):
        run_to(tmp_path / "reference.h5", system=replace(ALANINE, constraints="none"))


def test_a_peptide_in_water_is_saved_alone_without_a_cell(tmp_path):
    system = replace(ALANINE, solvent="tip3p", padding=0.8)
    settings = SamplingSettings(
        equilibration=0.04, duration=0.2, save_interval=0.04, cutoff=0.7, replicas=2, platform="CPU", threads=1
    )
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", system=system, settings=settings))
    assert trajectory.positions.shape == trajectory.forces.shape == (10, 22, 3)
    assert trajectory.cell is None
    # the water pulls
    assert np.abs(trajectory.forces.sum(axis=1)).max() > 10.0


def test_a_peptide_in_water_at_constant_pressure_has_a_box_that_breathes(tmp_path):
    system = replace(ALANINE, solvent="tip3p", padding=0.8, save="all")
    settings = SamplingSettings(
        equilibration=0.2, duration=0.4, save_interval=0.04, cutoff=0.7, barostat_interval=0.008, threads=1
    )
    state = replace(STATE, pressure=0.06)
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", system=system, settings=settings, state=state))
    assert trajectory.n_sites > 300
    assert len(np.unique(trajectory.volumes())) > 1


def test_liquids_have_replicas_with_boxes_of_their_own(tmp_path):
    system = SystemSettings(molecules=(MoleculeCount(name="methane", count=20),))
    settings = SamplingSettings(
        timestep=0.002, equilibration=0.0, duration=0.08, save_interval=0.04, cutoff=0.7, platform="Reference",
        replicas=2,
    )  # fmt: skip
    state = replace(STATE, density=0.15 * GRAM_PER_CUBIC_CENTIMETRE)
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", system=system, settings=settings, state=state))
    np.testing.assert_array_equal(trajectory.segment, [0, 0, 1, 1])
    assert trajectory.virial.shape == (4, 3, 3)
    assert np.abs(trajectory.positions[0] - trajectory.positions[2]).max() > 0.1
    alone = read_trajectory(
        run_to(tmp_path / "alone.h5", system=system, settings=replace(settings, replicas=1), state=state)
    )
    np.testing.assert_array_equal(trajectory.positions[:2], alone.positions)


@pytest.mark.parametrize(
    ("n_atoms", "options", "expected"),
    [(1536, {}, 25), (22, {}, 1136), (1000, {"save_interval": 10.0}, 1), (22, {"checkpoint_interval": 2.0}, 10)],
)
def test_checkpoints_are_as_far_apart_as_the_size_wants(n_atoms, options, expected):
    assert SamplingSettings(**options).intervals_per_checkpoint(n_atoms) == expected
