"""Reweighting by relative entropy: closed forms, convexity, and errors that are the scatter."""

import numpy as np
import pytest
from scipy.stats import norm

from beadsmith.errors import InputError
from beadsmith.training.relative_entropy import (
    compute_relative_entropy,
    effective_fraction,
    fit_left_out,
    minimise_relative_entropy,
)


def quantiles(n=200_000):
    """Return a normal distribution without sampling error."""
    return norm.ppf((np.arange(n) + 0.5) / n)


def minimise(functions, target, penalty=0.0, start=None):
    penalty = np.full(functions.shape[1], penalty)
    return minimise_relative_entropy(functions, np.asarray(target), penalty=penalty, start=start)


def test_a_normal_distribution_is_shifted_and_narrowed_exactly():
    x, mean, deviation = quantiles(), 0.7, 0.8
    found = minimise(np.stack([x, x**2], axis=1), [mean, mean**2 + deviation**2])
    # ln of the ratio of the densities is −u·(x, x²); the quantiles lack the last 5e-6 of the tails
    np.testing.assert_allclose(found, [-mean / deviation**2, 0.5 * (1.0 / deviation**2 - 1.0)], rtol=2e-4)


def test_the_minimum_is_minus_the_kullback_leibler_divergence():
    x, mean = quantiles(), 0.7
    functions, target = x[:, None], np.array([mean])
    found = minimise(functions, target)
    # two normal distributions of unit width: half the squared distance
    assert compute_relative_entropy(functions, found, target) == pytest.approx(-0.5 * mean**2, rel=1e-4)
    assert compute_relative_entropy(functions, np.zeros(1), target) == 0.0


def test_two_states_get_the_logarithm_of_their_odds():
    inside = np.zeros((1000, 1))
    inside[:630] = 1.0
    (u,) = minimise(inside, [0.37])
    assert u == pytest.approx(np.log(0.63 / 0.37) - np.log(0.37 / 0.63), rel=1e-10)


def test_far_targets_are_reached_by_the_line_search():
    inside = np.zeros((100_000, 1))
    inside[0] = 1.0
    # the first Newton step overshoots a hundred thousand times
    (u,) = minimise(inside, [0.9])
    assert u == pytest.approx(-np.log(0.9 / 0.1) - np.log(99_999), rel=1e-10)


def make_case(seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-np.pi, np.pi, (4000, 2))
    functions = np.concatenate([np.cos(angles), np.sin(angles), np.cos(2.0 * angles)], axis=1)
    return rng, functions, 0.2 * rng.normal(size=6)


def test_relative_entropy_is_convex():
    rng, functions, target = make_case(0)
    for _ in range(50):
        ends = rng.normal(size=(2, 6))
        values = [compute_relative_entropy(functions, u, target) for u in (*ends, ends.mean(axis=0))]
        assert values[2] < 0.5 * (values[0] + values[1])


def test_the_minimum_is_the_same_from_everywhere_and_averages_agree_there():
    rng, functions, target = make_case(1)
    found = [minimise(functions, target, start=start) for start in (None, *rng.normal(size=(3, 6)))]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-7)
    weights = np.exp(-functions @ found[0])
    np.testing.assert_allclose(weights @ functions / weights.sum(), target, atol=1e-8)


def test_with_a_penalty_averages_differ_by_its_slope():
    _, functions, target = make_case(2)
    found = minimise(functions, target, penalty=0.3)
    weights = np.exp(-functions @ found)
    np.testing.assert_allclose(weights @ functions / weights.sum(), target + 0.3 * found, atol=1e-8)


def test_stated_errors_are_the_scatter_of_the_odds():
    """300 data sets in 20 groups: the mean squared error has its own error of 2 %; the range is 4 of them."""
    rng = np.random.default_rng(3)
    n_model, n_reference, p_model, p_reference, n_groups = 4000, 2000, 0.6, 0.4, 20
    group = np.arange(n_model) * n_groups // n_model
    squares, deviations = [], []
    for _ in range(300):
        model = (rng.uniform(size=(n_model, 1)) < p_model).astype(float)
        blocks = (rng.uniform(size=(n_groups, n_reference // n_groups)) < p_reference).mean(axis=1, keepdims=True)
        fit = fit_left_out(model, group, blocks, np.ones(n_groups), penalty=np.zeros(1))
        squares.append((n_groups - 1) * fit.replicates[:, 0].var())
        deviations.append(fit.coefficients[0])
    exact = 1.0 / (n_model * p_model * (1.0 - p_model)) + 1.0 / (n_reference * p_reference * (1.0 - p_reference))
    assert np.mean(squares) == pytest.approx(exact, rel=0.08)
    # the scatter itself is known to 8 %
    assert np.var(deviations) == pytest.approx(exact, rel=0.32)


def test_gain_of_left_out_groups_falls_when_functions_are_only_noise():
    rng = np.random.default_rng(4)
    x, reference = rng.normal(size=2000), 0.5 + rng.normal(size=(20, 50))
    functions = np.stack([x, *(np.cos(k * x + 1.0) for k in range(2, 25))], axis=1)
    targets = np.stack([reference, *(np.cos(k * reference + 1.0) for k in range(2, 25))], axis=-1).mean(axis=1)
    fits = {
        n: fit_left_out(functions[:, :n], np.arange(2000) // 100, targets[:, :n], np.ones(20), penalty=np.zeros(n))
        for n in (1, 24)
    }
    # half the squared shift is there to be gained
    assert abs(fits[1].gain - 0.125) < 3.0 * fits[1].gain_error
    assert fits[24].gain < fits[1].gain


def test_functions_that_say_the_same_are_refused():
    x = quantiles(1000)
    with pytest.raises(InputError, match="cannot be told apart"):
        minimise(np.stack([x, 2.0 * x], axis=1), [0.1, 0.2])


def test_averages_beyond_all_samples_are_refused_without_a_penalty():
    x = np.random.default_rng(5).uniform(-1.0, 1.0, (1000, 1))
    with pytest.raises(InputError, match=r"simulation|apart"):
        minimise(x, [1.5])
    assert np.isfinite(minimise(x, [1.5], penalty=0.1)).all()


def test_effective_fraction_is_that_of_frames_which_count_alike():
    exponents = np.zeros(1000)
    assert effective_fraction(exponents) == 1.0
    exponents[250:] = -50.0
    assert effective_fraction(exponents) == pytest.approx(0.25)
