"""The spread over the members of an ensemble, beside every curve and number that was measured on their simulations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from beadsmith.analysis.free_energy import align_free_energy

SPREAD = "ensemble_spread"
"""Key of the spread, beside the value and its standard error."""

_VALUES = {"density": "edges", "mean_square": "lag", "value": "unit"}
"""Keys of measured values, each with the key of what must be equal for a comparison."""


def spread_over_members(evaluation: dict[str, Any], members: Sequence[str], main: str) -> dict[str, Any]:
    """Return an evaluation in which the simulations of all members but the main one have become its spread.

    Wherever the main simulation has a value with a standard error (a curve or a number, of itself or of its comparison
    with the reference), ``ensemble_spread`` stands beside it: the standard deviation over all M members, with M − 1. It
    contains the standard error of a single run, as every member's simulation is finite. A value that a member lacks has
    no spread. Free energies are compared after the constant between them is taken out, which means nothing.

    Parameters
    ----------
    evaluation : What `beadsmith.analysis.evaluate.evaluate` returned.
    members : Names of the other members' simulations.
    main : Name of the main simulation.
    """
    found = dict(evaluation)
    for part in ("systems", "comparisons"):
        entries = evaluation[part]
        own = _attach(entries[main], [entries[name] for name in members])
        found[part] = {name: entry for name, entry in entries.items() if name not in members} | {main: own}
    return found


def compute_spread(values: Sequence[ArrayLike]) -> Float[np.ndarray, "..."]:
    """Return the standard deviation over members, with M − 1; NaN where a member has no value."""
    return np.asarray(np.std(np.array(values, dtype=np.float64), axis=0, ddof=1))


def _attach(entry: Any, others: Sequence[Any]) -> Any:
    """Return an entry of nested dictionaries with the spread beside every measured value."""
    if not isinstance(entry, dict) or not all(isinstance(other, dict) for other in others):
        return entry
    found = {
        key: _attach(value, [other[key] for other in others]) if all(key in other for other in others) else value
        for key, value in entry.items()
    }
    for key, axis in _VALUES.items():
        if key in entry and "standard_error" in entry and _are_comparable(entry, others, key, axis):
            found[SPREAD] = compute_spread([entry[key], *(other[key] for other in others)]).tolist()
    if _is_surface(entry) and all(_are_comparable(entry, others, "free_energy", f"{axis}_edges") for axis in "xy"):
        found[SPREAD] = _spread_surfaces(entry, others).tolist()
    return found


def _is_surface(entry: dict[str, Any]) -> bool:
    return {"free_energy", "probability", "x_edges", "y_edges"} <= entry.keys()


def _spread_surfaces(entry: dict[str, Any], others: Sequence[dict[str, Any]]) -> Float[np.ndarray, "x y"]:
    """Return the spread of free energies [kT] in every bin, each laid on the first in the mean over its population."""
    own, probability = (np.array(entry[key], dtype=np.float64) for key in ("free_energy", "probability"))
    differences = [align_free_energy(np.array(other["free_energy"], dtype=float), own, probability) for other in others]
    return compute_spread([np.where(np.isfinite(own), 0.0, np.nan), *differences])


def _are_comparable(entry: dict[str, Any], others: Sequence[dict[str, Any]], key: str, axis: str) -> bool:
    return all(other.get(key) is not None and other.get(axis) == entry.get(axis) for other in others)
