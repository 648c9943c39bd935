"""The sums of MACE in Triton against their plain-torch twin: on a GPU, or on a CPU in Triton's interpreter."""

import pytest
import torch

from beadsmith.networks.tensor_sweeps import sum_couplings
from beadsmith.testing import build_cluster

pytest.importorskip("triton", reason="the wheel of triton (286 MB) is installed by 'make test-triton' only")
from beadsmith.kernels.triton import couplings

N_SITES, N_CHANNELS, N_COMPONENTS = 6, 5, 3
PATH_OF = (0, 1, 1, 1, 2)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@pytest.fixture(autouse=True)
def several_blocks_of_channels(monkeypatch):
    """Let channels have two blocks, the second one incomplete."""
    monkeypatch.setattr(couplings, "_CHANNELS_AT_ONCE", 4)


def build_case(device, dtype):
    """Return pairs (some beyond the cutoff, without radial functions) and the form's four arguments."""
    index = build_cluster(N_SITES, 1, seed=0).pairs(0.7).pair_index.to(device)
    assert index.shape[1] > 2 * N_SITES
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device)

    arguments = [
        draw(index.shape[1], max(PATH_OF) + 1, N_CHANNELS),
        draw(index.shape[1], len(PATH_OF), N_COMPONENTS),
        draw(N_SITES, N_COMPONENTS, N_CHANNELS),
        draw(N_SITES, len(PATH_OF), N_CHANNELS),
    ]
    arguments[0][::4] = 0.0
    return index, [argument.requires_grad_() for argument in arguments], draw


def assert_equal(found, expected, near):
    """Compare relative to the largest value; what belongs to pairs without radial functions does not count."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    if len(expected) == len(near):
        found, expected = found[near], expected[near]
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_their_first_two_derivatives_equal_the_twin(device, dtype):
    index, (radial, matrices, features, adjoint), draw = build_case(device, dtype)
    near, path_of = (radial.detach() != 0.0).flatten(1).any(1), torch.tensor(PATH_OF, device=device)
    sums = [f(radial, matrices, path_of, index, features) for f in (couplings.CouplingSums(), sum_couplings)]
    assert_equal(*sums, near)
    inputs = (radial, matrices, features)
    first = [torch.autograd.grad((s * adjoint).sum(), inputs, create_graph=True) for s in sums]
    directions = [draw(*part.shape) for part in first[1]]
    for part in directions[:2]:
        part[~near] = 0.0
    second = [
        torch.autograd.grad(sum((p * d).sum() for p, d in zip(parts, directions, strict=True)), (*inputs, adjoint))
        for parts in first
    ]
    for found, expected in [*zip(*first, strict=True), *zip(*second, strict=True)]:
        assert_equal(found, expected, near)


def test_a_radial_function_that_is_not_a_number_reaches_the_sums_of_its_site_only(device):
    index, (radial, matrices, features, _), _ = build_case(device, torch.float64)
    with torch.no_grad():
        radial[1, 0, 0] = torch.nan
    path_of = torch.tensor(PATH_OF, device=device)
    is_broken = torch.isnan(couplings.CouplingSums()(radial, matrices, path_of, index, features)).flatten(1).any(1)
    assert torch.nonzero(is_broken).flatten().tolist() == [int(index[0, 1])]
