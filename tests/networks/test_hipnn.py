"""HIP-NN-TS against its published numbers and the conformance kit."""

import copy
from dataclasses import replace

import pytest
import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import InputError
from beadsmith.kernels.threads import split_rows
from beadsmith.networks.hipnn import Hipnn, HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.testing import build_box, build_cluster, check_network, evaluate, join

SMALL = {"n_features": 9, "n_sensitivities": 7, "n_atom_layers": 2, "cutoff": 0.9, "soft_max": 0.8}


def build(n_types: int = 1, n_channels: int = 1, seed: int = 0, **settings) -> Hipnn:
    """Return a small network with random weights."""
    names = tuple("abc"[:n_types])
    generator = torch.Generator().manual_seed(seed)
    return build_network(HipnnSettings(**(SMALL | settings)), names, generator, n_channels=n_channels)


@pytest.mark.parametrize("n_types", [1, 3])
@pytest.mark.parametrize("n_interactions", [1, 2])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_hipnn_keeps_the_contract_of_a_network(l_max, n_interactions, n_types):
    check_network(build(n_types, l_max=l_max, n_interactions=n_interactions), n_types)


def test_hipnn_with_three_channels_and_three_interactions_keeps_the_contract_of_a_network():
    check_network(build(2, n_channels=3, l_max=2, n_interactions=3), 2)


def test_published_settings_have_118954_parameters():
    published = HipnnSettings(l_max=2, n_features=128, cutoff=1.5, soft_min=0.2, soft_max=1.3)
    network = build_network(published, ("methanol",), torch.Generator())
    assert sum(parameter.numel() for parameter in network.parameters()) == 118_954


def test_published_radial_functions_have_the_published_centres_and_width():
    published = HipnnSettings(l_max=2, n_features=128, cutoff=1.5, soft_min=0.2, soft_max=1.3)
    sensitivities = build_network(published, ("methanol",), torch.Generator()).blocks[0].interaction.sensitivities
    centres = [13.0, 10.1, 8.2, 7.0, 6.0, 5.3, 4.75, 4.3, 3.9, 3.6, 3.3, 3.1, 2.9, 2.7, 2.6, 2.4, 2.3, 2.2, 2.1, 2.0]
    # published in angstrom, rounded to 0.1 (0.05 once)
    torch.testing.assert_close(sensitivities.centres.detach() * 10.0, torch.tensor(centres), rtol=0.0, atol=0.051)
    assert sensitivities.widths.detach().tolist() == pytest.approx([8.0] * 20)


def test_radial_function_is_one_times_the_cutoff_function_at_its_centre():
    sensitivities = build().blocks[0].interaction.sensitivities
    values = sensitivities(sensitivities.centres, torch.zeros(7, dtype=torch.int64))
    expected = torch.cos(torch.pi * sensitivities.centres / (2 * 0.9)) ** 2
    torch.testing.assert_close(values.diagonal(), expected)


def test_interaction_weights_have_the_published_spread():
    # V ~ N(0, 2 / (F_in (F_out + K))): 80,000 numbers, so the spread is known to 0.25 %
    network = build(n_features=100, n_sensitivities=8, n_interactions=2, l_max=0)
    weights = network.blocks[1].interaction.weights.detach()
    assert weights.numel() == 80_000
    assert float(weights.std()) == pytest.approx((2 / (100 * (100 + 8))) ** 0.5, rel=0.01)


def test_same_seed_gives_same_weights_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two, three = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name))
    assert not torch.equal(one.readouts[0].weight, three.readouts[0].weight)


def test_energies_are_reproduced_bit_for_bit():
    network = build(n_interactions=2).requires_grad_(False)
    box = build_box(n_sites=64, n_types=1, cutoff=0.8, seed=0, dtype=torch.float32)
    (energies, gradient), (again, gradient_again) = evaluate(network, box), evaluate(network, box)
    assert torch.equal(energies, again)
    assert torch.equal(gradient, gradient_again)


def test_energies_of_a_box_do_not_depend_on_the_rest_of_its_batch_by_a_single_bit():
    network = build(2, l_max=2).requires_grad_(False)
    boxes = [build_box(n_sites=64, n_types=2, cutoff=0.8, seed=seed, dtype=torch.float32) for seed in range(3)]
    together, _ = evaluate(network, join(boxes))
    assert torch.equal(together, torch.cat([evaluate(network, box)[0] for box in boxes]))


@pytest.mark.parametrize("l_max", [1, 2])
def test_sites_with_few_and_with_many_neighbours_predict_the_same_with_and_without_a_graph(l_max):
    network = build(3, n_channels=2, l_max=l_max, pair_classes=True).double().requires_grad_(False)
    cluster, box = build_cluster(10, 3, seed=0).pairs(0.9), build_box(n_sites=258, n_types=3, cutoff=0.9, seed=0)
    counts = [len(part.pair_vectors) / len(part.types) for part in (cluster, box)]
    # the two ways through the kernel part at (types × components) neighbours
    assert counts[0] < 3 * (l_max + 1) ** 2 < counts[1]
    for part in (cluster, box):
        for one, other in zip(evaluate(network, part), evaluate(network, part, create_graph=True), strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-10, atol=1e-10)
    together, _ = evaluate(network, join([cluster, box, cluster]))
    parts = [evaluate(network, part)[0] for part in (cluster, box)]
    assert torch.equal(together, torch.cat([*parts, parts[0]]))


@pytest.mark.parametrize("change", ["in place", "replaced", "moved", "copied"])
def test_frozen_networks_notice_that_their_weights_changed(change):
    network = build().requires_grad_(False)
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    before, _ = evaluate(network, box)
    weights = network.readouts[0].weight
    if change == "in place":
        weights.mul_(2.0)
    elif change == "replaced":
        network.readouts[0].weight = torch.nn.Parameter(2.0 * weights, requires_grad=False)
    elif change == "moved":
        weights.data = 2.0 * weights
    else:
        network = copy.deepcopy(network)
        network.readouts[0].weight.mul_(2.0)
    after, _ = evaluate(network, box)
    assert not torch.allclose(before, after)
    expected, _ = evaluate(network, box, create_graph=True)
    torch.testing.assert_close(after, expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_wide_networks_predict_the_same_with_and_without_a_graph(n_interactions):
    network = build(n_features=70, n_interactions=n_interactions)
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0)
    for one, other in zip(evaluate(network.double(), box), evaluate(network, box, create_graph=True), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-10, atol=1e-10)


@pytest.fixture
def two_threads():
    """Let the sweeps run on two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def differentiate_forces(network, box):
    """Return energies, gradient and the parameters' gradients of a loss on both."""
    energies, gradient = evaluate(network, box, create_graph=True)
    parameters = torch.autograd.grad(energies.sum() + (gradient**2).sum(), list(network.parameters()))
    return [energies.detach(), gradient.detach(), *parameters]


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_two_threads_predict_and_train_like_the_twin_and_repeat_every_bit(two_threads, n_interactions):
    network = build(2, l_max=2, n_interactions=n_interactions, pair_classes=True).double()
    box = build_box(n_sites=258, n_types=2, cutoff=0.9, seed=0)
    assert len(split_rows(torch.bincount(box.pair_index[0]).cumsum(0).numpy())) == 2
    found, again = (differentiate_forces(network, box) for _ in range(2))
    weights = torch.ones(258, 1, dtype=torch.float64)
    arguments = (box.types, box.pair_index, box.pair_vectors, box.bond_class, weights)
    energies, gradient = AbstractNetwork.pair_gradient(network, *arguments, create_graph=True)
    slopes = torch.autograd.grad(
        energies.sum() + (gradient**2).sum(), list(network.parameters()), allow_unused=True, materialize_grads=True
    )
    for one, two, twin in zip(found, again, [energies.detach(), gradient.detach(), *slopes], strict=True):
        assert torch.equal(one, two)
        # rounding of sums over 12,000 pairs in float64
        torch.testing.assert_close(one, twin, rtol=0.0, atol=1e-10 * max(1.0, float(twin.abs().max())))
    for one, other in zip(evaluate(network, box), found, strict=False):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-10 * max(1.0, float(other.abs().max())))


def differentiate_any_loss(network, box):
    """Return energies, gradient and the derivatives of a loss on both, every one of which counts differently."""
    generator = torch.Generator().manual_seed(5)
    energies, gradient = evaluate(network, box, create_graph=True)
    labels = torch.randn(gradient.shape, generator=generator, dtype=torch.float64).to(gradient.dtype)
    weights = torch.randn(energies.shape, generator=generator, dtype=torch.float64).to(energies.dtype)
    loss = ((gradient - labels) ** 2).sum() + (energies * weights).sum()
    slopes = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, materialize_grads=True)
    return [energies.detach(), gradient.detach(), *slopes]


# sums over some 2,000 pairs; relative to the largest derivative of each parameter
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize(
    ("n_atom_layers", "n_types", "n_channels", "n_features"), [(0, 1, 1, 9), (1, 3, 2, 3), (2, 1, 2, 1), (3, 2, 1, 20)]
)
def test_one_interaction_has_the_forces_and_the_parameter_gradients_of_the_twin(
    n_atom_layers, n_types, n_channels, n_features, l_max, dtype, tolerance
):
    settings = {"l_max": l_max, "n_atom_layers": n_atom_layers, "n_features": n_features}
    network = build(n_types, n_channels=n_channels, pair_classes=n_types > 1, **settings).to(dtype)
    # as many types as features: nothing is projected
    assert (network.blocks[0].residual.projection is None) == (n_types == n_features)
    box = build_box(n_sites=64, n_types=n_types, cutoff=0.8, seed=0, dtype=dtype)
    box = replace(box, bond_class=torch.arange(len(box.bond_class)) % 5)
    found = differentiate_any_loss(network, box)
    network.is_fused = False
    for one, twin in zip(found, differentiate_any_loss(network, box), strict=True):
        assert one.shape == twin.shape
        if twin.numel():
            torch.testing.assert_close(one, twin, rtol=0.0, atol=tolerance * float(twin.abs().max()))


def test_a_loss_of_forces_alone_says_nothing_of_constant_energies():
    network = build(2, n_channels=2)
    box = build_box(n_sites=64, n_types=2, cutoff=0.8, seed=0, dtype=torch.float32)
    _, gradient = evaluate(network, box, create_graph=True)
    gradient.square().sum().backward()
    assert not network.type_readout.weight.grad.any()
    assert not network.readouts[0].bias.grad.any()
    assert network.readouts[0].weight.grad.any()


@pytest.mark.parametrize("n_interactions", [1, 2])
def test_a_network_with_pair_classes_keeps_the_contract_of_a_network(n_interactions):
    network = build(2, l_max=2, n_interactions=n_interactions, pair_classes=True)
    for block in network.blocks:
        torch.nn.init.uniform_(block.interaction.sensitivities.amplitudes, 0.5, 1.5, generator=torch.Generator())
    check_network(network, 2)


def test_pair_classes_start_as_a_network_without_them_and_then_tell_bonded_pairs_apart():
    plain, classes = build(n_interactions=2), build(n_interactions=2, pair_classes=True)
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    bonded = replace(box, bond_class=torch.ones_like(box.bond_class))
    for one, other in zip(evaluate(plain, bonded), evaluate(classes, bonded), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        classes.blocks[0].interaction.sensitivities.amplitudes[1] = 0.5
    assert torch.equal(evaluate(classes, box)[0], evaluate(plain, box)[0])
    assert not torch.equal(evaluate(classes, bonded)[0], evaluate(plain, box)[0])


def test_networks_without_pair_classes_have_no_amplitudes_to_load():
    assert not [name for name in build().state_dict() if "amplitudes" in name]
    config = build().to_config()
    del config["settings"]["pair_classes"]
    assert Hipnn.from_config(config).settings == build().settings


def test_a_position_that_is_not_a_number_reaches_the_energy():
    network = build()
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    box.pair_vectors[0, 1] = torch.nan
    energies, gradient = evaluate(network, box)
    assert torch.isnan(energies[0])
    assert torch.isnan(gradient[0]).any()


def test_pairs_out_of_order_are_refused():
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    with pytest.raises(InputError, match="not sorted"):
        evaluate(build(), replace(box, pair_index=box.pair_index.flip(1)))


def test_vectors_of_another_precision_than_the_weights_are_refused():
    with pytest.raises(InputError, match="float64"):
        evaluate(build(), build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0))


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_features", 0), ("n_interactions", 0), ("cutoff", -1.0), ("soft_min", 0.95), ("soft_max", 1.2), ("l_max", 3)],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        HipnnSettings(**{field: value})
