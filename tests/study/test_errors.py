"""Distances of a run from the reference: means over kinds, and units of the reference's own error."""

import pytest

from beadsmith.study.errors import collect_errors


def measured(value, error):
    return {"value": value, "standard_error": error}


def curve(value, error, own):
    return {"mean_difference": measured(value, error), "reference_error": measured(own, 0.0)}


def divergence(value, halves):
    return {"jensen_shannon": {**measured(value, 0.01), "halves": {"reference": halves and measured(halves, None)}}}


def describe(pressure_set=None, **changes):
    comparison = {"rdf": {}, "adf": {}, "molecules": {}, "pressure_difference": None} | changes
    reference = {"pressure": measured(5.0, 20.0), "density": measured(0.75, 0.002)}
    systems = {"reference": reference, "network": {"pressure_set": pressure_set}}
    return {"comparisons": {"network": comparison}, "systems": systems}


def test_curves_are_averaged_over_kinds_with_errors_of_independent_numbers():
    found = collect_errors(describe(rdf={"A-A": curve(0.1, 0.03, 0.02), "A-B": curve(0.3, 0.04, 0.06)}), "network")
    assert found["rdf"]["value"] == pytest.approx(0.2)
    assert found["rdf"]["standard_error"] == pytest.approx(0.025)
    assert found["rdf"]["reference_error"] == pytest.approx(0.04)
    assert found["rdf"]["ratio"] == pytest.approx(5.0)
    assert found["rdf"]["n_kinds"] == 2


def test_a_quarter_of_the_halves_is_the_references_own_part_of_a_divergence():
    molecules = {"ALA": {"bonded": {"bond": divergence(0.2, 0.08)}, "coordinates": {}, "surfaces": {}}}
    found = collect_errors(describe(molecules=molecules), "network")
    assert found["bonded"]["reference_error"] == pytest.approx(0.02)
    assert "coordinates" not in found


def test_a_surface_counts_with_the_bins_that_are_drawn():
    surfaces = {"phi, psi": {"36": divergence(0.2, 0.08), "20": divergence(0.1, 0.08)}}
    molecules = {"ALA": {"bonded": {}, "coordinates": {}, "surfaces": surfaces}}
    assert collect_errors(describe(molecules=molecules), "network")["surfaces"]["value"] == pytest.approx(0.2)


def test_without_halves_there_is_no_ratio():
    molecules = {"ALA": {"bonded": {"bond": divergence(0.2, None)}, "coordinates": {}, "surfaces": {}}}
    found = collect_errors(describe(molecules=molecules), "network")["bonded"]
    assert (found["reference_error"], found["ratio"]) == (None, None)


def test_the_pressure_counts_by_its_size():
    found = collect_errors(describe(pressure_difference={**measured(-100.0, 25.0), "unit": "bar"}), "network")[
        "pressure"
    ]
    assert (found["value"], found["ratio"]) == (100.0, 5.0)


def test_the_density_counts_where_the_pressure_was_set_and_the_pressure_elsewhere():
    """A box kept from the reference's start frame has a density, but none that the force field chose."""
    changes = {
        "pressure_difference": {**measured(-100.0, 25.0), "unit": "bar"},
        "density_difference": {**measured(-0.01, 0.003), "unit": "g/cm^3"},
    }
    kept = collect_errors(describe(**changes), "network")
    assert "density" not in kept
    assert kept["pressure"]["value"] == 100.0
    free = collect_errors(describe({"value": 1.0, "unit": "bar"}, **changes), "network")
    assert "pressure" not in free
    assert (free["density"]["value"], free["density"]["ratio"]) == pytest.approx((0.01, 5.0))


def test_the_heat_capacity_counts_where_the_model_has_one():
    evaluation = describe()
    evaluation["systems"]["reference"]["heat_capacity"] = {**measured(30.0, 3.0), "unit": "J/mol/K"}
    evaluation["systems"]["network"]["heat_capacity"] = None
    assert "heat_capacity" not in collect_errors(evaluation, "network")
    evaluation["systems"]["network"]["heat_capacity"] = {**measured(18.0, 4.0), "unit": "J/mol/K"}
    found = collect_errors(evaluation, "network")["heat_capacity"]
    assert (found["value"], found["standard_error"], found["ratio"]) == pytest.approx((12.0, 5.0, 4.0))


def test_the_mean_energy_counts_by_its_size_where_its_zero_is_known():
    assert "energy" not in collect_errors(describe(energy_difference=None), "network")
    difference = {**measured(-0.6, 0.2), "unit": "kJ/mol", "reference_error": 0.1}
    found = collect_errors(describe(energy_difference=difference), "network")["energy"]
    assert (found["value"], found["standard_error"], found["ratio"]) == pytest.approx((0.6, 0.2, 6.0))
    assert found["unit"] == "kJ/mol"
