"""A simulation with the prior alone: right priors keep their molecules, wrong ones are seen, and training says so."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.diagnostics.fit import check_fit
from beadsmith.errors import PhysicsError
from beadsmith.force_field import ForceField, ForceFieldRecord, load_force_field
from beadsmith.io.h5md import write_trajectory
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.fit import fit_prior
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.priors.settings import PriorSettings
from beadsmith.training.fit import train
from beadsmith.training.prior_run import LONGEST_TIMESTEP, simulate_prior
from beadsmith.training.settings import TrainingSettings
from example_chains import ANGLE, BOND, KT, make_chains, make_truth
from example_liquids import make_liquid

NETWORK = SchnetSettings(n_features=8, n_filters=8, n_interactions=1, n_radial=8, cutoff=1.0)


@pytest.fixture(scope="module")
def chains():
    return make_chains(2000)


def make_force_field(terms, trajectory):
    record = ForceFieldRecord(templates=(trajectory.topology,), state_points=(trajectory.state_point,))
    return ForceField(terms, None, record)


def divergences(run):
    return {entry["coordinate"]: entry["jensen_shannon"] for entry in run["coordinates"]}


def test_terms_of_the_data_give_the_distributions_of_the_data(chains):
    (run,) = simulate_prior(make_force_field(make_truth(), chains), (chains,), seed=1)
    assert (run["n_replicas"], run["n_stopped"]) == (32, 0)
    # 32 replicas of 10 ps with a friction of 5/ps: 15 degrees of freedom and about 50 independent times each
    assert run["kinetic_temperature"] == pytest.approx(300.0, rel=4.0 * (2.0 / (32 * 15 * 50)) ** 0.5)
    found = divergences(run)
    # the frames have no Jacobian: angles shift by kT cot θ / k, a tenth of their deviation squared over 8
    assert found["bond"] < 0.01
    assert found["angle"] < 0.01
    # replicas start from the data, and cross barriers of 10 kJ/mol within the run
    assert found["dihedral"] < 0.03


def test_wrong_constants_are_seen(chains):
    shifted = BOND[0] + (KT / BOND[1]) ** 0.5
    bonds, angles, dihedrals = make_truth()
    wrong = HarmonicBonds(("A",), bonds.type_tuples, centres=(shifted,), stiffnesses=BOND[1:])
    (run,) = simulate_prior(make_force_field([wrong, angles, dihedrals], chains), (chains,), seed=1)
    # two normal distributions one deviation apart: 0.111 nats
    assert divergences(run)["bond"] == pytest.approx(0.111, abs=0.03)


def test_a_run_is_the_same_for_the_same_seed(chains):
    force_field = make_force_field(make_truth(), chains)
    first, again, other = (simulate_prior(force_field, (chains,), seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first["coordinates"] != other["coordinates"]


def test_timestep_follows_the_stiffest_bond(chains):
    _, angles, dihedrals = make_truth()
    stiff = HarmonicBonds(("A",), (("A", "A"),), centres=BOND[:1], stiffnesses=(4e6,))
    (run,) = simulate_prior(make_force_field([stiff, angles, dihedrals], chains), (chains,), seed=1)
    assert run["timestep"] == pytest.approx(0.5 * (7.0 / 4e6) ** 0.5)
    assert run["timestep"] < LONGEST_TIMESTEP
    assert run["n_stopped"] == 0


def test_a_prior_that_blows_up_is_refused_before_training(chains):
    bonds, _, dihedrals = make_truth()
    stiff = HarmonicAngles(("A",), (("A",) * 3,), centres=ANGLE[:1], stiffnesses=(1e7,))
    with pytest.raises(PhysicsError, match=r"replicas blew up in 12 ps with the prior alone"):
        simulate_prior(make_force_field([bonds, stiff, dihedrals], chains), (chains,), seed=1)


def test_liquids_of_single_beads_are_not_simulated():
    liquid = make_liquid(5, (12, 8), seed=1)
    assert simulate_prior(make_force_field(make_truth(), liquid), (liquid,), seed=1) == []


@pytest.mark.parametrize("n_beads", [3, 4, 6])
def test_training_simulates_the_prior_and_reports_its_checks(n_beads, tmp_path):
    chains = make_chains(400, n_beads)
    write_trajectory(tmp_path / "mapped.h5", chains, {"aggregation": "optimal"})
    summary = train(
        TrainingSettings(epochs=1, noise_floor_fractions=()),
        NETWORK,
        PriorSettings(n_intervals=8),
        (tmp_path / "mapped.h5",),
        tmp_path / "force_field",
        baseline_output=tmp_path / "pair_spline",
        seed=1,
        identity="a",
    )
    names = {check.name: check for check in check_fit(summary)}
    assert names["prior constants"].status == "pass"
    assert names["prior alone is stable"].status == "pass"
    assert names["prior alone keeps bonds and angles"].status == "pass"
    assert ("prior alone keeps dihedrals" in names) == (n_beads > 3)
    kinds = {term.kind for term in load_force_field(tmp_path / "force_field").prior}
    assert {"harmonic_bonds", "harmonic_angles"} <= kinds
    assert ("exponential_repulsion" in kinds) == (n_beads > 4)
    load_force_field(tmp_path / "pair_spline")
    losses = summary["losses"]
    assert losses["prior"]["train"]["value"] < 0.2 * losses["zero_force"]["train"]["value"]
    # the linear baseline knows the terms of these chains
    assert losses["pair_spline"]["test"]["value"] == pytest.approx(50.0**2, rel=0.1)


def test_frames_in_a_box_start_whole(chains):
    cell = np.repeat(2.0 * np.eye(3, dtype=np.float32)[None], chains.n_frames, axis=0)
    images = 2.0 * np.round(chains.positions / 2.0 + np.random.default_rng(0).integers(-1, 2, chains.positions.shape))
    boxed = replace(chains, positions=(chains.positions + images).astype(np.float32), cell=cell)
    fit = fit_prior((boxed,), PriorSettings(cutoff=0.9, n_intervals=8, fourier_order=3))
    (run,) = simulate_prior(make_force_field(fit.terms, boxed), (boxed,), seed=1)
    assert run["n_stopped"] == 0
    assert divergences(run)["bond"] < 0.02
