"""hippynn's HIP-NN-TS with each of its CPU kernels."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.speed.candidates import AbstractCandidate, offset_vectors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import hippynn
    from hippynn.layers.targets import HEnergy
    from hippynn.networks.hipnn import HipnnQuad, HipnnVec


class Inputs(NamedTuple):
    """What hippynn's graph has when pairs are known."""

    one_hot: Tensor
    first: Tensor
    second: Tensor
    offsets: Tensor
    positions: Tensor


class Candidate(AbstractCandidate):
    """HIP-NN-TS of hippynn; the variant is the name of its kernel."""

    def __init__(self, network: dict[str, Any], variant: str) -> None:
        """Build the network; lengths are in nm, which changes nothing but the values of parameters."""
        super().__init__()
        self.n_types = network["n_types"]
        self.network = {1: HipnnVec, 2: HipnnQuad}[network["l_max"]](
            n_features=network["n_features"],
            n_sensitivities=network["n_sensitivities"],
            n_atom_layers=network["n_atom_layers"],
            n_interaction_layers=network["n_interactions"],
            n_input_features=self.n_types,
            dist_soft_min=network["soft_min"],
            dist_soft_max=network["soft_max"],
            dist_hard_max=network["cutoff"],
        )
        self.readout = HEnergy(self.network.feature_sizes)
        with warnings.catch_warnings():
            # it warns that its plain kernel is not the standard one
            warnings.simplefilter("ignore")
            hippynn.custom_kernels.set_custom_kernels(variant)

    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> Inputs:
        """Return one-hot types, pairs and positions."""
        first, second = torch.from_numpy(frames["pair_index"])
        one_hot = functional.one_hot(torch.from_numpy(frames["types"]), self.n_types).float()
        return Inputs(one_hot, first, second, offset_vectors(frames), torch.from_numpy(positions))

    def forces(self, inputs: Inputs, create_graph: bool) -> Tensor:
        """Return forces."""
        positions = inputs.positions.requires_grad_()
        vectors = positions.index_select(0, inputs.second) - positions.index_select(0, inputs.first) + inputs.offsets
        distances = torch.linalg.vector_norm(vectors, dim=1)
        features = self.network(inputs.one_hot, inputs.first, inputs.second, distances, vectors)
        energy = sum(layer(part).sum() for layer, part in zip(self.readout.layers, features, strict=True))
        return -torch.autograd.grad(energy, positions, create_graph=create_graph)[0]
