"""Compiled sweeps against their plain-torch twins, and the elementary functions they contain."""

import numpy as np
import pytest
import torch

from beadsmith.kernels import hipnn as kernels
from beadsmith.kernels.one_interaction import _softplus_
from beadsmith.kernels.rows import compiled, exp_of_negative
from beadsmith.networks.angular import N_COMPONENTS, angular_basis
from beadsmith.networks.radial import InverseSensitivities
from beadsmith.networks.sweeps import environment_sums, message_sums
from beadsmith.testing import build_box, build_cluster

CUTOFF = 0.8
# rounding of sums of about 30 neighbours
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@compiled
def _fill_exponentials_(values):
    for i in range(values.shape[0]):
        values[i] = exp_of_negative(values[i])


def build(n_types, dtype):
    """Return a box, its rows and radial functions."""
    box = build_box(n_sites=64, n_types=n_types, cutoff=CUTOFF, seed=0, dtype=dtype)
    rows = kernels.build_rows(box.types, box.pair_index, box.pair_vectors, n_kinds=n_types, cutoff=CUTOFF)
    return box, rows, InverseSensitivities(7, soft_min=0.24, soft_max=0.7, cutoff=CUTOFF).to(dtype)


def geometry(box, sensitivities, l_max):
    """Return what the twins take."""
    distances = torch.linalg.vector_norm(box.pair_vectors, dim=1)
    return sensitivities(distances), angular_basis(box.pair_vectors / distances[:, None], l_max)


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_types", [1, 3])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_environment_sums_and_their_parameter_gradients_equal_the_twin(l_max, n_types, dtype):
    box, rows, sensitivities = build(n_types, dtype)
    found = kernels.sum_environments(rows, *sensitivities.exponents(), N_COMPONENTS[l_max])
    expected = environment_sums(*geometry(box, sensitivities, l_max), box.pair_index, box.types, n_types)
    assert_equal(found, expected)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    parameters = list(sensitivities.parameters())
    gradients = [torch.autograd.grad((sums * direction).sum(), parameters) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_message_sums_and_their_gradients_equal_the_twin(l_max, dtype):
    box, rows, sensitivities = build(2, dtype)
    projected = torch.randn(64, 7, 5, generator=torch.Generator().manual_seed(2), dtype=dtype, requires_grad=True)
    found = kernels.sum_messages(rows, *sensitivities.exponents(), projected, N_COMPONENTS[l_max])
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
    x = torch.linspace(-30.0, 30.0, 4001, dtype=dtype, requires_grad=True)
    expected = torch.nn.functional.softplus(x, threshold=50.0)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    values, slopes = x.detach().clone().numpy(), np.empty(len(x), x.detach().numpy().dtype)
    _softplus_(values, slopes)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(torch.from_numpy(values), expected.detach(), rtol=8 * eps, atol=0.0)
    torch.testing.assert_close(torch.from_numpy(slopes), slope, rtol=8 * eps, atol=0.0)


def test_pairs_beyond_the_cutoff_change_nothing():
    cluster = build_cluster(20, 2, seed=0)
    near, far = cluster.pairs(CUTOFF), cluster.pairs(1.5 * CUTOFF)
    assert far.pair_index.shape[1] > near.pair_index.shape[1]
    sensitivities = InverseSensitivities(7, soft_min=0.24, soft_max=0.7, cutoff=CUTOFF).double()
    sums = [
        kernels.sum_environments(
            kernels.build_rows(box.types, box.pair_index, box.pair_vectors, n_kinds=2, cutoff=CUTOFF),
            *sensitivities.exponents(),
            9,
        )
        for box in (near, far)
    ]
    assert torch.equal(*sums)
