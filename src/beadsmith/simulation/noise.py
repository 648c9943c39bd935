"""Random numbers of a simulation, counted instead of streamed: a pure function of seed, replica and step.

A replica's numbers do not depend on how many others run beside it, on which of them stopped, or on how often the run
was interrupted; and a restart needs no generator state beyond the seed and the step.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NOISE, VELOCITIES, PLACEMENT, EXCHANGES, VOLUMES = range(5)
"""Independent streams of one seed."""

_LONGEST_BLOCK = 256
_NUMBERS_PER_BLOCK = 65536


@dataclass(frozen=True, kw_only=True)
class NoiseBlock:
    """Standard normal numbers for a few consecutive steps of all replicas."""

    index: int
    """Number of the block; it covers steps index · length to (index + 1) · length − 1."""
    values: Float[Tensor, "steps replicas sites 3"]
    """The numbers [1]."""


def draw_normals(seed: int, stream: int, *, replica: int, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal numbers that depend on the arguments alone.

    Source of the generator: Philox4x64-10, J. K. Salmon et al., SC'11, DOI 10.1145/2063384.2063405. Key: seed and
    stream; the upper half of the 256-bit counter: replica and index.
    """
    return _make_generator(seed, stream, replica, index).standard_normal(shape)


def draw_uniforms(seed: int, stream: int, *, index: int, shape: tuple[int, ...], replica: int = 0) -> np.ndarray:
    """Return numbers between 0 and 1 (excluded) that depend on the arguments alone; see `draw_normals`."""
    return _make_generator(seed, stream, replica, index).random(shape)


def _make_generator(seed: int, stream: int, replica: int, index: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.Philox(
            key=np.array([seed, stream], dtype=np.uint64), counter=np.array([0, 0, replica, index], dtype=np.uint64)
        )
    )


def draw_block(
    seed: int, replicas: list[int], *, step: int, n_sites: int, device: torch.device | str = "cpu"
) -> NoiseBlock:
    """Return the block of numbers that covers a step."""
    # blocks: one generator per replica and 256 steps costs next to nothing, one per step would not
    length = max(1, min(_LONGEST_BLOCK, _NUMBERS_PER_BLOCK // (3 * n_sites)))
    index = step // length
    drawn = [draw_normals(seed, NOISE, replica=r, index=index, shape=(length, n_sites, 3)) for r in replicas]
    return NoiseBlock(index=index, values=torch.from_numpy(np.stack(drawn, axis=1)).to(device))


def is_block_of(block: NoiseBlock, step: int) -> bool:
    """Tell whether the block covers a step."""
    return step // block.values.shape[0] == block.index
