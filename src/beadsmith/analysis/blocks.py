"""Weighted counts of samples by block of frames, and the error of any function of them.

Blocks never cross a run or replica. Leaving out one block at a time gives the standard error of whatever is computed
from the sum of all; the two halves of the blocks, held against each other, say how well one data set knows itself.
Where frames are reweighted with a Markov state model, leaving a block out also changes the weights of the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.distribution import Measurement
from beadsmith.statistics import block_edges, leave_one_out_error

_MOST_BLOCKS = 40
"""More blocks than this are joined: an error from 40 blocks is itself known to 11 %."""


@dataclass(frozen=True, kw_only=True)
class StateWeights:
    """Weights of frames that depend on the frame's state alone."""

    states: Int[np.ndarray, "frames"]
    """State of each frame."""
    weights: Float[np.ndarray, "states"]
    """Weight of a frame of each state; the mean over all frames is 1."""
    left_out: Float[np.ndarray, "blocks states"]
    """The same, estimated without one of the blocks at a time."""


@dataclass(frozen=True, kw_only=True)
class FrameBlocks:
    """How the frames of one trajectory fall into blocks, and what each of them weighs."""

    pieces: list[list[Int[np.ndarray, "piece"]]]
    """The contiguous pieces of one segment that make each block."""
    block: Int[np.ndarray, "frames"]
    """Block of each frame."""
    weight: Float[np.ndarray, "frames"]
    """Weight of each frame."""
    by_state: StateWeights | None = None
    """Where the weights come from if they are those of a Markov state model."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.pieces)

    @property
    def n_effective(self) -> float:
        """Number of equal weights that are worth as much, (Σw)²/Σw². Source: L. Kish, Survey Sampling (1965)."""
        return float(self.weight.sum() ** 2 / np.sum(self.weight**2))

    def reweighted(self, by_state: StateWeights) -> "FrameBlocks":
        """Return the same blocks with the weights of a Markov state model."""
        return replace(self, weight=by_state.weights[by_state.states], by_state=by_state)


def divide_frames(
    n_frames: int,
    *,
    n_blocks: int,
    segment: Int[np.ndarray, "frames"] | None = None,
    weight: Float[np.ndarray, "frames"] | None = None,
) -> FrameBlocks:
    """Return blocks of frames in their order: about `n_blocks`, at least one a segment, at most 40.

    Raises
    ------
    InputError : there are no frames.
    """
    parts = block_edges(n_frames, min(n_blocks, n_frames), segment)
    bounds = np.array_split(np.arange(len(parts)), min(len(parts), max(n_blocks, _MOST_BLOCKS)))
    pieces = [[parts[number] for number in bound.tolist()] for bound in bounds]
    block = np.zeros(n_frames, dtype=np.int64)
    for number, group in enumerate(pieces):
        for piece in group:
            block[piece] = number
    return FrameBlocks(pieces=pieces, block=block, weight=np.ones(n_frames) if weight is None else weight)


@dataclass(frozen=True, kw_only=True)
class BlockCounts:
    """Weighted counts of samples in bins, block by block. Every sample lies in one bin."""

    counts: Float[np.ndarray, "blocks *bins"]
    """Sum of the weights of each block's samples in each bin."""
    left_out: Float[np.ndarray, "blocks *bins"]
    """Counts of everything but one block; for reweighted frames with the weights that the rest gives."""
    n_samples: float
    """Number of samples behind them: frames times copies; for weighted frames their effective number."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.counts)

    @property
    def total(self) -> Float[np.ndarray, "*bins"]:
        """Counts of all blocks together."""
        return self.counts.sum(axis=0)

    @property
    def probability(self) -> Float[np.ndarray, "*bins"]:
        """Probability of each bin."""
        return self.total / self.counts.sum()

    @property
    def standard_error(self) -> Float[np.ndarray, "*bins"]:
        """Standard error of `probability` by jackknife; NaN for one block."""
        return jackknife(lambda counts: counts / counts.sum(), self)

    def mirrored(self, axes: tuple[int, ...]) -> "BlockCounts":
        """Return the counts of the mirror image: bins reversed along the axes of the bins."""
        return self._map(lambda counts: np.flip(counts, axis=axes))

    def symmetrised(self, axes: tuple[int, ...]) -> "BlockCounts":
        """Return the mean of the counts and those of their mirror image."""
        return self._map(lambda counts: 0.5 * (counts + np.flip(counts, axis=axes)))

    def _map(self, change: Callable[[np.ndarray], np.ndarray]) -> "BlockCounts":
        counts, left_out = (np.array([change(row) for row in rows]) for rows in (self.counts, self.left_out))
        return BlockCounts(counts=counts, left_out=left_out, n_samples=self.n_samples)


def count_samples(bins: Int[np.ndarray, "frames samples"], shape: tuple[int, ...], frames: FrameBlocks) -> BlockCounts:
    """Return the counts of samples, several a frame, whose flat bin is given; blocks without weight are left out."""
    n_bins = int(np.prod(shape))
    counts, left_out = _sum_by_block(bins, n_bins, frames)
    used = counts.sum(axis=1) > 0.0
    return BlockCounts(
        counts=counts[used].reshape(-1, *shape),
        left_out=left_out[used].reshape(-1, *shape),
        n_samples=bins.shape[1] * frames.n_effective,
    )


def measure_average(values: Float[np.ndarray, "frames samples"], frames: FrameBlocks, *, unit: str) -> Measurement:
    """Return the weighted mean of samples, several a frame, with its jackknife error."""
    # one "bin" holds the weights, the other the weighted values
    nothing = np.zeros(values.shape, dtype=np.int64)
    sums = [_sum_by_block(nothing, 1, frames), _sum_by_block(nothing, 1, frames, values)]
    counts, left_out = (np.concatenate(pair, axis=1) for pair in zip(*sums, strict=True))
    used = counts[:, 0] > 0.0
    both = BlockCounts(counts=counts[used], left_out=left_out[used], n_samples=0.0)
    return Measurement(
        value=float(both.total[1] / both.total[0]),
        standard_error=float(jackknife(lambda sums: sums[1] / sums[0], both)),
        unit=unit,
        n_samples=both.n_blocks,
    )


def jackknife(statistic: Callable[[np.ndarray], np.ndarray | float], blocks: BlockCounts) -> np.ndarray:
    """Return the standard error of a scale-free statistic of the counts, leaving out one block at a time.

    NaN for fewer than two blocks. Source: B. Efron and C. Stein, Ann. Stat. 9, 586 (1981).
    """
    if blocks.n_blocks < 2:
        return np.full(np.shape(statistic(blocks.total)), np.nan)
    values = np.array([statistic(rest) for rest in blocks.left_out])
    return leave_one_out_error(values.reshape(len(values), -1)).reshape(values.shape[1:])


def split_halves(blocks: BlockCounts) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the summed counts of the first and the second half of the blocks, cut where half the weight is nearest.

    Blocks come in the order of the frames: one long run is cut in the middle, many replicas into two groups of
    replicas. None for fewer than two blocks.
    """
    if blocks.n_blocks < 2:
        return None
    totals = blocks.counts.reshape(blocks.n_blocks, -1).sum(axis=1)
    cut = 1 + int(np.argmin(np.abs(np.cumsum(totals)[:-1] - 0.5 * totals.sum())))
    return blocks.counts[:cut].sum(axis=0), blocks.counts[cut:].sum(axis=0)


def _sum_by_block(
    bins: np.ndarray, n_bins: int, frames: FrameBlocks, amounts: np.ndarray | None = None
) -> tuple[Float[np.ndarray, "blocks bins"], Float[np.ndarray, "blocks bins"]]:
    """Return the sums in each bin by block, and the sums without one block at a time."""
    n_blocks = frames.n_blocks
    values = np.ones(bins.shape) if amounts is None else amounts
    if frames.by_state is None:
        sums = _add_up(frames.block[:, None] * n_bins + bins, values * frames.weight[:, None], n_blocks * n_bins)
        counts = sums.reshape(n_blocks, n_bins)
        # counts are never negative, but the difference of two equal sums may be -1e-13
        rest = counts.sum(axis=0) - counts
        return counts, np.maximum(rest, 0.0) if amounts is None else rest
    states = frames.by_state
    n_states = len(states.weights)
    place = (states.states * n_blocks + frames.block)[:, None] * n_bins + bins
    by_state = _add_up(place, values, n_states * n_blocks * n_bins).reshape(n_states, n_blocks, n_bins)
    rest = by_state.sum(axis=1, keepdims=True) - by_state
    return (
        np.einsum("s,sbn->bn", states.weights, by_state),
        np.einsum("bs,sbn->bn", states.left_out, rest),
    )


def _add_up(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(places.ravel(), weights=values.ravel(), minlength=size)
