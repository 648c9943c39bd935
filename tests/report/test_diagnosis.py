"""The report shows both verdicts on a map, and the pictures behind them."""

import html
import json
import re

import numpy as np
import pytest

from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose
from beadsmith.report.build import build_report
from beadsmith.report.figures.diagnosis import draw_distances, draw_graph, draw_noise, draw_reflection
from example_maps import describe_alanine, make_capped, make_liquid, write_map


def write_diagnosed(folder, trajectory, *molecules):
    """Write a mapped reference and its diagnosis into a folder, and return the diagnosis."""
    folder.mkdir(exist_ok=True)
    path = write_map(folder / "mapped.h5", trajectory, *molecules)
    return diagnose(path, ModelSettings(), output=folder / "diagnosis.json")


@pytest.fixture(scope="module")
def alanine(tmp_path_factory):
    """Return folder and diagnosis of capped alanine of five beads."""
    folder = tmp_path_factory.mktemp("core")
    return folder, write_diagnosed(folder, make_capped("core"), describe_alanine(5))


@pytest.fixture(scope="module")
def page(alanine):
    """Return the text of its report."""
    return build_report(alanine[0]).read_text(encoding="utf-8").replace("\u00a0", " ")


def plot_of(figure):
    return json.loads(figure.json)


def test_both_verdicts_and_what_eases_them_stand_in_the_report(page):
    assert "Is the map sound?" in page
    assert "no prior: fail. With the network (hipnn) and the prior of this run: warn" in page
    assert "Eased by prior.dihedrals: fourier" in page
    assert "hand of the molecules" in page


def test_what_to_do_stands_with_every_check_that_does_not_pass_and_with_no_other(alanine, page):
    _, diagnosis = alanine
    shown = html.unescape(page)
    for entry in diagnosis["checks"]:
        is_sound = entry["status"] == entry["map_alone"] == "pass"
        assert (f"Remedy: {entry['remedy']}" in shown) is (entry["status"] != "pass")
        assert (entry["remedy"] in shown) is not is_sound, entry["name"]
    assert {entry["status"] for entry in diagnosis["checks"]} == {"pass", "warn"}


def test_every_picture_is_on_the_page(page):
    shown = re.findall(r'data-figure="(map-[^"]+)"', page)
    assert [name.split("-")[1] for name in shown] == ["distances", "graph", "noise", "reflection"]


def test_the_reflected_surface_is_the_surface_turned_by_half_a_circle(alanine):
    (molecule,) = alanine[1]["molecules"]
    plot = plot_of(draw_reflection(molecule["asymmetries"][0], ""))
    real, reflected = (np.array(trace["z"], dtype=float) for trace in plot["data"])
    np.testing.assert_array_equal(real, reflected[::-1, ::-1])
    # alanine lies at negative phi; columns of a heat map follow phi
    assert np.isfinite(real[:, :12]).any()
    assert not np.isfinite(real[:, 12:]).any()


def test_bonded_and_other_distances_are_drawn_where_they_are(tmp_path):
    found = write_diagnosed(tmp_path, make_liquid("AA", bond=0.37))
    plot = plot_of(draw_distances(found["bonds"]))
    by_name = {trace["name"]: trace for trace in plot["data"]}
    assert set(by_name) == {"bonded", "nearest, other molecule"}
    x, y = (np.array(by_name["bonded"][key], dtype=float) for key in ("x", "y"))
    assert x @ y / y.sum() == pytest.approx(0.37, abs=0.005)


def test_beads_of_one_type_have_one_colour_and_show_the_label_they_need(alanine):
    (molecule,) = alanine[1]["molecules"]
    plot = plot_of(draw_graph(molecule, ""))
    lines, carbons, nitrogens = plot["data"]
    assert len(lines["x"]) == 3 * 4
    assert (carbons["name"], carbons["text"], nitrogens["text"]) == ("C", ["C", "CA", "C"], ["N", "N"])
    assert {number for _, number in (*carbons["customdata"], *nitrogens["customdata"])} == {1, 2, 3, 4, 5}


def test_noise_is_drawn_for_every_bead_below_the_force(alanine):
    (molecule,) = alanine[1]["molecules"]
    total, noise = plot_of(draw_noise(molecule, ""))["data"]
    assert total["x"] == ["1:C", "2:N", "2:CA", "2:C", "3:N"]
    assert all(below <= above for below, above in zip(noise["y"], total["y"], strict=True))
    # springs with noise of 100 kJ/mol/nm
    assert noise["y"][0] == pytest.approx(100.0, rel=0.1)


def test_a_liquid_of_single_beads_has_verdicts_without_pictures(tmp_path):
    write_diagnosed(tmp_path, make_liquid("A", bond=0.5))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "Is the map sound?" in page
    assert 'data-figure="map-' not in page


def test_a_run_that_was_not_diagnosed_has_no_such_section(tmp_path):
    write_map(tmp_path / "mapped.h5", make_capped("core", n_frames=20))
    assert "Is the map sound?" not in build_report(tmp_path).read_text(encoding="utf-8")
