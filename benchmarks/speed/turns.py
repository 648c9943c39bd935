"""Let worker processes take turns at one case, and summarise their times."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.cases import Case, Peer
from benchmarks.speed.environments import ROOT, find_python

TURN = 0.15
"""Length of a turn [s], if one call is shorter."""
MOST_CALLS = 400
"""Largest number of calls in a turn."""
PAUSE = 0.01
"""Pause before a turn [s], in which the threads of the worker before fall asleep."""
SPIN_COUNT = "10000"
"""Rounds for which OpenMP threads spin before they sleep, about 0.1 ms: enough to go from one operation to the next
without sleep. By default they spin 30 times as long, and where anything else runs, all candidates wait for each other.
"""


class PeerError(RuntimeError):
    """A worker could not do what it was told."""


class Worker:
    """The coordinator's side of a `benchmarks.speed.worker` process."""

    def __init__(self, peer: Peer, n_threads: int) -> None:
        """Start the process and wait until its library is imported.

        Raises
        ------
        PeerError : the library cannot be imported.
        """
        self.peer = peer
        settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(n_threads))
        settings["GOMP_SPINCOUNT"] = SPIN_COUNT
        # closed in close(): it lives as long as the process
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(find_python(peer.environment)), "-m", "benchmarks.speed.worker", peer.module, str(n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | settings,
        )
        self._read()

    def ask(self, command: str, **options: Any) -> dict[str, Any]:
        """Send a command and return the answer.

        Raises
        ------
        PeerError : the command failed, or the process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command} | options) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"{self.peer.name} has ended: {self._last_words()}") from None
        return self._read()

    def load(self, case: Case, variant: str, frames: Path) -> dict[str, Any]:
        """Prepare a case; return the time of one warm call [ms] and the number of parameters."""
        network = case.network.describe(case.system)
        return self.ask("load", network=network, frames=str(frames), task=case.task, variant=variant)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.peer.name} has ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.peer.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        causes = [line for line in lines if "Error" in line] or lines or [f"exit code {self._process.returncode}"]
        return causes[-1]


@contextmanager
def start_worker(peer: Peer, n_threads: int) -> Iterator[Worker]:
    """Run a worker for the length of a block."""
    worker = Worker(peer, n_threads)
    try:
        yield worker
    finally:
        worker.close()


@dataclass(frozen=True)
class Times:
    """Median and quartiles over rounds [ms]."""

    median: float
    lower: float
    upper: float


def take_turns(workers: list[Worker], warm_ms: list[float], n_rounds: int) -> list[Times]:
    """Let all loaded workers run once in each round, A B A B; short calls are repeated within a turn."""
    n_calls = [int(np.clip(1e3 * TURN / max(ms, 1e-3), 1, MOST_CALLS)) for ms in warm_ms]
    times: list[list[float]] = [[] for _ in workers]
    for _ in range(n_rounds):
        for worker, calls, found in zip(workers, n_calls, times, strict=True):
            time.sleep(PAUSE)
            found.append(worker.ask("time", n_calls=calls)["ms"])
    return [Times(*np.quantile(found, [0.5, 0.25, 0.75]).tolist()) for found in times]


def load_fastest(
    worker: Worker, case: Case, variants: tuple[str, ...], frames: Path
) -> tuple[str, dict[str, Any], dict[str, float]]:
    """Prepare the fastest variant of a peer; return it, what loading says of it, and a call of each variant [ms].

    Raises
    ------
    PeerError : no variant can run.
    """
    loaded: dict[str, dict[str, Any]] = {}
    reasons = []
    for variant in variants:
        try:
            loaded[variant] = worker.load(case, variant, frames)
        except PeerError as error:
            reasons.append(str(error))
    if not loaded:
        raise PeerError("; ".join(reasons))
    best = min(loaded, key=lambda variant: loaded[variant]["ms"])
    if best != list(loaded)[-1] or reasons:
        loaded[best] = worker.load(case, best, frames)
    return best, loaded[best], {variant: answer["ms"] for variant, answer in loaded.items()}
