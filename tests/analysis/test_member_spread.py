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


def make_surface(energy, edges=EDGES):
    """Return a system with a free-energy surface; a bin that was never visited is NaN."""
    probability = np.where(np.isfinite(energy), np.exp(-np.nan_to_num(energy)), 0.0)
    surface = {"x_edges": edges, "y_edges": EDGES, "probability": (probability / probability.sum()).tolist()}
    surface |= {"free_energy": energy.tolist(), "standard_error": np.zeros_like(energy).tolist()}
    return {"surfaces": {"phi, psi": surface}}


def spread_surfaces(energies, **changes):
    names = ["network", *(f"member-{number}" for number in range(1, len(energies)))]
    systems = {name: make_surface(energy) for name, energy in zip(names, energies, strict=True)}
    systems[names[-1]] = make_surface(energies[-1], **changes)
    evaluation = {"systems": systems, "comparisons": {name: {} for name in names}}
    found = spread_over_members(evaluation, names[1:], "network")
    return found["systems"]["network"]["surfaces"]["phi, psi"].get(SPREAD)


def test_free_energies_that_differ_by_a_constant_have_no_spread():
    energy = np.array([[0.0, 1.0], [2.0, 0.5]])
    np.testing.assert_allclose(spread_surfaces([energy, energy + 3.0, energy - 1.0]), 0.0, atol=1e-12)


def test_the_spread_of_a_surface_is_that_of_its_bins_once_the_constant_is_gone():
    # equal populations, so the mean difference of the second is 1/2 and is taken off
    flat = np.zeros((2, 2))
    raised = np.array([[1.0, 0.0], [1.0, 0.0]])
    expected = np.std([[0.0, 0.0], [0.5, -0.5]], axis=0, ddof=1)
    np.testing.assert_allclose(spread_surfaces([flat, raised]), [expected, expected])


def test_bins_that_a_member_never_visited_and_other_bins_have_no_spread():
    energy, fewer = np.zeros((2, 2)), np.array([[0.0, np.nan], [0.0, 0.0]])
    found = np.array(spread_surfaces([energy, fewer]))
    assert np.isnan(found[0, 1])
    assert np.isfinite(found).sum() == 3
    assert np.isnan(np.array(spread_surfaces([fewer, energy]))[0, 1])
    assert spread_surfaces([energy, energy], edges=[0.0, 0.1, 0.3]) is None
