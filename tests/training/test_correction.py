"""The correction in slow coordinates: populations of a chain with a known potential of mean force, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.analysis.definitions import CoordinateDefinition
from beadsmith.batch import build_batch
from beadsmith.diagnostics.fit import check_fit
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs
from beadsmith.priors.coordinate_series import CoordinateSeries, SeriesCoordinate
from beadsmith.training.correction import fit_correction, measure_residuals
from beadsmith.training.data import split_by_use
from beadsmith.training.noise_weight import choose_frames, to_local
from beadsmith.training.slow_coordinates import CorrectionSettings, find_series
from example_molecules import make_topology
from example_slow_chain import ALPHA, DEFINITIONS, NAMES, TRUTH, build_force_field, draw_frames, exact_population

WRONG = {**TRUTH, (0, 1): 1.0, (0, -2): 3.5, (1, 0): 3.0, (1, 1): 0.0}
"""The dihedrals of a force field that puts 0.414 instead of 0.347 into `ALPHA`."""

SETTINGS = CorrectionSettings(definitions=DEFINITIONS, basins=(ALPHA,), order=3)


def split(frames):
    parts = split_by_use((frames,), validation_fraction=0.1, test_fraction=0.2)
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def fit(torsions, frames, settings=SETTINGS):
    """Return the corrected torsions and the summary of the one molecule."""
    terms, summary = fit_correction(build_force_field(torsions), (frames,), split(frames), settings)
    total = dict(torsions)
    for term in terms:
        for row, value in zip(term.multiples.tolist(), term.coefficients.tolist(), strict=True):
            total[tuple(row)] = total.get(tuple(row), 0.0) + value
    return total, summary["molecules"][0]


@pytest.fixture(scope="module")
def frames():
    """Return 20,000 frames with noise of 250 kJ/mol/nm, as capped alanine has."""
    return draw_frames(20_000, seed=0, noise=250.0)


@pytest.mark.parametrize("weighting", ["noise", "equal"])
def test_corrected_population_is_exact_within_3_of_the_stated_errors(frames, weighting):
    total, summary = fit(WRONG, frames, replace(SETTINGS, weighting=weighting))
    (basin,) = summary["basins"]
    exact, before = exact_population(TRUTH), exact_population(WRONG)
    # the correction must be able to tell: the force field is wrong by more than twice the error
    assert before - exact > 2.0 * basin["error"]
    assert abs(exact_population(total) - exact) < 3.0 * basin["error"]
    # the predicted change of population is the one that is made
    assert abs(basin["shift"] - (exact - before)) < 3.0 * np.hypot(basin["shift_error"], basin["reference_error"])
    assert abs(basin["reference"] - exact) < 3.0 * basin["reference_error"]


def test_stated_errors_are_the_scatter_over_data_sets():
    """12 data sets: the ratio of their scatter to the stated error is 1 ± 0.2; the range is 3 of its errors."""
    deviations, errors = [], []
    for seed in range(12):
        total, summary = fit(WRONG, draw_frames(6_000, seed=100 + seed, noise=150.0))
        deviations.append(exact_population(total) - exact_population(TRUTH))
        errors.append(summary["basins"][0]["error"])
    ratio = np.sqrt(np.mean(np.square(deviations)) / np.mean(np.square(errors)))
    assert 0.4 < ratio < 1.6


def test_weighting_by_the_noise_beats_equal_weights(frames):
    errors = {
        w: fit(WRONG, frames, replace(SETTINGS, weighting=w))[1]["basins"][0]["error"] for w in ("noise", "equal")
    }
    # measured 0.017 and 0.025 on average; either is known to one part in six
    assert errors["noise"] < 0.9 * errors["equal"]


def test_order_is_that_of_the_error_and_test_frames_confirm_the_gain(frames):
    _, summary = fit(WRONG, frames)
    # the force field lacks products of degree 2 and none of degree 3
    assert summary["order"] == 2
    assert [entry["n_functions"] for entry in summary["orders"]] == [4, 12, 24]
    assert summary["held_out_gain"] > 3.0 * summary["held_out_gain_error"]
    assert summary["n_samples"] == 16_000
    assert summary["energy"]["spread"] > 3.0 * summary["energy"]["error"]


def test_a_right_force_field_is_left_as_it_is():
    """Chance alone lowers the loss of left-out blocks in some data sets; in this one it does not."""
    frames = draw_frames(4_000, seed=3, noise=250.0)
    terms, summary = fit_correction(build_force_field(TRUTH), (frames,), split(frames), SETTINGS)
    assert terms == []
    assert summary["molecules"][0]["order"] == 0


def test_checks_name_what_the_correction_does_and_leaves_open(frames):
    _, summary = fit(WRONG, frames)
    training = {
        "prior": {"walls": []},
        "network": None,
        "noise_floor": None,
        "explained_variance": {"pair_spline": {key: {"value": 0.2, "error": 0.01} for key in ("train", "test")}},
        "correction": {"molecules": [summary]},
    }
    found = {check.name: check for check in check_fit(training)}
    assert found["correction"].status == "pass"
    assert found["correction"].value > 10.0
    # order 2 of 3 was chosen, so the series is long enough
    assert "order of the correction" not in found
    assert found["corrected populations"].value == summary["basins"][0]["error"]
    training["correction"]["molecules"] = [{**summary, "order": 0, "basins": []}]
    assert {check.name: check for check in check_fit(training)}["correction"].value == "none needed"


def test_a_series_that_is_too_short_is_named(frames):
    _, summary = fit(WRONG, frames, replace(SETTINGS, order=2))
    training = {"prior": {"walls": []}, "network": None, "noise_floor": None}
    training["explained_variance"] = {"pair_spline": {key: {"value": 0.2, "error": 0.01} for key in ("train", "test")}}
    training["correction"] = {"molecules": [summary]}
    found = {check.name: check for check in check_fit(training)}
    # order 2 gains four times as much as order 1: 20 standard errors
    assert found["order of the correction"].status == "warn"


def test_a_missing_energy_of_a_distance_is_found():
    reach = CoordinateDefinition(name="reach", kind="distance", sites=("A", "E"))
    frames = draw_frames(4_000, seed=4, noise=60.0)
    ends = np.linalg.norm(frames.positions[:3_200, 4].astype(np.float64) - frames.positions[:3_200, 0], axis=1)
    limits = (float(ends.min()), float(ends.max()))
    distance = SeriesCoordinate(name="reach", kind="distance", beads=(0, 4), limits=limits)
    missing = CoordinateSeries(NAMES, NAMES, (distance,), ((0,),), order=2).with_coefficients(np.array([2.0, -1.0]))
    batch = build_batch(frames, np.arange(4_000), dtype=torch.float64)
    extra = missing.predict(batch, find_pairs(batch, 0.01)).forces.numpy().reshape(frames.forces.shape)
    labelled = replace(frames, forces=(frames.forces + extra).astype(np.float32))
    settings = CorrectionSettings(coordinates=("reach",), definitions=(reach,))
    (term,), summary = fit_correction(build_force_field(TRUTH), (labelled,), split(labelled), settings)
    assert term.coordinates[0].limits == pytest.approx(limits, abs=1e-6)
    found, expected = (t.evaluate_basis(ends[:, None])[0] @ t.coefficients.numpy() for t in (term, missing))
    error = summary["molecules"][0]["energy"]["error"]
    # the error is the root mean square over the frames; two coefficients exceed three of it once in a hundred
    assert np.std(expected) > 20.0 * error
    assert np.std(found - expected) < 3.0 * error


def test_residuals_of_the_right_force_field_are_the_noise():
    frames = draw_frames(500, seed=5, noise=100.0)
    rows = split(frames)["train"]
    residuals = measure_residuals(build_force_field(TRUTH), (frames,), rows, n_blocks=7)
    assert [len(block) for _, block in residuals.blocks] == [50] * 7
    # 5,250 components: their mean square is known to 2 %
    assert np.mean(np.concatenate(residuals.forces) ** 2) == pytest.approx(100.0**2, rel=0.08)


def test_axes_turn_with_the_molecule():
    frames = draw_frames(50, seed=6, noise=1.0)
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    positions = frames.positions.astype(np.float64)
    axes = choose_frames(positions, None)
    forces = rng.normal(size=positions.shape)
    there, here = (
        to_local(axes.build(p, None), f) for p, f in ((positions @ rotation, forces @ rotation), (positions, forces))
    )
    np.testing.assert_allclose(there, here, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(here), np.linalg.norm(forces), rtol=1e-12)


def test_two_names_for_one_coordinate_are_refused():
    again = replace(DEFINITIONS[0], name="again")
    settings = CorrectionSettings(coordinates=("phi", "again"), definitions=(*DEFINITIONS, again), ridge=0.0)
    frames = draw_frames(1_000, seed=7, noise=100.0)
    with pytest.raises(InputError, match="cannot be told apart"):
        fit_correction(build_force_field(WRONG), (frames,), split(frames), settings)


def test_too_few_frames_are_refused():
    frames = draw_frames(30, seed=8, noise=100.0)
    with pytest.raises(InputError, match="coefficients, too many for 20 blocks"):
        fit_correction(build_force_field(WRONG), (frames,), split(frames), replace(SETTINGS, order=6))


def test_an_unknown_coordinate_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"slow coordinates omega.*[\s\S]*phi, psi"):
        find_series(CorrectionSettings(coordinates=("omega",)), (make_topology(),))


def test_peptides_know_phi_and_psi_of_every_residue():
    (alone,) = find_series(CorrectionSettings(), (make_topology(),))
    assert [entry.name for entry in alone.term.coordinates] == ["phi", "psi"]
    assert [entry.beads for entry in alone.term.coordinates] == [(0, 1, 2, 3), (1, 2, 3, 4)]
    assert [basin.name for basin in alone.basins] == ["beta/PII", "alphaR", "phi > 0"]
    names = ("C", "N", "CA", "C", "N", "CA", "C", "N")
    chain = make_topology(names, (0, 1, 1, 1, 2, 2, 2, 3), ("ACE", "ALA", "GLY", "NME"))
    (both,) = find_series(CorrectionSettings(), (chain,))
    assert [entry.name for entry in both.term.coordinates] == ["phi 2", "psi 2", "phi 3", "psi 3"]
    assert both.term.groups == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coordinates": ()}, "one or more different names"),
        ({"coordinates": ("phi", "phi")}, "one or more different names"),
        ({"order": 0}, "expected 1 to 12"),
        ({"ridge": -1.0}, "expected 0 to 1"),
        ({"n_blocks": 2}, "at least 4"),
        ({"weighting": "none"}, "expected 'noise' or 'equal'"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        CorrectionSettings(**changes)
