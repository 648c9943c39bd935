"""Exchanges of sites of one type in capped amino acids of known geometry."""

from statistics import NormalDist

import numpy as np
import pytest

from beadsmith.analysis.exchanges import find_exchanges, measure_overlap
from example_molecules import make_backbone, place_next

N_SAMPLES = 1500
CORE = (("C", "N", "C", "C", "N"), np.array([(0, 1), (1, 2), (2, 3), (3, 4)]))
CORE_BETA = (("C", "N", "C", "C", "C", "N"), np.array([(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)]))
DISTINCT = tuple("abcdef")


def make_core_beta(*, n_samples=N_SAMPLES, seed=0, noise=0.003, free=False):
    """Return C N CA CB C N with CB and C at one distance from CA, free to turn about phi and psi."""
    generator = np.random.default_rng(seed)
    phi, psi = (generator.uniform(-180.0, 180.0, n_samples) for _ in range(2))
    core = make_backbone(phi, psi, bond=0.14)
    # CB lies 122.5 degrees from C, seen along N-CA
    beta = place_next(core[:, 0], core[:, 1], core[:, 2], 0.14, 110.0, phi - 122.5)
    positions = np.concatenate([core[:, :3], beta[:, None], core[:, 3:]], axis=1)
    return positions + generator.normal(0.0, noise, positions.shape)


def test_overlap_of_normal_samples_is_the_closed_form():
    generator = np.random.default_rng(1)
    first, second = generator.normal(0.0, 1.0, 20_000), generator.normal(2.0, 1.0, 20_000)
    # twice the tail beyond the middle; 20,000 samples in bins of 0.1 know it to 0.01
    assert measure_overlap(first, second) == pytest.approx(2.0 * NormalDist().cdf(-1.0), abs=0.02)
    assert measure_overlap(first, first) == 1.0
    assert measure_overlap(first, first + 20.0) == 0.0


def test_beta_carbon_and_carbonyl_carbon_are_one_at_first_sight_and_told_by_what_follows():
    types, bonds = CORE_BETA
    exchanges = {entry.sites: entry for entry in find_exchanges(make_core_beta(), types, DISTINCT, bonds)}
    beta = exchanges[3, 4]
    assert beta.first_shell > 0.9
    # the nitrogen of the cap is bonded to one of them
    assert (beta.overlap, beta.told_by) == (0.0, 5)
    assert beta.deviation > 3.0 * beta.spread
    assert set(exchanges) == {(0, 2), (0, 3), (0, 4), (2, 3), (2, 4), (3, 4), (1, 5)}


def test_distances_to_a_common_partner_tell_sites_apart_where_they_differ():
    types, bonds = CORE
    positions = make_core_beta()[:, [0, 1, 2, 4, 5]]
    exchanges = {entry.sites: entry for entry in find_exchanges(positions, types, DISTINCT[:5], bonds)}
    assert exchanges[0, 2].first_shell > 0.9
    # a bond of 0.115 nm instead of 0.140 nm, both 0.004 nm wide
    shorter = positions.copy()
    shorter[:, 0] = positions[:, 1] + (positions[:, 0] - positions[:, 1]) * 0.115 / 0.14
    exchanges = {entry.sites: entry for entry in find_exchanges(shorter, types, DISTINCT[:5], bonds)}
    assert exchanges[0, 2].first_shell < 0.01


def test_sites_that_the_data_really_exchange_are_found_by_both_measures():
    # the first two sites are not bonded to anything that tells them, but are called different by chemistry
    generator = np.random.default_rng(2)
    triangle = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.07, 0.12, 0.0], [0.07, 0.05, 0.2]])
    positions = triangle + generator.normal(0.0, 0.03, (N_SAMPLES, 4, 3))
    bonds = np.array([(0, 2), (1, 2), (2, 3)])
    (entry,) = find_exchanges(positions, ("a", "a", "b", "c"), ("a1", "a2", "b", "c"), bonds)
    assert entry.sites == (0, 1)
    assert entry.overlap > 0.5
    assert entry.deviation < 1.5 * entry.spread


def test_a_symmetry_of_the_molecule_is_no_exchange():
    positions = np.random.default_rng(3).normal(size=(10, 3, 3))
    assert find_exchanges(positions, "aba", "aba", np.array([(0, 1), (1, 2)])) == ()
    assert find_exchanges(positions, "abc", "abc", np.array([(0, 1), (1, 2)])) == ()


def test_a_long_chain_of_one_type_is_done_in_a_moment():
    generator = np.random.default_rng(4)
    steps = generator.normal(size=(100, 70, 3))
    steps *= 0.38 / np.linalg.norm(steps, axis=-1, keepdims=True)
    bonds = np.stack([np.arange(69), np.arange(1, 70)], axis=1)
    exchanges = find_exchanges(np.cumsum(steps, axis=1), "a" * 70, tuple(range(70)), bonds)
    # sites up to four bonds apart
    assert len(exchanges) == 69 + 68 + 67 + 66
    assert max(entry.sites[1] - entry.sites[0] for entry in exchanges) == 4
