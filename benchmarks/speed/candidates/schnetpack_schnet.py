"""SchNet of schnetpack."""

from typing import Any, TypeVar

import numpy as np
import torch
import torch.utils.data.dataloader
from torch import Tensor

from benchmarks.speed.candidates import AbstractCandidate, offset_vectors

# schnetpack 2.0.4 imports this name, which torch 2.13 no longer has
torch.utils.data.dataloader.T_co = TypeVar("T_co", covariant=True)

import schnetpack.atomistic  # noqa: E402
import schnetpack.nn  # noqa: E402
import schnetpack.representation  # noqa: E402
from schnetpack.model import NeuralNetworkPotential  # noqa: E402


class Candidate(AbstractCandidate):
    """The library's own assembly of a potential; there is one variant."""

    def __init__(self, network: dict[str, Any], variant: str) -> None:
        """Build the network."""
        super().__init__()
        width, cutoff = network["n_features"], network["cutoff"]
        activation = schnetpack.nn.shifted_softplus
        representation = schnetpack.representation.SchNet(
            n_atom_basis=width,
            n_interactions=network["n_interactions"],
            radial_basis=schnetpack.nn.GaussianRBF(network["n_radial"], cutoff),
            cutoff_fn=schnetpack.nn.CosineCutoff(cutoff),
            max_z=network["n_types"] + 1,
            activation=activation,
        )
        self.potential = NeuralNetworkPotential(
            representation,
            input_modules=[schnetpack.atomistic.PairwiseDistances()],
            output_modules=[
                schnetpack.atomistic.Atomwise(width, output_key="energy", activation=activation),
                schnetpack.atomistic.Forces(),
            ],
        )

    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> dict[str, Tensor]:
        """Return the library's dictionary; type 0 is its padding."""
        first, second = torch.from_numpy(frames["pair_index"])
        return {
            "_positions": torch.from_numpy(positions),
            "_atomic_numbers": torch.from_numpy(frames["types"]) + 1,
            "_idx_i": first,
            "_idx_j": second,
            "_offsets": offset_vectors(frames),
            "_idx_m": torch.from_numpy(frames["system_index"]),
        }

    def forces(self, inputs: dict[str, Tensor], create_graph: bool) -> Tensor:
        """Return forces; the library's modules write into the dictionary they are given."""
        if self.potential.training != create_graph:
            self.potential.train(create_graph)
        return self.potential(dict(inputs))["forces"]
