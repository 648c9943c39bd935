"""MACE of mace-torch. Importing it switches off safe loading for the whole process, hence only in its own."""

from typing import Any

import numpy as np
import torch
from mace import modules
from torch import Tensor
from torch.nn import functional

from benchmarks.speed.candidates import AbstractCandidate, offset_vectors

# after mace: e3nn 0.4.4 needs the unsafe loading that mace switches on
from e3nn import o3  # isort: skip


class Candidate(AbstractCandidate):
    """ScaleShiftMACE with residual interactions; there is one variant."""

    def __init__(self, network: dict[str, Any], variant: str) -> None:
        """Build the network."""
        super().__init__()
        self.n_types = n_types = network["n_types"]
        hidden = "+".join(
            f"{network['n_channels']}x{rank}{'eo'[rank % 2]}" for rank in range(network["hidden_l_max"] + 1)
        )
        self.mace = modules.ScaleShiftMACE(
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
            r_max=network["cutoff"],
            num_bessel=network["n_radial"],
            num_polynomial_cutoff=network["cutoff_power"],
            max_ell=network["l_max"],
            interaction_cls=modules.RealAgnosticResidualInteractionBlock,
            interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
            num_interactions=network["n_interactions"],
            num_elements=n_types,
            hidden_irreps=o3.Irreps(hidden),
            MLP_irreps=o3.Irreps(f"{network['n_readout']}x0e"),
            atomic_energies=np.zeros(n_types),
            avg_num_neighbors=network["mean_neighbours"],
            atomic_numbers=list(range(1, n_types + 1)),
            correlation=network["correlation"],
            gate=functional.silu,
            radial_MLP=list(network["radial_widths"]),
        )

    def read(self, frames: dict[str, np.ndarray], positions: np.ndarray) -> dict[str, Tensor]:
        """Return the library's dictionary; its edges run from neighbour to centre."""
        system = torch.from_numpy(frames["system_index"])
        n_systems = int(system[-1]) + 1
        cell = torch.from_numpy(frames["cell"]) if "cell" in frames else torch.zeros(n_systems, 3, 3)
        return {
            "positions": torch.from_numpy(positions),
            "node_attrs": functional.one_hot(torch.from_numpy(frames["types"]), self.n_types).float(),
            "edge_index": torch.from_numpy(frames["pair_index"]).flip(0),
            "shifts": -offset_vectors(frames),
            "unit_shifts": torch.from_numpy(frames["shifts"]),
            "cell": cell.reshape(-1, 3),
            "batch": system,
            "ptr": torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(system).cumsum(0)]),
        }

    def forces(self, inputs: dict[str, Tensor], create_graph: bool) -> Tensor:
        """Return forces."""
        return self.mace(inputs, training=create_graph, compute_force=True)["forces"]
