"""Is the prior sound, and does it hold molecules together on its own?"""

import math
from typing import Any

from beadsmith.check import Check, Status

LARGEST_SHAPE_DIVERGENCE = 0.03
"""Jensen-Shannon divergence [nats] of a bond, an angle or an improper: a shift by half a standard deviation."""

LARGEST_DIHEDRAL_DIVERGENCE = 0.1
"""The same of a dihedral, which other terms and the repulsion push, and which may not have turned in so short a run."""


def check_prior(prior: dict[str, Any]) -> list[Check]:
    """Return the checks of a prior.

    Parameters
    ----------
    prior : What `fit_prior` summarised, and `simulate_prior` below "simulations" if there are bonded terms.
    """
    checks = [_check_constants(prior)]
    runs = prior.get("simulations", [])
    if runs:
        checks.append(_check_stability(runs))
        coordinates = [entry for run in runs for entry in run["coordinates"]]
        dihedrals = [entry for entry in coordinates if entry["coordinate"] == "dihedral"]
        shapes = [entry for entry in coordinates if entry["coordinate"] != "dihedral"]
        checks += [_check_shapes(shapes)] if shapes else []
        checks += [_check_dihedrals(dihedrals)] if dihedrals else []
    return checks


def _check_constants(prior: dict[str, Any]) -> Check:
    constants = [wall[name] for wall in prior["walls"] for name in ("joining_distance", "joining_force", "decay")]
    bonded = prior.get("bonded", [])
    constants += [
        fit["parameters"]["stiffness"] for part in bonded if part["form"] == "harmonic" for fit in part["fits"]
    ]
    series = [
        value
        for part in bonded
        if part["form"] != "harmonic"
        for fit in part["fits"]
        for value in fit["parameters"].values()
    ]
    is_sound = all(value is not None and math.isfinite(value) and value > 0.0 for value in constants)
    is_sound = is_sound and all(value is not None and math.isfinite(value) for value in series)
    status: Status = "warn" if not constants + series else "pass" if is_sound else "fail"
    value = f"{len(constants)} {'positive' if is_sound else 'with a bad one'}"
    if series:
        value += f", {len(series)} of series"
    return Check(
        name="prior constants",
        status=status,
        value=value if constants + series else "no prior",
        unit="1",
        threshold="all finite and > 0",
        meaning="The prior keeps beads out of distances and shapes that no frame ever showed to the network.",
        remedy="Use a repulsive prior; if a constant is bad, fit it to more frames.",
    )


def _check_stability(runs: list[dict[str, Any]]) -> Check:
    n_stopped, n_replicas = (sum(run[key] for run in runs) for key in ("n_stopped", "n_replicas"))
    return Check(
        name="prior alone is stable",
        status="pass" if n_stopped == 0 else "fail",
        value=float(n_stopped),
        unit=f"of {n_replicas} replicas",
        threshold="0",
        meaning=f"Replicas that blew up in {runs[0]['duration']:g} ps with the prior alone, before the network.",
        remedy="Leave out the term with the fewest samples, or use 'prior: {estimator: variance}'.",
    )


def _check_shapes(entries: list[dict[str, Any]]) -> Check:
    worst = max(entries, key=lambda entry: entry["jensen_shannon"])
    return Check(
        name="prior alone keeps bonds and angles",
        status="pass" if worst["jensen_shannon"] <= LARGEST_SHAPE_DIVERGENCE else "warn",
        value=worst["jensen_shannon"],
        unit="nats",
        threshold=f"<= {LARGEST_SHAPE_DIVERGENCE:g}",
        meaning=f"Jensen-Shannon divergence from the mapped frames of the {_name(worst)}, the worst of {len(entries)}.",
        remedy="Raise 'prior.exclusions', so that no repulsion pushes bonded beads; or use 'estimator: boltzmann'.",
    )


def _check_dihedrals(entries: list[dict[str, Any]]) -> Check:
    worst = max(entries, key=lambda entry: entry["jensen_shannon"])
    return Check(
        name="prior alone keeps dihedrals",
        status="pass" if worst["jensen_shannon"] <= LARGEST_DIHEDRAL_DIVERGENCE else "warn",
        value=worst["jensen_shannon"],
        unit="nats",
        threshold=f"<= {LARGEST_DIHEDRAL_DIVERGENCE:g}",
        meaning=f"Jensen-Shannon divergence from the mapped frames of the {_name(worst)}, the worst of {len(entries)}.",
        remedy="The network must undo what the prior does wrong: raise 'prior.exclusions' or 'prior.fourier_order'.",
    )


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['coordinate']} {entry['name']}"
