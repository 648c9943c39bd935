"""The page of a study: tables, matrices and curves from its results alone."""

import json
import re

import pytest

from beadsmith.report.figures.style import plotly_library
from beadsmith.report.study import build_study_page
from beadsmith.report.study_transfer import draw_cells, judge_transfer_study
from example_study_results import make_error, make_results


def read_page(tmp_path, results):
    return build_study_page(results, tmp_path).read_text(encoding="utf-8")


def read_figure(page, name):
    found = re.search(rf'id="data-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None, name
    return json.loads(found[1])


@pytest.mark.parametrize("kind", ["mapping", "transfer"])
def test_the_page_needs_nothing_from_elsewhere(kind, tmp_path):
    page = read_page(tmp_path, make_results(kind))
    rest = page.replace(plotly_library(), "")
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest", rest)
    assert len(re.findall(r'class="plot"', page)) >= 3


def test_every_run_of_a_mapping_study_has_a_line_with_its_numbers(tmp_path):
    page = read_page(tmp_path, make_results())
    row = re.search(r'<th scope="row">two_site-mace</th>(.*?)</tr>', page, re.DOTALL)[1]
    for text in ("fail", "21.0\u00a0±\u00a00.4\u00a0%", "0.0200\u00a0±\u00a00.0010 (4 ×)", "3 of 4"):
        assert text in row.replace("&nbsp;", "\u00a0"), row


def test_a_run_that_blew_up_is_told_in_verdict_tables_and_jobs(tmp_path):
    page = read_page(tmp_path, make_results())
    assert "Of 4 runs 2 pass all checks, 1 fail a check, 1 did not end" in page or "10 of 12 jobs are done" in page
    assert "4 of 4 stopped" in page
    assert "all 4 replicas stopped" in page


def test_bands_are_three_standard_deviations_over_replicas(tmp_path):
    page = read_page(tmp_path, make_results())
    figure = read_figure(page, "distributions-two_site-0")
    group = [trace for trace in figure["data"] if trace.get("legendgroup") == "mace"][:3]
    lower, upper, line = (trace["y"] for trace in group)
    assert line[0] - lower[0] == pytest.approx(0.06, rel=1e-4)
    assert upper[0] - line[0] == pytest.approx(0.06, rel=1e-4)
    assert line[-1] is None


def test_the_diagnosis_before_training_stands_beside_the_mapping(tmp_path):
    page = read_page(tmp_path, make_results())
    assert "Is the mapping sound?" in page
    row = re.search(r"bond permutation</td><td>fail</td><td>pass</td>(.*?)</tr>", page, re.DOTALL)[1]
    assert "prior.bonds: harmonic" in row
    assert row.endswith(">all</td>")
    results = make_results()
    next(iter(results["runs"].values()))["diagnosis"] = None
    assert "<td>all</td>" not in read_page(tmp_path, results), "one of two runs is not all of them"
    for run in results["runs"].values():
        run["diagnosis"] = None
    assert "Is the mapping sound?" not in read_page(tmp_path, results)


def test_what_to_do_stands_below_for_checks_that_fail_alone_or_with_the_model(tmp_path):
    results = make_results()
    (check,) = next(iter(results["runs"].values()))["diagnosis"]
    row = rf"bond permutation</td><td>{check['meaning']}</td><td>{check['remedy']}</td>"
    assert len(re.findall(row, read_page(tmp_path, results))) == 1, "once for all runs"
    for run in results["runs"].values():
        for entry in run["diagnosis"] or ():
            entry["map_alone"] = "pass"
    assert not re.search(row, read_page(tmp_path, results))


def test_a_matrix_ends_in_the_references_own_error_and_cells_are_in_units_of_it(tmp_path):
    figure = read_figure(read_page(tmp_path, make_results("transfer")), "matrix-0-rdf")
    (heat,) = figure["data"]
    assert heat["y"] == ["300K", "joint", "reference itself"]
    assert heat["x"] == ["300K", "400K"]
    assert heat["z"] == [[0.01, 0.02], [0.03, 0.04], [0.005, 0.005]]
    assert heat["text"][0][1] == "0.020<br>(4 ×)"


def test_models_are_compared_at_states_that_they_were_not_trained_at_cell_by_cell(tmp_path):
    page = read_page(tmp_path, make_results("transfer"))
    row = re.search(r"mean \|Δg\(r\)\|, blind</th>(.*?)</tr>", page, re.DOTALL)[1]
    # one cell each: trained at 300 K and simulated there, or at 400 K; of the joint training one cell blew up
    assert re.findall(r"<td>(.*?)</td>", row) == ["0.0500", "0.0600", "0.0700", "0.0400"]


def test_matrices_of_one_error_share_their_colours(tmp_path):
    page = read_page(tmp_path, make_results("transfer"))
    ends = {read_figure(page, f"matrix-{number}-rdf")["data"][0]["zmax"] for number in (0, 1)}
    assert ends == {0.07}


def test_every_cell_with_a_result_has_curves_for_a_click(tmp_path):
    results = make_results("transfer")
    cells = draw_cells(results)
    assert set(cells) == {"0", "1"}
    assert set(cells["1"]["joint"]) == {"300K"}, "the last cell blew up"
    page = read_page(tmp_path, results)
    assert read_figure(page, "cells")["0"]["300K"]["400K"]["title"].startswith("spline trained on 300K")
    assert "plotly_click" in page


def test_only_errors_of_distributions_invite_a_click_for_their_curves(tmp_path):
    results = make_results("transfer")
    for run in results["runs"].values():
        if run["errors"]:
            run["errors"]["pressure"] = make_error("|Δ pressure|", "bar", 100.0, 20.0)
    found = re.findall(r"<figcaption>(.*?)</figcaption>", read_page(tmp_path, results), re.DOTALL)
    matrices = [caption for caption in found if "the error of a force field trained on" in caption]
    invited = [caption.split(":")[0].strip() for caption in matrices if "Click on a cell" in caption]
    assert len(matrices) == 6
    assert invited == ["mean |Δg(r)|"] * 2 + ["JS of bonds, angles, dihedrals"] * 2


def test_the_verdict_says_for_each_training_where_it_may_be_used():
    sentences = judge_transfer_study(make_results("transfer"))
    assert sentences[0] == "spline, trained on 300K: may be used at 300K; not at 400K."
    assert sentences[-1] == "blind, trained on joint: may be used at 300K; did not end at 400K."


@pytest.mark.parametrize("kind", ["mapping", "transfer"])
def test_a_study_that_has_only_begun_has_a_page(kind, tmp_path):
    results = make_results(kind)
    for run in results["runs"].values():
        run |= {"status": "unfinished", "errors": {}, "curves": {}, "checks": [], "verdict": None, "stability": None}
        run |= {"training": None, "speed": None, "stopped": None, "diagnosis": None}
    results["jobs"] |= {"n_done": 2, "failed": []}
    assert "2 of 12 jobs are done" in read_page(tmp_path, results)
