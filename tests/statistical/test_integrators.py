"""Integrators against the distributions they must sample: closed forms, at two temperatures, within standard errors.

Sites in a well do not see each other, so every component of every site is an independent sample path: standard errors
come from the spread over paths and need no correlation time. Three standard errors each, seeded.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from beadsmith.simulation.brownian import Brownian
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.state import draw_velocities, init_state
from beadsmith.simulation.verlet import Verlet
from beadsmith.units import thermal_energy
from example_force_fields import SoftPair, Well, make_force_field, make_frames, make_liquid

MASS = 20.0
TEMPERATURES = [150.0, 450.0]


def start(force_field, frames, *, cutoff=0.0, seed=7, skin=0.1):
    """Return a double-precision state that believes any displacement."""
    return init_state(
        force_field.double(),
        frames,
        cutoff=cutoff,
        skin=skin,
        max_displacement=1e6,
        seed=seed,
        dtype=torch.float64,
    )


def sample_well(integrator, well, temperature, *, n_sites=1000, n_discarded=80, n_steps=200):
    """Return positions, half-step and full-step velocities of all steps, shape (steps, paths)."""
    force_field = make_force_field(well)
    # a wide skin: there are no pairs, and a list that never ends costs no check
    state = start(force_field, make_frames(np.zeros((1, n_sites, 3)), temperature=temperature), skin=1e6)
    state = integrator.init(state)
    positions, full, half = [], [], []
    with torch.no_grad():
        for step in range(n_discarded + n_steps):
            state, _ = integrator.step(state, force_field)
            if step >= n_discarded:
                positions.append(state.positions.flatten().numpy())
                full.append(state.velocities.flatten().numpy())
                half.append((state.velocities + 0.5 * integrator.timestep * state.forces / MASS).flatten().numpy())
    return np.array(positions), np.array(full), np.array(half)


def assert_mean_within_3_standard_errors(samples, expected):
    """Hold the mean over steps and paths against a number, with the spread over paths as the error."""
    per_path = samples.mean(axis=0)
    error = per_path.std(ddof=1) / np.sqrt(len(per_path))
    deviation = (per_path.mean() - expected) / error
    assert abs(deviation) < 3.0, f"{per_path.mean():.6g} ± {error:.2g}, expected {expected:.6g}"
    return error / expected


STIFFNESS = 2000.0
FREQUENCY = np.sqrt(STIFFNESS / MASS)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("reduced_timestep", [0.2, 1.0, 1.6])
def test_langevin_has_the_exact_harmonic_variance_at_any_stable_timestep(temperature, reduced_timestep):
    integrator = Langevin(timestep=reduced_timestep / FREQUENCY, friction=FREQUENCY)
    positions, _, _ = sample_well(integrator, Well(harmonic=STIFFNESS), temperature)
    precision = assert_mean_within_3_standard_errors(positions**2, thermal_energy(temperature) / STIFFNESS)
    assert precision < 0.01


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("reduced_timestep", [0.1, 0.5, 1.0])
def test_brownian_has_the_exact_harmonic_variance_at_any_stable_timestep(temperature, reduced_timestep):
    # relaxation time of an overdamped well: m γ / k
    friction = 100.0
    integrator = Brownian(timestep=reduced_timestep * MASS * friction / STIFFNESS, friction=friction)
    positions, _, _ = sample_well(integrator, Well(harmonic=STIFFNESS), temperature)
    precision = assert_mean_within_3_standard_errors(positions**2, thermal_energy(temperature) / STIFFNESS)
    assert precision < 0.01


def quartic_moments(quartic, temperature):
    """Return <x²> and <x⁴> of exp(−q x⁴ / 4kT)."""
    width = (4.0 * thermal_energy(temperature) / quartic) ** 0.25
    norm, second, fourth = (
        integrate.quad(lambda u, n=n: u**n * np.exp(-(u**4)), 0.0, 10.0, epsabs=1e-13)[0] for n in (0, 2, 4)
    )
    return width**2 * second / norm, width**4 * fourth / norm


QUARTIC = 2.0e5


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(
    "integrator", [Langevin(timestep=0.02, friction=10.0), Brownian(timestep=0.02, friction=100.0)]
)
def test_quartic_well_has_the_boltzmann_moments(integrator, temperature):
    positions, _, _ = sample_well(integrator, Well(quartic=QUARTIC), temperature, n_discarded=200, n_steps=300)
    second, fourth = quartic_moments(QUARTIC, temperature)
    assert_mean_within_3_standard_errors(positions**2, second)
    precision = assert_mean_within_3_standard_errors(positions**4, fourth)
    assert precision < 0.02


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_half_step_velocities_have_the_exact_temperature_where_full_steps_are_a_quarter_too_cold(temperature):
    integrator = Langevin(timestep=1.0 / FREQUENCY, friction=FREQUENCY)
    _, full, half = sample_well(integrator, Well(harmonic=STIFFNESS), temperature)
    exact = thermal_energy(temperature) / MASS
    precision = assert_mean_within_3_standard_errors(half**2, exact)
    assert precision < 0.005
    # 1 − (ω h)² / 4: the bias that makes the full-step kinetic temperature useless for stiff bonds
    assert_mean_within_3_standard_errors(full**2, 0.75 * exact)


def test_measured_temperature_is_within_one_per_cent_of_the_heat_bath():
    integrator = Langevin(timestep=1.0 / FREQUENCY, friction=FREQUENCY)
    force_field = make_force_field(Well(harmonic=STIFFNESS))
    state = start(force_field, make_frames(np.zeros((4, 500, 3)), temperature=300.0), skin=1e6)
    measured = []
    for step in range(200):
        state, _ = integrator.step(state, force_field)
        if step >= 50:
            measured.append(integrator.measure_temperature(state).numpy())
    # 4 · 1500 components, about 100 independent times: the standard error is 0.2 %
    assert np.mean(measured) == pytest.approx(300.0, rel=0.01)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_drawn_velocities_are_maxwell_boltzmann(temperature):
    masses = torch.tensor([[10.0], [40.0]], dtype=torch.float64).repeat(2000, 1)
    velocities = draw_velocities(
        masses, torch.full((2,), temperature, dtype=torch.float64), replicas=[0, 1], seed=3
    ).numpy()
    reduced = velocities * np.sqrt(masses.numpy() / thermal_energy(temperature))
    # Kolmogorov-Smirnov of 24,000 components: rejected at p < 0.001
    assert stats.kstest(reduced.ravel(), "norm").pvalue > 1e-3
    # replicas, sites and components are independent: correlations have a standard error of 1/sqrt(n); 4 of them,
    # because six are looked at
    for a, b in [(reduced[0], reduced[1]), (reduced[:, 1:], reduced[:, :-1]), (reduced[..., 0], reduced[..., 1])]:
        assert abs(np.mean(a * b)) < 4.0 / np.sqrt(a.size)


def test_noise_of_successive_steps_and_blocks_is_white():
    force_field = make_force_field(Well(harmonic=0.0))
    # c = 0 in the limit of strong friction: velocities are the noise itself
    integrator = Langevin(timestep=0.01, friction=1e4)
    state = start(force_field, make_frames(np.zeros((2, 50, 3))), skin=1e9)
    series = []
    for _ in range(300):
        state, _ = integrator.step(state, force_field)
        series.append(state.velocities.numpy().reshape(-1))
    series = np.array(series) * np.sqrt(MASS / thermal_energy(300.0))
    for lag in (1, 2, 63, 64, 65, 128):
        products = series[lag:] * series[:-lag]
        assert abs(products.mean()) < 4.0 / np.sqrt(products.size), lag
    assert stats.kstest(series.ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("integrator", [Langevin(timestep=0.01, friction=10.0), Brownian(timestep=0.01, friction=10.0)])
def test_free_sites_diffuse_with_kT_over_m_gamma(integrator):
    n_steps, temperature = 400, 300.0
    force_field = make_force_field(Well())
    state = start(force_field, make_frames(np.zeros((1, 3000, 3)), temperature=temperature), skin=1e9)
    middle = None
    for step in range(n_steps):
        if step == n_steps // 4:
            middle = state.positions
        state, _ = integrator.step(state, force_field)
    # independent increments after the ballistic time 1/γ: the mean square grows by 2 D t beyond the quarter point
    time = 0.75 * n_steps * integrator.timestep
    expected = thermal_energy(temperature) / (MASS * integrator.friction)
    # the discrete process: γh/2 coth(γh/2) for BAOAB, 1 for the overdamped form, both up to boundary terms of order 1/t
    early = ((middle - 0.0) ** 2).flatten().numpy()
    late = (state.positions**2).flatten().numpy()
    diffusion = (late - early) / (2.0 * time)
    assert_mean_within_3_standard_errors(diffusion[None], expected)


def run_verlet(force_field, state, timestep, n_steps):
    """Return the last state and the total energy of every step."""
    integrator = Verlet(timestep=timestep)
    energies = []
    with torch.no_grad():
        for _ in range(n_steps):
            state, _ = integrator.step(state, force_field)
            kinetic = 0.5 * (state.masses * state.velocities**2).sum(dim=(1, 2))
            energies.append((kinetic + state.energy).numpy())
    return state, np.array(energies)[:, 0]


def liquid_state(seed=7):
    force_field = make_force_field(SoftPair(cutoff=0.6, height=300.0))
    return force_field, start(force_field, make_liquid(4), cutoff=0.6, seed=seed)


def test_verlet_energy_error_falls_four_times_when_the_timestep_halves():
    force_field, state = liquid_state()
    state = Verlet(timestep=0.01).init(state)
    _, coarse = run_verlet(force_field, state, 0.02, 100)
    _, fine = run_verlet(force_field, state, 0.01, 200)
    # second order: 4, with a correction of order h² that is a few per cent at these timesteps
    assert coarse.std() / fine[1::2].std() == pytest.approx(4.0, rel=0.1)


def test_verlet_has_no_energy_drift():
    force_field, state = liquid_state()
    state = Verlet(timestep=0.01).init(state)
    _, energies = run_verlet(force_field, state, 0.01, 600)
    times = 0.01 * np.arange(len(energies))
    drift = np.polyfit(times, energies, 1)[0]
    thermal = 1.5 * thermal_energy(300.0) * state.n_sites
    # the fluctuation allows a slope of about its size over the length; a drift would show as a part of the heat
    assert abs(drift) * times[-1] < 1e-4 * thermal
    assert energies.std() < 1e-3 * thermal


def test_verlet_conserves_momentum_to_rounding():
    force_field, state = liquid_state()
    state = Verlet(timestep=0.01).init(state)
    end, _ = run_verlet(force_field, state, 0.01, 200)
    momentum = (end.masses * end.velocities).sum(dim=1).abs().max()
    # 200 steps, 64 sites, forces of order 1e3 in double precision
    assert float(momentum) < 1e-9


def test_verlet_retraces_its_path_when_velocities_are_reversed():
    force_field, state = liquid_state()
    end, _ = run_verlet(force_field, state, 0.01, 50)
    back, _ = run_verlet(force_field, replace(end, velocities=-end.velocities), 0.01, 50)
    # rounding grows with the chaos of the liquid: 1e-16 to 1e-10 in 100 steps
    assert float((back.positions - state.positions).abs().max()) < 1e-9


def test_langevin_without_friction_is_verlet_without_the_rest_of_the_centre_of_mass():
    force_field, state = liquid_state()
    heat_bath, constant = Langevin(timestep=0.01, friction=0.0), Verlet(timestep=0.01)
    a = b = state
    for _ in range(20):
        a, _ = heat_bath.step(a, force_field)
        b, _ = constant.step(b, force_field)
    assert float((a.positions - b.positions).abs().max()) < 1e-11
