"""Pressure and drift against closed forms."""

import numpy as np
import pytest

from beadsmith.analysis.thermodynamics import measure_drift, measure_mean, pressures
from beadsmith.errors import InputError
from beadsmith.units import BAR, GAS_CONSTANT
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
