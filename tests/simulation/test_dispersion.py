"""Starts far apart in shape: they cover all shapes, mirror images too, whatever their population and vibrations."""

import numpy as np
from scipy.spatial.transform import Rotation

from beadsmith.analysis.internal import dihedrals, superposed_rmsd
from beadsmith.simulation.dispersion import choose_dispersed


def bend_chains(torsions, seed=0, width=0.002):
    """Return four-site chains with given torsions [degrees], vibrating, each turned and moved at random."""
    rng = np.random.default_rng(seed)
    angle, radians = np.radians(110.0), np.radians(np.asarray(torsions))
    positions = np.zeros((len(radians), 4, 3))
    positions[:, 0] = 0.15 * np.array([np.cos(angle), np.sin(angle), 0.0])
    positions[:, 2] = [0.15, 0.0, 0.0]
    turned = np.stack([np.full_like(radians, -np.cos(angle)), np.sin(angle) * np.cos(radians),
                       np.sin(angle) * np.sin(radians)], axis=1)  # fmt: skip
    positions[:, 3] = positions[:, 2] + 0.15 * turned
    positions += rng.normal(scale=width, size=positions.shape)
    turns = Rotation.random(len(radians), random_state=seed).as_matrix()
    return np.einsum("fsx,fxy->fsy", positions, turns) + rng.normal(scale=3.0, size=(len(radians), 1, 3))


def cover(positions, chosen):
    """Return the largest distance of any frame from its nearest chosen one [nm]."""
    return np.min([superposed_rmsd(positions[:, None], positions[c])[:, 0] for c in chosen], axis=0).max()


def test_a_basin_of_one_frame_in_two_thousand_is_started_from():
    torsions = np.random.default_rng(1).normal(-70.0, 15.0, size=2000)
    torsions[137] = 110.0
    positions = bend_chains(torsions)
    assert 137 in choose_dispersed(positions, 3)


def test_mirror_images_are_far_apart():
    torsions = np.concatenate([np.full(500, -60.0), np.full(5, 60.0)])
    chosen = choose_dispersed(bend_chains(torsions), 2)
    assert sorted(np.sign(torsions[chosen])) == [-1.0, 1.0]


def test_starts_cover_a_circle_of_torsions_at_most_twice_as_coarsely_as_an_even_grid():
    # a torsion that is 20 times more often near -70 than anywhere else
    rng = np.random.default_rng(2)
    torsions = np.where(rng.random(3000) < 0.95, rng.normal(-70.0, 10.0, 3000), rng.uniform(-180.0, 180.0, 3000))
    positions = bend_chains(torsions, width=0.0)
    found = dihedrals(positions, np.array([[0, 1, 2, 3]]))[:, 0]
    grid = [int(np.abs(found - target).argmin()) for target in np.arange(-168.75, 180.0, 22.5)]
    radius = cover(positions, choose_dispersed(positions, 16))
    # Gonzalez: at most twice the best possible radius, which is at most that of the grid
    assert radius <= 2.0 * cover(positions, grid)
    # of 16 frames evenly over time about one lies outside the basin
    assert radius < 0.5 * cover(positions, np.linspace(0, len(positions) - 1, 16).astype(int))


def test_the_shortcut_of_the_triangle_inequality_changes_nothing():
    positions = bend_chains(np.random.default_rng(3).uniform(-180.0, 180.0, 300), width=0.02)
    chosen = [len(positions) - 1]
    for _ in range(39):
        nearest = np.min([superposed_rmsd(positions[:, None], positions[c])[:, 0] for c in chosen], axis=0)
        chosen.append(int(nearest.argmax()))
    assert choose_dispersed(positions, 40).tolist() == chosen


def test_more_starts_than_shapes_begin_anew():
    positions = np.repeat(bend_chains([0.0, 90.0, 180.0]), 2, axis=0).astype(np.float32)
    chosen = choose_dispersed(positions, 7)
    assert len(set(chosen[:3] // 2)) == 3
    assert chosen[3:].tolist() == [*chosen[:3], chosen[0]]
