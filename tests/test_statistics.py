"""Error bars against processes whose correlation is known in closed form."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.statistics import (
    block_edges,
    block_mean_and_error,
    mean_and_error,
    pooled_inefficiency,
    statistical_inefficiency,
)


def autoregressive(n_samples, coefficient, rng):
    """Return an AR(1) series of unit variance: its correlation time is known exactly."""
    noise = rng.standard_normal(n_samples) * np.sqrt(1 - coefficient**2)
    series = np.empty(n_samples)
    series[0] = rng.standard_normal()
    for k in range(1, n_samples):
        series[k] = coefficient * series[k - 1] + noise[k]
    return series


def test_blocks_are_contiguous_complete_and_never_cross_a_segment():
    segment = np.array([0] * 10 + [1] * 30)
    blocks = block_edges(40, 4, segment)
    assert np.array_equal(np.concatenate(blocks), np.arange(40))
    assert all(len(set(segment[block].tolist())) == 1 for block in blocks)
    assert all(np.array_equal(np.diff(block), np.ones(len(block) - 1)) for block in blocks)


def test_more_blocks_than_frames_is_refused():
    with pytest.raises(InputError, match="5 blocks"):
        block_edges(4, 5)


def test_mean_and_error_of_independent_samples_is_the_textbook_value():
    mean, error = mean_and_error([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert error == pytest.approx(np.sqrt(5.0 / 3.0) / 2.0, rel=1e-15)


def test_error_of_one_sample_is_unknown():
    assert np.isnan(mean_and_error([3.0])[1])


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_statistical_inefficiency_of_an_autoregressive_process(coefficient):
    # closed form: g = (1 + a) / (1 − a); 20 series of 20,000 samples know it to about 2 %
    rng = np.random.default_rng(1)
    estimates = [statistical_inefficiency(autoregressive(20_000, coefficient, rng)) for _ in range(20)]
    assert np.mean(estimates) == pytest.approx((1 + coefficient) / (1 - coefficient), rel=0.08)


def test_block_error_covers_the_true_mean_of_correlated_data():
    # 200 series: 10 blocks put |mean| below 2.26 errors (Student, 9 d.o.f.) in 95 %; 4 sigma of that count is 6 %
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        mean, error = block_mean_and_error(autoregressive(4000, 0.9, rng))
        covered += abs(mean) < 2.26 * error
    assert 0.89 <= covered / 200 <= 1.0


def test_a_constant_series_has_inefficiency_one():
    assert statistical_inefficiency(np.full(50, 3.0)) == 1.0


def test_many_short_series_know_the_inefficiency_together():
    rng = np.random.default_rng(7)
    series = np.stack([autoregressive(200, 0.6, rng) for _ in range(200)], axis=1)
    # (1 + c)/(1 − c) = 4, known to 5 % by 40,000 values; the mean is known, so no series is centred on its own
    assert pooled_inefficiency(series) == pytest.approx(4.0, rel=0.15)
    one = series[:, 0] - series[:, 0].mean()
    assert pooled_inefficiency(np.stack([one, -one], axis=1)) == pytest.approx(statistical_inefficiency(one), rel=1e-9)
