"""SchNet against the conformance kit, the closed forms of its parts and its exact twin."""

import math
from dataclasses import replace

import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.networks.activations import activate, activate_with_slope
from beadsmith.networks.kinds import build_network
from beadsmith.networks.radial_bases import build_radial_basis, cosine_cutoff
from beadsmith.networks.schnet import Schnet, SchnetSettings
from beadsmith.testing import build_box, check_network, evaluate, join, site_energies

SMALL = {"n_features": 9, "n_filters": 7, "n_radial": 12, "n_output_features": 5, "cutoff": 0.9}
BASES = ["gaussian", "exponential_normal", "bessel"]
ACTIVATIONS = ["tanh", "shifted_softplus", "silu"]


def build(n_types: int = 1, n_channels: int = 1, seed: int = 0, **settings) -> Schnet:
    """Return a small network with random weights."""
    names = tuple("abc"[:n_types])
    generator = torch.Generator().manual_seed(seed)
    return build_network(SchnetSettings(**(SMALL | settings)), names, generator, n_channels=n_channels)


@pytest.mark.parametrize("n_knots", [0, 64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("radial_basis", BASES)
def test_schnet_keeps_the_contract_of_a_network(radial_basis, activation, n_knots):
    check_network(build(2, radial_basis=radial_basis, activation=activation, n_knots=n_knots), 2)


@pytest.mark.parametrize("n_knots", [0, 64])
def test_schnet_with_pair_classes_and_three_channels_keeps_the_contract_of_a_network(n_knots):
    check_network(build(3, n_channels=3, pair_classes=True, n_knots=n_knots), 3)


@pytest.mark.parametrize(("n_interactions", "n_output_layers"), [(1, 0), (3, 2)])
def test_schnet_of_any_depth_keeps_the_contract_of_a_network(n_interactions, n_output_layers):
    check_network(build(n_interactions=n_interactions, n_output_layers=n_output_layers, n_knots=64), 1)


def test_gaussians_are_one_at_their_centres_and_cross_at_exp_minus_one_eighth():
    basis = build_radial_basis("gaussian", 9, start=0.2, cutoff=1.0)
    centres = torch.linspace(0.2, 1.0, 9, dtype=torch.float64)
    values = basis(centres)
    torch.testing.assert_close(values.diagonal(), torch.ones(9, dtype=torch.float64))
    halfway = basis(centres[:-1] + 0.05)
    torch.testing.assert_close(halfway.diagonal(), torch.full((8,), math.exp(-0.125), dtype=torch.float64))


def test_exponential_normals_are_gaussians_in_an_exponential_that_falls_to_exp_minus_five():
    basis = build_radial_basis("exponential_normal", 5, start=0.2, cutoff=1.0)
    width = 2.0 * (1.0 - math.exp(-5.0)) / 5
    centres = [math.exp(-5.0) + k / 4 * (1.0 - math.exp(-5.0)) for k in range(5)]
    for distance in (0.2, 0.47, 1.0):
        decayed = math.exp(-5.0 * (distance - 0.2) / 0.8)
        expected = [math.exp(-(((decayed - centre) / width) ** 2)) for centre in centres]
        assert basis(torch.tensor([distance], dtype=torch.float64))[0].tolist() == pytest.approx(expected, rel=1e-12)
    # the last function has its centre at the start, the first one at the cutoff
    ends = basis(torch.tensor([0.2, 1.0], dtype=torch.float64))
    assert (float(ends[0, 4]), float(ends[1, 0])) == pytest.approx((1.0, 1.0), rel=1e-12)


def test_bessel_functions_are_orthonormal_in_the_sphere():
    # ∫₀^rc e_k e_l r² dr = δ_kl in angstrom; the trapezoidal rule is exact for these periodic products
    cutoff = 0.9
    basis = build_radial_basis("bessel", 6, start=0.0, cutoff=cutoff)
    distances = torch.linspace(0.0, cutoff, 101, dtype=torch.float64)[1:]
    weighted = basis(distances) * (10.0 * distances)[:, None]
    overlaps = weighted.T @ weighted * (10.0 * cutoff / 100)
    torch.testing.assert_close(overlaps, torch.eye(6, dtype=torch.float64), rtol=0.0, atol=1e-12)


def test_cosine_cutoff_is_one_at_zero_one_half_in_the_middle_and_zero_from_the_cutoff_on():
    distances = torch.tensor([0.0, 0.4, 0.8, 0.9, torch.nan], dtype=torch.float64)
    values = cosine_cutoff(distances, 0.8)
    torch.testing.assert_close(values[:4], torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64))
    assert torch.isnan(values[4])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slope_of_an_activation_is_its_derivative(activation):
    z = torch.linspace(-60.0, 60.0, 2401, dtype=torch.float64, requires_grad=True)
    value, slope = activate_with_slope(activation, z)
    torch.testing.assert_close(value, activate(activation, z), rtol=1e-14, atol=1e-14)
    (expected,) = torch.autograd.grad(activate(activation, z).sum(), z)
    torch.testing.assert_close(slope, expected, rtol=1e-14, atol=1e-14)


def test_activations_have_their_closed_forms():
    z = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    closed = {
        "tanh": [math.tanh(x) for x in (-1.0, 0.0, 2.0)],
        "shifted_softplus": [math.log(0.5 + 0.5 * math.exp(x)) for x in (-1.0, 0.0, 2.0)],
        "silu": [x / (1.0 + math.exp(-x)) for x in (-1.0, 0.0, 2.0)],
    }
    for name, expected in closed.items():
        assert activate(name, z).tolist() == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_published_alanine_settings_have_as_many_parameters_as_their_layers_add_up_to():
    settings = SchnetSettings(n_features=128, n_filters=128, n_interactions=5, n_radial=50, n_output_features=128)
    network = build_network(settings, ("C", "N"), torch.Generator())
    square = 128 * 128
    per_interaction = (50 * 128 + 128) + (square + 128) + square + 2 * (square + 128)
    expected = 2 * 128 + 5 * per_interaction + (square + 128) + (128 + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_matrices_have_xavier_spread_and_biases_are_zero():
    network = build(n_features=128, n_filters=128)
    # uniform within ±√(6 / (128 + 128)): 16,384 numbers, so the spread is known to 0.4 %
    spread = math.sqrt(6 / 256) / math.sqrt(3)
    assert float(network.exchanges[0].update.weight.detach().std()) == pytest.approx(spread, rel=0.02)
    assert all(not parameter.any() for name, parameter in network.named_parameters() if name.endswith("bias"))


def test_same_seed_gives_same_weights_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two, three = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name))
    assert not torch.equal(one.embedding, three.embedding)


@pytest.mark.parametrize("n_knots", [0, 64])
def test_only_networks_with_pair_classes_tell_bonded_pairs_from_others(n_knots):
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0)
    bonded = replace(box, bond_class=torch.ones_like(box.bond_class))
    blind = build(cutoff=0.6, n_knots=n_knots).double()
    seeing = build(cutoff=0.6, n_knots=n_knots, pair_classes=True).double()
    assert torch.equal(site_energies(blind, box), site_energies(blind, bonded))
    assert not torch.allclose(site_energies(seeing, box), site_energies(seeing, bonded), rtol=1e-6)


@pytest.mark.parametrize("radial_basis", BASES)
def test_energies_and_forces_with_default_tables_agree_with_exact_filters(radial_basis):
    # filters are off by at most 1.5e-5 of the largest and slopes by 6e-5 (see test_radial_table), in two interactions
    box = build_box(n_sites=64, n_types=2, cutoff=0.8, seed=0)
    tabulated = build_network(SchnetSettings(cutoff=0.8, radial_basis=radial_basis), ("a", "b"), torch.Generator())
    exact = Schnet(replace(tabulated.settings, n_knots=0), ("a", "b"))
    exact.load_state_dict(tabulated.state_dict())
    (energies, gradient), (expected, expected_gradient) = (
        evaluate(network.double().requires_grad_(False), box) for network in (tabulated, exact)
    )
    torch.testing.assert_close(energies, expected, rtol=0.0, atol=3e-5 * float(expected.abs().max()))
    scale = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient, expected_gradient, rtol=0.0, atol=1.2e-4 * scale)


@pytest.mark.parametrize("pair_classes", [False, True])
def test_tables_of_all_pair_classes_hold_the_filters_at_the_knots(pair_classes):
    network = build(cutoff=0.6, n_knots=64, pair_classes=pair_classes).double()
    filters = network.filters[0]
    tables = filters.tabulate(network.table).reshape(max(1, filters.n_classes), network.table.n_rows, -1)
    for pair_class, table in enumerate(tables):
        alone = network.table.tabulate(lambda r, k=pair_class: filters(r, torch.full(r.shape, k)), table)
        torch.testing.assert_close(table, alone, rtol=1e-12, atol=1e-12)


def test_tables_of_frozen_weights_follow_the_weights():
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    network, other = build(cutoff=0.6).requires_grad_(False), build(cutoff=0.6, seed=1)
    before, _ = evaluate(network, box)
    assert torch.equal(evaluate(network, box)[0], before)
    network.load_state_dict(other.state_dict())
    torch.testing.assert_close(evaluate(network, box)[0], site_energies(network, box)[:, 0], rtol=1e-5, atol=1e-5)
    for parameter in network.parameters():
        parameter.data = 0.5 * parameter.data
    torch.testing.assert_close(evaluate(network, box)[0], site_energies(network, box)[:, 0], rtol=1e-5, atol=1e-5)
    double = network.double()
    box = box.to(torch.float64)
    torch.testing.assert_close(evaluate(double, box)[0], site_energies(double, box)[:, 0], rtol=1e-12, atol=1e-12)


def test_energies_are_reproduced_bit_for_bit():
    network = build().requires_grad_(False)
    box = build_box(n_sites=64, n_types=1, cutoff=0.8, seed=0, dtype=torch.float32)
    (energies, gradient), (again, gradient_again) = evaluate(network, box), evaluate(network, box)
    assert torch.equal(energies, again)
    assert torch.equal(gradient, gradient_again)


def test_pairs_beyond_the_cutoff_change_nothing():
    network = build(2).double().requires_grad_(False)
    longer, shorter = (build_box(n_sites=125, n_types=2, cutoff=cutoff, seed=0) for cutoff in (1.0, 0.9))
    assert longer.pair_index.shape[1] > shorter.pair_index.shape[1]
    (energies, gradient), (expected, expected_gradient) = evaluate(network, longer), evaluate(network, shorter)
    assert torch.equal(energies, expected)
    inside = torch.linalg.vector_norm(longer.pair_vectors, dim=1) < 0.9
    assert torch.equal(gradient[inside], expected_gradient)
    assert not gradient[~inside].any()


@pytest.mark.parametrize("n_knots", [0, 64])
def test_a_position_that_is_not_a_number_reaches_the_energy(n_knots):
    network = build(n_knots=n_knots)
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    box.pair_vectors[0, 1] = torch.nan
    energies, gradient = evaluate(network, box)
    assert torch.isnan(energies[0])
    assert torch.isnan(gradient[0]).any()


def test_sites_closer_than_the_table_feel_no_slope_and_finite_energies():
    # 4 of 64 intervals to 0.9 nm: the table starts at 0.05625 nm
    network = build(n_knots=64).double()
    box = build_box(n_sites=2, n_types=1, cutoff=0.9, seed=0, density=0.1)
    vector = torch.tensor([[0.03, 0.0, 0.01]], dtype=torch.float64)
    pair = replace(
        box,
        pair_index=torch.tensor([[0, 1], [1, 0]]),
        pair_vectors=torch.cat([vector, -vector]),
        bond_class=torch.zeros(2, dtype=torch.int64),
    )
    closer = replace(pair, pair_vectors=0.1 * pair.pair_vectors)
    touching = replace(pair, pair_vectors=0.0 * pair.pair_vectors)
    energies = []
    for system in (pair, closer, touching):
        found, gradient = evaluate(network, system)
        assert not gradient.any()
        energies.append(found)
    assert torch.isfinite(energies[0]).all()
    assert torch.equal(energies[0], energies[1])
    assert torch.equal(energies[0], energies[2])


def test_pairs_out_of_order_are_refused():
    box = build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0, dtype=torch.float32)
    with pytest.raises(InputError, match="not sorted"):
        evaluate(build(), replace(box, pair_index=box.pair_index.flip(1)))


def test_vectors_of_another_precision_than_the_weights_are_refused():
    with pytest.raises(InputError, match="float64"):
        evaluate(build(), build_box(n_sites=27, n_types=1, cutoff=0.6, seed=0))


def test_a_network_without_types_or_channels_is_refused():
    with pytest.raises(InputError, match="bead type"):
        build_network(SchnetSettings(), (), torch.Generator())
    with pytest.raises(InputError, match="channel"):
        build(n_channels=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_features", 0),
        ("n_filters", 0),
        ("n_interactions", 0),
        ("n_radial", 1),
        ("n_output_layers", -1),
        ("n_output_features", 0),
        ("n_knots", 15),
        ("n_knots", -1),
        ("cutoff", -1.0),
        ("energy_scale", 0.0),
        ("radial_start", 1.0),
        ("radial_start", -0.1),
        ("radial_basis", "sinc"),
        ("activation", "relu"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InputError, match=field):
        SchnetSettings(**{field: value})


def test_a_start_of_bessel_functions_is_refused():
    with pytest.raises(InputError, match="radial_start"):
        SchnetSettings(radial_basis="bessel", radial_start=0.2)


def test_energies_of_a_box_do_not_depend_on_the_rest_of_its_batch():
    network = build(2).double().requires_grad_(False)
    boxes = [build_box(n_sites=64, n_types=2, cutoff=0.8, seed=seed) for seed in range(3)]
    together, _ = evaluate(network, join(boxes))
    alone = torch.cat([evaluate(network, box)[0] for box in boxes])
    # sums over neighbours are equal bit for bit; matrix products of other sizes may add in another order
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-13)
