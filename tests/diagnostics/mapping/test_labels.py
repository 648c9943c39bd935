"""Which beads share a label of the smallest set, as the verdict on labels names them."""

import pytest

from beadsmith.diagnostics.mapping.knowledge import ModelSettings, describe_model
from beadsmith.diagnostics.mapping.labels import check_labels, describe_shared_labels
from beadsmith.diagnostics.mapping.molecules import survey_molecule
from beadsmith.topology import group_equal_molecules
from example_maps import make_capped, make_liquid


@pytest.mark.parametrize(
    ("beads", "labels", "expected"),
    [
        (("1:HEX:C1", "1:HEX:C2", "1:HEX:C3", "1:HEX:C4"), (0, 1, 1, 0), "C1=C4, C2=C3"),
        (("1:ACE:C", "2:ALA:N", "2:ALA:CA", "2:ALA:C"), (0, 1, 2, 0), "1:C=2:C"),
        (("1:HEX:A", "1:HEX:A", "1:HEX:B"), (3, 3, 5), "A#1=A#2"),
        (("1:HEX:A", "1:HEX:B"), (0, 1), ""),
        (tuple(f"1:X:B{k}" for k in range(16)), tuple(k // 2 for k in range(16)), "B10=B11 and more"),
    ],
)
def test_beads_that_share_a_label_are_named_by_the_shortest_names_that_tell_them_apart(beads, labels, expected):
    assert describe_shared_labels(beads, labels).endswith(expected)


def test_the_verdict_names_them():
    trajectory = make_liquid("AAAA", bond=0.153, n_molecules=4)
    (kind,) = group_equal_molecules(trajectory.topology)
    survey = survey_molecule(trajectory, trajectory.positions, kind, {})
    (verdict,) = check_labels((survey,), describe_model(ModelSettings()))
    assert "2 labels (A#1=A#4, A#2=A#3) would remove all" in verdict.check.meaning
    alanine = make_capped("core_beta_map2", n_frames=20)
    (kind,) = group_equal_molecules(alanine.topology)
    survey = survey_molecule(alanine, alanine.positions, kind, {})
    assert "6 labels would remove all" in check_labels((survey,), describe_model(ModelSettings()))[0].check.meaning
