"""Bonded terms: closed forms, finite differences, invariances, and the compiled sweep against its readable twin."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError, PhysicsError
from beadsmith.neighbors import find_pairs
from beadsmith.priors.bonded import find_type_tuples
from beadsmith.priors.bonded_splines import AngleSpline, BondSpline
from beadsmith.priors.fourier import FourierDihedrals, FourierImpropers
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds, HarmonicImpropers
from beadsmith.priors.internal_coordinates import measure_coordinates
from beadsmith.priors.joined import prepare_prior
from beadsmith.priors.repulsion import ExponentialRepulsion
from example_chains import break_across, build_chain, build_positions, make_frames, make_random_chains

IMPROPERS = ((1, 0, 2, 3),)


def make_terms(topology):
    """Return one term of each class with constants that differ from tuple to tuple."""
    names = topology.type_names
    tuples = {kind: find_type_tuples((topology,), kind) for kind in ("bond", "angle", "dihedral", "improper")}
    rng = np.random.default_rng(3)

    def harmonic(kind, low, high, stiffness):
        n = len(tuples[kind])
        return {
            "centres": tuple(rng.uniform(low, high, n).tolist()),
            "stiffnesses": tuple((stiffness * rng.uniform(0.5, 2.0, n)).tolist()),
        }

    def linear(term):
        return term.with_coefficients(5.0 * rng.standard_normal(term.n_coefficients))

    bond, angle, dihedral, improper = (tuples[kind] for kind in ("bond", "angle", "dihedral", "improper"))
    return [
        HarmonicBonds(names, bond, **harmonic("bond", 0.1, 0.2, 1e5)),
        HarmonicAngles(names, angle, **harmonic("angle", 1.5, 2.2, 500.0)),
        HarmonicImpropers(names, improper, **harmonic("improper", -3.0, 3.0, 200.0)),
        linear(FourierDihedrals(names, dihedral, order=4)),
        linear(FourierImpropers(names, improper, order=2)),
        # the data reach beyond the knots at both ends
        linear(BondSpline(names, bond, ranges=((0.12, 0.18),) * len(bond), n_intervals=6)),
        linear(AngleSpline(names, angle, ranges=((1.0, 2.4),) * len(angle), n_intervals=7)),
        linear(FourierDihedrals(names, dihedral, order=3, has_sines=False)),
    ]


TERMS = make_terms(build_chain(5, impropers=IMPROPERS))
each_term = pytest.mark.parametrize("term", TERMS, ids=lambda term: term.kind)


def make_batch(n_frames=6, dtype=torch.float64, seed=0):
    frames = make_random_chains(n_frames, seed=seed, impropers=IMPROPERS)
    return build_batch(frames, np.arange(n_frames), dtype=dtype)


def no_pairs(batch):
    return find_pairs(batch, 1e-3)


def twin(term, batch):
    return AbstractEnergyTerm.predict(term, batch, no_pairs(batch))


def test_coordinates_of_a_built_chain_are_those_it_was_built_from():
    rng = np.random.default_rng(1)
    lengths, angles = rng.uniform(0.1, 0.2, (20, 4)), rng.uniform(0.3, 2.9, (20, 3))
    dihedrals = rng.uniform(-np.pi, np.pi, (20, 2))
    frames = make_frames(build_chain(5), build_positions(lengths, angles, dihedrals))
    batch = build_batch(frames, np.arange(20), dtype=torch.float64)
    # positions are stored in float32
    for index, expected in ((batch.bonds, lengths), (batch.angles, angles), (batch.dihedrals, dihedrals)):
        np.testing.assert_allclose(measure_coordinates(batch, index).reshape(20, -1), expected, atol=2e-5)


def test_dihedral_has_the_sign_of_iupac():
    # looking along the middle bond, the far bond is turned clockwise from the near one: positive
    positions = [[[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.0, 0.1]]]
    batch = build_batch(make_frames(build_chain(4), positions), np.array([0]), dtype=torch.float64)
    assert measure_coordinates(batch, batch.dihedrals).item() == pytest.approx(np.pi / 2, abs=1e-6)


@each_term
def test_forces_are_finite_differences_of_the_energy(term):
    batch = make_batch()
    forces = term.predict(batch, no_pairs(batch)).forces
    step, found = 1e-6, torch.zeros_like(forces)
    for site in range(batch.n_sites):
        for axis in range(3):
            shift = torch.zeros_like(batch.positions)
            shift[site, axis] = step
            up, down = (
                term.predict(replace(batch, positions=batch.positions + sign * shift), no_pairs(batch)).energy.sum()
                for sign in (1.0, -1.0)
            )
            found[site, axis] = -(up - down) / (2.0 * step)
    # second order in the step, and rounding of an energy of about 1e3 kJ/mol over it
    torch.testing.assert_close(forces, found, rtol=1e-6, atol=1e-6 * float(forces.abs().max()))


@each_term
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_sweep_equals_the_readable_twin(term, dtype):
    batch = make_batch(40, dtype)
    found, expected = term.predict(batch, no_pairs(batch)), twin(term, batch)
    assert found.forces.dtype == dtype
    # float32 vectors of 0.1 nm with energies as stiff as 1e5 kJ/mol/nm²; float64 near straight angles
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    for a, b in ((found.energy, expected.energy), (found.forces, expected.forces)):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


@each_term
def test_broken_molecules_give_the_forces_of_whole_ones_and_no_virial(term):
    whole = make_random_chains(5, impropers=IMPROPERS)
    broken = build_batch(break_across(whole, 1.9), np.arange(5), dtype=torch.float64)
    expected = term.predict(build_batch(whole, np.arange(5), dtype=torch.float64), no_pairs(broken))
    largest = float(expected.forces.abs().max())
    for found in (term.predict(broken, no_pairs(broken)), twin(term, broken)):
        # positions of up to 3 nm in float32
        torch.testing.assert_close(found.forces, expected.forces, rtol=0.0, atol=1e-4 * largest)
        # the twin sums large terms that cancel
        torch.testing.assert_close(found.virial, torch.zeros_like(found.virial), rtol=0.0, atol=1e-12 * largest)
    assert not term.predict(broken, no_pairs(broken)).virial.any()


@each_term
def test_energy_does_not_change_on_turning_moving_or_naming_backwards(term):
    batch = make_batch()
    expected = term.predict(batch, no_pairs(batch)).energy
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)
    moved = replace(batch, positions=batch.positions @ rotation.T + 7.0)
    backwards = replace(
        batch, **{field: getattr(batch, field).flip(1) for field in ("bonds", "angles", "dihedrals", "impropers")}
    )
    for other in (moved, backwards):
        torch.testing.assert_close(term.predict(other, no_pairs(other)).energy, expected, rtol=1e-10, atol=1e-10)


@each_term
def test_systems_side_by_side_do_not_see_each_other(term):
    frames = make_random_chains(4, impropers=IMPROPERS)
    together = build_batch(frames, np.arange(4), dtype=torch.float64)
    energy = term.predict(together, no_pairs(together)).energy
    for k in range(4):
        alone = build_batch(frames, np.array([k]), dtype=torch.float64)
        assert term.predict(alone, no_pairs(alone)).energy.item() == pytest.approx(energy[k].item(), rel=1e-12)


@pytest.mark.parametrize("term", TERMS[2:5], ids=lambda term: term.kind)
def test_mirror_images_have_different_energies_with_signed_dihedrals(term):
    batch = make_batch()
    mirrored = replace(batch, positions=batch.positions * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    energies = [term.predict(other, no_pairs(other)).energy for other in (batch, mirrored)]
    assert float((energies[0] - energies[1]).abs().min()) > 0.1


@pytest.mark.parametrize("term", TERMS[:2] + TERMS[5:], ids=lambda term: term.kind)
def test_mirror_images_have_equal_energies_with_lengths_angles_and_cosines_alone(term):
    batch = make_batch()
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    mirrored = replace(batch, positions=batch.positions * mirror)
    here, there = (term.predict(other, no_pairs(other)) for other in (batch, mirrored))
    torch.testing.assert_close(there.energy, here.energy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        there.forces, here.forces * mirror, rtol=0.0, atol=1e-12 * float(here.forces.abs().max())
    )


@each_term
def test_straight_and_coinciding_sites_give_finite_forces(term):
    line = np.zeros((1, 5, 3))
    line[0, :, 0] = 0.15 * np.arange(5)
    for positions in (line, 0.0 * line, line * np.array([[0], [1], [0], [1], [0]])):
        batch = build_batch(make_frames(build_chain(5, impropers=IMPROPERS), positions), np.array([0]))
        for found in (term.predict(batch, no_pairs(batch)), twin(term, batch)):
            assert torch.isfinite(found.forces).all()
            assert torch.isfinite(found.energy).all()


def test_dihedral_gradient_is_regular_at_cis_and_trans():
    for phi in (0.0, np.pi, -np.pi, 1e-9):
        lengths, angles = np.full((1, 3), 0.15), np.full((1, 2), 1.9)
        frames = make_frames(build_chain(4), build_positions(lengths, angles, [[phi]]))
        batch = build_batch(frames, np.array([0]), dtype=torch.float64)
        term = FourierDihedrals(tuple("ABCD"), (tuple("ABCD"),), order=1).with_coefficients(np.array([0.0, 10.0]))
        force = term.predict(batch, no_pairs(batch)).forces[0].norm().item()
        # |dE/dφ| = 10 and the lever of the first site is r sin θ; float32 positions
        assert force == pytest.approx(10.0 / (0.15 * np.sin(1.9)), rel=1e-5)


@each_term
def test_a_term_read_from_its_config_is_the_same(term):
    again = type(term).from_config(term.to_config())
    again.load_state_dict(term.state_dict())
    batch = make_batch()
    assert torch.equal(again.predict(batch, no_pairs(batch)).forces, term.predict(batch, no_pairs(batch)).forces)


def test_terms_add_up_in_the_prior():
    batch = make_batch()
    total = predict_prior(TERMS, batch, no_pairs(batch))
    forces = sum(term.predict(batch, no_pairs(batch)).forces for term in TERMS)
    torch.testing.assert_close(total.forces, forces, rtol=1e-12, atol=1e-9)


def test_joined_terms_are_the_sum_of_the_terms():
    walls = ExponentialRepulsion(
        tuple("ABCDE"), joining_distances=(0.3,) * 15, joining_forces=(500.0,) * 15, decays=(40.0,) * 15, cutoff=0.8
    )
    table, joined = prepare_prior([*TERMS, walls])
    assert (table.kind, joined.kind) == ("tabulated_pairs", "joined_bonded_terms")
    frames = make_random_chains(40, impropers=IMPROPERS)
    # other systems, open or periodic, after the first one
    for batch in (make_batch(), make_batch(3, seed=5), build_batch(break_across(frames, 1.9), np.arange(7))):
        found, slow = joined.predict(batch, no_pairs(batch)), twin(joined, batch)
        expected = predict_prior(TERMS, batch, no_pairs(batch))
        # float32 forces of single terms are rounded before they are added
        tolerance = 1e-5 if batch.positions.dtype == torch.float32 else 1e-11
        largest = float(expected.forces.abs().max())
        torch.testing.assert_close(found.energy, expected.energy, rtol=1e-11, atol=1e-9)
        torch.testing.assert_close(found.forces, expected.forces, rtol=0.0, atol=tolerance * largest)
        torch.testing.assert_close(found.forces, slow.forces, rtol=0.0, atol=10.0 * tolerance * largest)
        assert not found.virial.any()


def test_a_single_bonded_term_is_not_joined():
    assert prepare_prior(TERMS[:1]) == TERMS[:1]


@each_term
def test_positions_that_are_no_numbers_reach_the_energy(term):
    batch = make_batch()
    positions = batch.positions.clone()
    positions[7] = torch.nan
    energy = term.predict(replace(batch, positions=positions), no_pairs(batch)).energy
    assert torch.isnan(energy).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_impossible_stiffness_is_refused_with_the_name_of_the_term(value):
    with pytest.raises(PhysicsError, match=r"stiffness of harmonic_angles for 'A-B-A'.*variance"):
        HarmonicAngles(("A", "B"), (("A", "B", "A"),), centres=(2.0,), stiffnesses=(value,))


def test_impossible_centre_is_refused():
    with pytest.raises(PhysicsError, match="centre of harmonic_angles for 'A-B-A'"):
        HarmonicAngles(("A", "B"), (("A", "B", "A"),), centres=(3.3,), stiffnesses=(1.0,))


def test_types_without_parameters_are_named():
    term = HarmonicBonds(tuple("ABCDE"), (("A", "B"),), centres=(0.1,), stiffnesses=(1.0,))
    batch = make_batch()
    with pytest.raises(InputError, match="no parameters for the bond 'B-C'; it knows A-B"):
        term.predict(batch, no_pairs(batch))


def test_a_tuple_given_twice_is_refused():
    with pytest.raises(InputError, match=r"'B-A' twice|'A-B' twice"):
        HarmonicBonds(("A", "B"), (("A", "B"), ("B", "A")), centres=(0.1, 0.1), stiffnesses=(1.0, 1.0))
