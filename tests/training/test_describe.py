"""What a force field remembers of its data."""

import numpy as np
import pytest

from beadsmith.training.describe import find_shortest_distances
from example_trajectories import make_trajectory


@pytest.mark.parametrize("cell", [None, np.eye(3) * 3.0])
def test_shortest_distances_are_those_of_all_frames_by_type_pair(cell):
    generator = np.random.default_rng(0)
    types = np.array([0, 0, 1, 1, 1])
    positions = 3.0 * generator.random((700, 5, 3))
    trajectory = make_trajectory(positions, cell=cell, types=types, type_names=("a", "b"))
    vectors = trajectory.positions[:, None].astype(np.float64) - trajectory.positions[:, :, None]
    if cell is not None:
        vectors -= 3.0 * np.round(vectors / 3.0)
    distances = np.linalg.norm(vectors, axis=3) + np.where(np.eye(5), np.inf, 0.0)
    expected = {
        f"{x}-{y}": distances[:, types == i][:, :, types == j].min()
        for x, i, y, j in (("a", 0, "a", 0), ("a", 0, "b", 1), ("b", 1, "b", 1))
    }
    assert find_shortest_distances((trajectory,), 1.0) == pytest.approx(expected, rel=1e-6)
