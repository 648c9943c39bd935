"""Equality with the SchNet of PyTorch Geometric on the same weights."""

import math

import pytest
import torch
from torch import nn

from beadsmith.networks.schnet import Schnet, SchnetSettings
from beadsmith.testing import NetworkInput, build_box

peers = pytest.importorskip("torch_geometric.nn.models.schnet", reason="torch_geometric (extra 'test') is missing")

N_BOXES = 5
CUTOFF = 0.8


def build_both(n_interactions: int, n_types: int, dtype: torch.dtype) -> tuple[nn.Module, Schnet]:
    """Return the peer's network, and ours with the same weights."""
    torch.manual_seed(5)
    peer = peers.SchNet(
        hidden_channels=16, num_filters=12, num_interactions=n_interactions, num_gaussians=20, cutoff=CUTOFF
    )
    # the peer rounds these constants to float32
    peer.distance_expansion.offset = torch.linspace(0.0, CUTOFF, 20, dtype=torch.float64)
    peer.distance_expansion.coeff = -0.5 * (19 / CUTOFF) ** 2
    for module in peer.modules():
        if isinstance(module, peers.ShiftedSoftplus):
            module.shift = math.log(2.0)
    settings = SchnetSettings(
        n_features=16,
        n_filters=12,
        n_interactions=n_interactions,
        n_radial=20,
        n_output_features=8,
        cutoff=CUTOFF,
        activation="shifted_softplus",
        n_knots=0,
        energy_scale=1.0,
    )
    ours = Schnet(settings, tuple("abc"[:n_types])).double()
    load_peer_weights(ours, peer.double())
    return peer.to(dtype), ours.to(dtype)


@torch.no_grad()
def load_peer_weights(ours: Schnet, peer: nn.Module) -> None:
    """Copy the peer's weights; its type 0 means a padded place."""
    ours.embedding.copy_(peer.embedding.weight[1 : 1 + len(ours.type_names)])
    for filters, exchange, block in zip(ours.filters, ours.exchanges, peer.interactions, strict=True):
        filters.hidden.load_state_dict(block.mlp[0].state_dict())
        filters.output.load_state_dict(block.mlp[2].state_dict())
        exchange.send.load_state_dict(block.conv.lin1.state_dict())
        exchange.receive.load_state_dict(block.conv.lin2.state_dict())
        exchange.update.load_state_dict(block.lin.state_dict())
    ours.output_layers[0].load_state_dict(peer.lin1.state_dict())
    ours.readout.load_state_dict(peer.lin2.state_dict())


def predict_with_peer(peer: nn.Module, box: NetworkInput) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the peer's site energies and their derivative with respect to the pair vectors."""
    vectors = box.pair_vectors.clone().requires_grad_()
    distances = torch.linalg.vector_norm(vectors, dim=1)
    radial = peer.distance_expansion(distances)
    features = peer.embedding(box.types + 1)
    for block in peer.interactions:
        features = features + block(features, box.pair_index.flip(0), distances, radial)
    energies = peer.lin2(peer.act(peer.lin1(features)))
    (gradient,) = torch.autograd.grad(energies.sum(), vectors)
    return energies.detach().squeeze(1), gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_types", [1, 2])
@pytest.mark.parametrize("n_interactions", [1, 3])
def test_energies_and_forces_of_periodic_boxes_equal_pytorch_geometric(n_interactions, n_types, dtype):
    # rounding: the largest of 64 sites is compared with the largest of its box
    tolerance = 1e-5 if dtype is torch.float32 else 1e-10
    peer, ours = build_both(n_interactions, n_types, dtype)
    for seed in range(N_BOXES):
        box = build_box(n_sites=64, n_types=n_types, cutoff=CUTOFF, seed=seed, dtype=dtype)
        energies, gradient = predict_with_peer(peer, box)
        weights = torch.ones(64, 1, dtype=dtype)
        site_energies, pair_gradient = ours.pair_gradient(
            box.types, box.pair_index, box.pair_vectors, box.bond_class, weights
        )
        assert_equal(site_energies, energies, tolerance)
        assert_equal(sum_forces(box, pair_gradient), sum_forces(box, gradient), tolerance)


def assert_equal(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Compare relative to the largest value."""
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance * float(expected.abs().max()))


def sum_forces(box: NetworkInput, gradient: torch.Tensor) -> torch.Tensor:
    """Return the force on each site from the derivative with respect to each pair vector."""
    forces = torch.zeros(len(box.types), 3, dtype=gradient.dtype)
    return forces.index_add(0, box.pair_index[0], gradient).index_add(0, box.pair_index[1], -gradient)
