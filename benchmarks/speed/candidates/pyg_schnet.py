"""SchNet of PyTorch Geometric, put together from its blocks: its own class searches neighbours in open space only."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn.models.schnet import GaussianSmearing, InteractionBlock, ShiftedSoftplus

from benchmarks.speed.candidates import AbstractCandidate, offset_vectors


class Inputs(NamedTuple):
    """Types, pairs and positions."""

    types: Tensor
    edges: Tensor
    offsets: Tensor
    positions: Tensor


class Candidate(AbstractCandidate):
    """Embedding, interaction blocks and a readout of two layers; there is one variant."""

    def __init__(self, network: dict[str, Any], variant: str) -> None:
        """Build the network."""
        super().__init__()
        width, n_gaussians, cutoff = network["n_features"], network["n_radial"], network["cutoff"]
        self.embedding = nn.Embedding(network["n_types"], width)
        self.smearing = GaussianSmearing(0.0, cutoff, n_gaussians)
        self.blocks = nn.ModuleList(
            InteractionBlock(width, n_gaussians, width, cutoff) for _ in range(network["n_interactions"])
        )
        self.readout = nn.Sequential(nn.Linear(width, width // 2), ShiftedSoftplus(), nn.Linear(width // 2, 1))

    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> Inputs:
        """Return types, edges (neighbour, centre), offsets and positions."""
        edges = torch.from_numpy(frames["pair_index"]).flip(0)
        return Inputs(torch.from_numpy(frames["types"]), edges, offset_vectors(frames), torch.from_numpy(positions))

    def forces(self, inputs: Inputs, create_graph: bool) -> Tensor:
        """Return forces."""
        positions = inputs.positions.requires_grad_()
        second, first = inputs.edges
        vectors = positions.index_select(0, second) - positions.index_select(0, first) + inputs.offsets
        distances = torch.linalg.vector_norm(vectors, dim=1)
        radial = self.smearing(distances)
        features = self.embedding(inputs.types)
        for block in self.blocks:
            features = features + block(features, inputs.edges, distances, radial)
        energy = self.readout(features).sum()
        return -torch.autograd.grad(energy, positions, create_graph=create_graph)[0]
