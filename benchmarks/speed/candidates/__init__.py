"""What takes part: one file for each library, which only the worker process of that library imports.

These files know neither each other nor the clock. Each runs where its library is installed, so nothing here may import
beadsmith except beadsmith's own file.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class AbstractCandidate(nn.Module, ABC):
    """A network with random weights, in float32, as a user of its library would call it."""

    @abstractmethod
    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> Any:
        """Return what `forces` takes: the frames of a case with other positions; see `benchmarks.speed.frames`."""

    @abstractmethod
    def forces(self, inputs: Any, create_graph: bool) -> Tensor:
        """Compute energies and forces and return the forces (sites, 3); with a graph for a training step."""


def offset_vectors(frames: dict[str, np.ndarray]) -> Tensor:
    """Return what to add to r_j − r_i for the nearest image of each pair (pairs, 3) [nm]."""
    shifts = torch.from_numpy(frames["shifts"])
    if "cell" not in frames:
        return shifts
    cells = torch.from_numpy(frames["cell"])[torch.from_numpy(frames["system_index"])[frames["pair_index"][0]]]
    return torch.einsum("pa,pab->pb", shifts, cells)
