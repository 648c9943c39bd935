"""Definitions by name become the beads, masses, types and bonds that they say, and wrong ones are refused."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.beads import describe_beads
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from example_references import ALCOHOL, DIMER, build_capped_alanine, build_topology

ALANINE = build_capped_alanine()


def bead(name, *atoms, **fields):
    return BeadDefinition(name=name, atoms=atoms, **fields)


def residue(name, *beads, **fields):
    return MoleculeBeads(name=name, beads=beads, **fields)


def template_of(topology, *definitions, **settings):
    """Return the only template."""
    (template,) = build_templates(topology, MappingSettings(definitions=definitions, **settings))
    return template


def describe(topology, *definitions, **settings):
    return describe_beads(build_templates(topology, MappingSettings(definitions=definitions, **settings)))


def terms(array):
    return [tuple(row) for row in array.tolist()]


def test_five_beads_of_capped_alanine_lie_on_the_backbone():
    template = template_of(ALANINE, beads="backbone")
    assert template.names == ("C", "N", "CA", "C", "N")
    assert template.type_names == ("ACE", "ALA_N", "ALA_CA", "ALA_C", "NME")
    assert np.argmax(template.position_weights, axis=1).tolist() == [4, 6, 8, 14, 16]
    np.testing.assert_allclose(template.masses, [12.011, 14.007, 12.011, 12.011, 14.007])
    assert terms(template.bonds) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert terms(template.angles) == [(0, 1, 2), (1, 2, 3), (2, 3, 4)]
    assert terms(template.dihedrals) == [(0, 1, 2, 3), (1, 2, 3, 4)]
    assert terms(template.impropers) == []


def test_six_beads_of_capped_alanine_have_the_side_chain_and_its_handedness():
    template = template_of(ALANINE, beads="backbone_cb")
    assert template.names == ("C", "N", "CA", "CB", "C", "N")
    assert terms(template.bonds) == [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)]
    assert terms(template.angles) == [(0, 1, 2), (1, 2, 3), (1, 2, 4), (3, 2, 4), (2, 4, 5)]
    # N, CA, C, CB
    assert terms(template.impropers) == [(1, 2, 4, 3)]


def test_core_and_c_beta_adds_the_oxygens():
    template = template_of(ALANINE, beads="core_cbeta")
    assert template.names == ("C", "O", "N", "CA", "CB", "C", "O", "N")


def test_alpha_carbons_are_bonded_through_the_atoms_between_them():
    chain = ("x", ("N", "CA", "C") * 3, (14.0, 12.0, 12.0) * 3, tuple((i, i + 1) for i in range(8)), ())
    peptide = replace(build_topology(chain), residue_index=np.repeat([0, 1, 2], 3), residue_names=("GLY", "SER", "GLY"))
    template = template_of(peptide, beads="alpha_carbon")
    assert template.type_names == ("GLY", "SER", "GLY")
    assert terms(template.bonds) == [(0, 1), (1, 2)]


def test_caps_have_no_alpha_carbon():
    beads = describe(ALANINE, beads="alpha_carbon")
    assert (beads.names, beads.residue_index.tolist(), beads.residue_names) == (("CA",), [1], ("ACE", "ALA", "NME"))


def test_one_bead_per_residue_is_at_its_centre_of_mass():
    template = template_of(ALANINE, beads="residue")
    assert template.names == template.type_names == ("ACE", "ALA", "NME")
    np.testing.assert_allclose(template.masses.sum(), ALANINE.total_mass)
    np.testing.assert_allclose(template.position_weights[2, 16:], ALANINE.masses[16:] / template.masses[2])
    assert terms(template.bonds) == [(0, 1), (1, 2)]


def test_atoms_of_one_name_share_a_residue_bead():
    water = ("water", ("O", "H", "H"), (16.0, 1.0, 1.0), ((0, 1), (0, 2)), ())
    template = template_of(build_topology(water), beads="residue")
    np.testing.assert_allclose(template.position_weights, [[16 / 18, 1 / 18, 1 / 18]])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [("mass", [15 / 32, 16 / 32, 1 / 32]), ("geometry", [1 / 3, 1 / 3, 1 / 3]), ("atom", [1.0, 0.0, 0.0])],
)
def test_position_weights_follow_mass_geometry_or_the_first_atom(weights, expected):
    template = template_of(build_topology(ALCOHOL), residue("alcohol", bead("X", "C", "O", "H", weights=weights)))
    np.testing.assert_allclose(template.position_weights, [expected], rtol=1e-15)
    assert template.members.all()
    np.testing.assert_allclose(template.masses, [32.0])


def test_factors_multiply_masses_and_are_the_weights_of_a_geometry():
    molecule = build_topology(ALCOHOL)
    shared = residue("alcohol", bead("A", "C", "O", factors=(1.0, 0.25)), bead("B", "O", "H", factors=(0.75, 1.0)))
    template = template_of(molecule, shared)
    np.testing.assert_allclose(template.position_weights, [[15 / 19, 4 / 19, 0], [0, 12 / 13, 1 / 13]])
    # the oxygen is shared out in the same proportion
    np.testing.assert_allclose(template.masses, [19.0, 13.0])
    geometry = residue("alcohol", bead("A", "C", "O", "H", weights="geometry", factors=(12.0, 16.0, 0.0)))
    np.testing.assert_allclose(template_of(molecule, geometry).position_weights, [[12 / 28, 16 / 28, 0]])


def test_stated_mass_type_and_bonds_are_taken():
    beads = (bead("A", "C", mass=72.0, type="P1"), bead("B", "O"), bead("D", "H"))
    template = template_of(build_topology(ALCOHOL), residue("alcohol", *beads, bonds=(("A", "D"),)))
    np.testing.assert_array_equal(template.masses, [72.0, 16.0, 1.0])
    assert template.type_names == ("P1", "alcohol_B", "alcohol_D")
    assert terms(template.bonds) == [(0, 2)]


def test_definition_of_the_molecule_comes_before_those_of_its_residues():
    whole = residue("ACE-ALA-NME", bead("X", "1:ACE:CH3", "3:NME:CH3"), bead("Y", "ALA:CA", "#11"))
    template = template_of(ALANINE, whole, residue("ALA", bead("B", "CB")), beads="backbone")
    assert template.names == ("X", "Y")
    assert np.flatnonzero(template.members[0]).tolist() == [1, 18]
    assert np.flatnonzero(template.members[1]).tolist() == [8, 10]


def test_residues_without_a_definition_follow_the_scheme():
    template = template_of(ALANINE, residue("ALA", bead("SC", "CB", "HB1", "HB2", "HB3")), beads="backbone")
    assert template.names == ("C", "SC", "N")
    assert template.type_names == ("ACE", "ALA", "NME")
    assert terms(template.bonds) == [(0, 1), (1, 2)]


def test_omitted_residues_have_no_bead():
    mixture = build_topology(DIMER, ALCOHOL, DIMER)
    assert describe(mixture, omit=("dimer",)).names == ("alcohol",)
    assert template_of(ALANINE, beads="residue", omit=("ACE",)).names == ("ALA", "NME")


def test_terminal_residues_can_have_types_of_their_own():
    assert template_of(ALANINE, beads="residue", terminal_types=True).type_names == ("NACE", "ALA", "CNME")


def test_types_by_name_alone_are_shared_by_residues():
    assert template_of(ALANINE, beads="backbone", types="name").type_names == ("C", "N", "CA", "C", "N")


def test_standard_masses_undo_heavy_hydrogens():
    heavy = replace(ALANINE, masses=np.where(ALANINE.masses < 2.0, 3.024, ALANINE.masses - 1.0))
    template = template_of(heavy, beads="backbone", masses="standard")
    np.testing.assert_allclose(template.masses, [12.011, 14.007, 12.011, 12.011, 14.007])


def test_equal_molecules_share_a_template():
    template = template_of(build_capped_alanine(n_molecules=3), beads="backbone")
    assert template.molecules.n_molecules == 3
    beads = describe(build_capped_alanine(n_molecules=3), beads="backbone")
    assert terms(beads.bonds)[4:6] == [(5, 6), (6, 7)]


WRONG = {
    "unknown residue": ((residue("GLY", bead("X", "CA")),), {}, "names? 'GLY', which is neither a residue"),
    "unknown atom": ((residue("ALA", bead("X", "CG")),), {}, "names atom 'CG', which is not in molecule"),
    "ambiguous atom": (
        (residue("ACE-ALA-NME", bead("X", "CH3")),),
        {},
        "'CH3', which stands for 2 atoms of molecule 'ACE-ALA-NME'",
    ),
    "one atom twice": ((residue("ALA", bead("X", "CA", "ALA:CA")),), {}, "bead 'X' of 'ALA' names an atom twice"),
    "number beyond the molecule": ((residue("ALA", bead("X", "#23")),), {}, "'#23', which is not in molecule"),
    "no bead at all": ((), {"omit": ("ACE-ALA-NME",)}, "gives no bead to any of the residues ACE, ALA, NME"),
    "unknown omitted residue": ((), {"omit": ("HOH",)}, "omit name 'HOH', which is neither"),
}


@pytest.mark.parametrize("case", WRONG)
def test_definitions_that_do_not_fit_are_refused(case):
    definitions, settings, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        build_templates(ALANINE, MappingSettings(**{"beads": "backbone", "definitions": definitions, **settings}))


def test_residue_left_without_beads_by_the_default_scheme_is_refused():
    with pytest.raises(InputError, match="some residues of molecule 'ACE-ALA-NME' but not 'ACE'"):
        template_of(ALANINE, residue("ALA", bead("X", "CA")))


def test_several_beads_without_any_bond_are_refused():
    loose = ("alcohol", ALCOHOL[1], ALCOHOL[2], (), ())
    beads = (bead("A", "C"), bead("B", "O", "H"))
    with pytest.raises(InputError, match="the reference has no bonds to derive theirs from"):
        template_of(build_topology(loose), residue("alcohol", *beads))
    stated = template_of(build_topology(loose), residue("alcohol", *beads, bonds=(("A", "B"),)))
    assert terms(stated.bonds) == [(0, 1)]


def test_one_type_of_two_masses_is_refused():
    beads = (bead("A", "C", type="X"), bead("B", "O", type="X"))
    with pytest.raises(InputError, match=r"type 'X' have the masses 15 u \('A' of residue 1, 'alcohol'\) and 16 u"):
        template_of(build_topology(ALCOHOL), residue("alcohol", *beads))


def test_standard_masses_need_elements():
    with pytest.raises(InputError, match="does not say which elements"):
        template_of(build_capped_alanine(elements=False), beads="backbone", masses="standard")
