"""Folds of training frames: contiguous, disjoint, of every trajectory, and never too large."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.training.folds import Fold, leave_out

ROWS = np.array([(0, frame) for frame in range(11)] + [(1, frame) for frame in range(7)])


def test_folds_together_leave_out_every_frame_once():
    left_out = [
        {tuple(row) for row in ROWS} - {tuple(row) for row in leave_out(ROWS, Fold(number=k, count=3))}
        for k in range(3)
    ]
    assert set.union(*left_out) == {tuple(row) for row in ROWS}
    assert sum(len(part) for part in left_out) == len(ROWS)


def test_a_fold_is_contiguous_in_each_trajectory():
    kept = leave_out(ROWS, Fold(number=1, count=3))
    for trajectory, n_frames in ((0, 11), (1, 7)):
        missing = np.setdiff1d(np.arange(n_frames), kept[kept[:, 0] == trajectory, 1])
        assert len(missing) in (n_frames // 3, n_frames // 3 + 1)
        assert (np.diff(missing) == 1).all()


def test_without_a_fold_all_frames_stay():
    assert leave_out(ROWS, None) is ROWS


@pytest.mark.parametrize(("number", "count"), [(0, 1), (3, 3), (-1, 3)])
def test_a_fold_that_does_not_exist_is_refused(number, count):
    with pytest.raises(InputError, match="does not exist"):
        Fold(number=number, count=count)


def test_too_few_frames_beside_a_fold_are_refused():
    with pytest.raises(InputError, match="4 training frames are left, expected at least 5"):
        leave_out(ROWS[:8], Fold(number=0, count=2))
