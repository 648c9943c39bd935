"""Collect the verdicts of all stages of one run."""

from collections.abc import Sequence
from typing import Any

from beadsmith.check import Check
from beadsmith.diagnostics.data import check_reference
from beadsmith.diagnostics.dynamics import check_simulation
from beadsmith.diagnostics.ensemble import check_ensemble
from beadsmith.diagnostics.fit import check_fit
from beadsmith.diagnostics.mapping.verdict import MappingVerdict
from beadsmith.diagnostics.pressure import check_trained_pressure, is_pressure_trained
from beadsmith.diagnostics.stability import check_stability
from beadsmith.diagnostics.symmetry import check_symmetry
from beadsmith.diagnostics.tempering import check_tempering


def collect_checks(
    evaluation: dict[str, Any],
    training: dict[str, Any],
    summaries: dict[str, dict[str, Any]],
    diagnosis: Sequence[MappingVerdict] = (),
) -> list[Check]:
    """Return the checks of data, fit and dynamics, in the order of the stages.

    Parameters
    ----------
    evaluation : What `beadsmith.analysis.evaluate` returned, and what the probes of the force field found.
    training : What `beadsmith.training.fit.train` returned.
    summaries : What the stages reported, by name of the stage.
    diagnosis : Verdicts on the map, where there was a diagnosis; its checks come first.
    """
    name = "network" if "network" in evaluation["comparisons"] else "pair_spline"
    simulation = summaries.get("simulate", {})
    return [
        *(entry.check for entry in diagnosis),
        *check_reference(evaluation),
        *check_fit(training),
        *check_trained_pressure(training),
        *check_simulation(
            evaluation,
            name,
            n_stopped=len(simulation.get("stopped", [])),
            has_virial_labels=is_pressure_trained(training),
        ),
        *check_stability(evaluation, name),
        *check_symmetry(evaluation, name, {entry.check.name: entry.map_alone for entry in diagnosis}),
        *check_ensemble(evaluation.get("ensemble")),
        *check_tempering(simulation.get("tempering")),
    ]
