"""Figures of molecules: free-energy surfaces, basin populations, distributions of coordinates, implied timescales."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.analysis.free_energy import align_free_energy
from beadsmith.analysis.member_spread import SPREAD
from beadsmith.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    NAMES,
    Figure,
    add_curve,
    as_numbers,
    centres,
    describe_spread,
    finish_figure,
    to_list,
)
from beadsmith.report.numbers import format_number, typeset_kind, typeset_unit

MOST_CURVES = 12
"""Distributions that are drawn in one figure."""

_HIGHEST = 7.0
_LARGEST_DIFFERENCE = 2.0
_N_COLUMNS = 3
_ROW_HEIGHT, _TITLE_HEIGHT = 235, 75
_DIVERGING = [[0.0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1.0, "#b2182b"]]


def draw_surface(
    molecules: dict[str, dict[str, Any]], label: str, title: str, ensemble: dict[str, Any] | None = None
) -> Figure:
    """Return a free-energy surface of all runs, their differences from the reference, and the reference's error.

    With an ensemble, the spread over its networks has a panel more.

    Parameters
    ----------
    molecules : Measurements of one kind of molecule by run; ``"reference"`` comes first.
    label : Which surface.
    title : Name of the molecule, or empty where there is one kind.
    """
    shown = {name: entry["surfaces"][label] for name, entry in molecules.items() if label in entry["surfaces"]}
    reference = shown["reference"]
    others = [name for name in shown if name != "reference"]
    titles = [NAMES[name] for name in shown] + ["standard error of the reference"]
    titles += [f"{NAMES[name]} − reference" for name in others]
    spread = None if ensemble is None else shown.get("network", {}).get(SPREAD)
    if spread is not None:
        titles.append("spread over networks")
    plot = make_subplots(
        rows=2,
        cols=len(shown) + (spread is not None),
        specs=None if spread is None else [[*({} for _ in shown), None], [{} for _ in range(len(shown) + 1)]],
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.1,
        subplot_titles=titles,
    )
    for column, surface in enumerate(shown.values(), start=1):
        energy, error = as_numbers(surface["free_energy"]), as_numbers(surface["standard_error"])
        own = as_numbers(reference["standard_error"])
        _add_map(plot, surface, energy, error, place=(1, column))
        if column == 1:
            _add_map(plot, surface, own, None, place=(2, 1))
        else:
            difference = align_free_energy(
                energy, as_numbers(reference["free_energy"]), as_numbers(reference["probability"])
            )
            _add_map(plot, surface, difference, np.hypot(error, own), place=(2, column))
        _add_basins(plot, molecules["reference"]["basin_ranges"], surface, column)
        plot.update_xaxes(title_text=_axis_title(reference["x"], reference["units"][0]), row=2, col=column)
    if spread is not None:
        _add_map(plot, shown["network"], as_numbers(spread), None, place=(2, len(shown) + 1))
        plot.update_xaxes(title_text=_axis_title(reference["x"], reference["units"][0]), row=2, col=len(shown) + 1)
    for row in (1, 2):
        plot.update_yaxes(title_text=_axis_title(reference["y"], reference["units"][1]), row=row, col=1)
    _range_axes(plot, reference)
    bar = {"thickness": 12, "outlinewidth": 0, "len": 0.46, "x": 1.01}
    plot.update_layout(
        coloraxis={
            "colorscale": "Viridis",
            "cmin": 0.0,
            "cmax": _HIGHEST,
            "colorbar": {**bar, "y": 0.78, "title": "F [kT]"},
        },
        coloraxis2={
            "colorscale": _DIVERGING,
            "cmin": -_LARGEST_DIFFERENCE,
            "cmax": _LARGEST_DIFFERENCE,
            "colorbar": {**bar, "y": 0.22, "title": "ΔF [kT]"},
        },
        margin={"l": 64, "r": 84, "t": 36, "b": 56},
    )
    plot.update_annotations(font_size=13)
    kT = format_number(reference["thermal_energy"]["value"])
    counts = [f"{surface['n_effective']} blocks ({NAMES[name]})" for name, surface in shown.items()]
    caption = (
        f"Above: free energy −ln p in kT ({kT} kJ/mol) above its minimum; white was never visited. Below, on one "
        "scale: the reference's own standard error, and the simulation minus the reference, with the mean difference "
        "taken out. A difference that is not darker than the error means nothing. Values beyond the ends count in the "
        "outermost bins. Dotted boxes are the basins. Errors from "
        f"{', '.join(counts)}."
    )
    if ensemble is not None and spread is not None:
        caption += (
            f" Last panel: one standard deviation over {ensemble['n_members']} networks, each laid on this run's. It "
            "contains the standard errors of their simulations."
        )
    heading = f"Free energy over {reference['x']} and {reference['y']}{_of(title)}"
    return finish_figure(plot, _name("surface", title, label), heading, caption=caption, height=660)


def draw_basins(
    molecules: dict[str, dict[str, Any]], title: str, ensemble: dict[str, Any] | None = None
) -> Figure | None:
    """Return the populations of the basins of all runs with their errors, and with their spread over an ensemble."""
    if not molecules["reference"]["basins"]:
        return None
    plot = go.Figure()
    for name, entry in molecules.items():
        basins = entry["basins"]
        plot.add_bar(
            x=list(basins),
            y=to_list([100.0 * value["value"] for value in basins.values()]),
            error_y={
                "array": to_list([100.0 * (value["standard_error"] or 0.0) for value in basins.values()]),
                "thickness": 1.5,
                "width": 5,
                "color": INK,
            },
            name=NAMES[name],
            marker={"color": COLOURS[name], "opacity": 0.85},
            offsetgroup=name,
        )
        _add_basin_spread(plot, name, basins)
    plot.update_layout(barmode="group", bargap=0.35)
    plot.update_yaxes(title_text="population [%]", rangemode="tozero")
    caption = (
        "Share of frames in each basin. Divergences hardly see it when a basin has the wrong weight: read both. Error "
        "bars: one standard error from blocks."
    ) + describe_spread(ensemble)
    return finish_figure(plot, _name("basins", title), f"Basin populations{_of(title)}", caption=caption, height=400)


def _add_basin_spread(plot: go.Figure, name: str, basins: dict[str, dict[str, Any]]) -> None:
    """Add the spread over an ensemble as hatched pieces of bars around the heights of a run's own."""
    spread = {basin: value[SPREAD] for basin, value in basins.items() if value.get(SPREAD) is not None}
    if not spread:
        return
    heights = np.array([basins[basin]["value"] for basin in spread])
    widths = as_numbers(list(spread.values()))
    plot.add_bar(
        x=list(spread),
        y=to_list(200.0 * widths),
        base=to_list(100.0 * (heights - widths)),
        name=f"spread over {NAMES[name]}s",
        marker={
            "color": "rgba(0,0,0,0)",
            "line": {"color": INK, "width": 0.7},
            "pattern": {"shape": "/", "size": 5, "solidity": 0.25, "fgcolor": INK, "bgcolor": "rgba(0,0,0,0)"},
        },
        offsetgroup=name,
        legendrank=1100,
        hoverinfo="skip",
    )


def draw_curves(
    molecules: dict[str, dict[str, Any]],
    key: str,
    order: list[str],
    title: str,
    ensemble: dict[str, Any] | None = None,
) -> Figure | None:
    """Return the distributions of the coordinates or of the bonded terms, the first dozen of an order."""
    names = order[:MOST_CURVES]
    if not names:
        return None
    n_rows = -(-len(names) // _N_COLUMNS)
    columns = min(_N_COLUMNS, len(names))
    # the titles of the axes need the same room whatever the number of rows
    gap = _TITLE_HEIGHT / (_ROW_HEIGHT * n_rows)
    plot = make_subplots(rows=n_rows, cols=columns, horizontal_spacing=0.07, vertical_spacing=gap)
    for place, coordinate in enumerate(names):
        row, col = place // columns + 1, place % columns + 1
        for run, entry in molecules.items():
            if coordinate in entry[key]:
                curve = entry[key][coordinate]["curve"]
                add_curve(
                    plot,
                    run,
                    centres(curve),
                    curve["density"],
                    curve["standard_error"],
                    row=row,
                    col=col,
                    showlegend=place == 0,
                    spread=curve.get(SPREAD),
                )
        reference = molecules["reference"][key][coordinate]
        axis = {"range": [-180, 180], "dtick": 90} if reference["is_periodic"] else {"nticks": 5}
        plot.update_xaxes(title_text=_axis_title(coordinate, reference["unit"]), row=row, col=col, **axis)
        plot.update_yaxes(rangemode="tozero", nticks=4, exponentformat="power", row=row, col=col)
    for row in range(1, n_rows + 1):
        plot.update_yaxes(title_text="density", row=row, col=1)
    total = len(molecules["reference"][key])
    which = f"The {len(names)} of {total} that differ most. " if total > len(names) else ""
    caption = (
        which
        + (
            "Probability densities, in the inverse of the unit below. Values beyond the ends of a panel count in its "
            "outermost bins. Bands: one standard error from blocks."
        )
        + describe_spread(ensemble)
    )
    heading = {"coordinates": "Molecular coordinates", "bonded": "Bonds, angles and dihedrals"}[key] + _of(title)
    return finish_figure(plot, _name(key, title), heading, caption=caption, height=90 + _ROW_HEIGHT * n_rows)


def draw_timescales(slow: dict[str, Any], title: str) -> Figure:
    """Return the implied timescales of the reference's Markov model at several lags."""
    plot = go.Figure()
    points = slow["implied_timescales"]
    lags = [point["lag"]["value"] for point in points]
    for rank, dash in enumerate(("solid", "dash")):
        entries = [point["timescales"][rank] if rank < len(point["timescales"]) else None for point in points]
        values = to_list([np.nan if entry is None or entry["value"] is None else entry["value"] for entry in entries])
        errors = [0.0 if entry is None else entry["standard_error"] or 0.0 for entry in entries]
        if any(value is not None for value in values):
            plot.add_scatter(
                x=lags,
                y=values,
                error_y={"array": to_list(errors), "thickness": 1.5, "width": 4},
                mode="lines+markers",
                name=("slowest", "second")[rank],
                line={"color": COLOURS["reference"], "dash": dash, "width": 2},
            )
    ends = [0.0, max(lags, default=1.0)]
    plot.add_scatter(
        x=ends, y=ends, mode="lines", name="the lag itself", line={"color": FAINT, "dash": "dot", "width": 1.5}
    )
    plot.update_xaxes(title_text="lag [ps]", rangemode="tozero")
    plot.update_yaxes(title_text="implied timescale [ps]", rangemode="tozero")
    caption = (
        f"Timescales of a Markov state model of {slow['n_states']} states on the slow components of the reference. "
        "They should not grow with the lag; what lies below the dotted line cannot be resolved. Error bars: one "
        "standard error, leaving out one block at a time."
    )
    return finish_figure(plot, _name("timescales", title), f"Slow motions{_of(title)}", caption=caption, height=400)


def _add_map(
    plot: go.Figure, surface: dict[str, Any], values: np.ndarray, error: np.ndarray | None, *, place: tuple[int, int]
) -> None:
    """Add one panel; what it shows follows from its row: free energies above, differences below."""
    x, y = (centres({"edges": surface[key]}) for key in ("x_edges", "y_edges"))
    hover = f"{surface['x']} %{{x:.4g}}<br>{surface['y']} %{{y:.4g}}<br>%{{z:.2f}}"
    plot.add_heatmap(
        x=to_list(x),
        y=to_list(y),
        # rows of a heat map follow y, those of the surface x
        z=[to_list(row) for row in values.T],
        customdata=None if error is None else [to_list(row) for row in error.T],
        hovertemplate=hover + (" kT<extra></extra>" if error is None else " ± %{customdata:.2f} kT<extra></extra>"),
        coloraxis="coloraxis" if place[0] == 1 else "coloraxis2",
        hoverongaps=False,
        row=place[0],
        col=place[1],
    )


def _add_basins(plot: go.Figure, basins: list[dict[str, Any]], surface: dict[str, Any], column: int) -> None:
    """Draw the basins that are rectangles of this surface, with their names on the reference."""
    names = (surface["x"], surface["y"])
    ends = [(surface[f"{key}_edges"][0], surface[f"{key}_edges"][-1]) for key in ("x", "y")]
    for basin in basins:
        ranges = {entry["coordinate"]: (entry["start"], entry["end"]) for entry in basin["ranges"]}
        if not set(ranges) <= set(names) or len(ranges) < len(basin["ranges"]):
            continue
        sides = [
            _intervals(ranges.get(name), along, is_periodic=unit == "degree" and along == (-180.0, 180.0))
            for name, along, unit in zip(names, ends, surface["units"], strict=True)
        ]
        for number, (left, right) in enumerate(sides[0]):
            for level, (bottom, top) in enumerate(sides[1]):
                label = basin["name"] if column == 1 and number == 0 and level == len(sides[1]) - 1 else ""
                plot.add_shape(
                    type="rect",
                    x0=left,
                    x1=right,
                    y0=bottom,
                    y1=top,
                    line={"color": INK, "width": 1, "dash": "dot"},
                    label={"text": label, "textposition": "top left", "font": {"size": 12, "color": INK}},
                    row=1,
                    col=column,
                )


def _intervals(
    limits: tuple[float, float] | None, ends: tuple[float, float], *, is_periodic: bool
) -> list[tuple[float, float]]:
    """Return the parts of an axis that a range covers: two where it runs through 180 degrees."""
    if limits is None:
        return [ends]
    if not is_periodic or limits[0] < limits[1] <= ends[1]:
        return [(max(limits[0], ends[0]), min(limits[1], ends[1]))]
    return [(ends[0], (limits[1] + 180.0) % 360.0 - 180.0), (limits[0], ends[1])]


def _range_axes(plot: go.Figure, surface: dict[str, Any]) -> None:
    for key, update in (("x", plot.update_xaxes), ("y", plot.update_yaxes)):
        edges = surface[f"{key}_edges"]
        update(range=[edges[0], edges[-1]], showgrid=False)
        if (edges[0], edges[-1]) == (-180.0, 180.0):
            # no label at ±180, where panels meet
            update(tickvals=[-120, -60, 0, 60, 120])


def _axis_title(name: str, unit: str) -> str:
    symbol = {"degree": "degrees"}.get(unit, typeset_unit(unit))
    text = typeset_kind(name)
    return f"{text} [{symbol}]" if symbol else text


def _name(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def _of(title: str) -> str:
    return f" of {title}" if title else ""
