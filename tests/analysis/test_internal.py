"""Internal coordinates and shapes: closed forms, an independent superposition, and what a mirror image changes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from beadsmith.analysis.internal import (
    angles,
    dihedrals,
    distances,
    native_contacts,
    radius_of_gyration,
    superposed_rmsd,
)
from example_molecules import make_backbone

MIRROR = np.array([1.0, 1.0, -1.0])


def make_helix(n_residues=12, *, turn=100.0, rise=0.15, radius=0.23):
    """Return the alpha carbons of an ideal right-handed α helix (1, 1, n, 3)."""
    number = np.arange(n_residues)
    points = np.stack(
        [radius * np.cos(np.radians(turn * number)), radius * np.sin(np.radians(turn * number)), rise * number], axis=1
    )
    return points[None, None]


def test_distances_and_angles_of_a_right_triangle():
    positions = np.array([[[0.3, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.4, 0.0]]], dtype=np.float32)
    assert distances(positions, np.array([[0, 2]]))[0, 0] == pytest.approx(0.5, abs=1e-7)
    assert angles(positions, np.array([[0, 1, 2]]))[0, 0] == pytest.approx(90.0, abs=1e-5)


@pytest.mark.parametrize("angle", [1e-4, 179.9999])
def test_angles_keep_their_precision_near_a_line(angle):
    theta = np.radians(angle)
    positions = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [np.cos(theta), np.sin(theta), 0.0]]])
    # the arc cosine of a float64 dot product is off by 1e-6 degrees here
    assert angles(positions, np.array([[0, 1, 2]]))[0, 0] == pytest.approx(angle, abs=1e-9)


def test_dihedrals_have_the_iupac_sign():
    # seen along the middle bond (towards the reader's far side, +x), the far bond is turned clockwise by 90 degrees
    positions = np.array([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]])
    assert dihedrals(positions, np.array([[0, 1, 2, 3]]))[0, 0] == pytest.approx(90.0)
    assert dihedrals(positions * MIRROR, np.array([[0, 1, 2, 3]]))[0, 0] == pytest.approx(-90.0)


def test_dihedrals_return_what_a_chain_was_built_from():
    generator = np.random.default_rng(1)
    phi, psi = generator.uniform(-180.0, 180.0, (2, 500))
    found = dihedrals(make_backbone(phi, psi), np.array([[0, 1, 2, 3], [1, 2, 3, 4]]))
    np.testing.assert_allclose(found, np.stack([phi, psi], axis=1), atol=1e-9)


def test_radius_of_gyration_of_two_masses_is_the_reduced_distance():
    positions = np.array([[[[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]]])
    # Rg² = m1 m2 d² / (m1 + m2)²
    assert radius_of_gyration(positions, np.array([1.0, 3.0]))[0, 0] == pytest.approx(0.5 * np.sqrt(3.0) / 4.0)


def test_superposed_rmsd_equals_the_least_squares_rotation_of_scipy():
    generator = np.random.default_rng(2)
    structure, weights = generator.normal(size=(7, 3)), generator.uniform(1.0, 20.0, 7)
    frames = structure @ Rotation.random(5, random_state=3).as_matrix() + 0.2 * generator.normal(size=(5, 7, 3))
    found = superposed_rmsd(frames[:, None], structure, weights)[:, 0]
    target = structure - np.average(structure, axis=0, weights=weights)
    for frame, value in zip(frames, found, strict=True):
        centred = frame - np.average(frame, axis=0, weights=weights)
        _, distance = Rotation.align_vectors(target, centred, weights=weights)
        assert value == pytest.approx(distance / np.sqrt(weights.sum()), rel=1e-9)


def test_superposed_rmsd_never_superposes_a_mirror_image():
    helix = make_helix()
    rotated = helix @ Rotation.from_euler("xyz", [20.0, 40.0, 60.0], degrees=True).as_matrix() + 1.5
    assert superposed_rmsd(rotated, helix[0, 0])[0, 0] < 1e-7
    assert superposed_rmsd(helix * MIRROR, helix[0, 0])[0, 0] > 0.1


def test_native_contacts_are_one_half_at_the_tolerance():
    native = np.array([0.5, 0.6])
    assert native_contacts(1.2 * native[None], native)[0] == pytest.approx(0.5)
    assert native_contacts(0.8 * native[None], native)[0] == pytest.approx(1.0, abs=1e-4)
    assert native_contacts(100.0 * native[None], native)[0] == pytest.approx(0.0, abs=1e-20)
