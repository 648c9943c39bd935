"""Liquid methanol from 300 to 700 K at two densities: which force field serves where.

    beadsmith study examples/study_methanol.yaml --output runs/study_methanol
    python -m benchmarks.accuracy.methanol_transfer runs/study_methanol

reads what the study found and writes ``methanol_transfer_rdf.csv``, g(r) of the reference and of the force fields of
several states, and ``methanol_transfer.json``: the transfer matrix of every model, and three paired
comparisons with their errors: the network against the pair spline away from where both were trained, W(R;T) against one
potential for all temperatures, and the pressure with virial labels against that without.

A mean difference is paired over runs of the same training set and test state. Runs share their training or their
reference, so their differences are not independent: the error is the larger of two jackknife errors, one leaving out a
test state at a time, one a training set.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.io.records import read_json, write_json

HERE = Path(__file__).parent
METRICS = ("rdf", "adf", "pressure")
SETS = ("joint", "outer")
UNSEEN = "500K"
LARGEST_BIAS = 50.0
"""Pressure error that is forgiven whatever the sampling error [bar]."""

Cell = tuple[str, str, str]
"""Model, training set and test state."""


def main() -> None:
    """Write the figures and print the comparisons."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.methanol_transfer", description=__doc__)
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("--output", type=Path, default=HERE / "methanol_transfer.json", help="file of the figures")
    arguments = parser.parse_args()
    study = read_json(arguments.study / "study.json")
    figures = summarise(study)
    write_json(arguments.output, figures)
    write_curves(study, arguments.output.with_name(f"{arguments.output.stem}_rdf.csv"))
    for name, entry in figures["comparisons"].items():
        print(name, {key: value for key, value in entry.items() if key != "cells"})
    for name, entry in figures["pressures"].items():
        print(name, {key: value for key, value in entry.items() if key != "cells"})


def summarise(study: dict[str, Any]) -> dict[str, Any]:
    """Return matrices, comparisons and pressures of a study, from its JSON."""
    runs: dict[Cell, dict[str, Any]] = {}
    for run in study["runs"].values():
        options = run["options"]
        runs[options["model"], options["train"], options["test"]] = run
    jobs = study["jobs"]
    return {
        "jobs": {
            "n_jobs": jobs["n_jobs"],
            "n_done": jobs["n_done"],
            "hours_of_jobs": jobs["wall_time"]["value"] / 3600,
        },
        "matrix": [describe_cell(cell, run) for cell, run in runs.items()],
        "comparisons": {
            "network against spline, one state each, off the diagonal": compare(
                runs, ("blind", "spline"), lambda train, test: train in study["axes"]["test"] and train != test
            ),
            "network against spline, joint": compare(runs, ("blind", "spline"), lambda train, _: train == "joint"),
            "W(R;T) against one potential, joint": compare(
                runs, ("thermal", "blind"), lambda train, _: train == "joint"
            ),
            "W(R;T) against one potential, temperature unseen": compare(
                runs, ("thermal", "blind"), lambda train, test: train == "outer" and test.startswith(UNSEEN)
            ),
            "W(R;T) against one potential, outer temperatures": compare(
                runs, ("thermal", "blind"), lambda train, test: train == "outer" and not test.startswith(UNSEEN)
            ),
            "W(R;T) of all against one potential of another temperature": compare_with_others(
                runs, study["axes"]["test"]
            ),
        },
        "pressures": {
            f"{model}, {train}": judge_pressures(runs, model, train)
            for model in ("spline", "blind", "thermal", "virial")
            for train in SETS
        },
    }


def write_curves(study: dict[str, Any], path: Path) -> None:
    """Write g(r) at every state, a line a bin: the reference with its error, and each force field of several states."""
    columns: dict[str, dict[str, list[float]]] = {}
    for run in study["runs"].values():
        options, curves = run["options"], list(run["curves"].values())
        if options["train"] not in SETS or not curves:
            continue
        entry = columns.setdefault(
            options["test"],
            {"r_nm": curves[0]["edges"][:-1]} | {name: curves[0][name] for name in ("reference", "reference_error")},
        )
        entry[f"{options['model']} {options['train']}"] = curves[0]["mean"]
    with path.open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["state", *next(iter(columns.values()))])
        for state, entry in columns.items():
            for values in zip(*entry.values(), strict=True):
                writer.writerow([state, *(f"{value:.4g}" for value in values)])


def describe_cell(cell: Cell, run: dict[str, Any]) -> dict[str, Any]:
    """Return the errors of one force field at one state, each with its standard error and the reference's own."""
    row: dict[str, Any] = dict(zip(("model", "train", "test"), cell, strict=True))
    row |= {"status": run["status"], "verdict": run["verdict"]}
    for metric in METRICS:
        entry = run["errors"].get(metric)
        if entry is not None:
            row[metric] = [round(entry[key], 5) for key in ("value", "standard_error", "reference_error")]
    return row


def compare(
    runs: dict[Cell, dict[str, Any]], models: tuple[str, str], is_wanted: Callable[[str, str], bool]
) -> dict[str, Any]:
    """Return the mean RDF errors of two models over the same training sets and test states, and their difference."""
    first, second = models
    pairs = [
        (train, test, _error(runs[first, train, test]), _error(runs[second, train, test]))
        for model, train, test in runs
        if model == first and (second, train, test) in runs and is_wanted(train, test)
    ]
    return _compare_pairs(pairs, models)


def compare_with_others(runs: dict[Cell, dict[str, Any]], states: list[str]) -> dict[str, Any]:
    """Return the same for W(R;T) of all states and potentials of one state, tested at another temperature."""
    pairs = [
        (train, test, _error(runs["thermal", "joint", test]), _error(runs["blind", train, test]))
        for train in states
        for test in states
        if train.split("_")[0] != test.split("_")[0] and train.split("_")[1:] == test.split("_")[1:]
    ]
    return _compare_pairs(pairs, ("thermal", "blind"))


def _compare_pairs(pairs: list[tuple[str, str, float, float]], models: tuple[str, str]) -> dict[str, Any]:
    difference = np.array([one - other for _, _, one, other in pairs])
    trains, tests = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    error = max(_jackknife(difference, tests), _jackknife(difference, trains))
    return {
        "n_pairs": len(pairs),
        models[0]: float(np.mean([pair[2] for pair in pairs])),
        models[1]: float(np.mean([pair[3] for pair in pairs])),
        "difference": float(difference.mean()),
        "standard_error": error,
        "n_better": int((difference < 0.0).sum()),
    }


def _jackknife(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the standard error of the mean, leaving out one group after the other; 0 with a single group."""
    names = np.unique(groups)
    if len(names) < 2:
        return 0.0
    means = np.array([values[groups != name].mean() for name in names])
    return float(np.sqrt((len(names) - 1) / len(names) * ((means - means.mean()) ** 2).sum()))


def judge_pressures(runs: dict[Cell, dict[str, Any]], model: str, train: str) -> dict[str, Any]:
    """Return how far the pressure is off at every state, and where that is within three errors or 50 bar."""
    cells = []
    for (own, own_train, test), run in runs.items():
        if (own, own_train) != (model, train) or run["status"] != "done":
            continue
        here, reference = run["pressure"], run["reference_pressure"]
        error = float(np.hypot(here["standard_error"], reference["standard_error"]))
        difference = here["value"] - reference["value"]
        cells.append(
            {
                "test": test,
                "pressure": round(here["value"], 1),
                "reference": round(reference["value"], 1),
                "difference": round(difference, 1),
                "standard_error": round(error, 1),
                "within": abs(difference) <= max(3.0 * error, LARGEST_BIAS),
            }
        )
    differences = [abs(cell["difference"]) for cell in cells]
    return {
        "n_within": sum(cell["within"] for cell in cells),
        "n_states": len(cells),
        "smallest": min(differences, default=None),
        "largest": max(differences, default=None),
        "cells": cells,
    }


def _error(run: dict[str, Any]) -> float:
    return float(run["errors"]["rdf"]["value"]) if run["status"] == "done" else np.nan


if __name__ == "__main__":
    main()
