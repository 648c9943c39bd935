"""Barriers of inversion: transition-state theory against published values, and the lower of two passes."""

import numpy as np
import pytest

from beadsmith.analysis.inversion import (
    InversionSettings,
    compute_required_barrier,
    compute_waiting_time,
    find_barrier,
)
from beadsmith.errors import InputError
from beadsmith.units import KILOCALORIE_PER_MOL, thermal_energy

KT = thermal_energy(300.0)
ANGLES = np.linspace(-180.0, 180.0, 361)


@pytest.mark.parametrize(
    ("barrier", "seconds"),
    [(5.0, 0.7e-9), (8.0, 0.11e-6), (10.0, 3.1e-6), (12.0, 88e-6), (15.0, 14e-3), (18.0, 2.07), (20.0, 59.0)],
)
def test_waiting_times_at_300_k_are_the_published_ones(barrier, seconds):
    # the values are given with two digits, 18 kcal/mol with three
    expected = pytest.approx(seconds, rel=0.003 if barrier == 18.0 else 0.05)
    assert compute_waiting_time(barrier * KILOCALORIE_PER_MOL, 300.0) * 1e-12 == expected


@pytest.mark.parametrize(("time", "barrier"), [(50e3, 9.3), (500e3, 10.7), (5e6, 12.1), (1e9, 15.2)])
def test_required_barriers_at_300_k_are_the_published_ones(time, barrier):
    assert compute_required_barrier(time, 300.0) / KILOCALORIE_PER_MOL == pytest.approx(barrier, abs=0.05)


def test_the_required_barrier_lasts_twenty_times_the_run():
    assert compute_waiting_time(compute_required_barrier(1234.0, 310.0), 310.0) == pytest.approx(20.0 * 1234.0)


def make_profile(*, through_0=200.0, through_180=60.0, native=0.0, other=0.0):
    """Return a profile with wells at ±120 degrees and passes at 0 and 180 degrees [kJ/mol]."""
    knots = [-180.0, -120.0, 0.0, 120.0, 180.0]
    return np.interp(ANGLES, knots, [through_180, other, through_0, native, through_180])


@pytest.mark.parametrize("hand", [1.0, -1.0])
@pytest.mark.parametrize(("through_0", "through_180", "expected"), [(200.0, 60.0, 60.0), (40.0, 90.0, 40.0)])
def test_the_lower_pass_is_the_barrier_whatever_the_hand(hand, through_0, through_180, expected):
    profile = make_profile(through_0=through_0, through_180=through_180)
    found = find_barrier(ANGLES, profile if hand > 0.0 else profile[::-1], hand=hand, kT=KT)
    assert found.height == pytest.approx(expected)
    assert found.is_crossed


def test_the_barrier_is_counted_from_the_native_well():
    assert find_barrier(ANGLES, make_profile(native=10.0, other=-5.0), hand=1.0, kT=KT).height == pytest.approx(50.0)
    assert find_barrier(ANGLES, make_profile(native=10.0, other=-5.0), hand=-1.0, kT=KT).height == pytest.approx(65.0)


def test_a_profile_that_is_flat_beyond_the_well_is_a_lower_bound():
    # where metadynamics has not been, its estimate is flat at the height of the fill
    profile = np.where(np.abs(ANGLES - 120.0) < 50.0, make_profile(), 48.0)
    found = find_barrier(ANGLES, np.minimum(profile, 48.0), hand=1.0, kT=KT)
    assert found.height == pytest.approx(48.0)
    assert not found.is_crossed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0.0}, "'height'"),
        ({"bias_factor": 1.0}, "'bias_factor'"),
        ({"runs": 1}, "errors come from their spread"),
        ({"interval": 0.001}, "expected from one 'timestep'"),
        ({"duration": 0.1}, "to the 'duration'"),
        ({"width": float("nan")}, "'width'"),
    ],
)
def test_settings_that_make_no_bias_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        InversionSettings(**change)
