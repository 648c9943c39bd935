"""Training frames: contiguous splits, neighbour lists found once, and labels without the prior's forces."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, build_batch
from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs, pair_vectors, pairs_within
from beadsmith.progress import Progress, silent
from beadsmith.trajectory import Trajectory

MIN_SPLIT_FRAMES = 10
"""Shortest segment that is divided; a shorter one goes whole to the training frames."""

N_BLOCKS = 5
"""Number of blocks behind every error bar of a loss, and the smallest number of test frames."""

SITES_AT_ONCE = 2048
"""Size of the batches in which all frames are gone through [sites]: many small frames at a time, one large one."""

_SAVED_BYTES = {"index": 8, "shifts": 3, "half": 2, "bond_class": 1}
"""Bytes per directed pair of each stored array (`_StoredPairs`)."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The frames of a data set by use; each row is (trajectory, frame), in order of trajectory and time."""

    train: Int[np.ndarray, "train 2"]
    """Frames that the prior and the network are fitted to."""
    validation: Int[np.ndarray, "validation 2"]
    """Frames that choose rate, stopping time and weights."""
    test: Int[np.ndarray, "test 2"]
    """Frames that nothing is chosen by."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One training batch."""

    batch: Batch
    """Systems, one a frame."""
    pairs: Pairs
    """Their pairs within the network's cutoff."""
    targets: Float[Tensor, "sites 3"]
    """Force that the network should predict [kJ/mol/nm]."""


@dataclass(frozen=True, kw_only=True)
class _StoredPairs:
    """The pairs of one frame in the smallest integers that hold them."""

    index: Int[Tensor, "2 pairs"]
    shifts: Int[Tensor, "pairs 3"]
    half: Int[Tensor, "half_pairs"]
    bond_class: Int[Tensor, "pairs"]
    row_offsets: Int[Tensor, "rows"]


@dataclass(frozen=True, kw_only=True)
class PreparedFrames:
    """A data set ready for training: what does not depend on the network's parameters is computed once."""

    trajectories: tuple[Trajectory, ...]
    """The mapped trajectories."""
    targets: tuple[np.ndarray, ...]
    """Labels minus prior forces of each trajectory, shape (n_frames, n_sites, 3) [kJ/mol/nm]."""
    cutoff: float
    """Cutoff of the network [nm]."""
    pairs: dict[tuple[int, int], _StoredPairs] | None
    """Pairs of each (trajectory, frame), or None where they would not fit into memory."""
    device: str
    """Device of the batches."""
    dtype: torch.dtype
    """Precision of the batches."""


def check_labels(trajectories: tuple[Trajectory, ...], names: tuple[str, ...]) -> None:
    """Refuse data that cannot be trained on.

    Raises
    ------
    InputError : no trajectory, forces missing or not finite, reweighted frames, or different bead types.
    """
    if not trajectories:
        raise InputError("training needs at least one mapped trajectory")
    first = trajectories[0].topology
    masses: dict[str, float] = {}
    for trajectory, name in zip(trajectories, names, strict=True):
        topology = trajectory.topology
        if trajectory.forces is None:
            raise InputError(
                "the mapped trajectory has no forces to match",
                where=f"file '{name}'",
                fix="Sample with forces, then repeat 'beadsmith map'.",
            )
        bad = np.flatnonzero(~np.isfinite(trajectory.forces).all(axis=(1, 2)))
        if len(bad):
            raise InputError(
                f"a force label is not finite in frame {bad[0]}",
                where=f"file '{name}'",
                fix="Repeat the stage that wrote the file, or remove that frame.",
            )
        if trajectory.weight is not None:
            raise InputError(
                "the frames carry statistical weights, which force matching does not use",
                where=f"file '{name}'",
                fix="Remove the weights: a force label is unbiased whatever its frame's weight.",
            )
        if topology.type_names != first.type_names:
            raise InputError(
                f"bead types are {list(topology.type_names)}, those of '{names[0]}' are {list(first.type_names)}",
                where=f"file '{name}'",
                fix="Map all trajectories of a data set with the same bead types.",
            )
        for kind, mass in zip(topology.types.tolist(), topology.masses.tolist(), strict=True):
            if not np.isclose(masses.setdefault(topology.type_names[kind], mass), mass):
                raise InputError(
                    f"bead type '{topology.type_names[kind]}' has two masses ({masses[topology.type_names[kind]]} and "
                    f"{mass} u)",
                    where=f"file '{name}'",
                    fix="Give beads of different mass different types.",
                )


def split_by_use(trajectories: tuple[Trajectory, ...], *, validation_fraction: float, test_fraction: float) -> Split:
    """Divide every segment of every trajectory into train, validation and test, in this order of time.

    Neighbouring frames are alike, so each use gets a contiguous block: random frames would leak.

    Raises
    ------
    InputError : fewer than five test frames or no validation frame would remain.
    """
    uses: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number, trajectory in enumerate(trajectories):
        for frames in _segments(trajectory):
            n_test, n_validation = (round(f * len(frames)) for f in (test_fraction, validation_fraction))
            if len(frames) < MIN_SPLIT_FRAMES:
                n_test = n_validation = 0
            n_train = len(frames) - n_test - n_validation
            parts = np.split(frames, [n_train, n_train + n_validation])
            for use, part in zip(uses, parts, strict=True):
                uses[use].append(np.stack([np.full_like(part, number), part], axis=1))
    rows = {use: np.concatenate(parts) for use, parts in uses.items()}
    n_frames = sum(len(part) for part in rows.values())
    if len(rows["test"]) < N_BLOCKS or len(rows["validation"]) < 1 or len(rows["train"]) < N_BLOCKS:
        raise InputError(
            f"{n_frames} frames are too few: {len(rows['train'])} for training, {len(rows['validation'])} for "
            f"validation and {len(rows['test'])} for testing, expected at least {N_BLOCKS}, 1 and {N_BLOCKS}",
            fix="Sample longer or save more often; segments shorter than 10 frames count as training frames only.",
        )
    return Split(**rows)


def segment_labels(trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"]) -> Int[np.ndarray, "rows"]:
    """Return one label per row that differs between trajectories and between segments of one trajectory."""
    segments = np.zeros(len(rows), dtype=np.int64)
    for number, trajectory in enumerate(trajectories):
        mine = rows[:, 0] == number
        if trajectory.segment is not None:
            segments[mine] = trajectory.segment[rows[mine, 1]]
    _, labels = np.unique(np.stack([rows[:, 0], segments], axis=1), axis=0, return_inverse=True)
    return labels.reshape(-1)


def select_rows(trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"]) -> tuple[Trajectory, ...]:
    """Return the chosen frames, one trajectory for each that has any."""
    return tuple(
        trajectory.select(rows[rows[:, 0] == number, 1])
        for number, trajectory in enumerate(trajectories)
        if np.any(rows[:, 0] == number)
    )


def prepare_frames(
    trajectories: tuple[Trajectory, ...],
    prior: list[AbstractEnergyTerm],
    *,
    cutoff: float,
    memory_limit: float,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
) -> PreparedFrames:
    """Take the prior's forces off the labels and find the neighbours of every frame.

    Parameters
    ----------
    trajectories : Mapped data with forces.
    prior : Fixed terms.
    cutoff : Cutoff of the network [nm].
    memory_limit : Largest size of the stored neighbour lists [GB]; beyond it they are found anew for each batch.
    device, dtype : Where and in which precision training runs.
    progress : Receives the number of frames done.
    """
    reach = max([cutoff] + [term.cutoff for term in prior])
    has_room = _estimate_cache(trajectories, cutoff) <= memory_limit * 1e9
    stored: dict[tuple[int, int], _StoredPairs] = {}
    targets = []
    n_total, n_done = sum(t.n_frames for t in trajectories), 0
    for number, trajectory in enumerate(trajectories):
        assert trajectory.forces is not None
        residual = trajectory.forces.astype(np.float64)
        complete: dict[int, _StoredPairs] = {}
        rows = np.stack([np.zeros(trajectory.n_frames, dtype=np.int64), np.arange(trajectory.n_frames)], axis=1)
        for place in group_rows((trajectory,), rows):
            batch = build_batch(trajectory, place, dtype=dtype)
            pairs = find_pairs(batch, reach)
            if prior:
                forces = predict_prior(prior, batch, pairs).forces.double().numpy()
                residual[place] -= forces.reshape(residual[place].shape)
            if has_room:
                lists = _store(_shorten(batch, pairs, cutoff), len(place), trajectory.n_sites)
                if trajectory.cell is None:
                    lists = [_share_complete(part, complete) for part in lists]
                stored.update(zip([(number, frame) for frame in place.tolist()], lists, strict=True))
            n_done += len(place)
            progress(n_done, n_total, "neighbour lists")
        targets.append(residual.astype(torch.empty(0, dtype=dtype).numpy().dtype))
    return PreparedFrames(
        trajectories=trajectories,
        targets=tuple(targets),
        cutoff=cutoff,
        pairs=stored if has_room else None,
        device=device,
        dtype=dtype,
    )


def load_example(frames: PreparedFrames, rows: Int[np.ndarray, "rows 2"]) -> Example:
    """Return some frames of one trajectory as a batch with pairs and targets."""
    number, chosen = int(rows[0, 0]), rows[:, 1]
    trajectory = frames.trajectories[number]
    batch = build_batch(trajectory, chosen, device=frames.device, dtype=frames.dtype)
    if frames.pairs is None:
        pairs = find_pairs(batch, frames.cutoff)
    else:
        parts = [frames.pairs[number, int(frame)] for frame in chosen]
        pairs = _join_pairs(parts, frames)
    targets = torch.from_numpy(frames.targets[number][chosen].reshape(-1, 3)).to(frames.device)
    return Example(batch=batch, pairs=pairs, targets=targets)


def shuffle_batches(
    rows: Int[np.ndarray, "rows 2"], batch_size: int, generator: torch.Generator
) -> list[Int[np.ndarray, "_ 2"]]:
    """Return all rows once, in random batches; a batch never mixes trajectories, so its systems are alike."""
    batches = []
    for number in np.unique(rows[:, 0]):
        mine = rows[rows[:, 0] == number]
        mine = mine[torch.randperm(len(mine), generator=generator).numpy()]
        batches += [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def group_rows(
    trajectories: tuple[Trajectory, ...], rows: Int[np.ndarray, "rows 2"], *, max_sites: int = SITES_AT_ONCE
) -> list[Int[np.ndarray, "_"]]:
    """Return the places of all rows in groups of one trajectory that make batches of about `max_sites` sites."""
    groups = []
    for number in np.unique(rows[:, 0]).tolist():
        places = np.flatnonzero(rows[:, 0] == number)
        size = max(1, max_sites // trajectories[number].n_sites)
        groups += [places[start : start + size] for start in range(0, len(places), size)]
    return groups


def _segments(trajectory: Trajectory) -> list[np.ndarray]:
    frames = np.arange(trajectory.n_frames)
    if trajectory.segment is None:
        return [frames]
    return [frames[trajectory.segment == label] for label in dict.fromkeys(trajectory.segment.tolist())]


def _estimate_cache(trajectories: tuple[Trajectory, ...], cutoff: float) -> float:
    """Return the expected size of all neighbour lists [byte], from the first frame of each trajectory."""
    size = 0.0
    for trajectory in trajectories:
        if trajectory.n_frames:
            n_pairs = find_pairs(build_batch(trajectory, np.array([0])), cutoff).n_pairs
            size += trajectory.n_frames * (sum(_SAVED_BYTES.values()) * n_pairs + 4.0 * (trajectory.n_sites + 1))
    return size


def _shorten(batch: Batch, pairs: Pairs, cutoff: float) -> Pairs:
    if pairs.cutoff <= cutoff:
        return pairs
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)
    return pairs_within(pairs, vectors, cutoff)[0]


def _store(pairs: Pairs, n_frames: int, n_sites: int) -> list[_StoredPairs]:
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
        _StoredPairs(
            index=index[:, bounds[k] : bounds[k + 1]],
            shifts=shifts[bounds[k] : bounds[k + 1]],
            half=half[half_edges[k] : half_edges[k + 1]],
            bond_class=bond_class[bounds[k] : bounds[k + 1]],
            row_offsets=row_offsets[k * n_sites : (k + 1) * n_sites + 1] - bounds[k],
        )
        for k in range(n_frames)
    ]


def _share_complete(part: _StoredPairs, complete: dict[int, _StoredPairs]) -> _StoredPairs:
    """Return one list for all frames of a trajectory in which every site sees every other, as in a small molecule."""
    n_sites = len(part.row_offsets) - 1
    if part.index.shape[1] < n_sites * (n_sites - 1):
        return part
    if n_sites not in complete:
        # a copy: the list at hand is a view of those of many frames
        complete[n_sites] = _StoredPairs(**{name: value.clone() for name, value in vars(part).items()})
    return complete[n_sites]


def _join_pairs(parts: list[_StoredPairs], frames: PreparedFrames) -> Pairs:
    """Put the lists of several frames side by side, as `find_pairs` would for the joint batch."""
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
        index=index.to(frames.device),
        row_offsets=torch.cat([offsets, ends[-1:]]).to(frames.device),
        half=half.to(frames.device),
        shifts=torch.cat([part.shifts for part in parts]).to(frames.device, frames.dtype),
        bond_class=torch.cat([part.bond_class for part in parts]).long().to(frames.device),
        cutoff=frames.cutoff,
    )
