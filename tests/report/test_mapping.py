"""The report says which atoms are in no bead, and what every force map is worth."""

import pytest

from beadsmith.io.h5md import write_trajectory
from beadsmith.mapping.apply import map_reference
from beadsmith.mapping.settings import MappingSettings
from beadsmith.report.build import build_report
from beadsmith.report.tables import tabulate_force_maps
from example_references import build_capped_alanine, make_reference


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the report of a mapped capped alanine, without training."""
    folder = tmp_path_factory.mktemp("alanine")
    write_trajectory(folder / "reference.h5", make_reference(build_capped_alanine(), n_frames=40))
    settings = MappingSettings(beads="backbone", noise_width=0.01)
    map_reference(folder / "reference.h5", folder / "mapped.h5", settings, identity="x")
    return build_report(folder).read_text(encoding="utf-8").replace("\u00a0", " ").replace("\u202f", " ")


def test_atoms_in_no_bead_are_named(page):
    assert "In no bead are, of ACE-ALA-NME: 1:ACE:HH31, 1:ACE:CH3" in page
    assert "44.4 % of the mass is in beads" in page


def test_biased_map_is_named_with_its_reason(page):
    assert "biased, refused: molecule" in page
    assert "are rigidly joined but enter bead" in page


def test_noise_on_positions_is_said(page):
    assert "Noise of 0.0100 nm was added to the positions of the beads" in page


SUMMARY = {"forces": "optimal", "force_mean_square": {"sum": 678.0, "optimal": 419.0}}


def test_gain_is_the_ratio_of_noise_once_the_mean_force_is_subtracted():
    optimal, plain = tabulate_force_maps(SUMMARY, 341.0).rows
    assert optimal[2:] == ("1", "used for these beads")
    # (678 - 341) / (419 - 341)
    assert plain[2] == "4.32"
    assert tabulate_force_maps(SUMMARY, None).rows[1][2] == "1.62"


def test_more_explained_than_there_is_gives_no_gain():
    assert tabulate_force_maps(SUMMARY, 500.0).rows[1][2] == "–"
