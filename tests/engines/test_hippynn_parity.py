"""Equality with hippynn, the library HIP-NN-TS comes from, on the same weights."""

import warnings

import pytest
import torch
from torch import nn

from beadsmith.networks.hipnn import Hipnn, HipnnSettings
from beadsmith.testing import build_box

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    hippynn = pytest.importorskip("hippynn", reason="hippynn (extra 'test') is not installed")
    peers = pytest.importorskip("hippynn.networks.hipnn")
    targets = pytest.importorskip("hippynn.layers.targets")

PEERS = (peers.Hipnn, peers.HipnnVec, peers.HipnnQuad)
N_BOXES = 5


@pytest.fixture(autouse=True)
def quiet_peer():
    """Use hippynn's plain torch kernels, which run in both precisions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hippynn.custom_kernels.set_custom_kernels("pytorch")
        yield


def build_both(l_max: int, n_interactions: int, n_types: int, dtype: torch.dtype):
    """Return hippynn's network and readout, and ours with the same weights; hippynn works in angstrom."""
    torch.manual_seed(5)
    settings = HipnnSettings(
        l_max=l_max,
        n_interactions=n_interactions,
        n_features=16,
        n_sensitivities=12,
        cutoff=0.8,
        soft_max=0.7,
        # the value of hippynn
        cusp=1e-6,
        energy_scale=1.0,
    )
    shape = {"n_features": 16, "n_sensitivities": 12, "n_atom_layers": 3, "n_interaction_layers": n_interactions}
    peer = PEERS[l_max](dist_soft_min=2.4, dist_soft_max=7.0, dist_hard_max=8.0, n_input_features=n_types, **shape)
    peer, readout = peer.double(), targets.HEnergy(peer.feature_sizes).double()
    ours = Hipnn(settings, tuple("abc"[:n_types])).double()
    load_peer_weights(ours, peer, readout)
    return peer.to(dtype), readout.to(dtype), ours.to(dtype)


@torch.no_grad()
def load_peer_weights(ours: Hipnn, peer: nn.Module, readout: nn.Module) -> None:
    """Copy hippynn's weights; only the two lengths of the radial functions change units."""
    for block, peer_block in zip(ours.blocks, peer.blocks, strict=True):
        wrapped, interaction = peer_block[0], block.interaction
        layer = wrapped.base_layer
        interaction.sensitivities.centres.copy_(0.1 * layer.sensitivity.mu.squeeze(0))
        interaction.sensitivities.widths.copy_(0.1 * layer.sensitivity.sigma.squeeze(0))
        interaction.weights.copy_(layer.int_weights)
        interaction.self_interaction.load_state_dict(layer.selfint.state_dict())
        for rank, name in enumerate(("vecscales", "quadscales")[: interaction.tensor_scales.shape[0]]):
            interaction.tensor_scales[rank] = getattr(layer, name)
        load_residual(block.residual, wrapped)
        for atom_layer, peer_layer in zip(block.atom_layers, peer_block[1:], strict=True):
            atom_layer.layer.load_state_dict(peer_layer.base_layer.state_dict())
            load_residual(atom_layer.residual, peer_layer)
    for layer, peer_layer in zip((ours.type_readout, *ours.readouts), readout.layers, strict=True):
        layer.load_state_dict(peer_layer.state_dict())


def load_residual(residual: nn.Module, peer_layer: nn.Module) -> None:
    """Copy the weights of one residual wrapper."""
    residual.output.load_state_dict(peer_layer.res_layer.state_dict())
    if residual.projection is not None:
        residual.projection.load_state_dict(peer_layer.adjust_layer.state_dict())


def predict_with_peer(peer: nn.Module, readout: nn.Module, box) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hippynn's site energies and their derivative with respect to the pair vectors in nm."""
    vectors = box.pair_vectors.clone().requires_grad_()
    coordinates = 10.0 * vectors
    one_hot = nn.functional.one_hot(box.types, peer.nf_in).to(vectors.dtype)
    geometry = [*box.pair_index, torch.linalg.vector_norm(coordinates, dim=1)]
    if type(peer) is not peers.Hipnn:
        geometry.append(coordinates)
    features = peer(one_hot, *geometry)
    energies = sum(layer(part) for layer, part in zip(readout.layers, features, strict=True))
    (gradient,) = torch.autograd.grad(energies.sum(), vectors)
    return energies.detach().squeeze(1), gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_types", [1, 2])
@pytest.mark.parametrize("n_interactions", [1, 2])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_energies_and_forces_of_periodic_boxes_equal_hippynn(l_max, n_interactions, n_types, dtype):
    # rounding: the largest of 64 sites is compared with the largest of its box
    tolerance = 1e-5 if dtype is torch.float32 else 1e-10
    peer, readout, ours = build_both(l_max, n_interactions, n_types, dtype)
    for seed in range(N_BOXES):
        box = build_box(n_sites=64, n_types=n_types, cutoff=0.8, seed=seed, dtype=dtype)
        energies, gradient = predict_with_peer(peer, readout, box)
        weights = torch.ones(64, 1, dtype=dtype)
        site_energies, pair_gradient = ours.pair_gradient(
            box.types, box.pair_index, box.pair_vectors, box.bond_class, weights
        )
        torch.testing.assert_close(site_energies, energies, rtol=0.0, atol=tolerance * float(energies.abs().max()))
        forces = sum_forces(box, pair_gradient)
        expected = sum_forces(box, gradient)
        torch.testing.assert_close(forces, expected, rtol=0.0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l_max", [1, 2])
def test_two_threads_give_the_energies_and_forces_of_hippynn(l_max, dtype):
    tolerance = 1e-5 if dtype is torch.float32 else 1e-10
    peer, readout, ours = build_both(l_max, 2, 2, dtype)
    box = build_box(n_sites=216, n_types=2, cutoff=0.8, seed=0, dtype=dtype)
    energies, gradient = predict_with_peer(peer, readout, box)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for create_graph in (False, True):
            found = ours.pair_gradient(
                box.types,
                box.pair_index,
                box.pair_vectors,
                box.bond_class,
                torch.ones(216, 1, dtype=dtype),
                create_graph=create_graph,
            )
            for one, expected in ((found[0], energies), (sum_forces(box, found[1]), sum_forces(box, gradient))):
                torch.testing.assert_close(
                    one.detach(), expected, rtol=0.0, atol=tolerance * float(expected.abs().max())
                )
    finally:
        torch.set_num_threads(before)


def sum_forces(box, gradient: torch.Tensor) -> torch.Tensor:
    """Return the force on each site from the derivative with respect to each pair vector."""
    forces = torch.zeros(len(box.types), 3, dtype=gradient.dtype)
    return forces.index_add(0, box.pair_index[0], gradient).index_add(0, box.pair_index[1], -gradient)
