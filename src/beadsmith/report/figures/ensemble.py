"""The figure of an ensemble: how far its networks' forces lie apart along a simulation."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from beadsmith.report.figures.style import COLOURS, INK, Figure, as_numbers, finish_figure, to_list


def draw_force_spread(ensemble: dict[str, Any]) -> Figure:
    """Return the force spread of every judged frame in time, with the threshold of the training frames."""
    flagged = ensemble["flagged"]["simulation"]
    threshold = None if flagged is None else flagged["threshold"]
    series = ensemble["series"]
    times, segment, spread = (as_numbers(series[key]) for key in ("time", "segment", "spread"))
    breaks = np.flatnonzero(np.diff(segment)) + 1
    plot = go.Figure()
    plot.add_scatter(
        x=to_list(np.insert(times, breaks, np.nan)),
        y=to_list(np.insert(spread, breaks, np.nan)),
        mode="lines+markers",
        marker={"size": 3},
        line={"color": COLOURS["network"], "width": 1},
        name="simulated frames",
    )
    if threshold is not None:
        plot.add_hline(y=threshold, line={"color": INK, "width": 1.5, "dash": "dot"})
    plot.update_xaxes(title_text="time in its own run [ps]", rangemode="tozero")
    plot.update_yaxes(title_text="largest spread of a bead / typical", rangemode="tozero")
    dotted = f" Dotted: exceeded by {100 - ensemble['force_spread']['percentile']} % of the training frames."
    caption = (
        "Standard deviation of the forces of all networks on the bead where it is largest, over what is typical of its "
        f"type on training frames; every line is one run or replica.{dotted if threshold is not None else ''}"
    )
    return finish_figure(plot, "force-spread", "Force spread in time", caption=caption, height=340)
