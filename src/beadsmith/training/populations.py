"""What an energy in slow coordinates does to the populations of basins: reweighting, with jackknife errors.

Both methods of the correction end here: that of the labels predicts from frames of the reference, that of the
simulation from frames of the uncorrected force field. All functions take the energy from all frames and, beside it,
from all blocks but one, so that every error contains that of the coefficients.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.coordinates import is_inside
from beadsmith.analysis.definitions import BasinDefinition
from beadsmith.priors.coordinate_series import CoordinateSeries
from beadsmith.statistics import leave_one_out_error
from beadsmith.units import GAS_CONSTANT


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Slow coordinates of one molecule in many frames, in groups that can be taken as independent."""

    values: Float[np.ndarray, "samples coordinates"]
    """Coordinates [nm or rad]."""
    group: Int[np.ndarray, "samples"]
    """Number of the group of each frame, from 0 without gaps."""
    weight: Float[np.ndarray, "samples"]
    """Statistical weight of each frame."""


def predict_energy(
    functions: Float[np.ndarray, "samples functions"], coefficients: Float[np.ndarray, "solutions functions"]
) -> dict[str, float]:
    """Return the standard deviation of the energy over the samples and its root-mean-square error [kJ/mol], as JSON.

    Parameters
    ----------
    functions : Functions of each sample.
    coefficients : Those from all blocks, then those with one block left out each.
    """
    # constants mean nothing: the covariance of the functions holds all there is
    covariance = np.atleast_2d(np.cov(functions, rowvar=False))
    best, replicates = coefficients[0], coefficients[1:]
    centred = replicates - replicates.mean(axis=0)
    factor = (len(replicates) - 1) / len(replicates)
    return {
        "spread": float(np.sqrt(best @ covariance @ best)),
        "error": float(np.sqrt(factor * np.einsum("bk,kl,bl->", centred, covariance, centred))),
    }


def predict_populations(
    term: CoordinateSeries,
    basins: tuple[BasinDefinition, ...],
    *,
    values: Float[np.ndarray, "samples coordinates"],
    energies: Float[np.ndarray, "samples solutions"],
    block: Int[np.ndarray, "samples"],
    temperature: Float[np.ndarray, "samples"],
) -> list[dict[str, Any]]:
    """Return the populations of basins with and without a correction, as JSON.

    If the corrected force field has the reference's distribution, the uncorrected one has it weighted with e^(+E/kT).
    ``shift`` is the difference that the correction makes, ``error`` what its own error leaves open in the corrected
    population; ``reference_error`` is the sampling error of the reference, which the correction does not depend on.

    Parameters
    ----------
    term : Names the coordinates.
    basins : Basins in these coordinates; those of equal name are united.
    values : Coordinates of the reference frames [nm or rad].
    energies : Correction in each, from all blocks and then with one block left out each [kJ/mol].
    block : Block of each frame.
    temperature : Temperature of each frame [K].
    """
    n_blocks = energies.shape[1] - 1
    reduced = energies / (GAS_CONSTANT * temperature[:, None])
    found = []
    for name in dict.fromkeys(basin.name for basin in basins):
        inside = _find_basin(term, basins, name, values)
        reference = _leave_out(inside, np.zeros_like(reduced), block)
        before = _leave_out(inside, reduced, block)
        corrected = [_weigh(inside, reduced[:, 0] - reduced[:, 1 + b]) for b in range(n_blocks)]
        found.append(
            {
                "name": name,
                "reference": float(reference[0]),
                "reference_error": float(leave_one_out_error(reference[1:, None])[0]),
                "shift": float(reference[0] - before[0]),
                "shift_error": float(leave_one_out_error((reference - before)[1:, None])[0]),
                "error": float(leave_one_out_error(np.array(corrected)[:, None])[0]),
            }
        )
    return found


def reweigh_populations(
    term: CoordinateSeries,
    basins: tuple[BasinDefinition, ...],
    *,
    reference: Samples,
    simulated: Samples,
    exponents: Float[np.ndarray, "samples solutions"],
    is_late: Bool[np.ndarray, "samples"],
) -> list[dict[str, Any]]:
    """Return the populations of basins before and after a correction, from a simulation without it, as JSON.

    ``simulated`` is the population without correction, ``population`` that with it, ``shift`` the difference. ``error``
    is what the error of the coefficients, from reference and simulation together, leaves open in the corrected force
    field's population, together with what order and ridge leave of its difference from the reference's. ``drift`` is
    the second half of the simulation minus the first.

    Parameters
    ----------
    term : Names the coordinates.
    basins : Basins in these coordinates; those of equal name are united.
    reference : Frames that were fitted.
    simulated : Frames of the simulation.
    exponents : −E/kT of the correction in each frame of the simulation, from all data and then with one group left out
        each.
    is_late : Which frames lie in the second half of the simulation.
    """
    n_groups = exponents.shape[1] - 1
    group, found = simulated.group, []
    for name in dict.fromkeys(basin.name for basin in basins):
        target = _average_groups(reference, _find_basin(term, basins, name, reference.values))
        inside = _find_basin(term, basins, name, simulated.values)
        before = _average_groups(simulated, inside)
        after = _leave_out(inside, exponents, group)
        # the samples stay, the coefficients vary: reweighted to fit, the samples of a fit hide their own error
        varied = [_weigh(inside, exponents[:, 1 + b]) for b in range(n_groups)]
        halves = [_average_groups(simulated, inside, is_used) for is_used in (~is_late, is_late)]
        drift = halves[1] - halves[0]
        scatter = float(leave_one_out_error(np.array(varied)[:, None])[0])
        found.append(
            {
                "name": name,
                "reference": float(target[0]),
                "reference_error": float(leave_one_out_error(target[1:, None])[0]),
                "simulated": float(before[0]),
                "simulated_error": float(leave_one_out_error(before[1:, None])[0]),
                "population": float(after[0]),
                "error": float(np.hypot(scatter, after[0] - target[0])),
                "shift": float(after[0] - before[0]),
                "shift_error": float(leave_one_out_error((after - before)[1:, None])[0]),
                "drift": float(drift[0]),
                "drift_error": float(leave_one_out_error(drift[1:, None])[0]),
            }
        )
    return found


def _average_groups(
    samples: Samples, inside: Bool[np.ndarray, "samples"], is_used: Bool[np.ndarray, "samples"] | None = None
) -> Float[np.ndarray, "solutions"]:
    """Return the population of all samples, and without each group."""
    weight = samples.weight if is_used is None else samples.weight * is_used
    n_groups = int(samples.group.max()) + 1
    whole = np.bincount(samples.group, weights=weight, minlength=n_groups)
    part = np.bincount(samples.group, weights=weight * inside, minlength=n_groups)
    return np.array([part.sum() / whole.sum(), *(part.sum() - part) / (whole.sum() - whole)])


def _leave_out(inside: np.ndarray, exponents: np.ndarray, block: np.ndarray) -> Float[np.ndarray, "solutions"]:
    """Return the weighted population of all samples, and of all but each block with that block's own exponents."""
    rest = [_weigh(inside[block != b], exponents[block != b, 1 + b]) for b in range(exponents.shape[1] - 1)]
    return np.array([_weigh(inside, exponents[:, 0]), *rest])


def _weigh(inside: Bool[np.ndarray, "samples"], exponents: Float[np.ndarray, "samples"]) -> float:
    weights = np.exp(exponents - exponents.max())
    return float(weights[inside].sum() / weights.sum())


def _find_basin(
    term: CoordinateSeries,
    basins: tuple[BasinDefinition, ...],
    name: str,
    values: Float[np.ndarray, "samples coordinates"],
) -> Bool[np.ndarray, "samples"]:
    """Return which samples lie in any of the basins of a name."""
    inside = np.zeros(len(values), dtype=bool)
    for basin in basins:
        if basin.name == name:
            inside |= _find_inside(term, basin, values)
    return inside


def _find_inside(
    term: CoordinateSeries, basin: BasinDefinition, values: Float[np.ndarray, "samples coordinates"]
) -> Bool[np.ndarray, "samples"]:
    inside = np.ones(len(values), dtype=bool)
    names = [entry.name for entry in term.coordinates]
    for limits in basin.ranges:
        number = names.index(limits.coordinate)
        kind = term.coordinates[number].kind
        in_units = values[:, number] if kind == "distance" else np.degrees(values[:, number])
        inside &= is_inside(limits, in_units, is_periodic=kind == "dihedral")
    return inside
