"""What cures a map: which switch tells two beads, two hands or two pairings of beads apart, and which does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import find_pairs
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.bonded import find_type_tuples
from beadsmith.priors.fourier import FourierImpropers
from beadsmith.priors.harmonic import HarmonicBonds, HarmonicImpropers
from beadsmith.trajectory import StatePoint, Trajectory
from example_chains import build_chain
from example_molecules import make_six_beads, make_six_topology

SMALL_MACE = {"n_features": 4, "l_max_hidden": 1, "l_max": 2, "radial_widths": (8,), "n_readout": 4, "n_knots": 64}
NETWORKS = {
    "hipnn": HipnnSettings(cutoff=0.8, n_features=6, n_sensitivities=8, soft_min=0.1, soft_max=0.7, l_max=2),
    "schnet": SchnetSettings(cutoff=0.8, n_features=6, n_filters=5, n_radial=10, n_output_features=4, n_knots=64),
    "mace": MaceSettings(cutoff=0.8, **SMALL_MACE),
    "mace of rotations": MaceSettings(cutoff=0.8, symmetry="SO(3)", **SMALL_MACE),
}
KINDS = list(NETWORKS)
MIRROR = np.array([1.0, 1.0, -1.0])


def build(topology, kind, *prior, **changes):
    """Return a force field with a network of random weights, in float64."""
    network = build_network(
        replace(NETWORKS[kind], **changes), topology.type_names, torch.Generator().manual_seed(4)
    ).double()
    if changes.get("pair_classes"):
        # classes start alike
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "amplitudes" in name:
                    parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))
    record = ForceFieldRecord(templates=(topology,), state_points=(StatePoint(temperature=300.0),))
    return ForceField(list(prior), network.requires_grad_(False), record)


def energy_of(force_field, topology, positions):
    """Return the energy of one open frame [kJ/mol]."""
    frame = Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0),
        positions=positions[None].astype(np.float32),
        times=np.zeros(1),
    )
    batch = build_batch(frame, np.array([0]), dtype=torch.float64)
    batch = replace(batch, positions=torch.from_numpy(positions))
    return float(predict(force_field, batch, find_pairs(batch, 0.8)).energy[0])


def relative_change(force_field, topology, one, other):
    before, after = (energy_of(force_field, topology, positions) for positions in (one, other))
    return abs(after - before) / abs(before)


# two labels of capped alanine: by element, and all different
ELEMENTS = make_six_topology(tuple("CNCCCN"))
DISTINCT = make_six_topology(tuple("ABCDEF"))
SIX = make_six_beads(np.array([-70.0]), np.array([-40.0]), noise=0.004)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_two_beads_of_one_type_leaves_the_energy_of_a_network(kind):
    # CB and the carbonyl C
    swapped = SIX[[0, 1, 2, 4, 3, 5]]
    assert relative_change(build(ELEMENTS, kind), ELEMENTS, SIX, swapped) < 1e-12
    assert relative_change(build(DISTINCT, kind), DISTINCT, SIX, swapped) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_pair_classes_tell_two_beads_of_one_type_apart_by_their_bonds(kind):
    # C of ACE has one bonded partner, the other carbons have more
    swapped = SIX[[2, 1, 0, 3, 4, 5]]
    assert relative_change(build(ELEMENTS, kind), ELEMENTS, SIX, swapped) < 1e-12
    assert relative_change(build(ELEMENTS, kind, pair_classes=True), ELEMENTS, SIX, swapped) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_network_of_rotations_tells_the_hands_of_alanine_apart(kind):
    # the mirror image of the L form is the D form with negative phi and psi
    d_form = make_six_beads(np.array([70.0]), np.array([40.0]), hand=-1.0)[0]
    l_form = make_six_beads(np.array([-70.0]), np.array([-40.0]))[0]
    change = relative_change(build(DISTINCT, kind), DISTINCT, l_form, d_form)
    assert (change > 1e-7) if kind == "mace of rotations" else (change < 1e-12)


def impropers_of(topology):
    chiral = replace(topology, impropers=np.array([[1, 2, 4, 3]]))
    return chiral, find_type_tuples((chiral,), "improper")


@pytest.mark.parametrize("form", ["harmonic", "fourier", "cosine"])
def test_a_signed_improper_or_sines_give_the_hands_two_energies_and_cosines_do_not(form):
    topology, tuples = impropers_of(DISTINCT)
    names = topology.type_names
    term = {
        "harmonic": lambda: HarmonicImpropers(names, tuples, centres=(-2.1,), stiffnesses=(300.0,)),
        "fourier": lambda: FourierImpropers(names, tuples, order=1).with_coefficients(np.array([2.0, 8.0])),
        "cosine": lambda: FourierImpropers(names, tuples, order=1, has_sines=False).with_coefficients(np.array([2.0])),
    }[form]()
    force_field = build(topology, "mace", term)
    change = relative_change(force_field, topology, SIX, SIX * MIRROR)
    assert (change < 1e-12) if form == "cosine" else (change > 1e-2)


def test_a_signed_harmonic_improper_lifts_the_mirror_image_by_its_closed_form():
    topology, tuples = impropers_of(DISTINCT)
    term = HarmonicImpropers(topology.type_names, tuples, centres=(-2.1,), stiffnesses=(300.0,))
    force_field = build(topology, "schnet", term)
    n, ca, cb, c = SIX[1], SIX[2], SIX[3], SIX[4]
    b1, b2, b3 = ca - n, c - ca, cb - c
    normal = np.cross(b2, b3)
    chi = np.arctan2(np.linalg.norm(b2) * b1 @ normal, np.cross(b1, b2) @ normal)
    # ½ k (−χ − χ0)² − ½ k (χ − χ0)², the first difference taken around the circle
    away = -chi + 2.1 - 2.0 * np.pi * np.round((-chi + 2.1) / (2.0 * np.pi))
    expected = 150.0 * (away**2 - (chi + 2.1) ** 2)
    found = energy_of(force_field, topology, SIX * MIRROR) - energy_of(force_field, topology, SIX)
    assert chi < 0.0
    assert found == pytest.approx(expected, rel=1e-10)


# two molecules of two beads in a row; after the switch the two in the middle have changed places
PAIRS = build_chain(2, n_molecules=2, type_names=("A",))
APART = np.array([[0.0, 0.0, 0.0], [0.37, 0.02, 0.0], [0.05, 0.41, 0.03], [0.40, 0.38, -0.02]])
SWITCHED = APART[[0, 2, 1, 3]]


@pytest.mark.parametrize("kind", KINDS)
def test_switched_bonds_cost_nothing_in_a_network_alone(kind):
    assert relative_change(build(PAIRS, kind), PAIRS, APART, SWITCHED) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_two_types_are_no_cure_for_bonds_that_switch_between_molecules(kind):
    # A-B and A-B exchange their B
    topology = build_chain(2, n_molecules=2, type_names=("A", "B"))
    exchanged = APART[[0, 3, 2, 1]]
    assert relative_change(build(topology, kind), topology, APART, exchanged) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{"pair_classes": True}, {"exclusions": 1}], ids=["pair classes", "exclusions"])
def test_networks_that_know_the_bonds_see_them_switch(kind, changes):
    assert relative_change(build(PAIRS, kind, **changes), PAIRS, APART, SWITCHED) > 1e-6


def test_a_bonded_prior_lifts_switched_bonds_by_its_closed_form():
    bonds = HarmonicBonds(("A",), (("A", "A"),), centres=(0.37,), stiffnesses=(5000.0,))
    force_field = build(PAIRS, "schnet", bonds)

    def stretch(positions):
        lengths = np.linalg.norm(positions[[1, 3]] - positions[[0, 2]], axis=1)
        return 0.5 * 5000.0 * ((lengths - 0.37) ** 2).sum()

    found = energy_of(force_field, PAIRS, SWITCHED) - energy_of(force_field, PAIRS, APART)
    assert found == pytest.approx(stretch(SWITCHED) - stretch(APART), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_symmetric_chain_read_backwards_keeps_its_energy_whatever_the_network_knows(kind):
    # A-B-B-A from end to end is one molecule and not two
    chain = replace(build_chain(4, type_names=("A", "B")), types=np.array([0, 1, 1, 0]))
    positions = np.random.default_rng(0).normal(0.0, 0.2, (4, 3))
    force_field = build(chain, kind, pair_classes=True, exclusions=1)
    assert relative_change(force_field, chain, positions, positions[::-1].copy()) < 1e-12
