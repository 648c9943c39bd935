"""The check of a trained pressure: only where virials were used, of the last stage, and never a failure."""

import pytest

from beadsmith.diagnostics.pressure import check_trained_pressure, is_pressure_trained


def make_training(errors, *, virials=1.0, volume_term=None):
    """Return what a training says about virials: pressure errors [bar] by model, each with a standard error of 10."""
    models = {
        name: {
            "pressure_error": {"value": value, "error": 10.0, "unit": "bar"},
            "explained": {"value": 0.3, "error": 0.02},
            "noise": {"value": 300.0, "unit": "bar"},
        }
        for name, value in errors.items()
    }
    settings = {"labels": {"virials": virials}, "volume_term": volume_term}
    return {"settings": settings, "virials": {"n_frames": 100, "models": models}}


@pytest.mark.parametrize(("value", "status"), [(0.0, "pass"), (-49.0, "pass"), (51.0, "warn"), (-3000.0, "warn")])
def test_a_pressure_within_50_bar_passes_and_none_fails(value, status):
    (check,) = check_trained_pressure(make_training({"pair_spline": 3000.0, "network": value}))
    assert check.status == status
    assert check.value == value


def test_the_term_of_the_volume_has_the_last_word():
    errors = {
        "pair_spline": 3000.0,
        "pair_spline_with_volume_term": 1.0,
        "network": 80.0,
        "network_with_volume_term": 2.0,
    }
    (check,) = check_trained_pressure(make_training(errors, volume_term={"method": "labels"}))
    assert check.value == 2.0


def test_pair_splines_alone_are_judged_with_their_term():
    errors = {"pair_spline": 3000.0, "pair_spline_with_volume_term": 1.0}
    (check,) = check_trained_pressure(make_training(errors, virials=0.0, volume_term={"method": "labels"}))
    assert check.value == 1.0


def test_a_term_fitted_to_simulations_is_not_judged_on_frames_of_the_reference():
    errors = {"network": 1.0, "network_with_volume_term": 120.0}
    assert check_trained_pressure(make_training(errors, volume_term={"method": "simulation"})) == []


def test_without_virials_in_the_training_there_is_nothing_to_judge():
    assert check_trained_pressure(make_training({"network": 3000.0}, virials=0.0)) == []
    assert check_trained_pressure(make_training({}) | {"virials": None}) == []
    assert check_trained_pressure({}) == []
    assert not is_pressure_trained({})
    assert is_pressure_trained(make_training({}, virials=0.0, volume_term={"method": "labels"}))
