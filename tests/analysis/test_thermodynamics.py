"""Pressure and drift against closed forms."""

import numpy as np
import pytest

from beadsmith.analysis.thermodynamics import (
    densities,
    measure_compressibility,
    measure_drift,
    measure_heat_capacity,
    measure_mean,
    pressures,
)
from beadsmith.errors import InputError
from beadsmith.units import BAR, GAS_CONSTANT, GIGAPASCAL
from example_trajectories import TEMPERATURE, make_ideal_gas, make_liquid, make_random_walk


def test_an_ideal_gas_has_the_pressure_of_the_gas_law():
    trajectory = make_ideal_gas(np.random.default_rng(0), n_frames=3, n_beads=100, virial=np.zeros((3, 3, 3)))
    # 100 molecules in 8 nm³ at 300 K: p = n k T / V = 517.9 bar (k = 1.380649e-23 J/K)
    np.testing.assert_allclose(pressures(trajectory) / BAR, 100 * 1.380649e-23 * 300.0 / 8e-27 / 1e5, rtol=1e-6)


def test_a_virial_adds_a_third_of_its_trace_per_volume():
    virial = np.repeat(np.diag([30.0, 60.0, -30.0])[None], 2, axis=0)
    trajectory = make_ideal_gas(np.random.default_rng(1), n_frames=2, n_beads=1, virial=virial)
    expected = (GAS_CONSTANT * TEMPERATURE + 20.0) / 8.0
    np.testing.assert_allclose(pressures(trajectory), expected, rtol=1e-6)


def test_pressure_of_a_cloud_of_mutually_bound_pairs_matches_the_virial_theorem():
    # r_ij . f_ij of a harmonic pair has the mean -3 kT: each pair then counts as one particle in the pressure
    generator = np.random.default_rng(2)
    n_pairs, n_frames, kT, stiffness = 50, 400, GAS_CONSTANT * TEMPERATURE, 5000.0
    vectors = generator.normal(0.0, np.sqrt(kT / stiffness), (n_frames, n_pairs, 3))
    virial = np.einsum("fpx,fpy->fxy", vectors, -stiffness * vectors)
    trajectory = make_ideal_gas(generator, n_frames=n_frames, n_beads=2 * n_pairs, virial=virial)
    found = measure_mean(pressures(trajectory), unit="kJ/mol/nm^3")
    assert found.value == pytest.approx(n_pairs * kT / 8.0, abs=3.0 * found.standard_error)


def test_pressure_needs_a_virial():
    with pytest.raises(InputError, match="no virial"):
        pressures(make_random_walk(np.random.default_rng(3), diffusion=1e-3, n_frames=4))


def test_mean_of_a_correlated_series_has_a_calibrated_error_bar():
    generator = np.random.default_rng(4)
    sigmas = []
    for _ in range(60):
        noise = generator.normal(size=4000)
        series = np.empty(4000)
        value = generator.normal() / np.sqrt(1.0 - 0.9**2)
        for step in range(4000):
            value = 0.9 * value + noise[step]
            series[step] = value
        found = measure_mean(series, unit="K")
        sigmas.append(found.value / found.standard_error)
    # Student's t with 9 degrees of freedom: mean square 1.29, known to 0.33 from 60 values; blocks of 400 steps
    # against a correlation time of 10 lose 2 %
    assert np.mean(np.square(sigmas)) == pytest.approx(9.0 / 7.0, abs=1.0)


def test_frame_weights_reweight_the_mean():
    found = measure_mean(np.array([1.0, 3.0, 1.0, 3.0]), unit="K", n_blocks=2, weight=np.array([3.0, 1.0, 3.0, 1.0]))
    assert found.value == pytest.approx(1.5)
    assert found.standard_error == pytest.approx(0.0)


def test_a_steady_slope_shows_as_half_its_range():
    series = np.linspace(0.0, 10.0, 1001)
    assert measure_drift(series, unit="kJ/mol").value == pytest.approx(5.0, rel=0.01)


def test_a_stationary_series_drifts_by_no_more_than_chance():
    sigmas = []
    for seed in range(40):
        energy = make_liquid(np.random.default_rng(seed), n_frames=100, n_beads=8).energy
        found = measure_drift(energy, unit="kJ/mol", segment=np.repeat([0, 1], 50))
        sigmas.append(found.value / found.standard_error)
    # 8 samples of 4 halves: Student's t with about 4 degrees of freedom, mean square 2, heavy tails
    assert np.mean(np.square(sigmas)) < 4.5
    assert np.median(np.abs(sigmas)) < 1.1


def test_drift_of_a_series_too_short_for_blocks_is_none():
    assert measure_drift(np.arange(5.0), unit="kJ/mol") is None


def test_density_is_mass_over_volume():
    trajectory = make_ideal_gas(np.random.default_rng(5), n_frames=2, n_beads=100)
    # 1 u = 1.66053907e-24 g; 8 nm³ = 8e-21 cm³
    expected = trajectory.topology.total_mass * 1.66053907e-24 / 8e-21
    np.testing.assert_allclose(densities(trajectory), expected, rtol=1e-6)


def draw_ideal_volumes(generator, n_samples, *, n_molecules=50, pressure=20.0):
    """Return volumes of an ideal gas at constant pressure; its compressibility is 1/P."""
    return generator.gamma(n_molecules + 1, GAS_CONSTANT * TEMPERATURE / pressure, n_samples)


def test_compressibility_of_an_ideal_gas_is_one_over_its_pressure():
    found = measure_compressibility(draw_ideal_volumes(np.random.default_rng(6), 4000), temperature=TEMPERATURE)
    assert found.unit == "1/GPa"
    # a variance of 4000 values is known to 2.2 %
    assert found.standard_error < 0.05 * found.value
    assert abs(found.value - GIGAPASCAL / 20.0) < 3.0 * found.standard_error


def test_compressibility_of_a_short_correlated_run_is_not_too_small():
    """Runs of 40 values that repeat 8 times each: the plain variance would be low by 1/40."""
    generator, found = np.random.default_rng(7), []
    for _ in range(300):
        volumes = np.repeat(draw_ideal_volumes(generator, 40), 8)
        found.append(measure_compressibility(volumes, temperature=TEMPERATURE, n_blocks=10).value)
    error = np.std(found, ddof=1) / np.sqrt(300)
    assert error < 0.015 * GIGAPASCAL / 20.0
    assert abs(np.mean(found) - GIGAPASCAL / 20.0) < 3.0 * error


def test_frame_weights_enter_the_compressibility():
    volumes = draw_ideal_volumes(np.random.default_rng(8), 200)
    twice = measure_compressibility(np.repeat(volumes, 2), temperature=TEMPERATURE)
    weighted = measure_compressibility(volumes, temperature=TEMPERATURE, weight=np.full(200, 2.0))
    assert weighted.value == pytest.approx(twice.value)
    assert weighted.standard_error == pytest.approx(twice.standard_error)


def test_heat_capacity_by_total_variance_is_that_of_the_atoms():
    """u(R, x) = a R²/2 + K(R) x²/2 with K = k exp(α R): W is Gaussian, and both parts have closed forms.

    With kT/a = s² and <R> = μ = −α kT/(2a): Var U = a μ² kT + (kT)²/2 and Var_R(u) = (kT)²/2.
    """
    generator, kT, a, alpha, n = np.random.default_rng(9), GAS_CONSTANT * TEMPERATURE, 500.0, 30.0, 40_000
    mu = -0.5 * alpha * kT / a
    beads = generator.normal(mu, np.sqrt(kT / a), n)
    hidden = 0.5 * kT * generator.normal(size=n) ** 2
    atomistic = measure_heat_capacity(0.5 * a * beads**2 + hidden, temperature=TEMPERATURE, n_molecules=1).total
    within = np.full(n, 0.5 * GAS_CONSTANT)
    both = measure_heat_capacity(0.5 * a * beads**2 + 0.5 * kT, within, temperature=TEMPERATURE, n_molecules=1)
    gas_constant = 1e3 * GAS_CONSTANT
    between = gas_constant * (a * mu**2 / kT + 0.5)
    for found, expected in ((atomistic, between + 0.5 * gas_constant), (both.between, between)):
        assert found.standard_error < 0.03 * expected
        assert abs(found.value - expected) < 3.0 * found.standard_error
    assert both.within.value == pytest.approx(0.5 * gas_constant)
    assert both.total.value == pytest.approx(both.between.value + both.within.value)
    assert abs(both.total.value - atomistic.value) < 3.0 * np.hypot(both.total.standard_error, atomistic.standard_error)


def test_heat_capacity_is_per_molecule():
    energies = np.random.default_rng(10).normal(size=500)
    one, ten = (measure_heat_capacity(energies, temperature=TEMPERATURE, n_molecules=n).total for n in (1, 10))
    assert one.value == pytest.approx(10.0 * ten.value)
