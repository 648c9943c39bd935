"""The tables of a study: one line a run."""

from typing import Any

import numpy as np

from beadsmith.report.numbers import (
    MISSING,
    format_measurement,
    format_number,
    format_percent,
    typeset_kind,
    typeset_unit,
)
from beadsmith.report.tables import Table

DONE = "done"


def tabulate_overview(results: dict[str, Any]) -> Table:
    """Return the few numbers that a run is worth."""
    keys = list_errors(results)
    rows = []
    for name, run in results["runs"].items():
        training, stability = run["training"] or {}, run["stability"]
        explained = training.get("explained_variance")
        rows.append(
            (
                name,
                run["verdict"] or run["status"],
                format_percent(explained) if explained else MISSING,
                *(_format_error(run["errors"].get(key)) for key in keys),
                f"{stability['n_survived']} of {stability['n_replicas']}" if stability else _describe_stopped(run),
            )
        )
    titles = (f"{entry['title']}{_in_unit(entry['unit'])}" for entry in keys.values())
    return Table(
        caption="Every run on held-out forces and against the mapped reference, mean over kinds ± one standard error; "
        "in brackets the same in units of the reference's own sampling error. Stable: replicas that reached the end.",
        header=("run", "checks", "explained force variance", *titles, "stable"),
        rows=tuple(rows),
    )


def tabulate_radial(results: dict[str, Any]) -> Table | None:
    """Return the mean squared difference of each g(r), times 1000; None for molecules alone."""
    labels = dict.fromkeys(
        label for run in results["runs"].values() for label, curve in run["curves"].items() if curve["group"] == "rdf"
    )
    if not labels:
        return None
    rows = []
    for name, run in results["runs"].items():
        curves = [run["curves"].get(label) for label in labels]
        cells = [
            format_number(1e3 * curve["mean_square_difference"])
            if curve and curve["mean_square_difference"] is not None
            else MISSING
            for curve in curves
        ]
        rows.append((name, *cells))
    return Table(
        caption="Mean squared difference of g(r) from the mapped reference over all bins, times 1000: the mean over "
        "the stable part of all replicas.",
        header=("run", *(typeset_kind(label) for label in labels)),
        rows=tuple(rows),
    )


def tabulate_stability(results: dict[str, Any]) -> Table:
    """Return how many replicas reached the end, how long they were stable, and why they ended."""
    rows = []
    for name, run in results["runs"].items():
        entry = run["stability"]
        if entry is None:
            rows.append((name, _describe_stopped(run), MISSING, MISSING, MISSING, MISSING))
            continue
        times = np.array(entry["stable_time"]["values"])
        spread = f" ± {format_number(float(times.std(ddof=1)))}" if len(times) > 1 else ""
        reasons = entry["n_by_reason"]
        rows.append(
            (
                name,
                f"{entry['n_survived']} of {entry['n_replicas']}",
                f"{format_number(float(times.mean()))}{spread} of {format_number(entry['length']['value'])}",
                *(format_number(reasons[key]) for key in ("stopped", "hot", "bond broken")),
            )
        )
    stability = results["stability"]
    return Table(
        caption="Replicas that reached the end, and the stable time with its standard deviation over replicas [ps]. A "
        "replica ends when a bead moves further in a step than any thermal motion could take it or its box boils or "
        f"collapses (stopped), at its first frame hotter than {stability['temperature_ratio']:g} times the heat bath "
        f"(hot), or with a bond {stability['bond_tolerance']} from its mean in the reference (broken bond); the limits "
        "of heat and bonds are wider where six standard deviations of what happens by chance are.",
        header=("run", "survived", "stable time", "stopped", "hot", "broken bond"),
        rows=tuple(rows),
    )


def tabulate_training(results: dict[str, Any]) -> Table:
    """Return size, time and speed of every run."""
    rows = []
    for name, run in results["runs"].items():
        training, speed = run["training"] or {}, run["speed"] or {}
        explained = training.get("explained_variance")
        rows.append(
            (
                name,
                format_number((training.get("n_frames") or {}).get("train")),
                format_number(training.get("n_parameters")),
                format_number(training.get("seconds")),
                format_percent(explained) if explained else MISSING,
                format_number(speed.get("steps_per_second")),
                format_number(speed.get("ns_per_day_all_replicas")),
            )
        )
    return Table(
        caption="Training and simulation: frames, parameters of the network, time of its fit, explained variance of "
        "the forces on test frames, and speed of the simulation on the machine that ran it.",
        header=("run", "frames", "parameters", "fit [s]", "explained variance", "steps/s", "ns/day, all replicas"),
        rows=tuple(rows),
    )


def tabulate_checks(results: dict[str, Any]) -> Table | None:
    """Return the status and value of every check of every run; None where none was judged."""
    runs = {name: {check["name"]: check for check in run["checks"]} for name, run in results["runs"].items()}
    runs = {name: checks for name, checks in runs.items() if checks}
    names = dict.fromkeys(name for checks in runs.values() for name in checks)
    if not names:
        return None
    return Table(
        caption="Every check of every run with its value, those of the force field itself included. What a check means "
        "and what to do stands in the run's own report.",
        header=("check", *runs),
        rows=tuple((name, *(_describe_check(checks.get(name)) for checks in runs.values())) for name in names),
    )


def tabulate_jobs(results: dict[str, Any]) -> Table:
    """Return the jobs that ended in something unphysical, and those that needed them."""
    return Table(
        caption="A job that failed ended in something no physical system does; those that need it were skipped.",
        header=("job", "end", "why"),
        rows=tuple((entry["job"], entry["status"], entry["error"]) for entry in results["jobs"]["failed"]),
    )


def list_errors(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the errors that any run has, each with its title and unit."""
    return {key: entry for run in results["runs"].values() for key, entry in run["errors"].items()}


def _describe_check(check: dict[str, Any] | None) -> str:
    if check is None:
        return MISSING
    return f"{check['status']}: {format_number(check['value'])} {typeset_unit(check['unit'])}".strip()


def _format_error(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return MISSING
    ratio = "" if entry["ratio"] is None else f" ({format_number(entry['ratio'], 2)} ×)"
    return format_measurement(entry, unit=False) + ratio


def _describe_stopped(run: dict[str, Any]) -> str:
    stopped = run["stopped"]
    return f"{stopped['n_stopped']} of {stopped['n_replicas']} stopped" if stopped else MISSING


def _in_unit(unit: str) -> str:
    return f" [{typeset_unit(unit)}]" if typeset_unit(unit) else ""
