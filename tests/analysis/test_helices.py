"""Helicity and handedness of ideal helices: closed forms, the values of the literature, what a mirror image changes."""

import numpy as np
import pytest

from beadsmith.analysis.helices import handedness, helicity

MIRROR = np.array([1.0, 1.0, -1.0])
IDEAL = {
    # radius [nm], rise [nm], turn [degrees]
    "alpha": (0.23, 0.15, 100.0),
    "3-10": (0.19, 0.20, 120.0),
    "polyproline II": (0.125, 0.31, -120.0),
}


def make_helix(kind, n_residues=15):
    """Return the alpha carbons (n_residues, 3) of an ideal helix [nm]."""
    radius, rise, turn = IDEAL[kind]
    phase = np.radians(turn) * np.arange(n_residues)
    return np.stack([radius * np.cos(phase), radius * np.sin(phase), rise * np.arange(n_residues)], axis=1)


@pytest.mark.parametrize(
    ("kind", "expected_helicity", "expected_handedness"),
    [("alpha", 0.999, 0.0431), ("3-10", 0.779, 0.0563), ("polyproline II", 0.01, -0.0378)],
)
def test_ideal_helices_have_the_values_of_the_literature(kind, expected_helicity, expected_handedness):
    helix = make_helix(kind)[None]
    # half of the last digit that is given
    assert helicity(helix)[0] == pytest.approx(expected_helicity, abs=0.005 if expected_helicity == 0.01 else 0.0005)
    assert handedness(helix)[0] == pytest.approx(expected_handedness, abs=0.00005)


@pytest.mark.parametrize("kind", list(IDEAL))
def test_handedness_of_a_helix_is_its_closed_form(kind):
    radius, rise, turn = IDEAL[kind]
    turn = np.radians(turn)
    # successive steps of a helix of radius a, rise b and turn t: 4 a² b sin t (1 − cos t)²
    expected = 4.0 * radius**2 * rise * np.sin(turn) * (1.0 - np.cos(turn)) ** 2
    assert handedness(make_helix(kind)) == pytest.approx(expected, rel=1e-9)


def test_a_mirror_image_is_as_helical_and_of_the_other_hand():
    chains = np.random.default_rng(1).normal(scale=0.3, size=(6, 9, 3))
    np.testing.assert_allclose(helicity(chains * MIRROR), helicity(chains), rtol=1e-12)
    np.testing.assert_allclose(handedness(chains * MIRROR), -handedness(chains), rtol=1e-12)


def test_a_flat_strand_has_neither():
    strand = np.zeros((12, 3))
    strand[:, 0], strand[::2, 1] = 0.33 * np.arange(12), 0.09
    # every third step is 0.99 nm along and 0.09 nm across
    assert helicity(strand) == pytest.approx(np.exp(-((np.hypot(0.99, 0.09) - 0.5) ** 2) / 0.04), rel=1e-9)
    assert helicity(strand) < 0.003
    assert handedness(strand) == pytest.approx(0.0, abs=1e-15)


def test_every_chain_of_every_frame_gets_one_value():
    chains = np.random.default_rng(2).normal(size=(3, 4, 6, 3))
    assert helicity(chains).shape == handedness(chains).shape == (3, 4)
    assert handedness(chains)[1, 2] == pytest.approx(handedness(chains[1, 2]), rel=1e-12)
