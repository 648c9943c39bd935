"""Folds: contiguous parts of the training frames, one of which a member of an ensemble is not shown."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from beadsmith.errors import InputError
from beadsmith.training.data import N_BLOCKS


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of several contiguous parts of the training frames of each trajectory."""

    number: int
    """Which part, from 0."""
    count: int
    """Number of parts."""

    def __post_init__(self) -> None:
        """Check that there is such a part.

        Raises
        ------
        InputError : fewer than two parts, or no part of this number.
        """
        if self.count < 2 or not 0 <= self.number < self.count:
            raise InputError(f"fold {self.number} of {self.count} does not exist, expected 0 to {self.count - 1}")


def leave_out(rows: Int[np.ndarray, "rows 2"], fold: Fold | None) -> Int[np.ndarray, "_ 2"]:
    """Return the rows (trajectory, frame) without those of a fold; all rows if there is none.

    Each trajectory is cut into parts of its own, so that no fold takes a whole state or system out of the data.

    Raises
    ------
    InputError : fewer frames are left than training needs.
    """
    if fold is None:
        return rows
    kept = np.ones(len(rows), dtype=bool)
    for number in np.unique(rows[:, 0]):
        kept[np.array_split(np.flatnonzero(rows[:, 0] == number), fold.count)[fold.number]] = False
    if kept.sum() < N_BLOCKS:
        raise InputError(
            f"without fold {fold.number + 1} of {fold.count}, {kept.sum()} training frames are left, expected at least "
            f"{N_BLOCKS}",
            fix="Sample longer, or use 'ensemble.kind: seeds'.",
        )
    return rows[kept]
