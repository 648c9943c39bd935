"""Compiled activation functions against extended precision."""

import numpy as np
import pytest

from beadsmith.kernels.activations import KINDS, activate_


def evaluate_exactly(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return activations and slopes in numpy's longest floating-point format."""
    x = x.astype(np.longdouble)
    power = np.exp(-abs(x))
    sigmoid = np.where(x >= 0, 1, power) / (1 + power)
    if name == "tanh":
        return np.tanh(x), 4 * np.exp(-2 * abs(x)) / (1 + np.exp(-2 * abs(x))) ** 2
    if name == "shifted_softplus":
        return np.maximum(x, 0) + np.log1p(power) - np.log(np.longdouble(2)), sigmoid
    return x * sigmoid, sigmoid * (1 + x * np.where(x >= 0, power, 1) / (1 + power))


def activate(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kernel makes of x."""
    values, slopes = x.copy(), np.empty_like(x)
    activate_(KINDS[name], values, slopes)
    return values, slopes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KINDS)
def test_activations_and_slopes_are_exact_to_a_few_roundings(name, dtype):
    small = np.geomspace(1e-6, 1.0, 2001)
    x = np.concatenate([np.linspace(-60.0, 60.0, 24001), small, -small]).astype(dtype)
    rounding = np.finfo(dtype).eps
    for found, expected in zip(activate(name, x), evaluate_exactly(name, x), strict=True):
        # a few steps of one rounding each; half of them is the usual outcome
        error = abs(found - expected) / np.maximum(1.0, abs(expected))
        assert float(error.max()) < 3.0 * rounding


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tanh", "silu"])
def test_small_activations_keep_all_their_digits(name, dtype):
    x = np.geomspace(1e-30, 0.1, 2001).astype(dtype)
    values, _ = activate(name, x)
    expected, _ = evaluate_exactly(name, x)
    assert float((abs(values - expected) / expected).max()) < 3.0 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KINDS)
def test_activations_vanish_at_zero_and_keep_what_is_not_a_number(name, dtype):
    values, slopes = activate(name, np.array([0.0, np.nan], dtype))
    # padding with zeros relies on the first
    assert abs(values[0]) <= np.finfo(dtype).eps
    assert np.isnan(values[1])
    assert np.isnan(slopes[1])
