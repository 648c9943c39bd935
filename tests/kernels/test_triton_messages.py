"""The sums of HIP-NN-TS in Triton against their plain-torch twins: on a GPU, or on a CPU in Triton's interpreter."""

import pytest
import torch

from beadsmith.networks import sweeps
from beadsmith.testing import build_cluster

pytest.importorskip("triton", reason="the wheel of triton (286 MB) is installed by 'make test-triton' only")
from beadsmith.kernels.triton import messages

N_SITES = 8
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@pytest.fixture(autouse=True)
def several_blocks_of_columns(monkeypatch):
    """Let columns have two blocks, the second one incomplete."""
    monkeypatch.setattr(messages, "_COLUMNS_AT_ONCE", 4)


def build_case(device, dtype):
    """Return pairs, radial functions (some pairs have none), angular components and what each site sends."""
    index = build_cluster(N_SITES, 1, seed=0).pairs(0.6).pair_index.to(device)
    assert index.shape[1] > 3 * N_SITES
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    sensitivities = draw(index.shape[1], 3)
    sensitivities[::4] = 0.0
    inputs = [sensitivities, draw(index.shape[1], 4), draw(N_SITES, 3, 6)]
    return index, [tensor.requires_grad_() for tensor in inputs], draw


def sum_messages(sums, index, inputs):
    sensitivities, angular, projected = inputs
    return sums.message_sums(sensitivities, angular, index, projected)


def sum_environments(sums, index, inputs):
    types = torch.arange(N_SITES, device=index.device) % 2
    return sums.environment_sums(*inputs[:2], index, types, 2)


def assert_equal(found, expected, near):
    """Compare relative to the largest value; what belongs to pairs without radial functions does not count."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    if len(expected) == len(near):
        found, expected = found[near], expected[near]
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sum_neighbours", [sum_messages, sum_environments])
def test_sums_and_their_first_two_derivatives_equal_the_twin(device, dtype, sum_neighbours):
    index, inputs, draw = build_case(device, dtype)
    near = (inputs[0].detach() != 0.0).any(1)
    inputs = inputs if sum_neighbours is sum_messages else inputs[:2]
    found, expected = (sum_neighbours(sums, index, inputs) for sums in (messages.Sums(), sweeps))
    assert_equal(found, expected, near)
    adjoint = draw(*expected.shape).requires_grad_()
    one, other = (torch.autograd.grad((s * adjoint).sum(), inputs, create_graph=True) for s in (found, expected))
    directions = [draw(*part.shape) for part in other]
    for part in directions[:2]:
        part[~near] = 0.0
    for a, b in zip(one, other, strict=True):
        assert_equal(a, b, near)
    one, other = (
        torch.autograd.grad(sum((p * d).sum() for p, d in zip(parts, directions, strict=True)), (*inputs, adjoint))
        for parts in (one, other)
    )
    for a, b in zip(one, other, strict=True):
        assert_equal(a, b, near)


def test_a_radial_function_that_is_not_a_number_reaches_the_sums_of_its_site_only(device):
    index, inputs, _ = build_case(device, torch.float64)
    with torch.no_grad():
        inputs[0][1, 0] = torch.nan
    is_broken = torch.isnan(sum_messages(messages.Sums(), index, inputs)).flatten(1).any(1)
    assert torch.nonzero(is_broken).flatten().tolist() == [int(index[0, 1])]
