"""Was the pressure trained, and is it right on frames that the training did not see?"""

from typing import Any

from beadsmith.check import Check
from beadsmith.diagnostics.dynamics import PRESSURE_DIFFERENCE


def is_pressure_trained(training: dict[str, Any]) -> bool:
    """Tell whether virials were used in a training, as labels or for a term of the volume.

    Parameters
    ----------
    training : What `beadsmith.training.fit.train` returned; may be empty.
    """
    settings = training.get("settings", {})
    return settings.get("labels", {}).get("virials", 0.0) > 0.0 or settings.get("volume_term") is not None


def check_trained_pressure(training: dict[str, Any]) -> list[Check]:
    """Return the check of the pressure on test frames; none where virials were not used.

    It can only warn: a right pressure on frames of the reference is no promise for frames of a simulation, and the
    check of the simulation's own pressure follows. With a term of the volume that was fitted to simulations, that other
    check is the one that counts.
    """
    found = training.get("virials")
    term = training.get("settings", {}).get("volume_term") or {}
    if not found or not is_pressure_trained(training) or term.get("method") == "simulation":
        return []
    # the last of the force field's own stages: with its term of the volume, if it has one
    name = next(
        key
        for key in (
            "network_with_volume_term", "corrected_with_volume_term", "network", "corrected",
            "pair_spline_with_volume_term", "pair_spline",
        )
        if key in found["models"]
    )  # fmt: skip
    error = found["models"][name]["pressure_error"]
    limit = max(PRESSURE_DIFFERENCE, 3.0 * (error["error"] or 0.0))
    return [
        Check(
            name="pressure on test frames",
            status="pass" if abs(error["value"]) <= limit else "warn",
            value=error["value"],
            unit="bar",
            threshold=f"within ±{limit:.3g}",
            meaning=f"Mean virial pressure of the force field minus that of the labels, on the {found['n_frames']} "
            "test frames of the reference.",
            remedy="Train on virials ('labels: {virials: 1}'), longer or on more frames, or take what is left off with "
            "'training.volume_term: {order: 1}'.",
        )
    ]
