"""The compiled symmetric contraction against its plain-torch twin."""

import numpy as np
import pytest
import torch

from beadsmith.kernels import contraction as kernels
from beadsmith.networks.contraction import SymmetricContraction, contraction_polynomials

N_SITES = 11
# rounding of sums of up to some hundred terms, relative to the largest value
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


class Case:
    """A contraction with random weights, features and derivatives."""

    def __init__(
        self, l_max, l_max_out, correlation, *, is_natural=True, n_channels=5, dtype=torch.float64, n_sites=N_SITES
    ):
        generator = torch.Generator().manual_seed(5)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.twin = SymmetricContraction(
            l_max, l_max_out, correlation, n_types=2, n_features=n_channels, natural_parity=is_natural
        ).to(dtype)
        for weight in self.twin.weights:
            weight.data = draw(*weight.shape)
        found = contraction_polynomials(l_max, l_max_out, correlation, is_natural)
        numbers = [weight.shape[1] for weight in self.twin.weights]
        self.program = kernels.build_program(found.factors, found.matrix, numbers)
        self.types = torch.arange(n_sites) % 2
        self.features = draw((l_max + 1) ** 2, n_sites, n_channels).requires_grad_()
        self.adjoint = draw((l_max_out + 1) ** 2, n_sites, n_channels).requires_grad_()
        self.moves = draw(*self.features.shape)

    def contract(self):
        weights = torch.cat(list(self.twin.weights), dim=1)
        return kernels.contract(self.program, self.features, weights, self.types)

    def everything(self, results):
        """Return B, what autograd makes of it, and what it makes of the derivative by A."""
        inputs = [self.features, *self.twin.weights]
        first = torch.autograd.grad(results, inputs, self.adjoint.detach(), retain_graph=True)
        (on_features,) = torch.autograd.grad(results, self.features, self.adjoint, create_graph=True)
        # products of one copy have no second derivative
        second = torch.autograd.grad(on_features, [*inputs, self.adjoint], self.moves, allow_unused=True)
        zeros = [torch.zeros_like(tensor) for tensor in (*inputs, self.adjoint)]
        return [
            results,
            *first,
            on_features,
            *(zero if s is None else s for s, zero in zip(second, zeros, strict=True)),
        ]


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * max(float(expected.detach().abs().max()), 1.0)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("l_max", "l_max_out", "correlation", "is_natural"),
    [(3, 1, 1, True), (3, 1, 2, True), (3, 0, 2, True), (2, 2, 2, False), (2, 1, 3, True), (1, 1, 3, False)],
)
def test_contraction_and_its_derivatives_equal_the_twin(l_max, l_max_out, correlation, is_natural, dtype):
    case = Case(l_max, l_max_out, correlation, is_natural=is_natural, dtype=dtype)
    found = case.everything(case.contract())
    expected = case.everything(case.twin(case.features, case.types))
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)


def test_products_of_two_directions_are_their_scalar_product():
    case = Case(1, 0, 2, n_channels=1)
    with torch.no_grad():
        case.twin.weights[0][:] = torch.tensor([0.0, 0.0, 1.0])[None, :, None]
        directions = case.features[1:]
        expected = (directions * directions).sum(0) / np.sqrt(3.0)
        assert_equal(case.contract()[0], expected)


@pytest.mark.parametrize("n_channels", [1, 16, 40])
def test_any_number_of_channels_equals_the_twin(n_channels):
    case = Case(3, 1, 2, n_channels=n_channels)
    found = case.everything(case.contract())
    for one, other in zip(found, case.everything(case.twin(case.features, case.types)), strict=True):
        assert_equal(one, other)


def test_two_threads_give_what_one_gives(monkeypatch):
    case = Case(3, 1, 2)
    alone = case.everything(case.contract())
    monkeypatch.setattr(kernels, "_SMALLEST_BLOCK", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for one, other in zip(case.everything(case.contract()), alone, strict=True):
        assert_equal(one, other)


def test_no_sites_give_no_results():
    case = Case(2, 1, 2, n_sites=0)
    assert case.contract().shape == (4, 0, 5)


def test_feature_that_is_no_number_reaches_its_site_and_channel_only():
    case = Case(3, 1, 2)
    with torch.no_grad():
        case.features[4, 3, 2] = float("nan")
    found = torch.isnan(case.contract())
    assert torch.all(found[:, 3, 2])
    assert found.sum() == len(found)


def test_derivative_by_weights_refuses_to_be_differentiated_again():
    case = Case(1, 0, 2)
    gradient = torch.autograd.grad(case.contract(), list(case.twin.weights), case.adjoint, create_graph=True)
    with pytest.raises(NotImplementedError, match="cannot be differentiated"):
        gradient[0].sum().backward()
