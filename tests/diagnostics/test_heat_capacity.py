"""The heat capacity of a run with a force field of energy and entropy, against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.distribution import Measurement
from beadsmith.diagnostics.bead_series import knows_energy, read_bead_series
from beadsmith.diagnostics.heat_capacity import measure_bead_heat_capacity
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import write_trajectory
from beadsmith.thermal_form import ThermalForm
from beadsmith.units import GAS_CONSTANT, thermal_energy
from example_force_fields import SoftPair, make_force_field
from example_thermal import WITH_CAPACITY, SpringChannels, make_dimers, make_record, make_spring_force_field

TEMPERATURE = 350.0


def draw_dimers(stiffness, n_frames=20_000, length=0.6):
    """Return dimers whose distance is normal about a length, with the variance kT/k of a free energy k (r − l)²/2."""
    width = np.sqrt(thermal_energy(TEMPERATURE) / stiffness)
    distances = np.random.default_rng(0).normal(length, width, n_frames)
    frames = make_dimers(n_frames, temperature=TEMPERATURE)
    frames.positions[:, 1, 0] = distances
    return frames


def test_energies_along_a_run_give_both_parts_of_the_heat_capacity(tmp_path):
    """W = e0 + (1 − t) e1 + (t − 1 − t ln t) e2 with springs of one length: each part is a multiple of (r − l)²/2.

    U = e0 + e1 + (t − 1) e2, so Var U = (K_U/k)² (kT)²/2 with k the spring of W, and dU/dT = e2/T0.
    """
    t = TEMPERATURE / WITH_CAPACITY.reference_temperature
    springs = (9000.0, 4000.0, 2000.0)
    network = SpringChannels(springs, (0.6, 0.6, 0.6))
    force_field = ForceField([], network, make_record(), WITH_CAPACITY).double()
    free = springs[0] + (1.0 - t) * springs[1] + (t - 1.0 - t * np.log(t)) * springs[2]
    energetic = springs[0] + springs[1] + (t - 1.0) * springs[2]
    write_trajectory(tmp_path / "s.h5", draw_dimers(free))
    series = read_bead_series(force_field, tmp_path / "s.h5")
    nothing = Measurement(value=0.0, standard_error=0.0, unit="J/mol/K", n_samples=1)
    found = measure_bead_heat_capacity(series, hidden=nothing)
    # two molecules of one bead each
    between = 1e3 * GAS_CONSTANT * 0.5 * (energetic / free) ** 2 / 2
    within = 1e3 * springs[2] / WITH_CAPACITY.reference_temperature * thermal_energy(TEMPERATURE) / free / 2 / 2
    for part, expected in ((found.between, between), (found.within, within), (found.total, between + within)):
        assert part.standard_error < 0.03 * expected
        assert abs(part.value - expected) < 3.0 * part.standard_error
    assert found.total.unit == "J/mol/K"
    more = measure_bead_heat_capacity(series, hidden=replace(nothing, value=5.0, standard_error=1.0))
    for name, shift in (("total", 5.0), ("within", 5.0), ("between", 0.0)):
        assert getattr(more, name).value == pytest.approx(getattr(found, name).value + shift)
    assert more.total.standard_error == pytest.approx(np.hypot(found.total.standard_error, 1.0))
    # forces leave the zero of a surface dU/dT open
    assert measure_bead_heat_capacity(series) is None


def test_discarded_frames_and_replicas_are_respected(tmp_path):
    frames = draw_dimers(5000.0, n_frames=40)
    frames = replace(frames, times=np.tile(np.arange(20.0), 2), segment=np.repeat([0, 1], 20))
    write_trajectory(tmp_path / "s.h5", frames)
    force_field = make_spring_force_field(lengths=(0.6, 0.6))
    late = read_bead_series(force_field, tmp_path / "s.h5", discard=10.0)
    write_trajectory(tmp_path / "t.h5", frames.select(frames.times >= 10.0))
    alone = read_bead_series(force_field, tmp_path / "t.h5")
    assert measure_bead_heat_capacity(late, n_blocks=4) == measure_bead_heat_capacity(alone, n_blocks=4)
    assert len(read_bead_series(force_field, tmp_path / "s.h5", most=7).energy) == 7


def test_a_force_field_of_one_temperature_and_a_run_at_constant_pressure_have_none(tmp_path):
    assert not knows_energy(make_force_field(SoftPair()))
    assert not knows_energy(ForceField([], SpringChannels((300.0,), (0.5,)), make_record(), ThermalForm()))
    cells = (3.0 + 0.01 * np.arange(10.0))[:, None, None] * np.eye(3)
    breathing = replace(draw_dimers(5000.0, n_frames=10), cell=cells.astype(np.float32))
    write_trajectory(tmp_path / "p.h5", breathing)
    assert measure_bead_heat_capacity(read_bead_series(make_spring_force_field(), tmp_path / "p.h5")) is None


def test_single_precision_gives_the_same_heat_capacity(tmp_path):
    write_trajectory(tmp_path / "s.h5", draw_dimers(5000.0, n_frames=50))
    force_field = make_spring_force_field(lengths=(0.6, 0.6))
    expected = measure_bead_heat_capacity(read_bead_series(force_field, tmp_path / "s.h5")).total.value
    found = measure_bead_heat_capacity(read_bead_series(force_field.float(), tmp_path / "s.h5")).total.value
    assert found == pytest.approx(expected, rel=1e-3)
