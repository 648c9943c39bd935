"""Real spherical harmonics against closed forms."""

import math

import pytest
import torch

from beadsmith.networks.spherical_harmonics import component_slice, n_components, spherical_harmonics


def random_directions(n: int, seed: int = 0) -> torch.Tensor:
    """Return random unit vectors."""
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


def test_degrees_lie_one_after_the_other():
    assert n_components(3) == 16
    assert [component_slice(degree) for degree in range(4)] == [slice(0, 1), slice(1, 4), slice(4, 9), slice(9, 16)]
    for l_max in range(4):
        some = spherical_harmonics(random_directions(5), l_max)
        torch.testing.assert_close(some, spherical_harmonics(random_directions(5), 3)[:, : n_components(l_max)])


def test_vector_harmonics_are_x_y_z_times_root_three():
    directions = random_directions(7)
    torch.testing.assert_close(spherical_harmonics(directions, 1)[:, 1:], math.sqrt(3.0) * directions)


def test_harmonics_about_the_y_axis_have_their_known_values():
    along_y = spherical_harmonics(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), 3)[0]
    expected = torch.zeros(16, dtype=torch.float64)
    # only m = 0 is left on the axis, where P_l(1) = 1
    expected[[0, 2, 6, 12]] = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64).sqrt()
    torch.testing.assert_close(along_y, expected)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_scalar_product_of_two_directions_is_a_legendre_polynomial(degree):
    # addition theorem: Σ_m Y_m(a) Y_m(b) = (2l + 1) P_l(a · b)
    one, other = random_directions(50, seed=1), random_directions(50, seed=2)
    x = (one * other).sum(1)
    legendre = (torch.ones_like(x), x, 1.5 * x**2 - 0.5, 2.5 * x**3 - 1.5 * x)[degree]
    part = component_slice(degree)
    products = (spherical_harmonics(one, 3)[:, part] * spherical_harmonics(other, 3)[:, part]).sum(1)
    torch.testing.assert_close(products, (2 * degree + 1) * legendre, rtol=0.0, atol=1e-13)


def test_harmonics_are_orthonormal_on_the_sphere():
    # the mean over the sphere of products up to degree 6 is exact with 4 Gauss points in y and 8 even angles around it
    y = torch.tensor([0.3399810435848563, 0.8611363115940526], dtype=torch.float64)
    half = torch.tensor([0.6521451548625461, 0.3478548451374538], dtype=torch.float64)
    y, weights = torch.cat([-y, y]), torch.cat([half, half]) / 2.0
    angles = torch.arange(8, dtype=torch.float64) * (math.pi / 4.0)
    radius = (1.0 - y**2).sqrt()[:, None]
    directions = torch.stack([radius * angles.sin(), y[:, None].expand(4, 8), radius * angles.cos()], dim=2)
    values = spherical_harmonics(directions.reshape(-1, 3), 3)
    means = torch.einsum("pa,pb,p->ab", values, values, weights.repeat_interleave(8) / 8.0)
    torch.testing.assert_close(means, torch.eye(16, dtype=torch.float64), rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_inversion_multiplies_a_degree_by_minus_one_to_its_power(degree):
    directions, part = random_directions(9), component_slice(degree)
    inverted = spherical_harmonics(-directions, 3)[:, part]
    torch.testing.assert_close(inverted, (-1.0) ** degree * spherical_harmonics(directions, 3)[:, part])
