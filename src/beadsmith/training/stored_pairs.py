"""Neighbour lists of training frames, kept in the smallest integers between the epochs."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from beadsmith.batch import Pairs

SAVED_BYTES = 8 + 3 + 2 + 1
"""Bytes per directed pair: index, shifts, half and bond class."""


@dataclass(frozen=True, kw_only=True)
class StoredPairs:
    """The pairs of one frame in the smallest integers that hold them."""

    index: Int[Tensor, "2 pairs"]
    """First and second site, int32."""
    shifts: Int[Tensor, "pairs 3"]
    """Cell shifts, int8."""
    half: Int[Tensor, "half_pairs"]
    """Places that pick each unordered pair once, int32."""
    bond_class: Int[Tensor, "pairs"]
    """Relation of the two sites, int8."""
    row_offsets: Int[Tensor, "rows"]
    """Start of each site's pairs, int32."""


def store_pairs(pairs: Pairs, n_frames: int, n_sites: int) -> list[StoredPairs]:
    """Cut the pairs of a batch of frames of one size into those of each frame."""
    frame_of_pair = torch.div(pairs.index[0], n_sites, rounding_mode="floor")
    edges = pairs.row_offsets[::n_sites].contiguous()
    frame_of_half = torch.searchsorted(edges, pairs.half, right=True) - 1
    index = (pairs.index - frame_of_pair * n_sites).int()
    half = (pairs.half - edges[frame_of_half]).int()
    shifts, bond_class = pairs.shifts.to(torch.int8), pairs.bond_class.to(torch.int8)
    row_offsets = pairs.row_offsets.int()
    half_edges = torch.cat([edges.new_zeros(1), torch.bincount(frame_of_half, minlength=n_frames).cumsum(0)]).tolist()
    bounds = edges.tolist()
    return [
        StoredPairs(
            index=index[:, bounds[k] : bounds[k + 1]],
            shifts=shifts[bounds[k] : bounds[k + 1]],
            half=half[half_edges[k] : half_edges[k + 1]],
            bond_class=bond_class[bounds[k] : bounds[k + 1]],
            row_offsets=row_offsets[k * n_sites : (k + 1) * n_sites + 1] - bounds[k],
        )
        for k in range(n_frames)
    ]


def share_complete(part: StoredPairs, complete: dict[int, StoredPairs]) -> StoredPairs:
    """Return one list for all frames of a trajectory in which every site sees every other, as in a small molecule."""
    n_sites = len(part.row_offsets) - 1
    if part.index.shape[1] < n_sites * (n_sites - 1):
        return part
    if n_sites not in complete:
        # a copy: the list at hand is a view of those of many frames
        complete[n_sites] = StoredPairs(**{name: value.clone() for name, value in vars(part).items()})
    return complete[n_sites]


def join_pairs(parts: list[StoredPairs], cutoff: float, *, device: str, dtype: torch.dtype) -> Pairs:
    """Put the lists of several frames side by side, as `find_pairs` would for the joint batch.

    Parameters
    ----------
    parts : Lists of frames with equally many sites.
    cutoff : Their cutoff [nm].
    device, dtype : Where the joint list lies, and in which precision its shifts.
    """
    n_sites = len(parts[0].row_offsets) - 1
    pairs_of_part = torch.tensor([part.index.shape[1] for part in parts])
    half_of_part = torch.tensor([len(part.half) for part in parts])
    ends = pairs_of_part.cumsum(0)
    starts = ends - pairs_of_part
    first_sites = (torch.arange(len(parts)) * n_sites).repeat_interleave(pairs_of_part)
    offsets = torch.cat([part.row_offsets[:-1] for part in parts]).long() + starts.repeat_interleave(n_sites)
    half = torch.cat([part.half for part in parts]).long() + starts.repeat_interleave(half_of_part)
    index = torch.cat([part.index for part in parts], dim=1).long() + first_sites
    return Pairs(
        index=index.to(device),
        row_offsets=torch.cat([offsets, ends[-1:]]).to(device),
        half=half.to(device),
        shifts=torch.cat([part.shifts for part in parts]).to(device, dtype),
        bond_class=torch.cat([part.bond_class for part in parts]).long().to(device),
        cutoff=cutoff,
    )
