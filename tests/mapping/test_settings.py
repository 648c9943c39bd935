"""Beads that cannot be are refused where they are written down."""

import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads

A, B = (BeadDefinition(name=name, atoms=(name,)) for name in "AB")

WRONG_BEADS = {
    "no atoms": ({"atoms": ()}, "needs a name and at least one entry in 'atoms'"),
    "no name": ({"name": ""}, "needs a name"),
    "an atom twice": ({"atoms": ("C", "C")}, "atoms of bead 'X' name 'C' twice"),
    "factors of other atoms": ({"factors": (1.0,)}, "are 1 for 2 atoms"),
    "a negative factor": ({"factors": (1.0, -0.5)}, "expected none negative"),
    "factors of nothing": ({"factors": (0.0, 0.0)}, "not all 0"),
    "a factor that is no number": ({"factors": (1.0, float("nan"))}, "expected none negative"),
    "factors that do nothing": ({"factors": (1.0, 1.0), "weights": "atom"}, "have no meaning"),
    "no mass": ({"mass": 0.0}, "mass of bead 'X' is 0.0 u"),
}


@pytest.mark.parametrize("case", WRONG_BEADS)
def test_impossible_bead_is_refused(case):
    wrong, message = WRONG_BEADS[case]
    with pytest.raises(InputError, match=message):
        BeadDefinition(**{"name": "X", "atoms": ("C", "O"), **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beads": ()}, "beads of 'R' are missing"),
        ({"beads": (A, A)}, "have the name 'A' twice"),
        ({"bonds": (("A", "Z"),)}, "bonds of 'R' hold"),
        ({"bonds": (("A", "A"),)}, "expected different beads"),
        ({"impropers": (("A", "B", "A", "B"),)}, "impropers of 'R' hold"),
    ],
)
def test_impossible_definition_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        MoleculeBeads(**{"name": "R", "beads": (A, B), **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"definitions": (MoleculeBeads(name="R", beads=(A,)),) * 2}, "name 'R' twice"),
        ({"definitions": (MoleculeBeads(name="R", beads=(A,)),), "omit": ("R",)}, "'R', which has a definition"),
        ({"noise_width": 0.0}, "noise_width is 0.0 nm"),
        ({"noise_seed": -1}, "noise_seed is -1"),
    ],
)
def test_contradicting_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        MappingSettings(**wrong)
