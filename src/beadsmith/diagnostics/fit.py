"""Can the fit be trusted? Checks of the losses, the prior and the course of the training."""

import math
from typing import Any

from beadsmith.check import Check, Status
from beadsmith.diagnostics.prior import check_prior

FEWEST_STANDARD_ERRORS = 2.0
"""Paired improvement over the pair spline that is no accident (95 %)."""

LARGEST_GAP = 0.012
"""Explained fraction of the training frames above that of the test frames; more is learned noise."""

LARGEST_LATE_IMPROVEMENT = 0.003
"""Fraction of the force variance gained in the last quarter of the epochs; more means that training ended too soon."""

LARGEST_CROSSING = 3.0
"""Standard errors by which the bounds of the noise floor may cross by chance (1 in 700)."""

LARGEST_POPULATION_ERROR = 0.03
"""Standard error of a basin's population that label noise may leave in a corrected force field."""

LARGEST_DRIFT = 3.0
"""Standard errors between the halves of a simulation, largest of a few basins (1 in 100 by chance)."""

SMALLEST_OVERLAP = 0.1
"""Share of a simulation's frames that must be left by reweighting: below it, errors are underestimated too."""

LARGEST_EXCESS = 0.01
"""Distance of the held-out loss from its extrapolation to infinitely many frames, as fraction of the force variance."""


def check_fit(training: dict[str, Any]) -> list[Check]:
    """Return the checks of a training.

    Parameters
    ----------
    training : What `train` returned, or ``training.json``.
    """
    checks = [*check_prior(training["prior"]), _check_explained(training), _check_uniformity(training)]
    if training["network"] is not None:
        checks += [
            _check_improvement(training["improvement"]),
            _check_gap(training["gap"]),
            _check_convergence(training["network"]),
            _check_restarts(training["network"]),
        ]
    if training["noise_floor"] is not None:
        checks += [_check_number_of_frames(training["noise_floor"]), _check_bracket(training)]
        checks.append(_check_crossing(training["noise_floor"]))
    if training.get("correction") is not None:
        for molecule in training["correction"]["molecules"]:
            checks += _check_correction(molecule, is_only=len(training["correction"]["molecules"]) == 1)
    return checks


def _check_explained(training: dict[str, Any]) -> Check:
    model = "pair_spline" if training["network"] is None else "network"
    explained = training["explained_variance"][model]["test"]
    error = _number(explained["error"])
    status: Status = "pass" if explained["value"] > FEWEST_STANDARD_ERRORS * error else "fail"
    return Check(
        name="explained force variance",
        status=status,
        value=explained["value"],
        unit="1",
        threshold=f"> {FEWEST_STANDARD_ERRORS:g} standard errors ({error:.1g} each)",
        meaning=(
            f"Fraction of the held-out force variance that the {model.replace('_', ' ')} explains; the rest is noise "
            "of the atoms inside the beads and what the force field misses."
        ),
        remedy="Look for wrong units or wrong forces in the mapped data; otherwise train longer or on more frames.",
    )


def _check_uniformity(training: dict[str, Any]) -> Check:
    train, test = (training["explained_variance"]["pair_spline"][use] for use in ("train", "test"))
    error = math.hypot(_number(train["error"]), _number(test["error"]))
    difference = abs(train["value"] - test["value"]) / error if error > 0.0 else 0.0
    return Check(
        name="train and test frames alike",
        status="pass" if difference <= 4.0 else "warn",
        value=difference,
        unit="standard errors",
        threshold="<= 4",
        meaning="The pair spline cannot learn noise, so it should explain as much on the last frames as before.",
        remedy="The system drifts: equilibrate longer, or look at the energy along the reference.",
    )


def _check_improvement(improvement: dict[str, Any]) -> Check:
    significance = _number(improvement["n_standard_errors"])
    status: Status = "pass"
    if significance < FEWEST_STANDARD_ERRORS:
        status = "fail" if significance < -FEWEST_STANDARD_ERRORS else "warn"
    return Check(
        name="network beats pair spline",
        status=status,
        value=significance,
        unit="standard errors",
        threshold=f">= {FEWEST_STANDARD_ERRORS:g}",
        meaning=(
            f"The network's held-out loss is {100.0 * improvement['fraction']:.1f} % below that of the best pair "
            "potential on the same frames: the worth of many-body terms."
        ),
        remedy="Train longer or on more frames; if it stays, 'network: none' is as good and much faster.",
    )


def _check_gap(gap: dict[str, Any]) -> Check:
    allowed = LARGEST_GAP + FEWEST_STANDARD_ERRORS * _number(gap["error"])
    return Check(
        name="train minus test",
        status="pass" if gap["value"] <= allowed else "warn",
        value=gap["value"],
        unit="1",
        threshold=f"<= {LARGEST_GAP} + {FEWEST_STANDARD_ERRORS:g} standard errors ({_number(gap['error']):.1g} each)",
        meaning="Explained force variance on training frames minus that on test frames: what was learned by heart.",
        remedy="Use more frames, a smaller network, or more weight decay.",
    )


def _check_convergence(network: dict[str, Any]) -> Check:
    late = network["late_improvement"]
    return Check(
        name="training converged",
        status="pass" if late <= LARGEST_LATE_IMPROVEMENT else "warn",
        value=late,
        unit="1",
        threshold=f"<= {LARGEST_LATE_IMPROVEMENT}",
        meaning=f"Force variance gained in the last quarter of {network['epochs']} epochs ({network['stop_reason']}).",
        remedy="Raise 'epochs' (or 'max_time'), or continue with 'train --from' the force field.",
    )


def _check_restarts(network: dict[str, Any]) -> Check:
    return Check(
        name="training stable",
        status="pass" if network["restarts"] == 0 else "warn",
        value=float(network["restarts"]),
        unit="1",
        threshold="0",
        meaning="Times that loss or gradient became non-finite and training went back to its best weights.",
        remedy="Lower 'learning_rate', or use 'precision: float64'.",
    )


def _check_number_of_frames(noise_floor: dict[str, Any]) -> Check:
    upper, reached = noise_floor["upper_bound"], noise_floor["points"][-1]["held_out"]["value"]
    excess = reached - upper["value"]
    error = _number(upper["error"])
    status: Status = "pass" if excess <= LARGEST_EXCESS + FEWEST_STANDARD_ERRORS * error else "warn"
    return Check(
        name="enough frames",
        status=status,
        value=excess,
        unit="1",
        threshold=f"<= {LARGEST_EXCESS} + {FEWEST_STANDARD_ERRORS:g} standard errors ({error:.1g} each)",
        meaning=(
            "Held-out loss above its extrapolation to infinitely many frames, as fraction of the force variance: what "
            "more frames would gain at this network and budget."
        ),
        remedy="Sample more frames; or constrain the network with fewer features.",
    )


def _check_bracket(training: dict[str, Any]) -> Check:
    lower, zero_force = training["noise_floor"]["lower_bound"], training["losses"]["zero_force"]["test"]["value"]
    spline = training["losses"]["pair_spline"]["test"]["value"] / zero_force
    error = _number(training["explained_variance"]["pair_spline"]["test"]["error"])
    distance = spline - lower["value"]
    allowed = -FEWEST_STANDARD_ERRORS * math.hypot(error, _number(lower["error"]))
    return Check(
        name="pair spline above noise floor",
        status="pass" if distance >= allowed else "warn",
        value=distance,
        unit="1",
        threshold=f">= {allowed:.1g}",
        meaning="Held-out loss of the pair spline above the lower bound of the noise floor, over the force variance.",
        remedy="The network is trained worse than the spline: raise its epochs, so that the bracket means something.",
    )


def _check_crossing(noise_floor: dict[str, Any]) -> Check:
    crossing = _number(noise_floor["estimate"]["crossing"])
    return Check(
        name="noise floor bounds",
        status="pass" if crossing <= LARGEST_CROSSING else "warn",
        value=crossing,
        unit="standard errors",
        threshold=f"<= {LARGEST_CROSSING:g}",
        meaning="How far the lower bound of the noise floor lies above the upper one: by chance alone half the time.",
        remedy="The fits were not near their minimum: raise epochs and noise_floor_cost, or ignore the noise floor.",
    )


def _check_correction(molecule: dict[str, Any], *, is_only: bool) -> list[Check]:
    suffix = "" if is_only else f" of {molecule['molecule']}"
    is_simulated = molecule.get("method") == "simulation"
    order, names = molecule["order"], ", ".join(molecule["coordinates"])
    best = max(molecule["orders"], key=lambda entry: entry["gain"])
    significance = best["gain"] / best["gain_error"] if _number(best["gain_error"]) > 0.0 else 0.0
    is_sure = order == 0 or significance >= FEWEST_STANDARD_ERRORS
    measure = "relative entropy" if is_simulated else "force loss"
    checks = [
        Check(
            name=f"correction{suffix}",
            status="pass" if is_sure else "warn",
            value=significance if order else "none needed",
            unit="standard errors" if order else "1",
            threshold=f">= {FEWEST_STANDARD_ERRORS:g}",
            meaning=(
                f"How clearly a series of order {order} in {names} lowers the {measure} of blocks of frames it was "
                "not fitted to."
                if order
                else f"No series in {names} lowers the {measure} of blocks of frames it was not fitted to."
            ),
            remedy="Sample more frames, or leave the correction out: it may be noise.",
        )
    ]
    if not is_simulated and order == len(molecule["orders"]) > 1:
        checks.append(_check_order(molecule, suffix))
    if molecule.get("basins"):
        worst = max(molecule["basins"], key=lambda basin: _number(basin["error"]))
        origin = "the sampling errors of reference and simulation leave" if is_simulated else "label noise leaves"
        checks.append(
            Check(
                name=f"corrected populations{suffix}",
                status="pass" if _number(worst["error"]) <= LARGEST_POPULATION_ERROR else "warn",
                value=_number(worst["error"]),
                unit="1",
                threshold=f"<= {LARGEST_POPULATION_ERROR:g}",
                meaning=f"Standard error of the population of {worst['name']} that {origin}.",
                remedy="Sample more frames: the error falls with the square root of their number.",
            )
        )
    return [*checks, *_check_reweighting(molecule, suffix)] if is_simulated else checks


def _check_order(molecule: dict[str, Any], suffix: str) -> Check:
    order, last, before = molecule["order"], molecule["orders"][-1], molecule["orders"][-2]
    rise, error = last["gain"] - before["gain"], _number(last["gain_error"])
    return Check(
        name=f"order of the correction{suffix}",
        status="pass" if rise <= FEWEST_STANDARD_ERRORS * error else "warn",
        value=rise / error if error > 0.0 else 0.0,
        unit="standard errors",
        threshold=f"<= {FEWEST_STANDARD_ERRORS:g}",
        meaning=(
            f"What order {order}, the largest allowed, lowers the force loss below order {order - 1}: a series "
            "that is too short leaves populations wrong by more than their error."
        ),
        remedy="Raise 'training.correction.order'.",
    )


def _check_reweighting(molecule: dict[str, Any], suffix: str) -> list[Check]:
    """Return the checks of the simulation that a correction was found by reweighting."""
    run, basins = molecule["simulation"], molecule.get("basins", [])
    checks = [
        Check(
            name=f"overlap with the reference{suffix}",
            status="pass" if run["effective_fraction"] >= SMALLEST_OVERLAP else "warn",
            value=run["effective_fraction"],
            unit="1",
            threshold=f">= {SMALLEST_OVERLAP:g}",
            meaning="Share of the simulated frames left when they are weighted to the reference's distribution.",
            remedy="Train longer, or repeat with a longer 'training.correction.simulation'.",
        ),
        Check(
            name=f"replicas behind the correction{suffix}",
            status="pass" if run["n_stopped"] == 0 else "warn",
            value=float(run["n_stopped"]),
            unit="1",
            threshold="0",
            meaning=f"Replicas of {run['n_replicas']} that blew up with prior and network; they were left out.",
            remedy="Use a shorter timestep in 'training.correction.simulation'.",
        ),
    ]
    if basins:
        drift = max(abs(basin["drift"]) / max(_number(basin["drift_error"]), 1e-12) for basin in basins)
        off = max(basins, key=lambda basin: abs(basin["population"] - basin["reference"]))
        distance = abs(off["population"] - off["reference"])
        checks += [
            Check(
                name=f"length of the correction's simulation{suffix}",
                status="pass" if drift <= LARGEST_DRIFT else "warn",
                value=drift,
                unit="standard errors",
                threshold=f"<= {LARGEST_DRIFT:g}",
                meaning="Difference of the basins' populations between its first and second half.",
                remedy="Raise 'equilibration' and 'duration' of 'training.correction.simulation'.",
            ),
            Check(
                name=f"order of the correction{suffix}",
                status="pass" if distance <= LARGEST_POPULATION_ERROR else "warn",
                value=distance,
                unit="1",
                threshold=f"<= {LARGEST_POPULATION_ERROR:g}",
                meaning=f"What a series of order {molecule['order']} leaves between the populations of {off['name']}.",
                remedy="Raise 'training.correction.order', or lower 'ridge'.",
            ),
        ]
    return checks


def _number(value: float | None) -> float:
    """Return a number that JSON may have turned into null; an unknown error counts as none."""
    return 0.0 if value is None or not math.isfinite(value) else float(value)
