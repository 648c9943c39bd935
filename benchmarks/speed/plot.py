"""One picture of the tables: how many times faster than each peer, and the cost against the number of beads."""

import math
from pathlib import Path

from benchmarks.speed.compare import Row
from benchmarks.speed.scaling import SEARCH, ScalingRow

TARGETS = {
    "training step": {"target, 4 times": 4.0},
    "energy and forces": {"target, 8 times": 8.0, "target for 10 beads x 100, 10 times": 10.0},
}
"""Ratios that were aimed at."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind readers (Wong, Nature Methods 8, 441, 2011, doi 10.1038/nmeth.1618)."""
MARKERS = "os^Dv*"


def draw(rows: list[Row], scaling: list[ScalingRow], path: Path) -> None:
    """Write the picture; the number of threads is the largest in the table."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    n_threads = max(row.threads for row in rows)
    rows = [row for row in rows if row.threads == n_threads]
    tasks = [task for task in TARGETS if any(row.task == task for row in rows)]
    n_labels = len(_labels(rows))
    n_panels = len(tasks) + bool(scaling)
    size = (3.2 + 4.6 * n_panels, 1.8 + 0.42 * max(n_labels, 9))
    figure, axes = pyplot.subplots(1, n_panels, figsize=size, squeeze=False, layout="constrained")
    for k, task in enumerate(tasks):
        _draw_ratios(axes[0, k], rows, task, with_labels=k == 0)
    if scaling:
        _draw_scaling(
            axes[0, -1], [point for point in scaling if point.threads == n_threads or point.network == SEARCH]
        )
    figure.suptitle(f"beadsmith beside its peers, {n_threads} thread{'s' if n_threads > 1 else ''}, float32 on a CPU")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _labels(rows: list[Row]) -> list[str]:
    """Return network and library of each line, in order; a library's kernels share a line."""
    return list(dict.fromkeys(_label(row) for row in rows))


def _label(row: Row) -> str:
    library = "hippynn" if row.peer.startswith("hippynn") else row.peer
    return f"{row.network}\nvs {library}"


def _draw_ratios(axes, rows: list[Row], task: str, *, with_labels: bool) -> None:  # type: ignore[no-untyped-def]
    """Draw the ratio of medians of each case, with the range that the quartiles of both sides allow."""
    labels = _labels(rows)
    rows = [row for row in rows if row.task == task]
    cases = list(dict.fromkeys(row.case for row in rows))
    for k, case in enumerate(cases):
        own = [row for row in rows if row.case == case]
        heights = [-labels.index(_label(row)) + 0.12 * (0.5 * (len(cases) - 1) - k) for row in own]
        ratios = [row.ratio for row in own]
        low = [row.ratio - row.peer_q1 / row.ours_q3 for row in own]
        high = [row.peer_q3 / row.ours_q1 - row.ratio for row in own]
        axes.errorbar(
            ratios,
            heights,
            xerr=[[max(v, 0.0) for v in low], [max(v, 0.0) for v in high]],
            fmt=MARKERS[k % len(MARKERS)],
            color=COLOURS[k % len(COLOURS)],
            markersize=5,
            linewidth=1,
            label=case,
        )
    axes.axvline(1.0, color="0.6", linewidth=1)
    for (label, target), style in zip(TARGETS[task].items(), ("--", ":"), strict=False):
        axes.axvline(target, color="black", linestyle=style, linewidth=1, label=label)
    axes.set_xscale("log")
    ticks = [
        t
        for t in (0.5, 1, 2, 4, 8, 16, 32, 64, 128)
        if t <= 1.5 * max([*TARGETS[task].values(), *(row.ratio for row in rows)])
    ]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_yticks([-k for k in range(len(labels))], labels if with_labels else [])
    axes.set_ylim(-len(labels) + 0.4, 0.6)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.set_xlabel("median time of the peer / ours")
    axes.set_title(task, fontsize=11)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _draw_scaling(axes, rows: list[ScalingRow]) -> None:  # type: ignore[no-untyped-def]
    """Draw times against beads on double-logarithmic axes; the legend tells the slopes."""
    for k, network in enumerate(dict.fromkeys(row.network for row in rows)):
        own = [row for row in rows if row.network == network]
        axes.plot(
            [row.beads for row in own],
            [row.ms for row in own],
            marker=MARKERS[k % len(MARKERS)],
            color=COLOURS[k % len(COLOURS)],
            markersize=4,
            linewidth=1,
            label=f"{network}: slope {own[0].slope:.2f} ± {max(own[0].slope_error, 0.01):.2f}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({row.beads for row in rows})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes], rotation=45, fontsize=8)
    axes.minorticks_off()
    low, high = (f(row.ms for row in rows) for f in (min, max))
    axes.set_ylim(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
    axes.set_xlabel("beads")
    axes.set_ylabel("energy and forces, ours [ms]")
    axes.set_title("growth with size", fontsize=11)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
