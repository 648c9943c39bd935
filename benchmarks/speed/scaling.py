"""How the cost of our forces grows with the number of beads: the slope of log time against log beads."""

import csv
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from beadsmith.neighbors import find_pairs
from benchmarks.speed.candidates.beadsmith_networks import read_batch
from benchmarks.speed.cases import LIQUID_CUTOFF, OURS, Case, Network, System
from benchmarks.speed.turns import Times, Worker, start_worker, take_turns

SIZES = (250, 500, 1000, 2000, 4000, 8000, 16000)
"""Numbers of beads of the boxes."""
SEARCH = "neighbour list"
"""Name of the search for pairs among the networks; it is not part of a force call."""


@dataclass(frozen=True, kw_only=True)
class ScalingRow:
    """One line of scaling.csv: the time of a network's forces for one box [ms], and the slope over all boxes."""

    network: str
    threads: int
    beads: int
    ms: float
    q1: float
    q3: float
    slope: float
    """Least-squares slope of log time against log beads."""
    slope_error: float
    """Its standard error, from the scatter about the line."""


def measure_scaling(networks: list[Network], n_threads: int, n_rounds: int) -> Iterator[ScalingRow]:
    """Yield the rows of each network, box by box."""
    with tempfile.TemporaryDirectory() as folder, start_worker(OURS, n_threads) as worker:
        paths = {n_beads: _write_box(n_beads, Path(folder)) for n_beads in SIZES}
        for network in networks:
            times = {n: _time_forces(worker, network, n, path, n_rounds) for n, path in paths.items()}
            yield from _rows(network.name, n_threads, times)


def measure_search(n_rounds: int) -> list[ScalingRow]:
    """Return the rows of the search for neighbours, which runs on one thread."""
    # processor time counts all threads, also those that only spin between torch's operations
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = {n_beads: _write_box(n_beads, Path(folder)) for n_beads in SIZES}
        return _rows(SEARCH, 1, {n: _time_search(path, n_rounds) for n, path in paths.items()})


def fit_slope(sizes: list[int], milliseconds: list[float]) -> tuple[float, float]:
    """Return the slope of log time against log size and its standard error; three points at least."""
    x, y = [math.log(size) for size in sizes], [math.log(ms) for ms in milliseconds]
    slope, intercept = statistics.linear_regression(x, y)
    residual = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    return slope, math.sqrt(residual / (len(x) - 2) / spread)


def write_scaling(rows: list[ScalingRow], path: Path) -> None:
    """Write the table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ScalingRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _box(n_beads: int) -> System:
    return System(name=f"liquid, {n_beads:,} beads", n_sites=n_beads, n_copies=1)


def _write_box(n_beads: int, folder: Path) -> Path:
    path = folder / f"{n_beads}.npz"
    np.savez(path, **_box(n_beads).build())
    return path


def _time_forces(worker: Worker, network: Network, n_beads: int, path: Path, n_rounds: int) -> Times:
    case = Case(network=network, system=_box(n_beads), task="energy and forces")
    warm = worker.load(case, "", path)["ms"]
    return take_turns([worker], [warm], n_rounds)[0]


def _time_search(path: Path, n_rounds: int) -> Times:
    with np.load(path) as file:
        frames = dict(file)
    batch = read_batch(frames, frames["positions"])
    found = []
    for _ in range(n_rounds + 1):
        start = time.process_time()
        find_pairs(batch, LIQUID_CUTOFF)
        found.append(1e3 * (time.process_time() - start))
    # the first call pays for imports
    return Times(*np.quantile(found[1:], [0.5, 0.25, 0.75]).tolist())


def _rows(network: str, n_threads: int, times: dict[int, Times]) -> list[ScalingRow]:
    slope, error = fit_slope(list(times), [t.median for t in times.values()])
    return [
        ScalingRow(
            network=network,
            threads=n_threads,
            beads=n_beads,
            ms=float(f"{t.median:.4g}"),
            q1=float(f"{t.lower:.4g}"),
            q3=float(f"{t.upper:.4g}"),
            slope=round(slope, 3),
            slope_error=round(error, 3),
        )
        for n_beads, t in times.items()
    ]
