"""Ensembles of a liquid of soft beads: canonical at two temperatures, and the same from every integrator."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.io.h5md import read_trajectory
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.statistics import block_mean_and_error
from beadsmith.units import GAS_CONSTANT, thermal_energy
from example_force_fields import Well, make_force_field, make_liquid

SETTINGS = SimulationSettings(
    timestep=0.01, friction=5.0, equilibration=3.0, duration=40.0, save_interval=0.2, replicas=2, threads=1
)
LIQUID = ExponentialRepulsion(("bead",), joining_distances=(0.35,), joining_forces=(100.0,), decays=(15.0,), cutoff=0.6)


def run(path, settings=SETTINGS, *, temperature=300.0, seed=1, term=LIQUID):
    summary = simulate(
        make_force_field(term),
        make_liquid(4, spacing=0.45, n_frames=2),
        settings,
        path,
        temperature=temperature,
        seed=seed,
        identity="test",
    )
    return summary, read_trajectory(path)


def energy_per_bead(frames):
    """Return mean potential energy per bead and its block standard error [kJ/mol]."""
    mean, error = block_mean_and_error(frames.energy, n_blocks=10, segment=frames.segment)
    return mean / frames.n_sites, error / frames.n_sites


def test_an_ideal_gas_has_the_kinetic_temperature_and_no_virial(tmp_path):
    settings = replace(SETTINGS, duration=4.0, equilibration=0.0)
    summary, frames = run(tmp_path / "s.h5", settings, term=Well())
    assert np.all(frames.virial == 0.0)
    temperature = summary["kinetic_temperature"]
    # 40 frames of 384 components, correlated over 1/(2 γ): a standard error of about 1 %
    assert abs(temperature["mean"] - 300.0) < 3.0 * 0.013 * 300.0
    assert 0.0 < temperature["standard_error"] < 0.03 * 300.0


@pytest.mark.slow
def test_the_kinetic_temperature_of_a_liquid_is_that_of_the_heat_bath(tmp_path):
    summary, _ = run(tmp_path / "s.h5", SETTINGS)
    measured = summary["kinetic_temperature"]
    # 400 frames of 192 components: 1.5 K if all were independent
    assert measured["standard_error"] < 3.0
    assert abs(measured["mean"] - 300.0) < 3.0 * measured["standard_error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"timestep": 0.02}, {"integrator": "brownian", "friction": 20.0}, {"precision": "float64"}],
    ids=["twice the timestep", "brownian", "double precision"],
)
def test_the_mean_energy_does_not_depend_on_how_it_is_sampled(tmp_path, change):
    _, frames = run(tmp_path / "a.h5")
    _, others = run(tmp_path / "b.h5", replace(SETTINGS, **change), seed=2)
    (mean, error), (other, other_error) = energy_per_bead(frames), energy_per_bead(others)
    combined = np.hypot(error, other_error)
    assert combined < 0.01 * mean
    assert abs(mean - other) < 3.0 * combined


@pytest.mark.slow
@pytest.mark.parametrize("integrator", ["langevin", "brownian"])
def test_energies_at_two_temperatures_have_the_canonical_ratio(tmp_path, integrator):
    physical_validation = pytest.importorskip("physical_validation")
    friction = {"langevin": 5.0, "brownian": 20.0}[integrator]
    settings = replace(SETTINGS, integrator=integrator, friction=friction)
    data = []
    temperatures = (300.0, 320.0)
    for temperature in temperatures:
        _, frames = run(tmp_path / f"{temperature:g}.h5", settings, temperature=temperature)
        units = physical_validation.data.UnitData(
            kb=GAS_CONSTANT,
            energy_str="kJ/mol", energy_conversion=1.0,
            length_str="nm", length_conversion=1.0,
            volume_str="nm^3", volume_conversion=1.0,
            temperature_str="K", temperature_conversion=1.0,
            pressure_str="bar", pressure_conversion=16.6054,
            time_str="ps", time_conversion=1.0,
        )  # fmt: skip
        ensemble = physical_validation.data.EnsembleData(
            ensemble="NVT", natoms=frames.n_sites, volume=float(frames.volumes()[0]), temperature=temperature
        )
        observables = physical_validation.data.ObservableData(potential_energy=frames.energy)
        data.append(
            physical_validation.data.SimulationData(units=units, ensemble=ensemble, observables=observables, dt=0.2)
        )
    (quantile,) = physical_validation.ensemble.check(*data, total_energy=False, screen=False, verbosity=0)
    # distance of the fitted ratio of the two distributions from 1/kT₁ − 1/kT₂, in standard errors
    assert abs(quantile) < 3.0


@pytest.mark.slow
def test_a_long_constant_energy_run_keeps_its_energy_to_a_ten_thousandth_of_the_heat(tmp_path):
    settings = replace(SETTINGS, integrator="verlet", timestep=0.005, duration=20.0, precision="float64")
    summary, frames = run(tmp_path / "s.h5", settings)
    heat = 1.5 * thermal_energy(300.0) * frames.n_sites
    for replica in summary["replicas"]:
        assert abs(replica["energy_drift"]) * settings.duration < 1e-4 * heat
