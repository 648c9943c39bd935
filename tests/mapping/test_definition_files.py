"""Definitions in files of their own mean what they mean in a configuration, and wrong ones name file and key."""

from pathlib import Path

import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.definition_files import read_definitions
from beadsmith.mapping.formats import read_mapping_files
from beadsmith.mapping.settings import BeadDefinition, MoleculeBeads
from example_references import build_capped_alanine

ALANINE = """\
definitions:
  - name: ALA
    beads:
      - {name: BB, atoms: [N, H, CA, HA, C, O], factors: [1, 1, 2, 1, 1, 1], mass: 56.05 u}
      - {name: SC, atoms: [CB, HB1], weights: geometry, type: P1}
    bonds: [[BB, SC]]
  - name: XYZ
    beads: [{name: A, atoms: [A]}]
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "beads.yaml"
    path.write_text(text)
    return read_mapping_files((str(path),), build_capped_alanine())


def test_a_file_of_definitions_gives_those_that_fit(tmp_path):
    expected = MoleculeBeads(
        name="ALA",
        beads=(
            BeadDefinition(
                name="BB", atoms=("N", "H", "CA", "HA", "C", "O"), factors=(1.0, 1.0, 2.0, 1.0, 1.0, 1.0), mass=56.05
            ),
            BeadDefinition(name="SC", atoms=("CB", "HB1"), weights="geometry", type="P1"),
        ),
        bonds=(("BB", "SC"),),
    )
    assert read(tmp_path, ALANINE) == (expected,)


def test_impropers_are_read():
    beads = [{"name": name, "atoms": [name]} for name in ("N", "CA", "C", "CB")]
    (found,) = read_definitions({"definitions": [{"name": "R", "beads": beads, "impropers": [["N", "CA", "C", "CB"]]}]})
    assert found.impropers == (("N", "CA", "C", "CB"),)


BEAD = "{name: A, atoms: [CA]}"
WRONG = {
    "neither format": ("beads: []", "neither 'definitions' nor the 'site-types'"),
    "a second key": ("definitions: []\nomit: [HOH]", "the file has the key 'omit', expected definitions"),
    "no list": ("definitions: ALA", "'definitions' is 'ALA', expected a list"),
    "no name": ("definitions: [{beads: []}]", "a definition is .* expected a section of keys with a 'name'"),
    "an unknown key": (f"definitions: [{{name: ALA, bead: [{BEAD}]}}]", "'ALA' has the key 'bead', expected name"),
    "an unknown key of a bead": ("definitions: [{name: ALA, beads: [{name: A, atom: CA}]}]", "has the key 'atom'"),
    "no atoms": ("definitions: [{name: ALA, beads: [{name: A}]}]", "'atoms' of 'A' of 'ALA' are missing"),
    "a number as type": (
        "definitions: [{name: ALA, beads: [{name: A, atoms: [CA], type: 1}]}]",
        "'type' of 'A' of 'ALA' is 1, expected text",
    ),
    "other weights": (
        "definitions: [{name: ALA, beads: [{name: A, atoms: [CA], weights: com}]}]",
        "'weights' of 'A' of 'ALA' is 'com', expected mass, geometry, atom",
    ),
    "a factor that is no number": (
        "definitions: [{name: ALA, beads: [{name: A, atoms: [CA], factors: [.nan]}]}]",
        "'factors' of 'A' of 'ALA' is nan, expected numbers",
    ),
    "a mass without unit": (
        "definitions: [{name: ALA, beads: [{name: A, atoms: [CA], mass: 12.0}]}]",
        "'mass' of 'A' of 'ALA' is 12.0, expected a number with its unit",
    ),
    "a bond of three": (
        f"definitions: [{{name: ALA, beads: [{BEAD}], bonds: [[A, A, A]]}}]",
        "'bonds' of 'ALA' hold .* expected 2 beads each",
    ),
    "a bead of no molecule": (f"definitions: [{{name: XYZ, beads: [{BEAD}]}}]", "the file gives beads to XYZ"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_by_name(case, tmp_path):
    text, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "beads.yaml" in str(caught.value)
