"""The part of the report on the map: verdicts before training, and the pictures behind them."""

from typing import Any

from beadsmith.report.figures.diagnosis import draw_distances, draw_graph, draw_noise, draw_reflection
from beadsmith.report.figures.style import Figure
from beadsmith.report.numbers import format_number, typeset_condition, typeset_unit
from beadsmith.report.tables import Table

_MOST_MOLECULES = 4
_MOST_REFLECTIONS = 2


def compose_diagnosis(diagnosis: dict[str, Any]) -> list[str | Table | list[Figure]]:
    """Return the verdicts on a map and their pictures."""
    items: list[str | Table | list[Figure]] = [_describe(diagnosis), _tabulate(diagnosis)]
    distances = draw_distances(diagnosis["bonds"])
    if distances is not None:
        items.append([distances])
    molecules = [entry for entry in diagnosis["molecules"] if len(entry["beads"]) > 1]
    for molecule in molecules[:_MOST_MOLECULES]:
        title = molecule["name"] if len(molecules) > 1 else ""
        items.append([draw_graph(molecule, title), draw_noise(molecule, title)])
        items += [[draw_reflection(entry, title)] for entry in molecule["asymmetries"][:_MOST_REFLECTIONS]]
    return items


def _describe(diagnosis: dict[str, Any]) -> str:
    summary, used, total = diagnosis["summary"], diagnosis["n_used"], diagnosis["n_frames"]
    frames = (
        f"{format_number(float(used))} of {format_number(float(total))} frames"
        if used < total
        else (f"{format_number(float(total))} frames")
    )
    return (
        f"Judged on {frames} of the mapped reference, before any training. The map alone, with a network of types and "
        f"distances and no prior: {summary['map_alone']}. With the network ({diagnosis['model']['network']}) and the "
        f"prior of this run: {summary['with_model']}; only these verdicts count among the checks. All numbers are in "
        "diagnosis.json."
    )


def _tabulate(diagnosis: dict[str, Any]) -> Table:
    rows = []
    for entry in diagnosis["checks"]:
        value = f"{format_number(entry['value'])} {typeset_unit(entry['unit'])}".strip()
        note = entry["meaning"]
        if entry["cures"]:
            note = f"{'Cured' if entry['status'] == 'pass' else 'Eased'} by {', '.join(entry['cures'])}. {note}"
        if entry["status"] != "pass":
            note = f"{note} Remedy: {entry['remedy']}"
        elif entry["map_alone"] != "pass":
            note = f"{note} Without that: {entry['remedy']}"
        rows.append(
            (entry["name"], entry["map_alone"], entry["status"], value, typeset_condition(entry["threshold"]), note)
        )
    return Table(
        caption="What the configured force field will be able to tell apart.",
        header=("check", "map alone", "with this model", "value", "condition", "what it means, and what to do"),
        rows=tuple(rows),
    )
