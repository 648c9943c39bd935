"""Kept tables follow the weights: changed in place, replaced, or those of a copy."""

import copy

import pytest
import torch

from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.testing import build_cluster, evaluate

BUILDERS = {
    "schnet": lambda: build_network(
        SchnetSettings(cutoff=0.8, n_features=16, n_filters=16, n_radial=8, n_knots=64),
        ("a",),
        torch.Generator().manual_seed(0),
    ),
    "mace": lambda: build_network(
        MaceSettings(cutoff=0.8, n_features=4, l_max_hidden=0, n_knots=64), ("a",), torch.Generator().manual_seed(0)
    ),
}


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("is_copied", [False, True])
@pytest.mark.parametrize("n_earlier_changes", [0, 1])
def test_a_change_of_frozen_weights_changes_the_forces(kind, is_copied, n_earlier_changes):
    """A copy counts the changes of its weights from zero: n changes before must not pass for n changes after."""
    network = BUILDERS[kind]().double().requires_grad_(False)
    system = build_cluster(8, 1, seed=0).pairs(0.8)
    for _ in range(n_earlier_changes):
        for parameter in network.parameters():
            parameter.mul_(1.01)
    evaluate(network, system)
    if is_copied:
        network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.mul_(1.1)
    _, found = evaluate(network, system)
    network.is_fused = False
    _, expected = evaluate(network, system)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-10 * float(expected.abs().max()))
