"""Mean energy and entropy of a run, and the energy that no bead feels, against closed forms.

The atoms are the toy of hidden springs, u(R, x) = v(R) + K(R) x²/2 with n of them, where v and -n k/2 ln K are springs
of one length l: U = K_U (r - l)²/2 and S = K_S (r - l)²/2, up to constants. Then u = U(R) + (kT/2) χ²(n): no bead feels
n kT/2, and distances are normal with the variance kT/k, k = K_U - T K_S.
"""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.diagnostics.bead_series import read_bead_series
from beadsmith.diagnostics.heat_capacity import measure_bead_heat_capacity
from beadsmith.diagnostics.mean_energy import (
    compare_energies,
    explain_missing_zero,
    find_zero,
    measure_atomistic_energy,
    measure_bead_energy,
    measure_bead_entropy,
    measure_model_energy,
)
from beadsmith.io.h5md import write_trajectory
from beadsmith.units import GAS_CONSTANT, thermal_energy
from example_thermal import make_dimers, make_spring_force_field

LENGTH, T0 = 0.6, 300.0
CHANNELS = (6000.0, 3000.0)
ENERGETIC, ENTROPIC = sum(CHANNELS), CHANNELS[1] / T0
N_HIDDEN, N_FRAMES = 6, 4000


def draw(temperature, seed, stiffness=None, n_frames=N_FRAMES):
    """Return frames of the atoms at a temperature, or of beads with another stiffness."""
    generator = np.random.default_rng(seed)
    kT = thermal_energy(temperature)
    stiffness = stiffness or ENERGETIC - temperature * ENTROPIC
    frames = make_dimers(n_frames, temperature=temperature)
    distances = generator.normal(LENGTH, np.sqrt(kT / stiffness), n_frames)
    frames.positions[:, 1, 0] = distances
    hidden = 0.5 * kT * generator.chisquare(N_HIDDEN, n_frames)
    return replace(frames, energy=0.5 * ENERGETIC * (distances - LENGTH) ** 2 + hidden)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dimers")
    force_field = make_spring_force_field(CHANNELS, (LENGTH, LENGTH), T0)

    def read(frames, *, is_atomistic=True):
        write_trajectory(folder / "frames.h5", frames)
        return read_bead_series(force_field, folder / "frames.h5", is_atomistic=is_atomistic)

    return read


@pytest.fixture(scope="module")
def cold_and_hot(read):
    return [read(draw(300.0, 1)), read(draw(400.0, 2))]


def expected_energy(temperature, stiffness=None):
    """Return <U> of one bead [kJ/mol]."""
    stiffness = stiffness or ENERGETIC - temperature * ENTROPIC
    return 0.5 * 0.5 * ENERGETIC * thermal_energy(temperature) / stiffness


def assert_within_three_sigma(found, expected, *, at_most):
    assert 0.0 < found.standard_error < at_most
    assert abs(found.value - expected) < 3.0 * found.standard_error


def test_means_along_a_run_are_those_of_the_closed_form(read):
    # standard errors of 4000 independent frames: about 2 %
    series = read(draw(350.0, 3), is_atomistic=False)
    expected = expected_energy(350.0)
    assert_within_three_sigma(measure_bead_energy(series, 10), expected, at_most=0.05 * expected)
    expected = 1e3 * ENTROPIC / ENERGETIC * expected
    entropy = measure_bead_entropy(series, 10)
    assert_within_three_sigma(entropy, expected, at_most=0.05 * expected)
    assert entropy.unit == "J/mol/K"
    assert measure_atomistic_energy(series, 10) is None


def test_an_exact_force_field_has_the_energy_of_the_atoms_at_a_state_that_it_was_not_trained_at(read, cold_and_hot):
    # 3 standard errors of about 0.1 kJ/mol; the energy that no bead feels alone is 4.4 kJ/mol and 0.6 more at 400 K
    reference, simulation = read(draw(350.0, 4)), read(draw(350.0, 5), is_atomistic=False)
    assert explain_missing_zero(cold_and_hot, reference) is None
    zero = find_zero(cold_and_hot, reference)
    assert zero.temperatures == [300.0, 400.0]
    difference = compare_energies(simulation, reference, zero, 10)
    assert_within_three_sigma(difference, 0.0, at_most=0.1)
    hidden = 0.5 * 0.5 * N_HIDDEN * thermal_energy(350.0)
    assert_within_three_sigma(measure_model_energy(simulation, zero, 10), hidden + expected_energy(350.0), at_most=0.1)
    theirs = measure_atomistic_energy(reference, 10)
    assert difference.value == pytest.approx(measure_model_energy(simulation, zero, 10).value - theirs.value)


def test_a_run_with_other_beads_is_off_by_what_their_energy_is(read, cold_and_hot):
    reference, softer = read(draw(350.0, 4)), read(draw(350.0, 6, stiffness=1500.0), is_atomistic=False)
    expected = expected_energy(350.0, 1500.0) - expected_energy(350.0)
    found = compare_energies(softer, reference, find_zero(cold_and_hot, reference), 10)
    assert_within_three_sigma(found, expected, at_most=0.2 * expected)


def test_three_temperatures_share_one_line(read, cold_and_hot):
    training = [*cold_and_hot, read(draw(500.0, 7))]
    zero = find_zero(training, training[1])
    slope = zero.measure_slope(10)
    # half of n k/2, of two beads; error about 0.2 J/mol/K
    assert_within_three_sigma(slope, 1e3 * 0.5 * 0.5 * N_HIDDEN * GAS_CONSTANT, at_most=1.0)
    assert slope.unit == "J/mol/K"
    assert zero.value_weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(zero.value_weights, np.array([1.0, 1.0, 1.0]) / 3, atol=1e-12)


def test_the_heat_capacity_with_what_no_bead_feels_is_that_of_the_atoms(read, cold_and_hot):
    reference, simulation = read(draw(350.0, 4)), read(draw(350.0, 5), is_atomistic=False)
    hidden = find_zero(cold_and_hot, reference).measure_slope(10)
    found = measure_bead_heat_capacity(simulation, hidden=hidden).total
    # of one bead: fluctuations of U, and n k/2; errors about 3 %
    ratio = ENERGETIC / (ENERGETIC - 350.0 * ENTROPIC)
    expected = 1e3 * GAS_CONSTANT * 0.5 * (0.5 * ratio**2 + 0.5 * N_HIDDEN)
    assert_within_three_sigma(found, expected, at_most=0.1 * expected)
    alone = measure_bead_heat_capacity(simulation).total
    assert alone.value == pytest.approx(found.value - hidden.value)


def test_at_a_state_of_training_the_noise_of_its_own_frames_counts_once(read):
    """Trained at the reference's own frames, <U> + <u - U> - <u> is a difference of two <U>, whatever the atoms do."""
    reference, simulation = read(draw(300.0, 1)), read(draw(300.0, 8), is_atomistic=False)
    found = compare_energies(simulation, reference, find_zero([reference], reference, own=0), 10)
    parts = [measure_bead_energy(series, 10) for series in (simulation, reference)]
    assert found.value == pytest.approx(parts[0].value - parts[1].value)
    assert found.standard_error == pytest.approx(np.hypot(*(part.standard_error for part in parts)))
    apart = compare_energies(simulation, reference, find_zero([reference], reference), 10)
    assert apart.value == pytest.approx(found.value)
    assert apart.standard_error > 1.5 * found.standard_error


def test_frames_of_several_temperatures_in_one_file_are_several_states(read, cold_and_hot):
    ladder = replace(
        draw(300.0, 9, n_frames=40), temperature=np.repeat([300.0, 400.0], 20), segment=np.repeat([0, 1], 20)
    )
    zero = find_zero([read(ladder)], cold_and_hot[0])
    assert zero.temperatures == [300.0, 400.0]
    assert [len(state.hidden) for state in zero.states] == [20, 20]


def test_where_the_zero_is_unknown_the_reason_is_said(read, cold_and_hot):
    cold, hot = cold_and_hot
    assert explain_missing_zero([cold], cold) is None
    assert find_zero([cold], cold).measure_slope(10) is None
    assert "all training frames are at 300 K" in explain_missing_zero([cold], hot)
    blind = replace(cold, atomistic_energy=None)
    assert explain_missing_zero([cold], blind) == "the reference has no energies"
    assert "no energies" in explain_missing_zero([blind], cold)
    assert "no longer where they were" in explain_missing_zero([], cold)
    other = replace(cold, topology=replace(cold.topology, names=("bead", "other")))
    assert "composition" in explain_missing_zero([cold, other], cold)
