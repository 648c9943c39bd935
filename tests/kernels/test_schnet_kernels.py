"""Compiled sweeps of SchNet against their plain-torch twins."""

from dataclasses import replace

import pytest
import torch

from beadsmith.kernels import schnet as kernels
from beadsmith.kernels import threads
from beadsmith.kernels.schnet import build_filter_rows
from beadsmith.networks.kinds import build_network
from beadsmith.networks.radial_table import RadialTable
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.testing import NetworkInput, build_box, evaluate

CUTOFF = 0.8
# rounding of sums of about 30 neighbours; in float32 the place in an interval is known to 1e-5
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}


@pytest.fixture
def two_threads(monkeypatch):
    """Let small boxes be shared by two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "_SMALLEST_BLOCK", 10)
    yield
    torch.set_num_threads(before)


def build_case(dtype: torch.dtype, n_classes: int):
    """Return a box, its rows, tables, features and an adjoint; the table has 64 intervals."""
    box = build_box(n_sites=64, n_types=1, cutoff=CUTOFF, seed=0, dtype=dtype)
    first, second = box.pair_index
    classes = (first + second) % n_classes
    rows = build_filter_rows(
        box.pair_index,
        box.pair_vectors,
        classes if n_classes > 1 else None,
        n_sites=64,
        n_intervals=64,
        cutoff=CUTOFF,
    )
    grid = RadialTable(64, CUTOFF)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(n, 5, generator=generator, dtype=dtype) for n in (n_classes * grid.n_rows, 64, 64)]
    return replace(box, bond_class=classes), rows, grid, [tensor.requires_grad_() for tensor in inputs]


def sum_plainly(box: NetworkInput, grid: RadialTable, table, features, vectors):
    """Return the sums over neighbours in plain torch."""
    distances = torch.linalg.vector_norm(vectors, dim=1)
    filters = grid.interpolate(table, distances, box.bond_class * grid.n_rows)
    messages = filters * features.index_select(0, box.pair_index[1])
    return torch.zeros_like(features).index_add(0, box.pair_index[0], messages)


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_filtered_sums_and_their_gradients_equal_the_twin(n_classes, dtype):
    box, rows, grid, (table, features, direction) = build_case(dtype, n_classes)
    found = kernels.sum_filtered(rows, table, features)
    expected = sum_plainly(box, grid, table, features, box.pair_vectors)
    assert_equal(found, expected)
    gradients = [torch.autograd.grad((sums * direction).sum(), (table, features)) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("with_features", [True, False])
def test_adjoint_sweeps_and_their_gradients_equal_the_twin(with_features, n_classes, dtype):
    box, rows, grid, inputs = build_case(dtype, n_classes)
    table, features, adjoint = inputs
    vectors = box.pair_vectors.clone().requires_grad_()
    energy = (sum_plainly(box, grid, table, features, vectors) * adjoint).sum()
    expected = torch.autograd.grad(energy, (features, vectors), create_graph=True)
    if with_features:
        on_features, slopes = kernels.filter_adjoint(rows, table, features, adjoint)
        found = on_features, kernels.spread_slopes(rows, slopes)
    else:
        expected = expected[1:]
        found = (kernels.spread_slopes(rows, kernels.filter_slopes(rows, table, features, adjoint)),)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)
    # no symmetry between the two directions of a pair is assumed
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(tensor.shape, generator=generator, dtype=dtype) for tensor in expected]
    gradients = [
        torch.autograd.grad(sum((a * b).sum() for a, b in zip(group, directions, strict=True)), inputs)
        for group in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


def test_every_pair_finds_the_one_that_points_back_even_among_images():
    # two sites in a box of 0.5 nm have many images of each other, and of themselves, within 0.8 nm
    shifts = 0.5 * torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 3)
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.21, 0.13, 0.02]], dtype=torch.float64)
    vectors = positions[None, :, None] + shifts - positions[:, None, None]
    distances = torch.linalg.vector_norm(vectors, dim=3)
    first, second, shift = torch.nonzero((distances < CUTOFF) & (distances > 0.0), as_tuple=True)
    rows = build_filter_rows(
        torch.stack([first, second]), vectors[first, second, shift], None, n_sites=2, n_intervals=64, cutoff=CUTOFF
    )
    reverse = torch.from_numpy(rows.reverse)
    assert torch.equal(reverse[reverse], torch.arange(len(first)))
    torch.testing.assert_close(vectors[first, second, shift][reverse], -vectors[first, second, shift])


def test_every_pair_of_an_unsorted_row_finds_the_one_that_points_back():
    box = build_box(n_sites=64, n_types=1, cutoff=CUTOFF, seed=0)
    # sorted by first site only
    order = torch.randperm(box.pair_index.shape[1], generator=torch.Generator().manual_seed(0))
    order = order[torch.argsort(box.pair_index[0][order], stable=True)]
    index, vectors = box.pair_index[:, order], box.pair_vectors[order]
    rows = build_filter_rows(index, vectors, None, n_sites=64, n_intervals=64, cutoff=CUTOFF)
    assert torch.equal(index[:, torch.from_numpy(rows.reverse)], index.flip(0))


def make_network(n_types: int, pair_classes: bool):
    """Return a network with random weights in float64."""
    settings = SchnetSettings(
        n_features=9, n_filters=7, n_radial=12, n_interactions=3, cutoff=CUTOFF, n_knots=128, pair_classes=pair_classes
    )
    names = tuple("ab"[:n_types])
    return build_network(settings, names, torch.Generator().manual_seed(0), n_channels=2).double()


def differentiate(network, box):
    """Return energies, pair gradients and the gradient of a loss on both by all parameters."""
    energies, gradient = evaluate(network, box, create_graph=True)
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(3), dtype=gradient.dtype)
    loss = (energies**2).sum() + (gradient * direction).sum() + (gradient**2).sum()
    return [energies.detach(), gradient.detach(), *torch.autograd.grad(loss, list(network.parameters()))]


@pytest.mark.parametrize("pair_classes", [False, True])
@pytest.mark.parametrize("n_types", [1, 2])
def test_fused_energies_forces_and_parameter_gradients_equal_those_of_plain_torch(n_types, pair_classes):
    network = make_network(n_types, pair_classes)
    box = build_box(n_sites=64, n_types=n_types, cutoff=CUTOFF, seed=0)
    box = replace(box, bond_class=box.pair_index.sum(0) % 5)
    fused = differentiate(network, box)
    network.is_fused = False
    for found, expected in zip(fused, differentiate(network, box), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_the_same_bits_in_energies_and_forces_and_the_same_parameter_gradients(monkeypatch):
    network = make_network(2, False)
    box = build_box(n_sites=64, n_types=2, cutoff=CUTOFF, seed=0)
    threaded = differentiate(network, box)
    rows = build_filter_rows(box.pair_index, box.pair_vectors, None, n_sites=64, n_intervals=64, cutoff=CUTOFF)
    assert len(rows.blocks) == 2
    monkeypatch.setattr(threads, "_SMALLEST_BLOCK", 10**9)
    alone = differentiate(network, box)
    assert torch.equal(threaded[0], alone[0])
    assert torch.equal(threaded[1], alone[1])
    for one, other in zip(threaded[2:], alone[2:], strict=True):
        # tables' gradients are sums over two blocks instead of one
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-13 * float(other.abs().max()))
