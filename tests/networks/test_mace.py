"""MACE against its published size, the conformance kit, mirror images and its own exact radial functions."""

from dataclasses import replace

import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import Mace, MaceSettings
from beadsmith.networks.mace_layers import RadialNetwork, envelope
from beadsmith.testing import Cluster, build_box, build_cluster, check_network, evaluate, join, site_energies

SMALL = {
    "n_features": 3,
    "radial_widths": (6,),
    "n_readout": 4,
    "cutoff": 0.9,
    "average_neighbors": 8.0,
    "n_knots": 64,
}
CASES = {
    "scalars_of_sums": {"l_max_hidden": 0, "correlation": 1, "l_max": 1},
    "scalars_of_triples": {"l_max_hidden": 0, "correlation": 3, "l_max": 2},
    "vectors_of_pairs": {"l_max_hidden": 1, "correlation": 2, "l_max": 2},
    "tensors_of_pairs": {"l_max_hidden": 2, "correlation": 2, "l_max": 3},
    "tensors_of_triples": {"l_max_hidden": 2, "correlation": 3, "l_max": 2},
    "three_layers": {"l_max_hidden": 1, "correlation": 1, "l_max": 1, "n_layers": 3},
    "one_layer": {"l_max_hidden": 0, "correlation": 2, "l_max": 3, "n_layers": 1},
    "residual_first_layer": {"first_layer": "residual", "l_max_hidden": 1, "l_max": 2},
    "pair_classes": {"pair_classes": True, "l_max_hidden": 1, "l_max": 1},
    "rotations_of_pairs": {"symmetry": "SO(3)", "correlation": 2, "l_max_hidden": 1, "l_max": 2},
    "rotations_of_triples": {"symmetry": "SO(3)", "correlation": 3, "l_max_hidden": 2, "l_max": 2},
}


def build(n_types: int = 1, n_channels: int = 1, seed: int = 0, **settings) -> Mace:
    """Return a small network with random weights."""
    names = tuple("abc"[:n_types])
    generator = torch.Generator().manual_seed(seed)
    return build_network(MaceSettings(**(SMALL | settings)), names, generator, n_channels=n_channels)


@pytest.mark.parametrize("n_knots", [0, 64])
@pytest.mark.parametrize("case", CASES)
def test_mace_keeps_the_contract_of_a_network(case, n_knots):
    check_network(build(2, n_knots=n_knots, **CASES[case]), 2)


def test_mace_with_three_channels_and_three_types_keeps_the_contract_of_a_network():
    check_network(build(3, n_channels=3), 3)


@pytest.mark.parametrize(("correlation", "thousands"), [(1, 98.6), (2, 100.7), (3, 106.1)])
def test_published_settings_have_the_published_number_of_parameters(correlation, thousands):
    # published for correlation 1; with more, dependent couplings of the original basis are left out
    published = MaceSettings(n_features=32, l_max_hidden=1, l_max=3, correlation=correlation)
    network = build_network(published, tuple("abcdef"), torch.Generator())
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1000, 1) == thousands


def test_envelope_is_one_at_zero_and_vanishes_with_two_slopes_at_the_cutoff():
    distances = torch.tensor([0.0, 0.5, 1.0, 1.1], dtype=torch.float64, requires_grad=True)
    values = envelope(distances, 1.0, 6)
    # 1 − 28 x⁶ + 48 x⁷ − 21 x⁸
    expected = torch.tensor([1.0, 1.0 - 28.0 / 64.0 + 48.0 / 128.0 - 21.0 / 256.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(values, expected)
    for _ in range(2):
        (values,) = torch.autograd.grad(values.sum(), distances, create_graph=True)
        torch.testing.assert_close(values[2:], torch.zeros(2, dtype=torch.float64), rtol=0.0, atol=1e-12)


def test_same_seed_gives_same_weights_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two, three = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name))
    assert not torch.equal(one.embedding, three.embedding)


def test_random_weights_give_energies_of_the_order_of_the_energy_scale():
    network = build(n_features=64, l_max=3, average_neighbors=30.0, cutoff=0.8, radial_widths=(64, 64, 64))
    box = build_box(n_sites=125, n_types=1, cutoff=0.8, seed=0, dtype=torch.float32)
    energies = site_energies(network, box) / network.settings.energy_scale
    assert 0.01 < float(energies.abs().mean()) < 100.0


# mirror images ---------------------------------------------------------------------------------------------------


def mirrored(cluster: Cluster) -> Cluster:
    """Return the mirror image in a plane at an angle to all axes."""
    normal = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64)
    return replace(cluster, positions=cluster.positions - 2.0 * (cluster.positions @ normal)[:, None] * normal)


# strong couplings: chirality is a matter of three directions at once, and small where messages are
CHIRAL = {"n_features": 8, "average_neighbors": 1.0, "cutoff": 1.5, "n_knots": 0}


def mirror_difference(network: Mace, n_sites: int) -> float:
    """Return how much the energy of a random cluster changes in a mirror, relative to its size."""
    cluster = build_cluster(n_sites, 1, seed=5)
    network = network.double()
    one = site_energies(network, cluster.pairs(network.cutoff)).sum()
    other = site_energies(network, mirrored(cluster).pairs(network.cutoff)).sum()
    return float((one - other).abs() / one.abs())


@pytest.mark.parametrize("n_sites", [4, 5])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_mirror_images_have_one_energy_where_parity_counts(correlation, n_sites):
    network = build(correlation=correlation, l_max=3, l_max_hidden=2, **CHIRAL)
    assert mirror_difference(network, n_sites) < 1e-12


@pytest.mark.parametrize("n_sites", [4, 5])
@pytest.mark.parametrize("correlation", [2, 3])
@pytest.mark.parametrize(("l_max", "l_max_hidden"), [(1, 1), (2, 1), (3, 2)])
def test_mirror_images_have_different_energies_where_it_does_not(l_max, l_max_hidden, correlation, n_sites):
    network = build(symmetry="SO(3)", correlation=correlation, l_max=l_max, l_max_hidden=l_max_hidden, **CHIRAL)
    assert mirror_difference(network, n_sites) > 1e-7


@pytest.mark.parametrize("settings", [{"correlation": 1}, {"n_layers": 1}, {"l_max_hidden": 0}])
def test_networks_that_could_not_tell_mirror_images_apart_are_refused_with_a_remedy(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"{name} is .* mirror images apart") as caught:
        MaceSettings(symmetry="SO(3)", **settings)
    assert name in str(caught.value.fix)


@pytest.mark.parametrize("settings", [{"correlation": 1}, {"n_layers": 1}, {"l_max_hidden": 0}])
def test_refused_networks_are_indeed_blind_to_mirror_images(settings, monkeypatch):
    monkeypatch.setattr(MaceSettings, "_check_chirality", lambda self: None)
    full = CHIRAL | {"correlation": 3, "l_max": 3, "l_max_hidden": 2}
    network = build(symmetry="SO(3)", **(full | settings))
    assert mirror_difference(network, 5) < 1e-12


# tables ----------------------------------------------------------------------------------------------------------


def test_radial_table_of_the_default_size_is_right_to_five_digits():
    settings = MaceSettings(n_features=16, l_max=3)
    network = build_network(settings, ("a",), torch.Generator().manual_seed(0)).double()
    radial = network.layers[1].radial
    assert isinstance(radial, RadialNetwork)
    assert network.table is not None
    value, slope = network.table.measure_error(lambda r: radial(r, torch.zeros(len(r), dtype=torch.int64)))
    # relative to the largest value and slope; random weights are rougher than trained ones
    assert value < 2e-6
    assert slope < 1e-5


def test_error_of_the_table_falls_with_the_fourth_power_of_the_spacing():
    errors = []
    for n_knots in (128, 256):
        network = build_network(MaceSettings(n_knots=n_knots), ("a",), torch.Generator().manual_seed(0)).double()
        radial = network.layers[0].radial
        error, _ = network.table.measure_error(
            lambda r, radial=radial: radial(r, torch.zeros(len(r), dtype=torch.int64))
        )
        errors.append(error)
    assert 10.0 < errors[0] / errors[1] < 25.0


def test_forces_from_the_default_table_are_those_of_the_exact_radial_functions_to_four_digits():
    box = build_box(n_sites=64, n_types=2, cutoff=0.8, seed=0)
    defaults = {"cutoff": 0.8, "average_neighbors": 30.0, "radial_widths": (64, 64, 64), "n_features": 8}
    tabulated = build(2, **(defaults | {"n_knots": MaceSettings().n_knots})).double()
    exact = build(2, **(defaults | {"n_knots": 0})).double()
    exact.load_state_dict(tabulated.state_dict())
    _, gradient = evaluate(tabulated, box)
    _, expected = evaluate(exact, box)
    assert float((gradient - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_tables_of_frozen_weights_follow_when_other_weights_are_loaded():
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    network, other = build(seed=1).requires_grad_(False), build(seed=2).requires_grad_(False)
    before, _ = evaluate(network, box)
    network.load_state_dict(other.state_dict())
    after, _ = evaluate(network, box)
    assert torch.equal(after, evaluate(other, box)[0])
    assert not torch.equal(after, before)


@pytest.mark.parametrize("case", ["tensors_of_triples", "pair_classes", "rotations_of_pairs"])
def test_fused_sweeps_and_plain_torch_agree_on_a_box(case):
    network = build(2, **CASES[case]).double()
    box = build_box(n_sites=64, n_types=2, cutoff=0.8, seed=0)
    box = replace(box, bond_class=box.pair_index.sum(0) % 5)
    fused = evaluate(network, box)
    network.is_fused = False
    for found, expected in zip(fused, evaluate(network, box), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-11 * float(expected.abs().max()))


# inputs ----------------------------------------------------------------------------------------------------------


def test_bond_classes_count_only_if_they_are_asked_for():
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    bonded = replace(box, bond_class=torch.full_like(box.bond_class, 2))
    blind, aware = build(), build(pair_classes=True)
    assert torch.equal(evaluate(blind, bonded)[0], evaluate(blind, box)[0])
    assert not torch.allclose(evaluate(aware, bonded)[0], evaluate(aware, box)[0])


def test_energies_are_reproduced_bit_for_bit():
    network = build().requires_grad_(False)
    box = build_box(n_sites=64, n_types=1, cutoff=0.8, seed=0, dtype=torch.float32)
    (energies, gradient), (again, gradient_again) = evaluate(network, box), evaluate(network, box)
    assert torch.equal(energies, again)
    assert torch.equal(gradient, gradient_again)


def test_energies_of_a_box_do_not_depend_on_the_rest_of_its_batch():
    network = build(2).requires_grad_(False)
    boxes = [build_box(n_sites=64, n_types=2, cutoff=0.8, seed=seed, dtype=torch.float32) for seed in range(3)]
    together, _ = evaluate(network, join(boxes))
    alone = torch.cat([evaluate(network, box)[0] for box in boxes])
    # a few roundings: matrix products of other sizes may sum in another order
    torch.testing.assert_close(together, alone, rtol=0.0, atol=1e-6 * float(alone.abs().max()))


@pytest.mark.parametrize("n_knots", [0, 64])
def test_a_position_that_is_not_a_number_reaches_the_energy(n_knots):
    network = build(n_knots=n_knots)
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
    [
        ("n_features", 0),
        ("l_max_hidden", 3),
        ("l_max", 4),
        ("correlation", 4),
        ("n_layers", 0),
        ("symmetry", "E(3)"),
        ("cutoff", -1.0),
        ("average_neighbors", 0.0),
        ("n_radial", 0),
        ("envelope_power", 1),
        ("radial_widths", (64, 0)),
        ("n_readout", 0),
        ("first_layer", "none"),
        ("n_knots", 8),
        ("energy_scale", float("nan")),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        MaceSettings(**{field: value})


def test_features_of_a_higher_degree_than_all_harmonics_are_refused():
    with pytest.raises(InputError, match="l_max_hidden is 2, expected at most l_max, 1"):
        MaceSettings(l_max_hidden=2, l_max=1)


@pytest.mark.parametrize(("type_names", "n_channels"), [((), 1), (("a",), 0)])
def test_networks_without_types_or_channels_are_refused(type_names, n_channels):
    with pytest.raises(InputError, match="a bead type and a channel"):
        build_network(MaceSettings(), type_names, torch.Generator(), n_channels=n_channels)
