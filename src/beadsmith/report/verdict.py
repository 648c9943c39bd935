"""What the run amounts to, in one paragraph and four numbers."""

from dataclasses import dataclass
from typing import Any

from beadsmith.check import Check, Status, worst_status
from beadsmith.report.contents import NETWORK, PAIR_SPLINE, RunContents
from beadsmith.report.figures.style import NAMES
from beadsmith.report.numbers import format_measurement, format_number, format_percent, typeset_kind
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

_MANY_BAR = 100.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The head of the report."""

    status: Status
    """Worst status of all checks."""
    headline: str
    """The status in words."""
    paragraph: str
    """What the run amounts to."""
    highlights: list[tuple[str, str, str]]
    """A few key numbers: title, value, and what to compare it with."""


def write_verdict(contents: RunContents) -> Verdict:
    """Return the head of the report from whatever the run folder holds."""
    status = worst_status(contents.checks)
    headline = {"pass": "All checks pass", "warn": "Usable, with warnings", "fail": "Not to be used as it is"}[status]
    sentences = [
        _describe_checks(contents.checks),
        _describe_training(contents.training),
        _describe_structure(contents.evaluation),
        _describe_molecules(contents.evaluation),
        _describe_dynamics(contents.evaluation),
        _describe_pressure(contents.evaluation),
    ]
    return Verdict(
        status=status,
        headline=headline if contents.checks else "Not checked yet",
        paragraph=" ".join(sentence for sentence in sentences if sentence),
        highlights=_collect_highlights(contents),
    )


def describe_system(contents: RunContents) -> str:
    """Return what was simulated: ``"256 methanol · 300 K · 0.750 g/cm³"``."""
    molecules = [f"{entry['count']} {entry['name']}" for entry in contents.mapping.get("molecules", [])]
    parts = [" and ".join(molecules)]
    frame = contents.last_frames.get("reference")
    if frame is not None:
        parts.append(f"{format_number(frame.state_point.temperature)} K")
        if frame.cell is not None:
            density = frame.topology.total_mass / float(frame.volumes()[0]) / GRAM_PER_CUBIC_CENTIMETRE
            parts.append(f"{format_number(density)} g/cm³")
    return " · ".join(part for part in parts if part)


def main_simulation(evaluation: dict[str, Any]) -> str | None:
    """Return the simulation that the report is about: the network's if there is one."""
    return next((name for name in (NETWORK, PAIR_SPLINE) if name in evaluation["comparisons"]), None)


def _describe_checks(checks: list[Check]) -> str:
    if not checks:
        return "This run has not been evaluated, so nothing here says yet whether the force field may be used."
    failed = [check.name for check in checks if check.status == "fail"]
    warned = [check.name for check in checks if check.status == "warn"]
    passed = len(checks) - len(failed) - len(warned)
    text = f"{passed} of {len(checks)} checks pass"
    if warned:
        text += f", {len(warned)} warn{'s' if len(warned) == 1 else ''} ({', '.join(warned)})"
    if failed:
        text += f", {len(failed)} fail{'s' if len(failed) == 1 else ''} ({', '.join(failed)})"
    return text + "."


def _describe_training(training: dict[str, Any] | None) -> str:
    explained = (training or {}).get("explained_variance", {})
    if NETWORK in explained:
        text = f"The network explains {format_percent(explained[NETWORK]['test'])} of the held-out force variance"
        if PAIR_SPLINE in explained:
            text += f", the best pair potential {format_percent(explained[PAIR_SPLINE]['test'])}"
        return text + "; most of the rest is thermal noise of the removed atoms."
    if PAIR_SPLINE in explained:
        return f"The pair spline explains {format_percent(explained[PAIR_SPLINE]['test'])} of the held-out variance."
    return ""


def _describe_structure(evaluation: dict[str, Any] | None) -> str:
    name = None if evaluation is None else main_simulation(evaluation)
    if evaluation is None or name is None or not evaluation["comparisons"][name]["rdf"]:
        return ""
    kind, entry = _worst_kind(evaluation["comparisons"][name]["rdf"])
    which = f" ({typeset_kind(kind)}, the worst kind)" if len(evaluation["comparisons"][name]["rdf"]) > 1 else ""
    return (
        "Its radial distribution function differs from the reference by "
        f"{format_measurement(entry['mean_difference'])} on average{which}, where two perfect runs of these lengths "
        f"would differ by {format_measurement(entry['expected_by_chance'])}."
    )


def _describe_molecules(evaluation: dict[str, Any] | None) -> str:
    entry = None if evaluation is None else _find_surface(evaluation)
    if entry is None:
        return ""
    label, surface, basins = entry
    text = (
        f"Its free-energy surface over {label} diverges from the reference by "
        f"{format_measurement(surface['jensen_shannon'])}, where two perfect runs of these lengths would by "
        f"{format_measurement(surface['jensen_shannon']['expected_by_chance'])}"
    )
    if basins:
        name, difference = max(basins.items(), key=lambda item: abs(item[1]["value"]))
        text += f"; the basin with the largest error, {name}, is off by {format_measurement(difference)}"
    return text + "."


def _find_surface(evaluation: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """Return label and divergences of the surface that is furthest from the reference, and the basins beside it."""
    name = main_simulation(evaluation)
    molecules = {} if name is None else evaluation["comparisons"][name].get("molecules", {})
    found = [
        (label, next(iter(surface.values())), entry["basins"])
        for entry in molecules.values()
        for label, surface in entry["surfaces"].items()
    ]
    return max(found, key=lambda item: item[1]["jensen_shannon"]["value"], default=None)


def _describe_dynamics(evaluation: dict[str, Any] | None) -> str:
    name = None if evaluation is None else main_simulation(evaluation)
    speed_up = {} if evaluation is None or name is None else evaluation["comparisons"][name]["speed_up"]
    speed_up = {
        kind: entry for kind, entry in speed_up.items() if entry["value"] > 3.0 * (entry["standard_error"] or 0.0)
    }
    if not speed_up:
        return ""
    values = ", ".join(
        format_measurement(entry) + (f" ({kind})" if len(speed_up) > 1 else "") for kind, entry in speed_up.items()
    )
    return f"Beads diffuse {values} times as fast as in the atomistic run."


def _describe_pressure(evaluation: dict[str, Any] | None) -> str:
    name = None if evaluation is None else main_simulation(evaluation)
    if evaluation is None or name is None:
        return ""
    comparison, applied = evaluation["comparisons"][name], evaluation["systems"][name].get("pressure_set")
    if applied is not None:
        density = format_measurement(evaluation["systems"][name]["density"])
        known = format_measurement(evaluation["systems"]["reference"]["density"])
        return f"At {format_number(applied['value'])} bar its density is {density}, the reference's {known}."
    difference = comparison["pressure_difference"]
    if not difference or abs(difference["value"]) < _MANY_BAR:
        return ""
    side = "above" if difference["value"] > 0.0 else "below"
    size = {**difference, "value": abs(difference["value"])}
    return f"Its pressure is {format_measurement(size)} {side} the reference's: use it at constant volume only."


def _collect_highlights(contents: RunContents) -> list[tuple[str, str, str]]:
    highlights = []
    explained = (contents.training or {}).get("explained_variance", {})
    model = NETWORK if NETWORK in explained else PAIR_SPLINE
    if model in explained:
        beside = f"pair spline {format_percent(explained[PAIR_SPLINE]['test'])}" if PAIR_SPLINE in explained else ""
        value = format_percent(explained[model]["test"])
        highlights.append(("explained force variance", value, beside if model == NETWORK else ""))
    evaluation = contents.evaluation
    name = None if evaluation is None else main_simulation(evaluation)
    if evaluation is None or name is None:
        return highlights
    comparison, system = evaluation["comparisons"][name], evaluation["systems"][name]
    if comparison["rdf"]:
        _, entry = _worst_kind(comparison["rdf"])
        beside = f"by chance {format_measurement(entry['expected_by_chance'])}"
        highlights.append(("mean |Δg| from the reference", format_measurement(entry["mean_difference"]), beside))
    surface = _find_surface(evaluation)
    if surface is not None:
        label, entry, _ = surface
        beside = f"by chance {format_measurement(entry['jensen_shannon']['expected_by_chance'])}"
        highlights.append((f"divergence over {label}", format_measurement(entry["jensen_shannon"]), beside))
    if system["kinetic_temperature"]:
        target = f"target {format_number(system['temperature_set']['value'])} K"
        highlights.append(("kinetic temperature", format_measurement(system["kinetic_temperature"]), target))
    speed = contents.stage_summary(contents.simulation_files.get(name, "")).get("speed") or {}
    together, atomistic = speed.get("ns_per_day_all_replicas"), contents.sampling.get("ns_per_day")
    if together and atomistic:
        beside = f"{format_number(together)} against {format_number(atomistic)} ns/day"
        highlights.append((f"{NAMES[name]} over atomistic speed", f"{format_number(together / atomistic)} ×", beside))
    return highlights


def _worst_kind(entries: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = max(entries, key=lambda label: entries[label]["mean_difference"]["value"])
    return kind, entries[kind]
