"""Stereocentres: which beads have a hand, whether they keep it, and when they lose it."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.stereocentres import find_centres, measure_centre
from beadsmith.topology import group_equal_molecules
from example_chains import build_chain
from example_molecules import make_six_beads, make_six_topology, make_topology

MIRROR = np.array([1.0, 1.0, -1.0])


def centres_of(topology):
    """Return the centres of the only kind of molecule, by name."""
    (kind,) = group_equal_molecules(topology)
    return {centre.name: centre for centre in find_centres(topology, kind)}


def test_six_beads_of_alanine_have_one_centre_with_the_usual_order_of_its_substituents():
    (centre,) = centres_of(make_six_topology()).values()
    assert centre.name == "2:CA"
    # N, CA, CB, C
    np.testing.assert_array_equal(centre.sites, [[1, 2, 3, 4]])


def test_labels_that_are_all_equal_do_not_hide_a_centre_from_the_names():
    assert list(centres_of(make_six_topology(("A",) * 6))) == ["2:CA"]


@pytest.mark.parametrize("topology", [make_topology(), build_chain(4), build_chain(2, n_molecules=3)])
def test_unbranched_molecules_have_no_centre(topology):
    assert not centres_of(topology)


def test_two_equal_branches_make_no_centre():
    star = build_chain(4, type_names=("A", "B", "C", "D"))
    star.bonds[:] = [[0, 1], [0, 2], [0, 3]]
    assert list(centres_of(star)) == ["1:A"]
    # two of the three branches of one name and type, nothing behind them
    assert not centres_of(replace(star, names=("A", "B", "B", "D"), types=np.array([0, 1, 1, 3])))


def test_a_mirror_image_has_the_improper_of_the_other_sign():
    (centre,) = centres_of(make_six_topology()).values()
    positions = make_six_beads([-70.0, -75.0], [-40.0, 145.0])
    left, right = centre.compute(positions), centre.compute(positions * MIRROR)
    np.testing.assert_allclose(left, -right, atol=1e-9)
    # an L residue: about 120 degrees, as an atomistic alpha carbon has it
    assert ((left > 100.0) & (left < 140.0)).all()


def test_every_copy_has_its_own_value():
    (centre,) = centres_of(make_six_topology(copies=3)).values()
    positions = np.concatenate([make_six_beads([-70.0], [-40.0], hand=hand) for hand in (1.0, -1.0, 1.0)], axis=1)
    assert (centre.compute(positions) > 0.0).tolist() == [[True, False, True]]


def test_flips_are_counted_within_replicas_and_the_first_has_its_time():
    values = np.array([120.0, 118.0, -121.0, -119.0, 122.0, -120.0, -120.0, -118.0])[:, None]
    # two replicas of four frames: one flip in the first, one in the second, none between them
    times, segment = np.array([5.0, 6.0, 7.0, 8.0, 5.0, 6.0, 7.0, 8.0]), np.repeat([0, 1], 4)
    found = measure_centre(values, times, segment)
    assert found.n_flips == 2
    assert found.first_flip == 1.0
    assert found.positive.value == pytest.approx(3 / 8)
    assert not found.is_locked


def test_a_centre_is_locked_where_planarity_is_far():
    generator = np.random.default_rng(1)
    times, segment = np.arange(4000.0), np.zeros(4000, dtype=int)
    kept = measure_centre(120.0 + generator.normal(0.0, 6.0, (4000, 1)), times, segment)
    # 60 degrees are 10 standard deviations
    assert kept.is_locked
    assert kept.distance == pytest.approx(60.0, abs=4 * 6.0 / 4000**0.5)
    # a planar centre, as a carbonyl carbon is one
    planar = (180.0 + generator.normal(0.0, 6.0, (4000, 1)) + 180.0) % 360.0 - 180.0
    assert not measure_centre(planar, times, segment).is_locked
    # no flip was seen, but one is near
    near = measure_centre(150.0 + generator.uniform(-28.0, 28.0, (4000, 1)), times, segment)
    assert near.n_flips == 0
    assert not near.is_locked
    assert near.to_json()["first_flip"] == {"value": None, "unit": "ps"}


def test_copies_of_either_hand_that_keep_it_are_no_flips():
    values = np.tile([120.0, -120.0], (50, 1))
    assert measure_centre(values, np.arange(50.0), np.zeros(50, dtype=int)).is_locked
