"""Automorphisms of molecular graphs against trying all permutations, and the copies that types cannot tell apart."""

import itertools
import math

import numpy as np
import pytest

from beadsmith.analysis.graph_symmetry import (
    compute_log_copies,
    count_automorphisms,
    is_exchange_automorphism,
    refine_until_stable,
)


def chain(n_sites):
    return np.stack([np.arange(n_sites - 1), np.arange(1, n_sites)], axis=1)


def ring(n_sites):
    return np.stack([np.arange(n_sites), np.roll(np.arange(n_sites), -1)], axis=1)


def star(n_leaves):
    return np.array([(0, leaf) for leaf in range(1, n_leaves + 1)])


def count_by_trying(labels, bonds):
    """Count permutations that keep labels and bonds: the slow twin."""
    pairs = {frozenset(pair) for pair in bonds.tolist()}
    return sum(
        all(labels[site] == labels[image] for site, image in enumerate(order))
        and {frozenset((order[a], order[b])) for a, b in bonds.tolist()} == pairs
        for order in itertools.permutations(range(len(labels)))
    )


CORE = ("C", "N", "C", "C", "N")
CORE_BETA = ("C", "N", "C", "C", "C", "N")
CORE_BETA_BONDS = np.array([(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)])
# two triangles beside a hexagon: colours alone do not tell which sites belong together
TWO_TRIANGLES = np.concatenate([ring(3), ring(3) + 3])


@pytest.mark.parametrize(
    ("labels", "bonds", "expected"),
    [
        ("aaaa", chain(4), 2),
        ("abca", chain(4), 1),
        ("aaaaaa", ring(6), 12),
        ("aaaaa", star(4), 24),
        ("aaaabb", star(5), 6 * 2),
        ("aaaaaa", TWO_TRIANGLES, 72),
        (CORE_BETA, CORE_BETA_BONDS, 1),
        ("aaa", np.zeros((0, 2), dtype=int), 6),
    ],
)
def test_automorphisms_are_those_found_by_trying_all_permutations(labels, bonds, expected):
    assert count_automorphisms(labels, bonds) == expected == count_by_trying(labels, bonds)


def test_automorphisms_of_random_graphs_are_those_found_by_trying_all_permutations():
    generator = np.random.default_rng(1)
    for _ in range(30):
        n_sites = int(generator.integers(3, 7))
        pairs = np.array(list(itertools.combinations(range(n_sites), 2)))
        bonds = pairs[generator.random(len(pairs)) < 0.5]
        labels = tuple(generator.integers(0, 2, n_sites).tolist())
        assert count_automorphisms(labels, bonds) == count_by_trying(labels, bonds)


def test_a_long_symmetric_chain_is_counted_without_trying():
    assert count_automorphisms("a" * 120, chain(120)) == 2


@pytest.mark.parametrize(
    ("types", "copies"),
    [
        (CORE, 12),
        ("aaaaa", 120),
        (CORE_BETA, 48),
        ("aaaaaa", 720),
        ("abcdef", 1),
    ],
)
def test_copies_of_capped_alanine_are_the_published_numbers(types, copies):
    # its chemical graph has no symmetry; numbers of the maps core, coreSingle, coreBeta, coreBetaSingle, coreBetaMap2
    assert 10.0 ** compute_log_copies(types, 1) == pytest.approx(copies)


def test_hexane_of_four_beads_has_one_copy_besides_its_own():
    # A-B-B-A: 2! 2! arrangements, of which the chain read backwards is the same molecule
    assert 10.0 ** compute_log_copies("ABBA", count_automorphisms("ABBA", chain(4))) == pytest.approx(2.0)


def test_copies_of_a_long_chain_do_not_overflow():
    assert compute_log_copies("a" * 500, 2) == pytest.approx((math.lgamma(501) - math.log(2.0)) / math.log(10.0))


def test_an_exchange_is_a_symmetry_where_both_sites_have_the_same_partners():
    assert is_exchange_automorphism("aaaa", star(3), (1, 2))
    assert not is_exchange_automorphism("aaab", star(3), (2, 3))
    assert not is_exchange_automorphism("aaaa", chain(4), (0, 3))
    # two bonded sites and nothing else
    assert is_exchange_automorphism("aa", chain(2), (0, 1))


def test_stable_colours_tell_the_ends_of_a_chain_apart_by_what_lies_at_the_other_end():
    assert refine_until_stable("aaaaa", chain(5)) == (0, 1, 2, 1, 0)
    assert len(set(refine_until_stable("aaaab", chain(5)))) == 5
