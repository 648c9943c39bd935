"""Figures of a study: distributions of many runs over the reference, and matrices of errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.report.figures.style import COLOURS, INK, Figure, as_numbers, centres, finish_figure, to_list
from beadsmith.report.numbers import typeset_kind, typeset_unit

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#7f4fc9", "#5c6b78", "#b2182b")
"""Colours of runs, apart for colour-blind readers as far as ten can be."""

_N_COLUMNS = 2
_ROW_HEIGHT, _HEAD = 250, 90
_SIGMAS = 3.0
_AXES = {"rdf": "g(r)", "adf": "density (mean 1)"}
_UNITS = {"degree": "degrees", "1": "", "nm^3": "nm³"}


def draw_distributions(name: str, title: str, runs: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """Return all curves of a few runs over the reference: mean and three standard deviations over replicas.

    Parameters
    ----------
    name : Identifier on the page.
    title : What the runs have in common.
    runs : Curves by label, by name of the run; all runs have the same labels.
    """
    labels = list(dict.fromkeys(label for curves in runs.values() for label in curves))
    n_rows = -(-len(labels) // _N_COLUMNS)
    plot = make_subplots(
        rows=n_rows,
        cols=min(_N_COLUMNS, len(labels)),
        vertical_spacing=min(0.14, 0.34 / n_rows),
        horizontal_spacing=0.09,
    )
    for number, label in enumerate(labels):
        where = {"row": number // _N_COLUMNS + 1, "col": number % _N_COLUMNS + 1}
        first = next(curves[label] for curves in runs.values() if label in curves)
        _add_reference(plot, first, where, is_first=number == 0)
        for index, (run, curves) in enumerate(runs.items()):
            if label in curves:
                _add_run(plot, run, PALETTE[index % len(PALETTE)], curves[label], where, is_first=number == 0)
        plot.update_xaxes(title_text=f"{typeset_kind(label)} [{_UNITS.get(first['unit'], first['unit'])}]", **where)
        if first["group"] == "rdf":
            seen = as_numbers(first["reference"]) > 0.0
            start = float(centres(first)[int(np.argmax(seen))])
            plot.update_xaxes(range=[max(0.0, start - 0.08), first["edges"][-1]], **where)
        plot.update_yaxes(rangemode="tozero", title_text=_AXES.get(first["group"], "density"), **where)
    plot.update_layout(margin={"l": 64, "r": 18, "t": _HEAD, "b": 48})
    n_replicas = sorted({curve["n_replicas"] for curves in runs.values() for curve in curves.values()})
    counts = f"{n_replicas[0]}" if len(n_replicas) == 1 else f"{n_replicas[0]} to {n_replicas[-1]}"
    caption = (
        f"Lines: mean over replicas ({counts} a run), each as long as it is stable. Bands: three standard deviations "
        "of single replicas about it. Black: the mapped reference with three standard errors from its blocks. Click on "
        "an entry of the legend to hide it."
    )
    label = f"Distributions of {title} and the reference"
    return finish_figure(plot, name, label, caption=caption, height=_HEAD + 20 + _ROW_HEIGHT * n_rows)


def draw_stability(runs: dict[str, dict[str, Any]]) -> Figure | None:
    """Return the stable time of every replica of every run; None where nothing was measured."""
    shown = {name: entry for name, entry in runs.items() if entry}
    if not shown:
        return None
    plot = go.Figure()
    for index, (name, entry) in enumerate(shown.items()):
        plot.add_box(
            y=to_list(entry["stable_time"]["values"]),
            name=name,
            boxpoints="all",
            jitter=0.5,
            pointpos=0.0,
            fillcolor="rgba(0,0,0,0)",
            line={"width": 1},
            marker={"color": PALETTE[index % len(PALETTE)], "size": 5},
            showlegend=False,
        )
    plot.update_yaxes(title_text="stable time [ps]", rangemode="tozero")
    # tilted names of many runs take the room they need (automargin)
    plot.update_layout(margin={"l": 64, "r": 18, "t": 24, "b": 36})
    caption = (
        "Each point is a replica: the time until it stopped, got too hot, or a bond left its range; the whole length "
        "of the simulation where it did none of these."
    )
    return finish_figure(plot, "stability", "Stable time of every replica", caption=caption, height=440)


def draw_matrix(
    name: str,
    title: str,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    values: list[list[float | None]],
    texts: list[list[str]],
    details: list[list[str]],
    unit: str,
    largest: float | None,
    caption: str,
) -> Figure:
    """Return a heat map of one error: training sets below each other, test states side by side.

    Parameters
    ----------
    name : Identifier on the page.
    title : What is shown.
    rows, columns : Names of the training sets and of the test states; the last row is the reference itself.
    values : Number behind the colour of each cell, None for a cell without one.
    texts : What stands in each cell.
    details : What is shown above a cell under the pointer.
    unit : Unit of the numbers.
    largest : Number at the upper end of the colours, so that several matrices can be compared.
    caption : What to look at.
    """
    plot = go.Figure()
    plot.add_heatmap(
        x=list(columns),
        y=list(rows),
        z=[to_list(as_numbers(row)) for row in values],
        text=texts,
        texttemplate="%{text}",
        customdata=details,
        hovertemplate="trained on %{y}, simulated at %{x}<br>%{customdata}<extra></extra>",
        colorscale=[[0.0, "#f3f7fb"], [0.35, "#92c5de"], [0.7, "#f4a582"], [1.0, "#b2182b"]],
        zmin=0.0,
        zmax=largest or 1.0,
        xgap=2,
        ygap=2,
        colorbar={"thickness": 12, "outlinewidth": 0, "title": typeset_unit(unit)},
    )
    plot.update_xaxes(title_text="simulated at", type="category", side="bottom")
    plot.update_yaxes(title_text="trained on", type="category", autorange="reversed")
    plot.update_layout(margin={"l": 120, "r": 20, "t": 20, "b": 90})
    return finish_figure(plot, name, title, caption=caption, height=150 + 44 * len(rows))


def _add_reference(plot: go.Figure, curve: dict[str, Any], where: dict[str, int], *, is_first: bool) -> None:
    x, density = centres(curve), as_numbers(curve["reference"])
    width = _SIGMAS * as_numbers(curve["reference_error"])
    _add_spread(plot, x, density, width, colour=COLOURS["reference"], group="reference", where=where)
    plot.add_scatter(
        x=to_list(x),
        y=to_list(density),
        name="mapped reference",
        legendgroup="reference",
        mode="lines",
        line={"color": INK, "width": 2},
        showlegend=is_first,
        **where,
    )


def _add_run(
    plot: go.Figure, name: str, colour: str, curve: dict[str, Any], where: dict[str, int], *, is_first: bool
) -> None:
    if curve["mean"] is None:
        return
    x, mean = centres(curve), as_numbers(curve["mean"])
    if curve["deviation"] is not None:
        width = _SIGMAS * as_numbers(curve["deviation"])
        _add_spread(plot, x, mean, width, colour=colour, group=name, where=where)
    plot.add_scatter(
        x=to_list(x),
        y=to_list(mean),
        name=name,
        legendgroup=name,
        mode="lines",
        line={"color": colour, "width": 1.6},
        showlegend=is_first,
        **where,
    )


def _add_spread(
    plot: go.Figure, x: Any, centre: Any, width: Any, *, colour: str, group: str, where: dict[str, int]
) -> None:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    for edge, fill in ((centre - width, None), (centre + width, "tonexty")):
        plot.add_scatter(
            x=to_list(x),
            y=to_list(edge),
            fill=fill,
            fillcolor=f"rgba({red},{green},{blue},0.16)",
            line={"width": 0},
            mode="lines",
            legendgroup=group,
            showlegend=False,
            hoverinfo="skip",
            **where,
        )
