"""Networks whose sums over neighbours are Triton kernels against plain torch: on a GPU, or on a CPU, interpreted."""

import pytest
import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.kernels import triton
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.testing import build_cluster
from host_watch import HostWatch, leave_the_host

pytest.importorskip("triton", reason="the wheel of triton (286 MB) is installed by 'make test-triton' only")
from beadsmith.kernels.triton import couplings, filters, messages

N_SITES, N_TYPES = 8, 2
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def usable_everywhere(monkeypatch):
    monkeypatch.setattr(triton, "is_usable", lambda device: True)


def make_network(kind):
    generator, names = torch.Generator().manual_seed(0), ("a", "b")
    if kind == "hipnn":
        settings = HipnnSettings(
            l_max=2, n_interactions=2, n_features=5, n_sensitivities=4, n_atom_layers=1, cutoff=0.6, soft_max=0.5
        )
    elif kind == "mace":
        settings = MaceSettings(
            n_features=3, l_max=1, cutoff=0.6, n_knots=32, radial_widths=(4,), n_readout=3, n_radial=4
        )
    else:
        settings = SchnetSettings(
            n_features=5, n_filters=6, n_interactions=2, n_radial=6, n_output_features=4, cutoff=0.6, n_knots=32
        )
    return build_network(settings, names, generator)


def predict(network, pairs, dtype, device, pair_gradient):
    """Return energies, dE/d(pair vectors), and the gradient of a loss on both by all parameters."""
    network = network.to(device, dtype)
    inputs = (pairs.types, pairs.pair_index, pairs.pair_vectors.to(dtype), pairs.bond_class)
    inputs = [tensor.to(device) for tensor in inputs]
    weights = torch.ones(N_SITES, 1, dtype=dtype, device=device)
    energies, gradient = pair_gradient(network, *inputs, weights, create_graph=True)
    loss = (energies**2).sum() + (gradient**2).sum()
    on_parameters = torch.autograd.grad(loss, list(network.parameters()))
    without_graph = pair_gradient(network, *inputs, weights)
    assert not any(tensor.requires_grad for tensor in without_graph)
    return energies, gradient, *without_graph, torch.cat([part.flatten() for part in on_parameters])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["hipnn", "schnet", "mace"])
def test_energies_forces_and_their_gradients_equal_plain_torch(device, kind, dtype):
    # the list reaches beyond the cutoff, as one with a skin does
    pairs = build_cluster(N_SITES, N_TYPES, seed=0).pairs(0.8)
    network = make_network(kind)
    found = predict(network, pairs, dtype, device, type(network).pair_gradient)
    expected = predict(network, pairs, dtype, device, AbstractNetwork.pair_gradient)
    for one, other in zip(found, expected, strict=True):
        tolerance = TOLERANCE[dtype] * float(other.detach().abs().max())
        torch.testing.assert_close(one, other, rtol=0.0, atol=tolerance)


def test_changed_weights_are_noticed_by_tables_that_are_kept(device):
    pairs = build_cluster(N_SITES, N_TYPES, seed=0).pairs(0.8)
    network = make_network("schnet").double().to(device).requires_grad_(False)
    inputs = [tensor.to(device) for tensor in (pairs.types, pairs.pair_index, pairs.pair_vectors, pairs.bond_class)]
    weights = torch.ones(N_SITES, 1, dtype=torch.float64, device=device)
    first, _ = network.pair_gradient(*inputs, weights)
    network.filters[0].output.weight.mul_(1.5)
    second, _ = network.pair_gradient(*inputs, weights)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(second, network(*inputs)[:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["hipnn", "schnet", "mace"])
def test_a_force_call_never_makes_the_host_wait(kind, monkeypatch):
    for module in (couplings, filters, messages):
        monkeypatch.setattr(module, "launch", lambda kernel, grid, *arguments: None)
    pairs = build_cluster(N_SITES, N_TYPES, seed=0).pairs(0.8)
    network = make_network(kind).double().requires_grad_(False).to("meta")
    inputs = (pairs.types, pairs.pair_index, pairs.pair_vectors, pairs.bond_class, torch.ones(N_SITES, 1).double())
    inputs = leave_the_host(inputs, set())
    # constants that are made once are made here, as in the calls before a capture
    network.pair_gradient(*inputs)
    with HostWatch():
        network.pair_gradient(*inputs)
