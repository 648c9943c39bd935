"""The part of the report on molecules of several beads: free energies, populations, coordinates and slow motions."""

import re
from typing import Any

from beadsmith.report.figures.molecules import MOST_CURVES, draw_basins, draw_curves, draw_surface, draw_timescales
from beadsmith.report.figures.style import NAMES, Figure
from beadsmith.report.numbers import MISSING, format_measurement, format_number, typeset_kind, typeset_unit
from beadsmith.report.tables import Table


def has_molecules(evaluation: dict[str, Any] | None) -> bool:
    """Return whether anything was measured on molecules of several beads."""
    return evaluation is not None and bool(evaluation["systems"]["reference"].get("molecules"))


def compose_molecules(evaluation: dict[str, Any]) -> list[str | Table | list[Figure]]:
    """Return what there is to say about every kind of molecule."""
    systems, comparisons = evaluation["systems"], evaluation["comparisons"]
    kinds = list(systems["reference"]["molecules"])
    items: list[str | Table | list[Figure]] = []
    for kind in kinds:
        measured = {name: system["molecules"][kind] for name, system in systems.items() if kind in system["molecules"]}
        compared = {name: entry["molecules"][kind] for name, entry in comparisons.items() if kind in entry["molecules"]}
        title = kind if len(kinds) > 1 else ""
        items += _compose_kind(measured, compared, title, evaluation.get("ensemble"))
    return items


def _compose_kind(
    measured: dict[str, dict[str, Any]],
    compared: dict[str, dict[str, Any]],
    title: str,
    ensemble: dict[str, Any] | None,
) -> list[str | Table | list[Figure]]:
    items: list[str | Table | list[Figure]] = [_describe_samples(measured, title)]
    items += [_describe_mirror(name, entry["mirror"]) for name, entry in compared.items() if _is_mirrored(entry)]
    items += [[draw_surface(measured, label, title, ensemble)] for label in measured["reference"]["surfaces"]]
    if compared and measured["reference"]["surfaces"]:
        items.append(_tabulate_surfaces(compared, title))
    basins = draw_basins(measured, title, ensemble)
    slow = measured["reference"].get("slow_modes")
    row = [figure for figure in (basins, draw_timescales(slow, title) if slow else None) if figure is not None]
    if row:
        items.append(row)
    if measured["reference"]["basins"]:
        items.append(_tabulate_basins(measured, compared, title))
    for key in ("coordinates", "bonded"):
        figure = draw_curves(measured, key, _order_curves(measured, compared, key), title, ensemble)
        if figure is not None:
            items += [[figure], _tabulate_curves(measured, compared, key, title)]
    return items


def _describe_samples(measured: dict[str, dict[str, Any]], title: str) -> str:
    parts = []
    for name, entry in measured.items():
        copies = f" of {entry['n_copies']} copies each" if entry["n_copies"] > 1 else ""
        weighted = ""
        if round(entry["n_effective"]) < entry["n_frames"]:
            weighted = f", reweighted, worth {format_number(entry['n_effective'])}"
        parts.append(f"{NAMES[name]}, {format_number(float(entry['n_frames']))} frames{copies}{weighted}")
    head = f"{title}, measured" if title else "Measured"
    return (
        f"{head} on: {'; '.join(parts)}. Divergences depend on the number of frames and of bins, so each stands beside "
        "what two perfect runs of these lengths would show, and beside the two halves of the reference."
    )


def _is_mirrored(comparison: dict[str, Any]) -> bool:
    return comparison["mirror"] is not None and comparison["mirror"]["is_symmetric"]


def _describe_mirror(name: str, mirror: dict[str, Any]) -> str:
    share = {which: {**entry, "value": 100.0 * entry["value"]} for which, entry in mirror["positive"].items()}
    for entry in share.values():
        entry |= {"standard_error": 100.0 * (entry["standard_error"] or 0.0), "unit": "%"}
    return (
        f"The {NAMES[name]} is mirror-symmetric: {mirror['coordinate']} > 0 has a population of "
        f"{format_measurement(share['simulation'])}, in the reference {format_measurement(share['reference'])}. An "
        "energy made of distances alone cannot tell a molecule from its mirror image; the rows ‘without hand’ compare "
        "it with the mean of the reference and its mirror image."
    )


def _tabulate_surfaces(compared: dict[str, dict[str, Any]], title: str) -> Table:
    rows = []
    for label, surface in next(iter(compared.values()))["surfaces"].items():
        for number in surface:
            found = {name: entry["surfaces"][label][number] for name, entry in compared.items()}
            bins = f"{label}; {number} × {number}"
            rows.append((f"{bins}; JS [nat]", *_divergence_cells(found, "jensen_shannon")))
            if any(_is_mirrored(entry) for entry in compared.values()) and surface[number]["symmetrised"]:
                fair = {name: entry["symmetrised"] for name, entry in found.items()}
                rows.append((f"{bins}; JS without hand [nat]", *_divergence_cells(fair, "jensen_shannon")))
            rows.append((f"{bins}; KL [nat]", *_divergence_cells(found, "kullback_leibler")))
            rms = (format_measurement(entry["free_energy_rms"], unit=False) for entry in found.values())
            rows.append((f"{bins}; rms ΔF [kT]", *rms, *(MISSING,) * (2 + len(found))))
    names = tuple(NAMES[name] for name in compared)
    return Table(
        caption=f"Distance of the free-energy surfaces{_of(title)} from the reference ± one standard error, by number "
        "of bins: Jensen-Shannon (JS) and Kullback-Leibler (KL, what the simulation lacks weighs most) divergence, and "
        "the difference of free energies up to 5 kT. Beside it: what two perfect runs of these lengths would show by "
        "chance, and the divergence of the two halves of each run.",
        header=(
            "surface",
            *names,
            _chance_title(compared),
            "halves, reference",
            *(f"halves, {name}" for name in names),
        ),
        rows=tuple(rows),
    )


def _divergence_cells(found: dict[str, dict[str, Any]], measure: str) -> list[str]:
    """Return the divergences of all simulations, what chance makes of the first, and the halves of all runs."""
    entries = [entry[measure] for entry in found.values()]
    halves = [entries[0]["halves"]["reference"], *(entry["halves"]["simulation"] for entry in entries)]
    return [format_measurement(entry, unit=False) for entry in (*entries, entries[0]["expected_by_chance"], *halves)]


def _tabulate_basins(measured: dict[str, dict[str, Any]], compared: dict[str, dict[str, Any]], title: str) -> Table:
    rows = [
        (
            name,
            *(format_measurement(entry["basins"].get(name)) for entry in measured.values()),
            *(format_measurement(entry["basins"].get(name)) for entry in compared.values()),
        )
        for name in measured["reference"]["basins"]
    ]
    differences = (f"{NAMES[name]} − reference" for name in compared)
    return Table(
        caption=f"Populations of the basins{_of(title)} ± one standard error from blocks.",
        header=("basin", *(NAMES[name] for name in measured), *differences),
        rows=tuple(rows),
    )


def _tabulate_curves(
    measured: dict[str, dict[str, Any]], compared: dict[str, dict[str, Any]], key: str, title: str
) -> Table:
    """Return means and divergences of one group of coordinates, with the unit in the title of the row."""
    what = {"coordinates": "Molecular coordinates", "bonded": "Bonds, angles and dihedrals"}[key]
    rows = []
    for name, own in measured["reference"][key].items():
        means = [format_measurement(run[key].get(name, {}).get("mean"), unit=False) for run in measured.values()]
        found = {run: entry[key][name] for run, entry in compared.items() if name in entry[key]}
        cells = _divergence_cells(found, "jensen_shannon")[: len(found) + 2] if found else []
        rows.append((_title_curve(name, own["unit"]), *means, *cells))
    header = ["coordinate", *(f"mean, {NAMES[name]}" for name in measured)]
    if compared:
        header += [*(f"JS [nat], {NAMES[name]}" for name in compared), _chance_title(compared), "halves, reference"]
    return Table(
        caption=f"{what}{_of(title)}: mean values ± one standard error (a periodic coordinate has none), and "
        "Jensen-Shannon divergences (JS) of their distributions from the reference.",
        header=tuple(header),
        rows=tuple(rows),
    )


def _title_curve(name: str, unit: str) -> str:
    """Return a coordinate with its unit; the numbers of residues stay on one line."""
    text = re.sub(r"(\d)–(\d)", "\\1\u2060–\u2060\\2", typeset_kind(name))
    unit = {"degree": "°"}.get(unit, typeset_unit(unit))
    return f"{text} [{unit}]" if unit else text


def _order_curves(measured: dict[str, dict[str, Any]], compared: dict[str, dict[str, Any]], key: str) -> list[str]:
    """Return the coordinates in their own order, or where there are too many to draw the most different first."""
    names = list(measured["reference"][key])
    if not compared or len(names) <= MOST_CURVES:
        return names
    first = next(iter(compared.values()))[key]
    return sorted(names, key=lambda name: -first.get(name, {}).get("jensen_shannon", {}).get("value", 0.0))


def _chance_title(compared: dict[str, dict[str, Any]]) -> str:
    """Return the title of the column of what chance makes of the first simulation."""
    return "by chance" if len(compared) == 1 else f"by chance, {NAMES[next(iter(compared))]}"


def _of(title: str) -> str:
    return f" of {title}" if title else ""
