"""SchNet without a graph, with folded weights, against automatic differentiation of the readable twin."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from beadsmith.kernels import threads
from beadsmith.kernels.schnet import build_filter_rows
from beadsmith.networks.kinds import build_network
from beadsmith.networks.schnet import Schnet, SchnetSettings
from beadsmith.testing import NetworkInput, build_box, evaluate

CUTOFF = 0.8


def build(**settings) -> Schnet:
    """Return a frozen network with random weights, biases too, in float64."""
    small = {"n_features": 9, "n_filters": 19, "n_radial": 12, "n_output_features": 5, "cutoff": CUTOFF, "n_knots": 128}
    generator = torch.Generator().manual_seed(0)
    network = build_network(SchnetSettings(**(small | settings)), ("a", "b"), generator, n_channels=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3, generator=generator)
    return network.double().requires_grad_(False)


def build_input(seed: int = 0) -> NetworkInput:
    """Return a box of 70 sites whose pairs have classes: blocks of sites are not all full."""
    box = build_box(n_sites=70, n_types=2, cutoff=CUTOFF, seed=seed)
    return replace(box, bond_class=box.pair_index.sum(0) % 5)


def assert_equal_to_twin(network: Schnet, box: NetworkInput, tolerance: float) -> None:
    """Compare with automatic differentiation of `forward`, relative to the largest energy and force."""
    found = evaluate(network, box)
    network.is_fused = False
    expected = evaluate(network, box)
    network.is_fused = True
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("activation", ["tanh", "shifted_softplus", "silu"])
@pytest.mark.parametrize(("n_interactions", "n_output_layers"), [(1, 0), (1, 1), (2, 2), (4, 1)])
def test_predictions_equal_the_twin_at_any_depth(n_interactions, n_output_layers, activation):
    network = build(n_interactions=n_interactions, n_output_layers=n_output_layers, activation=activation)
    assert_equal_to_twin(network, build_input(), 1e-10)


@pytest.mark.parametrize("n_filters", [8, 64])
def test_predictions_with_pair_classes_equal_the_twin(n_filters):
    assert_equal_to_twin(build(pair_classes=True, n_filters=n_filters, n_features=16), build_input(), 1e-10)


@pytest.mark.parametrize("activation", ["tanh", "shifted_softplus", "silu"])
@pytest.mark.parametrize("n_filters", [5, 128])
def test_predictions_in_single_precision_equal_the_twin(n_filters, activation):
    network = build(n_interactions=3, n_features=128, n_filters=n_filters, activation=activation).float()
    # the place in an interval is known to 1e-5 in float32
    assert_equal_to_twin(network, build_input().to(torch.float32), 2e-5)


def test_predictions_follow_weights_that_are_trained():
    box, network = build_input(), build()
    before, _ = evaluate(network, box)
    network.requires_grad_(True)
    with torch.no_grad():
        network.exchanges[1].update.bias += 0.5
    after, _ = evaluate(network, box)
    assert float((after - before).abs().min()) > 1e-3
    assert_equal_to_twin(network, box, 1e-10)


def test_predictions_follow_a_layer_that_is_replaced():
    box, network = build_input(), build()
    before, _ = evaluate(network, box)
    network.readout = nn.Linear(5, 2).double().requires_grad_(False)
    assert not torch.allclose(evaluate(network, box)[0], before)
    assert_equal_to_twin(network, box, 1e-10)


def test_predictions_need_no_pairs():
    box, network = build_input(), build()
    pairs = {
        "pair_index": box.pair_index[:, :0],
        "pair_vectors": box.pair_vectors[:0],
        "bond_class": box.bond_class[:0],
    }
    energies, gradient = evaluate(network, replace(box, **pairs))
    assert gradient.shape == (0, 3)
    network.is_fused = False
    expected, _ = evaluate(network, replace(box, **pairs))
    torch.testing.assert_close(energies, expected, rtol=1e-12, atol=1e-12)


def test_a_position_that_is_not_a_number_reaches_the_energy():
    box, network = build_input(), build(n_interactions=3)
    box.pair_vectors[0, 1] = torch.nan
    energies, gradient = evaluate(network, box)
    assert torch.isnan(energies[0])
    assert torch.isnan(gradient[0]).any()


def test_two_threads_are_reproducible_bit_for_bit(monkeypatch):
    box, network = build_input(), build(n_interactions=3)
    alone = evaluate(network, box)
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_SMALLEST_BLOCK", 10)
    try:
        torch.set_num_threads(2)
        rows = build_filter_rows(box.pair_index, box.pair_vectors, None, n_sites=70, n_intervals=128, cutoff=CUTOFF)
        assert len(rows.blocks) == 2
        first, again = evaluate(network, box), evaluate(network, box)
    finally:
        torch.set_num_threads(before)
    for one, other, single in zip(first, again, alone, strict=True):
        assert torch.equal(one, other)
        # products of the last sites of a block may add in another order
        torch.testing.assert_close(one, single, rtol=0.0, atol=1e-13 * float(single.abs().max()))
