"""The numbers of a study as CSV files: one line a run, one line a bin of a curve."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beadsmith.io.records import write_bytes

RUNS, CURVES = "runs.csv", "curves.csv"


def write_tables(study: dict[str, Any], folder: Path) -> None:
    """Write ``runs.csv`` and ``curves.csv`` of what `beadsmith.study.collect.collect_study` returned.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    write_bytes(folder / RUNS, _write_rows(_list_runs(study)))
    write_bytes(folder / CURVES, _write_rows(_list_curves(study)))


def _list_runs(study: dict[str, Any]) -> list[dict[str, Any]]:
    errors = {key: entry["unit"] for run in study["runs"].values() for key, entry in run["errors"].items()}
    rows = []
    for name, run in study["runs"].items():
        training, speed, stability = run["training"] or {}, run["speed"] or {}, run["stability"] or {}
        explained = training.get("explained_variance") or {}
        row: dict[str, Any] = {"run": name, **{axis: run["options"].get(axis, "") for axis in study["axes"]}}
        row |= {"status": run["status"], "verdict": run["verdict"]}
        row |= {"explained_variance": explained.get("value"), "explained_variance_error": explained.get("error")}
        row |= {"n_parameters": training.get("n_parameters"), "training_s": training.get("seconds")}
        for key, unit in errors.items():
            entry, label = run["errors"].get(key, {}), f"{key}{'' if unit == '1' else f'_{unit}'}"
            row |= {label: entry.get("value"), f"{label}_error": entry.get("standard_error")}
            row |= {f"{label}_reference_error": entry.get("reference_error")}
        times = stability.get("stable_time", {}).get("values", [])
        row |= {"replicas": stability.get("n_replicas"), "survived": stability.get("n_survived")}
        row |= {"stable_ps": sum(times) / len(times) if times else None}
        row |= {"steps_per_second": speed.get("steps_per_second"), "ns_per_day": speed.get("ns_per_day_all_replicas")}
        rows.append(row)
    return rows


def _list_curves(study: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name, run in study["runs"].items():
        for label, curve in run["curves"].items():
            missing = [None] * len(curve["reference"])
            columns = zip(
                curve["edges"][:-1],
                curve["edges"][1:],
                curve["reference"],
                curve["reference_error"],
                curve["mean"] or missing,
                curve["deviation"] or missing,
                strict=True,
            )
            for start, end, reference, error, mean, deviation in columns:
                yield {
                    "run": name,
                    "curve": label,
                    "unit": curve["unit"],
                    "bin_start": start,
                    "bin_end": end,
                    "reference": reference,
                    "reference_error": error,
                    "mean": mean,
                    "standard_deviation": deviation,
                    "n_replicas": curve["n_replicas"],
                }


def _write_rows(rows: Iterable[dict[str, Any]]) -> bytes:
    found = list(rows)
    text = io.StringIO()
    if found:
        writer = csv.DictWriter(text, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    return text.getvalue().encode()
