"""Measure every replica of a run by itself: until when it is stable, and its distributions until then.

The spread over replicas is the error bar of a study: each is an independent simulation. Bins are those of the run's
evaluation, so that the curves lie on the reference's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.evaluate import EvaluationSettings
from beadsmith.analysis.free_energy import find_bins
from beadsmith.analysis.measure import frames_after, read_chunks
from beadsmith.analysis.molecule_plan import plan_molecules
from beadsmith.analysis.molecule_series import MoleculeSeries, read_series
from beadsmith.analysis.structure import (
    StructureBins,
    StructureCounts,
    add_counts,
    angular_distributions,
    count_structure,
    radial_distributions,
)
from beadsmith.analysis.temperature import count_degrees_of_freedom, kinetic_temperatures
from beadsmith.io.h5md import StoredTrajectory, open_trajectory
from beadsmith.study.record import StabilitySettings

SURVIVED, STOPPED, HOT, BROKEN = "survived", "stopped", "hot", "bond broken"

_SIGMAS = 6.0
_MOMENTUM_FRAMES = 128


@dataclass(frozen=True, kw_only=True)
class ReplicaEnd:
    """Until when one replica is stable."""

    replica: int
    """Its number."""
    time: float
    """Stable time, equilibration not counted [ps]."""
    reason: str
    """Why it ended: `SURVIVED`, `STOPPED`, `HOT` or `BROKEN`."""


def measure_replicas(
    simulation: Path,
    evaluation: dict[str, Any],
    settings: EvaluationSettings,
    summary: dict[str, Any],
    stability: StabilitySettings,
) -> dict[str, Any]:
    """Return how long the replicas of a run are stable, and their distributions until then.

    Parameters
    ----------
    simulation : Trajectory file, one segment a replica.
    evaluation : What `beadsmith.analysis.evaluate` returned for it: bins and reference curves.
    settings : The settings of that evaluation.
    summary : What the simulation reported: number of replicas, and those that stopped.
    stability : What counts as stable.

    Returns
    -------
    ``stability`` and ``curves``, JSON-ready; each curve beside the reference's with mean and standard deviation over
    replicas.

    Raises
    ------
    InputError : a frame is damaged.
    """
    reference = evaluation["systems"]["reference"]
    # only what has one value a copy in every frame; shapes to compare with belong to the run's own evaluation
    molecules = replace(settings.molecules, native=None, slow_modes=None, surfaces=(), basins=())
    with open_trajectory(simulation) as stored:
        plans = plan_molecules(stored.topology, molecules, {})
        series = read_series(stored, plans, n_blocks=2, discard=0.0) if plans else {}
        _, segment = frames_after(stored, 0.0)
        ends = [
            _find_end(number, stored, np.flatnonzero(segment == number), series, reference, summary, stability)
            for number in range(_count_segments(summary))
        ]
        is_used = (stored.times >= settings.discard) & (stored.times <= np.array([end.time for end in ends])[segment])
        frames = [np.flatnonzero(is_used & (segment == number)) for number in range(len(ends))]
        curves = {
            **_measure_structure(stored, reference, frames, settings.arm_cutoff),
            **_measure_molecules(series, reference, frames),
        }
    return {
        "stability": {
            "n_replicas": len(ends),
            "n_survived": sum(end.reason == SURVIVED for end in ends),
            "n_by_reason": {reason: sum(end.reason == reason for end in ends) for reason in (STOPPED, HOT, BROKEN)},
            "length": {"value": float(stored.times.max(initial=0.0)), "unit": "ps"},
            "stable_time": {"values": [end.time for end in ends], "unit": "ps"},
        },
        "curves": curves,
    }


def _count_segments(summary: dict[str, Any]) -> int:
    """Return the number of replicas, or of ladders under parallel tempering."""
    return int(summary["tempering"]["n_ladders"] if "tempering" in summary else summary["n_replicas"])


def _find_end(
    replica: int,
    stored: StoredTrajectory,
    frames: Int[np.ndarray, "frames"],
    series: dict[str, MoleculeSeries],
    reference: dict[str, Any],
    summary: dict[str, Any],
    stability: StabilitySettings,
) -> ReplicaEnd:
    """Return the first of: the last saved frame of a stopped replica, a frame too hot, a frame with a broken bond."""
    times = stored.times[frames]
    # under parallel tempering a segment is a ladder, whose replicas change
    stopped = "tempering" not in summary and replica in {entry["replica"] for entry in summary["stopped"]}
    last = float(times[-1]) if len(times) else 0.0
    found = ReplicaEnd(replica=replica, time=last, reason=STOPPED if stopped else SURVIVED)
    for reason, is_bad in (
        (HOT, _find_hot(stored, frames, stability)),
        (BROKEN, _find_broken(frames, series, reference, stability)),
    ):
        if is_bad.any():
            first = int(np.argmax(is_bad))
            # the frame before the first bad one
            time = float(times[first - 1]) if first else 0.0
            if time < found.time or not first:
                found = ReplicaEnd(replica=replica, time=time, reason=reason)
    return found


def _find_hot(
    stored: StoredTrajectory, frames: Int[np.ndarray, "frames"], stability: StabilitySettings
) -> Bool[np.ndarray, "frames"]:
    """Return which frames are hotter than the beads can be by chance."""
    if "velocities" not in stored.fields or not len(frames):
        return np.zeros(len(frames), dtype=bool)
    degrees = count_degrees_of_freedom(stored.read(frames[:_MOMENTUM_FRAMES]))
    # the kinetic temperature of n degrees of freedom has a relative standard deviation of sqrt(2/n)
    ratio = max(stability.temperature_ratio, 1.0 + _SIGMAS * np.sqrt(2.0 / degrees))
    temperatures = np.concatenate(
        [kinetic_temperatures(part, degrees_of_freedom=degrees) for part in read_chunks(stored, frames)]
    )
    return temperatures > ratio * stored.state_point.temperature


def _find_broken(
    frames: Int[np.ndarray, "frames"],
    series: dict[str, MoleculeSeries],
    reference: dict[str, Any],
    stability: StabilitySettings,
) -> Bool[np.ndarray, "frames"]:
    """Return which frames have a bond far from its mean length in the reference."""
    is_broken = np.zeros(len(frames), dtype=bool)
    for kind, found in series.items():
        for name, values in found.bonded.items():
            entry = reference["molecules"].get(kind, {}).get("bonded", {}).get(name)
            if not name.startswith("bond ") or entry is None:
                continue
            mean = entry["mean"]["value"]
            width = max(stability.bond_tolerance, _SIGMAS * _spread(entry["curve"], mean))
            is_broken |= (np.abs(values[frames] - mean) > width).any(axis=1)
    return is_broken


def _spread(curve: dict[str, Any], mean: float) -> float:
    """Return the standard deviation of a distribution."""
    edges, density = np.array(curve["edges"]), np.nan_to_num(np.array(curve["density"], dtype=np.float64))
    centres = 0.5 * (edges[1:] + edges[:-1])
    return float(np.sqrt(np.average((centres - mean) ** 2, weights=density)))


def _measure_structure(
    stored: StoredTrajectory,
    reference: dict[str, Any],
    frames: list[Int[np.ndarray, "_frames"]],
    arm_cutoff: float,
) -> dict[str, Any]:
    """Return g(r) of each pair of types and the angular distribution of each triplet over the replicas."""
    if not reference["rdf"]:
        return {}
    angular = reference["adf"]
    bins = StructureBins(
        distance_edges=np.array(next(iter(reference["rdf"].values()))["edges"]),
        angle_edges=np.array(next(iter(angular.values()))["edges"] if angular else [0.0, 180.0]),
        arm_cutoff=arm_cutoff,
    )
    counts = [_sum_structure(stored, chosen, bins) for chosen in frames if len(chosen)]
    curves = {}
    for group, unit, measure in (("rdf", "nm", radial_distributions), ("adf", "degree", angular_distributions)):
        found = measure(counts, bins, stored.topology) if counts else {}
        for label, curve in reference[group].items():
            blocks = found[label].blocks if label in found else None
            curves[f"{group} {label}"] = _summarise_curve(group, curve, blocks, unit=unit)
    return curves


def _sum_structure(stored: StoredTrajectory, frames: Int[np.ndarray, "frames"], bins: StructureBins) -> StructureCounts:
    parts: Iterator[StructureCounts] = (count_structure(part, bins) for part in read_chunks(stored, frames))
    total = next(parts)
    for part in parts:
        total = add_counts(total, part)
    return total


def _measure_molecules(
    series: dict[str, MoleculeSeries], reference: dict[str, Any], frames: list[Int[np.ndarray, "_frames"]]
) -> dict[str, Any]:
    """Return the distribution of each coordinate of each kind of molecule over the replicas."""
    curves = {}
    for kind, found in series.items():
        title = f"{kind} " if len(series) > 1 else ""
        for group, values in (("coordinates", found.values), ("bonded", found.bonded)):
            for name, entry in reference["molecules"].get(kind, {}).get(group, {}).items():
                if name not in values:
                    continue
                edges = np.array(entry["curve"]["edges"])
                rows = [_histogram(values[name][chosen], edges) for chosen in frames if len(chosen)]
                kind_of = name.split(" ")[0] if group == "bonded" else "coordinate"
                blocks = np.array(rows) if rows else None
                curves[f"{title}{name}"] = _summarise_curve(kind_of, entry["curve"], blocks, unit=entry["unit"])
    return curves


def _histogram(values: Float[np.ndarray, "frames samples"], edges: Float[np.ndarray, "edges"]) -> np.ndarray:
    counts = np.bincount(find_bins(values.ravel(), edges), minlength=len(edges) - 1)
    return counts / (counts.sum() * np.diff(edges))


def _summarise_curve(
    group: str, reference: dict[str, Any], replicas: Float[np.ndarray, "replicas bins"] | None, *, unit: str
) -> dict[str, Any]:
    """Return the reference's curve, and mean and standard deviation over the replicas that have any stable frame."""
    n_replicas = 0 if replicas is None else len(replicas)
    summary = {
        "group": group,
        "unit": unit,
        "edges": reference["edges"],
        "reference": reference["density"],
        "reference_error": reference["standard_error"],
        "n_replicas": n_replicas,
        "mean": None,
        "deviation": None,
        "mean_square_difference": None,
    }
    if replicas is not None and n_replicas:
        mean = replicas.mean(axis=0)
        theirs = np.array(reference["density"], dtype=np.float64)
        summary["mean"] = mean
        summary["deviation"] = replicas.std(axis=0, ddof=1) if n_replicas > 1 else None
        summary["mean_square_difference"] = float(np.nanmean((mean - theirs) ** 2))
    return summary
