"""Interactions of two beads alone, against the terms they are made of."""

import copy

import numpy as np
import pytest
import torch

from beadsmith.force_field import load_force_field
from beadsmith.report.curves import scan_pair, type_pairs
from example_run import write_force_fields


@pytest.fixture(scope="module")
def force_fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("force fields")
    write_force_fields(folder, ("a", "b"))
    return {name: load_force_field(folder / name) for name in ("force_field", "pair_spline")}


@pytest.mark.parametrize("name", ["force_field", "pair_spline"])
def test_force_integrates_to_the_potential(force_fields, name):
    distances = np.linspace(0.28, 0.75, 2000)
    curve = scan_pair(force_fields[name], distances, (0, 1))
    work = np.sum(0.5 * (curve.force[1:] + curve.force[:-1]) * np.diff(distances))
    # trapezoids of 0.00024 nm, float32 forces
    assert work == pytest.approx(curve.energy[0] - curve.energy[-1], rel=2e-3)


def test_a_force_field_trained_in_double_precision_has_the_same_curve(force_fields):
    distances = np.linspace(0.28, 0.75, 20)
    single = scan_pair(force_fields["force_field"], distances, (0, 1))
    double = scan_pair(copy.deepcopy(force_fields["force_field"]).double(), distances, (0, 1))
    np.testing.assert_allclose(double.force, single.force, rtol=1e-12, atol=1e-12)


def test_the_wall_has_the_joining_force_at_the_joining_distance(force_fields):
    curve = scan_pair(force_fields["force_field"], np.array([0.3]), (0, 0), prior_only=True)
    assert curve.force[0] == pytest.approx(400.0, rel=1e-3)


def test_energy_vanishes_beyond_the_cutoff(force_fields):
    with torch.no_grad():
        curve = scan_pair(force_fields["force_field"], np.array([force_fields["force_field"].cutoff + 0.1]), (0, 1))
    assert curve.energy[0] == pytest.approx(0.0, abs=1e-5)
    assert curve.force[0] == 0.0


def test_pairs_of_types_are_labelled_once(force_fields):
    assert type_pairs(force_fields["pair_spline"]) == {"a-a": (0, 0), "a-b": (0, 1), "b-b": (1, 1)}
