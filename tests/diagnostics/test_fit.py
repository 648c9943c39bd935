"""Verdicts on a training, each from a summary in which one thing is wrong."""

import copy

import pytest

from beadsmith.check import worst_status
from beadsmith.diagnostics.fit import check_fit

WALL = {"joining_distance": 0.3, "joining_force": 465.0, "decay": 50.0}


def entry(value, error=0.004):
    """Return one estimate."""
    return {"value": value, "error": error}


SOUND = {
    "prior": {"walls": [WALL]},
    "losses": {"zero_force": {"test": entry(37600.0)}, "pair_spline": {"test": entry(30860.0)}},
    "explained_variance": {
        "pair_spline": {"train": entry(0.181), "test": entry(0.179)},
        "network": {"train": entry(0.241), "test": entry(0.239)},
    },
    "improvement": {"n_standard_errors": 22.0, "fraction": 0.074},
    "gap": entry(0.003),
    "network": {"epochs": 30, "late_improvement": 0.001, "stop_reason": "all 30 epochs done", "restarts": 0},
    "noise_floor": {
        "points": [{"held_out": entry(0.78)}, {"held_out": entry(0.761)}],
        "upper_bound": entry(0.757, 0.001),
        "lower_bound": entry(0.752, 0.001),
        "estimate": entry(0.7545, 0.003) | {"crossing": -3.5},
    },
}


def change(path, value):
    """Return the sound summary with one entry replaced."""
    summary = copy.deepcopy(SOUND)
    *parents, last = path
    place = summary
    for name in parents:
        place = place[name]
    place[last] = value
    return summary


def test_sound_training_passes_every_check():
    checks = check_fit(SOUND)
    assert worst_status(checks) == "pass"
    assert len({check.name for check in checks}) == len(checks) == 10


@pytest.mark.parametrize(
    ("path", "value", "name", "status"),
    [
        (("prior", "walls"), [], "prior constants", "warn"),
        (("prior", "walls"), [{**WALL, "decay": None}], "prior constants", "fail"),
        (("prior", "walls"), [{**WALL, "joining_force": -1.0}], "prior constants", "fail"),
        (("explained_variance", "network", "test"), entry(0.005), "explained force variance", "fail"),
        (("explained_variance", "pair_spline", "test"), entry(0.12), "train and test frames alike", "warn"),
        (("improvement",), {"n_standard_errors": 1.0, "fraction": 0.001}, "network beats pair spline", "warn"),
        (("improvement",), {"n_standard_errors": -5.0, "fraction": -0.02}, "network beats pair spline", "fail"),
        (("gap",), entry(0.05), "train minus test", "warn"),
        (("network", "late_improvement"), 0.01, "training converged", "warn"),
        (("network", "restarts"), 2, "training stable", "warn"),
        (("noise_floor", "upper_bound"), entry(0.73, 0.001), "enough frames", "warn"),
        (("noise_floor", "lower_bound"), entry(0.84, 0.001), "pair spline above noise floor", "warn"),
        (("noise_floor", "estimate", "crossing"), 3.5, "noise floor bounds", "warn"),
    ],
)
def test_each_fault_is_found_by_its_check_alone(path, value, name, status):
    found = {check.name: check for check in check_fit(change(path, value)) if check.status != "pass"}
    assert list(found) == [name]
    assert found[name].status == status
    assert found[name].remedy


def test_spline_alone_has_no_network_checks():
    summary = copy.deepcopy(SOUND) | {"network": None, "noise_floor": None, "improvement": None, "gap": None}
    assert [check.name for check in check_fit(summary)] == [
        "prior constants",
        "explained force variance",
        "train and test frames alike",
    ]


def test_unknown_errors_count_as_none():
    """JSON stores NaN as null."""
    assert worst_status(check_fit(change(("gap",), {"value": 0.003, "error": None}))) == "pass"
