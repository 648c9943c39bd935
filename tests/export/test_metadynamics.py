"""Well-tempered metadynamics against free energies in closed form, in its own error bars."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch
from openmm import app
from scipy import stats

from beadsmith.analysis.definitions import CoordinateDefinition
from beadsmith.analysis.internal import angles, dihedrals, distances
from beadsmith.batch import Prediction, build_batch
from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.export.metadynamics import (
    BiasedCoordinate,
    MetadynamicsSettings,
    _find_coordinate,
    _make_axis,
    _make_variable,
    run_metadynamics,
)
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import find_pairs
from beadsmith.trajectory import StatePoint
from beadsmith.units import thermal_energy
from example_chains import build_chain, make_frames

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)


class DoubleWellBond(AbstractEnergyTerm):
    """h ((r − c)²/w² − 1)² + t (r − c)/w of the distance between the first two sites."""

    kind = "test_double_well_bond"
    cutoff = 0.0
    barrier, tilt, centre, half_distance = 15.0, 2.0, 0.5, 0.12

    @classmethod
    def energy(cls, r):
        x = (r - cls.centre) / cls.half_distance
        return cls.barrier * (x**2 - 1.0) ** 2 + cls.tilt * x

    def forward(self, batch, pairs):
        r = (batch.positions[1] - batch.positions[0]).norm()
        return torch.stack([self.energy(r), torch.zeros_like(r)])

    def predict(self, batch, pairs):
        # written out: autograd would take most of the test's time
        vector = (batch.positions[1] - batch.positions[0]).double().numpy()
        r = float(np.sqrt(vector @ vector))
        x = (r - self.centre) / self.half_distance
        slope = (4.0 * self.barrier * x * (x**2 - 1.0) + self.tilt) / self.half_distance
        force = torch.from_numpy(slope / r * vector)
        return Prediction(
            energy=torch.tensor([self.energy(r)], dtype=torch.float64),
            forces=torch.stack([force, -force]).to(batch.positions.dtype),
            virial=torch.zeros(1, 3, 3, dtype=torch.float64),
        )

    def to_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def make_dimer():
    """Return a force field and a start in the upper of two wells, 6 kT below the barrier."""
    topology = build_chain(2)
    record = ForceFieldRecord(templates=(topology,), state_points=(StatePoint(temperature=TEMPERATURE),))
    frames = make_frames(topology, [[[0.0, 0.0, 0.0], [0.62, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.38, 0.0, 0.0]]])
    return ForceField([DoubleWellBond()], None, record), frames


DISTANCE = CoordinateDefinition(name="d", kind="distance", sites=("A", "B"))
SETTINGS = MetadynamicsSettings(
    coordinates=(BiasedCoordinate(coordinate=DISTANCE, width=0.015, start=0.25, end=0.75),),
    timestep=0.005,
    friction=5.0,
    duration=50.0,
    interval=0.15,
    height=0.8,
    bias_factor=6.0,
    runs=6,
)


def test_the_force_of_the_test_is_the_derivative_of_its_energy():
    force_field, frames = make_dimer()
    batch = build_batch(frames, np.array([1]), dtype=torch.float64)
    pairs = find_pairs(batch, 1.0)
    written = predict_prior(list(force_field.prior), batch, pairs)
    derived = AbstractEnergyTerm.predict(DoubleWellBond(), batch, pairs)
    torch.testing.assert_close(written.forces, derived.forces, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(written.energy, derived.energy, rtol=1e-12, atol=0.0)


@pytest.fixture(scope="module")
def estimate():
    force_field, frames = make_dimer()
    return run_metadynamics(force_field, frames, SETTINGS, temperature=TEMPERATURE, seed=2)


def exact_free_energy(r):
    """Return −kT ln p(r), p ∝ r² exp(−E/kT), normalised on the grid."""
    weight = r**2 * np.exp(-DoubleWellBond.energy(r) / KT)
    return -KT * np.log(weight / np.trapezoid(weight, r))


def test_free_energy_of_a_distance_is_the_closed_form_within_its_errors(estimate):
    (r,) = estimate.axes
    exact = exact_free_energy(r)
    looked_at = exact < exact.min() + 6.0 * KT
    assert ((r > 0.45) & (r < 0.55) & looked_at).any()
    # six runs: 4.0 standard errors, which leave out 1 % of the t distribution with 5 degrees of freedom
    deviation = np.abs(estimate.free_energy - exact)[looked_at] / estimate.standard_error[looked_at]
    assert np.mean(deviation < stats.t.ppf(0.995, 5)) > 0.9
    assert np.sqrt(np.mean((estimate.free_energy - exact)[looked_at] ** 2)) < 0.5 * KT
    assert np.median(estimate.standard_error[looked_at]) < 0.3 * KT


def test_population_of_a_well_is_the_closed_form_within_its_error(estimate):
    (r,) = estimate.axes
    is_lower = r < 0.5

    def population(free_energy):
        weight = np.exp(-free_energy / KT)
        return np.trapezoid(weight * is_lower, r) / np.trapezoid(weight, r)

    runs = np.array([population(run) for run in estimate.runs])
    expected = population(exact_free_energy(r))
    assert 0.2 < expected < 0.8
    # as likely as 3 standard deviations of a normal distribution
    assert abs(stats.ttest_1samp(runs, expected).statistic) < stats.t.ppf(0.99865, 5)


def test_the_same_seed_gives_the_same_runs_and_runs_differ():
    force_field, frames = make_dimer()
    settings = replace(SETTINGS, duration=1.5, runs=2)
    first, again = (run_metadynamics(force_field, frames, settings, temperature=TEMPERATURE, seed=5) for _ in "ab")
    np.testing.assert_array_equal(first.runs, again.runs)
    assert np.abs(first.runs[0] - first.runs[1]).max() > 0.1


@pytest.mark.parametrize(
    ("kind", "sites", "function"),
    [("distance", "AC", distances), ("angle", "ABD", angles), ("dihedral", "ABCD", dihedrals)],
)
def test_openmm_measures_the_coordinate_as_the_analysis_does(kind, sites, function):
    topology = build_chain(4)
    positions = np.random.default_rng(3).normal(size=(1, 4, 3)).astype(np.float32)
    definition = CoordinateDefinition(name="q", kind=kind, sites=tuple(sites))
    limits = {"start": 0.0, "end": 5.0} if kind == "distance" else {}
    biased = BiasedCoordinate(coordinate=definition, width=0.1 if kind == "distance" else 10.0, **limits)
    coordinate = _find_coordinate(biased, topology)
    variable = _make_variable(biased, coordinate)
    system = openmm.System()
    for mass in topology.masses:
        system.addParticle(mass)
    bias = app.Metadynamics(system, [variable], 300.0, 5.0, 1.0, 10)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions[0].astype(float))
    (found,) = bias._force.getCollectiveVariableValues(context)
    expected = function(positions, np.array([[("ABCD").index(site) for site in sites]]))[0, 0]
    assert found * (1.0 if kind == "distance" else 180.0 / np.pi) == pytest.approx(expected, rel=1e-5)
    # the table's grid is the axis: a Gaussian on a point of it peaks there
    axis = _make_axis(biased, coordinate)
    assert len(axis) == variable.gridWidth


def test_a_gaussian_peaks_where_the_axis_says():
    force_field, frames = make_dimer()
    settings = replace(SETTINGS, duration=0.15, runs=2)
    once = run_metadynamics(force_field, frames, settings, temperature=1e-6, seed=1)
    # without heat nothing moves far from the minimum near 0.62 nm; one Gaussian is the whole bias
    (r,) = once.axes
    lowest = r[once.runs[0].argmin()]
    assert abs(lowest - 0.615) < 0.02
    assert r[0] == 0.25
    assert r[-1] == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": ()}, "has 0 coordinates"),
        ({"height": 0.0}, "'height'"),
        ({"bias_factor": 1.0}, "'bias_factor'"),
        ({"runs": 1}, "errors come from their spread"),
        ({"duration": 0.1}, "shorter than one 'interval'"),
        ({"interval": 0.001}, "shorter than one 'timestep'"),
    ],
)
def test_settings_that_make_no_bias_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        (("phi",), "no coordinate 'phi' by its nature"),
        ((CoordinateDefinition(name="q", kind="dihedral", sites=("A", "B", "C", "X")),), "'X' in the coordinate 'q'"),
        ((DISTANCE,), "needs 'start' and 'end'"),
        (
            (
                CoordinateDefinition(name="t", kind="dihedral", sites=("A", "B", "C", "D")),
                CoordinateDefinition(name="a", kind="angle", sites=("A", "B", "C")),
            ),
            "cannot be biased together",
        ),
    ],
)
def test_coordinates_that_cannot_be_biased_are_refused(coordinates, message):
    topology = build_chain(4)
    force_field, _ = make_dimer()
    frames = make_frames(topology, np.random.default_rng(3).normal(size=(1, 4, 3)))
    settings = replace(SETTINGS, coordinates=tuple(BiasedCoordinate(coordinate=c, width=5.0) for c in coordinates))
    with pytest.raises(InputError, match=message):
        run_metadynamics(force_field, frames, settings, temperature=TEMPERATURE)


def test_several_molecules_are_refused():
    force_field, _ = make_dimer()
    frames = make_frames(build_chain(2, n_molecules=2), np.zeros((1, 4, 3)))
    with pytest.raises(InputError, match="for one molecule, but the start has 2"):
        run_metadynamics(force_field, frames, SETTINGS, temperature=TEMPERATURE)
