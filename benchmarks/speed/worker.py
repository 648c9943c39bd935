"""One candidate in a process of its own: takes commands as JSON lines on stdin and answers on stdout.

    python -m benchmarks.speed.worker MODULE N_THREADS

It needs torch, numpy and the candidate's library, not beadsmith. While it waits for a command it sleeps, so that
another worker can be timed; that is how libraries that cannot share a process take turns in one run.
"""

import contextlib
import importlib
import importlib.util
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.candidates import AbstractCandidate

ROOT = Path(__file__).resolve().parents[2]
LEARNING_RATE = 1e-6
"""Small: the weights stay near their start, so that all steps cost the same."""
N_POSITIONS = 3
"""Sets of positions that force calls go through in turn, as a simulation would."""


class Worker:
    """State between commands: one candidate with one case."""

    def __init__(self, module: str, n_threads: int) -> None:
        """Import the candidate's library."""
        torch.set_num_threads(n_threads)
        self.candidates = importlib.import_module(f"benchmarks.speed.candidates.{module}")
        # processor time of a single thread: other users of the machine disturb it least
        self.clock = time.process_time if n_threads == 1 else time.perf_counter
        self.call: Callable[[], torch.Tensor] = lambda: torch.zeros(1)

    def load(self, *, network: dict[str, Any], frames: str, task: str, variant: str) -> dict[str, Any]:
        """Build network and inputs, warm up, and return what one call costs [ms] and the root mean square force."""
        torch.manual_seed(0)
        candidate = self.candidates.Candidate(network, variant)
        n_parameters = sum(p.numel() for p in candidate.parameters() if p.requires_grad)
        with np.load(frames) as file:
            arrays = dict(file)
        make = make_training_step if task == "training step" else make_force_call
        self.call = make(candidate, arrays)
        forces = self.call()
        if not bool(torch.isfinite(forces).all()) or not bool(forces.any()):
            raise RuntimeError("forces are zero or not finite")
        scale = float(forces.detach().square().mean().sqrt())
        return self.time(n_calls=1) | {"n_parameters": n_parameters, "force": scale}

    def time(self, *, n_calls: int) -> dict[str, float]:
        """Return the mean time of a call [ms]."""
        start = self.clock()
        for _ in range(n_calls):
            self.call()
        return {"ms": 1e3 * (self.clock() - start) / n_calls}

    def measure_memory(self) -> dict[str, float]:
        """Return the largest memory this process ever held [MB]."""
        return {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0}


def make_training_step(candidate: AbstractCandidate, frames: dict[str, np.ndarray]) -> Callable[[], torch.Tensor]:
    """Return one step of force matching: energies, forces, loss of the forces, gradient, Adam."""
    inputs = candidate.read(frames, frames["positions"])
    labels = torch.randn(len(frames["positions"]), 3, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam(candidate.parameters(), lr=LEARNING_RATE)

    def step() -> torch.Tensor:
        optimiser.zero_grad(set_to_none=True)
        forces = candidate.forces(inputs, True)
        ((forces - labels) ** 2).mean().backward()
        optimiser.step()
        return forces

    return step


def make_force_call(candidate: AbstractCandidate, frames: dict[str, np.ndarray]) -> Callable[[], torch.Tensor]:
    """Return energy and forces with frozen weights, at a new set of positions each time and with fixed pairs."""
    candidate.requires_grad_(False)
    random = np.random.default_rng(1)
    shape = frames["positions"].shape
    moved = [frames["positions"] + 1e-4 * random.standard_normal(shape) for _ in range(N_POSITIONS)]
    inputs = itertools.cycle([candidate.read(frames, positions.astype(np.float32)) for positions in moved])
    return lambda: candidate.forces(next(inputs), False)


def keep_freed_memory() -> None:
    """Tune malloc as beadsmith does in training, for every candidate: otherwise large tensors cost page faults."""
    path = ROOT / "src" / "beadsmith" / "training" / "allocator.py"
    spec = importlib.util.spec_from_file_location("allocator", path)
    assert spec is not None
    assert spec.loader is not None
    allocator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(allocator)
    allocator.keep_freed_memory()


def limit_memory(share: float = 0.85) -> None:
    """Make an allocation that this machine cannot serve an error here, not the end of another process."""
    with contextlib.suppress(OSError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limit = int(share * 1024 * int(lines["MemAvailable"].split()[0]))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Answer commands until stdin ends."""
    # libraries may print: only answers go where the coordinator reads
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    limit_memory()
    keep_freed_memory()
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
