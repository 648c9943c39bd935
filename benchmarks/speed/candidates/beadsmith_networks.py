"""beadsmith's three networks through the function that every force in beadsmith comes from."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.energy import AbstractNetwork, predict_network
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NetworkSettings, build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from benchmarks.speed.candidates import AbstractCandidate


class Candidate(AbstractCandidate):
    """One of beadsmith's networks."""

    def __init__(self, network: dict[str, Any], variant: str) -> None:
        """Build the network from the benchmark's description of it; there is one variant."""
        super().__init__()
        self.network = make_network(network)

    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> tuple[Batch, Pairs]:
        """Return the records of the energy half."""
        return read_batch(frames, positions), read_pairs(frames)

    def forces(self, inputs: tuple[Batch, Pairs], create_graph: bool) -> Tensor:
        """Return forces; energies and virials are computed as well."""
        return predict_network(self.network, *inputs, create_graph=create_graph).forces


def make_network(network: dict[str, Any]) -> AbstractNetwork:
    """Return beadsmith's network for a description of `benchmarks.speed.cases`."""
    type_names = tuple(f"type{k}" for k in range(network["n_types"]))
    return build_network(describe_network(network), type_names, torch.Generator().manual_seed(0))


def describe_network(network: dict[str, Any]) -> NetworkSettings:
    """Return beadsmith's settings for a description of `benchmarks.speed.cases`; all others are defaults."""
    describe = {"hipnn": _describe_hipnn, "schnet": _describe_schnet, "mace": _describe_mace}[network["kind"]]
    return describe(network)


def _describe_hipnn(network: dict[str, Any]) -> NetworkSettings:
    return HipnnSettings(**{name: value for name, value in network.items() if name != "n_types"})


def _describe_schnet(network: dict[str, Any]) -> NetworkSettings:
    return SchnetSettings(
        n_features=network["n_features"],
        n_filters=network["n_features"],
        n_interactions=network["n_interactions"],
        cutoff=network["cutoff"],
        radial_basis="gaussian",
        n_radial=network["n_radial"],
        activation="shifted_softplus",
        n_output_layers=1,
        n_output_features=network["n_features"] // 2,
    )


def _describe_mace(network: dict[str, Any]) -> NetworkSettings:
    return MaceSettings(
        n_features=network["n_channels"],
        l_max_hidden=network["hidden_l_max"],
        l_max=network["l_max"],
        correlation=network["correlation"],
        n_layers=network["n_interactions"],
        cutoff=network["cutoff"],
        average_neighbors=network["mean_neighbours"],
        n_radial=network["n_radial"],
        envelope_power=network["cutoff_power"],
        radial_widths=tuple(network["radial_widths"]),
        n_readout=network["n_readout"],
        first_layer="residual",
    )


def read_batch(frames: dict[str, np.ndarray], positions: np.ndarray) -> Batch:
    """Return the systems of a case."""
    n_systems = int(frames["system_index"][-1]) + 1
    return Batch(
        positions=torch.from_numpy(positions),
        types=torch.from_numpy(frames["types"]),
        masses=torch.full((len(positions),), 32.0),
        system_index=torch.from_numpy(frames["system_index"]),
        molecule_index=torch.from_numpy(frames["molecule_index"]),
        cell=torch.from_numpy(frames["cell"]) if "cell" in frames else None,
        temperature=torch.full((n_systems,), 300.0),
        **{name: torch.zeros(0, n, dtype=torch.int64) for name, n in _TERMS.items()},
    )


_TERMS = {"bonds": 2, "angles": 3, "dihedrals": 4, "impropers": 4}


def read_pairs(frames: dict[str, np.ndarray]) -> Pairs:
    """Return the pairs of a case."""
    tensors = ("row_offsets", "half", "shifts", "bond_class")
    return Pairs(
        index=torch.from_numpy(frames["pair_index"]),
        cutoff=float(frames["cutoff"]),
        **{name: torch.from_numpy(frames[name]) for name in tensors},
    )
