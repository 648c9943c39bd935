"""Several threads for compiled sweeps: each takes a block of rows with about equally many pairs.

Kernels release Python's lock, so ordinary threads suffice. They wait without spinning: on a shared machine a spinning
thread costs the others their time. Results are reproducible bit for bit at a fixed number of threads.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int

Result = TypeVar("Result")

_SMALLEST_BLOCK = 2000
"""Pairs below which a second thread costs more than it saves."""


def split_rows(offsets: Int[np.ndarray, "rows"], n_threads: int | None = None) -> list[tuple[int, int]]:
    """Return (first, last + 1) of the rows of each thread's block.

    Parameters
    ----------
    offsets : Start of each row's pairs; has one more entry than rows.
    n_threads : Largest number of blocks; torch's number of threads if None.
    """
    n_rows, n_pairs = len(offsets) - 1, int(offsets[-1])
    n_blocks = torch.get_num_threads() if n_threads is None else n_threads
    n_blocks = max(1, min(n_blocks, n_rows, n_pairs // _SMALLEST_BLOCK))
    goals = np.arange(1, n_blocks) * (n_pairs / n_blocks)
    borders = [0, *np.searchsorted(offsets, goals).tolist(), n_rows]
    return [(start, stop) for start, stop in itertools.pairwise(borders) if stop > start] or [(0, 0)]


def run_blocks(sweep: Callable[[int, int], Result], blocks: list[tuple[int, int]]) -> list[Result]:
    """Return what a sweep says of each block, in their order; this thread takes the first one."""
    if len(blocks) == 1:
        return [sweep(*blocks[0])]
    others = [_pool(len(blocks) - 1).submit(sweep, *block) for block in blocks[1:]]
    first = sweep(*blocks[0])
    return [first, *(other.result() for other in others)]


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="beadsmith-sweep")
