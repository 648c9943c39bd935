"""Checks of the prior: each threshold is crossed once."""

import pytest

from beadsmith.diagnostics.prior import check_prior

WALL = {"joining_distance": 0.3, "joining_force": 500.0, "decay": 40.0}


def fit(**parameters):
    return {"parameters": parameters}


def entry(coordinate, divergence):
    return {"coordinate": coordinate, "name": "A-B", "jensen_shannon": divergence}


def make_prior(*, stiffness=1e5, cosine=-2.0, n_stopped=0, bond=0.01, dihedral=0.05, runs=True):
    run = {
        "duration": 12.0,
        "n_replicas": 32,
        "n_stopped": n_stopped,
        "coordinates": [entry("bond", bond), entry("angle", 0.001), entry("dihedral", dihedral)],
    }
    return {
        "walls": [WALL],
        "bonded": [
            {"form": "harmonic", "fits": [fit(centre=-0.1, stiffness=stiffness)]},
            {"form": "fourier", "fits": [fit(cos_1=cosine, sin_1=0.0)]},
        ],
        "simulations": [run] if runs else [],
    }


@pytest.mark.parametrize(
    ("options", "name", "status"),
    [
        ({}, "prior constants", "pass"),
        ({"stiffness": -1.0}, "prior constants", "fail"),
        ({"stiffness": None}, "prior constants", "fail"),
        ({"cosine": None}, "prior constants", "fail"),
        ({}, "prior alone is stable", "pass"),
        ({"n_stopped": 1}, "prior alone is stable", "fail"),
        ({}, "prior alone keeps bonds and angles", "pass"),
        ({"bond": 0.031}, "prior alone keeps bonds and angles", "warn"),
        ({}, "prior alone keeps dihedrals", "pass"),
        ({"dihedral": 0.11}, "prior alone keeps dihedrals", "warn"),
    ],
)
def test_status(options, name, status):
    checks = {check.name: check for check in check_prior(make_prior(**options))}
    assert checks[name].status == status


def test_the_worst_coordinate_is_named():
    checks = {check.name: check for check in check_prior(make_prior(bond=0.2))}
    assert "bond A-B" in checks["prior alone keeps bonds and angles"].meaning


def test_without_bonded_terms_there_is_one_check():
    assert [check.name for check in check_prior({"walls": [WALL]})] == ["prior constants"]
    assert [check.name for check in check_prior(make_prior(runs=False))] == ["prior constants"]
