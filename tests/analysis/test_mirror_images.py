"""The asymmetry of molecules with and without a hand, against closed forms and helices."""

import numpy as np
import pytest

from beadsmith.analysis.blocks import divide_frames
from beadsmith.analysis.mirror_images import measure_asymmetries
from beadsmith.topology import group_equal_molecules
from example_chains import build_chain
from example_molecules import make_backbone, make_dipeptide, make_topology, place_next

N_FRAMES = 4000


def measure(positions, topology, *, labels=None, n_blocks=20):
    (kind,) = group_equal_molecules(topology)
    labels = labels or tuple(range(kind.sites.shape[1]))
    frames = divide_frames(len(positions), n_blocks=n_blocks)
    return measure_asymmetries(np.asarray(positions, dtype=float), topology, kind, labels, frames)


def make_helix(n_frames, *, hand, seed=0):
    """Return ten alpha carbons of an alpha helix, each place blurred by 0.03 nm."""
    turn = np.radians(100.0) * np.arange(10)
    shape = np.stack([0.23 * np.cos(turn), hand * 0.23 * np.sin(turn), 0.15 * np.arange(10)], axis=1)
    return shape + np.random.default_rng(seed).normal(0.0, 0.03, (n_frames, 10, 3))


def test_alanine_of_one_hand_never_meets_its_mirror_image():
    trajectory = make_dipeptide(np.random.default_rng(1), n_frames=N_FRAMES)
    (found,) = measure(trajectory.positions, trajectory.topology)
    assert found.label == "phi, psi"
    assert found.divergence.value == pytest.approx(np.log(2.0), abs=1e-3)
    assert found.chance < 0.05


@pytest.mark.parametrize("mirrored", [0.5, 0.2])
def test_a_mixture_of_hands_has_the_divergence_of_two_points(mirrored):
    trajectory = make_dipeptide(np.random.default_rng(2), n_frames=N_FRAMES, mirrored=mirrored)
    (found,) = measure(trajectory.positions, trajectory.topology)
    # p and 1 − p against their exchange; bins cut the basins, so noise of 576 bins stands on top
    share = np.array([mirrored, 1.0 - mirrored])
    expected = float(np.sum(share * np.log(2.0 * share)))
    assert found.divergence.value == pytest.approx(expected, abs=0.02)


def test_chance_is_what_a_molecule_without_a_hand_shows():
    values = []
    for seed in range(10):
        trajectory = make_dipeptide(np.random.default_rng(seed), n_frames=500, mirrored=0.5)
        (found,) = measure(trajectory.positions, trajectory.topology)
        values.append((found.divergence.value, found.chance))
    divergence, chance = np.mean(values, axis=0)
    # means of ten values that scatter by a fifth or so
    assert chance == pytest.approx(divergence, rel=0.25)


def test_copies_that_never_turn_over_make_as_much_chance_as_there_are_copies():
    # forty butanes, each in its gauche state of either sign for all frames
    topology = build_chain(4, n_molecules=40, type_names=("A",))
    values = []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        signs = np.where(generator.random(40) < 0.5, -1.0, 1.0)
        shapes = [make_backbone(sign * generator.normal(65.0, 5.0, 60), np.zeros(60))[:, :4] for sign in signs]
        (found,) = measure(np.concatenate(shapes, axis=1), topology, labels="ABBA")
        values.append((found.divergence.value, found.chance))
    divergence, chance = np.mean(values, axis=0)
    # one over 2 N; the divergence of twelve samples, a chi square of one degree each, is known to 40 %
    assert chance == pytest.approx(1.0 / 80.0, rel=0.2)
    assert divergence == pytest.approx(chance, rel=0.8)


def test_dihedrals_of_equal_surroundings_are_pooled_so_that_a_mirror_plane_is_no_hand():
    # A B C B A, both ends turned by +60 and −60 degrees: the molecule is its own mirror image, read backwards
    generator = np.random.default_rng(3)
    first, second = (generator.normal(mean, 8.0, N_FRAMES) for mean in (60.0, -60.0))
    positions, topology = make_backbone(first, second), build_chain(5, type_names=tuple("ABCDE"))
    assert measure(positions, topology, labels="ABCBA")[0].divergence.value < 0.01
    assert measure(positions, topology, labels="ABCDE")[0].divergence.value > 0.5


def test_helices_of_alpha_carbons_tell_their_hand_by_dihedrals_and_handedness():
    names = ("CA",) * 10
    topology = make_topology(names, tuple(range(10)), ("ALA",) * 10)
    right = measure(make_helix(N_FRAMES // 4, hand=1.0), topology)
    handedness = next(entry for entry in right if entry.names == ("handedness",))
    assert handedness.divergence.value > 0.6
    assert handedness.mean_over_deviation > 3.0
    assert any(entry.label.startswith("CA dihedral") for entry in right)
    both = np.concatenate([make_helix(500, hand=1.0), make_helix(500, hand=-1.0, seed=1)])
    order = np.random.default_rng(4).permutation(len(both))
    assert max(entry.divergence.value for entry in measure(both[order], topology)) < 0.05


def test_three_sites_have_no_hand():
    positions = np.random.default_rng(5).normal(size=(50, 3, 3))
    assert measure(positions, build_chain(3)) == ()


def test_the_helper_places_a_clockwise_dihedral():
    origin = np.zeros((1, 3))
    a, b = origin + [0.0, 0.1, 0.0], origin
    c = origin + [0.15, 0.0, 0.0]
    d = place_next(a, b, c, 0.1, 90.0, np.array([60.0]))
    (found,) = measure(np.stack([a, b, c, d], axis=1).repeat(4, axis=0), build_chain(4), n_blocks=2)
    middle = 0.5 * (found.edges[1:] + found.edges[:-1])
    assert middle[int(np.argmax(found.counts.probability))] == pytest.approx(60.0, abs=5.0)
