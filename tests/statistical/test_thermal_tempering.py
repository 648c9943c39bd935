"""Parallel tempering of a potential that depends on temperature, against quadrature; three standard errors, seeded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate

from beadsmith.force_field import ForceField
from beadsmith.io.h5md import read_trajectory
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.state import init_state
from beadsmith.simulation.tempering import (
    TemperingSettings,
    exchange_temperatures,
    find_ladder,
    set_temperatures,
    start_ladders,
)
from beadsmith.units import thermal_energy
from example_thermal import SETTINGS, make_dimers, make_spring_force_field, make_thermal_force_field

N_LADDERS = 120
LADDER = (300.0, 360.0, 430.0)
SPRINGS = {"stiffness": (600.0, 500.0), "lengths": (0.5, 0.3)}


def free_energy(distance, temperature):
    """Return W(r;T) of the dimer of springs: e0 + (1 - T/300 K) e1."""
    (k0, k1), (r0, r1) = SPRINGS["stiffness"], SPRINGS["lengths"]
    return 0.5 * k0 * (distance - r0) ** 2 + (1.0 - temperature / 300.0) * 0.5 * k1 * (distance - r1) ** 2


def average(power, temperature):
    """Return <r^power> with the density r² exp(-W(r;T)/kT)."""

    def weight(r):
        return r**2 * np.exp(-free_energy(r, temperature) / thermal_energy(temperature))

    norm = integrate.quad(weight, 0.0, 1.5, epsabs=1e-13)[0]
    return integrate.quad(lambda r: r**power * weight(r), 0.0, 1.5, epsabs=1e-13)[0] / norm


def assert_within_3_standard_errors(samples, expected):
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 3.0 * error, f"{samples.mean():.5g} ± {error:.2g}, expected {expected:.5g}"
    return error / abs(expected)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return summary and folder of one run of all ladders."""
    folder = tmp_path_factory.mktemp("thermal")
    settings = SimulationSettings(
        timestep=0.04, friction=5.0, equilibration=2.0, duration=16.0, save_interval=0.2,
        replicas=len(LADDER) * N_LADDERS, tempering=TemperingSettings(temperatures=LADDER, interval=0.2),
        max_temperature_ratio=100.0, max_displacement=10.0, precision="float64",
    )  # fmt: skip
    summary = simulate(
        make_spring_force_field(**SPRINGS), make_dimers(len(LADDER) * N_LADDERS), settings, folder / "s.h5",
        temperature=300.0, seed=5, identity="test",
    )  # fmt: skip
    return summary, folder, settings


def test_every_rung_has_the_distances_of_its_own_potential(run):
    # with the criterion of a potential that does not depend on temperature the means are wrong, see below
    summary, folder, settings = run
    assert min(summary["tempering"]["acceptance"]) > 0.3
    for name, temperature in zip(summary["tempering"]["files"], LADDER, strict=True):
        positions = read_trajectory(folder / name).positions.astype(float).reshape(N_LADDERS, settings.n_frames, 2, 3)
        distances = np.linalg.norm(positions[:, :, 1] - positions[:, :, 0], axis=-1)
        for power in (1, 2):
            precision = assert_within_3_standard_errors((distances**power).mean(axis=1), average(power, temperature))
            assert precision < 0.01


def test_energies_saved_beside_frames_are_those_of_their_temperature(run):
    summary, folder, _ = run
    for name, temperature in zip(summary["tempering"]["files"], LADDER, strict=True):
        frames = read_trajectory(folder / name)
        distances = np.linalg.norm(frames.positions[:, 1].astype(float) - frames.positions[:, 0], axis=1)
        np.testing.assert_allclose(frames.energy, free_energy(distances, temperature), atol=1e-4)


def test_acceptance_is_the_ratio_of_the_products_of_canonical_distributions():
    # replicas that stand still: over many attempts each pair is exchanged with the probability of detailed balance
    force_field, n = make_spring_force_field(**SPRINGS), 4000
    exchanges = start_ladders(find_ladder(TemperingSettings(temperatures=(300.0, 380.0)), 300.0), 2 * n)
    frames = make_dimers(2 * n)
    frames.positions[0::2, 1, 0], frames.positions[1::2, 1, 0] = 0.52, 0.62
    state = init_state(force_field, frames, cutoff=5.0, skin=1.0, max_displacement=1.0, seed=2, dtype=torch.float64)
    state = set_temperatures(state, exchanges.temperatures[exchanges.rung])
    state = replace(state, energy=torch.from_numpy(free_energy(np.tile([0.52, 0.62], n), np.tile([300.0, 380.0], n))))
    _, moved = exchange_temperatures(state, exchanges, force_field, attempt=0)
    exponent = (free_energy(0.52, 300.0) - free_energy(0.62, 300.0)) / thermal_energy(300.0)
    exponent += (free_energy(0.62, 380.0) - free_energy(0.52, 380.0)) / thermal_energy(380.0)
    expected = min(1.0, np.exp(exponent))
    assert 0.1 < expected < 0.9
    deviation = moved.acceptances[0] / n - expected
    assert abs(deviation) < 3.0 * np.sqrt(expected * (1.0 - expected) / n)


@pytest.mark.parametrize("kind", SETTINGS)
def test_replicas_that_move_have_the_forces_of_their_new_temperature(kind):
    force_field = make_thermal_force_field(kind=kind)
    exchanges = start_ladders(np.array([300.0, 301.0, 302.0, 303.0]), 8)
    state = init_state(
        force_field, make_dimers(8, distance=0.4), cutoff=0.6, skin=0.1, max_displacement=0.1, seed=2,
        dtype=torch.float64,
    )  # fmt: skip
    state = set_temperatures(state, exchanges.temperatures[exchanges.rung])
    moved, after = exchange_temperatures(state, exchanges, force_field, attempt=0)
    assert (after.rung != exchanges.rung).any()
    from beadsmith.simulation.state import compute_forces

    expected = compute_forces(moved, force_field)
    has_moved = torch.from_numpy(after.rung != exchanges.rung)
    torch.testing.assert_close(moved.forces[has_moved], expected.forces[has_moved], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(moved.energy[has_moved], expected.energy[has_moved], rtol=1e-10, atol=1e-10)


def test_a_run_at_one_temperature_uses_one_channel_and_gives_the_same_path(tmp_path, monkeypatch):
    from beadsmith.simulation import run as module

    settings = SimulationSettings(
        timestep=0.005, equilibration=0.05, duration=0.5, save_interval=0.1, precision="float64", max_displacement=1.0
    )
    force_field = make_thermal_force_field()

    def positions(name):
        simulate(force_field, make_dimers(1, distance=0.4), settings, tmp_path / name, temperature=350.0, seed=1,
                 identity="test")  # fmt: skip
        return read_trajectory(tmp_path / name)

    seen = []
    prepare = module.prepare_model

    def watch(model: ForceField, *rest):
        seen.append(model.network.n_channels)
        return prepare(model, *rest)

    monkeypatch.setattr(module, "prepare_model", watch)
    merged = positions("merged.h5")
    monkeypatch.setattr(module, "fix_temperature", lambda force_field, _: force_field)
    plain = positions("plain.h5")
    assert seen == [1, 2]
    np.testing.assert_allclose(merged.positions, plain.positions, atol=1e-6)
    np.testing.assert_allclose(merged.energy, plain.energy, rtol=1e-6)
