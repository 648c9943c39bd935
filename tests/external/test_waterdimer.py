"""Force maps of two flexible waters in a harmonic trap against the numbers known for this data set.

Data: noegroup/aggforce, tests/data/waterdimer.npz: 500 frames of O H H O H H [nm, kJ/mol/nm]; beads are the oxygens.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from beadsmith.mapping.aggregation import optimal_weights, slice_weights
from beadsmith.mapping.constraints import group_indicator

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
OXYGENS = np.array([[1.0, 0, 0, 0, 0, 0], [0, 0, 0, 1.0, 0, 0]])
MOLECULES = np.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1.0, 1, 1]])
FREE_ATOMS = np.arange(6)


@pytest.fixture(scope="module")
def forces():
    path = DATA / "waterdimer-aggforce" / "waterdimer.npz"
    if not path.is_file():
        pytest.skip(f"no external data at '{path}' (set BEADSMITH_DATA)")
    with np.load(path, allow_pickle=False) as data:
        return data["Fs"].astype(np.float64)


def products_of(forces):
    return np.einsum("fax,fbx->ab", forces, forces) / (3 * len(forces))


def bead_mean_square(weights, forces):
    return np.mean(np.einsum("ba,fax->fbx", weights, forces) ** 2)


def test_optimal_map_equals_the_closed_form(forces):
    products = products_of(forces)
    inverse = np.linalg.inv(products)
    closed_form = (inverse @ OXYGENS.T @ np.linalg.inv(OXYGENS @ inverse @ OXYGENS.T)).T
    found = optimal_weights(products, OXYGENS, FREE_ATOMS, regularization=0.0)
    np.testing.assert_allclose(found, closed_form, atol=1e-6)


def test_optimal_map_is_nearly_the_sum_over_each_molecule(forces):
    # stiff bonds force the sum; the largest deviation on these 500 frames is 4.97e-3
    found = optimal_weights(products_of(forces), OXYGENS, FREE_ATOMS, regularization=1e-6)
    np.testing.assert_allclose(found, MOLECULES, atol=6e-3)
    assert np.abs(found - MOLECULES).max() == pytest.approx(4.97e-3, abs=1e-4)


def test_mean_squares_of_slice_sum_and_optimal_map(forces):
    optimal = optimal_weights(products_of(forces), OXYGENS, FREE_ATOMS, regularization=1e-6)
    # published to the last digit given
    assert bead_mean_square(slice_weights(OXYGENS), forces) == pytest.approx(975_335, abs=1)
    assert bead_mean_square(MOLECULES, forces) == pytest.approx(9_878, abs=1)
    assert bead_mean_square(optimal, forces) <= bead_mean_square(MOLECULES, forces)


def test_rigid_waters_would_take_the_sum_exactly(forces):
    rigid = np.array([0, 0, 0, 1, 1, 1])
    products = group_indicator(rigid).T @ products_of(forces) @ group_indicator(rigid)
    found = optimal_weights(products, OXYGENS, rigid, regularization=1e-6)
    np.testing.assert_allclose(found, MOLECULES, atol=1e-12)
