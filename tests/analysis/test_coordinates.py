"""Which coordinates a molecule has: by its nature, by its bonds, and by the user's names."""

import numpy as np
import pytest

from beadsmith.analysis.coordinates import (
    default_basins,
    find_bonded_coordinates,
    find_peptide_coordinates,
    find_shape_coordinates,
    is_inside,
    native_coordinates,
    resolve_coordinate,
)
from beadsmith.analysis.definitions import (
    BasinDefinition,
    CoordinateDefinition,
    CoordinateRange,
    MoleculeSettings,
    NativeSettings,
    SlowModeSettings,
    SurfaceDefinition,
)
from beadsmith.errors import InputError
from beadsmith.topology import group_equal_molecules
from example_molecules import make_backbone, make_topology

TWO_RESIDUES = (("C", "N", "CA", "C", "N", "CA", "C", "N"), (0, 1, 1, 1, 2, 2, 2, 3), ("ACE", "ALA", "GLY", "NME"))
CARBONS = (("CA",) * 6, tuple(range(6)), ("TYR", "ASP", "PRO", "GLU", "THR", "GLY"))


def kind_of(topology):
    (kind,) = group_equal_molecules(topology)
    return kind


def names_of(found):
    return [entry.name for entry in found]


def test_capped_alanine_has_phi_and_psi_with_their_values():
    topology = make_topology()
    found = find_peptide_coordinates(topology, kind_of(topology))
    assert names_of(found) == ["phi", "psi"]
    positions = make_backbone([-70.0, -120.0], [-40.0, 130.0])
    np.testing.assert_allclose(found[0].compute(positions)[:, 0], [-70.0, -120.0], atol=1e-9)
    np.testing.assert_allclose(found[1].compute(positions)[:, 0], [-40.0, 130.0], atol=1e-9)


def test_several_residues_are_numbered_within_the_molecule():
    topology = make_topology(*TWO_RESIDUES)
    assert names_of(find_peptide_coordinates(topology, kind_of(topology))) == ["phi 2", "phi 3", "psi 2", "psi 3"]


def test_a_side_chain_bead_gives_the_chirality():
    topology = make_topology(("C", "N", "CA", "CB", "C", "N"), (0, 1, 1, 1, 1, 2), ("ACE", "ALA", "NME"))
    assert names_of(find_peptide_coordinates(topology, kind_of(topology))) == ["phi", "psi", "chirality"]


def test_a_chain_of_alpha_carbons_has_dihedrals_angles_and_shape():
    topology = make_topology(*CARBONS)
    found = names_of(find_peptide_coordinates(topology, kind_of(topology)))
    assert found[:3] == ["CA dihedral 1-4", "CA dihedral 2-5", "CA dihedral 3-6"]
    assert found[3:] == ["CA angle 1-3", "CA angle 2-4", "CA angle 3-5", "CA angle 4-6"]
    shape = find_shape_coordinates(topology, kind_of(topology))
    assert names_of(shape) == ["radius of gyration", "end to end", "helicity", "handedness"]


def test_a_dimer_has_its_bond_and_nothing_else():
    topology = make_topology(("A", "B"), (0, 0), ("AB",), copies=3)
    kind = kind_of(topology)
    assert find_peptide_coordinates(topology, kind) == ()
    assert find_shape_coordinates(topology, kind) == ()
    (bond,) = find_bonded_coordinates(topology, kind)
    assert bond.name == "bond A-B"
    positions = np.zeros((1, 6, 3))
    positions[0, 1::2, 0] = [0.1, 0.2, 0.3]
    np.testing.assert_allclose(bond.compute(positions), [[0.1, 0.2, 0.3]])


def test_bonded_terms_of_equal_types_are_one_distribution_in_either_direction():
    topology = make_topology(copies=2)
    found = find_bonded_coordinates(topology, kind_of(topology))
    assert names_of(found) == [
        "bond C-N",
        "bond CA-N",
        "bond C-CA",
        "angle C-N-CA",
        "angle C-CA-N",
        "angle CA-C-N",
        "dihedral C-CA-N-C",
        "dihedral N-C-CA-N",
    ]
    positions = np.concatenate([make_backbone([-70.0], [-40.0])] * 2, axis=1)
    # two C-N bonds in each of two copies
    assert found[0].compute(positions).shape == (1, 4)
    np.testing.assert_allclose(found[0].compute(positions), 0.145, atol=1e-9)
    np.testing.assert_allclose(found[6].compute(positions), -70.0, atol=1e-9)


@pytest.mark.parametrize("text", ["CA", "2:CA", "ALA:CA"])
def test_sites_are_named_by_name_residue_number_or_residue_name(text):
    topology = make_topology(copies=2)
    definition = CoordinateDefinition(name="d", kind="distance", sites=("ACE:C", text))
    found = resolve_coordinate(definition, topology, kind_of(topology))
    positions = np.concatenate([make_backbone([-70.0], [-40.0])] * 2, axis=1)
    expected = np.linalg.norm(positions[0, 2] - positions[0, 0])
    np.testing.assert_allclose(found.compute(positions), [[expected, expected]])


@pytest.mark.parametrize(
    ("text", "problem"), [("CB", "names no site"), ("N", "names 2 sites"), ("4:N", "names no site")]
)
def test_a_site_that_is_missing_or_ambiguous_is_refused_with_the_list_of_sites(text, problem):
    topology = make_topology()
    definition = CoordinateDefinition(name="d", kind="distance", sites=("CA", text))
    with pytest.raises(InputError, match=problem) as caught:
        resolve_coordinate(definition, topology, kind_of(topology))
    assert "1:C, 2:N, 2:CA, 2:C, 3:N" in caught.value.fix


def test_rmsd_and_contacts_are_zero_and_whole_in_the_native_structure():
    topology = make_topology(*CARBONS)
    generator = np.random.default_rng(0)
    structure = np.cumsum(generator.normal(0.0, 0.2, (6, 3)), axis=0)
    settings = NativeSettings(contact_distance=10.0)
    rmsd, contacts = native_coordinates(structure, settings, topology, kind_of(topology))
    frames = np.stack([structure + 5.0, 100.0 * structure])
    assert rmsd.compute(frames)[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert rmsd.compute(frames)[1, 0] > 1.0
    assert contacts.compute(frames)[1, 0] == pytest.approx(0.0, abs=1e-6)
    # a contact of r0 counts 1/(1 + exp(-50 · 0.2 r0)): the three pairs at least three residues apart are six
    pairs = [(i, j) for i in range(6) for j in range(i + 3, 6)]
    native = np.array([np.linalg.norm(structure[i] - structure[j]) for i, j in pairs])
    assert contacts.compute(frames)[0, 0] == pytest.approx(np.mean(1.0 / (1.0 + np.exp(-10.0 * native))))


def test_a_structure_without_contacts_has_an_rmsd_alone():
    topology = make_topology()
    structure = make_backbone([-70.0], [-40.0])[0]
    found = native_coordinates(structure, NativeSettings(), topology, kind_of(topology))
    assert names_of(found) == ["RMSD"]


def test_default_basins_divide_the_circle_without_gap_or_overlap():
    topology = make_topology()
    coordinates = find_peptide_coordinates(topology, kind_of(topology))
    basins = default_basins(coordinates)
    assert [basin.name for basin in basins] == ["beta/PII", "alphaR", "phi > 0"]
    grid = np.linspace(-180.0, 180.0, 73)
    values = dict(zip(("phi", "psi"), np.meshgrid(grid, grid), strict=True))
    inside = [
        np.logical_and.reduce(
            [is_inside(limits, values[limits.coordinate], is_periodic=True) for limits in basin.ranges]
        )
        for basin in basins
    ]
    np.testing.assert_array_equal(np.sum(inside, axis=0), 1)


@pytest.mark.parametrize(
    ("start", "end", "inside", "outside"),
    [
        (60.0, -120.0, (60.0, 179.0, 180.0, -180.0, -121.0), (-120.0, 0.0, 59.0)),
        (-30.0, 30.0, (-30.0, 0.0, 29.0), (30.0, 180.0, -31.0)),
        (-180.0, 180.0, (-180.0, 0.0, 180.0), ()),
        (150.0, 210.0, (150.0, 180.0, -170.0), (-150.0, 149.0)),
    ],
)
def test_periodic_ranges_run_upwards_from_their_start(start, end, inside, outside):
    limits = CoordinateRange(coordinate="phi", start=start, end=end)
    assert is_inside(limits, np.array(inside), is_periodic=True).all()
    assert not is_inside(limits, np.array(outside), is_periodic=True).any()


def test_ranges_of_distances_do_not_wrap():
    limits = CoordinateRange(coordinate="d", start=0.5, end=0.7)
    np.testing.assert_array_equal(
        is_inside(limits, np.array([0.4, 0.5, 0.69, 0.7, 360.6]), is_periodic=False), [False, True, True, False, False]
    )


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: CoordinateDefinition(name="omega", kind="dihedral", sites=("N", "CA")), "has 2 entries, expected 4"),
        (lambda: CoordinateDefinition(name=" ", kind="distance", sites=("N", "CA")), "'name' of a coordinate is empty"),
        (lambda: SurfaceDefinition(x="phi", y="phi"), "on both axes"),
        (lambda: BasinDefinition(name="a", ranges=()), "expected at least one"),
        (lambda: NativeSettings(frame=-1), "'frame' is -1"),
        (lambda: NativeSettings(contact_distance=0.0), "'contact_distance' is 0.0 nm"),
        (lambda: NativeSettings(separation=0), "'separation' is 0"),
        (lambda: SlowModeSettings(lag=0.0), "'lag' is 0.0 ps"),
        (lambda: SlowModeSettings(n_states=1), "'n_states' is 1"),
        (lambda: MoleculeSettings(n_curve_bins=1), "must be at least 2"),
        (
            lambda: MoleculeSettings(
                coordinates=(CoordinateDefinition(name="a", kind="distance", sites=("N", "C")),) * 2
            ),
            "two 'coordinates'",
        ),
    ],
)
def test_definitions_that_make_no_sense_are_refused(make, problem):
    with pytest.raises(InputError, match=problem):
        make()
