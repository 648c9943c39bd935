"""The bonded prior as `fit_prior` makes it: known molecules, force fields that are saved, and liquids left alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, ForceFieldRecord, load_force_field, save_force_field
from beadsmith.io.records import write_json
from beadsmith.neighbors import find_pairs
from beadsmith.priors.bonded_prior import fit_bonded_prior
from beadsmith.priors.bonded_splines import BondSpline
from beadsmith.priors.fit import compute_frame_losses, fit_prior
from beadsmith.priors.frames import split_frames
from beadsmith.priors.settings import PriorSettings
from beadsmith.topology import Topology
from example_chains import BOND, KT, NOISE, SERIES, build_chain, build_positions, make_chains, make_frames
from example_liquids import make_liquid


@pytest.fixture(scope="module")
def chains():
    return make_chains(2000)


@pytest.fixture(scope="module")
def fitted(chains):
    return fit_prior((chains,), PriorSettings(fourier_order=3))


def test_molecules_with_bonds_get_bonds_angles_dihedrals_and_repulsion(fitted):
    assert [term.kind for term in fitted.terms] == [
        "harmonic_bonds",
        "harmonic_angles",
        "fourier_dihedrals",
        "exponential_repulsion",
    ]


def test_linear_terms_bring_the_baseline_to_the_noise(chains, fitted):
    fresh = make_chains(1000, seed=1)
    # 15,000 components: their variance is known to sqrt(2/15000) = 1.2 %; 3 sigma, and 1 % for about 60 coefficients
    assert compute_frame_losses(fitted.baseline, fresh).mean() == pytest.approx(NOISE**2, rel=0.045)
    losses = fitted.summary["losses"]
    assert losses["spline"] == pytest.approx(compute_frame_losses(fitted.baseline, chains).mean(), rel=1e-6)
    assert losses["zero"] == pytest.approx(compute_frame_losses([], chains).mean(), rel=1e-6)


def test_prior_alone_explains_most_of_the_force(chains, fitted):
    # repulsion and Boltzmann-inverted terms were not fitted to forces; the terms here do not couple
    assert compute_frame_losses(fitted.terms, chains).mean() < 0.1 * fitted.summary["losses"]["zero"]


def test_dihedrals_are_those_of_the_distribution_within_errors():
    chain = make_chains(5000, 4)
    fit = fit_prior((chain,), PriorSettings(fourier_order=3))
    (fourier,) = (term for term in fit.terms if term.kind == "fourier_dihedrals")
    (found,) = fit.summary["bonded"][2]["fits"]
    errors = np.array(list(found["errors"].values()))
    # 4 sigma of independent frames
    assert np.all(np.abs(fourier.coefficients[0].numpy() - SERIES) < 4.0 * errors)


@pytest.mark.parametrize(("form", "is_blind"), [("fourier", False), ("cosine", True)])
def test_only_a_prior_with_sines_tells_chains_from_their_mirror_images(form, is_blind, tmp_path):
    chain = make_chains(2000, 4)
    fit = fit_prior((chain,), PriorSettings(fourier_order=3, dihedrals=form))
    record = ForceFieldRecord(templates=(build_chain(4, type_names=("A",)),), state_points=(chain.state_point,))
    save_force_field(ForceField(fit.terms, None, record), tmp_path)
    mirrored = replace(chain, positions=chain.positions * np.array([1.0, 1.0, -1.0], dtype=np.float32))
    for terms in (fit.terms, fit.baseline, list(load_force_field(tmp_path).prior)):
        energies = []
        for frames in (chain, mirrored):
            batch = build_batch(frames, np.arange(50), dtype=torch.float64)
            energies.append(predict_prior(terms, batch, find_pairs(batch, 1e-3)).energy)
        difference = float((energies[0] - energies[1]).abs().max())
        assert (difference < 1e-9) if is_blind else (difference > 1.0)


def test_a_series_of_cosines_is_that_of_frames_and_their_reflections_together():
    chain = make_chains(1500, 4)
    mirror = np.array([1.0, 1.0, -1.0], dtype=np.float32)
    both = replace(
        chain,
        positions=np.concatenate([chain.positions, chain.positions * mirror]),
        forces=np.concatenate([chain.forces, chain.forces * mirror]),
        times=0.2 * np.arange(3000),
    )
    found = {}
    for form in ("cosine", "fourier"):
        fit = fit_prior((both,), PriorSettings(fourier_order=3, dihedrals=form))
        (term,) = (term for term in fit.terms if term.kind == "fourier_dihedrals")
        found[form] = term.coefficients[0].numpy()
    np.testing.assert_allclose(found["fourier"][:3], found["cosine"], rtol=0.0, atol=1e-5)
    # a value on the edge of a bin counts on one side of it
    assert np.abs(found["fourier"][3:]).max() < 0.01


def test_molecules_without_distant_beads_have_a_prior_without_pairs(tmp_path):
    chain = make_chains(1000, 4)
    fit = fit_prior((chain,), PriorSettings(fourier_order=3))
    assert [term.kind for term in fit.terms] == ["harmonic_bonds", "harmonic_angles", "fourier_dihedrals"]
    assert [term.cutoff for term in fit.baseline] == [0.0] * 5
    assert compute_frame_losses(fit.baseline, make_chains(1000, 4, seed=2)).mean() == pytest.approx(NOISE**2, rel=0.05)
    write_json(tmp_path / "prior.json", fit.summary)


@pytest.mark.parametrize("exclusions", [0, 1, 2, 3])
def test_beads_within_the_exclusions_feel_no_repulsion(chains, exclusions):
    fit = fit_prior((chains.select(slice(0, 300)),), PriorSettings(exclusions=exclusions))
    pair_terms = [term for term in fit.baseline if term.cutoff > 0.0]
    assert len(pair_terms) == 2
    for term in pair_terms:
        batch = build_batch(chains, np.arange(300), dtype=torch.float64)
        term.class_mask[0] = False
        pairs = find_pairs(batch, 2.0)
        near = pairs.bond_class[pairs.half] <= exclusions
        kept = replace(pairs, half=pairs.half[near])
        assert not term(batch, kept).any()
        assert term(batch, pairs).any()


def test_force_fields_with_bonded_terms_are_the_same_after_saving(chains, fitted, tmp_path):
    record = ForceFieldRecord(templates=(chains.topology,), state_points=(chains.state_point,))
    batch = build_batch(chains, np.arange(5))
    for terms in (fitted.terms, fitted.baseline):
        before = ForceField(terms, None, record)
        save_force_field(before, tmp_path)
        after = load_force_field(tmp_path)
        pairs = find_pairs(batch, before.cutoff)
        assert torch.equal(before(batch, pairs).forces, after(batch, pairs).forces)


def test_liquids_of_single_beads_have_no_bonded_terms():
    liquid = replace(make_liquid(30, (24, 16), seed=11, closest=0.27))
    liquid = replace(
        liquid, forces=np.random.default_rng(0).normal(0.0, 50.0, liquid.positions.shape).astype(np.float32)
    )
    fits = [
        fit_prior((liquid,), PriorSettings(cutoff=0.85, n_intervals=16, **options))
        for options in ({}, {"bonds": "none", "angles": "none", "dihedrals": "none", "exclusions": 0})
    ]
    for fit in fits:
        assert fit.summary["bonded"] == []
        assert [term.kind for term in fit.terms] == ["exponential_repulsion"]
        assert [term.kind for term in fit.baseline] == ["exponential_repulsion", "pair_spline"]
    assert torch.equal(fits[0].baseline[1].coefficients, fits[1].baseline[1].coefficients)


def test_dihedrals_about_one_bond_share_its_potential():
    # two branches at the third bead: both dihedrals turn about the same bond
    bonds = np.array([(0, 1), (1, 2), (2, 3), (2, 4)])
    topology = replace(
        build_chain(5),
        bonds=bonds,
        angles=np.array([(0, 1, 2), (1, 2, 3), (1, 2, 4), (3, 2, 4)]),
        dihedrals=np.array([(0, 1, 2, 3), (0, 1, 2, 4)]),
    )
    rng = np.random.default_rng(4)
    phi = rng.vonmises(0.5, 2.0, (3000, 1))
    chain, branch = (
        build_positions(np.full((3000, 3), 0.15), np.full((3000, 2), 1.9), phi + shift) for shift in (0.0, 2.1)
    )
    positions = np.concatenate([chain, branch[:, 3:]], axis=1)
    frames = make_frames(topology, positions, forces=np.zeros(positions.shape, dtype=np.float32))
    prior = fit_bonded_prior(
        split_frames((frames,), n_blocks=5), {"dihedral": "fourier"}, estimator="variance", min_samples=100, order=3
    )
    (term,) = prior.terms
    assert prior.summary[0]["shares"] == [0.5, 0.5]
    batch = build_batch(frames, np.argsort(phi[:, 0])[::30], dtype=torch.float64)
    energy = term.predict(batch, find_pairs(batch, 1e-3)).energy.numpy()
    angles = np.sort(phi[:, 0])[::30]
    expected = -2.0 * KT * np.cos(angles - 0.5)
    # a von Mises distribution is one cosine: 3,000 samples know each coefficient to about kT √(2/3000)
    assert np.abs(energy - energy.mean() - expected + expected.mean()).max() < 6.0 * KT * (2.0 / 3000) ** 0.5 * 2.0


def test_none_leaves_a_coordinate_out_of_prior_and_baseline(chains):
    fit = fit_prior((chains.select(slice(0, 300)),), PriorSettings(dihedrals="none", angles="none"))
    assert {term.kind for term in (*fit.terms, *fit.baseline)} == {
        "harmonic_bonds",
        "bond_spline",
        "exponential_repulsion",
        "pair_spline",
    }
    (spline,) = (term for term in fit.baseline if isinstance(term, BondSpline))
    assert spline.ranges[0][0] == pytest.approx(BOND[0] - 2.9 * (KT / BOND[1]) ** 0.5, abs=0.003)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bonds": "fourier"}, "prior bonds is 'fourier', expected 'harmonic' or 'none'"),
        ({"impropers": "spline"}, "prior impropers is 'spline', expected 'harmonic' or 'fourier' or 'cosine' or"),
        ({"estimator": "mean"}, "prior estimator is 'mean', expected 'variance' or 'boltzmann'"),
        ({"exclusions": 4}, "prior exclusions is 4, expected 0 to 3"),
        ({"fourier_order": 0}, "prior fourier_order is 0, expected 1 to 12"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PriorSettings(**options)


def test_several_molecules_in_one_box_share_their_terms():
    topology = build_chain(4, n_molecules=2, type_names=("A",))
    one, two = make_chains(400, 4, seed=5), make_chains(400, 4, seed=6)
    assert isinstance(topology, Topology)
    far = np.array([1.5, 0.0, 0.0])
    frames = make_frames(
        topology,
        np.concatenate([one.positions, two.positions + far], axis=1),
        forces=np.concatenate([one.forces, two.forces], axis=1),
        cell=np.repeat(4.0 * np.eye(3, dtype=np.float32)[None], 400, axis=0),
    )
    fit = fit_prior((frames,), PriorSettings(repulsion="none", cutoff=1.9))
    (bonds, *_) = fit.summary["bonded"]
    assert bonds["fits"][0]["n_samples"] == 400 * 6
    assert bonds["fits"][0]["parameters"]["centre"] == pytest.approx(BOND[0], abs=4.0 * (KT / BOND[1] / 2400) ** 0.5)


def test_more_frames_than_the_linear_fit_needs_are_left_out(chains):
    # 3 · 4 components a frame; two splines of 11 and a series of 6 coefficients: 2,334 frames give 1,000 labels each
    many = make_chains(9000, 4, seed=8)
    fit = fit_prior((many,), PriorSettings(fourier_order=3))
    assert fit.summary["n_frames"] == 9000
    assert fit.summary["n_matched_frames"] == pytest.approx(9000 / 3, abs=10)
    assert fit.summary["bonded"][0]["fits"][0]["n_samples"] == 3 * 9000
    few = fit_prior((chains,), PriorSettings(fourier_order=3)).summary
    assert few["n_matched_frames"] == few["n_frames"] == chains.n_frames
