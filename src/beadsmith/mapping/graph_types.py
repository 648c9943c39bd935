"""Bead types from the bond graph: beads are of one type where their surroundings look the same for a few bonds.

A type so named is the same for the same fragment in any molecule, because nothing but the fragment enters its name.
Colours know which beads are bonded, not how they are arranged in space: mirror images have equal types.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

_HEX_DIGITS = 6
"""Digits of a fingerprint that enter a name: two of 100 types share them with a probability of 3e-4."""


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What one bead is made of."""

    name: str
    """Readable name: the sum formula of its atoms with their hydrogens, or the type the user gave."""
    key: str
    """Fingerprint of its atoms, the bonds between them and the unmapped atoms that hang on them."""


def refine_colors(labels: Sequence[str], bonds: Int[np.ndarray, "bonds 2"], depth: int) -> tuple[int, ...]:
    """Return a colour for each site of a graph; two sites share one if they look the same up to `depth` bonds away.

    Colours begin as the labels. In each of `depth` rounds a site takes a new colour made of its own and the sorted
    colours of the sites bonded to it. They are numbered from 0 in the order of their first sites.
    Source: B. Weisfeiler, A. Leman, Nauchno-Tekh. Inf. 2 (9), 12 (1968).

    Parameters
    ----------
    labels : What each site is.
    bonds : Bonded pairs of sites.
    depth : Number of rounds; 0 leaves the labels.
    """
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(color, len(numbers)) for color in _fingerprint(labels, bonds, depth))


def name_graph_types(fragments: Sequence[Fragment], bonds: Int[np.ndarray, "bonds 2"], depth: int) -> tuple[str, ...]:
    """Return type names NAME_FINGERPRINT of beads, equal for beads whose surroundings are, in whatever molecule.

    Parameters
    ----------
    fragments : What each bead is made of.
    bonds : Bonded pairs of beads.
    depth : How many bonds away the surroundings count.
    """
    fingerprints = _fingerprint([fragment.key for fragment in fragments], bonds, depth)
    return tuple(
        f"{fragment.name}_{fingerprint[:_HEX_DIGITS]}"
        for fragment, fingerprint in zip(fragments, fingerprints, strict=True)
    )


def describe_fragments(
    elements: Sequence[str], members: Bool[np.ndarray, "beads atoms"], atom_bonds: Int[np.ndarray, "bonds 2"]
) -> tuple[Fragment, ...]:
    """Return what each bead of a molecule is made of.

    Unmapped atoms count for every bead they hang on, through unmapped atoms only: an alpha carbon knows the side chain
    that has no bead, so that two residues of different side chains differ in the bead that stands for both.

    Parameters
    ----------
    elements : Chemical element of each atom.
    members : Whether an atom belongs to a bead.
    atom_bonds : Bonded pairs of atoms.
    """
    neighbours: list[list[int]] = [[] for _ in elements]
    for first, second in atom_bonds.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    is_mapped = members.sum(axis=0) > 0
    return tuple(_describe_fragment(elements, np.flatnonzero(row).tolist(), neighbours, is_mapped) for row in members)


def _describe_fragment(
    elements: Sequence[str], own: list[int], neighbours: list[list[int]], is_mapped: Bool[np.ndarray, "atoms"]
) -> Fragment:
    is_own = set(own)
    found = dict.fromkeys(own)
    front = deque(own)
    while front:
        for other in neighbours[front.popleft()]:
            if other not in found and not is_mapped[other]:
                found[other] = None
                front.append(other)
    number = {atom: index for index, atom in enumerate(found)}
    bonds = [(number[a], number[b]) for a in found for b in neighbours[a] if b in number and number[a] < number[b]]
    labels = [elements[atom] + ("*" if atom in is_own else "") for atom in found]
    colors = _fingerprint_until_stable(labels, np.array(bonds, dtype=np.int64).reshape(-1, 2))
    hydrogens = {other for atom in own for other in neighbours[atom] if other in found and elements[other] == "H"}
    formula = Counter(elements[atom] for atom in is_own | hydrogens)
    return Fragment(name=_write_formula(formula), key=_digest(" ".join(sorted(colors))))


def _write_formula(counts: Counter[str]) -> str:
    """Write CH3, C2H4O or NH: hydrogen follows carbon, or comes last where there is none."""
    order = ["C", "H"] if "C" in counts else []
    order += sorted(set(counts) - {"C", "H"})
    order += [] if "C" in counts else ["H"]
    return "".join(f"{element}{counts[element] if counts[element] > 1 else ''}" for element in order if counts[element])


def _fingerprint(labels: Sequence[str], bonds: Int[np.ndarray, "bonds 2"], depth: int) -> list[str]:
    """Return the colour of each site after `depth` rounds as a digest that depends on its surroundings alone."""
    colors = [_digest(label) for label in labels]
    for _ in range(depth):
        colors = _refine_once(colors, bonds)
    return colors


def _fingerprint_until_stable(labels: Sequence[str], bonds: Int[np.ndarray, "bonds 2"]) -> list[str]:
    colors, n_classes = _fingerprint(labels, bonds, 0), 0
    while len(set(colors)) > n_classes:
        n_classes = len(set(colors))
        colors = _refine_once(colors, bonds)
    return colors


def _refine_once(colors: list[str], bonds: Int[np.ndarray, "bonds 2"]) -> list[str]:
    around: list[list[str]] = [[] for _ in colors]
    for first, second in bonds.tolist():
        around[first].append(colors[second])
        around[second].append(colors[first])
    return [_digest(" ".join([own, *sorted(others)])) for own, others in zip(colors, around, strict=True)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
