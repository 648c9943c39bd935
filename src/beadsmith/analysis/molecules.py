"""The part of the verb `evaluate` for molecules of several beads: from files to measurements and comparisons.

The reference comes first: it gives the ranges of the bins, the native structure, and the slow components that every
simulation is projected on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beadsmith.analysis.coordinates import Coordinate
from beadsmith.analysis.definitions import MoleculeSettings, SlowModeSettings
from beadsmith.analysis.molecule_comparison import compare_molecules
from beadsmith.analysis.molecule_measures import Limits, MoleculeMeasurements, choose_limits, measure_molecules
from beadsmith.analysis.molecule_plan import MoleculePlan, large_molecules, plan_molecules
from beadsmith.analysis.molecule_series import MoleculeSeries, read_series, read_structures
from beadsmith.analysis.slow import MarkovModel, SlowModes, find_lag, fit_markov_model, fit_slow_modes
from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory


@dataclass(frozen=True, kw_only=True)
class MoleculeEvaluation:
    """What the molecules of all trajectories have to say, ready for JSON."""

    systems: dict[str, dict[str, Any]]
    """Trajectory → molecule → measurements."""
    comparisons: dict[str, dict[str, Any]]
    """Simulation → molecule → distances to the reference."""


def evaluate_molecules(
    paths: dict[str, Path],
    settings: MoleculeSettings,
    *,
    n_blocks: int,
    discard: dict[str, float],
) -> MoleculeEvaluation:
    """Measure the molecules of several beads in all trajectories, and compare each with the reference.

    Parameters
    ----------
    paths : Trajectory files by name; ``"reference"`` comes first.
    settings : Coordinates, surfaces, basins, slow components.
    n_blocks : Number of blocks for the errors.
    discard : Time dropped at the start of every segment of each trajectory [ps].

    Raises
    ------
    InputError : a file is damaged, or a definition names something that is not there.
    """
    structures = _read_native(paths["reference"], settings)
    measured: dict[str, dict[str, MoleculeMeasurements]] = {}
    learned: dict[str, _Learned] = {}
    for name, path in paths.items():
        with open_trajectory(path) as stored:
            plans = plan_molecules(stored.topology, settings, structures)
            series = read_series(stored, plans, n_blocks=n_blocks, discard=discard[name]) if plans else {}
        if name == "reference":
            learned = {kind: _learn(plan, series[kind], settings) for kind, plan in plans.items()}
        measured[name] = {
            kind: _measure(plan, series[kind], learned[kind], settings, is_reference=name == "reference")
            for kind, plan in plans.items()
            if kind in learned
        }
    systems = {name: {kind: entry.to_json() for kind, entry in kinds.items()} for name, kinds in measured.items()}
    for kind, found in learned.items():
        systems["reference"][kind]["slow_modes"] = None if found.slow is None else found.slow.to_json()
    return MoleculeEvaluation(
        systems=systems,
        comparisons={
            name: {kind: compare_molecules(entry, measured["reference"][kind]) for kind, entry in kinds.items()}
            for name, kinds in measured.items()
            if name != "reference"
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Slow:
    """Slow components of the reference and the Markov model on them."""

    lag: float
    modes: SlowModes
    model: MarkovModel
    is_reweighted: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "lag": {"value": self.lag, "unit": "ps"},
            "timescales": [entry.to_json() for entry in self.modes.timescales],
            "n_states": len(self.model.state_weights.weights),
            "connected_fraction": self.model.connected_fraction,
            "is_reweighted": self.is_reweighted,
            "implied_timescales": [
                {"lag": {"value": lag, "unit": "ps"}, "timescales": [entry.to_json() for entry in entries]}
                for lag, entries in self.model.timescales.items()
            ],
        }


@dataclass(frozen=True, kw_only=True)
class _Learned:
    """What the reference teaches about one kind of molecule, for all trajectories."""

    limits: Limits
    slow: _Slow | None


def _learn(plan: MoleculePlan, series: MoleculeSeries, settings: MoleculeSettings) -> _Learned:
    slow = None if settings.slow_modes is None else _find_slow(series, settings.slow_modes)
    return _Learned(limits=choose_limits(*_add_components(plan, series, slow)), slow=slow)


def _measure(
    plan: MoleculePlan, series: MoleculeSeries, learned: _Learned, settings: MoleculeSettings, *, is_reference: bool
) -> MoleculeMeasurements:
    plan, series = _add_components(plan, series, learned.slow)
    if is_reference and learned.slow is not None and learned.slow.is_reweighted:
        series = replace(series, frames=series.frames.reweighted(learned.slow.model.state_weights))
    return measure_molecules(plan, series, learned.limits, settings)


def _read_native(reference: Path, settings: MoleculeSettings) -> dict[str, Any]:
    if settings.native is None:
        return {}
    with open_trajectory(reference) as stored:
        if not large_molecules(stored.topology):
            return {}
        if settings.native.frame >= stored.n_frames:
            raise InputError(
                f"'frame' of the native structure is {settings.native.frame}, but the reference has only "
                f"{stored.n_frames} frames",
                where="evaluation.molecules.native.frame",
            )
        return read_structures(stored, settings.native.frame)


def _find_slow(series: MoleculeSeries, settings: SlowModeSettings) -> _Slow:
    """Fit slow components and the Markov model to the reference."""
    assert series.features is not None
    if settings.reweight and (series.frames.weight != series.frames.weight[0]).any():
        raise InputError(
            "'reweight' asks for weights from a Markov model, but the frames of the reference have weights already",
            where="evaluation.molecules.slow_modes.reweight",
        )
    lag, spacing = find_lag(series.times, series.segment, settings.lag)
    modes = fit_slow_modes(series.features, series.frames, lag=lag, spacing=spacing, n_components=settings.n_components)
    model = fit_markov_model(
        modes.map_kinetically(series.features),
        series.frames,
        lag=lag,
        spacing=spacing,
        n_states=settings.n_states,
        seed=settings.seed,
    )
    return _Slow(lag=lag * spacing, modes=modes, model=model, is_reweighted=settings.reweight)


def _add_components(
    plan: MoleculePlan, series: MoleculeSeries, slow: _Slow | None
) -> tuple[MoleculePlan, MoleculeSeries]:
    """Return plan and series with the slow components as coordinates, and a surface over the first two."""
    if slow is None:
        return plan, series
    assert series.features is not None
    projected = slow.modes.project(series.features)
    names = [f"TIC {number + 1}" for number in range(projected.shape[1])]
    added = tuple(Coordinate(name=name, unit="1", compute=None) for name in names)
    values = {name: projected[:, [number]] for number, name in enumerate(names)}
    surfaces = ((names[0], names[1]),) if len(names) > 1 else ()
    return (
        replace(plan, coordinates=(*plan.coordinates, *added), surfaces=(*plan.surfaces, *surfaces)),
        replace(series, values={**series.values, **values}),
    )
