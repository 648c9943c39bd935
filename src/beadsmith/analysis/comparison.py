"""How far a simulated curve is from the reference's, and how far chance alone would put it."""

import numpy as np
from jaxtyping import Bool

from beadsmith.analysis.distribution import Distribution, Measurement, jackknife_error
from beadsmith.errors import InputError


def mean_absolute_difference(
    first: Distribution, second: Distribution, window: tuple[float, float] | None = None
) -> Measurement:
    """Return the mean over bins of |first − second|, for bins with their centre in the window (all bins if None).

    The error is the jackknife over the blocks of both, taken as independent. The value itself is biased upwards by
    noise: compare it with `expected_difference`.

    Raises
    ------
    InputError : the bins differ, or none lies in the window.
    """
    if not np.array_equal(first.edges, second.edges):
        raise InputError(f"'{first.label}' and '{second.label}' have different bins and cannot be compared")
    inside = _bins_inside(first, window)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean(np.abs(a - b)[inside]))

    variance = (
        jackknife_error(lambda curve: distance(curve, second.density), first.blocks) ** 2
        + jackknife_error(lambda curve: distance(first.density, curve), second.blocks) ** 2
    )
    return Measurement(
        value=distance(first.density, second.density),
        standard_error=float(np.sqrt(variance)),
        unit="1",
        n_samples=len(first.blocks) + len(second.blocks),
    )


def sampling_error(distribution: Distribution, window: tuple[float, float] | None = None) -> Measurement:
    """Return the mean over bins of the distribution's own |error|: the distance that chance alone puts it from truth.

    Each of n blocks deviates from the mean of all by √(n − 1) times the error of that mean, so the estimate is
    <|g_block − g|> / √(n − 1), averaged over blocks and bins.

    Raises
    ------
    InputError : there are fewer than two blocks, or no bin lies in the window.
    """
    inside = _bins_inside(distribution, window)
    n_blocks = len(distribution.blocks)
    if n_blocks < 2:
        raise InputError(f"the sampling error of '{distribution.label}' needs at least two blocks, got {n_blocks}")
    deviations = np.abs(distribution.blocks - distribution.density)[:, inside].mean(axis=1) / np.sqrt(n_blocks - 1)
    return Measurement(
        value=float(deviations.mean()),
        standard_error=float(deviations.std(ddof=1) / np.sqrt(n_blocks)),
        unit="1",
        n_samples=n_blocks,
    )


def expected_difference(first: Measurement, second: Measurement) -> Measurement:
    """Return the mean |difference| of two perfect estimates of one curve, from their sampling errors."""
    value = float(np.hypot(first.value, second.value))
    slopes = (first.value / value, second.value / value) if value > 0.0 else (0.0, 0.0)
    return Measurement(
        value=value,
        standard_error=float(np.hypot(slopes[0] * first.standard_error, slopes[1] * second.standard_error)),
        unit="1",
        n_samples=first.n_samples + second.n_samples,
    )


def subtract(first: Measurement, second: Measurement) -> Measurement:
    """Return first − second of two independent measurements."""
    return Measurement(
        value=first.value - second.value,
        standard_error=float(np.hypot(first.standard_error, second.standard_error)),
        unit=first.unit,
        n_samples=min(first.n_samples, second.n_samples),
    )


def divide(first: Measurement, second: Measurement) -> Measurement:
    """Return first / second of two independent measurements, the errors added in quadrature (first order)."""
    ratio = first.value / second.value
    return Measurement(
        value=ratio,
        standard_error=float(np.hypot(first.standard_error, ratio * second.standard_error) / abs(second.value)),
        unit="1",
        n_samples=min(first.n_samples, second.n_samples),
    )


def _bins_inside(distribution: Distribution, window: tuple[float, float] | None) -> Bool[np.ndarray, "bins"]:
    centres = distribution.centres
    if window is None:
        return np.ones(len(centres), dtype=bool)
    inside = (centres > window[0]) & (centres < window[1])
    if not inside.any():
        unit = distribution.unit
        raise InputError(f"no bin of '{distribution.label}' lies between {window[0]} and {window[1]} {unit}")
    return inside
