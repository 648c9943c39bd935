"""Overlap, gap and recovery of bonds against closed forms, and against a search over all pairs."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from beadsmith.analysis.distance_survey import EDGE_WIDTH, survey_distances
from beadsmith.geometry import minimum_image
from example_chains import build_chain
from example_molecules import make_molecule

DIMERS = build_chain(2, n_molecules=2, type_names=("A",))
OTHER_MOLECULE = 2


def place_on_line(*spacings):
    """Return positions (n_frames, n_sites, 3) of sites on a line with the given distances [nm]."""
    along = np.cumsum(np.stack([np.zeros_like(spacings[0]), *spacings], axis=1), axis=1)
    return np.stack([along, np.zeros_like(along), np.zeros_like(along)], axis=2)


def make_line(n_frames, *, bond, contact, deviation, seed=0):
    """Return two dimers in a row, both bonds and the contact between them normally distributed."""
    generator = np.random.default_rng(seed)
    first, between, second = (generator.normal(mean, deviation, n_frames) for mean in (bond, contact, bond))
    return make_molecule(place_on_line(first, between, second), DIMERS)


def pack_dimers(*, n_molecules=100, edge=2.79573, bond=0.37, contact=0.36, seed=0):
    """Return dimers put one after the other at random into a box where no site of another one is too close."""
    generator = np.random.default_rng(seed)
    sites = np.zeros((0, 3))
    while len(sites) < 2 * n_molecules:
        direction = generator.normal(size=3)
        centre = generator.uniform(0.0, edge, 3)
        pair = centre + 0.5 * bond * np.array([[1.0], [-1.0]]) * direction / np.linalg.norm(direction)
        vectors = pair[:, None] - sites
        vectors -= edge * np.round(vectors / edge)
        if not len(sites) or np.linalg.norm(vectors, axis=-1).min() > contact:
            sites = np.concatenate([sites, pair])
    return sites


def test_overlap_of_normal_lengths_is_the_closed_form():
    # half of the sites, the inner ones, have their nearest stranger at 0.40 nm, the outer ones at 0.77 nm
    survey = survey_distances(make_line(40_000, bond=0.37, contact=0.40, deviation=0.01))
    r = np.linspace(0.3, 0.5, 20_001)
    bonded, stranger = (np.exp(-((r - mean) ** 2) / 2e-4) / np.sqrt(2e-4 * np.pi) for mean in (0.37, 0.40))
    expected = np.minimum(bonded, 0.5 * stranger).sum() * (r[1] - r[0])
    found = survey.measure_overlap(OTHER_MOLECULE, 0)
    assert found.standard_error < 0.002
    # 0.001: the width of the bins
    assert found.value == pytest.approx(expected, abs=4.0 * found.standard_error + 0.001)


def test_gap_of_normal_lengths_is_the_closed_form():
    survey = survey_distances(make_line(40_000, bond=0.15, contact=0.25, deviation=0.005))
    # the lowest 0.1 % of all sites are the lowest 0.2 % of the inner ones
    normal = NormalDist()
    expected = (0.25 - 0.15) / 0.005 + normal.inv_cdf(0.002) - normal.inv_cdf(0.999)
    gap, is_bound = survey.measure_gap(OTHER_MOLECULE, 0)
    assert not is_bound
    # the quantiles of 40,000 values are known to 0.1 deviations, and lie in bins of as much
    assert gap == pytest.approx(expected, abs=0.4)


def test_separate_scales_do_not_overlap_and_all_bonds_are_recovered():
    survey = survey_distances(make_line(500, bond=0.15, contact=0.35, deviation=0.003))
    assert survey.kinds == ("A-A",)
    assert survey.measure_overlap(OTHER_MOLECULE, 0).value == 0.0
    assert survey.measure_gap(OTHER_MOLECULE, 0)[0] > 5.0
    assert survey.measure_recovery().value == 1.0


def test_a_stranger_nearer_than_the_partner_costs_both_their_recovery():
    # outer sites keep their nearest partner, but it is not mutual
    survey = survey_distances(make_line(100, bond=0.40, contact=0.35, deviation=0.001))
    assert survey.measure_recovery().value == 0.0


def test_packed_dimers_are_recovered_where_no_stranger_is_nearer_than_the_partner():
    edge = 2.79573
    positions = np.stack([pack_dimers(n_molecules=60, edge=edge, seed=seed) for seed in range(2)])
    cell = np.repeat((edge * np.eye(3))[None], len(positions), axis=0).astype(np.float32)
    trajectory = make_molecule(positions, build_chain(2, n_molecules=60, type_names=("A",)), cell=cell)
    vectors = trajectory.positions[:, None].astype(float) - trajectory.positions[:, :, None]
    apart = np.linalg.norm(minimum_image(vectors, trajectory.cell), axis=-1).reshape(2, 60, 2, 60, 2)
    # indices that stand apart come first
    partner = apart[:, np.arange(60), 0, np.arange(60), 1]
    apart[:, np.arange(60), :, np.arange(60)] = np.inf
    is_whole = apart.min(axis=(2, 3, 4)) > partner
    assert 0.5 < is_whole.mean() < 0.98
    assert survey_distances(trajectory).measure_recovery().value == pytest.approx(is_whole.mean())


def test_degrees_count_in_the_recovery_of_chains():
    # in a bent chain of three, the ends are two bonds apart and closer to each other than to nothing else
    topology = build_chain(3, n_molecules=1, type_names=("A",))
    far = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.25, 0.11, 0.0]])
    near = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.03, 0.08, 0.0]])
    assert survey_distances(make_molecule([far], topology)).measure_recovery().value == 1.0
    survey = survey_distances(make_molecule([near], topology))
    # the middle one still has both partners nearest, but neither end has it
    assert survey.measure_recovery().value == 0.0
    # two bonds away
    assert survey.asked[:, 0, 0].tolist() == [2.0, 0.0, 0.0]
    assert survey.measure_gap(0, 0)[0] < 0.0


def test_nearest_sites_of_a_periodic_mixture_are_those_of_a_search_over_all_pairs():
    generator = np.random.default_rng(5)
    topology = build_chain(3, n_molecules=8, type_names=("A", "B"))
    starts = generator.uniform(0.0, 1.4, (4, 8, 1, 3))
    positions = (starts + np.cumsum(generator.normal(0.0, 0.1, (4, 8, 3, 3)), axis=2)).reshape(4, 24, 3)
    cell = np.repeat((1.4 * np.eye(3))[None], 4, axis=0).astype(np.float32)
    trajectory = make_molecule(positions, topology, cell=cell)
    survey = survey_distances(trajectory)
    vectors = trajectory.positions[:, None, :].astype(float) - trajectory.positions[:, :, None]
    apart = np.linalg.norm(minimum_image(vectors, trajectory.cell), axis=-1)
    bonded = np.zeros((24, 24), dtype=bool)
    bonded[topology.bonds[:, 0], topology.bonds[:, 1]] = True
    bonded |= bonded.T
    second = (bonded.astype(int) @ bonded > 0) & ~bonded & ~np.eye(24, dtype=bool)
    same = topology.molecule_index[:, None] == topology.molecule_index
    for separation, member in enumerate((second, same & ~second & ~bonded & ~np.eye(24, dtype=bool), ~same)):
        for place, kind in enumerate(survey.kinds):
            a, b = (topology.type_names.index(name) for name in kind.split("-"))
            values = []
            for one, other in {(a, b), (b, a)}:
                chosen = np.where(member & (topology.types == other)[None], apart, np.inf)[:, topology.types == one]
                asked = (member & (topology.types == other)[None])[topology.types == one].any(axis=1)
                values.append(chosen.min(axis=2)[:, asked].ravel())
            values = np.concatenate(values)
            within = values[values < survey.edges[-2]]
            expected = np.histogram(within, bins=survey.edges)[0]
            assert np.array_equal(survey.nearest[separation, :, place].sum(axis=0)[:-1], expected[:-1])
            assert survey.asked[separation, :, place].sum() == len(values)


def test_contacts_beyond_two_bonds_are_counted_on_their_repulsive_side():
    # one site of another molecule at 0.50 to 0.58 nm, every fifth frame at 0.65 nm
    distance = np.tile([0.50, 0.52, 0.55, 0.58, 0.65], 4)
    positions = place_on_line(distance)
    survey = survey_distances(make_molecule(positions, build_chain(1, n_molecules=2, type_names=("A",))))
    assert survey.kinds == ()
    (found,) = survey.contacts
    assert survey.closest == found.closest == pytest.approx(0.5)
    assert survey.closest_sites == (0, 1)
    assert EDGE_WIDTH == 0.1
    assert (found.kind, found.is_inside, found.n_edge) == ("A-A", False, 16)


def test_contacts_are_counted_by_types_and_apart_for_one_molecule_and_two():
    # a chain of four whose ends are 0.45 nm apart, once 0.40 and once 0.52, beside another one
    topology = replace(
        build_chain(4, n_molecules=2, type_names=("A", "B")), types=np.array([0, 1, 1, 0] * 2), type_names=("A", "B")
    )
    chain = np.array([[0.0, 0.0], [0.0, 0.15], [0.45, 0.15], [0.45, 0.0]])
    positions = np.zeros((10, 2, 4, 3))
    positions[..., :2] = chain
    positions[0, :, 3, 0], positions[1, :, 3, 0] = 0.40, 0.52
    positions[:, 1, :, 2] += 0.6
    positions[4, 1, :, 2] -= 0.05
    survey = survey_distances(make_molecule(positions.reshape(10, 8, 3), topology))
    found = {(entry.kind, entry.is_inside): (round(entry.closest, 6), entry.n_edge) for entry in survey.contacts}
    assert found["A-A", True] == (0.40, 18)
    # face to face, four beads two and two; further apart across
    assert found["B-B", False] == (0.55, 20)
    assert found["A-A", False] == (0.55, 20)
    assert ("B-B", True) not in found, "two bonds apart at most"


def test_errors_of_overlaps_match_their_spread_over_independent_samples():
    values = [
        survey_distances(make_line(2000, bond=0.37, contact=0.39, deviation=0.01, seed=seed)).measure_overlap(2, 0)
        for seed in range(12)
    ]
    spread = np.std([entry.value for entry in values], ddof=1)
    mean = np.mean([entry.standard_error for entry in values])
    # a spread of 12 is known to 21 %, and so is a jackknife of 10 blocks: 3 sigma
    assert 0.4 < mean / spread < 2.5
