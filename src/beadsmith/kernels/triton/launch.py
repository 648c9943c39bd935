"""The one place where a Triton kernel is started."""

from typing import Any

import torch


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any) -> None:
    """Run a kernel on the device of its first argument; tensors are handed over without gaps, the output has none."""
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*(part.contiguous() if isinstance(part, torch.Tensor) else part for part in arguments))
