"""A correction from a simulation: right where that of the labels is wrong to first order, and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.diagnostics.fit import check_fit
from beadsmith.errors import InputError, PhysicsError
from beadsmith.force_field import ForceField
from beadsmith.priors.harmonic import HarmonicAngles
from beadsmith.training.correction import fit_correction
from beadsmith.training.correction_run import CorrectionRunSettings, RunFiles, run_model
from beadsmith.training.data import split_by_use
from beadsmith.training.populations import Samples
from beadsmith.training.simulated_correction import Measured, fit_by_simulation, fit_samples
from beadsmith.training.slow_coordinates import CorrectionSettings, find_series
from beadsmith.trajectory import join_trajectories
from example_chains import build_chain, make_frames
from example_slow_chain import (
    ALPHA,
    ANGLE,
    COUPLING,
    DEFINITIONS,
    NAMES,
    TRUTH,
    build_coupling,
    build_force_field,
    coupled_weights,
    draw_dihedrals,
    draw_frames,
    exact_population,
    grid_populations,
)

SETTINGS = CorrectionSettings(method="simulation", definitions=DEFINITIONS, basins=(ALPHA,), order=3)
SHORT = CorrectionRunSettings(replicas=40, timestep=0.004, equilibration=0.2, duration=0.8, save_interval=0.2)


def build_coupled():
    """Return the true force field with a bond that is coupled to psi in addition."""
    truth = build_force_field(TRUTH)
    return ForceField([*truth.prior, build_coupling()], None, truth.record)


def draw_samples(rng, n_samples, *, n_groups=20, coupling=0.0):
    """Return independent φ and ψ of the truth, or of the coupled force field."""
    weights, angles = grid_populations(TRUTH)
    if coupling:
        weights = weights * coupled_weights(angles, coupling)
    values = draw_dihedrals(rng, weights, angles, n_samples)
    return Samples(values=values, group=np.arange(n_samples) * n_groups // n_samples, weight=np.ones(n_samples))


def measure(seed, *, n_reference=5_000, n_simulated=5_000):
    rng = np.random.default_rng(seed)
    simulated = draw_samples(rng, n_simulated, coupling=COUPLING)
    return Measured(
        reference=draw_samples(rng, n_reference),
        unseen=draw_samples(rng, n_reference // 4, n_groups=5),
        simulated=simulated,
        is_late=np.arange(n_simulated) % 10 >= 5,
        temperature=300.0,
    )


def keep_coordinates(measured, names):
    """Return the samples with columns for some of φ and ψ only."""
    columns = [("phi", "psi").index(name) for name in names]
    parts = {use: getattr(measured, use) for use in ("reference", "unseen", "simulated")}
    return replace(measured, **{use: replace(part, values=part.values[:, columns]) for use, part in parts.items()})


def fit(measured, settings=SETTINGS):
    (series,) = find_series(settings, build_force_field(TRUTH).record.templates)
    return fit_samples(series, measured, settings)


def corrected_population(term):
    """Return the population that the coupled force field has with a correction, exactly."""
    # a series in psi alone has one multiple
    keys = [(*(0,) * (2 - len(row)), *row) for row in term.multiples.tolist()]
    found = dict(zip(keys, term.coefficients.tolist(), strict=True))
    total = {key: TRUTH.get(key, 0.0) + found.get(key, 0.0) for key in {*TRUTH, *found}}
    return exact_population(total, COUPLING)


def test_labels_do_not_see_what_a_coupled_bond_does_and_a_simulation_does():
    truth, wrong = exact_population(TRUTH), exact_population(TRUTH, COUPLING)
    frames = draw_frames(20_000, seed=0, noise=100.0)
    parts = split_by_use((frames,), validation_fraction=0.1, test_fraction=0.2)
    rows = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    settings = replace(SETTINGS, method="labels", coordinates=("psi",))
    terms, summary = fit_correction(build_coupled(), (frames,), rows, settings)
    # the mean residual force along psi is zero: the labels leave the population where it is, within their error
    (basin,) = summary["molecules"][0].get("basins", [{"error": 0.0}])
    labels = corrected_population(terms[0]) if terms else wrong
    assert abs(labels - wrong) < 3.0 * basin["error"] + 1e-12
    assert labels - truth > 5.0 * basin["error"]
    for coordinates in (("psi",), ("phi", "psi")):
        term, found = fit(keep_coordinates(measure(1), coordinates), replace(SETTINGS, coordinates=coordinates))
        (basin,) = found["basins"]
        assert wrong - truth > 10.0 * basin["error"]
        assert abs(corrected_population(term) - truth) < 3.0 * basin["error"]


def test_summary_has_the_populations_before_and_after():
    _, summary = fit(measure(2))
    (basin,) = summary["basins"]
    truth, wrong = exact_population(TRUTH), exact_population(TRUTH, COUPLING)
    assert abs(basin["reference"] - truth) < 3.0 * basin["reference_error"]
    assert abs(basin["simulated"] - wrong) < 3.0 * basin["simulated_error"]
    assert basin["shift"] == pytest.approx(basin["population"] - basin["simulated"])
    # averages of the fitted functions agree but for the ridge, and the basin is nearly one of them
    assert abs(basin["population"] - basin["reference"]) < 0.01
    # binomial: 5,000 independent frames; a jackknife of 20 groups knows it to one part in six
    for name, value in (("reference_error", truth), ("simulated_error", wrong)):
        assert basin[name] == pytest.approx(np.sqrt(value * (1.0 - value) / 5_000), rel=0.5)
    assert abs(basin["drift"]) < 4.0 * basin["drift_error"]
    assert summary["held_out_gain"] > 3.0 * summary["held_out_gain_error"]
    assert 0.5 < summary["simulation"]["effective_fraction"] < 1.0


def test_stated_errors_are_the_scatter_over_data_sets():
    """40 data sets: the ratio of their scatter to the stated error is 1 ± 0.11; the range is 3 of its errors."""
    deviations, errors = [], []
    for seed in range(40):
        term, summary = fit(measure(100 + seed, n_reference=2_000, n_simulated=3_000), replace(SETTINGS, order=2))
        deviations.append(corrected_population(term) - exact_population(TRUTH))
        errors.append(summary["basins"][0]["error"])
    ratio = np.sqrt(np.mean(np.square(deviations)) / np.mean(np.square(errors)))
    assert 0.67 < ratio < 1.33


def add_rare_basin(samples, rng, *, group, share):
    """Return the samples with a share of one group put where none of the others is."""
    chosen = np.flatnonzero(samples.group == group)
    chosen = chosen[: int(share * len(chosen))]
    values = samples.values.copy()
    values[chosen] = rng.normal((1.0, 0.7), 0.2, size=(len(chosen), 2))
    return replace(samples, values=values)


def test_a_basin_of_one_block_does_not_stop_the_correction_of_all_others():
    rng, measured = np.random.default_rng(31), measure(4)
    rare = replace(
        measured,
        reference=add_rare_basin(measured.reference, rng, group=0, share=0.5),
        simulated=add_rare_basin(measured.simulated, rng, group=7, share=0.1),
    )
    term, summary = fit(rare)
    assert term is not None
    assert summary["ridge"] > SETTINGS.ridge
    (basin,) = summary["basins"]
    # the coupled bond shifts it by 0.1; half of a block is 0.025 of all frames
    assert abs(basin["population"] - basin["reference"]) < 0.03
    assert basin["error"] < 0.05


def test_frames_count_with_their_weight():
    rng, measured = np.random.default_rng(30), measure(3)
    # frames of the coupled distribution, weighted back to the truth, are a reference like any other
    weights, angles = grid_populations(TRUTH)
    values = draw_dihedrals(rng, weights * coupled_weights(angles), angles, 5_000)
    reweighted = Samples(values=values, group=measured.reference.group, weight=1.0 / coupled_weights(values[:, 1]))
    term, summary = fit(replace(measured, reference=reweighted))
    (basin,) = summary["basins"]
    assert abs(basin["reference"] - exact_population(TRUTH)) < 3.0 * basin["reference_error"]
    assert abs(corrected_population(term) - exact_population(TRUTH)) < 3.0 * basin["error"]


def test_a_right_force_field_is_left_as_it_is_or_nearly():
    rng = np.random.default_rng(4)
    measured = replace(measure(4), simulated=draw_samples(rng, 5_000))
    term, summary = fit(measured)
    assert term is None
    assert summary["order"] == 0
    assert summary["simulation"]["effective_fraction"] == 1.0


def test_checks_name_what_the_simulation_does_and_leaves_open():
    _, summary = fit(measure(5))
    run = summary["simulation"] | {"n_replicas": 100, "n_stopped": 0}
    training = {
        "prior": {"walls": []},
        "network": None,
        "noise_floor": None,
        "explained_variance": {"pair_spline": {key: {"value": 0.2, "error": 0.01} for key in ("train", "test")}},
        "correction": {"molecules": [summary | {"simulation": run}]},
    }
    found = {check.name: check for check in check_fit(training)}
    for name in (
        "correction",
        "corrected populations",
        "overlap with the reference",
        "replicas behind the correction",
        "length of the correction's simulation",
        "order of the correction",
    ):
        assert found[name].status == "pass", name
    assert found["correction"].value > 10.0
    run |= {"n_stopped": 3, "effective_fraction": 0.01}
    basin = summary["basins"][0] | {"drift": 0.2, "drift_error": 0.02, "population": 0.9}
    training["correction"] = {"molecules": [summary | {"simulation": run, "basins": [basin]}]}
    found = {check.name: check for check in check_fit(training)}
    assert [check.status for check in list(found.values())[-4:]] == ["warn"] * 4
    training["correction"] = {"molecules": [summary | {"simulation": run, "order": 0, "basins": []}]}
    assert {check.name: check for check in check_fit(training)}["correction"].value == "none needed"


def simulate(tmp_path, force_field, frames, settings=SETTINGS, run=SHORT, seed=1):
    parts = split_by_use(frames, validation_fraction=0.1, test_fraction=0.2)
    rows = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    files = RunFiles(output=tmp_path / "run.h5", identity=f"{seed}", seed=seed)
    return fit_by_simulation(force_field, frames, rows, settings, simulation=run.to_simulation(), files=files)


def test_a_basin_that_the_force_field_does_not_know_is_refused(tmp_path):
    frames = draw_frames(1_000, seed=6, noise=100.0)
    # a force field that holds psi near 120 degrees, and nobody outside: 10 kT uphill for all of the basin
    wrong = build_force_field({(0, 1): 20.0, (0, -1): -35.0})
    run = replace(SHORT, equilibration=4.0)
    with pytest.raises(PhysicsError, match=r"hardly any of chain in alpha: .* where the reference has 0\.3"):
        simulate(tmp_path, wrong, (frames,), run=run)


def test_replicas_that_blow_up_are_refused(tmp_path):
    frames = draw_frames(1_000, seed=7, noise=100.0)
    truth = build_force_field(TRUTH)
    angles = tuple(NAMES[k : k + 3] for k in range(3))
    stiff = HarmonicAngles(NAMES, angles, centres=(ANGLE,) * 3, stiffnesses=(1e7,) * 3)
    with pytest.raises(PhysicsError, match=r"replicas (blew up|stopped)"):
        simulate(tmp_path, ForceField([truth.prior[0], stiff], None, truth.record), (frames,))


def test_stopped_replicas_are_left_out(tmp_path):
    frames = draw_frames(40, seed=8, noise=100.0)
    # 3 of 40 start with a bond that is stretched beyond all belief
    positions = frames.positions.copy()
    positions[[5, 17, 30], 4] += 0.5
    run = run_model(
        build_force_field(TRUTH),
        replace(frames, positions=positions, forces=None),
        SHORT.to_simulation(),
        RunFiles(output=tmp_path / "run.h5", identity="a", seed=1),
    )
    assert run.summary["n_stopped"] == 3
    assert run.summary["n_samples"] == run.frames.n_frames == 37 * 4
    np.testing.assert_array_equal(np.bincount(run.replica), np.full(37, 4))
    assert not {5, 17, 30} & set(run.frames.segment.tolist())


def test_boxes_and_several_temperatures_are_refused(tmp_path):
    frames = draw_frames(200, seed=9, noise=100.0)
    both = np.concatenate([frames.positions, frames.positions + 2.0], axis=1)
    pair = make_frames(build_chain(5, n_molecules=2), both, forces=np.tile(frames.forces, (1, 2, 1)))
    with pytest.raises(InputError, match="single molecules"):
        simulate(tmp_path, build_force_field(TRUTH), (pair,))
    warm = replace(frames, state_point=replace(frames.state_point, temperature=330.0))
    with pytest.raises(InputError, match="300 K, 330 K"):
        simulate(tmp_path, build_force_field(TRUTH), (frames, warm))


def test_too_few_frames_are_refused(tmp_path):
    frames = draw_frames(60, seed=10, noise=100.0)
    with pytest.raises(InputError, match="24 coefficients, too many for 48 frames"):
        simulate(tmp_path, build_force_field(TRUTH), (frames,))


def test_segments_more_than_groups_are_shared_out(tmp_path):
    frames = draw_frames(1_000, seed=11, noise=100.0)
    segments = replace(frames, segment=np.repeat(np.arange(50), 20))
    _, summary = simulate(tmp_path, build_coupled(), (segments,))
    assert summary["molecules"][0]["n_blocks"] == 20
    assert summary["molecules"][0]["n_samples"] == 800


def test_two_files_of_one_molecule_are_one_reference(tmp_path):
    frames = draw_frames(1_000, seed=12, noise=100.0)
    halves = (frames.select(slice(0, 500)), frames.select(slice(500, 1000)))
    _, summary = simulate(tmp_path, build_coupled(), halves)
    assert summary["molecules"][0]["n_samples"] == 800
    assert join_trajectories(list(halves)).n_frames == 1_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "populations"}, "expected 'labels' or 'simulation'"),
        ({"simulation": CorrectionRunSettings(replicas=30)}, "at least two for each of the 20"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestep": 0.003}, "'save_interval' is 166.667 timesteps"),
        ({"duration": 0.1}, "shorter than one 'save_interval'"),
        ({"equilibration": -1.0}, "'equilibration'"),
        ({"replicas": 0}, "'replicas'"),
    ],
)
def test_runs_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        CorrectionRunSettings(**changes)
