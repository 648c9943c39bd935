"""Activation functions with their slopes in loops without branches, which compilers turn into vector instructions.

The readable twins are in `beadsmith.networks.activations`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

KINDS = {"tanh": 0, "shifted_softplus": 1, "silu": 2}
"""Number of each activation function."""

_LN2 = math.log(2.0)
# the leading bits of ln 2: their product with a small whole number is exact; and the rest
_LN2_HIGH_32, _LN2_LOW_32 = 0.693359375, _LN2 - 0.693359375
_LN2_HIGH_64, _LN2_LOW_64 = 0.6931471803691238, 1.9082149292705877e-10


def exp_and_less_one(x):
    """Return eˣ and eˣ − 1 for x ≤ 0, both to a few roundings."""
    return math.exp(x), math.expm1(x)


@overload(exp_and_less_one)
def _overload_exp_and_less_one(x):
    # eˣ = 2ᵏ (1 + g), g = e^f − 1, |f| ≤ ln(2)/2; the series ends where its remainder is below one rounding, and x
    # where 2ᵏ stops to be a normal number
    is_single = x == types.float32
    real: Any
    whole: Any
    real, whole = (np.float32, np.int32) if is_single else (np.float64, np.int64)
    n_terms, bias, shift, smallest = (8, 127, 23, -87.0) if is_single else (14, 1023, 52, -708.0)
    high, low = (_LN2_HIGH_32, _LN2_LOW_32) if is_single else (_LN2_HIGH_64, _LN2_LOW_64)

    def implementation(x):
        x = real(smallest) if x < real(smallest) else x
        k = np.floor(x * real(1.4426950408889634) + real(0.5))
        f = (x - k * real(high)) - k * real(low)
        series = real(1.0)
        for n in range(n_terms, 1, -1):
            series = real(1.0) + series * f * real(1.0 / n)
        power = whole((whole(k) + whole(bias)) << whole(shift)).view(real)
        grown = power * (f * series)
        return power + grown, (power - real(1.0)) + grown

    return implementation


def log_of_one_plus(y):
    """Return log(1 + y) for 0 ≤ y ≤ 1."""
    return math.log1p(y)


@overload(log_of_one_plus)
def _overload_log_of_one_plus(y):
    # log(1 + y) = 2 atanh(t), t = y / (2 + y) ≤ 1/3: the first term left out is below one rounding
    last = 15 if y == types.float32 else 33
    real = np.float32 if y == types.float32 else np.float64

    def implementation(y):
        t = y / (real(2.0) + y)
        square, series = t * t, real(0.0)
        for n in range(last, 0, -2):
            series = series * square + real(1.0 / n)
        return real(2.0) * t * series

    return implementation


def _compiled(function):
    # sums must not be regrouped, or small differences are lost; a division that may raise is no vector instruction
    options: Any = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # neither the package's folder nor the user's cache folder can be written to
        return njit(**options)(function)


@_compiled
def activate_(kind, values, slopes):
    """Replace values by their activations and fill the slopes.

    Parameters
    ----------
    kind : Number of the activation function in `KINDS`.
    values, slopes : Arrays with one axis.
    """
    real = values.dtype.type
    zero, one, two, four = real(0.0), real(1.0), real(2.0), real(4.0)
    if kind == 0:
        for a in range(values.shape[0]):
            x = values[a]
            power, less_one = exp_and_less_one(-two * abs(x))
            inverse = one / (one + power)
            values[a] = (-less_one if x >= zero else less_one) * inverse
            slopes[a] = four * power * inverse * inverse
    elif kind == 1:
        for a in range(values.shape[0]):
            x = values[a]
            power, _ = exp_and_less_one(-abs(x))
            slopes[a] = (one if x >= zero else power) / (one + power)
            values[a] = (x if x >= zero else zero) + (log_of_one_plus(power) - real(_LN2))
    else:
        for a in range(values.shape[0]):
            x = values[a]
            power, _ = exp_and_less_one(-abs(x))
            inverse = one / (one + power)
            sigmoid = (one if x >= zero else power) * inverse
            values[a] = x * sigmoid
            slopes[a] = sigmoid * (one + x * ((power if x >= zero else one) * inverse))
