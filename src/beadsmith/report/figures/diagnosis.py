"""Figures of a diagnosis: bonded and other distances, distributions beside their reflections, bead graphs, noise."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    Figure,
    as_numbers,
    centres,
    finish_figure,
    to_list,
)
from beadsmith.report.numbers import format_number, typeset_kind

_MOST_PAIRS = 6
_MOST_BEADS = 60
_N_COLUMNS = 3
_ROW_HEIGHT = 250
_TITLE_ROOM = 75
_OTHERS = {"1-3": ("#009e73", "dash"), "same molecule": ("#cc79a7", "dashdot"), "other molecule": ("#d55e00", "dot")}
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#243b53", "#f0e442")


def draw_distances(bonds: dict[str, Any]) -> Figure | None:
    """Return the distances of bonded beads and of the nearest ones without a bond, for the pairs that overlap most."""
    kinds = [entry for entry in bonds["kinds"] if "density" in entry][:_MOST_PAIRS]
    if not kinds:
        return None
    columns = min(_N_COLUMNS, len(kinds))
    n_rows = -(-len(kinds) // columns)
    plot = make_subplots(
        rows=n_rows,
        cols=columns,
        horizontal_spacing=0.07,
        vertical_spacing=_TITLE_ROOM / (_ROW_HEIGHT * n_rows),
    )
    seen: set[str] = set()
    for place, entry in enumerate(kinds):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        middle = centres(entry)
        curves = {"bonded": (entry["density"], COLOURS["reference"], "solid")}
        curves |= {other["separation"]: (other["density"], *_OTHERS[other["separation"]]) for other in entry["others"]}
        for name, (density, colour, dash) in curves.items():
            plot.add_scatter(
                x=to_list(middle),
                y=to_list(density),
                name=name if name == "bonded" else f"nearest, {name}",
                legendgroup=name,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2},
                showlegend=name not in seen,
                **where,
            )
            seen.add(name)
        plot.update_xaxes(title_text=f"{typeset_kind(entry['kind'])} [nm]", nticks=5, **where)
        plot.update_yaxes(rangemode="tozero", nticks=4, **where)
    plot.update_yaxes(title_text="density [1/nm]", col=1)
    caption = (
        "Distances of bonded beads of two types, and of the nearest bead without a bond: two bonds away, further along "
        "the molecule, in another one. Where the first curve lies under the others, distances do not tell a partner "
        "from a stranger."
    )
    height = 100 + _ROW_HEIGHT * n_rows
    return finish_figure(plot, "map-distances", "Bonded and other distances", caption=caption, height=height)


def draw_reflection(asymmetry: dict[str, Any], title: str) -> Figure:
    """Return a distribution beside its mirror image.

    Parameters
    ----------
    asymmetry : One entry of a molecule's asymmetries: two coordinates, or one.
    title : Name of the molecule, or empty where there is one kind.
    """
    label = ", ".join(asymmetry["names"])
    draw = _draw_surfaces if len(asymmetry["names"]) == 2 else _draw_curves
    plot = draw(asymmetry)
    chance = asymmetry["expected_by_chance"]
    beside = "" if chance is None else f"; chance alone would make {format_number(chance, 2)}"
    caption = (
        f"Divergence of the distribution and its reflection: {format_number(asymmetry['divergence']['value'])} nat "
        f"(0: no hand; 0.69: the two never meet{beside}). A force field that cannot tell them apart learns the "
        "mean of both."
    )
    heading = f"{label} and its reflection" + (f", {title}" if title else "")
    return finish_figure(plot, f"map-reflection-{title}-{label}", heading, caption=caption, height=420)


def _draw_surfaces(asymmetry: dict[str, Any]) -> go.Figure:
    probability = as_numbers(asymmetry["probability"])
    middle = to_list(centres(asymmetry))
    plot = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=["reference", "reflected"]
    )
    for column, values in enumerate((probability, probability[::-1, ::-1]), start=1):
        visited = values > 0.0
        energy = np.where(visited, -np.log(np.where(visited, values / probability.max(), 1.0)), np.nan)
        plot.add_heatmap(
            x=middle,
            y=middle,
            z=[to_list(row) for row in energy.T],
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="%{x:.0f}, %{y:.0f}<br>%{z:.2f} kT<extra></extra>",
            row=1,
            col=column,
        )
        plot.update_xaxes(title_text=f"{asymmetry['names'][0]} [degrees]", tickvals=[-120, -60, 0, 60, 120], col=column)
    plot.update_yaxes(title_text=f"{asymmetry['names'][1]} [degrees]", tickvals=[-120, -60, 0, 60, 120], col=1)
    plot.update_layout(
        coloraxis={
            "colorscale": "Viridis",
            "cmin": 0.0,
            "cmax": 7.0,
            "colorbar": {"thickness": 12, "outlinewidth": 0, "title": "F [kT]"},
        },
        margin={"l": 64, "r": 84, "t": 36, "b": 56},
    )
    return plot


def _draw_curves(asymmetry: dict[str, Any]) -> go.Figure:
    plot = go.Figure()
    widths = np.diff(as_numbers(asymmetry["edges"]))
    density = as_numbers(asymmetry["probability"]) / widths
    for name, values, dash in (("reference", density, "solid"), ("reflected", density[::-1], "dash")):
        plot.add_scatter(
            x=to_list(centres(asymmetry)),
            y=to_list(values),
            name=name,
            mode="lines",
            line={"color": COLOURS["reference"] if name == "reference" else "#d55e00", "dash": dash, "width": 2},
        )
    unit = "degrees" if asymmetry["unit"] == "degree" else asymmetry["unit"]
    plot.update_xaxes(title_text=f"{asymmetry['names'][0]} [{unit}]")
    plot.update_yaxes(title_text="density", rangemode="tozero")
    return plot


def draw_graph(molecule: dict[str, Any], title: str) -> Figure:
    """Return the beads and bonds of a molecule as they lie in one frame; beads of one type have one colour."""
    places = as_numbers(molecule["layout"]["values"])
    plot = go.Figure()
    ends = [[*places[[first, second]].tolist(), [np.nan, np.nan]] for first, second in molecule["bonds"]]
    lines = np.array(ends).reshape(-1, 2)
    plot.add_scatter(
        x=to_list(lines[:, 0]),
        y=to_list(lines[:, 1]),
        mode="lines",
        line={"color": FAINT, "width": 3},
        hoverinfo="skip",
        showlegend=False,
    )
    needed = (molecule["labels"] or {}).get("needed", [0] * len(places))
    for number, name in enumerate(dict.fromkeys(molecule["types"])):
        chosen = [bead for bead, kind in enumerate(molecule["types"]) if kind == name]
        is_labelled = len(places) <= _MOST_BEADS
        plot.add_scatter(
            x=to_list(places[chosen, 0]),
            y=to_list(places[chosen, 1]),
            name=name,
            mode="markers+text" if is_labelled else "markers",
            text=[molecule["beads"][bead].split(":")[-1] for bead in chosen],
            textposition="middle right",
            customdata=[[molecule["beads"][bead], needed[bead] + 1] for bead in chosen],
            hovertemplate="%{customdata[0]}<br>needs label %{customdata[1]}<extra>" + name + "</extra>",
            marker={
                "size": 18 if is_labelled else 8,
                "color": _PALETTE[number % len(_PALETTE)],
                "line": {"color": INK, "width": 1},
                "symbol": "circle" if number < len(_PALETTE) else "square",
            },
        )
    plot.update_xaxes(visible=False)
    plot.update_yaxes(visible=False, scaleanchor="x")
    caption = (
        "Beads and bonds in the plane in which the first frame is widest. Beads of one colour are of one type: what "
        "they do in one place, they do in all. Hover for the label that colour refinement of the atoms gives a bead."
    )
    heading = "Beads, bonds and types" + (f" of {title}" if title else "")
    return finish_figure(plot, f"map-graph-{title}", heading, caption=caption, height=380)


def draw_noise(molecule: dict[str, Any], title: str) -> Figure:
    """Return the size of the force on each bead and the part of it that may be noise."""
    names = [":".join(bead.split(":")[::2]) for bead in molecule["beads"]]
    plot = go.Figure()
    for key, name, colour in (("rms", "all of it", FAINT), ("noise_upper_bound", "noise, at most", "#d55e00")):
        entries = [noise[key] for noise in molecule["noise"]]
        errors = to_list([entry.get("standard_error") or 0.0 for entry in entries])
        plot.add_bar(
            x=names,
            y=to_list([entry["value"] for entry in entries]),
            name=name,
            marker={"color": colour},
            error_y={"array": errors, "thickness": 1.5, "width": 4, "color": INK} if key != "rms" else None,
        )
    plot.update_layout(barmode="overlay", bargap=0.35)
    plot.update_yaxes(title_text="force [kJ/mol/nm]", rangemode="tozero")
    caption = (
        "Root mean square of a component of the force on each bead, and what the best linear function of the distances "
        "to the nearest beads along the molecule leaves of it on frames that it was not fitted to: an upper bound of "
        "the noise. Error bars: one standard error from ten blocks."
    )
    heading = "Noise of the bead forces" + (f" of {title}" if title else "")
    return finish_figure(plot, f"map-noise-{title}", heading, caption=caption, height=380)
