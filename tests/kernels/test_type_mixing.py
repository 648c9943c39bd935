"""Compiled mixing of channels by type against its plain-torch twin."""

import pytest
import torch

from beadsmith.kernels import type_mixing
from beadsmith.networks.mace_layers import mix_by_type


# the twin divides by √(channels · types); tolerance is the rounding of sums of up to 40 terms
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize(("n_degrees", "n_channels"), [(1, 16), (2, 5), (3, 40), (4, 8)])
def test_mixing_by_type_equals_the_twin_on_one_thread_and_on_two(n_degrees, n_channels, dtype, tolerance, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(n_degrees**2, 11, n_channels, generator=generator).to(dtype)
    weights = torch.randn(n_degrees, 3, n_channels, n_channels, generator=generator).to(dtype)
    types = torch.arange(11) % 3
    expected = mix_by_type(features, weights, types) * (3 * n_channels) ** 0.5
    found = type_mixing.mix_types(features, weights, types)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance * float(expected.abs().max()))
    monkeypatch.setattr(type_mixing, "_SMALLEST_BLOCK", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(type_mixing.mix_types(features, weights, types), found)
