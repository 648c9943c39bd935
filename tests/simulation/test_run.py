"""The verb `simulate`: what it saves, how it goes on after a kill, and how it stops a replica that blows up."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import CountStart
from beadsmith.units import GAS_CONSTANT
from example_force_fields import SoftPair, Trap, Well, make_force_field, make_frames, make_liquid

SHORT = SimulationSettings(timestep=0.005, equilibration=0.05, duration=0.2, save_interval=0.02, replicas=2, threads=1)


def run(path, *, force_field=None, start=None, settings=SHORT, seed=1, temperature=300.0, **options):
    force_field = make_force_field(SoftPair()) if force_field is None else force_field
    start = make_liquid(n_frames=4) if start is None else start
    options = {"identity": "test", **options}
    return simulate(force_field, start, settings, path, temperature=temperature, seed=seed, **options)


def assert_same_frames(a, b):
    for field in ("positions", "velocities", "energy", "virial", "times", "segment", "cell"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


def test_frames_are_saved_at_the_interval_one_segment_a_replica(tmp_path):
    summary = run(tmp_path / "s.h5")
    frames = read_trajectory(tmp_path / "s.h5")
    assert frames.segment.tolist() == [0] * 10 + [1] * 10
    np.testing.assert_allclose(frames.times[:10], 0.02 * np.arange(1, 11), rtol=1e-12)
    assert frames.state_point.temperature == 300.0
    assert summary["n_frames"] == 20
    assert summary["n_steps"] == 50
    assert not (tmp_path / "s.h5.parts").exists()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path):
    run(tmp_path / "a.h5")
    run(tmp_path / "b.h5")
    run(tmp_path / "c.h5", seed=2)
    first, second, third = (read_trajectory(tmp_path / f"{name}.h5") for name in "abc")
    assert_same_frames(first, second)
    assert not np.allclose(first.positions, third.positions)


def test_the_force_field_is_not_changed(tmp_path):
    force_field = make_force_field(SoftPair()).double()
    force_field.train()
    run(tmp_path / "s.h5", force_field=force_field)
    assert force_field.training


@pytest.mark.parametrize("integrator", ["langevin", "verlet", "brownian"])
def test_a_run_killed_at_any_checkpoint_ends_with_the_same_bits(tmp_path, integrator):
    settings = replace(SHORT, integrator=integrator, friction=100.0, checkpoint_interval=0.0)
    reference = run(tmp_path / "a.h5", settings=settings)

    class Killed(Exception):
        pass

    def kill_after(n_calls):
        calls = iter(range(n_calls))

        def progress(done, total, note=""):
            if next(calls, None) is None:
                raise Killed

        return progress

    interruptions = 0
    while True:
        try:
            # a different number of saves each time, in the equilibration first
            resumed = run(tmp_path / "b.h5", settings=settings, progress=kill_after(1 + interruptions))
            break
        except Killed:
            interruptions += 1
    assert interruptions >= 3
    frames = [read_trajectory(tmp_path / f"{name}.h5") for name in "ab"]
    for field in ("positions", "energy", "virial", "times", "segment"):
        np.testing.assert_array_equal(getattr(frames[0], field), getattr(frames[1], field), err_msg=field)
    reference.pop("speed")
    resumed.pop("speed")
    assert json.dumps(resumed) == json.dumps(reference)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_run import SHORT, run
from dataclasses import replace
run(Path(sys.argv[2]), settings=replace(SHORT, duration=float(sys.argv[3]), checkpoint_interval=0.0))
"""


def test_kill_minus_nine_loses_nothing_and_the_repeated_run_has_the_same_bits(tmp_path):
    duration = 30.0
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    command = [sys.executable, "-c", SCRIPT, str(tests), str(tmp_path / "killed.h5"), str(duration)]
    process = subprocess.Popen(command, env=environment)
    parts = tmp_path / "killed.h5.parts"
    deadline = time.monotonic() + 60.0
    while len(list(parts.glob("part-*.h5"))) < 6 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_saved = len(list(parts.glob("part-*.h5")))
    assert n_saved >= 6
    assert not (tmp_path / "killed.h5").exists()
    # a run is a function of its settings up to any frame, so a shorter one is enough to compare with
    short = replace(SHORT, duration=0.02 * (n_saved + 5))
    run(tmp_path / "killed.h5", settings=short)
    run(tmp_path / "whole.h5", settings=short)
    assert_same_frames(read_trajectory(tmp_path / "killed.h5"), read_trajectory(tmp_path / "whole.h5"))


def test_parts_of_another_identity_are_not_continued(tmp_path):
    def stop(done, total, note=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "s.h5", identity="old", seed=5, progress=stop)
    run(tmp_path / "s.h5", identity="new")
    run(tmp_path / "t.h5", identity="new")
    assert_same_frames(read_trajectory(tmp_path / "s.h5"), read_trajectory(tmp_path / "t.h5"))


def test_a_finished_file_of_the_same_identity_is_taken_as_it_is(tmp_path):
    first = run(tmp_path / "s.h5")
    written = (tmp_path / "s.h5").stat().st_mtime_ns
    again = run(tmp_path / "s.h5")
    assert (tmp_path / "s.h5").stat().st_mtime_ns == written
    assert again["closest_distance"] == first["closest_distance"]
    assert again["speed"]["steps_per_second"] is None


def blow_up_settings(n_replicas):
    return replace(SHORT, replicas=n_replicas, equilibration=0.0, duration=0.4)


def test_a_replica_that_blows_up_stops_alone_and_is_reported(tmp_path):
    # replica 1 starts beside an edge of infinite force, the others far from it
    liquid = make_liquid(n_frames=3)
    positions = liquid.positions.copy()
    positions[1, 0, 0] = 2.99
    positions[1, 0, 1] = 30.0
    open_start = replace(liquid, positions=positions, cell=None)
    force_field = make_force_field(SoftPair(), Trap(edge=3.0))
    settings = blow_up_settings(3)
    summary = run(tmp_path / "s.h5", force_field=force_field, start=open_start, settings=settings)
    frames = read_trajectory(tmp_path / "s.h5")
    counts = np.bincount(frames.segment)
    assert counts[0] == counts[2] == settings.n_frames
    assert counts[1] < settings.n_frames
    assert np.isfinite(frames.positions).all()
    (stopped,) = summary["stopped"]
    assert stopped["replica"] == 1
    assert "moved" in stopped["reason"]
    assert 0.2 < stopped["closest_distance"] < 0.4
    assert stopped["step"] >= counts[1] * settings.stride


def test_replicas_beside_one_that_blows_up_follow_the_same_bits_as_alone(tmp_path):
    liquid = make_liquid(n_frames=3)
    positions = liquid.positions.copy()
    positions[1, 0] = [2.99, 30.0, 0.0]
    force_field = make_force_field(SoftPair(), Trap(edge=3.0))
    doomed = replace(liquid, positions=positions, cell=None)
    settings = blow_up_settings(3)
    run(tmp_path / "a.h5", force_field=force_field, start=doomed, settings=settings)
    run(tmp_path / "b.h5", force_field=force_field, start=replace(liquid, cell=None), settings=settings)
    disturbed, quiet = (read_trajectory(tmp_path / f"{name}.h5") for name in "ab")
    assert np.bincount(disturbed.segment)[1] < settings.n_frames
    for replica in (0, 2):
        assert_same_frames(
            replace(disturbed.select(disturbed.segment == replica), cell=None),
            replace(quiet.select(quiet.segment == replica), cell=None),
        )


def test_a_run_with_a_stopped_replica_resumes_without_it(tmp_path):
    liquid = make_liquid(n_frames=3)
    positions = liquid.positions.copy()
    positions[1, 0] = [2.99, 30.0, 0.0]
    options = {
        "force_field": make_force_field(SoftPair(), Trap(edge=3.0)),
        "start": replace(liquid, positions=positions, cell=None),
        "settings": blow_up_settings(3),
    }
    whole = run(tmp_path / "a.h5", **options)

    def stop_late(done, total, note=""):
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.h5", progress=stop_late, **options)
    resumed = run(tmp_path / "b.h5", **options)
    assert resumed["stopped"] == whole["stopped"]
    first, second = (read_trajectory(tmp_path / f"{name}.h5") for name in "ab")
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.velocities, second.velocities)


def test_when_every_replica_blows_up_the_frames_are_kept_and_the_error_names_the_first(tmp_path):
    # down an inverted parabola: x grows as exp(t sqrt(k/m)), so every replica passes any speed limit within a few ps
    settings = replace(SHORT, equilibration=0.0, duration=20.0, max_temperature_ratio=1e9)
    with pytest.raises(PhysicsError, match=r"all 2 replicas stopped; the first was replica \d at step \d+: a bead"):
        run(
            tmp_path / "s.h5",
            force_field=make_force_field(Well(harmonic=-200.0)),
            start=make_frames(np.zeros((2, 3, 3))),
            settings=settings,
        )
    frames = read_trajectory(tmp_path / "s.h5")
    assert frames.n_frames > 0
    assert np.isfinite(frames.positions).all()


def test_an_overheated_replica_stops(tmp_path):
    settings = replace(SHORT, integrator="verlet", max_temperature_ratio=2.0, replicas=2, duration=2.0)
    # one replica starts high on a harmonic slope and turns its potential energy into heat
    positions = np.zeros((2, 20, 3))
    positions[0] = 0.6
    summary = run(
        tmp_path / "s.h5",
        force_field=make_force_field(Well(harmonic=100.0)),
        start=make_frames(positions),
        settings=settings,
    )
    (stopped,) = summary["stopped"]
    assert stopped["replica"] == 0
    assert "kinetic temperature" in stopped["reason"]


def test_a_start_with_overlapping_beads_and_infinite_force_is_refused(tmp_path):
    class Singular(SoftPair):
        def forward(self, batch, pairs):
            return super().forward(batch, pairs) / 0.0

    with pytest.raises(PhysicsError, match="force at the start is not finite"):
        run(tmp_path / "s.h5", force_field=make_force_field(Singular()))


def test_molecules_at_a_density_relax_and_run(tmp_path):
    start = CountStart(counts={"bead": 100}, density=20.0 * 100 / 4.0)
    summary = run(tmp_path / "s.h5", force_field=make_force_field(SoftPair(height=600.0)), start=start)
    frames = read_trajectory(tmp_path / "s.h5")
    np.testing.assert_allclose(frames.volumes(), 4.0, rtol=1e-5)
    assert summary["stopped"] == []


def test_saved_positions_are_continuous_across_the_boundary(tmp_path):
    settings = replace(SHORT, duration=2.0, save_interval=0.05, timestep=0.01)
    run(tmp_path / "s.h5", settings=settings, temperature=600.0)
    frames = read_trajectory(tmp_path / "s.h5").select(slice(0, settings.n_frames))
    steps = np.abs(np.diff(frames.positions, axis=0))
    assert steps.max() < 0.2
    length = frames.cell[0, 0, 0]
    assert (np.floor(frames.positions[-1] / length) != np.floor(frames.positions[0] / length)).any()


def test_brownian_frames_have_no_velocities(tmp_path):
    summary = run(tmp_path / "s.h5", settings=replace(SHORT, integrator="brownian", friction=100.0))
    assert read_trajectory(tmp_path / "s.h5").velocities is None
    assert np.isnan(summary["kinetic_temperature"]["mean"])


def test_the_summary_temperature_is_that_of_the_saved_velocities(tmp_path):
    summary = run(tmp_path / "s.h5", settings=replace(SHORT, duration=1.0))
    frames = read_trajectory(tmp_path / "s.h5")
    kinetic = (frames.topology.masses[:, None] * frames.velocities.astype(float) ** 2).sum((1, 2))
    measured = kinetic / (3 * frames.n_sites * GAS_CONSTANT)
    # half-step velocities ahead against the mean of ahead and behind: equal up to their fluctuation
    assert summary["kinetic_temperature"]["mean"] == pytest.approx(measured.mean(), rel=0.01)


def test_progress_ends_at_the_total(tmp_path):
    seen = []
    run(tmp_path / "s.h5", progress=lambda done, total, note="": seen.append((done, total, note)))
    assert seen[-1][0] == pytest.approx(seen[-1][1]) == pytest.approx(0.25)
    assert "ns/day" in seen[-1][2]


def test_the_summary_records_seed_and_start_frame_of_every_replica(tmp_path):
    summary = run(tmp_path / "s.h5", seed=5)
    assert (summary["seed"], summary["start_frames"]) == (5, [1, 3])
    with open_trajectory(tmp_path / "s.h5") as stored:
        assert stored.metadata["summary"]["start_frames"] == [1, 3]


def test_metadata_name_settings_and_seed_independent_facts(tmp_path):
    run(tmp_path / "s.h5")
    with open_trajectory(tmp_path / "s.h5") as stored:
        assert stored.metadata["settings"]["timestep"] == 0.005
        assert stored.metadata["identity"] == "test"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": -0.001}, "'timestep'"),
        ({"timestep": float("nan")}, "'timestep'"),
        ({"friction": 0.0}, "'friction'"),
        ({"replicas": 0}, "'replicas'"),
        ({"threads": 0}, "'threads'"),
        ({"skin": 0.0}, "'skin'"),
        ({"equilibration": -1.0}, "'equilibration'"),
        ({"duration": 0.01}, "'duration'"),
        ({"max_temperature_ratio": 1.0}, "'max_temperature_ratio'"),
        ({"save_interval": 0.0205}, "expected a whole number"),
    ],
)
def test_settings_that_make_no_run_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SHORT, **change)


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(InputError, match="device 'abacus'"):
        run(tmp_path / "s.h5", settings=replace(SHORT, device="abacus"))
