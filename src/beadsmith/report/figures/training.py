"""Figures of what was learned: training curve, noise floor, and forces between pairs of beads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beadsmith.analysis.member_spread import compute_spread
from beadsmith.report.curves import PairCurve
from beadsmith.report.figures.style import (
    COLOURS,
    DASHES,
    FAINT,
    GRID,
    Figure,
    add_band,
    add_curve,
    as_numbers,
    finish_figure,
    pair_words,
    to_list,
)
from beadsmith.report.numbers import typeset_kind


def draw_training(log: dict[str, list[float]], training: dict[str, Any]) -> Figure | None:
    """Return the loss on training and validation frames by epoch."""
    if not log.get("epoch"):
        return None
    plot = go.Figure()
    # with several kinds of labels the loss of training frames is that of all of them
    has_kinds = "validation_forces" in log
    validation = "validation_forces" if has_kinds else "validation_loss"
    for key, name, dash in (("train_loss", "training", "dot"), (validation, "validation", "solid")):
        if key in log and not (has_kinds and key == "train_loss"):
            plot.add_scatter(
                x=log["epoch"],
                y=to_list(log[key]),
                name=f"network, {name} frames",
                mode="lines+markers",
                marker={"size": 5},
                line={"color": COLOURS["network"], "dash": dash, "width": 2},
            )
    spline = training.get("losses", {}).get("pair_spline", {}).get("validation")
    if spline:
        ends = [min(log["epoch"]), max(log["epoch"])]
        plot.add_scatter(
            x=ends,
            y=[spline["value"]] * 2,
            name="pair spline, validation frames",
            mode="lines",
            line={"color": COLOURS["pair_spline"], "dash": DASHES["pair_spline"], "width": 2},
        )
    plot.update_xaxes(title_text="epoch (pass over the training frames)", dtick=max(1, round(max(log["epoch"]) / 8)))
    plot.update_yaxes(title_text="force loss [(kJ/mol/nm)²]")
    caption = (
        "Mean squared force error per component during training. Training and validation frames carry different "
        "noise, so the curves need not meet; a gap that widens is overfitting. Most of the loss is noise that no model "
        "can fit."
    )
    return finish_figure(plot, "training", "Training curve", caption=caption, height=400)


def draw_noise_floor(training: dict[str, Any]) -> Figure | None:
    """Return the losses against 1/n with their extrapolation to infinitely many frames."""
    floor = training.get("noise_floor")
    if not floor:
        return None
    plot = go.Figure()
    inverse = 1.0 / as_numbers([point["n_frames"] for point in floor["points"]])
    line = np.array([0.0, inverse.max()])
    for key, bound, name, symbol in (
        ("held_out", "upper_bound", "held-out frames", "circle"),
        ("train", "lower_bound", "training frames", "circle-open"),
    ):
        limit, points = floor[bound], [point[key] for point in floor["points"]]
        plot.add_scatter(
            x=to_list(1000.0 * inverse),
            y=to_list([point["value"] for point in points]),
            error_y={"array": to_list([point["error"] for point in points]), "thickness": 1.5, "width": 4},
            mode="markers",
            marker={"color": COLOURS["network"], "size": 9, "symbol": symbol},
            name=f"network, {name}",
        )
        plot.add_scatter(
            x=to_list(1000.0 * line),
            y=to_list(limit["value"] + limit["slope"] * line),
            mode="lines",
            line={"color": COLOURS["network"], "dash": "solid" if key == "held_out" else "dot", "width": 1.5},
            showlegend=False,
            hoverinfo="skip",
        )
    pooled = floor["estimate"]
    plot.add_hrect(
        y0=pooled["value"] - pooled["error"],
        y1=pooled["value"] + pooled["error"],
        fillcolor=GRID,
        opacity=0.6,
        line_width=0,
        layer="below",
    )
    plot.update_xaxes(title_text="1000 / number of training frames", rangemode="tozero")
    plot.update_yaxes(title_text="loss / zero-force loss")
    caption = (
        "Loss against the inverse number of training frames, extrapolated along a + b/n to infinitely many (left "
        "edge). The two limits estimate one number, the floor of this network at this training budget, so they may "
        "cross by chance; the grey band is their pooled value with its standard error. Fits on fewer "
        "frames go on from the main one. Error bars: one standard error from blocks."
    )
    return finish_figure(plot, "noise-floor", "Bracket of the noise floor", caption=caption, height=400)


def draw_pair_curves(
    kind: str,
    curves: dict[str, PairCurve],
    *,
    fitted: dict[str, Any] | None,
    closest: float | None,
    others: Sequence[PairCurve] = (),
    ensemble: dict[str, Any] | None = None,
) -> Figure:
    """Return force and potential of two beads alone, beside the pair mean force that was fitted in the liquid.

    Parameters
    ----------
    kind : Label of the type pair.
    curves : Curves by part (``prior``, ``pair_spline``, ``network``).
    fitted : The pair mean force of the prior's fit, or None.
    closest : Smallest reference distance [nm], or None.
    others : Curves of the other networks of an ensemble.
    ensemble : What the evaluation says about it, or None.
    """
    plot = make_subplots(rows=1, cols=2, horizontal_spacing=0.11)
    fitted_force = [] if fitted is None else [as_numbers(fitted["mean_force"])]
    if fitted is not None:
        force, error = as_numbers(fitted["mean_force"]), as_numbers(fitted["mean_force_error"])
        add_band(plot, fitted["r"], force - error, force + error, part="reference", where={"row": 1, "col": 1})
        plot.add_scatter(
            x=fitted["r"],
            y=to_list(force),
            name="pair mean force",
            line={"color": COLOURS["reference"], "width": 1.5},
            row=1,
            col=1,
        )
    for name, curve in curves.items():
        for column, key in ((1, "force"), (2, "energy")):
            values = getattr(curve, key)
            has_spread = name == "network" and len(others) > 0
            spread = compute_spread([values, *(getattr(other, key) for other in others)]) if has_spread else None
            add_curve(plot, name, curve.distances, values, row=1, col=column, showlegend=column == 1, spread=spread)
    for column, title, drawn in (
        (1, "force [kJ/mol/nm]", [curve.force for curve in curves.values()] + fitted_force),
        (2, "potential [kJ/mol]", [curve.energy for curve in curves.values()]),
    ):
        if closest is not None:
            plot.add_vline(x=closest, line={"color": FAINT, "dash": "dot", "width": 1.5}, row=1, col=column)
        plot.update_xaxes(title_text=f"distance of {pair_words(kind)} [nm]", row=1, col=column)
        plot.update_yaxes(title_text=title, range=_calm_range(drawn), row=1, col=column)
    caption = (
        "Two beads alone in space; positive forces repel. For the network this is far from its training data, where "
        "every bead has many neighbours: read the wall and the shape, not the depth. The dotted vertical line is the "
        "smallest distance in the reference; below it the force must keep rising. Dark: the pair mean "
        "force fitted in the liquid, with a band of one standard error."
    )
    if others and ensemble is not None:
        caption += (
            f" Hatched: one standard deviation over {ensemble['n_members']} networks; there is no simulation in it, so "
            "all of it is disagreement."
        )
    return finish_figure(
        plot, f"pair-{kind}", f"Pair force and potential of {typeset_kind(kind)}", caption=caption, height=420
    )


def _calm_range(values: list[np.ndarray]) -> list[float]:
    """Return a range that shows wells in full and lets the walls leave the figure."""
    lowest = min(float(np.nanmin(value)) for value in values)
    depth = max(-lowest, 1.0)
    highest = max(float(np.nanmax(value)) for value in values)
    return [-1.3 * depth, min(1.05 * highest, 4.0 * depth)] if highest > 0.0 else [-1.3 * depth, 0.3 * depth]
