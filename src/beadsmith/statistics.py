"""Error bars of correlated data: block averages, block standard errors and the statistical inefficiency."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from beadsmith.errors import InputError


def block_edges(n_frames: int, n_blocks: int, segment: Int[np.ndarray, "frames"] | None = None) -> list[np.ndarray]:
    """Split frames into contiguous blocks that never cross a segment.

    Parameters
    ----------
    n_frames : Number of frames.
    n_blocks : Wanted total number of blocks; every segment gets at least one, longer ones more.
    segment : Segment label of each frame (run, replica or file), or None for one segment.

    Returns
    -------
    Index arrays, in order, that together hold every frame once.

    Raises
    ------
    InputError : fewer frames than blocks.
    """
    if n_frames < n_blocks:
        raise InputError(f"{n_blocks} blocks need at least as many frames, got {n_frames}")
    frames = np.arange(n_frames)
    if segment is None:
        return list(np.array_split(frames, n_blocks))
    groups = [frames[segment == label] for label in dict.fromkeys(segment.tolist())]
    blocks: list[np.ndarray] = []
    for group in groups:
        share = max(1, round(n_blocks * len(group) / n_frames))
        blocks.extend(np.array_split(group, min(share, len(group))))
    return blocks


def mean_and_error(values: ArrayLike, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and its standard error of independent samples (for example block means) along one axis.

    The error is the sample standard deviation divided by sqrt(n); it is NaN for fewer than two samples.
    """
    array = np.asarray(values, dtype=np.float64)
    n_samples = array.shape[axis]
    mean = np.asarray(array.mean(axis=axis))
    if n_samples < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, np.asarray(array.std(axis=axis, ddof=1) / np.sqrt(n_samples))


def block_mean_and_error(
    series: ArrayLike, *, n_blocks: int = 10, segment: Int[np.ndarray, "frames"] | None = None
) -> tuple[float, float]:
    """Return mean and block standard error of a correlated time series.

    Source: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989). Limit: blocks must be longer than the
    correlation time; see `statistical_inefficiency`.
    """
    values = np.asarray(series, dtype=np.float64)
    n_used = min(n_blocks, len(values))
    means = [values[block].mean() for block in block_edges(len(values), n_used, segment)]
    _, error = mean_and_error(means)
    return float(values.mean()), float(error)


def statistical_inefficiency(series: Float[np.ndarray, "frames"]) -> float:
    """Return g = 1 + 2 τ: the number of correlated samples that are worth one independent sample (at least 1).

    The autocorrelation sum is cut at its first non-positive value.
    Source: J. D. Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), eq. 5.
    """
    centred = np.asarray(series, dtype=np.float64) - np.mean(series)
    return pooled_inefficiency(centred[:, None])


def pooled_inefficiency(centred: Float[np.ndarray, "frames series"]) -> float:
    """Return the statistical inefficiency of several series together, from the sum of their autocorrelations.

    Many short series know it where a single one is noise.

    Parameters
    ----------
    centred : Series, each less its mean.
    """
    n_samples, n_series = centred.shape
    variance = float(np.sum(centred**2)) / n_samples
    if n_samples < 4 or variance == 0.0:
        return 1.0
    size = 1 << (2 * n_samples - 1).bit_length()
    power = np.zeros(size // 2 + 1)
    for number in range(n_series):
        spectrum = np.fft.rfft(centred[:, number], size)
        power += spectrum.real**2 + spectrum.imag**2
    correlation = np.fft.irfft(power, size)[:n_samples]
    correlation /= variance * np.arange(n_samples, 0, -1)
    negative = np.flatnonzero(correlation <= 0.0)
    cut = int(negative[0]) if len(negative) else n_samples
    lags = np.arange(1, cut)
    return max(1.0, 1.0 + 2.0 * float(np.sum((1.0 - lags / n_samples) * correlation[1:cut])))


def leave_one_out_error(replicates: Float[np.ndarray, "blocks points"]) -> Float[np.ndarray, "points"]:
    """Return the standard error sqrt((n-1)/n Σ (x_b - mean)²) from leave-one-block-out values; NaN with one block.

    Source: B. Efron and C. Stein, Ann. Statist. 9, 586 (1981).
    """
    n_blocks = len(replicates)
    if n_blocks < 2:
        return np.full(replicates.shape[1:], np.nan)
    return np.sqrt((n_blocks - 1) * replicates.var(axis=0))
