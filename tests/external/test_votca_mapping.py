"""Mappings of VOTCA applied to its own files: beads where VOTCA puts them, with the bonds that its files state.

Data: SPC/E water with the frame that VOTCA maps it to, one propane in vacuum, and liquid hexane with the distributions
of the mapped model from a long run.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadsmith.geometry import minimum_image
from beadsmith.importing.run import import_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.io.h5md import read_trajectory
from beadsmith.mapping.apply import build_mapping, map_reference
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.formats import read_mapping_files
from beadsmith.mapping.frames import map_trajectory
from beadsmith.mapping.noise import plain_weights
from beadsmith.mapping.settings import MappingSettings
from beadsmith.trajectory import StatePoint, Trajectory
from example_references import build_topology

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
STATE = StatePoint(temperature=300.0)


def at(name):
    """Return the path of a file of the data folder, or skip."""
    if not (DATA / name).is_file():
        pytest.skip(f"no external data at '{DATA / name}' (set BEADSMITH_DATA)")
    return str(DATA / name)


def map_files(tmp_path, settings, mapping):
    """Import files and map them; return atoms, beads and the summary."""
    import_reference(settings, STATE, tmp_path / "reference.h5", identity="a")
    summary = map_reference(tmp_path / "reference.h5", tmp_path / "mapped.h5", mapping, identity="a")
    return read_trajectory(tmp_path / "reference.h5"), read_trajectory(tmp_path / "mapped.h5"), summary


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    molecules = (MoleculeSites(name="SOL", count=216, names=("OW", "HW1", "HW2"), bonds=((1, 2), (1, 3))),)
    units = FileUnitSettings(style="real")
    settings = ReferenceSettings(files=(at("spce-aa-votca/frame.dump"),), units=units, molecules=molecules)
    mapping = MappingSettings(files=(at("spce-aa-votca/mapping.xml"),))
    return map_files(tmp_path_factory.mktemp("spce"), settings, mapping)


@pytest.fixture(scope="module")
def propane(tmp_path_factory):
    files = (at("propane-aa-votca/traj.trr"),)
    settings = ReferenceSettings(files=files, topology=at("propane-aa-votca/conf.gro"), periodic=False)
    mapping = MappingSettings(files=(at("propane-aa-votca/propane.xml"),), forces="sum")
    return map_files(tmp_path_factory.mktemp("propane"), settings, mapping)


def test_spce_beads_are_where_votca_puts_them(water):
    _, beads, _ = water
    expected = 0.1 * np.loadtxt(at("spce-aa-votca/frame_cg.dump"), skiprows=9)[:, 2:]
    assert expected.shape == (216, 3)
    difference = minimum_image(beads.positions - expected, beads.cell)
    # the text has 6 decimals of Å, and float32 resolves 2e-7 nm
    np.testing.assert_allclose(difference, 0.0, atol=1e-6)


def test_spce_bead_has_its_own_type_the_mass_of_its_atoms_and_their_summed_force(water):
    atoms, beads, _ = water
    assert beads.topology.type_names == ("CG",)
    np.testing.assert_allclose(beads.topology.masses, 18.0154, atol=1e-3)
    # rigid waters leave the optimal map no choice
    summed = atoms.forces.astype(np.float64).reshape(1, 216, 3, 3).sum(axis=2)
    np.testing.assert_allclose(beads.forces, summed, atol=1e-2)


def test_propane_has_the_beads_bonds_and_angle_of_its_mapping(propane):
    _, beads, summary = propane
    assert beads.topology.names == ("A1", "B1", "A2")
    assert beads.topology.type_names == ("A", "B")
    assert beads.topology.bonds.tolist() == [[0, 1], [1, 2]]
    assert beads.topology.angles.tolist() == [[0, 1, 2]]
    assert summary["coverage"]["molecules"][0]["in_no_bead"] == []


def test_propane_beads_are_the_weighted_means_that_the_mapping_asks_for(propane):
    atoms, beads, _ = propane
    members = (((0, 3, 4, 5), (12, 1, 1, 1)), ((1, 6, 7), (12, 1, 1)), ((2, 8, 9, 10), (12, 1, 1, 1)))
    for bead, (chosen, weights) in enumerate(members):
        expected = np.average(atoms.positions[:, chosen].astype(np.float64), axis=1, weights=weights)
        # float32 positions of up to 10 nm
        np.testing.assert_allclose(beads.positions[:, bead], expected, atol=1e-6)
        np.testing.assert_allclose(beads.forces[:, bead], atoms.forces[:, chosen].sum(axis=1), atol=2e-3)


def test_propane_forces_still_add_up_to_nothing(propane):
    atoms, beads, _ = propane
    net = beads.forces.astype(np.float64).sum(axis=1)
    # every atom is in one bead, so the net force is that of the atoms: zero to the rounding of float32
    np.testing.assert_allclose(net, atoms.forces.astype(np.float64).sum(axis=1), atol=2e-3)
    assert np.abs(net).max() < 1e-3 * np.sqrt(np.mean(beads.forces.astype(np.float64) ** 2))


@pytest.fixture(scope="module")
def hexane():
    """Return the beads of the 1,000 hexanes of the start configuration."""
    with Path(at("hexane-aa-votca/conf.gro")).open() as file:
        lines = file.read().splitlines()
    rows = lines[2 : 2 + 20 * 1000]
    names = tuple(row[10:15].strip() for row in rows[:20])
    residues = [int(row[:5]) - 1 for row in rows[:20]]
    masses = tuple(12.011 if name == "C" else 1.008 for name in names)
    topology = build_topology(*[("hexane", names, masses, (), ())] * 1000)
    topology = replace(
        topology,
        residue_index=np.concatenate([6 * k + np.array(residues) for k in range(1000)]),
        residue_names=("CHL", "CH2", "CH2", "CH2", "CH2", "CHR") * 1000,
    )
    trajectory = Trajectory(
        topology=topology,
        state_point=STATE,
        positions=np.array([[float(row[20 + 8 * k : 28 + 8 * k]) for k in range(3)] for row in rows])[None].astype(
            "f4"
        ),
        cell=np.diag([float(word) for word in lines[-1].split()])[None].astype("f4"),
        times=np.zeros(1),
    )
    settings = MappingSettings(files=(at("hexane-aa-votca/hexane.xml"),))
    templates = build_templates(topology, settings, read_mapping_files(settings.files, topology))
    weights = tuple(plain_weights("sum", template) for template in templates)
    # the molecules of the file are whole
    return map_trajectory(trajectory, build_mapping(topology, templates, weights, settings), ())


def target(name):
    """Return mean and standard deviation of a distribution that VOTCA made."""
    value, density, _ = np.loadtxt(at(f"hexane-aa-votca/{name}.dist.tgt"), usecols=(0, 1, 1)).T
    mean = np.average(value, weights=density)
    return mean, np.sqrt(np.average((value - mean) ** 2, weights=density))


def test_hexane_bonds_have_the_mean_of_the_long_run(hexane):
    topology = hexane.topology
    assert topology.names[:3] == ("A1", "B", "A2")
    assert topology.bonds[:2].tolist() == [[0, 1], [1, 2]]
    vectors = hexane.positions[:, topology.bonds[:, 1]] - hexane.positions[:, topology.bonds[:, 0]]
    lengths = np.linalg.norm(vectors, axis=-1)
    mean, deviation = target("bond")
    # 2,000 bonds, independent from molecule to molecule at least: 4 standard errors of 1,000
    assert abs(lengths.mean() - mean) < 4 * deviation / np.sqrt(1000)


def test_hexane_angles_have_the_mean_of_the_long_run(hexane):
    first, centre, last = hexane.positions.reshape(-1, 3, 3).astype(np.float64).transpose(1, 0, 2)
    one, other = first - centre, last - centre
    cosine = np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    mean, deviation = target("angle")
    assert abs(np.arccos(cosine).mean() - mean) < 4 * deviation / np.sqrt(1000)
