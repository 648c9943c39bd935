"""Peptide schemes on a real protein: the beads, bonds and types that its sequence asks for.

Data: MDAnalysis, posfor.top: 29 residues with 8 cysteines, one proline, two glycines, no caps.
"""

import os
from pathlib import Path

import pytest

from beadsmith.errors import InputError
from beadsmith.importing.run import survey_reference
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.mapping.apply import find_templates
from beadsmith.mapping.coverage import describe_coverage
from beadsmith.mapping.settings import MappingSettings
from beadsmith.trajectory import StatePoint

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def topology():
    folder = DATA / "netcdf-aa-mdanalysis"
    if not folder.is_dir():
        pytest.skip(f"no external data at '{folder}' (set BEADSMITH_DATA)")
    settings = ReferenceSettings(
        files=(str(folder / "posfor.ncdf"),), topology=str(folder / "posfor.top"), constraints="h_bonds"
    )
    return survey_reference(settings, StatePoint(temperature=300.0)).topology


# scheme, beads, bonds, impropers: proline's ring adds a bond from N to CB, and glycine has no CB
SCHEMES = {
    "alpha_carbon": (29, 28, 0),
    "backbone": (3 * 29, 3 * 29 - 1, 0),
    "backbone_cb": (4 * 29 - 2, 4 * 29 - 2, 27),
    "core_cbeta": (5 * 29 - 2, 5 * 29 - 2, 27),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scheme_gives_the_beads_of_the_sequence(topology, scheme):
    (template,) = find_templates(topology, MappingSettings(beads=scheme))
    n_beads, n_bonds, n_impropers = SCHEMES[scheme]
    assert template.n_beads == n_beads
    assert len(template.bonds) == n_bonds
    assert len(template.impropers) == n_impropers


def test_alpha_carbons_are_a_chain_of_one_type_per_amino_acid(topology):
    (template,) = find_templates(topology, MappingSettings(beads="alpha_carbon"))
    assert template.bonds.tolist() == [[k, k + 1] for k in range(28)]
    assert template.type_names == topology.residue_names
    (molecule,) = describe_coverage(topology, (template,))["molecules"]
    assert len(molecule["in_no_bead"]) == topology.n_sites - 29


def test_ends_heavier_than_the_same_residue_inside_are_refused_until_they_have_types(topology):
    with pytest.raises(InputError, match=r"beads of type 'ARG' have the masses 159\.22 u") as error:
        find_templates(topology, MappingSettings(beads="residue"))
    assert "terminal_types" in str(error.value)
    (template,) = find_templates(topology, MappingSettings(beads="residue", terminal_types=True))
    assert template.type_names[:2] == ("NARG", "VAL")
    assert template.type_names[-1] == "CGLY"
    assert template.masses.sum() == pytest.approx(topology.total_mass)
