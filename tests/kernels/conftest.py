"""Where Triton kernels are tested: on a GPU if there is one, and otherwise in Triton's interpreter."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # read when triton is imported for the first time, by whichever library
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def device():
    """Return the device of a kernel test."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
