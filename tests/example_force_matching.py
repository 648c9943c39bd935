"""A many-body network that is linear in its parameters, and liquids labelled by a known truth."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractNetwork, predict_network, predict_prior
from beadsmith.neighbors import find_pairs
from beadsmith.priors.repulsion import ExponentialRepulsion
from example_trajectories import make_trajectory

CUTOFF = 0.6
EDGE = 1.5


class DensityNetwork(AbstractNetwork):
    """E_i = a ρ_i + b ρ_i², ρ_i = Σ_j (1 - (r_ij/rc)²)³: one pair and one many-body parameter, a convex fit."""

    kind: ClassVar[str] = "density"

    def __init__(self, linear: float = 0.0, quadratic: float = 0.0) -> None:
        super().__init__()
        self.cutoff, self.n_channels = CUTOFF, 1
        self.coefficients = nn.Parameter(torch.tensor([linear, quadratic], dtype=torch.float64))

    def forward(self, types: Tensor, pair_index: Tensor, pair_vectors: Tensor, pair_bond_class: Tensor) -> Tensor:
        weight = (1.0 - pair_vectors.square().sum(1) / self.cutoff**2).clamp(min=0.0) ** 3
        density = weight.new_zeros(len(types)).index_add(0, pair_index[0], weight)
        return (self.coefficients[0] * density + self.coefficients[1] * density**2)[:, None]

    def to_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def make_wall(type_names: tuple[str, ...] = ("bead",)) -> ExponentialRepulsion:
    """Return an excluded volume that acts at the distances of `make_labelled_liquid`."""
    n_pairs = len(type_names) * (len(type_names) + 1) // 2
    return ExponentialRepulsion(
        type_names,
        joining_distances=(0.3,) * n_pairs,
        joining_forces=(500.0,) * n_pairs,
        decays=(30.0,) * n_pairs,
        cutoff=CUTOFF,
    )


def make_labelled_liquid(
    seed: int,
    *,
    n_frames: int = 40,
    n_beads: int = 27,
    noise: float = 0.0,
    truth: AbstractNetwork | None = None,
    **fields,
):
    """Return frames of beads about a lattice, with forces of wall and truth plus Gaussian noise."""
    generator = np.random.default_rng(seed)
    side = round(n_beads ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_beads]
    positions = (grid + 0.5) * EDGE / side + generator.normal(0.0, 0.06, (n_frames, n_beads, 3))
    bare = make_trajectory(positions % EDGE, cell=np.eye(3) * EDGE, **fields)
    prior = [make_wall(bare.topology.type_names)]
    forces = np.empty((n_frames, n_beads, 3))
    for frame in range(n_frames):
        batch = build_batch(bare, np.array([frame]), dtype=torch.float64)
        pairs = find_pairs(batch, CUTOFF)
        forces[frame] = predict_prior(prior, batch, pairs).forces.numpy()
        if truth is not None:
            forces[frame] += predict_network(truth, batch, pairs).forces.numpy()
    forces += generator.normal(0.0, noise, forces.shape) if noise else 0.0
    return make_trajectory(positions % EDGE, cell=np.eye(3) * EDGE, forces=forces.astype(np.float32), **fields)
