"""The verb `fit_prior` on small liquids with known forces."""

import json

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.io.records import read_json, write_json
from beadsmith.priors.fit import PriorSettings, compute_frame_losses, fit_prior
from beadsmith.priors.pair_terms import compute_pair_curve, name_type_pairs
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from example_liquids import CELL, add_forces, make_liquid

SETTINGS = PriorSettings(cutoff=0.85, n_intervals=16)
NOISE = 100.0


def make_potential(type_names):
    """Return an exponential core with a well outside, stronger for later type pairs."""
    n_pairs = len(name_type_pairs(type_names))
    strength = 1.0 + 0.4 * np.arange(n_pairs)
    core = ExponentialRepulsion(
        type_names,
        joining_distances=(0.30,) * n_pairs,
        joining_forces=tuple(900.0 * strength),
        decays=(40.0,) * n_pairs,
        cutoff=0.8,
    )
    well = PairSpline(type_names, inner_distances=(0.3,) * n_pairs, cutoff=0.85, n_intervals=8)
    shape = np.array([-2.0, -3.5, -1.5, -0.5, -0.2, 0.0])
    return [core, well.with_coefficients(np.outer(strength, shape).reshape(-1))]


@pytest.fixture(scope="module")
def mixture():
    liquid = make_liquid(120, (24, 16), seed=11, closest=0.27)
    return add_forces(liquid, make_potential(("A", "B")), noise=NOISE, seed=1)


@pytest.fixture(scope="module")
def fitted(mixture):
    return fit_prior((mixture,), SETTINGS, frames=(np.arange(90),))


def test_loss_of_the_baseline_reaches_the_noise(mixture, fitted):
    losses = compute_frame_losses(fitted.baseline, mixture, np.arange(90, 120))
    # 30 frames of 120 components: the noise variance is known to sqrt(2/3600) = 2.4 %; 3 sigma and 1 % of overfitting
    assert losses.mean() == pytest.approx(NOISE**2, rel=0.08)


def test_losses_of_the_summary_are_those_of_the_terms(mixture, fitted):
    losses = fitted.summary["losses"]
    for terms, name in (([], "zero"), (fitted.terms, "repulsion"), (fitted.baseline, "spline")):
        assert compute_frame_losses(terms, mixture, np.arange(90)).mean() == pytest.approx(losses[name], rel=1e-6)
    assert losses["zero"] > losses["repulsion"] > losses["spline"]
    assert losses["spline_held_out"] > losses["spline"]


def test_walls_continue_the_true_force_within_errors(mixture, fitted):
    truth = make_potential(("A", "B"))
    for number, wall in enumerate(fitted.summary["walls"]):
        assert wall["origin"] == "tangent"
        joining = np.array([wall["joining_distance"]])
        force = sum(compute_pair_curve(term, joining, number).force[0] for term in truth)
        # 4 sigma of a jackknife with 10 blocks, chosen as the first of many distances within tolerance
        assert abs(wall["joining_force"] - force) < 4.0 * wall["joining_force_error"]


def test_baseline_is_repulsive_and_monotonic_below_the_data(fitted):
    for number, closest in enumerate(fitted.summary["shortest_distances"].values()):
        curves = [compute_pair_curve(term, np.linspace(0.01, closest, 100), number) for term in fitted.baseline]
        total = sum(curve.force for curve in curves)
        assert np.all(total > 0.0)
        assert np.all(np.diff(total) < 0.0)


def test_terms_have_the_constants_of_the_summary(fitted):
    repulsion = fitted.terms[0].to_config()
    assert repulsion["joining_forces"] == [wall["joining_force"] for wall in fitted.summary["walls"]]
    assert fitted.baseline[0].to_config() == repulsion


def test_summary_is_json(fitted, tmp_path):
    write_json(tmp_path / "prior.json", fitted.summary)
    summary = read_json(tmp_path / "prior.json")
    assert json.dumps(summary)
    curve = summary["curves"][0]
    lengths = {len(values) for key, values in curve.items() if key != "type_pair"}
    assert lengths == {len(curve["r"])}
    # before the smallest distance there is no mean force
    assert curve["mean_force"][0] is None


def test_fit_is_reproducible_bit_for_bit(mixture, fitted):
    again = fit_prior((mixture,), SETTINGS, frames=(np.arange(90),))
    assert again.summary["walls"] == fitted.summary["walls"]
    assert again.summary["losses"] == fitted.summary["losses"]


def test_moving_the_box_does_not_change_the_fit(mixture, fitted):
    image = np.random.default_rng(0).integers(-1, 2, mixture.positions.shape)
    moved = mixture.select(slice(None))
    object.__setattr__(moved, "positions", (mixture.positions + image @ CELL).astype(np.float32))
    losses = fit_prior((moved,), SETTINGS, frames=(np.arange(90),)).summary["losses"]
    # positions of up to 4 nm in float32
    assert losses["spline"] == pytest.approx(fitted.summary["losses"]["spline"], rel=1e-5)


def test_several_topologies_and_state_points_give_one_prior(mixture):
    pure = add_forces(make_liquid(40, (30, 0), seed=4, closest=0.27), make_potential(("A", "B")), noise=NOISE)
    fit = fit_prior((pure, mixture), SETTINGS)
    assert fit.summary["n_frames"] == 160
    assert [wall["type_pair"] for wall in fit.summary["walls"]] == ["A-A", "A-B", "B-B"]
    assert compute_frame_losses(fit.baseline, pure).mean() == pytest.approx(NOISE**2, rel=0.08)


def test_prior_without_repulsion_still_has_a_safe_baseline(mixture):
    fit = fit_prior((mixture.select(slice(0, 20)),), PriorSettings(cutoff=0.85, n_intervals=16, repulsion="none"))
    assert fit.terms == []
    assert [term.kind for term in fit.baseline] == ["exponential_repulsion", "pair_spline"]


def test_progress_reaches_its_total_in_three_passes(mixture):
    seen = []

    def record(done, total, note=""):
        seen.append((done, total))

    fit_prior((mixture.select(slice(0, 10)),), SETTINGS, progress=record)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] == 30


def test_beads_that_never_meet_are_refused():
    far = add_forces(make_liquid(2, (1,), seed=0), make_potential(("A",)))
    with pytest.raises(InputError, match="within the cutoff"):
        fit_prior((far,), SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"repulsion": "wall"},
        {"cutoff": -1.0},
        {"cutoff": float("nan")},
        {"n_intervals": 2},
        {"ridge": -1e-9},
        {"n_blocks": 1},
        {"force_tolerance": 0.0},
        {"decay_tolerance": 2.0},
    ],
    ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items()),
)
def test_settings_out_of_range_are_refused_by_name(change):
    with pytest.raises(InputError, match=next(iter(change))):
        PriorSettings(**change)
