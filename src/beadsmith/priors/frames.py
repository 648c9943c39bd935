"""Stream the frames of several trajectories in contiguous blocks, with their pairs and force labels in float64."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, build_batch
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs
from beadsmith.progress import Progress, silent
from beadsmith.statistics import block_edges
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class FrameBlocks:
    """Frames of several trajectories, split into contiguous blocks that can be taken as independent."""

    trajectories: tuple[Trajectory, ...]
    """Frames with forces; all share one list of bead types."""
    blocks: tuple[tuple[int, np.ndarray], ...]
    """Trajectory and frame indices of each block."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def n_frames(self) -> int:
        """Number of frames in all blocks."""
        return sum(len(frames) for _, frames in self.blocks)

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the bead types."""
        return self.trajectories[0].topology.type_names

    def thin(self, n_frames: int) -> "FrameBlocks":
        """Return at least as many frames and less than twice as many, evenly spread; all if there are no more."""
        step = max(1, self.n_frames // max(1, n_frames))
        return replace(self, blocks=tuple((number, indices[::step]) for number, indices in self.blocks))

    def measure_mean_square_force(self) -> float:
        """Return the weighted mean square of a force component [(kJ/mol/nm)²]: the loss of no force at all."""
        total = count = 0.0
        for number, frames in self.blocks:
            trajectory = self.trajectories[number]
            assert trajectory.forces is not None
            squares = np.square(trajectory.forces[frames], dtype=np.float64).mean(axis=(1, 2))
            weights = np.ones(len(frames)) if trajectory.weight is None else trajectory.weight[frames]
            scale = trajectory.n_sites / (1.0 if trajectory.weight is None else float(np.mean(trajectory.weight)))
            total += scale * float(weights @ squares)
            count += scale * float(weights.sum())
        return total / count


@dataclass(frozen=True, kw_only=True)
class FrameChunk:
    """A few frames of one block."""

    batch: Batch
    """The frames, in float64."""
    pairs: Pairs
    """Their pairs."""
    labels: Float[Tensor, "components"]
    """Force components, site by site [kJ/mol/nm]."""
    weights: Float[Tensor, "systems"]
    """Statistical weight of each frame, 1 on average over its trajectory."""
    block: int
    """Number of the block."""
    frames: Int[np.ndarray, "systems"]
    """Frame indices in their trajectory."""


def split_frames(
    trajectories: tuple[Trajectory, ...], frames: tuple[np.ndarray, ...] | None = None, *, n_blocks: int
) -> FrameBlocks:
    """Return the chosen frames of each trajectory in about `n_blocks` contiguous blocks, in proportion to their number.

    Parameters
    ----------
    trajectories : One or more trajectories with forces.
    frames : Frame indices of each trajectory; all frames if None.
    n_blocks : Wanted number of blocks; every segment gets at least one.

    Raises
    ------
    InputError : no frames, forces missing, or trajectories with different bead types.
    """
    chosen = tuple(np.arange(t.n_frames) for t in trajectories) if frames is None else frames
    n_total = sum(len(indices) for indices in chosen)
    if len(chosen) != len(trajectories) or n_total == 0:
        raise InputError("force matching needs at least one frame, and one list of frames for each trajectory")
    blocks: list[tuple[int, np.ndarray]] = []
    for number, (trajectory, indices) in enumerate(zip(trajectories, chosen, strict=True)):
        if trajectory.topology.type_names != trajectories[0].topology.type_names:
            raise InputError(
                f"trajectory {number} has the bead types {trajectory.topology.type_names}, "
                f"the first one has {trajectories[0].topology.type_names}",
                fix="Map all trajectories with one list of bead types.",
            )
        if trajectory.forces is None:
            raise InputError(f"trajectory {number} has no forces to match", fix="Sample and map it with forces.")
        if len(indices):
            share = min(len(indices), max(1, round(n_blocks * len(indices) / n_total)))
            segment = None if trajectory.segment is None else trajectory.segment[indices]
            blocks.extend((number, indices[part]) for part in block_edges(len(indices), share, segment))
    return FrameBlocks(trajectories=tuple(trajectories), blocks=tuple(blocks))


def stream_frames(
    frames: FrameBlocks, *, cutoff: float, max_sites: int = 1024, progress: Progress = silent
) -> Iterator[FrameChunk]:
    """Yield all frames, chunk by chunk; memory is that of one chunk.

    Parameters
    ----------
    frames : Frames in blocks.
    cutoff : Cutoff of the pair list [nm].
    max_sites : Largest number of sites in a chunk; a chunk holds at least one frame.
    progress : Called with the number of frames done.
    """
    done = 0
    for block, (number, indices) in enumerate(frames.blocks):
        trajectory = frames.trajectories[number]
        n_chunks = -(-len(indices) // max(1, max_sites // trajectory.n_sites))
        for part in np.array_split(indices, n_chunks):
            batch = build_batch(trajectory, part, dtype=torch.float64)
            assert trajectory.forces is not None
            weights = np.ones(len(part)) if trajectory.weight is None else trajectory.weight[part]
            scale = 1.0 if trajectory.weight is None else float(np.mean(trajectory.weight))
            yield FrameChunk(
                batch=batch,
                pairs=find_pairs(batch, cutoff),
                labels=torch.from_numpy(trajectory.forces[part].astype(np.float64).reshape(-1)),
                weights=torch.from_numpy(np.asarray(weights, dtype=np.float64) / scale),
                block=block,
                frames=part,
            )
            done += len(part)
            progress(done, frames.n_frames)
