"""Is the mapped reference fit to learn from? Checks of its frames, forces and equilibration."""

import math
from typing import Any

from beadsmith.check import Check, Status

FEWEST_FRAMES = 100
"""Below this a force-matching fit of one bead type is dominated by label noise (pair splines saturate here)."""

LARGEST_CORRELATION = 0.5
"""Force correlation of neighbouring frames above which half of the saved frames add little."""

LARGEST_MEAN_FORCE = 0.01
"""Mean force component over its rms; symmetry makes it zero in a liquid."""

LARGEST_RDF_ERROR = 0.01
"""Mean own error of g(r), half of what the comparison with a simulation tolerates."""

LARGEST_TEMPERATURE_DEVIATION = 0.01
"""Relative deviation of the kinetic temperature that no equilibrated run shows."""


def check_reference(evaluation: dict[str, Any]) -> list[Check]:
    """Return the checks of the mapped reference.

    Parameters
    ----------
    evaluation : What `evaluate` returned; measurements may be null where the reference lacks a field.
    """
    reference = evaluation["systems"]["reference"]
    checks = [_check_frames(reference), _check_forces(reference)]
    if reference["forces"]:
        checks += [_check_mean_force(reference), _check_correlation(reference)]
    if reference.get("energy_drift"):
        checks.append(_check_drift(reference))
    if reference.get("kinetic_temperature"):
        checks.append(_check_temperature(reference))
    errors = [
        entry["reference_error"]["value"]
        for comparison in evaluation["comparisons"].values()
        for entry in comparison["rdf"].values()
    ]
    if errors:
        checks.append(_check_sampling(max(errors)))
    return checks


def _check_frames(reference: dict[str, Any]) -> Check:
    n_frames = reference["n_used"]
    return Check(
        name="reference frames",
        status="pass" if n_frames >= FEWEST_FRAMES else "warn",
        value=float(n_frames),
        unit="1",
        threshold=f">= {FEWEST_FRAMES}",
        meaning="Every frame brings one noisy force on every bead; with few frames the fit learns the noise.",
        remedy="Sample longer, or save frames more often while their forces are still independent.",
    )


def _check_forces(reference: dict[str, Any]) -> Check:
    rms = [entry["rms_component"]["value"] for entry in reference["forces"].values()]
    is_good = bool(rms) and all(value > 0.0 for value in rms)
    return Check(
        name="reference forces",
        status="pass" if is_good else "fail",
        value=max(rms) if rms else "none",
        unit="kJ/mol/nm",
        threshold="> 0",
        meaning="Root mean square of the mapped force components, from which everything is learned.",
        remedy="Save forces in the atomistic run and map it again.",
    )


def _check_mean_force(reference: dict[str, Any]) -> Check:
    ratios = []
    for entry in reference["forces"].values():
        mean, rms = entry["mean_component"], entry["rms_component"]["value"]
        noise = 4.0 * (mean["standard_error"] or 0.0)
        ratios.append(max(0.0, abs(mean["value"]) - noise) / rms if rms > 0.0 else 0.0)
    return Check(
        name="mean force",
        status="pass" if max(ratios) <= LARGEST_MEAN_FORCE else "warn",
        value=max(ratios),
        unit="1",
        threshold=f"<= {LARGEST_MEAN_FORCE:g} of the rms, beyond 4 standard errors",
        meaning="In a liquid no direction is special, so the mean force on a bead is zero.",
        remedy="Look for an external field, a wall, or atoms that are missing from the force map.",
    )


def _check_correlation(reference: dict[str, Any]) -> Check:
    values = [entry["frame_correlation"]["value"] for entry in reference["forces"].values()]
    known = [value for value in values if value is not None]
    worst = max(known, default=math.nan)
    return Check(
        name="frame correlation",
        status="warn" if worst > LARGEST_CORRELATION else "pass",
        value=worst if known else "unknown",
        unit="1",
        threshold=f"<= {LARGEST_CORRELATION:g}",
        meaning="Correlation of the bead forces of neighbouring frames: near 0, every frame carries independent noise.",
        remedy="Save frames less often: the file shrinks and nothing is lost.",
    )


def _check_drift(reference: dict[str, Any]) -> Check:
    drift = reference["energy_drift"]
    error = drift["standard_error"]
    sigmas = abs(drift["value"]) / error if error else math.inf
    return Check(
        name="energy drift",
        status="pass" if sigmas <= 3.0 else "warn",
        value=drift["value"],
        unit="kJ/mol",
        threshold=f"<= 3 standard errors ({3.0 * error:.3g})" if error else "<= 3 standard errors",
        meaning="Potential energy of the second half of the atomistic run minus the first; it should not drift.",
        remedy="Equilibrate the atomistic run longer before frames are saved.",
    )


def _check_temperature(reference: dict[str, Any]) -> Check:
    found, target = reference["kinetic_temperature"], reference["temperature_set"]["value"]
    error = found["standard_error"] or 0.0
    deviation = abs(found["value"] - target)
    status: Status = "pass" if deviation <= max(3.0 * error, LARGEST_TEMPERATURE_DEVIATION * target) else "warn"
    return Check(
        name="reference temperature",
        status=status,
        value=found["value"],
        unit="K",
        threshold=f"within 1 % or 3 standard errors of {target:g}",
        meaning="Kinetic temperature of the beads in the atomistic run.",
        remedy="Check the thermostat of the atomistic run, and that bead velocities are mapped with the masses.",
    )


def _check_sampling(worst: float) -> Check:
    return Check(
        name="reference sampling",
        status="pass" if worst <= LARGEST_RDF_ERROR else "warn",
        value=worst,
        unit="1",
        threshold=f"<= {LARGEST_RDF_ERROR:g}",
        meaning="How far the reference's own g(r) is from the truth by chance, as a mean over bins.",
        remedy="Sample longer: differences smaller than this cannot be seen.",
    )
