"""The spread over an ensemble stands beside measured values, and nothing else changes."""

import copy

import numpy as np
import pytest

from beadsmith.analysis.member_spread import SPREAD, compute_spread, spread_over_members

EDGES = [0.0, 0.1, 0.2]


def make_system(density, pressure):
    """Return a system with a curve, a number, a set value and a list that is no measurement."""
    return {
        "rdf": {"a-a": {"edges": EDGES, "density": density, "standard_error": [0.1, 0.1]}},
        "displacement": {"a": {"lag": [1.0, 2.0], "mean_square": [pressure, 2.0], "standard_error": [0.0, 0.0]}},
        "pressure": {"value": pressure, "standard_error": 1.0, "unit": "bar"},
        "temperature_set": {"value": 300.0, "unit": "K"},
        "series": {"time": [0.0, 1.0]},
        "density": None,
    }


@pytest.fixture
def evaluation():
    systems = {
        "reference": make_system([1.0, 1.0], -1.0),
        "network": make_system([1.0, 2.0], 10.0),
        "pair_spline": make_system([9.0, 9.0], 90.0),
        "member-1": make_system([3.0, 2.0], 20.0),
        "member-2": make_system([2.0, 5.0], 60.0),
    }
    names = ("network", "pair_spline", "member-1", "member-2")
    difference = {name: {"shift": {**systems[name]["pressure"]}} for name in names}
    return {"settings": {}, "systems": systems, "comparisons": difference}


def test_curves_and_numbers_have_the_standard_deviation_over_all_members(evaluation):
    found = spread_over_members(evaluation, ["member-1", "member-2"], "network")
    system = found["systems"]["network"]
    np.testing.assert_allclose(system["rdf"]["a-a"][SPREAD], [1.0, np.sqrt(3.0)])
    assert system["pressure"][SPREAD] == pytest.approx(np.std([10.0, 20.0, 60.0], ddof=1))
    np.testing.assert_allclose(system["displacement"]["a"][SPREAD], [np.std([10.0, 20.0, 60.0], ddof=1), 0.0])
    assert found["comparisons"]["network"]["shift"][SPREAD] == system["pressure"][SPREAD]


def test_members_are_gone_and_all_else_is_as_it_was(evaluation):
    before = copy.deepcopy(evaluation)
    found = spread_over_members(evaluation, ["member-1", "member-2"], "network")
    assert evaluation == before
    assert list(found["systems"]) == ["reference", "network", "pair_spline"]
    assert list(found["comparisons"]) == ["network", "pair_spline"]
    assert found["systems"]["pair_spline"] == before["systems"]["pair_spline"]
    assert SPREAD not in found["systems"]["network"]["temperature_set"]
    own = found["systems"]["network"]["rdf"]["a-a"]
    assert {key: value for key, value in own.items() if key != SPREAD} == before["systems"]["network"]["rdf"]["a-a"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda system: system["rdf"].pop("a-a"),
        lambda system: system["rdf"]["a-a"].update(edges=[0.0, 0.1, 0.3]),
        lambda system: system.update(rdf=None),
    ],
    ids=["missing", "other bins", "none"],
)
def test_a_curve_that_a_member_lacks_has_no_spread(evaluation, spoil):
    spoil(evaluation["systems"]["member-2"])
    found = spread_over_members(evaluation, ["member-1", "member-2"], "network")
    assert SPREAD not in found["systems"]["network"]["rdf"]["a-a"]
    assert SPREAD in found["systems"]["network"]["pressure"]


def test_a_bin_that_one_member_never_saw_has_no_spread():
    np.testing.assert_array_equal(compute_spread([[1.0, np.nan], [3.0, 2.0]]), [np.sqrt(2.0), np.nan])
