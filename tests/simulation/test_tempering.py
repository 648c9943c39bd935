"""Parallel tempering: ladders, exchanges, bookkeeping, files, restart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.io.h5md import read_trajectory
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.simulation import run as module
from beadsmith.simulation.captured import CapturedLangevin
from beadsmith.simulation.run import build_integrator, simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.state import init_state, keep_replicas
from beadsmith.simulation.tempering import (
    TemperingSettings,
    exchange_temperatures,
    find_ladder,
    set_temperatures,
    start_ladders,
    summarise_exchanges,
)
from example_force_fields import SoftPair, Well, make_force_field, make_frames, make_liquid

SETTINGS = SimulationSettings(
    timestep=0.005,
    equilibration=0.05,
    duration=0.4,
    save_interval=0.02,
    replicas=6,
    tempering=TemperingSettings(temperatures=(250.0, 300.0, 360.0), interval=0.01),
    checkpoint_interval=0.0,
)

WELL = make_force_field(Well(harmonic=50.0)).double()


def run(path, settings=SETTINGS, *, term=None, **options):
    force_field = make_force_field(SoftPair() if term is None else term)
    start = make_liquid(n_side=2, spacing=0.5, n_frames=6)
    return simulate(force_field, start, settings, path, temperature=300.0, seed=4, identity="test", **options)


def ladders_of(n_rungs=4, n_ladders=3, harmonic=0.0):
    """Return a state on ladders from 300 K; without a well all energies are equal and every exchange is accepted."""
    temperatures = find_ladder(TemperingSettings(highest=600.0, count=n_rungs), 300.0)
    exchanges = start_ladders(temperatures, n_rungs * n_ladders)
    frames = make_frames(np.random.default_rng(0).normal(size=(n_rungs * n_ladders, 5, 3)))
    state = init_state(
        make_force_field(Well(harmonic=harmonic)).double(), frames, cutoff=0.0, skin=1.0, max_displacement=1.0, seed=1,
        dtype=torch.float64,
    )  # fmt: skip
    return set_temperatures(state, temperatures[exchanges.rung]), exchanges


def test_a_geometric_ladder_has_equal_ratios_and_begins_at_the_runs_own_temperature():
    ladder = find_ladder(TemperingSettings(highest=600.0, count=4), 300.0)
    np.testing.assert_allclose(ladder, 300.0 * 2.0 ** (np.arange(4) / 3.0))


def test_every_ladder_always_holds_every_temperature_once():
    state, exchanges = ladders_of(harmonic=50.0)
    for attempt in range(20):
        state, exchanges = exchange_temperatures(state, exchanges, WELL, attempt=attempt)
        np.testing.assert_array_equal(np.sort(exchanges.rung.reshape(3, 4), axis=1), np.tile(np.arange(4), (3, 1)))
        np.testing.assert_array_equal(state.temperature.numpy(), exchanges.temperatures[exchanges.rung])
        assert sorted(exchanges.segments) == list(range(12))
    assert 0 < exchanges.acceptances.sum() < exchanges.attempts.sum()


def test_velocities_scale_with_the_root_of_the_temperature():
    state, exchanges = ladders_of()
    moved, _ = exchange_temperatures(state, exchanges, WELL, attempt=0)
    before, after = ((s.velocities**2).sum(dim=(1, 2)) / s.temperature for s in (state, moved))
    torch.testing.assert_close(after, before, rtol=1e-12, atol=0.0)
    assert not torch.equal(moved.temperature, state.temperature)


def test_with_equal_energies_replicas_walk_straight_up_and_down():
    # even and odd pairs in turn: a replica moves at every attempt but one at each end, so a round trip takes 2 n
    state, exchanges = ladders_of(n_rungs=4, n_ladders=2)
    for attempt in range(16 + 8):
        state, exchanges = exchange_temperatures(state, exchanges, WELL, attempt=attempt)
    summary = summarise_exchanges(exchanges)
    assert summary["acceptance"] == [1.0, 1.0, 1.0]
    assert summary["attempts"] == [24, 24, 24]
    # three periods: those that first have to reach the bottom, or start upwards from its middle, miss one
    assert set(summary["round_trips_of_replicas"]) == {2, 3}
    assert exchanges.rung.tolist() == start_ladders(exchanges.temperatures, 8).rung.tolist()


def test_the_colder_rung_always_takes_the_lower_energy():
    state, exchanges = ladders_of(n_rungs=2, n_ladders=50, harmonic=50.0)
    _, after = exchange_temperatures(state, exchanges, WELL, attempt=0)
    cold, hot = state.energy.numpy()[0::2], state.energy.numpy()[1::2]
    is_exchanged = after.rung[0::2] == 1
    assert is_exchanged[cold > hot].all()
    assert not is_exchanged[cold < hot].all()


def test_rungs_without_a_replica_take_no_part():
    state, exchanges = ladders_of(n_rungs=4, n_ladders=1)
    left = keep_replicas(state, torch.tensor([True, False, True, True]))
    for attempt in range(6):
        left, exchanges = exchange_temperatures(left, exchanges, WELL, attempt=attempt)
    assert exchanges.rung[:2].tolist() == [0, 1]
    assert sorted(exchanges.rung[2:]) == [2, 3]
    assert exchanges.attempts.tolist() == [0, 0, 3]
    assert summarise_exchanges(exchanges)["acceptance"] == [None, None, 1.0]


def test_an_energy_that_is_not_a_number_is_never_exchanged():
    state, exchanges = ladders_of(n_rungs=2, n_ladders=1)
    broken = replace(state, energy=torch.tensor([torch.nan, 0.0], dtype=torch.float64))
    assert exchange_temperatures(broken, exchanges, WELL, attempt=0)[1].rung.tolist() == [0, 1]


def test_every_temperature_has_a_file_and_the_output_is_the_runs_own(tmp_path):
    summary = run(tmp_path / "s.h5")
    assert summary["tempering"]["files"] == ["s-250K.h5", "s.h5", "s-360K.h5"]
    assert summary["n_frames"] == 40
    for name, temperature in zip(summary["tempering"]["files"], (250.0, 300.0, 360.0), strict=True):
        frames = read_trajectory(tmp_path / name)
        assert frames.state_point.temperature == temperature
        assert frames.segment.tolist() == [0] * 20 + [1] * 20
        np.testing.assert_allclose(frames.times[:20], 0.02 * np.arange(1, 21), rtol=1e-12)
    assert summary["kinetic_temperature"] == summary["tempering"]["kinetic_temperature"][1]
    assert not (tmp_path / "s.h5.parts").exists()
    assert run(tmp_path / "s.h5")["tempering"] == summary["tempering"]


@pytest.mark.parametrize("integrator", ["langevin", "brownian"])
def test_a_run_killed_at_any_checkpoint_ends_with_the_same_bits(tmp_path, integrator):
    settings = replace(SETTINGS, integrator=integrator, friction=100.0)
    reference = run(tmp_path / "a.h5", settings)

    def kill_after(n_calls):
        calls = iter(range(n_calls))

        def progress(done, total, note=""):
            if next(calls, None) is None:
                raise KeyboardInterrupt

        return progress

    interruptions = 0
    while True:
        try:
            resumed = run(tmp_path / "b.h5", settings, progress=kill_after(1 + interruptions))
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions >= 3
    assert reference["tempering"]["acceptance"] == resumed["tempering"]["acceptance"]
    assert reference["tempering"]["round_trips_of_replicas"] == resumed["tempering"]["round_trips_of_replicas"]
    for suffix in ("", "-250K", "-360K"):
        a, b = (read_trajectory(tmp_path / f"{name}{suffix}.h5") for name in "ab")
        for field in ("positions", "energy", "times", "segment"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


@pytest.mark.filterwarnings("error")
def test_captured_steps_exchange_like_ordinary_ones(tmp_path, monkeypatch):
    walls = ExponentialRepulsion(
        ("bead",), joining_distances=(0.3,), joining_forces=(60.0,), decays=(40.0,), cutoff=0.6
    )
    expected = run(tmp_path / "plain.h5", term=walls)

    def build(settings):
        return CapturedLangevin(
            build_integrator(settings), first_frame=10, stride=2, n_replicas=settings.replicas, noise="host"
        )

    monkeypatch.setattr(module, "build_integrator", build)
    found = run(tmp_path / "captured.h5", term=walls)
    assert found["tempering"]["acceptance"] == expected["tempering"]["acceptance"]
    for suffix in ("", "-250K", "-360K"):
        a, b = (read_trajectory(tmp_path / f"{name}{suffix}.h5") for name in ("plain", "captured"))
        # rounding of float32 forces, 1e-6 of them, over 90 steps
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "takes either a list"),
        ({"temperatures": (300.0, 400.0), "highest": 500.0, "count": 3}, "takes either a list"),
        ({"temperatures": (300.0, 400.0), "highest": 500.0}, "takes either a list"),
        ({"highest": 400.0}, "takes either a list"),
        ({"temperatures": (300.0,)}, "has 1 temperatures, expected at least 2"),
        ({"highest": 400.0, "count": 1}, "has 1 temperatures, expected at least 2"),
        ({"temperatures": (400.0, 300.0)}, "expected rising values"),
        ({"temperatures": (300.0, 300.0)}, "expected rising values"),
        ({"temperatures": (-300.0, 300.0)}, "expected rising values"),
        ({"temperatures": (300.0, 400.0), "interval": 0.0}, "'tempering.interval'"),
    ],
)
def test_ladders_that_are_none_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TemperingSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TemperingSettings(temperatures=(310.0, 400.0)), "300 K, is not in 'tempering.temperatures'"),
        (TemperingSettings(highest=290.0, count=3), "expected more than the run's own 300 K"),
    ],
)
def test_a_ladder_without_the_runs_own_temperature_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        find_ladder(settings, 300.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"integrator": "verlet"}, "needs a heat bath"),
        ({"replicas": 7}, "expected a multiple of the 3 temperatures"),
        ({"tempering": replace(SETTINGS.tempering, interval=0.012)}, "'tempering.interval' is 2.4 timesteps"),
    ],
)
def test_settings_that_cannot_carry_ladders_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **change)
