"""How far the molecules of a simulation are from those of the reference, and how far chance alone would put them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from beadsmith.analysis.blocks import BlockCounts
from beadsmith.analysis.comparison import subtract
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.free_energy import (
    expected_by_chance,
    free_energy_rms,
    jensen_shannon,
    kullback_leibler,
    measure_asymmetry,
    measure_divergence,
    measure_halves,
)
from beadsmith.analysis.molecule_measures import Curve, MoleculeMeasurements, Surface, to_json_or_none

MIRROR_SHARE = 0.25
"""A simulation whose distance to its own mirror image is below this share of the reference's is mirror-symmetric."""

_LEAST_ASYMMETRY = 0.1

_Divergence = Callable[[np.ndarray, np.ndarray, tuple[float, float]], float]
"""Of two histograms and the numbers of samples behind them [nats]."""


def compare_molecules(simulated: MoleculeMeasurements, reference: MoleculeMeasurements) -> dict[str, Any]:
    """Return every distance between the molecules of one simulation and those of the reference."""
    return {
        "coordinates": _compare_curves(simulated.curves, reference.curves),
        "bonded": _compare_curves(simulated.bonded, reference.bonded),
        "surfaces": {
            label: compare_surfaces(simulated.surfaces[label], surface)
            for label, surface in reference.surfaces.items()
            if label in simulated.surfaces
        },
        "basins": {
            name: subtract(simulated.basins[name], value).to_json()
            for name, value in reference.basins.items()
            if name in simulated.basins
        },
        "mirror": judge_mirror(simulated, reference),
    }


def compare_surfaces(simulated: Surface, reference: Surface) -> dict[str, Any]:
    """Return the divergences of two surfaces for each number of bins, also of their symmetrised counts.

    A model that cannot tell a molecule from its mirror image is scored fairly against the mean of the reference and
    its mirror image: that shows what else is wrong with it.
    """
    axes = reference.odd_axes
    result: dict[str, Any] = {}
    for number, theirs in reference.counts.items():
        ours = simulated.counts[number]
        result[str(number)] = {
            **compare_counts(ours, theirs),
            "free_energy_rms": measure_divergence(free_energy_rms, ours, theirs, unit="kT").to_json(),
            "symmetrised": compare_counts(ours.symmetrised(axes), theirs.symmetrised(axes)) if axes else None,
        }
    return result


def compare_counts(simulated: BlockCounts, reference: BlockCounts) -> dict[str, Any]:
    """Return the divergences of two histograms beside what halves of either and chance alone show [nats].

    The Kullback-Leibler divergence is Σ p ln(p/q) with p the reference and q the simulation: it is large where the
    simulation lacks what the reference has.
    """
    return {
        "jensen_shannon": _compare(lambda p, q, _: jensen_shannon(p, q), simulated, reference),
        "kullback_leibler": _compare(kullback_leibler, simulated, reference),
        "n_samples": {"reference": reference.n_samples, "simulation": simulated.n_samples},
    }


def _compare(statistic: _Divergence, simulated: BlockCounts, reference: BlockCounts) -> dict[str, Any]:
    """Return a divergence with its error, what chance makes of it, and that of the halves of either run."""
    n_samples = (reference.n_samples, simulated.n_samples)
    halves = {"reference": _halve(statistic, reference), "simulation": _halve(statistic, simulated)}
    return {
        **measure_divergence(lambda p, q: statistic(p, q, n_samples), reference, simulated).to_json(),
        "expected_by_chance": to_json_or_none(expected_by_chance(*halves.values())),
        "halves": {which: to_json_or_none(entry) for which, entry in halves.items()},
    }


def _halve(statistic: _Divergence, blocks: BlockCounts) -> Measurement | None:
    size = 0.5 * blocks.n_samples
    return measure_halves(blocks, lambda first, second: statistic(first, second, (size, size)))


def judge_mirror(simulated: MoleculeMeasurements, reference: MoleculeMeasurements) -> dict[str, Any] | None:
    """Return whether the simulation takes a molecule and its mirror image for the same; None where that has no sense.

    Judged on the coordinate that tells the hands apart best in the reference. An energy made of distances alone
    cannot: it populates both hands equally.
    """
    odd = {name: curve for name, curve in reference.curves.items() if curve.coordinate.is_odd}
    known = [name for name in odd if name in simulated.curves]
    if not known:
        return None
    name = max(known, key=lambda key: odd[key].asymmetry.value)
    curves = {"reference": odd[name], "simulation": simulated.curves[name]}
    asymmetries = {which: measure_asymmetry(curve.counts, (0,)) for which, curve in curves.items()}
    if asymmetries["reference"].value < _LEAST_ASYMMETRY:
        return None
    return {
        "coordinate": name,
        "is_symmetric": bool(asymmetries["simulation"].value < MIRROR_SHARE * asymmetries["reference"].value),
        "asymmetry": {which: value.to_json() for which, value in asymmetries.items()},
        "positive": {which: curve.positive.to_json() for which, curve in curves.items()},
    }


def _compare_curves(simulated: dict[str, Curve], reference: dict[str, Curve]) -> dict[str, Any]:
    result = {}
    for name, curve in reference.items():
        if name in simulated:
            ours, theirs = simulated[name].mean, curve.mean
            result[name] = {
                **compare_counts(simulated[name].counts, curve.counts),
                "mean_difference": None if ours is None or theirs is None else subtract(ours, theirs).to_json(),
            }
    return result
