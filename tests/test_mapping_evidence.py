"""The committed evidence on maps: every map has its row, and the figures are those that the guide states."""

import pytest
from benchmarks.accuracy import mapping_proofs, mapping_verdicts

from beadsmith.io.records import read_json

VERDICTS, PROOFS = read_json(mapping_verdicts.OUTPUT), read_json(mapping_proofs.OUTPUT)
HANDED = {
    "core, O(3), sines",
    "core, SO(3), tensors, three layers",
    "core beta map 2, O(3)",
    "core beta map 2, O(3), signed improper",
}


@pytest.mark.parametrize("reference", list(mapping_verdicts.EXPECTED))
def test_every_map_of_the_examples_that_fits_a_reference_has_a_verdict_as_expected(reference):
    folder = mapping_verdicts.EXAMPLES / ("hexane" if reference == "hexane" else "peptides") / "maps"
    for name, expected in mapping_verdicts.EXPECTED[reference].items():
        assert (folder / f"{name}.yaml").is_file()
        row = VERDICTS[f"{reference}, {name}"]
        assert expected is None or row["expected"]["is_met"], f"{reference}, {name}"


def test_peptides_were_judged_on_more_than_ten_thousand_frames_within_half_a_minute():
    assert all(
        row["n_used"] >= 10_000 and row["wall_time"] < 30.0
        for name, row in VERDICTS.items()
        if name.startswith("capped")
    )


def test_every_proof_has_its_row():
    assert set(PROOFS) == set(mapping_proofs.ROWS)


def test_bonds_switch_where_nothing_holds_them_and_never_where_the_prior_does():
    free, held = (PROOFS[name]["bonds"] for name in ("two-site, no bonds in the prior", "two-site, harmonic bonds"))
    assert free["network"]["switched_early"] > 0.0
    assert held["network"]["switched"] == held["reference"]["switched"] == 0.0


def test_a_map_without_a_hand_shows_both_and_remedies_halve_the_distance_from_the_reference():
    blind = PROOFS["core, O(3)"]
    assert blind["phi_positive"]["network"]["value"] == pytest.approx(0.5, abs=0.1)
    assert blind["mirror_image"]["relative"] < 1e-12
    for name in HANDED:
        assert PROOFS[name]["jensen_shannon"]["value"] < 0.5 * blind["jensen_shannon"]["value"]
    for name in PROOFS:
        if "SO(3)" in name:
            assert PROOFS[name]["mirror_image"]["relative"] > 1e-6
