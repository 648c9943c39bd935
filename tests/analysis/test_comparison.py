"""Distances between curves, and what chance makes of them."""

import numpy as np
import pytest

from beadsmith.analysis.comparison import (
    divide,
    expected_difference,
    mean_absolute_difference,
    sampling_error,
    subtract,
)
from beadsmith.analysis.distribution import Measurement, build_distribution, distribution_from_json, jackknife_error
from beadsmith.errors import InputError

EDGES = np.linspace(0.0, 1.0, 101)


def make_noisy(generator, *, level=0.05, n_blocks=10, shift=0.0):
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    blocks = 1.0 + shift * np.sin(12.0 * centres) + generator.normal(0.0, level, (n_blocks, 100))
    return build_distribution(blocks, np.ones(n_blocks), label="a-a", unit="nm", edges=EDGES)


def test_own_error_is_the_mean_distance_from_the_truth():
    generator = np.random.default_rng(0)
    curves = [make_noisy(generator) for _ in range(20)]
    estimated = np.mean([sampling_error(curve).value for curve in curves])
    actual = np.mean([np.abs(curve.density - 1.0).mean() for curve in curves])
    # 2,000 independent |normal| deviations: 1.7 %
    assert estimated == pytest.approx(actual, rel=0.06)


def test_two_perfect_curves_differ_by_what_chance_predicts():
    generator = np.random.default_rng(1)
    found, expected = [], []
    for _ in range(20):
        first, second = make_noisy(generator, level=0.05), make_noisy(generator, level=0.08)
        found.append(mean_absolute_difference(first, second).value)
        expected.append(expected_difference(sampling_error(first), sampling_error(second)).value)
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.06)


def test_error_of_a_distance_matches_its_spread_over_repetitions():
    generator = np.random.default_rng(2)
    found = [mean_absolute_difference(make_noisy(generator, shift=0.5), make_noisy(generator)) for _ in range(150)]
    spread = np.std([entry.value for entry in found])
    # the spread of 150 values is known to 6 %
    assert np.mean([entry.standard_error for entry in found]) == pytest.approx(spread, rel=0.2)


def test_only_bins_inside_the_window_count():
    density = np.zeros((2, 100))
    density[:, 50] = 7.0
    first = build_distribution(density, np.ones(2), label="a", unit="nm", edges=EDGES)
    second = build_distribution(np.zeros((2, 100)), np.ones(2), label="b", unit="nm", edges=EDGES)
    assert mean_absolute_difference(first, second, (0.5, 0.6)).value == pytest.approx(0.7)
    assert mean_absolute_difference(first, second, (0.6, 0.7)).value == 0.0
    with pytest.raises(InputError, match="no bin"):
        mean_absolute_difference(first, second, (2.0, 3.0))


def test_curves_with_other_bins_are_not_compared():
    first = make_noisy(np.random.default_rng(3))
    other = build_distribution(np.ones((2, 50)), np.ones(2), label="b", unit="nm", edges=np.linspace(0.0, 1.0, 51))
    with pytest.raises(InputError, match="different bins"):
        mean_absolute_difference(first, other)


def test_one_block_has_no_sampling_error():
    with pytest.raises(InputError, match="two blocks"):
        sampling_error(make_noisy(np.random.default_rng(4), n_blocks=1))


def test_jackknife_of_the_mean_is_the_standard_error():
    values = np.random.default_rng(5).normal(size=12)
    assert jackknife_error(float, values) == pytest.approx(values.std(ddof=1) / np.sqrt(12))


def test_a_distribution_survives_json():
    curve = make_noisy(np.random.default_rng(6))
    copy = distribution_from_json(curve.to_json())
    np.testing.assert_array_equal(copy.density, curve.density)
    np.testing.assert_array_equal(copy.standard_error, curve.standard_error)
    assert (copy.label, copy.unit, copy.n_effective) == ("a-a", "nm", 10.0)


def test_weighted_blocks_average_by_weight_and_empty_ones_drop_out():
    blocks = np.array([[1.0], [3.0], [99.0]])
    curve = build_distribution(blocks, np.array([3.0, 1.0, 0.0]), label="a", unit="nm", edges=np.array([0.0, 1.0]))
    assert curve.density[0] == pytest.approx(1.5)
    assert curve.n_effective == 2


def test_errors_of_a_ratio_and_a_difference_add_in_quadrature():
    first = Measurement(value=10.0, standard_error=0.3, unit="K", n_samples=10)
    second = Measurement(value=5.0, standard_error=0.2, unit="K", n_samples=8)
    assert subtract(first, second).standard_error == pytest.approx(np.hypot(0.3, 0.2))
    assert divide(first, second).standard_error == pytest.approx(2.0 * np.hypot(0.03, 0.04))
