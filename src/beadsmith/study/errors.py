"""How far a run of a study is from its reference, as a few numbers, each beside the reference's own sampling error."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_HALVES = 0.25
"""Two whole runs are expected to differ by half of what their halves do, a quarter from each: the reference's own."""


@dataclass(frozen=True, kw_only=True)
class StudyError:
    """One distance between a simulation and the reference, averaged over kinds of pairs or coordinates."""

    title: str
    """What it is, readable."""
    unit: str
    """Its unit."""
    value: float
    """The distance."""
    standard_error: float | None
    """Its standard error, or None where there is none."""
    reference_error: float | None
    """The same distance that the reference's own sampling error makes, or None where it is unknown."""
    n_kinds: int
    """Number of kinds that it is the mean over."""

    @property
    def ratio(self) -> float | None:
        """The distance in units of the reference's own error."""
        return self.value / self.reference_error if self.reference_error else None

    def to_json(self) -> dict[str, Any]:
        """Return it with its ratio as a JSON-ready dictionary."""
        return {**asdict(self), "ratio": self.ratio}


def collect_errors(evaluation: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return all distances of a simulation from the reference by name, as far as they were measured.

    Parameters
    ----------
    evaluation : What `beadsmith.analysis.evaluate` returned.
    name : The simulation.
    """
    comparison = evaluation["comparisons"][name]
    molecules = list(comparison["molecules"].values())
    is_at_pressure = evaluation["systems"][name].get("pressure_set") is not None
    found = {
        "rdf": _average_curves("mean |Δg(r)|", comparison["rdf"].values()),
        "adf": _average_curves("mean |ΔADF|", comparison["adf"].values()),
        "bonded": _average_divergences("JS of bonds, angles, dihedrals", _entries(molecules, "bonded")),
        "coordinates": _average_divergences("JS of molecular coordinates", _entries(molecules, "coordinates")),
        "surfaces": _average_divergences("JS of free-energy surfaces", _first_bins(molecules)),
        # what the simulation was set to has no error: the other one of the two has
        "pressure": None if is_at_pressure else _read_scalar("pressure", evaluation, comparison),
        "density": _read_scalar("density", evaluation, comparison) if is_at_pressure else None,
        "energy": _read_energy(comparison),
        "heat_capacity": _compare_heat_capacities(evaluation, name),
    }
    return {key: entry.to_json() for key, entry in found.items() if entry is not None}


def _average_curves(title: str, entries: Iterable[dict[str, Any]]) -> StudyError | None:
    found = list(entries)
    if not found:
        return None
    return StudyError(
        title=title,
        unit="1",
        value=_mean(entry["mean_difference"]["value"] for entry in found),
        standard_error=_combine(entry["mean_difference"]["standard_error"] for entry in found),
        reference_error=_mean(entry["reference_error"]["value"] for entry in found),
        n_kinds=len(found),
    )


def _average_divergences(title: str, entries: Iterable[dict[str, Any]]) -> StudyError | None:
    found = [entry["jensen_shannon"] for entry in entries]
    if not found:
        return None
    halves = [entry["halves"]["reference"] for entry in found]
    return StudyError(
        title=title,
        unit="nat",
        value=_mean(entry["value"] for entry in found),
        standard_error=_combine(entry["standard_error"] for entry in found),
        reference_error=None if None in halves else _HALVES * _mean(entry["value"] for entry in halves if entry),
        n_kinds=len(found),
    )


def _read_scalar(name: str, evaluation: dict[str, Any], comparison: dict[str, Any]) -> StudyError | None:
    found, own = comparison.get(f"{name}_difference"), evaluation["systems"]["reference"].get(name)
    if found is None or own is None:
        return None
    return StudyError(
        title=f"|Δ {name}|",
        unit=found["unit"],
        value=abs(found["value"]),
        standard_error=found["standard_error"],
        reference_error=own["standard_error"],
        n_kinds=1,
    )


def _read_energy(comparison: dict[str, Any]) -> StudyError | None:
    """Return the error of the mean energy of a molecule; only a force field that depends on temperature has one."""
    found = comparison.get("energy_difference")
    if found is None:
        return None
    return StudyError(
        title="|Δ mean energy| of a molecule",
        unit=found["unit"],
        value=abs(found["value"]),
        standard_error=found["standard_error"],
        reference_error=found["reference_error"],
        n_kinds=1,
    )


def _compare_heat_capacities(evaluation: dict[str, Any], name: str) -> StudyError | None:
    """Return the error of the heat capacity, which only a force field that depends on temperature has."""
    found, own = (evaluation["systems"].get(system, {}).get("heat_capacity") for system in (name, "reference"))
    if found is None or own is None:
        return None
    return StudyError(
        title="|Δ heat capacity|",
        unit=found["unit"],
        value=abs(found["value"] - own["value"]),
        standard_error=float(np.hypot(found["standard_error"], own["standard_error"])),
        reference_error=own["standard_error"],
        n_kinds=1,
    )


def _entries(molecules: list[dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    return (entry for molecule in molecules for entry in molecule[key].values())


def _first_bins(molecules: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give each surface's divergence with the number of bins that is drawn."""
    return (next(iter(surface.values())) for surface in _entries(molecules, "surfaces"))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _combine(errors: Iterable[float | None]) -> float | None:
    """Return the error of the mean of independent numbers, or None where one has none."""
    found = list(errors)
    if any(error is None or not np.isfinite(error) for error in found):
        return None
    return float(np.sqrt(np.sum(np.square([error for error in found if error is not None]))) / len(found))
