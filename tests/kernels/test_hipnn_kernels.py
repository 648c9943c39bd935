"""Compiled sweeps against their plain-torch twins, and the elementary functions they contain."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.kernels import hipnn as kernels
from beadsmith.kernels.products import multiply_, pad, take_dots_
from beadsmith.kernels.rows import compiled, exp_of_negative
from beadsmith.kernels.site_layers import softplus_
from beadsmith.networks.angular import N_COMPONENTS, angular_basis
from beadsmith.networks.radial import N_CLASSES, InverseSensitivities
from beadsmith.networks.sweeps import environment_sums, message_sums
from beadsmith.testing import build_box, build_cluster

CUTOFF = 0.8
# rounding of sums of about 30 neighbours
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@compiled
def _fill_exponentials_(values):
    for i in range(values.shape[0]):
        values[i] = exp_of_negative(values[i])


def build(n_types, dtype, has_classes=False):
    """Return a box, its rows and radial functions."""
    generator = torch.Generator().manual_seed(3)
    box = build_box(n_sites=64, n_types=n_types, cutoff=CUTOFF, seed=0, dtype=dtype)
    box = replace(box, bond_class=torch.randint(N_CLASSES, (len(box.bond_class),), generator=generator))
    sensitivities = InverseSensitivities(7, soft_min=0.24, soft_max=0.7, cutoff=CUTOFF, has_classes=has_classes)
    if has_classes:
        torch.nn.init.uniform_(sensitivities.amplitudes, 0.5, 1.5, generator=generator)
    return box, build_rows(box, n_types), sensitivities.to(dtype)


def build_rows(box, n_types):
    """Return the rows of a box."""
    return kernels.build_rows(
        box.types, box.pair_index, box.pair_vectors, box.bond_class, n_kinds=n_types, cutoff=CUTOFF
    )


def geometry(box, sensitivities, l_max):
    """Return what the twins take."""
    distances = torch.linalg.vector_norm(box.pair_vectors, dim=1)
    return sensitivities(distances, box.bond_class), angular_basis(box.pair_vectors / distances[:, None], l_max)


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_types", [1, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("has_classes", [False, True])
def test_environment_sums_and_their_parameter_gradients_equal_the_twin(l_max, n_types, dtype, has_classes):
    box, rows, sensitivities = build(n_types, dtype, has_classes)
    found = kernels.sum_environments(rows, sensitivities.exponents(), N_COMPONENTS[l_max])
    expected = environment_sums(*geometry(box, sensitivities, l_max), box.pair_index, box.types, n_types)
    assert_equal(found, expected)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    parameters = list(sensitivities.parameters())
    gradients = [torch.autograd.grad((sums * direction).sum(), parameters) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("has_classes", [False, True])
def test_message_sums_and_their_gradients_equal_the_twin(l_max, dtype, has_classes):
    box, rows, sensitivities = build(2, dtype, has_classes)
    projected = torch.randn(64, 7, 5, generator=torch.Generator().manual_seed(2), dtype=dtype, requires_grad=True)
    found = kernels.sum_messages(rows, sensitivities.exponents(), projected, N_COMPONENTS[l_max])
    expected = message_sums(*geometry(box, sensitivities, l_max), box.pair_index, projected)
    assert_equal(found, expected)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    inputs = [projected, *sensitivities.parameters()]
    gradients = [torch.autograd.grad((sums * direction).sum(), inputs) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponential_is_as_exact_as_its_rounded_argument_allows(dtype):
    arguments = -np.concatenate([np.linspace(0.0, 60.0, 100_001), [0.0, 1e-30]]).astype(dtype)
    found = arguments.copy()
    _fill_exponentials_(found)
    expected = np.exp(arguments.astype(np.longdouble))
    assert np.all(np.abs(found / expected - 1.0) < (3.0 - arguments) * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponential_of_very_negative_numbers_vanishes_and_of_nan_is_nan(dtype):
    values = np.array([-1e4, -np.inf, np.nan], dtype)
    _fill_exponentials_(values)
    assert np.all(values[:2] < 1e-37)
    assert np.isnan(values[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_and_its_slope_equal_torch(dtype):
    x = torch.linspace(-30.0, 30.0, 4008, dtype=dtype, requires_grad=True)
    expected = torch.nn.functional.softplus(x, threshold=50.0)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    values, slopes = x.detach().clone().numpy(), np.empty(len(x), x.detach().numpy().dtype)
    softplus_(values, slopes, 0, 0, len(x))
    # the exponential's error is |x| roundings where the processor has no fused multiply-add
    allowed = torch.finfo(dtype).eps * (8.0 + x.detach().abs())
    assert ((torch.from_numpy(values) - expected.detach()).abs() <= allowed * expected.detach()).all()
    assert ((torch.from_numpy(slopes) - slope).abs() <= allowed * slope).all()


def test_pairs_beyond_the_cutoff_change_nothing():
    cluster = build_cluster(20, 2, seed=0)
    near, far = cluster.pairs(CUTOFF), cluster.pairs(1.5 * CUTOFF)
    assert far.pair_index.shape[1] > near.pair_index.shape[1]
    sensitivities = InverseSensitivities(7, soft_min=0.24, soft_max=0.7, cutoff=CUTOFF).double()
    sums = [kernels.sum_environments(build_rows(box, 2), sensitivities.exponents(), 9) for box in (near, far)]
    assert torch.equal(*sums)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(61, 20, 128), (9, 7, 24), (5, 61, 16), (3, 0, 8), (4, 1, 40), (7, 11, 80), (6, 5, 104)]
)
def test_small_products_equal_numpy_for_any_layout_of_the_left_matrix(shape, dtype):
    n_rows, depth, width = shape
    generator = np.random.default_rng(0)
    left, right = generator.normal(size=(n_rows, depth)), generator.normal(size=(depth, width))
    start = generator.normal(size=(n_rows, width))
    left, right, start = (part.astype(dtype) for part in (left, right, start))
    # sums of numbers of order one in another order
    tolerance = 4.0 * max(depth, 1) * np.finfo(dtype).eps
    for array, strides in ((left, (depth, 1)), (np.ascontiguousarray(left.T), (1, n_rows))):
        for is_fresh in (False, True):
            found = start.copy()
            multiply_((found, 0, width), (array, 0, *strides), (right, 0, width), shape, is_fresh)
            expected = left @ right + (0.0 if is_fresh else start)
            np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_dot_products_equal_numpy(dtype):
    generator = np.random.default_rng(0)
    left, right = generator.normal(size=(7, 24)).astype(dtype), generator.normal(size=24).astype(dtype)
    found = np.empty(7, dtype)
    take_dots_((found, 0, 1), (left, 0, 24), (right, 0), left.shape)
    np.testing.assert_allclose(found, left @ right, rtol=0.0, atol=100.0 * np.finfo(dtype).eps)


def test_features_are_padded_to_the_next_whole_vector():
    assert [pad(n) for n in (1, 8, 20, 128)] == [8, 8, 24, 128]
