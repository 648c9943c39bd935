"""Noise of forces whose signal is known: harmonic bonds, chains, and nothing at all."""

import numpy as np
import pytest

from beadsmith.analysis.force_noise import measure_force_noise

N_SAMPLES = 4000
STIFFNESS, LENGTH, NOISE = 5.0e4, 0.15, 300.0


def make_dimers(*, noise=NOISE, n_samples=N_SAMPLES, seed=0):
    """Return positions and forces of harmonic dimers at 300 K, with noise on the forces of the second bead alone."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=(n_samples, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = generator.normal(LENGTH, np.sqrt(2.494 / STIFFNESS), (n_samples, 1))
    positions = np.stack([np.zeros((n_samples, 3)), length * direction], axis=1)
    pull = STIFFNESS * (length - LENGTH) * direction
    forces = np.stack([pull, -pull + generator.normal(0.0, noise, (n_samples, 3))], axis=1)
    return positions, forces


def test_a_linear_force_leaves_the_noise_that_was_added_to_it():
    first, second = measure_force_noise(*make_dimers(), np.array([(0, 1)]))
    signal = np.sqrt(STIFFNESS * 2.494 / 3.0)
    assert first.rms == pytest.approx(signal, rel=0.05)
    assert first.noise.value < 1e-3 * signal
    assert first.explained > 0.999
    # the rms of 12,000 numbers is known to 0.7 %: 4 sigma
    assert second.noise.value == pytest.approx(NOISE, rel=0.03)
    assert second.noise.value == pytest.approx(NOISE, abs=5.0 * second.noise.standard_error)
    assert second.explained == pytest.approx(1.0 - NOISE**2 / second.rms**2, abs=0.02)


def test_a_bead_alone_may_be_all_noise():
    generator = np.random.default_rng(1)
    (found,) = measure_force_noise(
        np.zeros((500, 1, 3)), generator.normal(0.0, NOISE, (500, 1, 3)), np.zeros((0, 2), dtype=int)
    )
    assert found.noise.value == pytest.approx(found.rms)
    assert found.explained == pytest.approx(0.0, abs=1e-12)


def test_pure_noise_is_never_taken_for_less_than_it_is():
    generator = np.random.default_rng(2)
    positions = np.cumsum(generator.normal(0.0, 0.1, (60, 5, 3)), axis=1)
    bonds = np.array([(0, 1), (1, 2), (2, 3), (3, 4)])
    # sixteen functions, 180 numbers: a fit that is scored on its own frames would explain a tenth
    for found in measure_force_noise(positions, generator.normal(0.0, 1.0, positions.shape), bonds):
        assert found.explained < 0.05


def test_angles_and_dihedrals_of_small_amplitude_are_explained_by_lengths_to_further_beads():
    generator = np.random.default_rng(3)
    mean = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.14, 0.0], [0.3, 0.16, 0.1]])
    shift = generator.normal(0.0, 0.004, (N_SAMPLES, 4, 3))
    positions = mean + shift
    # an elastic network: every pair of beads is a spring
    forces = np.zeros_like(positions)
    for i in range(4):
        for j in range(4):
            if i != j:
                vector = positions[:, j] - positions[:, i]
                length = np.linalg.norm(vector, axis=-1, keepdims=True)
                rest = np.linalg.norm(mean[j] - mean[i])
                forces[:, i] += 2e4 * (length - rest) * vector / length
    for found in measure_force_noise(positions, forces, np.array([(0, 1), (1, 2), (2, 3)])):
        assert found.explained > 0.999


def test_one_sample_is_scored_on_itself_without_an_error():
    positions, forces = make_dimers(n_samples=1)
    first, _ = measure_force_noise(positions, forces, np.array([(0, 1)]))
    assert np.isnan(first.noise.standard_error)
