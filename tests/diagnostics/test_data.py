"""Each check of the reference passes good data, and catches the one thing that it is for."""

import json

import pytest

from beadsmith.diagnostics.data import check_reference
from example_evaluations import make_comparison, make_evaluation, make_system, measurement


def judge(**changes):
    """Return the checks of a reference with changes, by name."""
    checks = check_reference(make_evaluation(systems={"reference": make_system(**changes)}))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def with_forces(**changes):
    """Return the force moments of the good reference with changes."""
    return {"a": make_system()["forces"]["a"] | changes}


def test_a_good_reference_passes_everything():
    checks = judge()
    assert {check.status for check in checks.values()} == {"pass"}
    assert len(checks) == 7
    for check in checks.values():
        json.dumps(check.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("reference frames", {"n_used": 40}),
        ("mean force", {"forces": with_forces(mean_component=measurement(20.0, 0.2, "kJ/mol/nm"))}),
        ("frame correlation", {"forces": with_forces(frame_correlation=measurement(0.8, 0.01))}),
        ("energy drift", {"energy_drift": measurement(-60.0, 10.0, "kJ/mol")}),
        ("reference temperature", {"kinetic_temperature": measurement(290.0, 0.5, "K")}),
    ],
)
def test_each_flaw_warns_on_its_own(name, changes):
    checks = judge(**changes)
    assert {key for key, check in checks.items() if check.status != "pass"} == {name}
    assert checks[name].status == "warn"


def test_missing_forces_fail():
    assert judge(forces={})["reference forces"].status == "fail"


def test_a_mean_force_within_its_noise_is_no_flaw():
    checks = judge(forces=with_forces(mean_component=measurement(8.0, 3.0, "kJ/mol/nm")))
    assert checks["mean force"].status == "pass"


def test_a_reference_too_short_to_compare_with_warns():
    noisy = make_comparison()
    noisy["rdf"]["a-a"]["reference_error"] = measurement(0.02, 0.002)
    checks = {check.name: check for check in check_reference(make_evaluation(comparisons={"network": noisy}))}
    assert checks["reference sampling"].status == "warn"


def test_a_reference_without_velocities_or_energy_is_judged_on_the_rest():
    checks = judge(kinetic_temperature=None, energy_drift=None)
    assert "reference temperature" not in checks
    assert "energy drift" not in checks
    assert checks["reference frames"].status == "pass"
