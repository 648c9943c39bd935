"""Tables of pair terms against the terms themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.neighbors import build_skin_list, find_pairs
from beadsmith.priors.pair_terms import AbstractPairTerm
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.tabulated import ABSOLUTE_ERROR, RELATIVE_ERROR, TabulatedPairs, tabulate_pair_terms
from example_force_fields import Well
from example_systems import CELLS, make_batch

TYPES = ("a", "b")


def make_terms():
    repulsion = ExponentialRepulsion(
        TYPES, joining_distances=(0.3, 0.35, 0.4), joining_forces=(400.0, 300.0, 200.0), decays=(45.0,) * 3, cutoff=0.6
    )
    spline = PairSpline(TYPES, inner_distances=(0.28, 0.32, 0.36), cutoff=1.0, n_intervals=36)
    # smooth on the scale of the knots, with the curvature of a liquid's mean force
    knots = np.linspace(0.0, 3.0, spline.coefficients.shape[1])
    for row, phase in enumerate((0.0, 1.0, 2.0)):
        spline.coefficients[row] = torch.from_numpy(3.0 * np.cos(4.0 * knots + phase) * np.exp(-knots))
    return [repulsion, spline]


def make_mixture(cell, n_systems=2):
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), axis=-1).reshape(-1, 3)
    positions = [(grid + rng.normal(scale=0.03, size=grid.shape)) @ cell for _ in range(n_systems)]
    batch = make_batch(np.concatenate(positions), cell, n_systems=n_systems)
    return replace(batch, types=torch.from_numpy(rng.integers(0, 2, batch.n_sites)))


@pytest.mark.parametrize("name", CELLS)
def test_energy_forces_and_virial_are_those_of_the_terms(name):
    batch = make_mixture(CELLS[name])
    pairs = build_skin_list(batch, 1.0, 0.15).pairs
    exact = predict_prior(make_terms(), batch, pairs)
    (table,) = tabulate_pair_terms(make_terms())
    quick = predict_prior([table], batch, pairs)
    # about 30 neighbours whose errors add up
    scale = RELATIVE_ERROR * float(exact.forces.abs().max()) + ABSOLUTE_ERROR
    torch.testing.assert_close(quick.forces, exact.forces, rtol=0.0, atol=scale)
    torch.testing.assert_close(quick.energy, exact.energy, rtol=1e-7, atol=1e-5)
    torch.testing.assert_close(quick.virial, exact.virial, rtol=1e-4, atol=scale)


MOLECULES = [None, [k // 4 for k in range(64)] + [16 + k // 4 for k in range(64)]]


@pytest.mark.parametrize("name", [None, *CELLS])
@pytest.mark.parametrize("molecule", MOLECULES)
def test_the_compiled_sweep_equals_the_differentiated_twin(name, molecule):
    batch = make_mixture(CELLS[name or "cubic"])
    if name is None:
        batch = replace(batch, cell=None)
    if molecule is not None:
        batch = replace(batch, molecule_index=torch.tensor(molecule))
    pairs = build_skin_list(batch, 1.0, 0.15).pairs
    (table,) = tabulate_pair_terms(make_terms())
    found, expected = table.predict(batch, pairs), AbstractEnergyTerm.predict(table, batch, pairs)
    # double precision: 1e-12 of the largest value
    for field in ("energy", "forces", "virial"):
        value = getattr(expected, field)
        assert getattr(found, field).dtype == torch.float64
        torch.testing.assert_close(getattr(found, field), value, rtol=0.0, atol=1e-12 * float(value.abs().max()))


def test_the_compiled_sweep_equals_the_twin_to_the_rounding_of_single_precision():
    batch = make_mixture(CELLS["triclinic"])
    batch = replace(batch, positions=batch.positions.float(), cell=batch.cell.float(), masses=batch.masses.float())
    pairs = find_pairs(batch, 1.0)
    (table,) = tabulate_pair_terms(make_terms())
    found, expected = table.predict(batch, pairs), AbstractEnergyTerm.predict(table, batch, pairs)
    assert found.forces.dtype == torch.float32
    # the twin rounds vectors of 0.5 nm to 3e-8 nm; the wall's curvature is up to 2e4 kJ/mol/nm²
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-5, atol=5e-3)
    torch.testing.assert_close(found.energy, expected.energy, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found.virial, expected.virial, rtol=1e-5, atol=1e-2)


def test_forces_are_minus_the_derivative_of_the_tabulated_energy():
    batch = make_mixture(CELLS["triclinic"], n_systems=1)
    (table,) = tabulate_pair_terms(make_terms())
    pairs = find_pairs(batch, 1.1)
    forces = predict_prior([table], batch, pairs).forces
    step = 1e-6
    for site, axis in [(0, 0), (17, 1), (40, 2)]:
        energies = []
        for sign in (1.0, -1.0):
            moved = batch.positions.clone()
            moved[site, axis] += sign * step
            energies.append(float(predict_prior([table], replace(batch, positions=moved), pairs).energy[0]))
        # rounding of a sum of 1e3 kJ/mol over 2e-6 nm
        assert float(forces[site, axis]) == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-4)


def test_unequal_weights_of_sites_are_respected():
    batch = make_mixture(CELLS["cubic"], n_systems=1)
    (table,) = tabulate_pair_terms(make_terms())
    pairs = find_pairs(batch, 1.0)
    weights = torch.linspace(0.0, 2.0, batch.n_sites, dtype=torch.float64)
    positions = batch.positions.clone().requires_grad_()
    (table(replace(batch, positions=positions), pairs) * weights).sum().backward()
    exact = batch.positions.clone().requires_grad_()
    sum((term(replace(batch, positions=exact), pairs) * weights).sum() for term in make_terms()).backward()
    torch.testing.assert_close(positions.grad, exact.grad, rtol=1e-3, atol=0.05)


def test_bond_classes_choose_the_terms():
    batch = make_mixture(CELLS["cubic"], n_systems=1)
    pairs = find_pairs(batch, 1.0)
    pairs = replace(pairs, bond_class=(pairs.index.sum(0) % 5))
    exact = predict_prior(make_terms(), batch, pairs)
    quick = predict_prior(tabulate_pair_terms(make_terms()), batch, pairs)
    torch.testing.assert_close(quick.energy, exact.energy, rtol=1e-7, atol=1e-5)


def test_open_systems_need_no_cell():
    batch = replace(make_mixture(CELLS["cubic"], n_systems=1), cell=None)
    pairs = find_pairs(batch, 1.0)
    exact = predict_prior(make_terms(), batch, pairs)
    quick = predict_prior(tabulate_pair_terms(make_terms()), batch, pairs)
    torch.testing.assert_close(quick.energy, exact.energy, rtol=1e-7, atol=1e-5)


def test_a_position_that_is_not_finite_reaches_the_energy():
    batch = make_mixture(CELLS["cubic"], n_systems=1)
    pairs = find_pairs(batch, 1.0)
    moved = batch.positions.clone()
    moved[3] = torch.nan
    prediction = predict_prior(tabulate_pair_terms(make_terms()), replace(batch, positions=moved), pairs)
    assert torch.isnan(prediction.energy).all()
    assert torch.isnan(prediction.forces[3]).all()
    assert torch.isnan(prediction.virial).all()


def test_terms_that_are_no_pair_terms_stay_as_they_are():
    well = Well(harmonic=1.0)
    kept, table = tabulate_pair_terms([well, *make_terms()])
    assert kept is well
    assert isinstance(table, TabulatedPairs)
    assert tabulate_pair_terms([well]) == [well]


def test_a_term_with_a_step_is_not_tabulated():
    class Step(ExponentialRepulsion):
        def pair_energy(self, distances, type_pair):
            return super().pair_energy(distances, type_pair) + torch.where(distances < 0.4, distances, 0.4)

    step = Step(("a",), joining_distances=(0.3,), joining_forces=(400.0,), decays=(45.0,), cutoff=0.6)
    assert isinstance(step, AbstractPairTerm)
    assert tabulate_pair_terms([step]) == [step]
