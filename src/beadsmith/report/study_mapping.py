"""Sections of a mapping study: what each mapping and each network is worth, side by side."""

from collections.abc import Iterable
from typing import Any

from beadsmith.report.figures.study import draw_distributions, draw_stability
from beadsmith.report.numbers import format_number, typeset_unit
from beadsmith.report.sections import Section
from beadsmith.report.study_tables import (
    tabulate_checks,
    tabulate_overview,
    tabulate_radial,
    tabulate_stability,
    tabulate_training,
)
from beadsmith.report.tables import Table

_MOST_RUNS = 10
"""Runs in one figure: there are as many colours."""


def compose_mapping_study(results: dict[str, Any]) -> list[Section]:
    """Return all sections in order."""
    sections = [Section(anchor="overview", title="Overview", items=[tabulate_overview(results)])]
    diagnosis = _tabulate_diagnosis(results)
    if diagnosis is not None:
        remedies = _tabulate_remedies(results)
        items = [diagnosis] if remedies is None else [diagnosis, remedies]
        sections.append(Section(anchor="soundness", title="Is the mapping sound?", items=list(items)))
    stability = [figure for figure in [_draw_stability(results)] if figure is not None]
    sections += [
        Section(anchor="distributions", title="Distributions", items=_compose_distributions(results)),
        Section(
            anchor="stability",
            title="Stability",
            items=[tabulate_stability(results), *([stability] if stability else [])],
        ),
    ]
    tables = [table for table in (tabulate_radial(results), tabulate_checks(results)) if table is not None]
    if tables:
        sections.append(Section(anchor="errors", title="Errors", items=list(tables)))
    sections.append(Section(anchor="speed", title="Training and speed", items=[tabulate_training(results)]))
    return sections


def judge_mapping_study(results: dict[str, Any]) -> list[str]:
    """Return what the study amounts to, one sentence a mapping."""
    return [_judge(name, runs) for name, runs in _group_runs(results)]


def _judge(name: str, runs: dict[str, dict[str, Any]]) -> str:
    done = {run: entry for run, entry in runs.items() if entry["verdict"]}
    if not done:
        return f"{name}: no run has been evaluated."
    usable = [run for run, entry in done.items() if entry["verdict"] != "fail" and _is_stable(entry)]
    unstable = [run for run, entry in done.items() if not _is_stable(entry)]
    parts = [f"{name}: {len(usable)} of {len(done)} runs pass their checks with all replicas stable"]
    if usable:
        parts.append(f"({', '.join(usable)})")
    if unstable:
        parts.append(f"; unstable: {', '.join(unstable)}")
    return " ".join(parts).replace(" ;", ";") + "."


def _is_stable(run: dict[str, Any]) -> bool:
    stability = run["stability"]
    return stability is not None and stability["n_survived"] == stability["n_replicas"]


def _group_runs(results: dict[str, Any]) -> Iterable[tuple[str, dict[str, dict[str, Any]]]]:
    """Give the runs of each mapping; all of them where there is one."""
    axes = results["axes"]
    if "mapping" not in axes:
        yield "all runs", results["runs"]
        return
    for option in axes["mapping"]:
        runs = {name: run for name, run in results["runs"].items() if run["options"].get("mapping") == option}
        if runs:
            yield option, runs


def _compose_distributions(results: dict[str, Any]) -> list[str | Table | list[Any]]:
    items: list[str | Table | list[Any]] = []
    for option, runs in _group_runs(results):
        known = {_shorten(name, option): run["curves"] for name, run in runs.items() if run["curves"]}
        if not known:
            items.append(f"{option}: no distribution has been measured.")
            continue
        names = list(known)
        for start in range(0, len(names), _MOST_RUNS):
            chosen = {name: known[name] for name in names[start : start + _MOST_RUNS]}
            items.append([draw_distributions(f"distributions-{option}-{start}", option, chosen)])
    return items


def _draw_stability(results: dict[str, Any]) -> Any:
    return draw_stability({name: run["stability"] for name, run in results["runs"].items()})


def _shorten(name: str, option: str) -> str:
    """Return the name of a run without the mapping that its figure is about."""
    return name.removeprefix(f"{option}-") or name


def _tabulate_diagnosis(results: dict[str, Any]) -> Table | None:
    """Return the verdicts on each mapping before training, those of equal checks of several networks once."""
    rows: dict[tuple[str, ...], list[str]] = {}
    n_runs = {}
    for option, runs in _group_runs(results):
        n_runs[option] = len(runs)
        for name, run in runs.items():
            for check in run["diagnosis"] or ():
                value = f"{format_number(check['value'])} {typeset_unit(check['unit'])}".strip()
                cures = ", ".join(check["cures"])
                key = (option, check["name"], check["map_alone"], check["status"], value, check["threshold"], cures)
                rows.setdefault(key, []).append(_shorten(name, option))
    if not rows:
        return None
    return Table(
        caption="Checks of every map before any training: the map alone, for a network of types and distances without "
        "a prior, and with the network and prior of the runs named last. What those have that makes the difference is "
        "named before.",
        header=("mapping", "check", "map alone", "with the model", "value", "condition", "cured by", "runs"),
        rows=tuple(
            (*key, "all" if len(names) == n_runs[key[0]] > 1 else ", ".join(names)) for key, names in rows.items()
        ),
    )


def _tabulate_remedies(results: dict[str, Any]) -> Table | None:
    """Return what the checks mean that do not pass, of the map alone or with the model, and what to do."""
    rows: dict[tuple[str, ...], None] = {}
    for option, runs in _group_runs(results):
        for run in runs.values():
            for check in run["diagnosis"] or ():
                if check["map_alone"] != "pass" or check["status"] != "pass":
                    rows[option, check["name"], check["meaning"], check["remedy"]] = None
    if not rows:
        return None
    return Table(
        caption="What the checks above mean that do not pass for the map alone or with the model, and what to do.",
        header=("mapping", "check", "what it means", "remedy"),
        rows=tuple(rows),
    )
