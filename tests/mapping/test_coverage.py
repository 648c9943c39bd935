"""The coverage names every atom that no bead takes."""

import pytest

from beadsmith.mapping.coverage import N_NAMED, describe_coverage, shorten_name, summarize_left_out
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from example_references import ALCOHOL, DIMER, build_capped_alanine, build_topology


def coverage_of(topology, **settings):
    return describe_coverage(topology, build_templates(topology, MappingSettings(**settings)))


def test_centres_of_mass_leave_no_atom_out():
    (dimer, alcohol), mass = coverage_of(build_topology(DIMER, ALCOHOL, DIMER)).values()
    assert mass == 1.0
    assert (dimer["count"], dimer["in_no_bead"], alcohol["in_several_beads"]) == (2, [], [])


def test_atoms_in_no_bead_are_named_with_their_residue():
    found = coverage_of(build_capped_alanine(n_molecules=2), beads="backbone")
    (molecule,) = found["molecules"]
    assert molecule["n_beads"] == 5
    assert len(molecule["in_no_bead"]) == 17
    assert {"1:ACE:CH3", "2:ALA:CB", "3:NME:HH33"} <= set(molecule["in_no_bead"])
    backbone, whole = 3 * 12.011 + 2 * 14.007, 6 * 12.011 + 2 * 14.007 + 2 * 15.999 + 12 * 1.008
    assert found["mass_fraction"] == pytest.approx(backbone / whole)


def test_molecules_without_beads_are_listed():
    dimer, _ = coverage_of(build_topology(DIMER, ALCOHOL), omit=("dimer",))["molecules"]
    assert (dimer["n_beads"], dimer["in_no_bead"]) == (0, ["1:dimer:A", "1:dimer:B"])


def test_shared_atoms_are_named():
    beads = (BeadDefinition(name="X", atoms=("C", "O")), BeadDefinition(name="Y", atoms=("O", "H")))
    definitions = (MoleculeBeads(name="alcohol", beads=beads),)
    (molecule,) = coverage_of(build_topology(ALCOHOL), definitions=definitions)["molecules"]
    assert molecule["in_several_beads"] == ["1:alcohol:O"]


def test_long_lists_are_cut_and_counted():
    molecule = {"name": "-".join(["ALA"] * 30), "in_no_bead": [f"1:ALA:X{k}" for k in range(N_NAMED + 5)]}
    text = summarize_left_out(molecule)
    assert text.startswith("1:ALA:X0, 1:ALA:X1")
    assert text.endswith(f"X{N_NAMED - 1} and 5 more")
    assert shorten_name(molecule).endswith("...")
    assert shorten_name({"name": "ACE-ALA-NME"}) == "ACE-ALA-NME"
