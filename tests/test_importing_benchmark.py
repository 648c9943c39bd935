"""The benchmark of import measures what it says, on files that are what they say."""

import numpy as np
import pytest
from benchmarks.importing import CASES, Case, measure

from beadsmith.importing.run import import_reference, survey_reference
from beadsmith.io.h5md import read_trajectory
from beadsmith.trajectory import StatePoint

STATE = StatePoint(temperature=300.0)


@pytest.mark.parametrize("form", ["npy", "trr", "dump"])
def test_a_short_case_is_measured(form):
    found = measure(Case(form=form, n_atoms=8, n_frames=30))
    assert found["files GB"] >= 30 * 8 * 24 / 1e9
    assert all(value > 0.0 for value in found.values())


@pytest.mark.parametrize("form", ["npy", "trr", "dump"])
def test_files_hold_the_frames_of_the_case(form, tmp_path):
    case = Case(form=form, n_atoms=5, n_frames=20)
    import_reference(case.write(tmp_path), STATE, tmp_path / "reference.h5", identity="benchmark")
    found = read_trajectory(tmp_path / "reference.h5")
    ((positions, forces),) = case.blocks()
    assert found.topology.n_molecules == 1
    # a dump has six digits
    np.testing.assert_allclose(found.positions, positions, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-5, atol=1e-3)


def test_forces_of_a_case_pass_the_check_of_their_units(tmp_path):
    survey = survey_reference(Case(form="npy", n_atoms=100, n_frames=400).write(tmp_path), STATE)
    assert not any(verdict.is_wrong for verdict in survey.verdicts)
    assert len(survey.topology.constraints) == 0


def test_frames_are_repeated_to_the_number_asked_for():
    case = Case(form="npy", n_atoms=200_000, n_frames=5)
    assert [len(positions) for positions, _ in case.blocks()] == [2, 2, 1]


def test_names_of_cases_say_their_format_and_size():
    for name, case in CASES.items():
        assert {"npy": "npy", "trr": "TRR", "dump": "dump"}[case.form] in name
        assert f"{case.n_atoms:,} atoms" in name
