"""Probes of a force field: what random networks of known symmetry can tell apart, and what a prior adds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.analysis.inversion import InversionSettings
from beadsmith.analysis.stereocentres import find_centres
from beadsmith.batch import build_batch
from beadsmith.diagnostics.energies import build_probe
from beadsmith.diagnostics.inversion import _list_steps, choose_branch, probe_inversion_path
from beadsmith.diagnostics.parity import probe_parity
from beadsmith.diagnostics.permutation import choose_pairs, probe_partners, probe_permutations
from beadsmith.diagnostics.probes import probe_force_field
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.io.h5md import write_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.priors.fourier import FourierDihedrals
from beadsmith.priors.harmonic import HarmonicBonds, HarmonicImpropers
from beadsmith.thermal_form import ThermalForm
from beadsmith.topology import group_equal_molecules
from beadsmith.trajectory import StatePoint
from example_chains import build_chain
from example_force_fields import SoftPair, make_force_field
from example_molecules import make_molecule, make_six_beads, make_six_topology
from example_networks import make_hipnn_settings, make_network_force_field
from example_trajectories import make_liquid

CHEMISTRY = ("C", "N", "C", "C", "C", "N")
"""Types by element: CB and both carbonyl carbons are one."""

DISTINCT = ("a", "b", "c", "d", "e", "f")


def make_frames(n_frames=32, *, types=None, seed=0, copies=1, **options):
    """Return frames of L-alanine in both basins."""
    generator = np.random.default_rng(seed)
    parts = [
        make_six_beads(
            np.where(generator.random(n_frames) < 0.5, -70.0, -75.0) + generator.normal(0.0, 15.0, n_frames),
            np.where(generator.random(n_frames) < 0.5, -40.0, 145.0) + generator.normal(0.0, 15.0, n_frames),
            noise=0.004,
            seed=seed + 1 + copy,
            **options,
        )
        + [0.0, 0.6 * copy, 0.0]
        for copy in range(copies)
    ]
    return make_molecule(np.concatenate(parts, axis=1), make_six_topology(types, copies=copies))


def probe_of(*terms, types=None, frames=None, **options):
    """Return a force field with a random network, ready to be probed with frames."""
    frames = make_frames(types=types) if frames is None else frames
    return build_probe(make_network_force_field(*terms, topology=make_six_topology(types), **options), frames)


def make_bonds(stiffness):
    """Return a prior on all bonds of alanine whose beads are all distinct."""
    pairs = (("a", "b"), ("b", "c"), ("c", "d"), ("c", "e"), ("e", "f"))
    return HarmonicBonds(DISTINCT, pairs, centres=(0.15,) * 5, stiffnesses=(stiffness,) * 5)


def kind_of(topology):
    """Return the only kind of molecule."""
    (kind,) = group_equal_molecules(topology)
    return kind


# --- energies -------------------------------------------------------------------------------------------------------


def test_parts_add_up_to_what_the_force_field_predicts():
    frames = make_frames(5, types=DISTINCT)
    force_field = make_network_force_field(make_bonds(1e4), topology=frames.topology)
    parts = build_probe(force_field, frames).compute_energies(frames.positions, np.arange(5)).parts
    model = build_probe(force_field, frames).force_field
    batch = build_batch(frames, np.arange(5), dtype=torch.float64)
    expected = predict(model, batch, find_pairs(batch, model.cutoff)).energy.numpy()
    np.testing.assert_allclose(parts["total"], expected, rtol=1e-12)
    np.testing.assert_allclose(parts["prior"] + parts["network"], expected, rtol=1e-12)
    assert np.abs(parts["prior"]).min() > 0.0


def test_every_channel_is_a_part_of_its_own_and_the_form_adds_them_up():
    form = ThermalForm(kind="linear", reference_temperature=400.0)
    probe = probe_of(n_channels=2, thermal_form=form)
    parts = probe.compute_energies(probe.frames.positions, np.arange(32)).parts
    np.testing.assert_allclose(parts["network"], parts["channel 1"] + 0.25 * parts["channel 2"], rtol=1e-12)
    assert set(probe_parity(probe).parts) == {"total", "prior", "network", "channel 1", "channel 2"}


def test_systems_are_as_in_one_call_however_they_are_cut(monkeypatch):
    probe = probe_of()
    frame = np.arange(32)
    whole = probe.compute_energies(probe.frames.positions, frame).total
    monkeypatch.setattr("beadsmith.diagnostics.energies._SITES_PER_BATCH", 20)
    np.testing.assert_allclose(probe.compute_energies(probe.frames.positions, frame).total, whole, rtol=1e-13)


# --- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_d_alanine_has_the_energy_of_l_alanine_under_o3(correlation):
    found = probe_parity(probe_of(symmetry="O(3)", correlation=correlation))
    assert found.parts["network"].relative < 1e-12
    assert found.is_blind
    assert found.n_frames == 32


@pytest.mark.parametrize("correlation", [2, 3])
def test_d_alanine_has_another_energy_than_l_alanine_under_so3(correlation):
    found = probe_parity(probe_of(symmetry="SO(3)", correlation=correlation))
    # published for random weights and correlation 2: 6.7e-6
    assert found.parts["network"].relative > 1e-6
    assert not found.is_blind
    assert found.to_json()["is_network_blind"] is False


def test_a_network_of_distances_is_blind():
    assert probe_parity(probe_of(settings=make_hipnn_settings())).parts["total"].relative < 1e-12


def test_a_signed_improper_gives_sight_to_a_force_field_whose_network_has_none():
    topology = replace(make_six_topology(DISTINCT), impropers=np.array([[1, 2, 3, 4]]))
    improper = HarmonicImpropers(DISTINCT, (("b", "c", "d", "e"),), centres=(np.radians(120.0),), stiffnesses=(200.0,))
    frames = replace(make_frames(types=DISTINCT), topology=topology)
    found = probe_parity(build_probe(make_network_force_field(improper, topology=topology), frames)).to_json()
    assert found["is_network_blind"]
    assert not found["is_blind"]
    # the other hand is 120 degrees away, on the short way through 180: ½ k (2π/3)²
    assert found["parts"]["total"]["difference"]["value"] == pytest.approx(
        0.5 * 200.0 * np.radians(120.0) ** 2, rel=0.1
    )


def test_sines_of_a_dihedral_prior_give_sight_and_cosines_do_not():
    topology = replace(make_six_topology(DISTINCT), dihedrals=np.array([[0, 1, 2, 4]]))
    frames = replace(make_frames(types=DISTINCT), topology=topology)
    series = FourierDihedrals(DISTINCT, (("a", "b", "c", "e"),), order=1)
    blind = {}
    for name, coefficients in (("cosine", [3.0, 0.0]), ("sine", [0.0, 3.0])):
        term = series.with_coefficients(np.array(coefficients))
        blind[name] = probe_parity(build_probe(make_network_force_field(term, topology=topology), frames)).is_blind
    assert blind == {"cosine": True, "sine": False}


def test_mirror_images_in_a_skewed_cell_have_one_energy_under_o3():
    frames = make_frames(4, copies=2)
    cell = np.array([[1.3, 0.0, 0.0], [0.4, 1.4, 0.0], [-0.3, 0.2, 1.2]], dtype=np.float32)
    periodic = replace(frames, cell=np.repeat(cell[None], 4, axis=0))
    relative = {}
    for symmetry in ("O(3)", "SO(3)"):
        found = probe_parity(build_probe(make_network_force_field(symmetry=symmetry), periodic))
        relative[symmetry] = found.parts["network"].relative
    assert relative["O(3)"] < 1e-12
    # random weights hardly see hands, but far beyond rounding
    assert relative["SO(3)"] > 1e-8


# --- exchanges ------------------------------------------------------------------------------------------------------


def find_swaps(probe):
    """Return the exchanges of a probe by their beads."""
    return {swap.beads: swap for swap in probe_permutations(probe, kind_of(probe.frames.topology))}


def test_beads_of_one_type_change_places_without_a_change_of_energy():
    swaps = find_swaps(probe_of(types=CHEMISTRY))
    same = {beads: swap for beads, swap in swaps.items() if swap.is_same_type}
    # 4 carbons and 2 nitrogens: 6 + 1 pairs, none of them a symmetry of the bond graph
    assert len(same) == 7
    assert max(swap.relative["network"] for swap in same.values()) < 1e-12
    assert max(swap.relative["total"] for swap in same.values()) < 1e-12


def test_beads_of_different_types_do_not():
    swaps = find_swaps(probe_of(types=DISTINCT)).values()
    assert not any(swap.is_same_type for swap in swaps)
    assert min(swap.relative["network"] for swap in swaps) > 1e-6


def test_a_bonded_prior_tells_beads_of_one_type_apart():
    bonds = HarmonicBonds(("C", "N"), (("C", "N"), ("C", "C")), centres=(0.14, 0.15), stiffnesses=(1e5, 1e5))
    swaps = find_swaps(probe_of(bonds, types=CHEMISTRY))
    beta = swaps["2:CB", "2:C"]
    assert beta.relative["network"] < 1e-12
    assert beta.rise["total"].value > 100.0


def test_pair_classes_tell_beads_of_one_type_apart():
    same = [swap for swap in find_swaps(probe_of(types=CHEMISTRY, pair_classes=True)).values() if swap.is_same_type]
    assert min(swap.relative["network"] for swap in same) > 1e-6


def test_molecules_exchange_their_ends_unseen_unless_bonds_are_known_by_index_or_class():
    frames = make_frames(16, types=DISTINCT, copies=3)
    kind = kind_of(frames.topology)
    swaps = {
        name: probe_partners(probe_of(*terms, types=DISTINCT, frames=frames, **options), kind)
        for name, terms, options in (
            ("types", (), {}),
            ("bonds", (make_bonds(2e5),), {}),
            ("classes", (), {"pair_classes": True}),
        )
    }
    # six types for six beads are no help
    assert swaps["types"].relative["total"] < 1e-12
    assert swaps["classes"].relative["network"] > 1e-6
    assert swaps["bonds"].relative["network"] < 1e-12
    # the bonds of two ends become contacts of some 0.6 nm: twice half of 2e5 (0.45 nm)²
    assert 1e4 < swaps["bonds"].rise["total"].value < 1e5
    for swap in swaps.values():
        assert swap.beads == ("1:C", "1:C")
        assert swap.is_between
        assert swap.is_same_type


def test_the_end_of_the_nearest_copy_is_taken_by_nearest_image():
    frames = make_frames(4, types=DISTINCT, copies=3)
    # the last copy is the nearest neighbour of the first through the wall, at 0.4 nm against 0.6 nm
    cell = np.repeat(np.diag([2.0, 1.6, 2.0])[None], 4, axis=0).astype(np.float32)
    periodic = replace(frames, cell=cell)
    probe = probe_of(make_bonds(2e5), types=DISTINCT, frames=periodic)
    found = probe_partners(probe, kind_of(frames.topology))
    moved = frames.positions.astype(float)
    moved[:, [0, 12]] = moved[:, [12, 0]]
    frame = np.arange(4)
    change = probe.compute_energies(moved, frame).total - probe.compute_energies(frames.positions, frame).total
    assert found.rise["total"].value == pytest.approx(float(change.mean()), rel=1e-9)


def test_one_molecule_has_no_one_to_exchange_with():
    probe = probe_of()
    assert probe_partners(probe, kind_of(probe.frames.topology)) is None


def test_an_exchange_that_is_a_symmetry_is_not_tried():
    topology = build_chain(2, type_names=("A",))
    assert choose_pairs(topology, kind_of(topology)) == []
    # A-B-B-A: the exchange of the inner beads alone is none
    palindrome = replace(
        build_chain(4), types=np.array([0, 1, 1, 0]), type_names=("A", "B"), names=("A", "B", "B", "A")
    )
    same = [pair for pair in choose_pairs(palindrome, kind_of(palindrome)) if pair in ((1, 2), (0, 3))]
    assert same == [(1, 2), (0, 3)]


def test_beads_that_chemistry_tells_apart_are_exchanged_though_types_and_bonds_are_equal():
    star = replace(build_chain(4), types=np.array([0, 1, 1, 1]), type_names=("A", "B"), names=("A", "B", "B", "B"))
    star.bonds[:] = [[0, 1], [0, 2], [0, 3]]
    kind = kind_of(star)
    assert [pair for pair in choose_pairs(star, kind) if 0 not in pair] == []
    assert [pair for pair in choose_pairs(star, kind, ("c", "x", "y", "x")) if 0 not in pair] == [(1, 2), (2, 3)]


# --- the way through the plane --------------------------------------------------------------------------------------


def centre_of(topology):
    (centre,) = find_centres(topology, kind_of(topology))
    return centre


def test_the_shortest_branch_moves_with_all_that_hangs_on_it():
    topology = make_six_topology()
    assert choose_branch(topology, 2, (1, 3, 4))[0] == 3
    longer = replace(topology, bonds=np.array([[0, 1], [1, 2], [2, 3], [2, 4], [3, 5]]))
    mover, branch = choose_branch(longer, 2, (1, 3, 4))
    assert (mover, branch.tolist()) == (4, [4])
    assert choose_branch(longer, 2, (1, 3))[1].tolist() == [3, 5]
    ring = replace(topology, bonds=np.array([[0, 1], [1, 2], [2, 3], [2, 4], [3, 5], [5, 1]]))
    assert choose_branch(ring, 2, (1, 3))[1].tolist() == [3]


def test_a_way_that_nothing_hinders_has_no_barrier_and_leads_to_the_other_hand():
    topology = make_six_topology(DISTINCT)
    frames = make_frames(types=DISTINCT)
    record = ForceFieldRecord(templates=(topology,), state_points=(StatePoint(temperature=300.0),))
    free = build_probe(ForceField([SoftPair(height=0.0)], None, record), frames)
    assert probe_inversion_path(free, centre_of(topology)).rise.value == 0.0
    centre = centre_of(topology)
    a, middle, mover, c = centre.sites[0].tolist()
    for steps in _list_steps(frames.positions[:, [middle, mover, a, c]].astype(float)):
        moved = frames.positions.astype(float)
        moved[:, mover] += steps[:, -1]
        np.testing.assert_allclose(centre.compute(moved), -centre.compute(frames.positions), atol=1e-6)
        np.testing.assert_allclose(steps[:, 0], 0.0, atol=1e-15)


def test_a_signed_improper_raises_the_way_by_its_own_energy():
    # along the arc χ goes from 120 to 180 degrees and beyond: ½ k (2π/3)² at its end, which is the highest point
    topology = replace(make_six_topology(DISTINCT), impropers=np.array([[1, 2, 3, 4]]))
    improper = HarmonicImpropers(DISTINCT, (("b", "c", "d", "e"),), centres=(np.radians(120.0),), stiffnesses=(100.0,))
    frames = replace(make_frames(types=DISTINCT), topology=topology)
    probe = build_probe(make_network_force_field(improper, topology=topology), frames)
    quiet = probe_inversion_path(build_probe(make_network_force_field(topology=topology), frames), centre_of(topology))
    found = probe_inversion_path(probe, centre_of(topology))
    assert found.bead == "2:CB"
    assert found.rise.value - quiet.rise.value == pytest.approx(0.5 * 100.0 * np.radians(120.0) ** 2, rel=0.15)
    assert found.lowest <= found.rise.value
    assert found.rise.n_samples == 16


def test_the_arc_spares_the_bond_that_the_line_shortens():
    topology = make_six_topology(DISTINCT)
    frames = make_frames(types=DISTINCT)
    probe = build_probe(make_network_force_field(make_bonds(2e5), topology=topology), frames)
    # on the line the bond is short by 1 − 0.577: half of 2e5 (0.065 nm)² is more than 400 kJ/mol
    assert probe_inversion_path(probe, centre_of(topology)).rise.value < 50.0


# --- all together ---------------------------------------------------------------------------------------------------


@pytest.fixture
def reference(tmp_path):
    """Return a mapped trajectory of alanine, and what the evaluation says about its molecules."""
    write_trajectory(tmp_path / "mapped.h5", make_frames(200))
    systems = evaluate(tmp_path / "mapped.h5", {}, EvaluationSettings())["systems"]
    return tmp_path / "mapped.h5", systems["reference"]["molecules"]


def test_all_probes_of_a_molecule_are_named_by_molecule_and_bead(reference):
    path, molecules = reference
    found = probe_force_field(make_network_force_field(), path, molecules, temperature=300.0)
    assert found["parity"]["is_blind"]
    assert found["permutation"]["ACE-ALA-NME"]
    assert found["inversion_path"]["ACE-ALA-NME"]["2:CA"]["rise"]["unit"] == "kJ/mol"
    assert found["inversion_barrier"] == {}


def test_the_exchange_of_partners_comes_last_where_there_are_several_molecules(tmp_path):
    write_trajectory(tmp_path / "mapped.h5", make_frames(60, copies=2))
    molecules = evaluate(tmp_path / "mapped.h5", {}, EvaluationSettings())["systems"]["reference"]["molecules"]
    found = probe_force_field(make_network_force_field(), tmp_path / "mapped.h5", molecules, temperature=300.0)
    (swaps,) = found["permutation"].values()
    assert [swap["is_between"] for swap in swaps] == [False] * (len(swaps) - 1) + [True]


def test_there_is_nothing_to_probe_without_a_network_or_without_bonds(reference, tmp_path):
    path, molecules = reference
    classical = make_force_field(SoftPair(), type_names=("C", "N", "CA", "CB"), masses=(12.0,) * 4)
    assert probe_force_field(classical, path, molecules, temperature=300.0) is None
    write_trajectory(tmp_path / "liquid.h5", make_liquid(np.random.default_rng(0), n_frames=4))
    assert probe_force_field(make_network_force_field(), tmp_path / "liquid.h5", {}, temperature=300.0) is None


def test_a_barrier_is_refused_for_several_molecules(tmp_path):
    write_trajectory(tmp_path / "mapped.h5", make_frames(60, copies=2))
    molecules = evaluate(tmp_path / "mapped.h5", {}, EvaluationSettings())["systems"]["reference"]["molecules"]
    with pytest.raises(InputError, match="there are 2 molecules"):
        probe_force_field(
            make_network_force_field(),
            tmp_path / "mapped.h5",
            molecules,
            inversion=InversionSettings(),
            temperature=300.0,
        )
