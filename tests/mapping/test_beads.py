"""Beads sit where their scheme says, in the order of the molecules."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.beads import BeadTemplate, center_of_mass, describe_beads, place_beads, repeat_weights
from beadsmith.topology import MoleculeKind
from example_references import ALCOHOL, DIMER, build_topology

MIXTURE = build_topology(DIMER, ALCOHOL, DIMER, ALCOHOL)


def two_bead_template(molecules):
    """Return a scheme with two beads and two residues per molecule of three atoms."""
    return BeadTemplate(
        molecules=molecules,
        position_weights=np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        members=np.array([[True, False, False], [False, True, True]]),
        rigid_groups=np.array([0, 1, 1]),
        names=("head", "tail"),
        type_names=("P", "Q"),
        masses=np.array([15.0, 17.0]),
        residue_index=np.array([0, 1]),
        residue_names=("R1", "R2"),
    )


def test_center_of_mass_weights_are_mass_fractions():
    dimer, alcohol = center_of_mass(MIXTURE)
    np.testing.assert_allclose(dimer.position_weights, [[0.75, 0.25]], rtol=1e-15)
    np.testing.assert_allclose(alcohol.position_weights, [[15 / 32, 16 / 32, 1 / 32]], rtol=1e-15)


def test_bead_is_named_after_its_molecule_and_has_its_mass():
    beads = describe_beads(center_of_mass(MIXTURE))
    assert beads.names == ("dimer", "alcohol", "dimer", "alcohol")
    assert beads.type_names == ("dimer", "alcohol")
    assert beads.residue_names == beads.names
    np.testing.assert_array_equal(beads.masses, [16.0, 32.0, 16.0, 32.0])
    np.testing.assert_array_equal(beads.molecule_index, [0, 1, 2, 3])


def test_map_of_interleaved_kinds_reads_each_molecules_own_atoms():
    templates = center_of_mass(MIXTURE)
    matrix = repeat_weights(templates, tuple(t.position_weights for t in templates), n_atoms=10).matrix.toarray()
    owner = np.zeros((4, 10))
    owner[MIXTURE.molecule_index, np.arange(10)] = MIXTURE.masses
    np.testing.assert_allclose(matrix, owner / owner.sum(axis=1, keepdims=True), rtol=1e-15)


def test_beads_of_molecules_with_several_beads_stay_together():
    first, second = (
        MoleculeKind(name="x", sites=np.array([[0, 1, 2], [4, 5, 6]])),
        center_of_mass(build_topology(DIMER)),
    )
    single = BeadTemplate(**{**vars(second[0]), "molecules": MoleculeKind(name="y", sites=np.array([[3], [7]]))})
    templates = (two_bead_template(first), single)
    assert [beads.tolist() for beads in place_beads(templates)] == [[[0, 1], [3, 4]], [[2], [5]]]
    topology = describe_beads(templates)
    assert topology.names == ("head", "tail", "dimer", "head", "tail", "dimer")
    assert topology.residue_names == ("R1", "R2", "dimer", "R1", "R2", "dimer")
    np.testing.assert_array_equal(topology.molecule_index, [0, 0, 1, 2, 2, 3])
    np.testing.assert_array_equal(topology.residue_index, [0, 1, 2, 3, 4, 5])


def test_different_molecules_of_one_name_are_refused():
    other = ("dimer", ("B", "A"), (4.0, 12.0), ((0, 1),), ())
    with pytest.raises(InputError, match="both named 'dimer' but differ"):
        center_of_mass(build_topology(DIMER, other))
