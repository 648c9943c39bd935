"""Pair splines against scipy's B-splines, finite differences and their own force design."""

import numpy as np
import pytest
import scipy.interpolate
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.errors import InputError
from beadsmith.neighbors import BOND, OTHER_MOLECULE, find_pairs
from beadsmith.priors.pair_terms import compute_pair_curve, name_type_pairs, number_type_pairs
from beadsmith.priors.splines import PairSpline
from example_liquids import CELL, add_forces, make_liquid
from example_systems import CELLS, make_batch

INNER, CUTOFF, N_INTERVALS = 0.25, 0.85, 12


def make_spline(inner_end="free", type_names=("A",), seed=0):
    n_pairs = len(name_type_pairs(type_names))
    spline = PairSpline(
        type_names,
        inner_distances=tuple(INNER + 0.01 * n for n in range(n_pairs)),
        cutoff=CUTOFF,
        n_intervals=N_INTERVALS,
        inner_end=inner_end,
    )
    return spline.with_coefficients(np.random.default_rng(seed).normal(size=spline.n_coefficients))


def evaluate_with_scipy(spline, distances, order):
    """Return the same spline from scipy, which numbers basis functions from the left."""
    spacing = (CUTOFF - INNER) / N_INTERVALS
    knots = INNER + spacing * np.arange(-3, N_INTERVALS + 4)
    coefficients = (spline.expansion @ spline.coefficients[0]).numpy()
    return scipy.interpolate.BSpline(knots, coefficients, 3)(distances, nu=order)


@pytest.mark.parametrize("inner_end", ["free", "flat"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_spline_and_derivatives_equal_scipy(inner_end, order):
    spline = make_spline(inner_end)
    distances = np.linspace(INNER, CUTOFF - 1e-9, 301)
    ours = spline.evaluate_basis(distances, 0, order) @ spline.coefficients[0].numpy()
    expected = evaluate_with_scipy(spline, distances, order)
    # float64 rounding, amplified by 1/spacing² in the second derivative
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-11 * np.abs(expected).max() + 1e-12)


@pytest.mark.parametrize("inner_end", ["free", "flat"])
def test_energy_force_and_slope_equal_the_basis(inner_end):
    spline = make_spline(inner_end)
    distances = np.linspace(INNER + 1e-6, CUTOFF - 1e-6, 100)
    curve = compute_pair_curve(spline, distances, 0)
    for values, sign, order in ((curve.energy, 1, 0), (curve.force, -1, 1), (curve.slope, -1, 2)):
        expected = sign * spline.evaluate_basis(distances, 0, order) @ spline.coefficients[0].numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("inner_end", ["free", "flat"])
def test_energy_and_two_derivatives_vanish_at_the_cutoff(inner_end):
    curve = compute_pair_curve(make_spline(inner_end), np.array([CUTOFF - 1e-7, CUTOFF, CUTOFF + 0.1]), 0)
    # 1e-7 nm inside, a cubic start gives (1e-7/0.05)³ in energy and (1e-7/0.05)/0.05² in the slope
    assert np.abs(curve.energy).max() < 1e-14
    assert np.abs(curve.force).max() < 1e-9
    assert np.abs(curve.slope).max() < 1e-2
    assert curve.force[2] == 0.0


def test_flat_spline_has_no_force_and_no_slope_inside():
    curve = compute_pair_curve(make_spline("flat"), np.array([0.05, 0.2, INNER + 1e-7]), 0)
    assert np.ptp(curve.energy) < 1e-12
    np.testing.assert_array_equal(curve.force[:2], 0.0)
    assert abs(curve.slope[2]) < 1e-2


def test_free_spline_continues_with_constant_force_inside():
    curve = compute_pair_curve(make_spline("free"), np.array([0.05, 0.2, INNER, INNER + 1e-12]), 0)
    np.testing.assert_allclose(curve.force, curve.force[-1], rtol=1e-9)
    assert curve.energy[2] == pytest.approx(curve.energy[3], abs=1e-9)


@pytest.mark.parametrize("cell", [*CELLS.values(), None], ids=[*CELLS, "open"])
def test_forces_equal_finite_differences(cell):
    # the cutoff is beyond half of the smallest cells: images of the same site count
    positions = np.random.default_rng(3).random((6, 3)) * 1.4
    spline = make_spline()

    def energy(points):
        batch = make_batch(points, cell)
        return float(predict_prior([spline], batch, find_pairs(batch, 0.95)).energy.sum())

    batch = make_batch(positions, cell)
    forces = predict_prior([spline], batch, find_pairs(batch, 0.95)).forces.numpy()
    step = 1e-5
    numeric = np.zeros_like(positions)
    for index in np.ndindex(*positions.shape):
        shift = np.zeros_like(positions)
        shift[index] = step
        numeric[index] = (energy(positions - shift) - energy(positions + shift)) / (2 * step)
    # truncation of a piecewise cubic with third derivatives of 1e4 kJ/mol/nm³ at steps of 1e-5 nm
    np.testing.assert_allclose(forces, numeric, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("inner_end", ["free", "flat"])
@pytest.mark.parametrize("n_of_type", [(20,), (12, 9), (12, 0, 9)])
def test_force_design_times_coefficients_equals_forces(n_of_type, inner_end):
    liquid = make_liquid(2, n_of_type, seed=1, closest=0.2)
    spline = make_spline(inner_end, liquid.topology.type_names)
    batch = build_batch(liquid, np.arange(2), dtype=torch.float64)
    pairs = find_pairs(batch, CUTOFF + 0.05)
    used, design = spline.force_design(batch, pairs)
    # of three types, one is absent
    assert len(used) == len(set(used.tolist())) == spline.n_coefficients // (2 if len(n_of_type) == 3 else 1)
    forces = predict_prior([spline], batch, pairs).forces
    product = (design @ spline.coefficients.reshape(-1)[used]).reshape(-1, 3)
    np.testing.assert_allclose(product.numpy(), forces.numpy(), rtol=1e-9, atol=1e-9)


def test_forces_do_not_depend_on_the_periodic_image_of_a_site():
    liquid = make_liquid(1, (20,), seed=2)
    spline = make_spline()
    expected = add_forces(liquid, [spline]).forces
    moved = liquid.positions + (np.random.default_rng(0).integers(-2, 3, (1, 20, 3)) @ CELL).astype(np.float32)
    shifted = make_liquid(1, (20,), seed=2)
    object.__setattr__(shifted, "positions", moved)
    # float32 positions of up to 10 nm carry 1e-6 nm of rounding, times a curvature of 1e3 kJ/mol/nm²
    np.testing.assert_allclose(add_forces(shifted, [spline]).forces, expected, atol=1e-2)


def test_bonded_pairs_are_left_to_bonded_terms():
    batch = make_batch(np.array([[0.0, 0, 0], [0.3, 0, 0], [0.0, 0.4, 0]]), molecule=[0, 0, 1], bonds=[(0, 1)])
    pairs = find_pairs(batch, CUTOFF)
    spline = make_spline()
    everything = PairSpline(
        ("A",),
        inner_distances=(INNER,),
        cutoff=CUTOFF,
        n_intervals=N_INTERVALS,
        inner_end="free",
        bond_classes=(OTHER_MOLECULE, BOND),
    ).with_coefficients(spline.coefficients.numpy().reshape(-1))
    bond = compute_pair_curve(spline, np.array([0.3]), 0).energy[0]
    difference = predict_prior([everything], batch, pairs).energy - predict_prior([spline], batch, pairs).energy
    assert float(difference) == pytest.approx(bond, rel=1e-9)


def test_config_and_weights_survive_a_round_trip():
    spline = make_spline("flat", ("A", "B"))
    copy = PairSpline.from_config(spline.to_config())
    copy.load_state_dict(spline.state_dict())
    distances = np.linspace(0.1, 1.0, 50)
    for number in range(3):
        np.testing.assert_array_equal(
            compute_pair_curve(copy, distances, number).force, compute_pair_curve(spline, distances, number).force
        )


def test_energy_has_the_precision_of_the_distances():
    distances = torch.linspace(0.3, 0.8, 5)
    assert make_spline().pair_energy(distances, torch.zeros(5, dtype=torch.int64)).dtype == torch.float32


def test_type_pairs_are_numbered_without_order():
    assert name_type_pairs(("A", "B", "C")) == ("A-A", "A-B", "A-C", "B-B", "B-C", "C-C")
    np.testing.assert_array_equal(number_type_pairs(3), [[0, 1, 2], [1, 3, 4], [2, 4, 5]])


@pytest.mark.parametrize(
    "change",
    [{"cutoff": -1.0}, {"cutoff": 0.2}, {"inner_distances": (-0.1,)}, {"inner_distances": ()}, {"n_intervals": 3}],
    ids=lambda change: next(iter(change)),
)
def test_impossible_knots_are_refused(change):
    valid = {"inner_distances": (INNER,), "cutoff": CUTOFF, "n_intervals": N_INTERVALS}
    with pytest.raises(InputError):
        PairSpline(("A",), **{**valid, **change})
