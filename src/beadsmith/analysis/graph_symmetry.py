"""The symmetry of a molecule's graph: which of its sites are the same, and how many permutations leave it as it is.

Colours are refined until no class splits. Sites that a permutation of the graph exchanges always share a colour; in
trees, and in nearly all molecules, the reverse is true as well.
"""

from collections.abc import Hashable, Sequence
from math import lgamma, log

import numpy as np
from jaxtyping import Int

_LN_10 = log(10.0)


def refine_until_stable(labels: Sequence[Hashable], bonds: Int[np.ndarray, "bonds 2"]) -> tuple[int, ...]:
    """Return colours of all sites, from 0 in the order of their first sites, that no further round would split.

    Source: B. Weisfeiler, A. Leman, Nauchno-Tekh. Inf. 2 (9), 12 (1968).

    Parameters
    ----------
    labels : What each site is.
    bonds : Bonded pairs of sites.
    """
    return tuple(_refine(_number(labels), list_neighbours(len(labels), bonds)))


def count_automorphisms(labels: Sequence[Hashable], bonds: Int[np.ndarray, "bonds 2"]) -> int:
    """Return the number of permutations of the sites that keep all labels and all bonds.

    The order of the group is the product of the sizes of orbits, each of one site while all sites before it are held
    (orbit-stabiliser theorem). Whether a permutation takes one site to another is found by refining the colours of both
    graphs with these two marked, and by search where colours alone leave it open.
    """
    neighbours = list_neighbours(len(labels), bonds)
    colors = _refine(_number(labels), neighbours)
    held: list[tuple[int, int]] = []
    order = 1
    while (site := _first_ambiguous(colors)) is not None:
        same = [other for other, color in enumerate(colors) if color == colors[site]]
        order *= sum(_can_map(labels, neighbours, [*held, (site, other)]) for other in same)
        held.append((site, site))
        colors = _refine(_mark(_number(labels), [first for first, _ in held]), neighbours)
    return order


def is_exchange_automorphism(
    labels: Sequence[Hashable], bonds: Int[np.ndarray, "bonds 2"], pair: tuple[int, int]
) -> bool:
    """Return whether the exchange of two sites alone keeps all labels and all bonds."""
    first, second = pair
    neighbours = list_neighbours(len(labels), bonds)
    return labels[first] == labels[second] and set(neighbours[first]) - {second} == set(neighbours[second]) - {first}


def compute_log_copies(types: Sequence[Hashable], n_automorphisms: int) -> float:
    """Return the decadic logarithm of Π_s n_s! / |Aut|: arrangements of the sites that types and distances confuse.

    Every permutation of sites of one type leaves such an energy as it is, although only the automorphisms of the
    chemical graph should. The native arrangement counts as one: log 0. Below 0, types tell more than chemistry does.

    Parameters
    ----------
    types : Type of each site of the molecule.
    n_automorphisms : Automorphisms of the chemically labelled graph.
    """
    counts = np.unique(_number(types), return_counts=True)[1].tolist()
    return (sum(lgamma(count + 1.0) for count in counts) - log(n_automorphisms)) / _LN_10


def list_neighbours(n_sites: int, bonds: Int[np.ndarray, "bonds 2"]) -> list[list[int]]:
    """Return the sites that each site is bonded to, ascending."""
    found: list[set[int]] = [set() for _ in range(n_sites)]
    for first, second in bonds.tolist():
        found[first].add(second)
        found[second].add(first)
    return [sorted(others) for others in found]


def _number(labels: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def _mark(colors: Sequence[int], sites: Sequence[int]) -> list[int]:
    """Return the colours with one of its own for each of some sites, in their order."""
    marked, fresh = list(colors), max(colors) + 1
    for place, site in enumerate(sites):
        marked[site] = fresh + place
    return marked


def _refine(colors: list[int], neighbours: list[list[int]]) -> list[int]:
    n_classes = 0
    while len(set(colors)) > n_classes:
        n_classes = len(set(colors))
        colors = _number([(own, *sorted(colors[k] for k in around)) for own, around in _zip(colors, neighbours)])
    return colors


def _zip(colors: list[int], neighbours: list[list[int]]) -> list[tuple[int, list[int]]]:
    return list(zip(colors, neighbours, strict=True))


def _first_ambiguous(colors: list[int]) -> int | None:
    counts = np.bincount(colors)
    return next((site for site, color in enumerate(colors) if counts[color] > 1), None)


def _can_map(labels: Sequence[Hashable], neighbours: list[list[int]], held: list[tuple[int, int]]) -> bool:
    """Return whether some automorphism takes the first site of every held pair to the second.

    The graph stands beside a copy of itself, and both are coloured as one: pairs are marked alike in the two.
    """
    n_sites = len(labels)
    twice = [*neighbours, *([other + n_sites for other in around] for around in neighbours)]
    colors = _number([*labels, *labels])
    fresh = max(colors) + 1
    for place, (first, second) in enumerate(held):
        colors[first] = colors[n_sites + second] = fresh + place
    colors = _refine(colors, twice)
    ours, copy = colors[:n_sites], colors[n_sites:]
    if sorted(ours) != sorted(copy):
        return False
    site = _first_ambiguous(ours)
    if site is None:
        image = {color: place for place, color in enumerate(copy)}
        moved = [image[color] for color in ours]
        return all(sorted(moved[k] for k in near) == neighbours[moved[place]] for place, near in enumerate(neighbours))
    return any(
        _can_map(labels, neighbours, [*held, (site, other)]) for other in range(n_sites) if copy[other] == ours[site]
    )
