"""The bracket of the noise floor from learning curves."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.training.noise_floor import find_leading, fit_inverse_size, summarise_noise_floor

SIZES = np.array([100.0, 200.0, 400.0])


def make_curves(generator, noise):
    """Return block losses of a + b/n with a = 0.75, b = 4 for held-out and -3 for training frames."""
    curves = [(0.75 + b / SIZES)[:, None] + noise * generator.normal(size=(3, 5)) for b in (4.0, -3.0)]
    return curves[0], curves[1]


def test_noiseless_curve_gives_its_constants():
    held_out, _ = make_curves(np.random.default_rng(0), 0.0)
    limit, slope = fit_inverse_size(SIZES, held_out)
    assert (limit.value, slope.value) == (pytest.approx(0.75), pytest.approx(4.0))
    assert limit.error == pytest.approx(0.0, abs=1e-12)


def test_errors_cover_the_truth_as_often_as_four_degrees_of_freedom_promise():
    """Student t with 4 degrees of freedom: |z| < 2.776 in 95 %; of 400 trials 380 ± 4.4, asked within 4 sigma."""
    generator = np.random.default_rng(1)
    fits = [fit_inverse_size(SIZES, make_curves(generator, 0.01)[0])[0] for _ in range(400)]
    n_covered = sum(abs(fit.value - 0.75) < 2.776 * fit.error for fit in fits)
    assert abs(n_covered - 380) < 18


def test_bounds_bracket_the_floor():
    held_out, train = make_curves(np.random.default_rng(2), 0.0)
    summary = summarise_noise_floor(
        [100, 200, 400], train, held_out, reference_loss=400.0, zero_force_loss=500.0, epochs=[3, 3, 4]
    )
    for point in summary["points"]:
        assert point["train"]["value"] < 0.75 * 400.0 / 500.0 < point["held_out"]["value"]
    assert summary["upper_bound"]["value"] == pytest.approx(0.6)
    assert summary["lower_bound"]["loss"] == pytest.approx(300.0)
    assert "this network" in summary["meaning"]


def test_limits_of_noisy_curves_cross_by_no_more_than_noise_and_their_pool_covers_the_floor():
    """Both limits are a = 0.75: crossings scatter around 0 with Student tails; 2 s.e. cover 85 % or more of 200 trials.

    The pooled error holds half the distance of the limits besides their own errors, so it covers more than one s.e.
    """
    generator = np.random.default_rng(3)
    crossings, n_covered = [], 0
    for _ in range(200):
        held_out, train = make_curves(generator, 0.01)
        estimate = summarise_noise_floor(
            [100, 200, 400], train, held_out, reference_loss=1.0, zero_force_loss=1.0, epochs=[3, 3, 4]
        )["estimate"]
        crossings.append(estimate["crossing"])
        n_covered += abs(estimate["value"] - 0.75) < 2.0 * estimate["error"]
    # a normal median of 200 has a standard error of 1.25/14 = 0.09; Student tails make it little wider
    assert abs(np.median(crossings)) < 4 * 0.11
    assert n_covered > 170


def test_limits_that_cross_beyond_noise_are_said_to():
    held_out, train = make_curves(np.random.default_rng(4), 1e-3)
    swapped = summarise_noise_floor(
        [100, 200, 400], train + 0.03, held_out, reference_loss=1.0, zero_force_loss=1.0, epochs=[3, 3, 4]
    )
    assert swapped["estimate"]["crossing"] > 3.0
    assert swapped["estimate"]["error"] > 0.01


def test_one_size_cannot_be_extrapolated():
    with pytest.raises(InputError, match="two different"):
        fit_inverse_size(np.array([10.0, 10.0]), np.ones((2, 5)))


def test_parts_are_the_contiguous_start_of_each_segment():
    assert find_leading(np.repeat([0, 1], [8, 4]), 0.5).tolist() == [0, 1, 2, 3, 8, 9]
