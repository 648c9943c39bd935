"""Sums over neighbours on a GPU, in Triton; torch's CUDA builds bring it along, and nothing here is needed without one.

The kernels are those of `beadsmith.kernels` in the same division of work: a module has the functions that the numba
module of its network has, and the plain-torch twins are the same. No shape depends on a position and the host is never
asked, so that they can be captured in CUDA graphs. On a CPU they run in Triton's interpreter, which is for tests.
"""

from importlib.util import find_spec

import torch

_IS_INSTALLED = find_spec("triton") is not None


def is_usable(device: torch.device) -> bool:
    """Tell whether kernels can run on a device."""
    return device.type == "cuda" and _IS_INSTALLED
