"""Parallel tempering against closed forms: populations, variances and acceptances, at every temperature of the ladder.

Ladders do not see each other, so each gives one independent time average: standard errors come from the spread over
ladders and need no correlation time. Three standard errors each, seeded.
"""

import numpy as np
import pytest
import torch
from scipy import integrate, special

from beadsmith.io.h5md import read_trajectory
from beadsmith.simulation.langevin import Langevin
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
from example_force_fields import DoubleWell, Well, make_force_field, make_frames

TEMPERATURE = 300.0
N_LADDERS = 200


def assert_within_3_standard_errors(samples, expected):
    """Hold the mean of independent samples against a number; return the relative standard error."""
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 3.0 * error, f"{samples.mean():.5g} ± {error:.2g}, expected {expected:.5g}"
    return error / abs(expected)


def average_in_double_well(function, temperature, well):
    """Return <f(x/b)> by quadrature."""

    def weight(x):
        return np.exp(-(well.barrier * (x**2 - 1.0) ** 2 + well.tilt * x) / thermal_energy(temperature))

    norm, value = (
        integrate.quad(lambda x, f=f: f(x) * weight(x), -3.0, 3.0, epsabs=1e-13, points=[-1.0, 0.0, 1.0], limit=200)[0]
        for f in (np.ones_like, function)
    )
    return value / norm


@pytest.mark.parametrize("integrator", ["langevin", "brownian"])
def test_wells_apart_by_ten_kT_have_the_boltzmann_populations_and_variances_at_every_temperature(tmp_path, integrator):
    well = DoubleWell()
    # the quarter of the ladders that starts on the upper side is wrong at every temperature
    x = np.where(np.arange(5 * N_LADDERS) % 4 == 0, well.half_distance, -well.half_distance)
    starts = make_frames(np.stack([x, 0.0 * x, 0.0 * x], axis=1)[:, None])
    settings = SimulationSettings(
        integrator=integrator,
        timestep=0.01,
        friction=10.0 if integrator == "langevin" else 50.0,
        equilibration=30.0,
        duration=50.0,
        save_interval=0.2,
        replicas=len(x),
        tempering=TemperingSettings(highest=1500.0, count=5, interval=0.1),
        max_temperature_ratio=100.0,
        max_displacement=10.0,
        precision="float64",
    )
    summary = simulate(
        make_force_field(well), starts, settings, tmp_path / "s.h5", temperature=TEMPERATURE, seed=11, identity="test"
    )
    ladder = summary["tempering"]
    assert ladder["temperatures"] == pytest.approx(300.0 * 5.0 ** (np.arange(5) / 4.0))
    for name, temperature in zip(ladder["files"], ladder["temperatures"], strict=True):
        frames = read_trajectory(tmp_path / name)
        assert frames.state_point.temperature == pytest.approx(temperature)
        positions = frames.positions[:, 0].reshape(N_LADDERS, settings.n_frames, 3).astype(float)
        reduced = positions[..., 0] / well.half_distance
        population = average_in_double_well(lambda x: (x > 0.0) * 1.0, temperature, well)
        assert_within_3_standard_errors((reduced > 0.0).mean(axis=1), population)
        second = average_in_double_well(np.square, temperature, well)
        assert_within_3_standard_errors((reduced**2).mean(axis=1), second)
        across = (positions[..., 1:] ** 2).mean(axis=(1, 2))
        precision = assert_within_3_standard_errors(across, thermal_energy(temperature) / well.stiffness)
        assert precision < 0.02
        # what is saved beside a frame belongs to it
        energy = well.barrier * (reduced**2 - 1.0) ** 2 + well.tilt * reduced
        energy += 0.5 * well.stiffness * (positions[..., 1:] ** 2).sum(axis=-1)
        np.testing.assert_allclose(energy.ravel(), frames.energy, atol=1e-3)


def test_acceptance_of_harmonic_ladders_is_the_closed_form():
    """Energies of d harmonic coordinates are gamma distributed, so <acceptance> = 2 I(T₁/(T₁ + T₂); d/2, d/2)."""
    n_sites, n_attempts = 10, 60
    temperatures = find_ladder(TemperingSettings(temperatures=(300.0, 380.0, 500.0)), 380.0)
    force_field = make_force_field(Well(harmonic=2000.0)).double()
    exchanges = start_ladders(temperatures, 3 * N_LADDERS)
    frames = make_frames(np.zeros((3 * N_LADDERS, n_sites, 3)))
    state = init_state(force_field, frames, cutoff=0.0, skin=1e6, max_displacement=1e6, seed=3, dtype=torch.float64)
    state = set_temperatures(state, temperatures[exchanges.rung])
    integrator = Langevin(timestep=0.05, friction=10.0)
    accepted, kinetic = [], []
    with torch.no_grad():
        for attempt in range(-6, n_attempts):
            # 1 ps: ten times the memory of the energy
            for _ in range(20):
                state, _ = integrator.step(state, force_field)
            before = exchanges.rung
            state, exchanges = exchange_temperatures(state, exchanges, force_field, attempt=attempt + 6)
            if attempt >= 0:
                is_up = (exchanges.rung > before).reshape(N_LADDERS, 3)
                accepted.append(np.take_along_axis(is_up, np.argsort(before.reshape(N_LADDERS, 3), axis=1), axis=1))
                half = state.velocities + 0.5 * integrator.timestep * state.forces / state.masses
                kinetic.append((state.masses * half**2).mean(dim=(1, 2)).numpy() / thermal_energy(1.0))
                np.testing.assert_array_equal(state.temperature.numpy(), temperatures[exchanges.rung])
    for pair in range(2):
        observed = np.array(accepted)[pair::2, :, pair].mean(axis=0)
        ratio = temperatures[pair] / (temperatures[pair] + temperatures[pair + 1])
        expected = 2.0 * special.betainc(1.5 * n_sites, 1.5 * n_sites, ratio)
        precision = assert_within_3_standard_errors(observed, expected)
        assert precision < 0.03
    # velocities follow their bath: the mean over replicas is the mean of the ladder
    assert_within_3_standard_errors(np.array(kinetic).mean(axis=0).reshape(N_LADDERS, 3).mean(axis=1), 1180.0 / 3.0)
