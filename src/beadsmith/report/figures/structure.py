"""Figures of structure: radial and angular distributions beside the reference, and the beads in 3D."""

from itertools import product
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.analysis.member_spread import SPREAD
from beadsmith.report.figures.style import (
    FAINT,
    GRID,
    Figure,
    add_band,
    add_curve,
    as_numbers,
    centres,
    describe_spread,
    finish_figure,
    pair_words,
    to_list,
)
from beadsmith.report.numbers import format_number, typeset_kind
from beadsmith.trajectory import Trajectory

_BEAD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MOST_KINDS = 6


def draw_radial(evaluation: dict[str, Any]) -> list[Figure]:
    """Return g(r) of every kind of pair with the difference from the reference below it."""
    systems = evaluation["systems"]
    return [
        _draw_radial_kind(kind, {name: s["rdf"][kind] for name, s in systems.items() if kind in s["rdf"]}, evaluation)
        for kind in systems["reference"]["rdf"]
    ]


def _draw_radial_kind(kind: str, curves: dict[str, dict[str, Any]], evaluation: dict[str, Any]) -> Figure:
    settings = evaluation["settings"]
    plot = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.66, 0.34], vertical_spacing=0.05)
    for name, curve in curves.items():
        x, spread = centres(curve), curve.get(SPREAD)
        add_curve(plot, name, x, curve["density"], curve["standard_error"], row=1, spread=spread)
    _add_differences(plot, curves)
    plot.add_vrect(
        x0=settings["window_start"],
        x1=settings["window_end"],
        fillcolor=GRID,
        opacity=0.5,
        line_width=0,
        layer="below",
        row=2,
        col=1,
    )
    plot.update_yaxes(title_text="g(r)", rangemode="tozero", row=1, col=1)
    plot.update_yaxes(title_text="Δg(r)", row=2, col=1)
    plot.add_hline(y=0.0, line={"color": FAINT, "width": 1}, row=2, col=1)
    reference = curves["reference"]
    first = float(centres(reference)[int(np.argmax(as_numbers(reference["density"]) > 0.0))])
    plot.update_xaxes(range=[max(0.0, first - 0.08), reference["edges"][-1]])
    plot.update_xaxes(title_text=f"distance between {pair_words(kind)} [nm]", row=2, col=1)
    caption = (
        "Above: radial distribution function. Below: its difference from the reference; the dark band around zero is "
        "the reference's own standard error, the grey window is the one that is scored. Bands: one standard error "
        f"from {reference['n_effective']:.0f} blocks of frames."
    ) + describe_spread(evaluation.get("ensemble"))
    label = f"Radial distribution function of {typeset_kind(kind)}"
    return finish_figure(plot, f"rdf-{kind}", label, caption=caption, height=540)


def _add_differences(plot: go.Figure, curves: dict[str, dict[str, Any]]) -> None:
    reference = curves["reference"]
    own, x = np.nan_to_num(as_numbers(reference["standard_error"])), centres(reference)
    add_band(plot, x, -own, own, part="reference", where={"row": 2, "col": 1})
    for name, curve in curves.items():
        if name != "reference":
            difference = as_numbers(curve["density"]) - as_numbers(reference["density"])
            error, spread = curve["standard_error"], curve.get(SPREAD)
            add_curve(plot, name, x, difference, error, row=2, showlegend=False, spread=spread)


def draw_angular(evaluation: dict[str, Any]) -> list[Figure]:
    """Return the angular distribution of the first kinds of triplets."""
    figures = []
    arm = evaluation["settings"]["arm_cutoff"]
    for kind in list(evaluation["systems"]["reference"]["adf"])[:_MOST_KINDS]:
        plot = go.Figure()
        for name, system in evaluation["systems"].items():
            if kind in system["adf"]:
                curve = system["adf"][kind]
                x, spread = centres(curve), curve.get(SPREAD)
                add_curve(plot, name, x, curve["density"], curve["standard_error"], spread=spread)
        plot.update_xaxes(title_text=f"angle {typeset_kind(kind)} [degrees]", range=[0, 180], dtick=30)
        plot.update_yaxes(title_text="density (mean 1)", rangemode="tozero")
        caption = (
            f"Angle at a bead between two neighbours that are both closer than {arm:g} nm, not divided by sin θ. It is "
            "three-body structure: pair potentials have no handle on it. Bands: one standard error from blocks."
        ) + describe_spread(evaluation.get("ensemble"))
        label = f"Angular distribution of {typeset_kind(kind)}"
        figures.append(finish_figure(plot, f"adf-{kind}", label, caption=caption, height=400))
    return figures


def draw_beads(frame: Trajectory, source: str) -> Figure:
    """Return the beads of one frame in their cell, in 3D; bonds are lines."""
    topology, positions = frame.topology, frame.positions[0].astype(np.float64)
    plot = go.Figure()
    for index, name in enumerate(topology.type_names):
        chosen = positions[topology.types == index]
        plot.add_scatter3d(
            x=to_list(chosen[:, 0]),
            y=to_list(chosen[:, 1]),
            z=to_list(chosen[:, 2]),
            mode="markers",
            name=name,
            marker={
                "size": 9,
                "color": _BEAD_COLOURS[index % len(_BEAD_COLOURS)],
                "opacity": 1.0,
                "line": {"color": "#ffffff", "width": 1},
            },
            hovertemplate=f"{name}<br>%{{x:.3f}}, %{{y:.3f}}, %{{z:.3f}} nm<extra></extra>",
        )
    bonds = [(positions[a], positions[b]) for a, b in topology.bonds.tolist()]
    _add_lines(plot, bonds, colour="#52606d", name="bonds", width=5)
    if frame.cell is not None:
        _add_lines(plot, _cell_edges(frame.cell[0].astype(np.float64)), colour=FAINT, name="cell", width=2)
    plot.update_layout(
        scene={f"{name}axis": {"visible": False} for name in "xyz"}
        | {"aspectmode": "data", "camera": {"eye": {"x": 1.5, "y": 1.15, "z": 0.7}, "center": {"z": -0.05}}},
        showlegend=len(topology.type_names) > 1 or bool(bonds),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
    )
    where = "in empty space" if frame.cell is None else f"in their periodic cell of {_describe_cell(frame.cell[0])}"
    caption = f"Last frame of the {source}: {topology.n_sites} beads {where}. Drag to turn, scroll to zoom."
    return finish_figure(plot, "beads", "The beads in 3D", caption=caption, height=560)


def _describe_cell(cell: np.ndarray) -> str:
    """Return the lengths of the cell vectors."""
    return " × ".join(format_number(float(length)) for length in np.linalg.norm(cell, axis=1)) + " nm"


def _add_lines(
    plot: go.Figure, segments: list[tuple[np.ndarray, np.ndarray]], *, colour: str, name: str, width: int
) -> None:
    """Add straight lines as one trace, with gaps between them."""
    if not segments:
        return
    gap = np.full(3, np.nan)
    points = np.array([point for start, end in segments for point in (start, end, gap)])
    plot.add_scatter3d(
        x=to_list(points[:, 0]),
        y=to_list(points[:, 1]),
        z=to_list(points[:, 2]),
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hoverinfo="skip",
    )


def _cell_edges(cell: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the twelve edges of a cell."""
    return [
        (corner @ cell, (corner + step) @ cell)
        for corner in (np.array(entry) for entry in product((0.0, 1.0), repeat=3))
        for step in np.eye(3)
        if corner @ step == 0.0
    ]
