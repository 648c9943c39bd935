"""Measure cases: ours and every peer that has the network, in turns, and one row of the table for each peer."""

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from benchmarks.speed.cases import OURS, PEERS, Case, Peer
from benchmarks.speed.products import count_gflop
from benchmarks.speed.turns import PeerError, Times, Worker, load_fastest, start_worker, take_turns

HOPELESS = 2.0
"""A variant this many times slower than the best in one case of a network is not tried in larger ones."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of results.csv: a case, a peer and a number of threads. Times are in ms, memory in MB."""

    case: str
    task: str
    network: str
    peer: str
    threads: int
    ours_ms: float
    ours_q1: float
    ours_q3: float
    peer_ms: float
    peer_q1: float
    peer_q3: float
    ratio: float
    """Median of the peer over our median."""
    gemm_fraction: float
    """Rate of our dense matrix products over the machine's highest measured rate."""
    ours_peak_mb: float | None = None
    """Memory of a fresh process beyond what it needs for the same task with ten beads."""
    peer_peak_mb: float | None = None
    gemm_gflop: float
    """Operations of the dense matrix products in one of our calls, in 10⁹, see `products`."""
    ours_parameters: int
    peer_parameters: int
    clock: str
    """processor: processor time of one thread; wall: elapsed time."""
    rounds: int


class Pool:
    """Worker processes of one number of threads, started when they are first needed."""

    def __init__(self, n_threads: int) -> None:
        """Make an empty pool."""
        self.n_threads = n_threads
        self._workers: dict[str, Worker | PeerError] = {}

    def get(self, peer: Peer) -> Worker:
        """Return a peer's worker.

        Raises
        ------
        PeerError : its library is not there, or its process has ended.
        """
        if peer.name not in self._workers:
            try:
                self._workers[peer.name] = Worker(peer, self.n_threads)
            except (PeerError, RuntimeError) as error:
                self._workers[peer.name] = PeerError(str(error))
        worker = self._workers[peer.name]
        if isinstance(worker, PeerError):
            raise worker
        return worker

    def close(self) -> None:
        """End all processes; they start again when they are needed."""
        for worker in self._workers.values():
            if isinstance(worker, Worker):
                worker.close()
        self._workers = {name: found for name, found in self._workers.items() if isinstance(found, PeerError)}


def compare(cases: list[Case], n_threads: int, n_rounds: int, peak: float, *, with_memory: bool) -> Iterator[Row | str]:
    """Yield a row for each case and peer, or a sentence for each candidate that could not run.

    Parameters
    ----------
    cases : What to measure, in this order.
    n_threads : Threads of every candidate.
    n_rounds : Turns of every candidate in a case.
    peak : The machine's highest rate of matrix products [GFLOP/s].
    with_memory : Also measure the memory of each case in fresh processes, see `needs_memory`.
    """
    pool = Pool(n_threads)
    hopeful: dict[tuple[str, str], tuple[str, ...]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                frames = Path(folder) / "frames.npz"
                np.savez(frames, **case.system.build())
                rows = list(_compare_case(case, frames, pool, n_rounds, peak, hopeful))
                for row in rows:
                    if not (with_memory and isinstance(row, Row) and needs_memory(case)):
                        yield row
                        continue
                    # what they keep, several GB, would be missing
                    pool.close()
                    try:
                        yield _add_memory(row, case, frames, n_threads)
                    except PeerError as error:
                        yield row
                        yield f"{case.title}: memory not measured: {error}"
    finally:
        pool.close()


def _compare_case(
    case: Case, frames: Path, pool: Pool, n_rounds: int, peak: float, hopeful: dict[tuple[str, str], tuple[str, ...]]
) -> Iterator[Row | str]:
    workers, names, answers = [], [], []
    for peer in (OURS, *PEERS[case.network.kind]):
        key = (peer.name, f"{case.network.name} {case.task} {case.system.is_molecule}")
        try:
            worker = pool.get(peer)
            best, answer, calls = load_fastest(worker, case, hopeful.get(key, peer.variants), frames)
        except PeerError as error:
            yield f"{case.title}: left out: {error}"
            if peer is OURS:
                return
            continue
        hopeful[key] = tuple(variant for variant, ms in calls.items() if ms < HOPELESS * calls[best])
        workers.append(worker)
        names.append(f"{peer.name} {best}".strip())
        answers.append(answer)
    if len(workers) < 2:
        return
    network = case.network.describe(case.system)
    gflop = count_gflop(network, case.system.n_sites * case.system.n_copies, case.task)
    ours, *others = take_turns(workers, [answer["ms"] for answer in answers], n_rounds)
    for name, answer, times in zip(names[1:], answers[1:], others, strict=True):
        yield Row(
            case=case.system.name,
            task=case.task,
            network=case.network.name,
            peer=name,
            threads=pool.n_threads,
            **_columns("ours", ours),
            **_columns("peer", times),
            ratio=round(times.median / ours.median, 2),
            gemm_fraction=round(gflop / (1e-3 * ours.median) / peak, 4),
            gemm_gflop=round(gflop, 5),
            ours_parameters=answers[0]["n_parameters"],
            peer_parameters=answer["n_parameters"],
            clock="processor" if pool.n_threads == 1 else "wall",
            rounds=n_rounds,
        )


def _columns(who: str, times: Times) -> dict[str, float]:
    values = {"ms": times.median, "q1": times.lower, "q3": times.upper}
    return {f"{who}_{name}": float(f"{value:.4g}") for name, value in values.items()}


def needs_memory(case: Case) -> bool:
    """Tell whether a case's memory is measured: the largest of each task, for the leading networks."""
    sizes = {"training step": 4 * 258, "energy and forces": 4000}
    return case.network.is_leading and case.system.n_sites * case.system.n_copies == sizes[case.task]


def _add_memory(row: Row, case: Case, frames: Path, n_threads: int) -> Row:
    peers = {peer.name: peer for peer in PEERS[case.network.kind]}
    name = next(name for name in peers if row.peer.startswith(name))
    ours = measure_memory(OURS, case, "", frames, n_threads)
    theirs = measure_memory(peers[name], case, row.peer.removeprefix(name).strip(), frames, n_threads)
    return replace(row, ours_peak_mb=round(ours, 1), peer_peak_mb=round(theirs, 1))


def measure_memory(peer: Peer, case: Case, variant: str, frames: Path, n_threads: int) -> float:
    """Return what a case adds to the largest memory of a fresh process [MB].

    The baseline is taken after the same task on ten beads, so that imports and compilation do not count.
    """
    small = replace(case.system, name="ten beads", n_sites=10, n_copies=1, is_molecule=True)
    with start_worker(peer, n_threads) as worker:
        start = frames.with_name("small.npz")
        np.savez(start, **small.build())
        worker.load(replace(case, system=small), variant, start)
        baseline = worker.ask("measure_memory")["mb"]
        worker.load(case, variant, frames)
        return worker.ask("measure_memory")["mb"] - baseline


def read_rows(path: Path) -> list[Row]:
    """Return the table, or nothing where there is none."""
    if not path.is_file():
        return []
    types = get_type_hints(Row)

    def read(name: str, text: str) -> Any:
        if types[name] in (str, int):
            return types[name](text)
        return float(text) if text else None

    with path.open(newline="") as file:
        return [Row(**{name: read(name, text) for name, text in line.items()}) for line in csv.DictReader(file)]


def write_rows(rows: list[Row], path: Path) -> None:
    """Write the table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
