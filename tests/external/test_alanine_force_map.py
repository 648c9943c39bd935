"""Capped alanine from files to beads: rigid bonds, force maps and their noise against numbers known for this data set.

Data: ClementiGroup/proteka, ala2_all_atom.npz: 2000 frames of 22 atoms [Å, kcal/mol/Å] with rigid bonds to hydrogen;
beads are the five backbone atoms. Maps are fitted to the first half and scored on the second, with a regularisation of
1e3 (kcal/mol/Å)² on the summed Gram matrix. The known numbers are given to 0.1 (kcal/mol/Å)².
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.importing.run import import_reference
from beadsmith.importing.settings import FileUnitSettings, ReferenceSettings
from beadsmith.io.h5md import read_trajectory
from beadsmith.mapping.apply import map_reference
from beadsmith.mapping.constraints import detect_constraints
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.noise import fit_weights, mean_square, plain_weights, sum_force_products
from beadsmith.mapping.settings import MappingSettings
from beadsmith.trajectory import StatePoint

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
# (kcal/mol/Å)² in (kJ/mol/nm)²
SQUARE = 41.84**2
GIVEN_TO = 0.1
FIVE_BEADS = MappingSettings(beads="backbone")


@pytest.fixture(scope="module")
def reference_file(tmp_path_factory):
    folder = DATA / "alanine-aa-proteka"
    if not folder.is_dir():
        pytest.skip(f"no external data at '{folder}' (set BEADSMITH_DATA)")
    settings = ReferenceSettings(
        files=(str(folder / "ala2_all_atom.npz"),),
        topology=str(folder / "ala2_all_atom.pdb"),
        units=FileUnitSettings(style="real"),
    )
    path = tmp_path_factory.mktemp("alanine") / "reference.h5"
    import_reference(settings, StatePoint(temperature=300.0), path, identity="alanine")
    return path


@pytest.fixture(scope="module")
def reference(reference_file):
    return read_trajectory(reference_file)


def half_products(reference, half):
    """Return the template of the five beads, and the force products of one half of the frames."""
    templates = build_templates(reference.topology, FIVE_BEADS)
    frames = reference.select(slice(1000 * half, 1000 * (half + 1)))
    (products,) = sum_force_products([frames], templates, n_frames=1000)
    return templates[0], products


def fit_on_first_half(reference):
    template, products = half_products(reference, 0)
    # ours is relative to the mean squared force on an atom; theirs adds to the sum over 3,000 samples
    mean_diagonal = np.trace(products.mean()) / len(template.rigid_groups)
    return template, fit_weights(products, template, regularization=1e3 * SQUARE / 3000 / mean_diagonal)


def score_on_second_half(reference, weights):
    template, products = half_products(reference, 1)
    return mean_square(weights, products.mean(), template.rigid_groups) / SQUARE


def test_twelve_rigid_bonds_make_ten_groups(reference):
    found = detect_constraints([reference], reference.topology)
    assert len(found.pairs) == len(reference.topology.constraints) == 12
    np.testing.assert_array_equal(found.pairs, reference.topology.constraints)
    # 1e-5 Å of float32 against 0.0237 Å of the stiffest flexible bond
    assert found.largest_rigid < 2e-6
    assert found.smallest_flexible == pytest.approx(2.37e-3, abs=0.01e-3)
    (template,) = build_templates(reference.topology, FIVE_BEADS)
    assert template.rigid_groups.max() + 1 == 10


def test_mean_square_of_the_slice_map(reference):
    _, products = half_products(reference, 1)
    square = products.slice_squares.sum() / products.n_samples.sum() / 5
    assert square / SQUARE == pytest.approx(741.1, abs=GIVEN_TO)


def test_mean_square_of_the_map_that_adds_hydrogens(reference):
    (template,) = build_templates(reference.topology, FIVE_BEADS)
    found = score_on_second_half(reference, plain_weights("uniform", template))
    assert found == pytest.approx(691.5, abs=GIVEN_TO)


def test_mean_square_of_the_optimal_map(reference):
    _, weights = fit_on_first_half(reference)
    assert score_on_second_half(reference, weights) == pytest.approx(429.6, abs=GIVEN_TO)


def test_default_regularisation_is_as_good(reference):
    template, products = half_products(reference, 0)
    weights = fit_weights(products, template, regularization=MappingSettings().regularization)
    assert score_on_second_half(reference, weights) == pytest.approx(429.6, abs=GIVEN_TO)


def test_optimal_map_ignoring_constraints_would_score_better_and_break_the_rule(reference):
    free = replace(reference, topology=replace(reference.topology, constraints=np.zeros((0, 2), dtype=np.int64)))
    _, weights = fit_on_first_half(free)
    assert score_on_second_half(free, weights) == pytest.approx(428.5, abs=GIVEN_TO)
    (ruled,) = build_templates(reference.topology, FIVE_BEADS)
    assert max(np.ptp(weights[:, ruled.rigid_groups == group], axis=1).max() for group in range(10)) > 0.3


def test_slice_is_refused_and_the_summary_says_what_each_map_leaves(reference_file, tmp_path):
    summary = map_reference(reference_file, tmp_path / "mapped.h5", FIVE_BEADS, identity="five")
    squares, slice_map = summary["force_mean_square"], summary["biased_maps"]["slice"]
    # all frames and ten held-out blocks instead of two halves: 728.3, 678.4 and 419.2
    assert slice_map["force_mean_square"] / SQUARE == pytest.approx(728.3, abs=GIVEN_TO)
    assert squares["uniform"] / SQUARE == pytest.approx(678.4, abs=GIVEN_TO)
    assert squares["optimal"] / SQUARE == pytest.approx(419.2, abs=1.0)
    assert "rigidly joined" in slice_map["reason"]
    assert len(summary["coverage"]["molecules"][0]["in_no_bead"]) == 17
    with pytest.raises(InputError, match="biased for molecule 'ACE-ALA-NME'"):
        map_reference(reference_file, tmp_path / "slice.h5", replace(FIVE_BEADS, forces="slice"), identity="slice")
