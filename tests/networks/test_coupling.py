"""Clebsch-Gordan coefficients and symmetric products against closed forms and random rotations."""

import itertools
import math

import numpy as np
import pytest
import torch

from beadsmith.networks.contraction import SymmetricContraction, product_basis
from beadsmith.networks.coupling import coupling, list_paths, n_path_components
from beadsmith.networks.spherical_harmonics import component_slice, n_components, spherical_harmonics

TRIANGLES = [(l1, l2, l3) for l1 in range(4) for l2 in range(4) for l3 in range(abs(l1 - l2), min(l1 + l2, 5) + 1)]


def random_rotation(seed: int) -> torch.Tensor:
    """Return a proper rotation."""
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return matrix * torch.det(matrix)


def rotate_components(rotation: torch.Tensor, l_max: int) -> torch.Tensor:
    """Return D of Y(R n) = D Y(n) for all degrees together, by least squares over many directions."""
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    directions = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    before, after = spherical_harmonics(directions, l_max), spherical_harmonics(directions @ rotation.T, l_max)
    return torch.linalg.lstsq(before, after).solution.T


@pytest.mark.parametrize("degrees", TRIANGLES)
def test_coefficients_are_orthonormal(degrees):
    matrix = coupling(*degrees).reshape(-1, 2 * degrees[2] + 1)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-13)


@pytest.mark.parametrize(("l1", "l2"), list(itertools.product(range(4), range(4))))
def test_coefficients_of_two_degrees_are_complete(l1, l2):
    parts = [coupling(l1, l2, l3).reshape(-1, 2 * l3 + 1) for l3 in range(abs(l1 - l2), l1 + l2 + 1)]
    matrix = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-13)


@pytest.mark.parametrize("degrees", [path for path in TRIANGLES if max(path) <= 3])
def test_coupled_features_rotate_like_harmonics(degrees):
    rotation = rotate_components(random_rotation(1), 3).numpy()
    d1, d2, d3 = (rotation[component_slice(degree), component_slice(degree)] for degree in degrees)
    coefficients = coupling(*degrees)
    # C(D1 a, D2 b) = D3 C(a, b)
    rotated_first = np.einsum("abc,ad,be->dec", coefficients, d1, d2)
    rotated_last = np.einsum("abf,cf->abc", coefficients, d3)
    np.testing.assert_allclose(rotated_first, rotated_last, atol=1e-12)


def test_two_vectors_couple_to_their_scalar_and_cross_product():
    a, b = np.array([0.3, -1.2, 0.7]), np.array([1.1, 0.4, -0.5])
    scalar = np.einsum("ijk,i,j->k", coupling(1, 1, 0), a, b)
    vector = np.einsum("ijk,i,j->k", coupling(1, 1, 1), a, b)
    np.testing.assert_allclose(scalar, [a @ b / math.sqrt(3.0)], atol=1e-14)
    np.testing.assert_allclose(vector, np.cross(a, b) / math.sqrt(2.0), atol=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_coupling_with_a_scalar_changes_nothing(degree):
    np.testing.assert_allclose(coupling(0, degree, degree)[0], np.eye(2 * degree + 1), atol=1e-14)
    np.testing.assert_allclose(coupling(degree, 0, degree)[:, 0], np.eye(2 * degree + 1), atol=1e-14)


@pytest.mark.parametrize("degrees", TRIANGLES)
def test_trading_the_two_features_multiplies_by_the_sign_of_the_sum_of_degrees(degrees):
    l1, l2, l3 = degrees
    swapped = coupling(l2, l1, l3).transpose(1, 0, 2)
    np.testing.assert_allclose(swapped, (-1.0) ** (l1 + l2 + l3) * coupling(*degrees), atol=1e-14)


def test_product_of_two_harmonics_of_one_direction_is_a_sum_of_harmonics():
    # Gaunt: only even l1 + l2 + l3 are left when both directions are the same
    vector = torch.tensor([[0.6, -0.64, 0.48]], dtype=torch.float64)
    harmonics = spherical_harmonics(vector, 3)[0].numpy()
    for l1, l2, l3 in (path for path in TRIANGLES if max(path) <= 3):
        parts = [harmonics[component_slice(degree)] for degree in (l1, l2, l3)]
        coupled = np.einsum("abc,a,b->c", coupling(l1, l2, l3), parts[0], parts[1])
        factor = coupled @ parts[2] / (2 * l3 + 1)
        np.testing.assert_allclose(coupled, factor * parts[2], atol=1e-13)
        assert (abs(factor) > 0.1) == ((l1 + l2 + l3) % 2 == 0)


def test_paths_of_the_published_network():
    natural = list_paths(1, 3, natural_parity=True)
    assert len(natural) == 10
    assert n_path_components(natural) == 40
    assert natural[:4] == ((0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1))
    assert len(list_paths(1, 3, natural_parity=False)) == 13
    assert list_paths(0, 3, natural_parity=True) == ((0, 0, 0), (0, 1, 1), (0, 2, 2), (0, 3, 3))


@pytest.mark.parametrize("natural_parity", [True, False])
@pytest.mark.parametrize(("order", "degree"), list(itertools.product((1, 2, 3), (0, 1, 2))))
def test_number_of_products_is_that_of_character_theory(order, degree, natural_parity):
    # multiplicity of degree L in the symmetric power of 0 + 1 + 2 (+ parity): mean of χ_L χ_Sym over rotations
    angles = (np.arange(64) + 0.5) * (np.pi / 64)
    haar = (1.0 - np.cos(angles)) / 64

    def character(k: int, power: int, sign: int) -> np.ndarray:
        parity = (sign**power) ** k if natural_parity else 1
        return parity * sum(np.cos(m * power * angles) for m in range(-k, k + 1))

    total = 0.0
    for sign in (1, -1):
        p1, p2, p3 = (sum(character(k, power, sign) for k in range(3)) for power in (1, 2, 3))
        symmetric = (p1, (p1**2 + p2) / 2, (p1**3 + 3 * p1 * p2 + 2 * p3) / 6)[order - 1]
        total += 0.5 * float(np.sum(haar * character(degree, 1, sign) * symmetric))
    basis = product_basis(2, degree, order, natural_parity=natural_parity)
    assert len(basis.coefficients) == round(total)
    assert total == pytest.approx(round(total), abs=1e-9)


@pytest.mark.parametrize("natural_parity", [True, False])
def test_products_rotate_like_harmonics(natural_parity):
    contraction = build_contraction(natural_parity)
    features = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    types = torch.tensor([0, 1, 1, 0])
    turn = rotate_components(random_rotation(3), 2)
    turned = contraction(torch.einsum("ab,bnk->ank", turn, features), types)
    torch.testing.assert_close(turned, torch.einsum("ab,bnk->ank", turn, contraction(features, types)))


def test_products_of_natural_parity_follow_an_inversion():
    contraction = build_contraction(natural_parity=True)
    features = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, -1.0, -1.0] + [1.0] * 5, dtype=torch.float64)[:, None, None]
    types = torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(contraction(signs * features, types), signs * contraction(features, types))


def build_contraction(natural_parity: bool) -> SymmetricContraction:
    """Return a contraction of degrees 0 to 2 with random weights."""
    contraction = SymmetricContraction(2, 2, 3, n_types=2, n_features=3, natural_parity=natural_parity)
    contraction.initialise_(torch.Generator().manual_seed(4))
    return contraction.double()


def test_products_of_scalars_are_powers():
    contraction = SymmetricContraction(0, 0, 3, n_types=1, n_features=2, natural_parity=True).double()
    with torch.no_grad():
        contraction.weights[0].copy_(torch.tensor([[[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]]]))
    x = torch.tensor([[[0.3, -0.4]]], dtype=torch.float64)
    expected = torch.tensor([1.0, 2.0]) * x + torch.tensor([3.0, 5.0]) * x**2 + torch.tensor([7.0, 11.0]) * x**3
    torch.testing.assert_close(contraction(x, torch.zeros(1, dtype=torch.int64)), expected)


def test_product_of_two_copies_to_a_scalar_is_the_squared_length_of_each_degree():
    basis = product_basis(3, 0, 2, natural_parity=True)
    features = np.random.default_rng(0).normal(size=n_components(3))
    values = basis.coefficients[:, 0] @ np.prod(features[basis.monomials], axis=1)
    lengths = [features[component_slice(k)] @ features[component_slice(k)] / math.sqrt(2 * k + 1) for k in range(4)]
    np.testing.assert_allclose(values, lengths, atol=1e-13)


def test_degrees_that_break_the_triangle_rule_are_refused():
    with pytest.raises(AssertionError, match="cannot be coupled"):
        coupling(0, 1, 2)
