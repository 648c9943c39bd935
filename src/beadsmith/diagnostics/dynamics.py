"""Does the coarse-grained simulation do what the reference does? Checks of structure, molecules and temperature.

Where a mixture has several kinds of pairs or triplets, one check speaks for all and shows the worst of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beadsmith.check import Check, Status
from beadsmith.diagnostics.molecules import check_molecules

CLOSEST_PAIR_SLACK = 0.01
"""A pair may come this much closer than it ever did in the reference [nm]."""

PEAK_SHIFT = 0.005
"""Largest shift of the first peak of g(r) [nm]."""

PEAK_HEIGHT = 0.10
"""Largest relative change of its height; force matching does not promise g(r), and is 5-7 % low for methanol."""

RDF_DIFFERENCE = 0.018
"""Largest mean |Δg| over the window; a pair spline reaches 0.020 for methanol, a good network 0.012."""

ADF_DIFFERENCE = 0.050
"""Largest mean |ΔADF|; a pair spline reaches 0.057 for methanol, a good network 0.037."""

CHANCE = 2.0
"""A difference below this multiple of what two perfect runs would show by chance is never held against a model."""

TEMPERATURE_ERROR = 0.005
"""Standard error of the kinetic temperature, relative, above which the check is too weak."""

TEMPERATURE_DEVIATION = 0.01
"""Relative deviation beyond 3 standard errors that fails rather than warns."""

PRESSURE_DIFFERENCE = 50.0
"""Difference of the pressure that counts as agreement [bar]."""

DENSITY_DIFFERENCE = 0.01
"""Relative difference of the density that counts as agreement; force fields differ from experiment by as much."""


def check_simulation(
    evaluation: dict[str, Any],
    name: str = "network",
    *,
    baseline: str | None = "pair_spline",
    n_stopped: int = 0,
    has_virial_labels: bool = False,
) -> list[Check]:
    """Return the checks of one simulation.

    Parameters
    ----------
    evaluation : What `evaluate` returned.
    name : Simulation to judge.
    baseline : Simulation that it must beat; skipped where there is none.
    n_stopped : Number of its replicas that stopped early.
    has_virial_labels : Whether the force field was trained on virials. Without, the pressure can only warn.
    """
    systems, comparison = evaluation["systems"], evaluation["comparisons"][name]
    checks = [
        *_check_closest_pair(systems[name], systems["reference"]),
        _check_replicas(n_stopped, systems[name]["n_segments"]),
        *_check_temperature(systems[name]),
        *_check_peak_position(comparison),
        *_check_peak_height(comparison),
        *_check_radial(comparison, evaluation["settings"]),
        *_check_angular(comparison),
    ]
    if baseline in evaluation["comparisons"] and baseline != name:
        other = evaluation["comparisons"][baseline]
        checks += _check_against_baseline(comparison, other, "rdf", "radial distribution")
        checks += _check_against_baseline(comparison, other, "adf", "angular distribution")
    checks += check_molecules(evaluation, name, baseline=baseline)
    checks += _check_pressure(comparison, systems[name], has_virial_labels)
    checks += _check_density(comparison, systems[name], systems["reference"])
    return checks


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """One kind of pair or triplet, its value and its limit."""

    label: str
    value: float
    limit: float


def _worst(
    entries: dict[str, Any], measure: Callable[[dict[str, Any]], tuple[float, float] | None]
) -> tuple[_Finding, str] | None:
    """Return the finding that is largest against its limit, and a sentence that names it if there are several."""
    measured = {label: measure(entry) for label, entry in entries.items()}
    findings = [_Finding(label=label, value=pair[0], limit=pair[1]) for label, pair in measured.items() if pair]
    if not findings:
        return None
    worst = max(findings, key=lambda finding: abs(finding.value) / finding.limit)
    return worst, f" The worst of {len(findings)} kinds is {worst.label}." if len(findings) > 1 else ""


def _check_closest_pair(simulated: dict[str, Any], reference: dict[str, Any]) -> list[Check]:
    margins = {
        label: (entry["value"], reference["closest_pair"][label]["value"] - CLOSEST_PAIR_SLACK)
        for label, entry in simulated["closest_pair"].items()
        if label in reference["closest_pair"]
    }
    if not margins:
        return []
    label, (value, limit) = min(margins.items(), key=lambda item: item[1][0] - item[1][1])
    which = f" The worst of {len(margins)} kinds is {label}." if len(margins) > 1 else ""
    return [
        Check(
            name="closest pair",
            status="pass" if value >= limit else "fail",
            value=value,
            unit="nm",
            threshold=f">= {limit:.3f}",
            meaning="Smallest distance of any pair in any frame, over all distances: the model must not tunnel into a "
            "well that the reference never showed, which neither the loss nor the temperature reveals." + which,
            remedy="Use the 'tangent' repulsion, start the network's distance functions below the closest pair, or "
            "take a shorter timestep.",
        )
    ]


def _check_replicas(n_stopped: int, n_segments: int) -> Check:
    return Check(
        name="stopped replicas",
        status="pass" if n_stopped == 0 else "fail",
        value=float(n_stopped),
        unit="1",
        threshold="0",
        meaning=f"Replicas of {max(n_segments, n_stopped)} that stopped because a bead moved further in a step than "
        "any thermal motion could take it.",
        remedy="Take a shorter timestep, or look at the repulsion at short distances.",
    )


def _check_temperature(simulated: dict[str, Any]) -> list[Check]:
    found = simulated["kinetic_temperature"]
    # constant energy: the temperature follows from the start and is not held
    if found is None or simulated.get("integrator") == "verlet":
        return []
    target, error = simulated["temperature_set"]["value"], found["standard_error"]
    deviation = abs(found["value"] - target)
    status: Status
    if error is None or math.isnan(error) or error > TEMPERATURE_ERROR * target:
        status = "warn"
    elif deviation <= 3.0 * error:
        status = "pass"
    else:
        status = "fail" if deviation > TEMPERATURE_DEVIATION * target else "warn"
    return [
        Check(
            name="kinetic temperature",
            status=status,
            value=found["value"],
            unit="K",
            threshold=f"within 3 standard errors ({3.0 * (error or math.nan):.2g}) of {target:g}; "
            f"standard error <= {TEMPERATURE_ERROR * target:.2g}",
            meaning="The thermostat holds the temperature; a deviation means that the timestep is too long.",
            remedy="Take a shorter timestep; where only the standard error is too large, simulate longer.",
        )
    ]


def _check_peak_position(comparison: dict[str, Any]) -> list[Check]:
    def measure(entry: dict[str, Any]) -> tuple[float, float] | None:
        shift = entry.get("peak_shift")
        return None if shift is None else (shift["value"], max(PEAK_SHIFT, 3.0 * (shift["standard_error"] or 0.0)))

    worst = _worst(comparison["rdf"], measure)
    return (
        []
        if worst is None
        else [
            Check(
                name="first peak position",
                status=_within(worst[0]),
                value=worst[0].value,
                unit="nm",
                threshold=f"within ±{worst[0].limit:.3g}",
                meaning="Shift of the first peak of g(r): how far apart neighbours sit." + worst[1],
                remedy=_STRUCTURE_REMEDY,
            )
        ]
    )


def _check_peak_height(comparison: dict[str, Any]) -> list[Check]:
    def measure(entry: dict[str, Any]) -> tuple[float, float] | None:
        ratio = entry.get("peak_height_ratio")
        if ratio is None:
            return None
        return ratio["value"] - 1.0, max(PEAK_HEIGHT, 3.0 * (ratio["standard_error"] or 0.0))

    worst = _worst(comparison["rdf"], measure)
    return (
        []
        if worst is None
        else [
            Check(
                name="first peak height",
                status=_within(worst[0]),
                value=100.0 * worst[0].value,
                unit="%",
                threshold=f"within ±{100.0 * worst[0].limit:.3g}",
                meaning="Height of the first peak of g(r) against the reference: how many neighbours sit there. Force "
                "matching leaves it a few per cent low." + worst[1],
                remedy=_STRUCTURE_REMEDY,
            )
        ]
    )


def _check_radial(comparison: dict[str, Any], settings: dict[str, Any]) -> list[Check]:
    worst = _worst(comparison["rdf"], lambda entry: _against_chance(entry, RDF_DIFFERENCE))
    window = f"{settings['window_start']:g} to {settings['window_end']:g} nm"
    return (
        []
        if worst is None
        else [
            Check(
                name="radial distribution",
                status=_within(worst[0]),
                value=worst[0].value,
                unit="1",
                threshold=f"<= {worst[0].limit:.3g}",
                meaning=f"Mean |difference| of g(r) from the reference, {window}." + worst[1],
                remedy=_STRUCTURE_REMEDY,
            )
        ]
    )


def _check_angular(comparison: dict[str, Any]) -> list[Check]:
    worst = _worst(comparison["adf"], lambda entry: _against_chance(entry, ADF_DIFFERENCE))
    return (
        []
        if worst is None
        else [
            Check(
                name="angular distribution",
                status=_within(worst[0]),
                value=worst[0].value,
                unit="1",
                threshold=f"<= {worst[0].limit:.3g}",
                meaning="Mean |difference| of the distribution of angles between neighbours: what pair forces cannot "
                "control." + worst[1],
                remedy=_STRUCTURE_REMEDY,
            )
        ]
    )


def _check_against_baseline(comparison: dict[str, Any], baseline: dict[str, Any], key: str, name: str) -> list[Check]:
    shared = [label for label in comparison[key] if label in baseline[key]]
    if not shared:
        return []
    value, limit = (
        sum(entries[key][label]["mean_difference"]["value"] for label in shared) / len(shared)
        for entries in (comparison, baseline)
    )
    return [
        Check(
            name=f"{name} against pair spline",
            status="pass" if value < limit else "warn",
            value=value,
            unit="1",
            threshold=f"< {limit:.3g}",
            meaning=f"The {name} should be closer to the reference than that of the best pair potential.",
            remedy="Train longer or on more frames; if it stays so, the pair spline is the better and faster model.",
        )
    ]


def _check_pressure(comparison: dict[str, Any], simulated: dict[str, Any], has_virial_labels: bool) -> list[Check]:
    difference, found = comparison["pressure_difference"], simulated["pressure"]
    # at constant pressure it is right by construction, and the density is what can be wrong
    if difference is None or found is None or simulated.get("pressure_set") is not None:
        return []
    limit = max(PRESSURE_DIFFERENCE, 3.0 * (difference["standard_error"] or 0.0))
    reason = (
        "Virials were among the labels, so it should agree."
        if has_virial_labels
        else "Forces at one density do not fix it and commonly leave it thousands of bar off."
    )
    return [
        Check(
            name="pressure",
            status="pass" if abs(difference["value"]) <= limit else "warn",
            value=difference["value"],
            unit="bar",
            threshold=f"within ±{limit:.3g}",
            meaning=f"Pressure of the simulation ({found['value']:.0f} bar) minus that of the reference. {reason}",
            remedy="Use this model at constant volume only, or train with 'labels: {virials: 1}'; what is left may be "
            "taken off with 'training.volume_term: {method: simulation}'.",
        )
    ]


def _check_density(comparison: dict[str, Any], simulated: dict[str, Any], reference: dict[str, Any]) -> list[Check]:
    """Return the check of a simulation at the pressure of its reference, measured or set."""
    difference, known, pressure = (
        comparison.get("density_difference"), reference.get("density"), reference.get("pressure")
    )  # fmt: skip
    applied = simulated.get("pressure_set")
    if difference is None or applied is None or known is None or pressure is None:
        return []
    if abs(applied["value"] - pressure["value"]) > max(PRESSURE_DIFFERENCE, 3.0 * (pressure["standard_error"] or 0.0)):
        return []
    limit = max(DENSITY_DIFFERENCE * known["value"], 3.0 * (difference["standard_error"] or 0.0))
    return [
        Check(
            name="density",
            status="pass" if abs(difference["value"]) <= limit else "warn",
            value=difference["value"],
            unit="g/cm^3",
            threshold=f"within ±{limit:.3g}",
            meaning=f"Density of the simulation at {applied['value']:.4g} bar minus that of the reference "
            f"({known['value']:.4g} g/cm^3).",
            remedy="Train with virial labels ('labels: {virials: 1}'), or take what is left of the pressure off with "
            "'training.volume_term: {method: simulation}'.",
        )
    ]


_STRUCTURE_REMEDY = "Train longer or on more frames, or let the network see further; then simulate longer."


def _against_chance(entry: dict[str, Any], limit: float) -> tuple[float, float]:
    return entry["mean_difference"]["value"], max(limit, CHANCE * (entry["expected_by_chance"]["value"] or 0.0))


def _within(finding: _Finding) -> Status:
    return "pass" if abs(finding.value) <= finding.limit else "fail"
