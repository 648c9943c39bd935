"""Sections of a transfer study: errors as matrices of training set and test state, and where a model may be used."""

import json
from typing import Any

import numpy as np

from beadsmith.report.figures.study import draw_distributions, draw_matrix
from beadsmith.report.figures.style import Figure
from beadsmith.report.numbers import MISSING, format_measurement, format_number, typeset_unit
from beadsmith.report.sections import Section
from beadsmith.report.study_tables import (
    list_errors,
    tabulate_checks,
    tabulate_overview,
    tabulate_stability,
    tabulate_training,
)
from beadsmith.report.tables import Table
from beadsmith.statistics import mean_and_error

_REFERENCE = "reference itself"
_TRAIN, _TEST = "train", "test"
_CURVES = {
    "rdf": ("rdf",),
    "adf": ("adf",),
    "bonded": ("bond", "angle", "dihedral", "improper"),
    "coordinates": ("coordinate",),
}
"""Groups of curves behind an error; the others are single numbers."""
_NOTES = {
    "energy": " The energy is that of U(R), the mean atomistic energy at fixed beads, in the simulation and the energy "
    "that no bead feels, which forces leave open: a straight line in temperature through the mean of atomistic energy "
    "minus U(R) on the training frames. A force field trained at one temperature has no number at another.",
}
"""What else there is to know about an error."""
_WORDS = {"pass": "yes", "warn": "with care", "fail": "no"}


def compose_transfer_study(results: dict[str, Any]) -> list[Section]:
    """Return all sections in order."""
    models = list_models(results)
    use = [_tabulate_use(results, name) for name in models]
    sections = [Section(anchor="use", title="Where a force field may be used", items=list(use))]
    figures: list[str | Table | list[Figure]] = [_tabulate_means(results)] if list_errors(results) else []
    for key, entry in list_errors(results).items():
        figures += [[_draw_error(results, name, key, entry)] for name in models]
    sections.append(
        Section(anchor="matrices", title="Transfer matrices", items=figures or ["Nothing is measured yet."])
    )
    tables: list[str | Table | list[Figure]] = [tabulate_overview(results), tabulate_stability(results)]
    findings = tabulate_checks(results)
    sections.append(Section(anchor="errors", title="Errors", items=[*tables, *([findings] if findings else [])]))
    sections.append(Section(anchor="speed", title="Training and speed", items=[tabulate_training(results)]))
    return sections


def judge_transfer_study(results: dict[str, Any]) -> list[str]:
    """Return where each model may be used, one sentence a model and training set."""
    sentences = []
    for name, cells in list_models(results).items():
        for train in dict.fromkeys(train for train, _ in cells):
            found = {test: run for (row, test), run in cells.items() if row == train}
            words = {
                word: [test for test, run in found.items() if run["verdict"] == status]
                for status, word in (("pass", "may be used at"), ("warn", "with care at"), ("fail", "not at"))
            }
            words["did not end at"] = [test for test, run in found.items() if run["status"] in ("failed", "skipped")]
            parts = [f"{word} {', '.join(tests)}" for word, tests in words.items() if tests]
            if parts:
                sentences.append(f"{name or 'The model'}, trained on {train}: {'; '.join(parts)}.")
    return sentences or ["No force field has been evaluated yet."]


def list_models(results: dict[str, Any]) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    """Return the runs of each model by training set and test state."""
    models: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for run in results["runs"].values():
        options = run["options"]
        name = " ".join(value for axis, value in options.items() if axis not in (_TRAIN, _TEST))
        models.setdefault(name, {})[options[_TRAIN], options[_TEST]] = run
    return models


def draw_cells(results: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figure of the distributions of every cell, by number of the model, training set and test state."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for number, (name, cells) in enumerate(list_models(results).items()):
        for (train, test), run in cells.items():
            if run["curves"]:
                title = f"{name or 'model'} trained on {train}, simulated at {test}"
                figure = draw_distributions("cell", title, {name or "model": run["curves"]})
                drawn = json.loads(figure.json)
                entry = {"title": f"{title}.", "data": drawn["data"], "layout": drawn["layout"]}
                found.setdefault(str(number), {}).setdefault(train, {})[test] = entry
    return found


def _tabulate_use(results: dict[str, Any], name: str) -> Table:
    """Return whether a model may be used at each state, and what speaks against it."""
    cells = list_models(results)[name]
    tests = results["axes"][_TEST]
    rows = []
    for train in results["axes"][_TRAIN]:
        found = [cells.get((train, test)) for test in tests]
        if any(found):
            rows.append((train, *(_describe_use(run) for run in found)))
    return Table(
        caption=f"May {name or 'the model'} be used at a state (column) when it was trained on others (row)? Yes: "
        "every check of the simulation there passes. With care, or no: the checks that warn or fail are named.",
        header=("trained on", *tests),
        rows=tuple(rows),
    )


def _describe_use(run: dict[str, Any] | None) -> str:
    if run is None:
        return MISSING
    if run["verdict"] is None:
        return str(run["status"])
    names = [check["name"] for check in run["checks"] if check["status"] == run["verdict"] != "pass"]
    return _WORDS[run["verdict"]] + (f": {', '.join(names)}" if names else "")


def _tabulate_means(results: dict[str, Any]) -> Table:
    """Return the mean of each error over cells of a kind, and what the other models gain away from their own state."""
    models = list_models(results)
    first = next(iter(models))
    rows = []
    for key, entry in list_errors(results).items():
        for name, cells in models.items():
            found = {cell: run["errors"][key]["value"] for cell, run in cells.items() if key in run["errors"]}
            kinds = [_list_cells(found, results, kind) for kind in ("own", "other", "several")]
            base = {cell: run["errors"][key]["value"] for cell, run in models[first].items() if key in run["errors"]}
            shared = [found[cell] - base[cell] for cell in kinds[1] if cell in base]
            means = (_mean([found[cell] for cell in kind]) for kind in kinds)
            gain = MISSING if name == first else format_measurement(_paired(shared))
            rows.append((f"{entry['title']}{_in_unit(entry['unit'])}, {name or 'the model'}", *means, gain))
    return Table(
        caption="Mean of each error over simulations at the state that a force field was trained at, at other states, "
        "and of force fields trained at several states. Last: the difference from "
        f"{first or 'the model'} at other states, paired over cells ± one standard error; below zero is better.",
        header=("error, model", "own state", "other states", "several states", f"minus {first or 'the model'}"),
        rows=tuple(rows),
    )


def _list_cells(found: dict[tuple[str, str], float], results: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    """Return the cells trained at their own state, at another one, or at a set of several."""
    single = set(results["axes"][_TEST])
    kinds = {
        (train, test): "several" if train not in single else "own" if train == test else "other"
        for train, test in found
    }
    return [cell for cell in found if kinds[cell] == kind]


def _mean(values: list[float]) -> str:
    return format_number(float(np.mean(values))) if values else MISSING


def _paired(differences: list[float]) -> dict[str, Any] | None:
    if not differences:
        return None
    mean, error = mean_and_error(differences)
    return {"value": float(mean), "standard_error": float(error)}


def _in_unit(unit: str) -> str:
    return f" [{typeset_unit(unit)}]" if typeset_unit(unit) else ""


def _draw_error(results: dict[str, Any], name: str, key: str, entry: dict[str, Any]) -> Figure:
    """Return the matrix of one error of one model, with the reference's own sampling error in the last row."""
    models = list_models(results)
    number, cells = list(models).index(name), models[name]
    tests = results["axes"][_TEST]
    trains = [train for train in results["axes"][_TRAIN] if any((train, test) in cells for test in tests)]
    grid = [[_find_error(cells.get((train, test)), key) for test in tests] for train in trains]
    own = [
        next(
            (found for run in cells.values() if run["options"][_TEST] == test and (found := _find_error(run, key))),
            None,
        )
        for test in tests
    ]
    unit = typeset_unit(entry["unit"])
    title = f"{entry['title']}{f' [{unit}]' if unit else ''}, {name or 'the model'}"
    return draw_matrix(
        f"matrix-{number}-{key}",
        title,
        rows=[*trains, _REFERENCE],
        columns=tests,
        values=[
            *([None if found is None else found["value"] for found in row] for row in grid),
            [None if found is None else found["reference_error"] for found in own],
        ],
        texts=[
            *([_write_cell(found) for found in row] for row in grid),
            ["" if found is None else format_number(found["reference_error"], 2) for found in own],
        ],
        details=[
            *([_write_detail(found) for found in row] for row in grid),
            ["the reference's own sampling error"] * len(tests),
        ],
        unit=entry["unit"],
        largest=max(run["errors"][key]["value"] for run in results["runs"].values() if key in run["errors"]),
        caption=f"{entry['title']}: the error of a force field trained on the states of a row in a simulation at the "
        "state of a column. In brackets the same in units of the reference's own sampling error, which stands in the "
        "last row: about 1 × cannot be told from the reference." + _invite_click(results, key) + _NOTES.get(key, ""),
    )


def _invite_click(results: dict[str, Any], key: str) -> str:
    """Return what a click on a cell shows, where there are curves behind the error."""
    groups = {curve["group"] for run in results["runs"].values() for curve in run["curves"].values()}
    return " Click on a cell for its curves." if groups & set(_CURVES.get(key, ())) else ""


def _find_error(run: dict[str, Any] | None, key: str) -> dict[str, Any] | None:
    return None if run is None else run["errors"].get(key)


def _write_cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    ratio = "" if found["ratio"] is None else f"<br>({format_number(found['ratio'], 2)} ×)"
    return format_number(found["value"], 2) + ratio


def _write_detail(found: dict[str, Any] | None) -> str:
    if found is None:
        return "no result"
    ratio = "" if found["ratio"] is None else f", {format_number(found['ratio'], 2)} × the reference's own error"
    return format_measurement(found) + ratio
