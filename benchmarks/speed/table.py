"""The table of results.csv that the documentation shows: our times and the ratios to the fastest peer."""

from collections.abc import Iterator

from benchmarks.speed.cases import BATCHES, LARGE_LIQUID, LIQUID, MOLECULES, NETWORKS
from benchmarks.speed.compare import Row

COLUMNS = (
    ("training step, 4 × 258 beads", BATCHES[1].name, "training step"),
    ("forces, 258 beads", LIQUID.name, "energy and forces"),
    ("forces, 4,000 beads", LARGE_LIQUID.name, "energy and forces"),
    ("forces, 100 × 10 beads", MOLECULES[1].name, "energy and forces"),
    ("forces, 1,000 × 10 beads", MOLECULES[2].name, "energy and forces"),
)
"""Title, case and task."""


def format_table(rows: list[Row], n_threads: int) -> Iterator[str]:
    """Yield the lines of a Markdown table: our median, the fastest peer's over it, our share of the matrix peak."""
    yield "| network | " + " | ".join(title for title, _, _ in COLUMNS) + " |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    for network in NETWORKS:
        cells = []
        for _, case, task in COLUMNS:
            found = [
                row
                for row in rows
                if (row.network, row.case, row.task, row.threads) == (network.name, case, task, n_threads)
            ]
            cells.append(_describe(min(found, key=lambda row: row.ratio)) if found else "–")
        if any(cell != "–" for cell in cells):
            yield f"| {network.name} | " + " | ".join(cells) + " |"


def _describe(row: Row) -> str:
    return f"{row.ours_ms:.3g} ms, {row.ratio:.1f} ×, {100.0 * row.gemm_fraction:.0f} %"
