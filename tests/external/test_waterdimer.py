"""Force maps and potential of mean force of two flexible waters in a trap, against what is known for this data set.

Data: noegroup/aggforce, tests/data/waterdimer.npz: 500 frames of O H H O H H [nm, kJ/mol/nm]; noegroup/aggforce-legacy,
examples/water/pmf_flexible.npz: -ln p(r) of the O-O distance in a long run [nm, kT]. Both waters together are one
template of six atoms with the oxygens as beads.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg.lapack import dgglse

from beadsmith.mapping.apply import build_mapping, fit_force_weights
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.frames import map_trajectory
from beadsmith.mapping.noise import compare_noise, sum_force_products
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from beadsmith.priors.fit import fit_prior
from beadsmith.priors.pair_terms import compute_pair_curve
from beadsmith.priors.settings import PriorSettings
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import thermal_energy
from example_references import build_topology

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WATERS = ("dimer", ("O", "H", "H") * 2, (15.999, 1.008, 1.008) * 2, ((0, 1), (0, 2), (3, 4), (3, 5)), ())
RIGID = (*WATERS[:4], ((0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)))
OXYGENS = MoleculeBeads(
    name="dimer",
    beads=(BeadDefinition(name="O1", atoms=("#1",), type="O"), BeadDefinition(name="O2", atoms=("#4",), type="O")),
    bonds=(),
)
MOLECULES = np.array([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1.0, 1, 1]])
SETTINGS = MappingSettings(definitions=(OXYGENS,))
KT = thermal_energy(300.0)


@pytest.fixture(scope="module")
def reference():
    path = DATA / "waterdimer-aggforce" / "waterdimer.npz"
    if not path.is_file():
        pytest.skip(f"no external data at '{path}' (set BEADSMITH_DATA)")
    with np.load(path, allow_pickle=False) as data:
        return Trajectory(
            topology=build_topology(WATERS),
            state_point=StatePoint(temperature=300.0),
            positions=data["coords"],
            forces=data["Fs"],
            times=np.arange(len(data["Fs"]), dtype=np.float64),
        )


def fit(reference, settings=SETTINGS):
    """Return the templates, and the force weights of the only one."""
    templates = build_templates(reference.topology, settings)
    products = sum_force_products([reference], templates, n_frames=reference.n_frames)
    return templates, fit_force_weights(products, templates, settings, kT=KT)


def map_beads(reference, settings=SETTINGS):
    templates, weights = fit(reference, settings)
    return map_trajectory(reference, build_mapping(reference.topology, templates, weights, settings), ())


def bead_mean_square(reference, settings):
    return np.mean(map_beads(reference, settings).forces.astype(np.float64) ** 2)


@pytest.fixture(scope="module")
def mean_force_potential():
    """Distances from 0.26 to 0.45 nm, and the potential there [kT]: that of a pair, without the volume of its shell."""
    path = DATA / "waterdimer-pmf-aggforce-legacy" / "pmf_flexible.npz"
    if not path.is_file():
        pytest.skip(f"no external data at '{path}' (set BEADSMITH_DATA)")
    with np.load(path, allow_pickle=False) as data:
        distances, potential = data["xs"], data["us"]
    chosen = (distances >= 0.26) & (distances <= 0.45)
    return distances[chosen], (potential + 2.0 * np.log(distances))[chosen]


def distance_from(mean_force_potential, beads, **settings):
    """Return how far the linear force field is from the potential, root mean square after a constant [kT]."""
    distances, known = mean_force_potential
    terms = fit_prior((beads,), PriorSettings(**settings)).baseline
    difference = sum(compute_pair_curve(term, distances, 0).energy for term in terms) / KT - known
    return difference.std()


def test_optimal_map_equals_constrained_least_squares_of_lapack(reference):
    # min |f·b|² over all frames and components subject to b = e on the oxygens, by the GRQ factorisation in scipy
    forces = reference.forces.astype(np.float64).transpose(0, 2, 1).reshape(-1, 6)
    _, (found,) = fit(reference, replace(SETTINGS, regularization=0.0))
    for bead in range(2):
        target = np.eye(2)[bead]
        *_, expected, info = dgglse(forces, np.eye(6)[[0, 3]], np.zeros(len(forces)), target)
        assert info == 0
        np.testing.assert_allclose(found[bead], expected, atol=1e-6)


def test_optimal_map_is_nearly_the_sum_over_each_molecule(reference):
    # stiff bonds force the sum; the largest deviation on these 500 frames is 4.97e-3
    _, (found,) = fit(reference)
    np.testing.assert_allclose(found, MOLECULES, atol=6e-3)
    assert np.abs(found - MOLECULES).max() == pytest.approx(4.97e-3, abs=1e-4)


def test_mean_squares_of_slice_aggregated_and_optimal_map(reference):
    whole = tuple(
        BeadDefinition(name=name, atoms=tuple(f"#{k}" for k in atoms), weights="atom", type="O")
        for name, atoms in (("O1", (1, 2, 3)), ("O2", (4, 5, 6)))
    )
    aggregated = MappingSettings(definitions=(replace(OXYGENS, beads=whole),), forces="sum")
    # published to the last digit given; float32 forces of 1,000 are good to 1e-7 of themselves
    assert bead_mean_square(reference, replace(SETTINGS, forces="slice")) == pytest.approx(975_335, abs=1)
    summed = bead_mean_square(reference, aggregated)
    assert summed == pytest.approx(9_878, abs=1)
    assert bead_mean_square(reference, SETTINGS) <= summed


def test_comparison_gives_the_slice_its_loss_of_data(reference):
    templates, _ = fit(reference)
    products = sum_force_products([reference], templates, n_frames=reference.n_frames)
    found = compare_noise(products, templates, regularization=SETTINGS.regularization)
    assert found.mean_squares["slice"] == pytest.approx(975_335, rel=1e-3)
    # about 975,335 / 9,878; the optimum is scored on frames that it was not fitted to
    assert found.data_gain("slice") == pytest.approx(98.7, rel=0.02)


def test_rigid_waters_would_take_the_sum_exactly(reference):
    _, (found,) = fit(replace(reference, topology=build_topology(RIGID)))
    np.testing.assert_allclose(found, MOLECULES, atol=1e-12)


def test_default_linear_force_field_is_the_potential_of_mean_force(reference, mean_force_potential):
    # 0.169, most of it beyond 0.42 nm, where the spline has no frame before 0.45 nm
    assert distance_from(mean_force_potential, map_beads(reference)) < 0.3


def test_of_all_decades_of_smoothness_one_hundredth_has_the_least_held_out_loss(reference):
    beads = map_beads(reference)
    ridges = 10.0 ** np.arange(-9, 0)
    losses = [fit_prior((beads,), PriorSettings(ridge=ridge)).summary["losses"]["spline_held_out"] for ridge in ridges]
    assert ridges[np.argmin(losses)] == pytest.approx(1e-2)


@pytest.mark.parametrize(
    "knots", [{}, {"n_intervals": 60}, {"n_intervals": 24, "cutoff": 0.6}, {"n_intervals": 36, "cutoff": 0.6}], ids=str
)
def test_with_the_smoothness_of_least_held_out_loss_the_knots_do_not_matter(reference, mean_force_potential, knots):
    # 0.09 to 0.12
    assert distance_from(mean_force_potential, map_beads(reference), ridge=1e-2, **knots) < 0.15


def test_bare_forces_on_oxygen_miss_the_potential_of_mean_force(reference, mean_force_potential):
    # valid labels too, of a hundred times the mean square: 500 frames are not enough of them
    sliced = map_beads(reference, replace(SETTINGS, forces="slice"))
    assert distance_from(mean_force_potential, sliced, ridge=1e-2) > 0.5
