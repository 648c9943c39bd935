"""A corrected force field, run as molecular dynamics, has the population that the labels hold."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.coordinates import is_inside
from beadsmith.analysis.internal import dihedrals
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import read_trajectory
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.statistics import mean_and_error
from beadsmith.training.correction import fit_correction
from beadsmith.training.correction_run import CorrectionRunSettings, RunFiles
from beadsmith.training.data import split_by_use
from beadsmith.training.simulated_correction import fit_by_simulation
from beadsmith.training.slow_coordinates import CorrectionSettings
from example_slow_chain import (
    ALPHA,
    COUPLING,
    DEFINITIONS,
    TRUTH,
    build_coupling,
    build_force_field,
    draw_frames,
    exact_population,
)

WRONG = {**TRUTH, (0, 1): 0.0, (0, -2): 3.0, (1, 1): 0.0}

pytestmark = pytest.mark.slow


def simulated_population(force_field, frames, path):
    """Return the population of `ALPHA` in 100 replicas, and its error from the replicas."""
    settings = SimulationSettings(
        timestep=0.004, friction=5.0, equilibration=10.0, duration=50.0, save_interval=0.4, replicas=100
    )
    start = replace(frames.select(slice(0, 100)), forces=None)
    simulate(force_field, start, settings, path, temperature=300.0, seed=1, identity="population")
    run = read_trajectory(path)
    psi = dihedrals(run.positions, np.array([[1, 2, 3, 4]]))[:, 0]
    inside = is_inside(ALPHA.ranges[0], psi, is_periodic=True)
    mean, error = mean_and_error([inside[run.segment == replica].mean() for replica in range(100)])
    return float(mean), float(error)


def test_dynamics_of_the_corrected_force_field_have_the_true_population_within_3_standard_errors(tmp_path):
    frames = draw_frames(40_000, seed=11, noise=250.0)
    parts = split_by_use((frames,), validation_fraction=0.1, test_fraction=0.2)
    rows = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    wrong = build_force_field(WRONG)
    settings = CorrectionSettings(definitions=DEFINITIONS, basins=(ALPHA,), order=3)
    terms, summary = fit_correction(wrong, (frames,), rows, settings)
    (basin,) = summary["molecules"][0]["basins"]
    corrected = ForceField([*wrong.prior, *terms], None, wrong.record)
    exact = exact_population(TRUTH)
    before, before_error = simulated_population(wrong, frames, tmp_path / "before.h5")
    after, after_error = simulated_population(corrected, frames, tmp_path / "after.h5")
    # without the correction the dynamics have the population of the wrong force field, far from the truth
    assert abs(before - exact_population(WRONG)) < 3.0 * before_error
    assert before - exact > 5.0 * np.hypot(basin["error"], before_error)
    assert abs(after - exact) < 3.0 * np.hypot(basin["error"], after_error)


def test_a_coupled_bond_is_corrected_by_a_simulation_within_3_standard_errors(tmp_path):
    """Labels cannot see this error: see tests/training/test_simulated_correction.py."""
    frames = draw_frames(20_000, seed=12, noise=250.0)
    parts = split_by_use((frames,), validation_fraction=0.1, test_fraction=0.2)
    rows = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    truth = build_force_field(TRUTH)
    wrong = ForceField([*truth.prior, build_coupling()], None, truth.record)
    settings = CorrectionSettings(method="simulation", definitions=DEFINITIONS, basins=(ALPHA,), order=3)
    run = CorrectionRunSettings(timestep=0.004, equilibration=10.0, duration=50.0, save_interval=0.4)
    terms, summary = fit_by_simulation(
        wrong,
        (frames,),
        rows,
        settings,
        simulation=run.to_simulation(),
        files=RunFiles(output=tmp_path / "run.h5", identity="a", seed=2),
    )
    (basin,) = summary["molecules"][0]["basins"]
    exact = exact_population(TRUTH)
    assert abs(basin["simulated"] - exact_population(TRUTH, COUPLING)) < 3.0 * basin["simulated_error"]
    assert basin["simulated"] - exact > 5.0 * np.hypot(basin["error"], basin["simulated_error"])
    corrected = ForceField([*wrong.prior, *terms], None, wrong.record)
    after, after_error = simulated_population(corrected, frames, tmp_path / "after.h5")
    assert abs(after - exact) < 3.0 * np.hypot(basin["error"], after_error)
