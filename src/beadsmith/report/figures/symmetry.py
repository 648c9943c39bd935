"""Figures of what molecules keep: switched bonds in time, partners and nearest neighbours, barriers of inversion."""

from typing import Any

import plotly.graph_objects as go

from beadsmith.report.figures.style import (
    COLOURS,
    DASHES,
    NAMES,
    Figure,
    add_curve,
    centres,
    finish_figure,
    to_list,
)


def draw_switches(bonds: dict[str, dict[str, Any]]) -> Figure:
    """Return the share of switched bonds and of changed nearest neighbours in time.

    Parameters
    ----------
    bonds : What became of the bonds of each run, by its name.
    """
    plot = go.Figure()
    for name, entry in bonds.items():
        curve = entry["curve"]
        for key, width in (("switched", 2.5), ("changed", 1.2)):
            plot.add_scatter(
                x=to_list(curve["time"]),
                y=to_list([100.0 * value for value in curve[key]]),
                name=NAMES[name],
                legendgroup=name,
                showlegend=key == "switched",
                mode="lines",
                line={
                    "color": COLOURS[name],
                    "width": width,
                    "dash": DASHES[name] if key == "switched" else "dot",
                    "shape": "hv",
                },
            )
    plot.update_xaxes(title_text="time since the first frame [ps]", rangemode="tozero")
    plot.update_yaxes(title_text="share so far [%]", rangemode="tozero")
    caption = (
        "Share of the bonds that were ever switched: the length at least 6 standard deviations off while a stranger of "
        "the partner's type was within that range. It should stay at 0. Dotted: share of the sites whose nearest "
        "neighbour was ever another than their partners; where contacts are as short as bonds, the reference rises "
        "too. All replicas together."
    )
    return finish_figure(plot, "switched-bonds", "Bonds that switched partners", caption=caption, height=420)


def draw_neighbours(bonds: dict[str, dict[str, Any]]) -> Figure:
    """Return the distributions of bond lengths and of nearest-neighbour distances."""
    plot = go.Figure()
    for name, entry in bonds.items():
        distances = entry["distances"]
        add_curve(plot, name, centres(distances), distances["bonded"])
        plot.add_scatter(
            x=to_list(centres(distances)),
            y=to_list(distances["nearest"]),
            name=NAMES[name],
            legendgroup=name,
            showlegend=False,
            mode="lines",
            line={"color": COLOURS[name], "width": 1.2, "dash": "dot"},
        )
    plot.update_xaxes(title_text="distance [nm]", rangemode="tozero")
    plot.update_yaxes(title_text="density [1/nm]", rangemode="tozero")
    caption = (
        "Lengths of the bonds, and distances of the nearest neighbours whoever they are (dotted). Where partners are "
        "the nearest neighbours, nothing but bonds is seen; nearest neighbours that are closer than bonds are "
        "strangers, and long bonds without a counterpart are bonds that switched."
    )
    return finish_figure(plot, "nearest-neighbours", "Bonds and nearest neighbours", caption=caption, height=420)


def draw_barrier(entry: dict[str, Any], centre: str) -> Figure:
    """Return the free energy along the signed improper of a stereocentre."""
    profile = entry["profile"]
    plot = go.Figure()
    lowest = min(profile["free_energy"])
    add_curve(
        plot,
        "network",
        profile["improper"],
        [value - lowest for value in profile["free_energy"]],
        profile["standard_error"],
    )
    plot.update_xaxes(title_text=f"improper of {centre} [degrees]", range=[-180, 180], dtick=60)
    plot.update_yaxes(title_text="free energy [kJ/mol]", rangemode="tozero")
    caption = (
        "Well-tempered metadynamics along the signed improper; both hands are wells, and the way between them goes "
        "through 0 or 180 degrees. Flat parts were never visited. Band: one standard error from independent runs."
    )
    return finish_figure(plot, f"barrier-{centre}", f"Inversion of {centre}", caption=caption, height=400)
