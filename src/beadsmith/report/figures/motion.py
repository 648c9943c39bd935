"""Figures in time: temperature and energy of every run, and how far beads travel."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.analysis.member_spread import SPREAD
from beadsmith.report.figures.style import (
    COLOURS,
    GRID,
    INK,
    NAMES,
    Figure,
    add_curve,
    as_numbers,
    describe_spread,
    finish_figure,
    to_list,
)

_TITLES = {"kinetic_temperature": "temperature [K]", "energy": "energy − mean [kJ/mol]"}


def draw_series(evaluation: dict[str, Any]) -> Figure | None:
    """Return kinetic temperature and potential energy per molecule in time, one line a replica."""
    systems = evaluation["systems"]
    keys = [key for key in _TITLES if any(key in system["series"] for system in systems.values())]
    if not keys:
        return None
    plot = make_subplots(rows=len(keys), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    named: set[str] = set()
    for row, key in enumerate(keys, start=1):
        for rank, (name, system) in enumerate(systems.items()):
            if key in system["series"]:
                _add_series(plot, name, system, key, row=row, rank=None if name in named else rank)
                named.add(name)
        plot.update_yaxes(title_text=_TITLES[key], row=row, col=1)
    if keys[0] == "kinetic_temperature":
        target = systems["reference"]["temperature_set"]["value"]
        plot.add_hline(y=target, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=1)
    plot.update_xaxes(rangemode="tozero")
    plot.update_xaxes(title_text="time in its own run [ps]", row=len(keys), col=1)
    caption = (
        "Kinetic temperature (dotted: its target) and potential energy per molecule about its own mean; every point "
        "averages neighbouring frames, every line is one run or replica. A drift means that a run was not equilibrated."
    )
    height = 100 + 180 * len(keys)
    return finish_figure(plot, "series", "Temperature and energy in time", caption=caption, height=height)


def _add_series(plot: go.Figure, name: str, system: dict[str, Any], key: str, *, row: int, rank: int | None) -> None:
    """Add one system's series, with a gap between its segments; `rank` is its place in the legend."""
    series = system["series"]
    times, segment, values = (as_numbers(series[field]) for field in ("time", "segment", key))
    if key == "energy":
        values = (values - values.mean()) / system["n_molecules"]
    breaks = np.flatnonzero(np.diff(segment)) + 1
    plot.add_scatter(
        x=to_list(np.insert(times, breaks, np.nan)),
        y=to_list(np.insert(values, breaks, np.nan)),
        name=NAMES[name],
        legendgroup=name,
        mode="lines",
        opacity=0.85,
        line={"color": COLOURS[name], "width": 1.2},
        showlegend=rank is not None,
        legendrank=1 + (rank or 0),
        row=row,
        col=1,
    )


def draw_displacement(evaluation: dict[str, Any]) -> Figure | None:
    """Return the mean-square displacement of every bead type."""
    plot = go.Figure()
    windows = []
    for name, system in evaluation["systems"].items():
        records = system["displacement"]
        for kind, record in records.items():
            add_curve(
                plot,
                name,
                record["lag"],
                record["mean_square"],
                record["standard_error"],
                title=f"{NAMES[name]}, {kind}" if len(records) > 1 else None,
                spread=record.get(SPREAD),
            )
            windows.append(record["fit_window"])
    if not windows:
        return None
    start, end = min(window[0] for window in windows), max(window[1] for window in windows)
    plot.add_vrect(x0=start, x1=end, fillcolor=GRID, opacity=0.5, line_width=0, layer="below")
    plot.update_xaxes(title_text="time difference [ps]", rangemode="tozero")
    plot.update_yaxes(title_text="mean-square displacement [nm²]", rangemode="tozero")
    caption = (
        "How far beads travel. A sixth of the slope over the grey window is the diffusion coefficient. Bands: one "
        "standard error from blocks of frames."
    ) + describe_spread(evaluation.get("ensemble"))
    return finish_figure(plot, "displacement", "Mean-square displacement", caption=caption, height=460)
