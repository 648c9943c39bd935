"""Pairs that a network excludes do not exist for it: in plain torch, compiled, captured, saved and exported."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import Pairs, build_batch
from beadsmith.config.load import load_config
from beadsmith.diagnostics.energies import build_probe
from beadsmith.energy import predict, predict_network
from beadsmith.errors import InputError
from beadsmith.export.evaluator import build_evaluator
from beadsmith.force_field import ForceField, ForceFieldRecord, load_force_field, save_force_field
from beadsmith.neighbors import BOND, build_skin_list, find_pairs
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NETWORKS, build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.harmonic import HarmonicBonds
from beadsmith.simulation.static_forces import StaticForces
from beadsmith.simulation.static_list import plan_search, search_pairs
from beadsmith.topology import group_equal_molecules
from beadsmith.trajectory import StatePoint, Trajectory
from example_molecules import make_backbone, make_topology

EDGE = 1.9
SETTINGS = {
    "hipnn": HipnnSettings(cutoff=0.7, n_features=6, n_sensitivities=8, soft_min=0.1, soft_max=0.6, l_max=2),
    "hipnn of two interactions": HipnnSettings(
        cutoff=0.7, n_features=6, n_sensitivities=8, soft_min=0.1, soft_max=0.6, n_interactions=2, pair_classes=True
    ),
    "schnet": SchnetSettings(cutoff=0.7, n_features=6, n_filters=5, n_radial=10, n_output_features=4, n_knots=64),
    "mace": MaceSettings(
        cutoff=0.7, n_features=4, l_max_hidden=1, l_max=2, radial_widths=(8,), n_readout=4, n_knots=64, symmetry="SO(3)"
    ),
}
KINDS = list(SETTINGS)


def make_frames(*, copies=4, n_frames=2, is_open=False):
    """Return chains of five beads, C N CA C N, at random places of a small box, or in the open."""
    generator = np.random.default_rng(3)
    shapes = make_backbone(*generator.uniform(-180.0, 180.0, (2, copies * n_frames)))
    shapes += generator.normal(0.0, 0.004, shapes.shape)
    spread = 0.4 if is_open else EDGE
    centres = generator.uniform(0.0, spread, (copies * n_frames, 1, 3))
    topology = make_topology(copies=copies)
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0),
        positions=(shapes + centres).reshape(n_frames, -1, 3).astype(np.float32),
        times=np.arange(float(n_frames)),
        cell=None if is_open else np.tile(EDGE * np.eye(3), (n_frames, 1, 1)).astype(np.float32),
    )


def make_batch(frames, dtype=torch.float64):
    return build_batch(frames, np.arange(frames.n_frames), dtype=dtype)


def build(kind, exclusions, dtype=torch.float64):
    settings = replace(SETTINGS[kind], exclusions=exclusions)
    return build_network(settings, ("C", "N", "CA"), torch.Generator().manual_seed(1)).to(dtype)


def drop(pairs, exclusions):
    """Return the list without the pairs that are excluded: the readable twin."""
    kept = torch.nonzero(~((pairs.bond_class >= BOND) & (pairs.bond_class <= exclusions))).squeeze(1)
    is_half = torch.zeros(pairs.n_pairs, dtype=torch.bool)
    is_half[pairs.half] = True
    counts = torch.bincount(pairs.index[0, kept], minlength=len(pairs.row_offsets) - 1)
    return Pairs(
        index=pairs.index[:, kept],
        row_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        half=torch.nonzero(is_half[kept]).squeeze(1),
        shifts=pairs.shifts[kept],
        bond_class=pairs.bond_class[kept],
        cutoff=pairs.cutoff,
    )


def assert_equal(found, expected, tolerance=1e-12):
    for name in ("energy", "forces", "virial"):
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, other, rtol=0.0, atol=tolerance * float(other.abs().max()), msg=name)


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("exclusions", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_exclusions_is_one_that_never_met_these_pairs(kind, exclusions, is_fused):
    batch = make_batch(make_frames())
    # a list beyond the cutoff, as simulations have it
    pairs = find_pairs(batch, 0.8)
    plain, excluding = build(kind, 0), build(kind, exclusions)
    plain.is_fused = excluding.is_fused = is_fused
    expected = predict_network(plain, batch, drop(pairs, exclusions))
    assert_equal(predict_network(excluding, batch, pairs), expected)
    # and these pairs matter
    assert float((predict_network(plain, batch, pairs).forces - expected.forces).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_training_with_exclusions_has_the_gradient_of_a_network_without_these_pairs(kind):
    batch = make_batch(make_frames())
    pairs = find_pairs(batch, 0.7)
    gradients = []
    for exclusions, used in ((2, pairs), (0, drop(pairs, 2))):
        network = build(kind, exclusions)
        predict_network(network, batch, used, create_graph=True).forces.square().mean().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[1].items():
        scale = max(float(expected.abs().max()), 1e-12)
        torch.testing.assert_close(gradients[0][name], expected, rtol=0.0, atol=1e-10 * scale, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_two_bonded_beads_are_strangers_to_a_network_that_excludes_bonds(kind):
    frames = make_frames(copies=1, n_frames=1, is_open=True)
    topology = make_topology(names=("C", "N"), residues=(0, 0), residue_names=("X",))
    pair = replace(frames, topology=topology, positions=frames.positions[:, :2])
    batch = make_batch(pair)
    network = build_network(
        replace(SETTINGS[kind], exclusions=1), topology.type_names, torch.Generator().manual_seed(1)
    ).double()
    prediction = predict_network(network, batch, find_pairs(batch, 0.7))
    assert prediction.forces.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_captured_steps_exclude_the_same_pairs(kind, is_open):
    frames = make_frames(copies=2 if is_open else 4, is_open=is_open)
    batch = make_batch(frames)
    names = frames.topology.type_names
    bonds = HarmonicBonds(names, (("C", "N"), ("CA", "N"), ("C", "CA")), centres=(0.14,) * 3, stiffnesses=(1e5,) * 3)
    record = ForceFieldRecord(templates=(make_topology(),), state_points=(frames.state_point,))
    force_field = ForceField([bonds], build(kind, 2).requires_grad_(False), record).double()
    expected = predict(force_field, batch, build_skin_list(batch, force_field.cutoff, 0.1).pairs)
    plan = plan_search(batch, force_field.cutoff, 0.1)
    found = StaticForces(force_field, batch, plan).compute(batch.positions, search_pairs(plan, batch.positions))
    torch.testing.assert_close(found, expected.forces, rtol=0.0, atol=1e-10 * float(expected.forces.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_exclusions_are_saved_with_the_network_exported_and_probed(kind, tmp_path):
    frames = make_frames()
    (molecule,) = group_equal_molecules(frames.topology)
    assert molecule.n_molecules == 4
    record = ForceFieldRecord(templates=(make_topology(),), state_points=(frames.state_point,))
    force_field = ForceField([], build(kind, 3).requires_grad_(False), record)
    save_force_field(force_field, tmp_path / "ff")
    loaded = load_force_field(tmp_path / "ff")
    assert loaded.network.exclusions == 3
    batch = make_batch(frames)
    expected = predict(force_field, batch, find_pairs(batch, 0.7))
    evaluate = build_evaluator(loaded, frames, precision="float64")
    found = evaluate(frames.positions[1].astype(np.float64), frames.cell[1].astype(np.float64))
    assert float(found.energy[0]) == pytest.approx(float(expected.energy[1]), rel=1e-12)
    probed = build_probe(loaded, frames).compute_energies(frames.positions, np.arange(2)).total
    np.testing.assert_allclose(probed, expected.energy.numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_earlier_files_exclude_nothing(kind):
    network = build(kind, 0)
    config = network.to_config()
    del config["settings"]["exclusions"]
    assert NETWORKS[network.kind].from_config(config).exclusions == 0


@pytest.mark.parametrize("exclusions", [-1, 4])
@pytest.mark.parametrize("settings", [HipnnSettings, SchnetSettings, MaceSettings])
def test_only_pairs_that_bond_classes_know_can_be_excluded(settings, exclusions):
    with pytest.raises(InputError, match=f"exclusions are {exclusions}, expected 0 to 3 bonds"):
        settings(exclusions=exclusions)


LIQUID = """\
name: a
system: {molecules: [{name: hexane, count: 100}]}
state: {temperature: 300 K, density: 0.655 g/cm^3}
prior: {%s: none}
network: {kind: hipnn, exclusions: %d}
"""


@pytest.mark.parametrize(("term", "exclusions"), [("bonds", 1), ("bonds", 3), ("angles", 2)])
def test_what_the_network_leaves_to_the_prior_must_be_in_the_prior(term, exclusions, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(LIQUID % (term, exclusions))
    with pytest.raises(InputError, match=f"'prior.{term}' is none: nothing would hold the {term}") as caught:
        load_config(path)
    assert "a.yaml:5" in str(caught.value)


def test_angles_may_be_left_to_the_network_when_bonds_are_not(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(LIQUID % ("angles", 1))
    assert load_config(path).network.exclusions == 1
