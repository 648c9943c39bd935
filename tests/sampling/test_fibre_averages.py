"""Averages at fixed beads against the closed forms of the oscillator toy, and their errors against repeats.

Three standard errors, seeded.
"""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.sampling.fibre_averages import average_fibre
from beadsmith.units import thermal_energy
from example_thermal import HiddenOscillators

TOY, TEMPERATURE, DISTANCE = HiddenOscillators(), 320.0, 0.52


def average(n_samples, seed=0, *, distance=DISTANCE, temperature=TEMPERATURE):
    """Return the averages of independent configurations at one distance; the second bead has the force."""
    generator = np.random.default_rng(seed)
    forces, energies = TOY.draw(np.full(n_samples, distance), temperature, generator)
    apart = np.zeros((n_samples, 2, 3))
    apart[:, 1, 0], apart[:, 0, 0] = forces, -forces
    return average_fibre(apart, energies, temperature=temperature)


def assert_close(found, error, expected, n_sigma=3.0):
    assert abs(found - expected) < n_sigma * error, f"{found:.5g} ± {error:.2g}, expected {expected:.5g}"


@pytest.mark.parametrize("distance", [0.45, 0.5, 0.55])
def test_averages_are_those_of_the_closed_form(distance):
    found = average(40_000, distance=distance)
    kT, n = thermal_energy(TEMPERATURE), TOY.n_hidden
    # noise is the root mean square over three components, of which one is not zero
    root = np.sqrt(3.0)
    assert_close(found.force[1, 0], root * found.force_noise[1], TOY.mean_force(distance, TEMPERATURE))
    response = TOY.entropic_force(distance, TEMPERATURE)
    assert_close(found.response[1, 0], root * found.response_noise[1], response)
    assert_close(kT * found.response[1, 0], kT * root * found.response_noise[1], TOY.covariance(distance, TEMPERATURE))
    energetic = found.force[1, 0] - found.response[1, 0]
    error = root * np.hypot(found.force_noise[1], found.response_noise[1])
    assert_close(energetic, error, TOY.energetic_force(distance))
    second = TOY.second_derivative(distance, TEMPERATURE)
    assert_close(found.second_response[1, 0], root * found.second_response_noise[1], second)
    assert_close(found.energy, found.energy_noise, TOY.potential(distance) + 0.5 * n * kT)
    assert_close(found.energy_variance, found.energy_variance_noise, 0.5 * n * kT**2)


def test_a_mean_force_integrates_to_the_potential_of_mean_force():
    grid = np.linspace(0.42, 0.60, 13)
    averages = [average(4000, seed=k, distance=r) for k, r in enumerate(grid)]
    forces = np.array([found.force[1, 0] for found in averages])
    errors = np.sqrt(3.0) * np.array([found.force_noise[1] for found in averages])
    # Simpson's rule, whose own error on this grid is far below the noise
    weights = (grid[1] - grid[0]) / 3.0 * np.array([1.0, *[4.0, 2.0] * 5, 4.0, 1.0])
    found, error = -weights @ forces, np.sqrt((weights**2) @ errors**2)
    assert_close(found, error, TOY.free_energy(grid[-1], TEMPERATURE) - TOY.free_energy(grid[0], TEMPERATURE))


def test_response_forces_are_the_slope_of_the_mean_force_with_temperature():
    # d(F)/dT = F_S/T: by differences of averages at two temperatures with the same random numbers
    low, high = (average(20_000, temperature=temperature) for temperature in (310.0, 330.0))
    slope = (high.force[1, 0] - low.force[1, 0]) / 20.0
    middle = average(20_000)
    error = np.sqrt(3.0) * middle.response_noise[1] / TEMPERATURE
    assert_close(slope, error, middle.response[1, 0] / TEMPERATURE)


def test_the_variance_of_averaged_labels_falls_as_one_over_the_number_of_samples():
    sizes, n_repeats = np.array([25, 100, 400]), 400
    expected = TOY.mean_force(DISTANCE, TEMPERATURE)
    generator = np.random.default_rng(3)
    variances = []
    for size in sizes:
        forces, _ = TOY.draw(np.full((n_repeats, size), DISTANCE), TEMPERATURE, generator)
        variances.append(np.mean((forces.mean(axis=1) - expected) ** 2))
    # each variance of 400 normal numbers is known to sqrt(2/400) = 7 %
    slope = np.polyfit(np.log(sizes), np.log(variances), 1)[0]
    assert abs(slope + 1.0) < 3.0 * 0.0707 * np.sqrt(2.0) / np.log(16.0)
    single = (
        0.5
        * TOY.n_hidden
        * (thermal_energy(TEMPERATURE) * TOY.stiffness_slope(DISTANCE) / TOY.stiffness(DISTANCE)) ** 2
    )
    np.testing.assert_allclose(sizes * variances, single, rtol=3.0 * 0.0707)


def test_errors_and_corrections_are_right_for_few_samples():
    # 300 runs of 40 samples: means unbiased, and the mean of the squared errors equal to the spread of the runs
    runs = [average(40, seed=100 + k) for k in range(300)]
    kT = thermal_energy(TEMPERATURE)
    truth = {
        "force": TOY.mean_force(DISTANCE, TEMPERATURE),
        "response": TOY.entropic_force(DISTANCE, TEMPERATURE),
    }
    for name, expected in truth.items():
        values = np.array([getattr(run, name)[1, 0] for run in runs])
        assert_close(values.mean(), values.std(ddof=1) / np.sqrt(300), expected)
        claimed = np.mean([3.0 * getattr(run, f"{name}_noise")[1] ** 2 for run in runs])
        # variances of 300 skewed numbers, and of the squared errors themselves, are known to about 12 %
        assert claimed == pytest.approx(values.var(), rel=0.35)
    variance = np.array([run.energy_variance for run in runs])
    assert_close(variance.mean(), variance.std(ddof=1) / np.sqrt(300), 0.5 * TOY.n_hidden * kT**2)
    single = np.array([3.0 * run.force_variance[1] for run in runs])
    expected = 0.5 * TOY.n_hidden * (kT * TOY.stiffness_slope(DISTANCE) / TOY.stiffness(DISTANCE)) ** 2
    assert_close(single.mean(), single.std(ddof=1) / np.sqrt(300), expected)


def test_the_error_of_a_correlated_series_counts_its_memory():
    # autoregressive series with a memory of ten samples: the error of the mean is sqrt(19) times that of white noise
    generator, n_samples = np.random.default_rng(5), 20_000
    steps, value = generator.normal(size=n_samples) * np.sqrt(1.0 - 0.9**2), 0.0
    series = np.empty(n_samples)
    for k in range(n_samples):
        value = 0.9 * value + steps[k]
        series[k] = value
    found = average_fibre(np.repeat(series, 3).reshape(-1, 1, 3), series, temperature=300.0)
    assert found.force_noise[0] == pytest.approx(np.sqrt(19.0 / n_samples), rel=0.6)
    assert found.energy_noise > 2.5 / np.sqrt(n_samples)


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="19 samples at fixed beads are too few, expected at least 20"):
        average_fibre(np.zeros((19, 1, 3)), np.zeros(19), temperature=300.0)
