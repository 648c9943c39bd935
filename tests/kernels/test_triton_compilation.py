"""Every Triton kernel can be compiled for a GPU, which needs none: the interpreter accepts more than the compiler."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the wheel of triton (286 MB) is installed by 'make test-triton' only")

# in a process of its own, because triton is either interpreted or compiled
SCRIPT = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from beadsmith.kernels.triton import couplings, filters, messages

INTEGERS = {"offsets", "order", "own", "other", "starts", "first", "second", "path_of"}
GRID = {"SPACING": 0.0125, "N_INTERVALS": 64, "CUTOFF": 0.8, "PAIRS": 16, "COLUMNS": 128}
SHAPE = {"OUTER": 16, "INNER": 32, "COLUMNS": 64}
TENSOR = {"RESULTS": 64, "COMPONENTS": 4, "CHANNELS": 32}
CASES = [
    (filters._sum_kernel, GRID | {"IS_SLOPE": False}),
    (filters._sum_kernel, GRID | {"IS_SLOPE": True}),
    (filters._table_kernel, GRID | {"IS_SLOPE": False}),
    (filters._table_kernel, GRID | {"IS_SLOPE": True}),
    (filters._slopes_kernel, GRID),
    (messages._sum_kernel, SHAPE),
    (messages._contract_kernel, SHAPE),
    (couplings._results_kernel, TENSOR),
    (couplings._features_kernel, TENSOR),
    (couplings._radial_kernel, TENSOR),
    (couplings._matrices_kernel, TENSOR),
]

def find_type(name, literals, real):
    if name in literals:
        return "constexpr"
    if name.startswith("n_"):
        return "i32"
    return "*i64" if name in INTEGERS else "*i32" if name == "is_near" else "*" + real

for kernel, literals in CASES:
    for real in ("fp32", "fp64"):
        signature = {name: find_type(name, literals, real) for name in kernel.arg_names}
        compiled = triton.compile(ASTSource(kernel, signature, literals), target=GPUTarget("cuda", 80, 32))
        print(kernel.__name__, real, len(compiled.asm["cubin"]) > 0)
"""


def test_kernels_compile_for_a_gpu_in_both_precisions(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    # what a library of a few lines says about its own next version is no failure
    environment["PYTHONWARNINGS"] = "ignore"
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # eleven kernels in two precisions
    assert len(lines) == 22
    assert all(line.endswith("True") for line in lines)
