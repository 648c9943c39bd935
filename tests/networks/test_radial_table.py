"""Radial tables against closed forms of splines, and how far tabulated filters are from exact ones."""

import math

import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.networks.kinds import build_network
from beadsmith.networks.radial_bases import cosine_cutoff
from beadsmith.networks.radial_table import FIRST_INTERVAL, RadialTable
from beadsmith.networks.schnet import SchnetSettings

LIKE = torch.zeros(0, dtype=torch.float64)


def smooth(distances: torch.Tensor) -> torch.Tensor:
    """Return two columns that vanish at 1 nm with value, slope and curvature."""
    off = (1.0 - distances) ** 3
    return torch.stack([off * torch.sin(9.0 * distances), off * torch.exp(-3.0 * distances)], dim=1)


def test_splines_reproduce_cubic_polynomials():
    table = RadialTable(40, 1.0)
    distances = torch.linspace(0.101, 0.899, 57, dtype=torch.float64)

    def cubic(r: torch.Tensor) -> torch.Tensor:
        return (1.0 - 2.0 * r + 3.0 * r**2 - 4.0 * r**3)[:, None]

    # the last three intervals bend towards zero at the cutoff
    found = table.interpolate(table.tabulate(cubic, LIKE), distances)
    torch.testing.assert_close(found, cubic(distances), rtol=0.0, atol=1e-13)


def test_values_fall_with_the_fourth_and_slopes_with_the_third_power_of_the_spacing():
    errors = [RadialTable(n, 1.0).measure_error(smooth) for n in (64, 128)]
    (value, slope), (finer_value, finer_slope) = errors
    # the next order of the expansion is 1/64 of the leading one
    assert value / finer_value == pytest.approx(16.0, rel=0.2)
    assert slope / finer_slope == pytest.approx(8.0, rel=0.2)


def test_splines_are_twice_continuously_differentiable():
    table = RadialTable(32, 1.0)
    coefficients = table.tabulate(smooth, LIKE)
    knots = torch.arange(FIRST_INTERVAL + 1, 32, dtype=torch.float64) / 32

    def derivatives(shift: float) -> list[torch.Tensor]:
        distances = (knots + shift).requires_grad_()
        found = [table.interpolate(coefficients, distances)[:, 0]]
        for _ in range(2):
            found.append(torch.autograd.grad(found[-1].sum(), distances, create_graph=True)[0])
        return found

    # third derivatives are of the order of 1000 per nm³
    for below, above in zip(derivatives(-1e-12), derivatives(1e-12), strict=True):
        torch.testing.assert_close(below, above, rtol=0.0, atol=1e-8)


def test_value_slope_and_curvature_vanish_at_the_cutoff():
    table = RadialTable(32, 1.0)
    coefficients = table.tabulate(lambda r: torch.cos(r)[:, None], LIKE)
    below = torch.tensor([1.0 - 1e-4 / 32], dtype=torch.float64, requires_grad=True)
    value = table.interpolate(coefficients, below).squeeze()
    (slope,) = torch.autograd.grad(value, below, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), below)
    # what remains is u³, u² and u at u = 1e-4 intervals from the cutoff
    assert abs(float(value.detach())) < 1e-11
    assert abs(float(slope.detach())) < 1e-6
    assert abs(float(curvature)) < 1e-1 * 32
    beyond = torch.tensor([1.0, 1.01, 7.0], dtype=torch.float64)
    assert not table.interpolate(coefficients, beyond).any()


def test_distances_below_the_first_interval_see_its_first_value():
    table = RadialTable(32, 1.0)
    coefficients = table.tabulate(smooth, LIKE)
    start = FIRST_INTERVAL / 32
    distances = torch.tensor([0.0, 0.5 * start, start], dtype=torch.float64, requires_grad=True)
    values = table.interpolate(coefficients, distances)
    assert torch.equal(values[0], values[2])
    assert torch.equal(values[1], values[2])
    (slopes,) = torch.autograd.grad(values.sum(), distances)
    assert not slopes[:2].any()


def test_a_distance_that_is_not_a_number_stays_none():
    table = RadialTable(32, 1.0)
    found = table.interpolate(table.tabulate(smooth, LIKE), torch.tensor([torch.nan, 0.5], dtype=torch.float64))
    assert torch.isnan(found[0]).all()
    assert torch.isfinite(found[1]).all()


def test_several_tables_one_below_the_other_are_told_apart_by_their_first_rows():
    table = RadialTable(32, 1.0)
    tables = [table.tabulate(lambda r, scale=scale: scale * smooth(r), LIKE) for scale in (1.0, -2.0, 5.0)]
    distances = torch.linspace(0.0, 1.2, 31, dtype=torch.float64)
    which = torch.arange(31) % 3
    found = table.interpolate(torch.cat(tables), distances, which * table.n_rows)
    expected = torch.stack([table.interpolate(tables[int(k)], distances)[p] for p, k in enumerate(which)])
    assert torch.equal(found, expected)


def test_tables_are_differentiable_in_what_they_tabulate():
    table = RadialTable(32, 1.0)
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    distances = torch.linspace(0.2, 0.9, 11, dtype=torch.float64)
    found = table.interpolate(table.tabulate(lambda r: scale * smooth(r), LIKE), distances).sum()
    (slope,) = torch.autograd.grad(found, scale)
    # linear in the scale
    assert float((slope * scale).detach()) == pytest.approx(float(found.detach()), rel=1e-12)


def test_too_few_intervals_are_refused():
    with pytest.raises(InputError, match="15 intervals"):
        RadialTable(15, 1.0)


@pytest.mark.parametrize(
    ("radial_basis", "n_radial", "largest_errors"),
    [("gaussian", 50, (2e-6, 7e-5)), ("exponential_normal", 50, (2e-5, 1e-4)), ("bessel", 20, (5e-6, 5e-5))],
)
@pytest.mark.parametrize("activation", ["tanh", "shifted_softplus", "silu"])
@pytest.mark.parametrize("cutoff", [0.6, 1.5])
def test_default_tables_of_filters_and_of_their_slopes_are_as_exact_as_stated(
    cutoff, activation, radial_basis, n_radial, largest_errors
):
    settings = SchnetSettings(radial_basis=radial_basis, n_radial=n_radial, activation=activation, cutoff=cutoff)
    network = build_network(settings, ("a",), torch.Generator().manual_seed(0)).double()
    for filters in network.filters:
        value, slope = network.table.measure_error(
            lambda r, filters=filters: filters(r, torch.zeros(len(r), dtype=torch.int64))
        )
        assert value < largest_errors[0]
        assert slope < largest_errors[1]


def test_the_measured_error_is_that_of_a_direct_comparison():
    table = RadialTable(32, 1.0)

    def wave(distances: torch.Tensor) -> torch.Tensor:
        return (cosine_cutoff(distances, 1.0) * torch.sin(40.0 * distances))[:, None]

    distances = torch.linspace(FIRST_INTERVAL / 32, 1.0, 4001, dtype=torch.float64)[:-1]
    difference = table.interpolate(table.tabulate(wave, LIKE), distances) - wave(distances)
    # the error between knots has its largest value at the middle or at the knots, both of which are measured
    expected = float(difference.abs().max() / wave(distances).abs().max())
    assert table.measure_error(wave)[0] == pytest.approx(expected, rel=0.1)
    assert math.isfinite(expected)
    assert expected > 1e-3
