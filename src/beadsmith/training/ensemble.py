"""An ensemble: the network and others trained like it, whose disagreement is a measure of its uncertainty.

Member 0 is the network of the run. Every other member is a training of its own, prior and corrections included, with
another seed and, if wanted, without one fold of the training frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Int

from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.io.links import link_tree
from beadsmith.io.records import read_json, write_json
from beadsmith.progress import Progress, silent
from beadsmith.statistics import block_mean_and_error
from beadsmith.training.data import N_BLOCKS, segment_labels, select_rows
from beadsmith.training.folds import Fold
from beadsmith.training.force_spread import SpreadScale, force_spread, scale_from_json, scale_spread
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.work import Work, read_work

RECORD = "ensemble.json"
"""File, beside the members' folders, that says what they are."""

MOST_FRAMES = 4000
"""Training frames behind the threshold of the force spread; of more, evenly chosen ones."""

_TRAINING_SHARE = 0.98
_DONE = "done.json"

Kind = Literal["seeds", "folds"]
"""What the members differ in."""


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings:
    """How many networks are trained and simulated together, and what they differ in."""

    members: int = 4
    """Number of networks, that of the run included. Training and simulation take as many times as long."""
    kind: Kind = "seeds"
    """What the members differ in: seeds of initial weights and order of the frames; or folds, where each but the first
    is also not shown one contiguous part of the training frames."""

    def __post_init__(self) -> None:
        """Refuse an ensemble that has no spread.

        Raises
        ------
        InputError : fewer than two members, or than three with folds.
        """
        least = 3 if self.kind == "folds" else 2
        if self.members < least:
            raise InputError(f"'members' is {self.members}, expected at least {least} for kind {self.kind}")

    def find_fold(self, number: int) -> Fold | None:
        """Return the part of the frames that a member is not shown; None for the first member, and with seeds alone."""
        if self.kind == "seeds" or number == 0:
            return None
        return Fold(number=number - 1, count=self.members - 1)


class FitMember(Protocol):
    """`beadsmith.training.fit.train` with everything that the members share."""

    def __call__(
        self,
        output: Path,
        *,
        baseline_output: Path,
        seed: int,
        identity: str,
        fold: Fold | None,
        progress: Progress,
    ) -> dict[str, Any]:
        """Train one member into the folder `output` and return its summary."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """An ensemble, read back."""

    members: tuple[ForceField, ...]
    """The force fields, that of the run first."""
    scale: SpreadScale
    """What the spread of their forces is on the training frames."""
    record: dict[str, Any]
    """What ``ensemble.json`` holds."""


def derive_member_seed(seed: int, number: int) -> int:
    """Return the seed of a member: the run's own for the first, independent ones for the others.

    A configuration with this seed trains the same network again.
    """
    if number == 0:
        return seed
    # 31 bits, as a configuration allows
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0]) >> 1


def train_ensemble(
    settings: EnsembleSettings,
    training: TrainingSettings,
    fit: FitMember,
    mapped: tuple[Path, ...],
    output: Path,
    *,
    main: Path,
    scratch: Path,
    seed: int,
    identity: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train all members but the first, and measure the spread of forces; go on where an interrupted call stopped.

    Writes a force field folder for each member, ``1`` and so on, and ``ensemble.json`` with the returned record:
    ``kind``, ``n_members``, ``members`` (number, seed, fold, explained force variance of test frames),
    ``force_spread`` (`SpreadScale`) and ``flagged`` (share of test frames beyond its threshold).

    Parameters
    ----------
    settings : Number and kind of members.
    training : How frames are divided.
    fit : Trains one member.
    mapped : Mapped trajectories that all train on.
    output : Folder of the ensemble.
    main : Force field folder of the first member.
    scratch : Folder for unfinished members; whoever calls deletes it when the result is safe.
    seed : Seed of the run.
    identity : Hash of everything the result depends on.
    progress : Receives the fraction done.

    Raises
    ------
    InputError, PhysicsError : a member cannot be trained.
    """
    entries = [
        _train_member(settings, fit, number, scratch / str(number), seed=seed, identity=identity, progress=progress)
        for number in range(1, settings.members)
    ]
    members = [load_force_field(main)]
    members += [load_force_field(scratch / str(entry["number"]) / "force_field") for entry in entries]
    work = read_work(training, mapped, None, folder=output.parent, seed=seed, identity=identity)
    record = {
        "kind": settings.kind,
        "n_members": settings.members,
        "members": [{"number": 0, "seed": seed, "fold": None, "explained": None}, *entries],
        **measure_training_spread(members, work, progress=progress),
    }
    output.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        name = str(entry["number"])
        link_tree(scratch / name / "force_field", output / name)
    write_json(output / RECORD, record)
    return record


def _train_member(
    settings: EnsembleSettings,
    fit: FitMember,
    number: int,
    folder: Path,
    *,
    seed: int,
    identity: str,
    progress: Progress,
) -> dict[str, Any]:
    """Train one member, unless that is done, and return what is said of it."""
    identity, record = f"{identity}-{number}", folder / _DONE
    if record.is_file() and (found := read_json(record))["identity"] == identity:
        entry: dict[str, Any] = found["member"]
        return entry

    def report(done: float, total: float, note: str = "") -> None:
        finished = (number - 1 + (done / total if total else 0.0)) / (settings.members - 1)
        progress(_TRAINING_SHARE * finished, 1.0, f"network {number + 1} of {settings.members}: {note}")

    fold = settings.find_fold(number)
    own_seed = derive_member_seed(seed, number)
    summary = fit(
        folder / "force_field",
        baseline_output=folder / "pair_spline",
        seed=own_seed,
        identity=identity,
        fold=fold,
        progress=report,
    )
    name = "corrected" if "corrected" in summary["explained_variance"] else "network"
    entry = {
        "number": number,
        "seed": own_seed,
        "fold": None if fold is None else fold.number + 1,
        "explained": summary["explained_variance"][name]["test"],
    }
    write_json(record, {"identity": identity, "member": entry})
    return entry


def measure_training_spread(
    members: Sequence[ForceField], work: Work, *, progress: Progress = silent
) -> dict[str, Any]:
    """Return the scale of the force spread on training frames, and the share of test frames beyond its threshold.

    Parameters
    ----------
    members : The whole ensemble.
    work : Frames and their uses.
    progress : Receives the fraction done.
    """
    rows = {use: choose_evenly(work.rows[use], MOST_FRAMES) for use in ("train", "test")}
    frames = {use: select_rows(work.trajectories, chosen) for use, chosen in rows.items()}
    total, before = sum(len(chosen) for chosen in rows.values()), 0
    spreads: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for use, trajectories in frames.items():
        for trajectory in trajectories:
            report = partial(_report_frames, progress, before, total)
            spreads[use].append(force_spread(members, trajectory, dtype=work.dtype, progress=report))
            before += trajectory.n_frames
    scale = scale_spread(spreads["train"], [trajectory.topology for trajectory in frames["train"]])
    flags = [
        scale.flag(spread, trajectory.topology)
        for spread, trajectory in zip(spreads["test"], frames["test"], strict=True)
    ]
    labels = segment_labels(work.trajectories, rows["test"])
    share, error = block_mean_and_error(np.concatenate(flags), n_blocks=N_BLOCKS, segment=labels)
    flagged = {"value": share, "standard_error": error, "unit": "1", "n_samples": len(labels)}
    return {"force_spread": scale.to_json(), "flagged": {"test": flagged}}


def read_ensemble(folder: Path, main: Path) -> Ensemble:
    """Read an ensemble.

    Parameters
    ----------
    folder : What `train_ensemble` wrote.
    main : Force field folder of the first member.

    Raises
    ------
    InputError : a file is missing or damaged.
    """
    record = read_json(folder / RECORD)
    try:
        numbers = [entry["number"] for entry in record["members"]]
        scale = scale_from_json(record["force_spread"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the record of the ensemble is damaged ({error!r})", where=f"'{folder / RECORD}'", fix="Train it again."
        ) from error
    members = [load_force_field(main if number == 0 else folder / str(number)) for number in numbers]
    return Ensemble(members=tuple(members), scale=scale, record=record)


def choose_evenly(rows: Int[np.ndarray, "rows 2"], most: int) -> Int[np.ndarray, "_ 2"]:
    """Return the rows, or where there are more than `most` so many of them, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _report_frames(progress: Progress, before: int, total: int, done: float, of_part: float, note: str = "") -> None:
    progress(_TRAINING_SHARE + (1.0 - _TRAINING_SHARE) * (before + done) / total, 1.0, note)
