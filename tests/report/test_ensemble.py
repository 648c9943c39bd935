"""What the report draws of the spread over an ensemble: surfaces, basins, pairs of beads, and a table of numbers."""

import json

import numpy as np
import pytest

from beadsmith.analysis.member_spread import SPREAD
from beadsmith.io.records import read_json
from beadsmith.report.curves import PairCurve
from beadsmith.report.ensemble import _collect_rows
from beadsmith.report.figures.molecules import draw_basins, draw_surface
from beadsmith.report.figures.training import draw_pair_curves
from example_evaluations import measurement
from example_molecule_run import write_molecule_run

ENSEMBLE = {"n_members": 3, "kind": "seeds"}
KIND, LABEL = "ACE-ALA-NME", "phi, psi"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Return an evaluation whose network has a spread: a tenth of a kT in every bin, two percent in basins."""
    found = read_json(write_molecule_run(tmp_path_factory.mktemp("runs") / "molecule") / "evaluation.json")
    molecule = found["systems"]["network"]["molecules"][KIND]
    surface = molecule["surfaces"][LABEL]
    known = np.isfinite(np.array(surface["free_energy"], dtype=float))
    surface[SPREAD] = np.where(known, 0.1, np.nan).tolist()
    surface[SPREAD][int(known.any(axis=1).argmax())][int(known[known.any(axis=1).argmax()].argmax())] = 0.4
    for basin in molecule["basins"].values():
        basin[SPREAD] = 0.02
    found["systems"]["network"]["heat_capacity"] = measurement(70.0, 2.0, "J/mol/K") | {SPREAD: 3.0}
    return found


@pytest.fixture(scope="module")
def molecules(evaluation):
    return {name: system["molecules"][KIND] for name, system in evaluation["systems"].items()}


def test_a_surface_has_a_panel_of_its_spread_only_with_an_ensemble(molecules):
    figure = draw_surface(molecules, LABEL, "", ENSEMBLE)
    maps = [trace for trace in json.loads(figure.json)["data"] if trace["type"] == "heatmap"]
    assert len(maps) == 7
    expected = np.array(molecules["network"]["surfaces"][LABEL][SPREAD], dtype=float)
    np.testing.assert_allclose(np.array(maps[-1]["z"], dtype=float), expected.T)
    titles = [entry["text"] for entry in json.loads(figure.json)["layout"]["annotations"]]
    assert titles[-1] == "spread over networks"
    assert "one standard deviation over 3 networks" in figure.caption
    plain = draw_surface(molecules, LABEL, "")
    assert plain.json.count('"heatmap"') == 6 or plain.json.count('"type": "heatmap"') == 6
    assert "networks" not in plain.caption


def test_basins_have_hatched_pieces_of_one_spread_up_and_down(molecules):
    figure = draw_basins(molecules, "", ENSEMBLE)
    bars = {trace["name"]: trace for trace in json.loads(figure.json)["data"]}
    own, spread = bars["network"], bars["spread over networks"]
    np.testing.assert_allclose(spread["y"], 4.0)
    np.testing.assert_allclose(np.array(spread["base"]) + 2.0, own["y"], rtol=1e-5)
    assert own["offsetgroup"] == spread["offsetgroup"]
    assert "Hatched" in figure.caption
    assert sum("spread" in name for name in bars) == 1, "neither reference nor pair spline has one"


def test_pairs_of_beads_have_the_standard_deviation_of_all_networks():
    distances = np.array([0.3, 0.4, 0.5])
    curves = [
        PairCurve(distances=distances, energy=factor * np.ones(3), force=factor * distances) for factor in (1, 2, 6)
    ]
    figure = draw_pair_curves(
        "a-a", {"network": curves[0]}, fitted=None, closest=None, others=curves[1:], ensemble=ENSEMBLE
    )
    bands = [trace for trace in json.loads(figure.json)["data"] if trace.get("fill") == "toself"]
    assert [trace["legendgroup"] for trace in bands] == ["network spread"] * 2
    width = np.std([1, 2, 6], ddof=1)
    np.testing.assert_allclose(bands[0]["y"][:3], distances * (1 + width), rtol=1e-5)
    np.testing.assert_allclose(bands[1]["y"][-1], 1 - width, rtol=1e-5)
    assert "3 networks" in figure.caption
    plain = draw_pair_curves("a-a", {"network": curves[0]}, fitted=None, closest=None)
    assert "toself" not in plain.json
    assert "networks" not in plain.caption


def test_the_table_has_heat_capacity_and_free_energies_with_the_largest_spread(evaluation):
    rows = {row[0]: row[1:] for row in _collect_rows(evaluation)}
    assert rows["heat capacity"][1:] == ("2", "3")
    kind, _, spread = rows[f"free energy over {LABEL} [kT]"]
    assert kind == "surface"
    mean, largest = spread.split(", at most ")
    assert 0.1 <= float(mean) < 0.2
    assert float(largest) == 0.4
