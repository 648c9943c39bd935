"""Sites of one type that change places: does the geometry of the molecule tell them apart?

An energy of types and distances is the same for every permutation of sites of one type. What that spoils depends on
whether a permuted molecule looks like a molecule of the reference, or like one in the nearest neighbourhood of a site.
Source of the question: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.graph_symmetry import is_exchange_automorphism, list_neighbours
from beadsmith.analysis.internal import superposed_rmsd

_LARGE = 64
_FURTHEST = 4
"""Bonds between the sites of an exchange that is looked at in a molecule of more sites than that."""

_N_SAMPLES = 1000
_N_SUPERPOSED = 120
_MOST_SUPERPOSED = 12
_NOTHING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Two sites of one type in a molecule, and how well distances tell them apart."""

    sites: tuple[int, int]
    """The sites, counted within the molecule."""
    overlap: float
    """Largest possible overlap ∫ min(p, p') of all shapes with those after the exchange: the least overlap of p(r_ik)
    and p(r_jk) over all sites k. 0: some distance always tells them apart."""
    told_by: int | None
    """The site k of that least overlap; None in a molecule of two sites."""
    first_shell: float
    """The same over the sites that both are bonded to alone, 0 where there is none: what one look around tells."""
    deviation: float | None = None
    """Smallest RMSD of an exchanged shape from any shape of the reference, reflections allowed [nm]."""
    spread: float | None = None
    """Typical RMSD of a shape from the nearest other one: what thermal motion and the number of frames make [nm]."""

    def to_json(self) -> dict[str, Any]:
        """Return the exchange as a JSON-ready dictionary."""
        return {
            "sites": list(self.sites),
            "overlap": self.overlap,
            "told_by": self.told_by,
            "first_shell_overlap": self.first_shell,
            "deviation": None if self.deviation is None else {"value": self.deviation, "unit": "nm"},
            "spread": None if self.spread is None else {"value": self.spread, "unit": "nm"},
        }


def find_exchanges(
    positions: Float[np.ndarray, "samples sites 3"],
    types: Sequence[Hashable],
    labels: Sequence[Hashable],
    bonds: Int[np.ndarray, "bonds 2"],
) -> tuple[Exchange, ...]:
    """Return all exchanges of two sites of one type that are no symmetry of the molecule, the least told apart first.

    Shapes are superposed for the first dozen alone. In molecules of more than 64 sites only sites up to four bonds
    apart are exchanged.

    Parameters
    ----------
    positions : Whole molecules [nm].
    types : Type of each site.
    labels : What each site is chemically.
    bonds : Bonded pairs of sites.
    """
    neighbours = list_neighbours(len(types), bonds)
    samples = _spread_out(positions, _N_SAMPLES)

    @cache
    def lengths(pair: frozenset[int]) -> Float[np.ndarray, "samples"]:
        first, second = sorted(pair)
        return np.linalg.norm(samples[:, second] - samples[:, first], axis=-1)

    furthest = _FURTHEST if len(types) > _LARGE else len(types)
    steps = [_reach(site, neighbours, furthest) for site in range(len(types))]
    found = []
    for first, second in combinations(range(len(types)), 2):
        is_near = len(types) <= _LARGE or second in steps[first]
        if types[first] != types[second] or not is_near or is_exchange_automorphism(labels, bonds, (first, second)):
            continue
        around = _sort_by_bonds((first, second), steps, is_whole=len(types) <= _LARGE)
        common = [site for site in neighbours[first] if site in neighbours[second]]
        overlap, told_by = 1.0, None
        for site in around:
            here = measure_overlap(lengths(frozenset((first, site))), lengths(frozenset((second, site))))
            if here < overlap or told_by is None:
                overlap, told_by = here, site
            if overlap == 0.0:
                break
        shared = [measure_overlap(lengths(frozenset((first, k))), lengths(frozenset((second, k)))) for k in common]
        found.append(
            Exchange(sites=(first, second), overlap=overlap, told_by=told_by, first_shell=min(shared, default=0.0))
        )
    found.sort(key=lambda entry: (-entry.overlap, -entry.first_shell))
    return _superpose(found, _spread_out(positions, _N_SUPERPOSED))


def measure_overlap(first: Float[np.ndarray, "samples"], second: Float[np.ndarray, "samples"]) -> float:
    """Return ∫ min(p, q) of the densities of two equally long series; 0 if no value of one lies among the other's."""
    lowest, highest = max(first.min(), second.min()), min(first.max(), second.max())
    if lowest > highest:
        return 0.0
    spreads = [float(np.subtract(*np.percentile(values, (75.0, 25.0)))) for values in (first, second)]
    # the rule of Freedman and Diaconis, for the narrower of the two
    width = max(2.0 * min(spreads) * len(first) ** (-1.0 / 3.0), 1e-5)
    # beyond the range that both have visited, one of them is nothing
    bins = [
        ((values[(values >= lowest) & (values <= highest)] - lowest) / width).astype(np.int64)
        for values in (first, second)
    ]
    counts = [np.bincount(place, minlength=1 + int((highest - lowest) / width)) / len(first) for place in bins]
    return float(np.minimum(*counts).sum())


def _superpose(exchanges: list[Exchange], samples: Float[np.ndarray, "samples sites 3"]) -> tuple[Exchange, ...]:
    """Return the exchanges, the first of them with deviation and spread."""
    close = [entry for entry in exchanges if max(entry.overlap, entry.first_shell) > _NOTHING][:_MOST_SUPERPOSED]
    if not close or len(samples) < 2:
        return tuple(exchanges)
    own = _nearest(samples, samples, skip_itself=True)
    done = []
    for entry in close:
        order = np.arange(samples.shape[1])
        order[list(entry.sites)] = order[list(entry.sites[::-1])]
        deviation = float(_nearest(samples[:, order], samples, skip_itself=False).min())
        done.append(replace(entry, deviation=deviation, spread=float(np.median(own))))
    rest = [entry for entry in exchanges if entry not in close]
    return (*done, *rest)


def _nearest(
    shapes: Float[np.ndarray, "shapes sites 3"], others: Float[np.ndarray, "samples sites 3"], *, skip_itself: bool
) -> Float[np.ndarray, "shapes"]:
    """Return the RMSD of each shape from the nearest other one or its mirror image [nm]."""
    found = np.full(len(shapes), np.inf)
    both = np.stack([others, others * np.array([-1.0, 1.0, 1.0])], axis=1)
    for number, shape in enumerate(shapes):
        deviations = superposed_rmsd(both, shape).min(axis=1)
        if skip_itself:
            deviations[number] = np.inf
        found[number] = deviations.min()
    return found


def _sort_by_bonds(pair: tuple[int, int], steps: list[dict[int, int]], *, is_whole: bool) -> list[int]:
    """Return the other sites of the molecule, or those in reach, the fewest bonds from either of the pair first."""
    unseen = len(steps)
    apart = {site: min(steps[one].get(site, unseen) for one in pair) for site in range(len(steps)) if site not in pair}
    return sorted((site for site, bonds in apart.items() if is_whole or bonds < unseen), key=lambda site: apart[site])


def _reach(start: int, neighbours: list[list[int]], furthest: int) -> dict[int, int]:
    """Return the sites up to so many bonds away, with their number of bonds."""
    steps, front = {start: 0}, [start]
    for step in range(1, furthest + 1):
        front = [other for site in front for other in neighbours[site] if other not in steps]
        steps |= dict.fromkeys(front, step)
        if not front:
            break
    return steps


def _spread_out(
    positions: Float[np.ndarray, "samples sites 3"], n_samples: int
) -> Float[np.ndarray, "_chosen sites 3"]:
    """Return at most so many samples at even distances, in float64."""
    chosen = np.unique(np.linspace(0, len(positions) - 1, min(n_samples, len(positions))).astype(np.int64))
    return positions[chosen].astype(np.float64)
