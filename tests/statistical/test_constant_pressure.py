"""Constant pressure: the Lennard-Jones fluid against published pressures, and the same ensemble at two pressures.

Reference: NIST Standard Reference Simulation Website, Lennard-Jones fluid, Monte Carlo at constant volume: 500
particles, truncation at 3 σ with long-range corrections. At T* = 0.90: p* = 0.27851 at ρ* = 0.78, 0.82386 at 0.82 and
1.5781 at 0.86.
"""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from beadsmith.analysis.number_fluctuations import count_numbers, measure_bulk_compressibility
from beadsmith.analysis.thermodynamics import measure_compressibility, pressures
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.io.h5md import read_trajectory
from beadsmith.priors.pair_terms import AbstractPairTerm
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.tabulated import tabulate_pair_terms
from beadsmith.simulation.barostat import BarostatSettings
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import CountStart
from beadsmith.statistics import block_mean_and_error
from beadsmith.units import GAS_CONSTANT, GIGAPASCAL
from example_force_fields import make_force_field, make_liquid

pytestmark = pytest.mark.slow

SIGMA, EPSILON, MASS = 0.34, 0.4, 20.0
CUTOFF = 3.0 * SIGMA
TEMPERATURE = 0.9 * EPSILON / GAS_CONSTANT
NIST_DENSITY, NIST_PRESSURE = 0.82, 0.82386
NIST_SLOPE = (1.5781 - 0.27851) / 0.08
"""dp*/dρ* about 0.82, from its neighbours in the table."""


class LennardJones(AbstractPairTerm):
    """4 ε [(σ/r)¹² − (σ/r)⁶], shifted to zero at the cutoff: the forces are those of the truncated potential."""

    kind: ClassVar[str] = "test_lennard_jones"

    def __init__(self):
        super().__init__(("bead",), cutoff=CUTOFF, bond_classes=(0,))

    def pair_energy(self, distances, type_pair):
        def energy(x):
            return 4.0 * EPSILON * (x**12 - x**6)

        # the tables begin at a hundredth of a nanometre, where no bead ever is
        inverse = SIGMA / distances.clamp(min=0.5 * SIGMA)
        return torch.where(distances < CUTOFF, energy(inverse) - energy(SIGMA / CUTOFF), 0.0)

    def to_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


class Tail(AbstractEnergyTerm):
    """c N²/V per system, so that −dW/dV is the pressure of the forces beyond the cutoff in a uniform fluid."""

    kind: ClassVar[str] = "test_tail"
    cutoff = 0.0

    def forward(self, batch, pairs):
        x = SIGMA / CUTOFF
        strength = 16.0 / 3.0 * math.pi * EPSILON * SIGMA**3 * (2.0 / 3.0 * x**9 - x**3)
        # positions enter with weight zero: every term of a test must have a gradient by them
        volume = torch.linalg.det(batch.cell)[batch.system_index]
        n_sites = batch.n_sites / batch.n_systems
        return strength * n_sites / volume + 0.0 * batch.positions.sum(1)

    def to_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def test_density_and_pressure_of_the_lennard_jones_fluid_are_the_published_ones(tmp_path):
    settings = SimulationSettings(
        timestep=0.01, friction=0.5, equilibration=10.0, duration=120.0, save_interval=0.2, replicas=2,
        pressure=NIST_PRESSURE * EPSILON / SIGMA**3, barostat=BarostatSettings(interval=0.1, largest_change=0.03),
    )  # fmt: skip
    force_field = make_force_field(LennardJones(), Tail(), masses=(MASS,))
    # the potential is smooth enough for tables, or the test would take ten times as long
    assert len(tabulate_pair_terms(force_field.prior)) == 2
    start = CountStart(counts={"bead": 125}, density=0.79 * MASS / SIGMA**3)
    simulate(force_field, start, settings, tmp_path / "s.h5", temperature=TEMPERATURE, seed=1, identity="lj")
    frames = read_trajectory(tmp_path / "s.h5")
    density, error = block_mean_and_error(
        frames.n_sites * SIGMA**3 / frames.volumes(), n_blocks=20, segment=frames.segment
    )
    assert error < 0.0035
    # the published pressure is known to 0.003, worth 0.0002 in density; 3 standard errors
    assert abs(density - NIST_DENSITY) < 3.0 * np.hypot(error, 0.003 / NIST_SLOPE)
    series = pressures(frames) * SIGMA**3 / EPSILON
    virial, virial_error = block_mean_and_error(series, n_blocks=20, segment=frames.segment)
    assert virial_error < 0.05
    assert abs(virial - NIST_PRESSURE) < 3.0 * virial_error
    # κ = 1/(ρ dp/dρ), from the slope of the table, itself known to 10 %; the variance of a volume is known to 10 %
    found = measure_compressibility(frames.volumes(), temperature=TEMPERATURE, n_blocks=20, segment=frames.segment)
    expected = GIGAPASCAL * SIGMA**3 / EPSILON / (NIST_DENSITY * NIST_SLOPE)
    assert abs(found.value - expected) < 3.0 * np.hypot(found.standard_error, 0.1 * expected)


SOFT = ExponentialRepulsion(
    ("bead",), joining_distances=(0.35,), joining_forces=(100.0,), decays=(15.0,), cutoff=0.6
)  # fmt: skip
SOFT_SETTINGS = SimulationSettings(
    timestep=0.01, friction=5.0, equilibration=5.0, duration=150.0, save_interval=0.5, replicas=2, pressure=50.0,
    barostat=BarostatSettings(interval=0.05, largest_change=0.1),
)  # fmt: skip


def run_soft(path, settings, *, seed, n_side=4, spacing=0.54):
    """Return frames of soft beads."""
    simulate(
        make_force_field(SOFT), make_liquid(n_side, spacing=spacing, n_frames=2), settings, path, temperature=300.0,
        seed=seed, identity="test",
    )  # fmt: skip
    return read_trajectory(path)


def test_volumes_at_two_pressures_have_the_ratio_of_the_isothermal_isobaric_ensemble(tmp_path):
    physical_validation = pytest.importorskip("physical_validation")
    data = []
    for seed, pressure in enumerate((50.0, 57.0)):
        frames = run_soft(tmp_path / f"{pressure:g}.h5", replace(SOFT_SETTINGS, pressure=pressure), seed=seed)
        units = physical_validation.data.UnitData(
            kb=GAS_CONSTANT,
            energy_str="kJ/mol", energy_conversion=1.0,
            length_str="nm", length_conversion=1.0,
            volume_str="nm^3", volume_conversion=1.0,
            temperature_str="K", temperature_conversion=1.0,
            pressure_str="kJ/mol/nm^3", pressure_conversion=16.6054,
            time_str="ps", time_conversion=1.0,
        )  # fmt: skip
        ensemble = physical_validation.data.EnsembleData(
            ensemble="NPT", natoms=frames.n_sites, pressure=pressure, temperature=300.0
        )
        observables = physical_validation.data.ObservableData(potential_energy=frames.energy, volume=frames.volumes())
        data.append(
            physical_validation.data.SimulationData(units=units, ensemble=ensemble, observables=observables, dt=0.5)
        )
    (quantile,) = physical_validation.ensemble.check(*data, total_energy=False, screen=False, verbosity=0)
    # distance of the fitted ratio of the two distributions from (P₁ − P₂)/kT, in standard errors
    assert abs(quantile) < 3.0


def test_numbers_at_constant_volume_show_the_compressibility_of_volumes_at_constant_pressure(tmp_path):
    """343 beads: the cell is 3.8 nm wide, several times the range of the structure."""
    isobaric = run_soft(tmp_path / "p.h5", SOFT_SETTINGS, seed=3)
    by_volumes = measure_compressibility(isobaric.volumes(), temperature=300.0, n_blocks=20, segment=isobaric.segment)
    spacing = float((isobaric.volumes().mean() / isobaric.n_sites) ** (1 / 3))
    settings = replace(SOFT_SETTINGS, pressure=None, barostat=None, duration=120.0)
    frames = run_soft(tmp_path / "v.h5", settings, seed=4, n_side=7, spacing=spacing)
    blocks = [count_numbers(frames.select(part)) for part in np.array_split(np.arange(frames.n_frames), 20)]
    by_numbers = measure_bulk_compressibility(blocks, temperature=300.0, n_molecules=343)
    error = np.hypot(by_volumes.standard_error, by_numbers.standard_error)
    assert error < 0.2 * by_volumes.value
    assert abs(by_numbers.value - by_volumes.value) < 3.0 * error
