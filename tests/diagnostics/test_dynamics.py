"""Each check of a simulation passes what is right, and catches the one thing that it is for."""

import json

import pytest

from beadsmith.diagnostics.dynamics import check_simulation
from beadsmith.io.records import to_plain
from example_evaluations import make_comparison, make_evaluation, make_system, measurement


def judge(evaluation, **options):
    """Return the checks by name."""
    checks = check_simulation(evaluation, **options)
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def test_a_good_run_passes_all_but_the_pressure_which_forces_cannot_fix():
    checks = judge(make_evaluation())
    assert {name for name, check in checks.items() if check.status != "pass"} == {"pressure"}
    assert checks["pressure"].status == "warn"
    assert "thousands of bar" in checks["pressure"].meaning


def test_every_check_has_meaning_remedy_threshold_and_survives_json():
    for check in check_simulation(make_evaluation()):
        assert check.meaning.endswith(".")
        assert check.remedy.endswith(".")
        assert check.threshold
        json.dumps(check.to_json(), allow_nan=False)


def test_a_pair_in_a_false_well_fails_though_all_else_looks_right():
    collapsed = make_system(closest_pair={"a-a": measurement(0.255, None, "nm")})
    checks = judge(make_evaluation(systems={"network": collapsed}))
    assert checks["closest pair"].status == "fail"
    assert checks["closest pair"].threshold == ">= 0.273"
    assert {name for name, check in checks.items() if check.status == "fail"} == {"closest pair"}


def test_the_worst_kind_of_a_mixture_speaks_for_all():
    reference = {"a-a": measurement(0.28, None, "nm"), "a-b": measurement(0.35, None, "nm")}
    simulated = {"a-a": measurement(0.28, None, "nm"), "a-b": measurement(0.33, None, "nm")}
    systems = {"reference": make_system(closest_pair=reference), "network": make_system(closest_pair=simulated)}
    check = judge(make_evaluation(systems=systems))["closest pair"]
    assert check.status == "fail"
    assert check.value == 0.33
    assert "a-b" in check.meaning


@pytest.mark.parametrize(
    ("value", "error", "status"),
    [
        (300.9, 0.5, "pass"),
        (302.0, 0.5, "warn"),
        (310.0, 0.5, "fail"),
        (300.0, 2.0, "warn"),
        (300.0, None, "warn"),
        (300.0, float("nan"), "warn"),
    ],
)
def test_temperature_is_judged_against_its_error(value, error, status):
    system = make_system(kinetic_temperature=measurement(value, error, "K"))
    assert judge(make_evaluation(systems={"network": system}))["kinetic temperature"].status == status


def test_a_run_at_constant_energy_has_no_temperature_to_hold():
    system = make_system(kinetic_temperature=measurement(280.0, 0.5, "K"), integrator="verlet")
    assert "kinetic temperature" not in judge(make_evaluation(systems={"network": system}))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"rdf": 0.019}, "radial distribution"),
        ({"adf": 0.051}, "angular distribution"),
        ({"shift": -0.006}, "first peak position"),
        ({"height": 0.88}, "first peak height"),
    ],
)
def test_each_structural_limit_fails_on_its_own(changes, name):
    checks = judge(make_evaluation(comparisons={"network": make_comparison(**changes)}))
    assert {key for key, check in checks.items() if check.status == "fail"} == {name}


def test_a_difference_that_chance_explains_is_not_held_against_the_model():
    noisy = make_comparison(rdf=0.030)
    noisy["rdf"]["a-a"]["expected_by_chance"] = measurement(0.02, 0.002)
    assert judge(make_evaluation(comparisons={"network": noisy}))["radial distribution"].status == "pass"


def test_a_network_that_does_not_beat_the_pair_spline_gets_a_warning():
    checks = judge(make_evaluation(comparisons={"pair_spline": make_comparison(rdf=0.011, adf=0.036)}))
    assert checks["radial distribution against pair spline"].status == "warn"
    assert checks["angular distribution against pair spline"].status == "warn"


def test_a_pair_spline_is_not_compared_with_itself():
    assert not [name for name in judge(make_evaluation(), name="pair_spline") if "against" in name]


def test_a_stopped_replica_fails():
    assert judge(make_evaluation(), n_stopped=1)["stopped replicas"].status == "fail"


def test_pressure_never_fails_even_with_virial_labels():
    check = judge(make_evaluation(), has_virial_labels=True)["pressure"]
    assert check.status == "warn"
    assert "Virials were among the labels" in check.meaning
    right = make_evaluation(comparisons={"network": make_comparison(pressure=30.0)})
    assert judge(right)["pressure"].status == "pass"


def evaluate_at_constant_pressure(density, *, reference_pressure=1.0):
    """Return an evaluation of a network that was simulated at 1 bar; the reference has 0.750 g/cm³."""
    comparison = make_comparison() | {"density_difference": measurement(density - 0.75, 0.002, "g/cm^3")}
    applied = {"value": 1.0, "unit": "bar"}
    systems = {
        "reference": make_system(
            density=measurement(0.75, 0.001, "g/cm^3"), pressure=measurement(reference_pressure, 10.0, "bar")
        ),
        "network": make_system(density=measurement(density, 0.0017, "g/cm^3"), pressure_set=applied),
    }
    return make_evaluation(systems=systems, comparisons={"network": comparison})


@pytest.mark.parametrize(("density", "status"), [(0.754, "pass"), (0.757, "pass"), (0.76, "warn"), (0.2, "warn")])
def test_the_density_at_constant_pressure_is_held_against_the_reference(density, status):
    checks = judge(evaluate_at_constant_pressure(density))
    assert checks["density"].status == status
    # right by construction
    assert "pressure" not in checks


def test_a_density_at_another_pressure_than_the_references_is_not_judged():
    assert "density" not in judge(evaluate_at_constant_pressure(0.2, reference_pressure=3000.0))
    assert "density" not in judge(make_evaluation())


def test_what_was_not_measured_is_not_checked():
    bare = make_comparison() | {"rdf": {}, "adf": {}, "pressure_difference": None}
    system = make_system(kinetic_temperature=None, pressure=None, closest_pair={})
    checks = judge(make_evaluation(systems={"network": system}, comparisons={"network": bare}))
    assert list(checks) == ["stopped replicas"]


def test_checks_read_from_json_equal_those_from_memory():
    evaluation = make_evaluation(
        systems={"network": make_system(kinetic_temperature=measurement(301.0, float("nan"), "K"))}
    )
    stored = json.loads(json.dumps(to_plain(evaluation)))
    assert [check.status for check in check_simulation(stored)] == [c.status for c in check_simulation(evaluation)]
