"""What this machine can do: rates of matrix products and of copies, against which the times are held.

    python -m benchmarks.speed.machine N_THREADS

prints them as JSON. Every rate is the best of several runs: it is a limit, not a typical value.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beadsmith.kernels.products import multiply_rows_

ROOT = Path(__file__).resolve().parents[2]
SIZE = 2048
"""Edge of the square matrices."""
N_RUNS = 7
COPY_BYTES = 2**28
"""Size of the copied block: larger than any cache."""
SMALL_WIDTHS = (24, 64, 128)
"""Widths of the small products: 20 features are padded to 24."""


def measure_machine(n_threads: int) -> dict[str, Any]:
    """Return the rates on a number of threads, measured in a process of its own.

    matmul_gflops is torch.matmul in float32, packed_linear_gflops oneDNN's linear layer with weights packed beforehand
    (None where torch lacks it), copy_gb_per_s counts bytes read and bytes written. small_products_gflops are the rates
    of beadsmith's own product of 64 rows with a square matrix of each width, on one thread: what dense layers of that
    width can reach.
    """
    command = [sys.executable, "-m", "benchmarks.speed.machine", str(n_threads)]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    rates = json.loads(done.stdout)
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    return {"processor": processor, "n_cores": os.cpu_count(), "torch": torch.__version__} | rates


def peak_gflops(machine: dict[str, Any]) -> float:
    """Return the highest measured rate of matrix products, the denominator of every gemm_fraction."""
    return max(machine["matmul_gflops"], machine["packed_linear_gflops"] or 0.0)


def _shortest(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(N_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _packed_linear() -> Callable[[], object] | None:
    """Return a product through oneDNN, or None: these operators are not part of torch's public interface."""
    if not torch.backends.mkldnn.is_available():
        return None
    left, weight = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, SIZE)
        torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    return lambda: torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")


def _small_product(width: int) -> float:
    rows, matrix, result = (np.ones((n, width), np.float32) for n in (64, width, 64))
    n_calls = 200

    def run() -> None:
        for _ in range(n_calls):
            multiply_rows_(result, rows, matrix, 0, len(rows))

    return 2e-9 * n_calls * matrix.size * len(rows) / _shortest(run)


@torch.no_grad()
def _measure() -> dict[str, Any]:
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    product = torch.empty(SIZE, SIZE)
    gflop = 2e-9 * SIZE**3
    matmul = gflop / _shortest(lambda: torch.matmul(left, right, out=product))
    packed = _packed_linear()
    source = torch.randn(COPY_BYTES // 4)
    target = torch.empty_like(source)
    copy = 2e-9 * COPY_BYTES / _shortest(lambda: target.copy_(source))
    return {
        "n_threads": torch.get_num_threads(),
        "matmul_gflops": round(matmul, 1),
        "packed_linear_gflops": None if packed is None else round(gflop / _shortest(packed), 1),
        "copy_gb_per_s": round(copy, 1),
        "small_products_gflops": {str(width): round(_small_product(width), 1) for width in SMALL_WIDTHS},
    }


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps(_measure()))
