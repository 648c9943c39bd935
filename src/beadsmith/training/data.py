"""Training frames: contiguous splits, neighbour lists found once, and labels without the prior's forces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, build_batch
from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs, pair_vectors, pairs_within
from beadsmith.progress import Progress, silent
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.labels import Label, LabelBatch, LabelKind, Weights
from beadsmith.training.stored_pairs import SAVED_BYTES, StoredPairs, join_pairs, share_complete, store_pairs
from beadsmith.training.virial_components import virial_components
from beadsmith.trajectory import Trajectory

MIN_SPLIT_FRAMES = 10
"""Shortest segment that is divided; a shorter one goes whole to the training frames."""

N_BLOCKS = 5
"""Number of blocks behind every error bar of a loss, and the smallest number of test frames."""

SITES_AT_ONCE = 2048
"""Size of the batches in which all frames are gone through [sites]: many small frames at a time, one large one."""


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
    labels: dict[LabelKind, LabelBatch]
    """What the network should predict, by kind."""
    trajectory: int
    """Number of the trajectory that they are from."""

    @property
    def targets(self) -> Float[Tensor, "sites 3"]:
        """Force that the network should predict [kJ/mol/nm]."""
        return self.labels["forces"].values


@dataclass(frozen=True, kw_only=True)
class PreparedFrames:
    """A data set ready for training: what does not depend on the network's parameters is computed once."""

    trajectories: tuple[Trajectory, ...]
    """The mapped trajectories."""
    labels: tuple[dict[LabelKind, Label], ...]
    """Labels of each trajectory, by kind, without the prior's part."""
    thermal_form: ThermalForm
    """What the network's channels mean."""
    cutoff: float
    """Cutoff of the network [nm]."""
    pairs: dict[tuple[int, int], StoredPairs] | None
    """Pairs of each (trajectory, frame), or None where they would not fit into memory."""
    device: str
    """Device of the batches."""
    dtype: torch.dtype
    """Precision of the batches."""

    @property
    def targets(self) -> tuple[np.ndarray, ...]:
        """Forces minus prior forces of each trajectory, shape (n_frames, n_sites, 3) [kJ/mol/nm]."""
        return tuple(labels["forces"].values for labels in self.labels)


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


def check_mappings(mappings: tuple[dict[str, Any], ...], names: tuple[str, ...]) -> None:
    """Refuse trajectories whose beads are not at the same places of their molecules: they have other mean forces.

    Force maps may differ: every valid one has the same mean force.

    Parameters
    ----------
    mappings : What 'beadsmith map' says of each file; a file that says nothing is believed.
    names : Files, for the message.

    Raises
    ------
    InputError : bead names, position weights or the noise on positions differ.
    """
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for mapping, name in zip(mappings, names, strict=True):
        for molecule in mapping.get("molecules", ()):
            own = {key: molecule.get(key) for key in ("bead_names", "position_weights")}
            own["noise_width"] = mapping.get("noise_width")
            first, expected = known.setdefault(molecule["name"], (name, own))
            differing = [key for key in own if not _is_equal(own[key], expected[key])]
            if differing:
                raise InputError(
                    f"molecule '{molecule['name']}' is mapped with other {differing[0].replace('_', ' ')} than in "
                    f"'{first}'",
                    where=f"file '{name}'",
                    fix="Map all runs of a data set with the same section 'mapping'.",
                )


def _is_equal(one: Any, other: Any) -> bool:
    """Tell whether two entries of a mapping are the same up to the rounding of masses in files."""
    if isinstance(one, list) and isinstance(other, list) and one and isinstance(one[0], list):
        return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=0.0, atol=1e-6))
    return bool(one == other)


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
    thermal_form: ThermalForm | None = None,
    weights: tuple[Weights, ...] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
) -> PreparedFrames:
    """Take the prior's part off the labels and find the neighbours of every frame.

    Parameters
    ----------
    trajectories : Mapped data with forces.
    prior : Fixed terms.
    cutoff : Cutoff of the network [nm].
    memory_limit : Largest size of the stored neighbour lists [GB]; beyond it they are found anew for each batch.
    thermal_form : What the network's channels mean; None for one channel, the free energy.
    weights : Kinds of labels to learn from, with their weights; None for all forces alike.
    device, dtype : Where and in which precision training runs.
    progress : Receives the number of frames done.
    """
    reach = max([cutoff] + [term.cutoff for term in prior])
    has_room = _estimate_cache(trajectories, cutoff) <= memory_limit * 1e9
    stored: dict[tuple[int, int], StoredPairs] = {}
    labels: list[dict[LabelKind, Label]] = []
    n_total, n_done = sum(t.n_frames for t in trajectories), 0
    for number, trajectory in enumerate(trajectories):
        own: Weights = {"forces": None} if weights is None else weights[number]
        values = {kind: _read_label(trajectory, kind) for kind in own}
        complete: dict[int, StoredPairs] = {}
        rows = np.stack([np.zeros(trajectory.n_frames, dtype=np.int64), np.arange(trajectory.n_frames)], axis=1)
        for place in group_rows((trajectory,), rows):
            batch = build_batch(trajectory, place, dtype=dtype)
            pairs = find_pairs(batch, reach)
            if prior:
                prediction = predict_prior(prior, batch, pairs)
                # all of the prior is energy, none of it entropy
                values["forces"][place] -= prediction.forces.double().numpy().reshape(-1, trajectory.n_sites, 3)
                if "energies" in values:
                    values["energies"][place] -= prediction.energy.numpy()
                if "virials" in values:
                    values["virials"][place] -= virial_components(prediction.virial.numpy())
            if has_room:
                lists = store_pairs(_shorten(batch, pairs, cutoff), len(place), trajectory.n_sites)
                if trajectory.cell is None:
                    lists = [share_complete(part, complete) for part in lists]
                stored.update(zip([(number, frame) for frame in place.tolist()], lists, strict=True))
            n_done += len(place)
            progress(n_done, n_total, "neighbour lists")
        labels.append({kind: _finish_label(values[kind], weight, dtype) for kind, weight in own.items()})
    return PreparedFrames(
        trajectories=trajectories,
        labels=tuple(labels),
        thermal_form=thermal_form or ThermalForm(),
        cutoff=cutoff,
        pairs=stored if has_room else None,
        device=device,
        dtype=dtype,
    )


def _read_label(trajectory: Trajectory, kind: LabelKind) -> Float[np.ndarray, "frames *shape"]:
    """Return a copy of the labels of one kind in float64."""
    stored = {
        "forces": trajectory.forces,
        "virials": None if trajectory.virial is None else virial_components(trajectory.virial),
        "energies": trajectory.energy,
        "response_forces": trajectory.response_forces,
    }
    values = stored[kind]
    assert values is not None
    return values.astype(np.float64)


def _finish_label(values: np.ndarray, weights: np.ndarray | None, dtype: torch.dtype) -> Label:
    """Return labels in the precision of the fit, but those of whole frames in float64: their differences are small."""
    if values.ndim == 3:
        values = values.astype(torch.empty(0, dtype=dtype).numpy().dtype)
    return Label(values=values, weights=weights)


def load_example(frames: PreparedFrames, rows: Int[np.ndarray, "rows 2"]) -> Example:
    """Return some frames of one trajectory as a batch with pairs and targets."""
    number, chosen = int(rows[0, 0]), rows[:, 1]
    trajectory = frames.trajectories[number]
    batch = build_batch(trajectory, chosen, device=frames.device, dtype=frames.dtype)
    if frames.pairs is None:
        pairs = find_pairs(batch, frames.cutoff)
    else:
        parts = [frames.pairs[number, int(frame)] for frame in chosen]
        pairs = join_pairs(parts, frames.cutoff, device=frames.device, dtype=frames.dtype)
    labels = {kind: _load_label(label, chosen, frames) for kind, label in frames.labels[number].items()}
    return Example(batch=batch, pairs=pairs, labels=labels, trajectory=number)


def _load_label(label: Label, chosen: np.ndarray, frames: PreparedFrames) -> LabelBatch:
    """Return labels of some frames, systems or sites first."""
    values = label.values[chosen]
    values = torch.from_numpy(values.reshape(-1, 3) if values.ndim == 3 else values).to(frames.device)
    if label.weights is None:
        return LabelBatch(values=values, weights=None)
    weights = np.ascontiguousarray(label.weights[chosen]).reshape(-1)
    return LabelBatch(values=values, weights=torch.from_numpy(weights).to(frames.device, frames.dtype))


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
            size += trajectory.n_frames * (SAVED_BYTES * n_pairs + 4.0 * (trajectory.n_sites + 1))
    return size


def _shorten(batch: Batch, pairs: Pairs, cutoff: float) -> Pairs:
    if pairs.cutoff <= cutoff:
        return pairs
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)
    return pairs_within(pairs, vectors, cutoff)[0]
