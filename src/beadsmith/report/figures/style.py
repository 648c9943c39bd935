"""What all figures share: colours, names, curves with error bands, and their JSON form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from numpy.typing import ArrayLike
from plotly.offline import get_plotlyjs

COLOURS = {"reference": "#243b53", "network": "#0072b2", "pair_spline": "#d55e00", "prior": "#8a6d3b"}
"""One colour for one thing on the whole page; blue and vermilion are apart for colour-blind readers too."""

DASHES = {"reference": "solid", "network": "solid", "pair_spline": "dash", "prior": "dot"}
"""A second sign beside the colour, for readers and printers without colour."""

NAMES = {"reference": "atomistic reference", "network": "network", "pair_spline": "pair spline", "prior": "prior alone"}
"""What the parts are called on the page."""

INK, FAINT, GRID = "#33414d", "#9aa7b4", "#e6ebf0"

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, ready for the page."""

    name: str
    """Unique identifier on the page."""
    label: str
    """What it shows, for readers who cannot see it."""
    caption: str
    """What to look at, and what the error bars mean."""
    json: str
    """Data and layout for plotly."""
    height: int
    """Height on the page [px]."""


def plotly_library() -> str:
    """Return the JavaScript of plotly, which goes into the page once."""
    return str(get_plotlyjs())


def finish_figure(plot: go.Figure, name: str, label: str, *, caption: str, height: int) -> Figure:
    """Give a plot the style of the page and turn it into a `Figure`."""
    axis = {
        "showline": True,
        "linecolor": FAINT,
        "ticks": "outside",
        "tickcolor": FAINT,
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 13}},
    }
    plot.update_xaxes(**axis)
    plot.update_yaxes(**axis)
    margin = plot.layout.margin.to_plotly_json() or {"l": 64, "r": 18, "t": 44, "b": 48}
    plot.update_layout(
        template="none",
        margin=margin,
        font={"family": _FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0.0, "y": 1.0, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        hoverlabel={"font": {"family": _FONT}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": INK},
        height=height,
    )
    text = json.dumps(plot.to_plotly_json(), default=_plain, allow_nan=False)
    return Figure(name=_identifier(name), label=label, caption=caption, json=text, height=height)


def add_curve(
    plot: go.Figure,
    part: str,
    x: ArrayLike,
    y: ArrayLike,
    error: ArrayLike | None = None,
    *,
    title: str | None = None,
    row: int | None = None,
    col: int = 1,
    showlegend: bool = True,
    spread: ArrayLike | None = None,
) -> None:
    """Add the curve of one part of the page with a band of one standard error, and a hatched one of a spread."""
    where = {} if row is None else {"row": row, "col": col}
    centre = as_numbers(y)
    if spread is not None:
        width = np.nan_to_num(as_numbers(spread))
        _add_hatched(plot, x, centre - width, centre + width, part=part, where=where, showlegend=showlegend)
    if error is not None:
        width = np.nan_to_num(as_numbers(error))
        add_band(plot, x, centre - width, centre + width, part=part, where=where)
    plot.add_scatter(
        x=to_list(x),
        y=to_list(centre),
        name=title or NAMES[part],
        legendgroup=part,
        mode="lines",
        line={"color": COLOURS[part], "dash": DASHES[part], "width": 2},
        showlegend=showlegend,
        **where,
    )


def add_band(
    plot: go.Figure, x: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, part: str, where: dict[str, int]
) -> None:
    """Add a filled band without a legend entry."""
    known = np.isfinite(as_numbers(lower)) & np.isfinite(as_numbers(upper))
    along, low, high = (as_numbers(values)[known] for values in (x, lower, upper))
    plot.add_scatter(
        x=to_list(np.concatenate([along, along[::-1]])),
        y=to_list(np.concatenate([high, low[::-1]])),
        fill="toself",
        fillcolor=_transparent(COLOURS[part]),
        line={"width": 0},
        mode="lines",
        legendgroup=part,
        showlegend=False,
        hoverinfo="skip",
        **where,
    )


def _add_hatched(
    plot: go.Figure,
    x: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    part: str,
    where: dict[str, int],
    showlegend: bool,
) -> None:
    """Add a hatched band with its own legend entry: hatched, so that it is no standard error without colours either."""
    known = np.isfinite(as_numbers(lower))
    along, low, high = (as_numbers(values)[known] for values in (x, lower, upper))
    plot.add_scatter(
        x=to_list(np.concatenate([along, along[::-1]])),
        y=to_list(np.concatenate([high, low[::-1]])),
        fill="toself",
        fillpattern={"shape": "/", "size": 5, "solidity": 0.25, "fgcolor": COLOURS[part], "bgcolor": "rgba(0,0,0,0)"},
        line={"width": 0.7, "color": COLOURS[part], "dash": "dot"},
        mode="lines",
        name=f"spread over {NAMES[part]}s",
        legendgroup=f"{part} spread",
        legendrank=1100,
        showlegend=showlegend,
        hoverinfo="skip",
        **where,
    )


def describe_spread(ensemble: dict[str, Any] | None) -> str:
    """Return what the hatched bands of a figure are, for its caption; nothing without an ensemble."""
    if ensemble is None:
        return ""
    differ = "their seed" if ensemble["kind"] == "seeds" else "their seed and the frames that they were not shown"
    return (
        f" Hatched: one standard deviation over {ensemble['n_members']} networks that differ in {differ}, each with a "
        "simulation of its own. It contains their standard errors; only what is wider is disagreement."
    )


def to_list(values: ArrayLike) -> list[float | None]:
    """Return numbers with six significant digits, which is more than any screen shows; None where there is none."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in as_numbers(values).tolist()]


def as_numbers(values: ArrayLike | Sequence[float | None]) -> Float[np.ndarray, "..."]:
    """Return an array of floats; null becomes NaN."""
    return np.array(values, dtype=np.float64)


def centres(curve: dict[str, Any]) -> Float[np.ndarray, "bins"]:
    """Return the middle of each bin of a distribution in JSON form."""
    edges = as_numbers(curve["edges"])
    return 0.5 * (edges[1:] + edges[:-1])


def pair_words(kind: str) -> str:
    """Return ``"a and b"`` for ``"a-b"``, and ``"a beads"`` for ``"a-a"``."""
    half = len(kind) // 2
    if kind[:half] == kind[half + 1 :]:
        return f"{kind[:half]} beads"
    return kind.replace("-", " and ", 1)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value)} is no JSON")


def _identifier(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in name)


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
