"""The exponential wall: its closed form, its cutoff, and what it refuses."""

import numpy as np
import pytest

from beadsmith.energy import predict_prior
from beadsmith.errors import PhysicsError
from beadsmith.neighbors import find_pairs
from beadsmith.priors.pair_terms import compute_pair_curve
from beadsmith.priors.repulsion import SWITCH_START, ExponentialRepulsion
from example_systems import CELLS, make_batch

CONSTANTS = {"joining_distances": (0.30,), "joining_forces": (465.0,), "decays": (50.0,)}


def make_repulsion(cutoff=0.6, type_names=("A",), **constants):
    return ExponentialRepulsion(type_names, cutoff=cutoff, **{**CONSTANTS, **constants})


def test_energy_and_force_are_the_exponential_below_the_switch():
    distances = np.linspace(0.05, SWITCH_START * 0.6, 50)
    curve = compute_pair_curve(make_repulsion(), distances, 0)
    force = 465.0 * np.exp(-50.0 * (distances - 0.30))
    np.testing.assert_allclose(curve.force, force, rtol=1e-12)
    np.testing.assert_allclose(curve.energy, force / 50.0, rtol=1e-12)
    np.testing.assert_allclose(curve.slope, -50.0 * force, rtol=1e-12)


def test_one_pair_counts_once():
    batch = make_batch(np.array([[0.0, 0.0, 0.0], [0.30, 0.0, 0.0]]))
    prediction = predict_prior([make_repulsion()], batch, find_pairs(batch, 0.6))
    assert float(prediction.energy[0]) == pytest.approx(465.0 / 50.0, rel=1e-12)
    np.testing.assert_allclose(prediction.forces[:, 0].numpy(), [-465.0, 465.0], rtol=1e-12)


def test_energy_and_two_derivatives_are_zero_at_the_cutoff():
    # a long-ranged wall, so that the switch and not the exponential makes them zero
    curve = compute_pair_curve(make_repulsion(decays=(5.0,)), np.array([0.6 - 1e-7, 0.6, 0.7]), 0)
    scale = 465.0 * np.exp(-5.0 * 0.3)
    # 1e-7 nm before the end of a switch of 0.06 nm: third order in energy, second in force, first in slope
    np.testing.assert_allclose(curve.energy / scale, 0.0, atol=1e-15)
    np.testing.assert_allclose(curve.force / scale, 0.0, atol=1e-8)
    np.testing.assert_allclose(curve.slope / scale, 0.0, atol=1e-1)
    assert curve.energy[2] == curve.force[2] == 0.0


def test_force_falls_monotonically_from_contact_to_the_cutoff():
    curve = compute_pair_curve(make_repulsion(), np.linspace(0.0, 0.6, 601), 0)
    assert np.all(np.diff(curve.force) <= 0.0)
    assert np.isfinite(curve.energy[0])


@pytest.mark.parametrize("cell", [*CELLS.values(), None], ids=[*CELLS, "open"])
def test_forces_equal_finite_differences(cell):
    positions = np.random.default_rng(3).random((6, 3)) * 0.8
    repulsion = make_repulsion(joining_forces=(20.0,), decays=(8.0,))

    def energy(points):
        batch = make_batch(points, cell)
        return float(predict_prior([repulsion], batch, find_pairs(batch, 0.7)).energy.sum())

    batch = make_batch(positions, cell)
    forces = predict_prior([repulsion], batch, find_pairs(batch, 0.7)).forces.numpy()
    step = 1e-5
    numeric = np.zeros_like(positions)
    for index in np.ndindex(*positions.shape):
        shift = np.zeros_like(positions)
        shift[index] = step
        numeric[index] = (energy(positions - shift) - energy(positions + shift)) / (2 * step)
    # the truncation of central differences is step² times a third derivative of 1e5 kJ/mol/nm³ in the switch
    np.testing.assert_allclose(forces, numeric, rtol=1e-6, atol=1e-4)


def test_each_type_pair_has_its_own_wall():
    repulsion = make_repulsion(
        type_names=("A", "B"), joining_distances=(0.3, 0.35, 0.4), joining_forces=(1.0, 2.0, 3.0), decays=(20.0,) * 3
    )
    for number, (distance, force) in enumerate(zip((0.3, 0.35, 0.4), (1.0, 2.0, 3.0), strict=True)):
        assert compute_pair_curve(repulsion, np.array([distance]), number).force[0] == pytest.approx(force)


def test_config_and_weights_survive_a_round_trip():
    repulsion = make_repulsion()
    copy = ExponentialRepulsion.from_config(repulsion.to_config())
    copy.load_state_dict(repulsion.state_dict())
    distances = np.linspace(0.2, 0.6, 20)
    np.testing.assert_array_equal(
        compute_pair_curve(copy, distances, 0).force, compute_pair_curve(repulsion, distances, 0).force
    )


@pytest.mark.parametrize("name", ["joining_distances", "joining_forces", "decays"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_constants_that_are_not_positive_and_finite_are_refused_by_name(name, value):
    with pytest.raises(PhysicsError, match=r"exponential_repulsion for the pair 'A-A'"):
        make_repulsion(**{name: (value,)})
