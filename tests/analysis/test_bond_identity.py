"""Bonds and nearest neighbours followed through frames: what switches, what only breaks, and what comes too close."""

import numpy as np
import pytest

from beadsmith.analysis import contacts, measure
from beadsmith.analysis.bond_identity import BondRange, BondSurvey, follow_bonds, survey_bonds
from beadsmith.geometry import minimum_image
from beadsmith.io.h5md import open_trajectory, write_trajectory
from example_chains import build_chain
from example_molecules import make_molecule
from example_trajectories import make_ideal_gas

EDGE = 2.0
CELL = EDGE * np.eye(3, dtype=np.float32)
DIMERS = np.array([[0.1, 1.0, 1.0], [1.75, 1.0, 1.0], [0.1, 1.4, 1.0], [1.75, 1.4, 1.0]])
"""Two bonds of 0.35 nm along x through the boundary, 0.4 nm apart."""


@pytest.fixture
def follow(tmp_path):
    """Return a function that surveys a reference and follows a simulation, both given as trajectories."""

    def run(simulated, reference=None):
        found = []
        for name, trajectory in (("reference", reference or simulated), ("simulated", simulated)):
            write_trajectory(tmp_path / f"{name}.h5", trajectory)
        with open_trajectory(tmp_path / "reference.h5") as stored:
            found = survey_bonds(stored)
        with open_trajectory(tmp_path / "simulated.h5") as stored:
            return follow_bonds(stored, found)

    return run


def make_dimers(n_frames=20, *, swaps=(), segment=None, cell=CELL, seed=0):
    """Return two dimers of one type; the second sites are exchanged in the frames that are named."""
    topology = build_chain(2, n_molecules=2, type_names=("A",))
    positions = np.repeat(DIMERS[None], n_frames, axis=0)
    positions += np.random.default_rng(seed).normal(0.0, 0.002, positions.shape)
    positions[list(swaps)] = positions[list(swaps)][:, [0, 3, 2, 1]]
    cells = None if cell is None else np.repeat(cell[None], n_frames, axis=0)
    return make_molecule(positions, topology, cell=cells, segment=segment)


def test_bonds_through_the_boundary_that_stay_are_not_switched(follow):
    found = follow(make_dimers())
    assert not np.isfinite(found.first_switch).any()
    assert not np.isfinite(found.first_change).any()
    assert found.to_json()["strangers"]["value"] == 0.0
    assert found.to_json()["curve"]["switched"] == [0.0] * 201


def test_partners_that_exchange_are_switched_from_then_on_and_keep_their_time(follow):
    # of two replicas one exchanges its partners in its eighth frame, 7 ps after the first, and back again
    found = follow(make_dimers(20, swaps=(17, 18), segment=np.repeat([0, 1], 10)), make_dimers())
    json = found.to_json()
    assert json["switched"]["value"] == 0.5
    # two replicas, all or nothing: the error of the mean is a half
    assert json["switched"]["standard_error"] == pytest.approx(0.5)
    assert json["first_switch"]["value"] == 7.0
    times, curve = np.array(json["curve"]["time"]), np.array(json["curve"]["switched"])
    np.testing.assert_array_equal(curve, np.where(times >= 7.0, 0.5, 0.0))
    assert json["changed"]["value"] == 0.5
    assert json["first_change"]["value"] == 7.0
    assert json["strangers"]["value"] == pytest.approx(2 * 2 / 40)
    assert json["length"]["value"] == 9.0


def test_a_bond_that_breaks_without_a_stranger_is_not_switched(follow):
    broken = make_dimers()
    # both ends move apart, and nothing else comes near
    broken.positions[5, 1] += [-0.3, 0.0, 0.6]
    found = follow(broken, make_dimers())
    assert not np.isfinite(found.first_switch).any()
    assert found.to_json()["changed"]["value"] == 0.5


def test_a_stranger_of_another_type_takes_no_ones_place(follow):
    topology = build_chain(2, n_molecules=2, type_names=("A", "B"))
    positions = np.repeat(DIMERS[None], 20, axis=0)
    positions += np.random.default_rng(0).normal(0.0, 0.002, positions.shape)
    cells = np.repeat(CELL[None], 20, axis=0)
    reference = make_molecule(positions, topology, cell=cells)
    # the first sites exchange places with each other's second sites: A meets A, B meets B
    moved = make_molecule(positions[:, [0, 2, 1, 3]], topology, cell=cells)
    assert not np.isfinite(follow(moved, reference).first_switch).any()
    exchanged = make_molecule(positions[:, [0, 3, 2, 1]], topology, cell=cells)
    assert np.isfinite(follow(exchanged, reference).first_switch).all()


def test_the_cell_list_finds_what_the_comparison_of_all_pairs_does(follow, monkeypatch):
    positions = np.random.default_rng(3).uniform(0.0, 1.2, (30, 8, 3))
    chains = make_molecule(positions, build_chain(4, n_molecules=2, type_names=("A", "B")))
    first = follow(chains)
    monkeypatch.setattr(contacts, "_MOST_SITES_FOR_ALL_PAIRS", 0)
    monkeypatch.setattr(measure, "_CHUNK_SITES", 3 * 8)
    second = follow(chains)
    for name in ("first_switch", "first_change", "n_mutual", "n_strangers", "bonded", "nearest"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    np.testing.assert_allclose(second.contacts.closest, first.contacts.closest, rtol=1e-12)
    np.testing.assert_array_equal(second.contacts.counts, first.contacts.counts)
    assert first.n_strangers > 0


def test_nearest_neighbours_in_a_cell_are_those_of_the_nearest_images(follow):
    positions = np.random.default_rng(8).uniform(-3.0, 3.0, (25, 6, 3)).astype(np.float32)
    cell = np.array([[0.9, 0.0, 0.0], [0.2, 0.8, 0.0], [-0.1, 0.3, 0.85]], dtype=np.float32)
    cells = np.repeat(cell[None], 25, axis=0)
    found = follow(make_molecule(positions, build_chain(2, n_molecules=3, type_names=("A",)), cell=cells))
    vectors = minimum_image(positions[:, :, None] - positions[:, None], cells)
    distances = np.linalg.norm(vectors, axis=-1)
    distances[:, np.arange(6), np.arange(6)] = np.inf
    stays = distances.argmin(axis=2) == np.arange(6) + [1, -1, 1, -1, 1, -1]
    first = np.where((~stays).any(axis=0), (~stays).argmax(axis=0), np.inf)
    np.testing.assert_array_equal(found.first_change[0], first)
    mutual = np.take_along_axis(distances.argmin(axis=2), distances.argmin(axis=2), axis=1) == np.arange(6)
    assert found.n_mutual == mutual.sum() / 2


def test_nearest_neighbours_of_an_open_chain_are_those_of_every_distance(follow):
    positions = np.random.default_rng(4).uniform(0.0, 1.0, (25, 5, 3)).astype(np.float32)
    found = follow(make_molecule(positions, build_chain(5, type_names=("A",))))
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    distances[:, np.arange(5), np.arange(5)] = np.inf
    stays = np.abs(distances.argmin(axis=2) - np.arange(5)) == 1
    first = np.where((~stays).any(axis=0), (~stays).argmax(axis=0), np.inf)
    np.testing.assert_array_equal(found.first_change[0], first)


def test_a_chain_whose_site_is_nearest_to_one_partner_and_then_the_other_has_not_changed(follow):
    positions = np.zeros((10, 3, 3))
    positions[:, 1, 0], positions[:, 2, 0] = 0.15, 0.30
    positions[::2, 1, 0] += 0.01
    found = follow(make_molecule(positions, build_chain(3, type_names=("A",))))
    assert not np.isfinite(found.first_change).any()


def test_contacts_leave_out_what_is_one_or_two_bonds_apart(follow):
    positions = np.zeros((4, 5, 3))
    positions[:, :, 0] = 0.15 * np.arange(5)
    # the ends of the chain of five meet: the first and the fourth site are three bonds apart
    positions[2, 3] = [0.0, 0.21, 0.0]
    found = follow(make_molecule(positions, build_chain(5, type_names=("A",)))).to_json()
    assert found["closest_contact"]["A-A"]["value"] == pytest.approx(0.21, abs=1e-6)


def test_regular_contacts_begin_at_the_quantile_of_nearest_distances(follow):
    # the nearest contact of either end is uniform from 0.3 to 0.4 nm: one in ten thousand is below 0.30001
    n_frames = 20_000
    generator = np.random.default_rng(5)
    positions = np.zeros((n_frames, 4, 3))
    positions[:, :2, 1] = [0.0, 0.15]
    positions[:, 2:] = positions[:, :2]
    positions[:, 2:, 0] = generator.uniform(0.3, 0.4, n_frames)[:, None]
    positions[7, 2:, 0] = 0.12
    found = follow(make_molecule(positions, build_chain(2, n_molecules=2, type_names=("A", "B")))).to_json()
    assert found["closest_contact"]["A-A"]["value"] == pytest.approx(0.12, abs=1e-6)
    # 40,000 samples: four may lie below, of which one pair is the outlier; the bins are 0.001 nm wide
    assert found["regular_contact"]["A-A"]["value"] == pytest.approx(0.3005, abs=0.0006)


def test_the_survey_has_mean_and_width_of_every_kind_of_bond(tmp_path):
    generator = np.random.default_rng(6)
    positions = np.zeros((5000, 3, 3))
    positions[:, 1, 0] = generator.normal(0.15, 0.003, 5000)
    positions[:, 2, 0] = positions[:, 1, 0] + generator.normal(0.25, 0.01, 5000)
    write_trajectory(tmp_path / "a.h5", make_molecule(positions, build_chain(3, type_names=("A", "B", "C"))))
    with open_trajectory(tmp_path / "a.h5") as stored:
        ranges = survey_bonds(stored).ranges
    # 4 standard errors of 5000 samples
    assert ranges["A-B"].mean == pytest.approx(0.15, abs=4 * 0.003 / 5000**0.5)
    assert ranges["B-C"].deviation == pytest.approx(0.01, rel=4 / (2 * 5000) ** 0.5)
    assert ranges["B-C"].half_width == pytest.approx(6.0 * ranges["B-C"].deviation)


def test_a_constrained_bond_keeps_a_window():
    assert BondRange(mean=0.1, deviation=1e-7).half_width == pytest.approx(0.01)
    assert BondSurvey(ranges={"A-A": BondRange(mean=0.6, deviation=0.01)}).reach > 0.66


def test_a_liquid_of_single_beads_has_no_bonds_to_follow(tmp_path):
    write_trajectory(tmp_path / "gas.h5", make_ideal_gas(np.random.default_rng(7), n_frames=3))
    with open_trajectory(tmp_path / "gas.h5") as stored:
        assert survey_bonds(stored) is None
