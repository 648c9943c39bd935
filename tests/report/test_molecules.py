"""The report on molecules: every number beside its error, surfaces and basins drawn, the mirror image named."""

import json
import re
import shutil

import numpy as np
import pytest

from beadsmith.io.records import read_json, write_json
from beadsmith.report.build import build_report
from beadsmith.report.figures.molecules import MOST_CURVES, _intervals, draw_curves
from beadsmith.report.molecules import compose_molecules
from beadsmith.report.tables import Table
from example_molecule_run import write_molecule_run

FIGURES = {"surface-phi__psi", "surface-TIC_1__TIC_2", "basins", "timescales", "coordinates", "bonded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_molecule_run(tmp_path_factory.mktemp("runs") / "molecule")


@pytest.fixture(scope="module")
def evaluation(folder):
    return read_json(folder / "evaluation.json")


@pytest.fixture(scope="module")
def html(folder):
    return build_report(folder).read_text(encoding="utf-8")


def figure_of(html, name):
    text = re.search(rf'<script type="application/json" id="data-{re.escape(name)}">(.*?)</script>', html, re.DOTALL)
    return json.loads(text.group(1).replace("<\\/", "</"))


def rows_of(items, start):
    """Return the table whose caption begins so, as first column → the other cells by title."""
    table = next(item for item in items if isinstance(item, Table) and item.caption.startswith(start))
    return {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}


def test_a_molecule_has_all_its_figures(html):
    assert set(re.findall(r'data-figure="([^"]*)"', html)) >= FIGURES
    for name in FIGURES:
        axes = {key: axis for key, axis in figure_of(html, name)["layout"].items() if re.fullmatch(r"[xy]axis\d*", key)}
        assert any(axis.get("title", {}).get("text") for axis in axes.values())


def test_a_single_molecule_has_no_section_on_liquid_structure_or_pressure(html):
    assert 'id="molecules"' in html
    assert 'id="structure"' not in html
    assert "radial distribution" not in html
    assert "bar off" not in html


def test_surfaces_show_every_run_the_error_of_the_reference_and_the_differences(html, evaluation):
    plot = figure_of(html, "surface-phi__psi")
    maps = [trace for trace in plot["data"] if trace["type"] == "heatmap"]
    assert len(maps) == 6
    reference = evaluation["systems"]["reference"]["molecules"]["ACE-ALA-NME"]["surfaces"]["phi, psi"]
    energy = np.array(reference["free_energy"], dtype=float)
    # rows of the heat map follow psi
    np.testing.assert_allclose(np.array(maps[0]["z"], dtype=float), energy.T, rtol=1e-5)
    np.testing.assert_allclose(
        np.array(maps[0]["customdata"], dtype=float), np.array(reference["standard_error"], dtype=float).T, rtol=1e-5
    )
    titles = [entry["text"] for entry in plot["layout"]["annotations"]]
    assert titles[3:] == ["standard error of the reference", "network − reference", "pair spline − reference"]
    names = {shape["label"]["text"] for shape in plot["layout"]["shapes"] if shape.get("label", {}).get("text")}
    assert names == {"beta/PII", "alphaR", "phi > 0"}


def test_divergences_stand_beside_chance_and_halves(evaluation):
    rows = rows_of(compose_molecules(evaluation), "Distance of the free-energy surfaces")
    for name in ("phi, psi; 36 × 36; JS [nat]", "phi, psi; 20 × 20; KL [nat]"):
        cells = rows[name]
        assert "±" in cells["network"]
        assert float(cells["by chance, network"]) > 0.0
        assert float(cells["halves, reference"]) > 0.0
        assert float(cells["halves, pair spline"]) > 0.0
    with_hand, without = (rows[f"phi, psi; 36 × 36; {what} [nat]"]["pair spline"] for what in ("JS", "JS without hand"))
    assert float(with_hand.split("\u00a0")[0]) > 2.0 * float(without.split("\u00a0")[0])


def test_the_mirror_image_is_named_for_the_run_that_has_no_hand(evaluation):
    text = " ".join(item for item in compose_molecules(evaluation) if isinstance(item, str))
    assert "The pair spline is mirror-symmetric: phi > 0 has a population of" in text
    assert "The network is mirror-symmetric" not in text


def test_populations_have_errors_and_differences(evaluation):
    rows = rows_of(compose_molecules(evaluation), "Populations of the basins")
    assert "±" in rows["alphaR"]["atomistic reference"]
    assert "±" in rows["alphaR"]["network − reference"]


def test_curves_have_bands_and_means_their_errors(html, evaluation):
    plot = figure_of(html, "bonded")
    bands = sum(trace.get("fill") == "toself" for trace in plot["data"])
    curves = sum(trace.get("mode") == "lines" and trace.get("fill") is None for trace in plot["data"])
    assert bands == curves == 3 * 8
    rows = rows_of(compose_molecules(evaluation), "Bonds, angles and dihedrals")
    assert "±" in rows["bond C–CA [nm]"]["mean, network"]
    assert rows["dihedral C–CA–N–C [°]"]["mean, network"] == "–"
    assert "±" in rows["dihedral C–CA–N–C [°]"]["JS [nat], network"]


def test_too_many_curves_are_drawn_from_the_most_different_on(evaluation):
    molecules = {"reference": evaluation["systems"]["reference"]["molecules"]["ACE-ALA-NME"]}
    bond = molecules["reference"]["bonded"]["bond C-N"]
    many = {"reference": {"bonded": {f"bond {k}": bond for k in range(20)}}}
    figure = draw_curves(many, "bonded", [f"bond {k}" for k in range(20)], "")
    assert figure.caption.startswith(f"The {MOST_CURVES} of 20 that differ most.")


def test_reweighted_references_say_what_their_frames_are_worth(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    evaluation = read_json(copy / "evaluation.json")
    molecule = evaluation["systems"]["reference"]["molecules"]["ACE-ALA-NME"]
    molecule["n_effective"] = 1234.4
    write_json(copy / "evaluation.json", evaluation)
    text = build_report(copy).read_text(encoding="utf-8")
    assert "reweighted, worth 1\u202f234" in text


def test_the_verdict_names_the_divergence_and_the_worst_basin(html):
    text = re.sub(r"\s+", " ", html.replace("\u00a0", " "))
    assert re.search(r"Its free-energy surface over [^.]* diverges from the reference by 0\.0\d+ ± 0\.00\d+ nat", text)
    assert "the basin with the largest error" in text


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        (None, [(-180.0, 180.0)]),
        ((-120.0, 60.0), [(-120.0, 60.0)]),
        ((60.0, -120.0), [(-180.0, -120.0), (60.0, 180.0)]),
        ((150.0, 210.0), [(-180.0, -150.0), (150.0, 180.0)]),
    ],
)
def test_a_range_through_180_degrees_is_drawn_as_two(limits, parts):
    assert _intervals(limits, (-180.0, 180.0), is_periodic=True) == parts
