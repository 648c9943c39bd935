"""Divergences and free energies against distributions that are known exactly."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import vonmises

from beadsmith.analysis.blocks import count_samples, divide_frames
from beadsmith.analysis.free_energy import (
    align_free_energy,
    build_curve,
    build_surface,
    expected_by_chance,
    find_bins,
    free_energy_rms,
    jensen_shannon,
    kullback_leibler,
    measure_asymmetry,
    measure_divergence,
    measure_halves,
)

EDGES = np.linspace(-180.0, 180.0, 37)


def bin_probabilities(mean, kappa):
    """Return the exact probability of each bin of a von Mises distribution with its mean in degrees."""
    return np.diff(vonmises.cdf(np.radians(EDGES), kappa, loc=np.radians(mean)))


def sample(generator, mean, kappa, n_frames, n_blocks=40):
    angles = (mean + np.degrees(generator.vonmises(0.0, kappa, n_frames)) + 180.0) % 360.0 - 180.0
    return count_samples(find_bins(angles, EDGES)[:, None], (36,), divide_frames(n_frames, n_blocks=n_blocks))


def chance(first, second):
    """Return the Jensen-Shannon divergence that two perfect runs of these lengths would show."""
    return expected_by_chance(measure_halves(first), measure_halves(second))


def test_equal_histograms_have_no_divergence_and_disjoint_ones_ln_2():
    one, other = np.array([1.0, 3.0, 0.0]), np.array([0.0, 0.0, 5.0])
    assert jensen_shannon(one, 7.0 * one) == 0.0
    assert jensen_shannon(one, other) == pytest.approx(np.log(2.0))


def test_divergences_of_two_bins_are_those_on_paper():
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert jensen_shannon(p, q) == pytest.approx(
        0.5 * (0.5 * np.log(0.5 / 0.7) + 0.5 * np.log(0.5 / 0.3) + 0.9 * np.log(0.9 / 0.7) + 0.1 * np.log(0.1 / 0.3))
    )
    # many samples: the half sample added to each bin is nothing
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert kullback_leibler(p, q, (1e9, 1e9)) == pytest.approx(expected, rel=1e-6)


def test_half_a_sample_keeps_the_divergence_finite_where_the_simulation_is_empty():
    p, q = np.array([99.0, 1.0, 0.0]), np.array([100.0, 0.0, 0.0])
    smooth = np.array([99.5, 1.5]) / 101.0, np.array([100.5, 0.5]) / 101.0
    assert kullback_leibler(p, q, (100.0, 100.0)) == pytest.approx(np.sum(smooth[0] * np.log(smooth[0] / smooth[1])))


def test_divergence_of_sampled_von_mises_angles_is_the_exact_one():
    generator = np.random.default_rng(0)
    exact = jensen_shannon(bin_probabilities(-70.0, 6.0), bin_probabilities(-50.0, 4.0))
    first, second = sample(generator, -70.0, 6.0, 20_000), sample(generator, -50.0, 4.0, 20_000)
    found = measure_divergence(jensen_shannon, first, second)
    # noise adds what two perfect runs would show; four standard errors
    assert found.value == pytest.approx(exact, abs=4.0 * found.standard_error + chance(first, second).value)
    assert found.standard_error < 0.05 * exact


def test_error_of_a_divergence_is_the_scatter_of_repeated_runs():
    generator = np.random.default_rng(1)
    found = [
        measure_divergence(
            jensen_shannon, sample(generator, -70.0, 6.0, 2000, 20), sample(generator, -50.0, 4.0, 2000, 20)
        )
        for _ in range(60)
    ]
    spread = np.std([entry.value for entry in found], ddof=1)
    # 60 repeats know their spread to 9 %; three of these
    assert np.mean([entry.standard_error for entry in found]) == pytest.approx(spread, rel=0.27)


def test_two_perfect_runs_differ_by_what_chance_predicts():
    generator = np.random.default_rng(2)
    values, expected = [], []
    for _ in range(30):
        first, second = sample(generator, 30.0, 2.0, 4000), sample(generator, 30.0, 2.0, 8000)
        values.append(jensen_shannon(first.total, second.total))
        expected.append(chance(first, second).value)
    error = np.std(values, ddof=1) / np.sqrt(30)
    # halves of few samples saturate in sparse bins, so the prediction may be a little low: 10 %
    assert np.mean(values) == pytest.approx(np.mean(expected), abs=4.0 * error + 0.1 * np.mean(values))
    # closed form: ⅛ Σ (1/n + 1/m) over the bins that are visited
    assert np.mean(values) == pytest.approx(36 / 8 * (1 / 4000 + 1 / 8000), rel=0.15)


def test_halves_of_a_run_that_changes_its_mind_are_far_apart():
    generator = np.random.default_rng(3)
    angles = np.concatenate([generator.normal(-90.0, 10.0, 500), generator.normal(90.0, 10.0, 500)])
    counts = count_samples(find_bins(angles, EDGES)[:, None], (36,), divide_frames(1000, n_blocks=10))
    assert measure_halves(counts).value == pytest.approx(np.log(2.0), abs=1e-3)


def test_asymmetry_is_zero_for_a_symmetric_and_ln_2_for_a_handed_distribution():
    generator = np.random.default_rng(4)
    handed = sample(generator, -75.0, 30.0, 4000)
    assert measure_asymmetry(handed, (0,)).value == pytest.approx(np.log(2.0), abs=1e-6)
    assert measure_asymmetry(handed.symmetrised((0,)), (0,)).value == pytest.approx(0.0, abs=1e-12)


def test_free_energy_rms_of_a_tilted_distribution_is_its_tilt():
    # F differs by ±a with equal reference weights: rms a, whatever the constant
    reference = np.ones(4)
    tilted = np.exp(-np.array([0.3, -0.3, 0.3, -0.3]))
    assert free_energy_rms(5.0 * tilted, reference) == pytest.approx(0.3)


def test_values_beyond_the_ends_count_in_the_outermost_bins():
    np.testing.assert_array_equal(find_bins(np.array([-500.0, -180.0, 179.9, 180.0, 999.0]), EDGES), [0, 0, 35, 35, 35])


def test_density_of_a_curve_is_the_exact_density():
    counts = sample(np.random.default_rng(5), -70.0, 6.0, 40_000)
    curve = build_curve(counts, EDGES, label="phi", unit="degree")
    exact = bin_probabilities(-70.0, 6.0) / 10.0
    seen = curve.standard_error > 0.0
    deviation = (curve.density - exact)[seen] / curve.standard_error[seen]
    # 36 bins: none beyond 4.5 standard errors of 40 blocks, and as a whole as scattered as they say
    assert np.abs(deviation).max() < 4.5
    assert 0.6 < np.sqrt(np.mean(deviation**2)) < 1.5
    assert np.sum(curve.density) * 10.0 == pytest.approx(1.0)


def test_free_energy_surface_is_that_of_the_known_density():
    # p(x, y) ~ exp(-F) with F = 2 (1 − cos x) + (1 − cos(y − x)), in kT: y given x is von Mises about x
    generator = np.random.default_rng(6)
    x = generator.vonmises(0.0, 2.0, 200_000)
    y = (x + generator.vonmises(0.0, 1.0, 200_000) + np.pi) % (2.0 * np.pi) - np.pi
    edges = np.linspace(-np.pi, np.pi, 13)
    bins = find_bins(x, edges) * 12 + find_bins(y, edges)
    counts = count_samples(bins[:, None], (12, 12), divide_frames(len(x), n_blocks=40))
    surface = build_surface(counts, ("x", "y"), (edges, edges), thermal_energy=2.494)

    def weight(v, u):
        return np.exp(-2.0 * (1.0 - np.cos(u)) - (1.0 - np.cos(v - u)))

    chosen = [(6, 6), (6, 8), (8, 6), (3, 4), (9, 9)]
    exact = -np.log([dblquad(weight, edges[i], edges[i + 1], edges[j], edges[j + 1])[0] for i, j in chosen])
    found = np.array([surface.free_energy[i, j] for i, j in chosen])
    error = np.array([surface.standard_error[i, j] for i, j in chosen])
    # differences to the first bin carry both errors; four of them
    difference = (found - found[0]) - (exact - exact[0])
    assert np.all(np.abs(difference[1:]) < 4.0 * np.hypot(error[1:], error[0]))
    assert np.nanmin(surface.free_energy) == 0.0
    assert error.max() < 0.1


def test_bins_that_were_never_visited_have_no_free_energy():
    counts = count_samples(np.array([[0], [0], [3], [0]]), (2, 2), divide_frames(4, n_blocks=2))
    edges = np.array([0.0, 1.0, 2.0])
    surface = build_surface(counts, ("x", "y"), (edges, edges), thermal_energy=2.5)
    assert np.isnan(surface.free_energy[0, 1])
    assert np.isnan(surface.standard_error[0, 1])
    assert surface.free_energy[1, 1] == pytest.approx(np.log(3.0))
    assert surface.to_json()["unit"] == "kT"


def test_differences_of_free_energies_have_no_offset():
    reference = np.array([[0.0, 1.0], [2.0, np.nan]])
    probability = np.where(np.isfinite(reference), np.exp(-np.nan_to_num(reference)), 0.0)
    found = align_free_energy(reference + 3.0, reference, probability)
    np.testing.assert_allclose(found[np.isfinite(found)], 0.0, atol=1e-12)
    assert np.isnan(found[1, 1])
