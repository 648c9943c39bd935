"""The barrier of inversion by metadynamics against the closed form of a prior whose coordinates do not couple."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from beadsmith.analysis.inversion import InversionSettings, compute_waiting_time
from beadsmith.analysis.stereocentres import find_centres
from beadsmith.diagnostics.inversion import measure_inversion_barriers
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.priors.fourier import FourierImpropers
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.topology import group_equal_molecules
from beadsmith.trajectory import StatePoint
from beadsmith.units import thermal_energy
from example_chains import build_chain
from example_molecules import make_molecule

NAMES = ("P", "Q", "R", "S")
COSINES = np.array([60.0, 30.0, 0.0, 0.0])
"""E = 60 cos χ + 30 cos 2χ: wells of −45 kJ/mol at ±120 degrees, passes of −30 at 180 and of 90 at 0 degrees."""

BARRIER = 15.0


def make_star():
    """Return a force field and two starts of a centre P with the substituents Q, R and S.

    Lengths, the two angles with R, and χ are separable coordinates of Q and S about the axis P-R, and the Jacobian does
    not hold χ: the free energy along χ is the energy.
    """
    star = replace(
        build_chain(4, type_names=NAMES),
        bonds=np.array([[0, 1], [0, 2], [0, 3]]),
        angles=np.array([[1, 0, 2], [2, 0, 3]]),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.array([[1, 0, 2, 3]]),
    )
    bonds = HarmonicBonds(NAMES, (("P", "Q"), ("P", "R"), ("P", "S")), centres=(0.15,) * 3, stiffnesses=(2e4,) * 3)
    angles = HarmonicAngles(NAMES, (("Q", "P", "R"), ("R", "P", "S")), centres=(1.91,) * 2, stiffnesses=(200.0,) * 2)
    improper = FourierImpropers(NAMES, (("Q", "P", "R", "S"),), order=2).with_coefficients(COSINES)
    record = ForceFieldRecord(templates=(star,), state_points=(StatePoint(temperature=300.0),))
    azimuth = np.radians([0.0, 120.0])
    polar = np.stack([np.sin(1.91) * np.cos(azimuth), np.sin(1.91) * np.sin(azimuth), np.full(2, np.cos(1.91))], axis=1)
    sites = 0.15 * np.array([[0.0, 0.0, 0.0], polar[0], [0.0, 0.0, 1.0], polar[1]])
    starts = np.stack([sites, sites])
    return ForceField([bonds, angles, improper], None, record), make_molecule(starts, star)


def measure(settings):
    """Return the barrier of the star, whose native improper is positive."""
    force_field, starts = make_star()
    found = measure_inversion_barriers(force_field, starts, {"1:P": 1.0}, settings, temperature=300.0, seed=3)
    return found["1:P"]


def test_the_starts_are_of_the_hand_that_is_called_native():
    _, starts = make_star()
    (centre,) = find_centres(starts.topology, group_equal_molecules(starts.topology)[0])
    assert centre.name == "1:P"
    np.testing.assert_allclose(centre.compute(starts.positions), 120.0, atol=1e-3)


def test_a_short_run_gives_a_lower_bound_and_says_so():
    found = measure(InversionSettings(timestep=0.004, duration=1.6, interval=0.2, height=0.5, width=10.0, runs=2))
    assert not found["is_crossed"]
    assert 0.0 < found["barrier"]["value"] < 8 * 0.5 * 20.0 / 19.0
    assert found["barrier"]["n_samples"] == 2
    assert found["waiting_time"]["value"] == pytest.approx(compute_waiting_time(found["barrier"]["value"], 300.0))
    assert found["profile"]["improper"][0] == -180.0
    assert found["profile"]["improper"][-1] == 180.0


@pytest.mark.slow
def test_the_barrier_of_the_star_is_its_closed_form_within_3_standard_errors():
    settings = InversionSettings(
        timestep=0.004, duration=200.0, interval=0.2, height=1.0, width=10.0, bias_factor=6.0, runs=4
    )
    found = measure(settings)
    assert found["is_crossed"]
    # four runs: as likely as 3 standard deviations; Gaussians of 10 degrees smear the tops by 0.3 kJ/mol
    error = stats.t.ppf(0.99865, 3) * found["barrier"]["standard_error"]
    assert found["barrier"]["value"] == pytest.approx(BARRIER, abs=error + 0.3)
    assert error < thermal_energy(300.0)
