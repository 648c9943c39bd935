"""What the evaluation says about hands: asymmetry of maps, stereocentres, helices, bonds, and the hottest frame."""

import numpy as np
import pytest

from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import to_plain
from example_molecules import make_dipeptide, make_molecule, make_six_beads, make_six_topology, make_topology
from example_trajectories import make_liquid

MIRROR = np.array([1.0, 1.0, -1.0])
HELIX = {"radius": 0.23, "rise": 0.15, "turn": np.radians(100.0)}


def evaluate_pair(folder, reference, simulated):
    """Return the systems of an evaluation of two trajectories, as they are read back."""
    write_trajectory(folder / "mapped.h5", reference)
    write_trajectory(folder / "simulation.h5", simulated)
    result = evaluate(folder / "mapped.h5", {"network": folder / "simulation.h5"}, EvaluationSettings())
    return to_plain(result)["systems"]


def make_chain(positions, **options):
    """Return chains of alpha carbons as a trajectory."""
    n_residues = positions.shape[1]
    topology = make_topology(("CA",) * n_residues, tuple(range(n_residues)), ("ALA",) * n_residues)
    return make_molecule(positions, topology, **options)


def make_helices(generator, *, left, straight, n_frames=1200, n_residues=8):
    """Return chains of which a share `straight` is extended, and of the helices a share `left` is left-handed."""
    phase = HELIX["turn"] * np.arange(n_residues)
    helix = np.stack(
        [HELIX["radius"] * np.cos(phase), HELIX["radius"] * np.sin(phase), HELIX["rise"] * np.arange(n_residues)],
        axis=1,
    )
    strand = np.zeros((n_residues, 3))
    strand[:, 0] = 0.35 * np.arange(n_residues)
    is_left, is_straight = generator.random(n_frames) < left, generator.random(n_frames) < straight
    frames = np.where(is_left[:, None, None], helix * MIRROR, helix)
    frames = np.where(is_straight[:, None, None], strand, frames)
    return make_chain(frames + generator.normal(0.0, 0.005, frames.shape))


def test_asymmetry_of_a_map_is_ln_2_for_one_hand_and_chance_for_both(tmp_path):
    generator = np.random.default_rng(0)
    systems = evaluate_pair(
        tmp_path, make_dipeptide(generator, n_frames=6000), make_dipeptide(generator, n_frames=6000, mirrored=0.5)
    )
    surfaces = {name: system["molecules"]["ACE-ALA-NME"]["surfaces"]["phi, psi"] for name, system in systems.items()}
    # the map of one hand and its mirror image have nothing in common
    assert surfaces["reference"]["asymmetry"]["value"] == pytest.approx(np.log(2.0), abs=0.01)
    # noise alone: a quarter of a nat a frame from every bin that is well filled, to second order; ln 2 from one that
    # holds a single frame and whose image holds none
    chance = np.count_nonzero(surfaces["network"]["probability"]) / 6000
    assert 0.8 * 0.25 * chance < surfaces["network"]["asymmetry"]["value"] < np.log(2.0) * chance
    positive = systems["network"]["molecules"]["ACE-ALA-NME"]["coordinates"]["phi"]["positive"]
    assert positive["value"] == pytest.approx(0.5, abs=3.0 * positive["standard_error"])


def test_a_stereocentre_that_flips_is_told_from_one_that_is_kept(tmp_path):
    generator = np.random.default_rng(1)
    phi, psi = -75.0 + generator.normal(0.0, 15.0, 400), 145.0 + generator.normal(0.0, 15.0, 400)
    topology, segment = make_six_topology(), np.repeat([0, 1], 200)
    hand = np.ones(400)
    hand[250:] = -1.0
    reference = make_molecule(make_six_beads(phi, psi, noise=0.003), topology)
    simulated = make_molecule(make_six_beads(phi, psi, hand=hand, noise=0.003), topology, segment=segment)
    systems = evaluate_pair(tmp_path, reference, simulated)
    found = {name: system["molecules"]["ACE-ALA-NME"]["stereocentres"]["2:CA"] for name, system in systems.items()}
    assert found["reference"]["is_locked"] is True
    assert found["reference"]["positive"]["value"] == 1.0
    assert found["network"]["n_flips"] == 1
    # the 51st frame of the second replica
    assert found["network"]["first_flip"]["value"] == 50.0
    assert found["network"]["positive"]["value"] == pytest.approx(250 / 400)


def test_left_handed_helices_are_a_share_of_the_helical_frames(tmp_path):
    generator = np.random.default_rng(2)
    systems = evaluate_pair(
        tmp_path,
        make_helices(generator, left=0.0, straight=0.25),
        make_helices(generator, left=0.5, straight=0.25),
    )
    (reference,) = systems["reference"]["molecules"].values()
    (simulated,) = systems["network"]["molecules"].values()
    assert reference["helices"]["left_handed"]["value"] == 0.0
    for entry, expected in ((reference["helices"]["helical"], 0.75), (simulated["helices"]["left_handed"], 0.5)):
        assert entry["value"] == pytest.approx(expected, abs=4.0 * entry["standard_error"])
        assert entry["standard_error"] < 0.05
    # the pair of both coordinates is drawn as a surface, which a reflection changes along the second
    assert reference["surfaces"]["helicity, handedness"]["asymmetry"]["value"] > 0.4
    assert simulated["surfaces"]["helicity, handedness"]["asymmetry"]["value"] < 0.1


def test_a_chain_that_is_never_helical_has_no_share_of_left_handed_helices(tmp_path):
    generator = np.random.default_rng(3)
    strands = make_helices(generator, left=0.0, straight=1.0, n_frames=100)
    (molecule,) = evaluate_pair(tmp_path, strands, strands)["reference"]["molecules"].values()
    assert molecule["helices"]["helical"]["value"] == 0.0
    assert molecule["helices"]["left_handed"] is None


def test_a_molecule_that_is_no_chain_of_alpha_carbons_has_no_helices(tmp_path):
    molecule = make_dipeptide(np.random.default_rng(4), n_frames=200)
    systems = evaluate_pair(tmp_path, molecule, molecule)
    assert systems["reference"]["molecules"]["ACE-ALA-NME"]["helices"] is None
    assert systems["reference"]["molecules"]["ACE-ALA-NME"]["stereocentres"] == {}


def test_bonds_are_followed_in_molecules_and_not_in_liquids_of_single_beads(tmp_path):
    generator = np.random.default_rng(5)
    molecule = make_dipeptide(generator, n_frames=200)
    systems = evaluate_pair(tmp_path, molecule, molecule)
    assert systems["network"]["bond_identity"]["switched"]["value"] == 0.0
    assert systems["network"]["bond_identity"]["n_bonds"] == 4
    assert systems["network"]["hottest_frame"]["degrees_of_freedom"] == 15
    liquid = make_liquid(generator, n_frames=40)
    systems = evaluate_pair(tmp_path, liquid, liquid)
    assert systems["network"]["bond_identity"] is None
    assert systems["network"]["hottest_frame"]["value"] < systems["network"]["hottest_frame"]["by_chance"]["value"]
