"""Measure all that the fields of one stored trajectory allow, in one pass, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.displacement import Displacement, cut_into_blocks, measure_displacements
from beadsmith.analysis.distribution import Distribution, Measurement
from beadsmith.analysis.forces import measure_forces, sum_force_moments
from beadsmith.analysis.number_fluctuations import NumberCounts, add_numbers, count_numbers, is_measurable
from beadsmith.analysis.state_variables import (
    SERIES_UNITS,
    collect_series,
    measure_fluctuations,
    measure_scalars,
)
from beadsmith.analysis.structure import (
    StructureBins,
    StructureCounts,
    add_counts,
    angular_distributions,
    closest_pairs,
    count_structure,
    find_first_peak,
    radial_distributions,
)
from beadsmith.analysis.temperature import count_degrees_of_freedom, find_hottest_frame
from beadsmith.errors import InputError
from beadsmith.io.h5md import StoredTrajectory
from beadsmith.progress import Progress, silent
from beadsmith.statistics import block_edges
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory
from beadsmith.units import BAR, SQUARE_CENTIMETRE_PER_SECOND

_CHUNK_SITES = 32_768
_MOMENTUM_FRAMES = 128
_LONGEST_SERIES = 400


@dataclass(frozen=True, kw_only=True)
class SystemMeasurements:
    """Everything measured on one trajectory."""

    n_frames: int
    """Frames in the file, all searched for the closest pair."""
    n_used: int
    """Frames behind all other numbers: those after the discarded time."""
    length: float
    """Simulated time behind them, over all segments [ps]."""
    n_segments: int
    """Number of runs or replicas."""
    topology: Topology
    """The sites."""
    temperature_set: float
    """Temperature of the state point [K]."""
    pressure_set: float | None
    """Pressure of the state point [bar]; None at constant volume."""
    integrator: str | None
    """Integrator of a coarse-grained run, or None where the file does not name it."""
    volume: float | None
    """Mean volume of the cell [nm³]; None for an open system."""
    radial: dict[str, Distribution]
    """g(r) by pair of types; empty for an open system."""
    angular: dict[str, Distribution]
    """Distribution of angles by kind of triplet."""
    closest: dict[str, float]
    """Smallest distance in any frame by pair of types [nm]."""
    scalars: dict[str, Measurement | None]
    """``kinetic_temperature``, ``pressure``, ``density``, ``energy``, ``energy_drift``, ``compressibility`` and
    ``heat_capacity``; None where the file lacks the field, or the frames cannot show it."""
    compressibility_from: str | None
    """Fluctuations that the compressibility was read from, or None."""
    hottest: dict[str, Any] | None
    """The frame of the highest kinetic temperature [K]: ``value``, ``time``, and what chance makes of it."""
    forces: dict[str, dict[str, Measurement]]
    """Moments of the forces by site type; empty where the file has none."""
    displacements: dict[str, Displacement]
    """Mean-square displacement and diffusion coefficient by site type."""
    no_diffusion: str | None
    """Why there is no diffusion coefficient, or None."""
    series: dict[str, Float[np.ndarray, "points"]]
    """Time series, averaged down to a few hundred points: ``time``, ``segment`` and those of the scalars."""

    def to_json(self) -> dict[str, Any]:
        """Return all measurements as a JSON-ready dictionary."""
        return {
            "n_frames": self.n_frames,
            "n_used": self.n_used,
            "length": {"value": self.length, "unit": "ps"},
            "n_segments": self.n_segments,
            "n_sites": self.topology.n_sites,
            "n_molecules": self.topology.n_molecules,
            "type_names": list(self.topology.type_names),
            "temperature_set": {"value": self.temperature_set, "unit": "K"},
            "pressure_set": None if self.pressure_set is None else {"value": self.pressure_set, "unit": "bar"},
            "integrator": self.integrator,
            "volume": None if self.volume is None else {"value": self.volume, "unit": "nm^3"},
            "rdf": {label: curve.to_json() for label, curve in self.radial.items()},
            "adf": {label: curve.to_json() for label, curve in self.angular.items()},
            "first_peak": {label: _peak_to_json(curve) for label, curve in self.radial.items()},
            "closest_pair": {
                label: {"value": value, "standard_error": None, "unit": "nm", "n_samples": self.n_frames}
                for label, value in self.closest.items()
            },
            **{name: None if value is None else value.to_json() for name, value in self.scalars.items()},
            "compressibility_from": self.compressibility_from,
            "hottest_frame": self.hottest,
            "forces": {
                name: {key: value.to_json() for key, value in entry.items()} for name, entry in self.forces.items()
            },
            "diffusion": {name: diffusion_at_edge(record).to_json() for name, record in self.displacements.items()},
            "no_diffusion": self.no_diffusion,
            "displacement": {name: _displacement_to_json(record) for name, record in self.displacements.items()},
            "series": {
                "units": {"time": "ps", **{key: unit for key, unit in SERIES_UNITS.items() if key in self.series}},
                **{name: values.tolist() for name, values in self.series.items()},
            },
        }


def diffusion_at_edge(record: Displacement) -> Measurement:
    """Return the diffusion coefficient in 1e-5 cm²/s, the unit that tables use."""
    factor = 1e5 / SQUARE_CENTIMETRE_PER_SECOND
    found = record.diffusion
    return Measurement(
        value=factor * found.value,
        standard_error=factor * found.standard_error,
        unit="1e-5 cm^2/s",
        n_samples=found.n_samples,
    )


def measure_trajectory(
    stored: StoredTrajectory,
    bins: StructureBins,
    *,
    n_blocks: int,
    discard: float,
    fit_window: tuple[float, float],
    progress: Progress = silent,
) -> SystemMeasurements:
    """Measure everything that the fields of a stored trajectory allow.

    Parameters
    ----------
    stored : The open file.
    bins : Bins of distances and angles.
    n_blocks : Number of blocks for the error bars.
    discard : Time dropped at the start of every segment [ps]; still searched for the closest pair.
    fit_window : Shortest and longest lag of the diffusion fit [ps].
    progress : Receives the number of frames done.

    Raises
    ------
    InputError : too few frames are left, or a frame is damaged.
    """
    kept, segment = frames_after(stored, discard)
    _refuse_too_few(stored, int(kept.sum()), discard)
    frames = np.flatnonzero(kept)
    block_frames = [frames[part] for part in block_edges(len(frames), min(n_blocks, len(frames)), segment[kept])]
    degrees = _degrees_of_freedom(stored, frames)
    blocks, done = [], 0
    for chosen in block_frames:
        blocks.append(_measure_block(stored, chosen, bins, degrees))
        done += len(chosen)
        progress(done, stored.n_frames)
    closest = [block.structure for block in blocks]
    if not kept.all():
        closest.append(_count_unused(stored, np.flatnonzero(~kept), bins))
        progress(stored.n_frames, stored.n_frames)
    topology = stored.topology
    structure = [block.structure for block in blocks]
    series = {key: np.concatenate([block.series[key] for block in blocks]) for key in blocks[0].series}
    displacements, no_diffusion = _measure_motion(stored, frames, segment[kept], fit_window)
    integrator, state = stored.metadata.get("settings", {}).get("integrator"), stored.state_point
    fluctuations, source = measure_fluctuations(
        series,
        [block.numbers for block in blocks if block.numbers is not None],
        temperature=state.temperature,
        n_molecules=topology.n_molecules,
        is_atomistic=integrator is None,
        n_blocks=n_blocks,
    )
    return SystemMeasurements(
        n_frames=stored.n_frames,
        n_used=len(frames),
        length=_length(stored.times, segment, kept),
        n_segments=len(np.unique(segment[kept])),
        topology=topology,
        temperature_set=state.temperature,
        pressure_set=None if state.pressure is None else state.pressure / BAR,
        integrator=integrator,
        volume=float(np.average(series["volume"], weights=series["weight"])) if "volume" in series else None,
        radial=radial_distributions(structure, bins, topology) if "volume" in series else {},
        angular=angular_distributions(structure, bins, topology),
        closest=closest_pairs(closest, topology),
        scalars={**measure_scalars(series, n_blocks), **fluctuations},
        compressibility_from=source,
        hottest=None if degrees is None else find_hottest_frame(series, degrees, stored.state_point.temperature),
        forces=measure_forces([block.forces for block in blocks if block.forces]),
        displacements=displacements,
        no_diffusion=no_diffusion,
        series=_thin(series),
    )


def _measure_motion(
    stored: StoredTrajectory,
    frames: Int[np.ndarray, "frames"],
    segment: Int[np.ndarray, "frames"],
    fit_window: tuple[float, float],
) -> tuple[dict[str, Displacement], str | None]:
    """Return displacement and diffusion of a liquid, and a reason where there is none."""
    if stored.topology.n_molecules == 1 and "cell" not in stored.fields:
        return {}, "a single molecule in open space drifts by the friction of its thermostat alone"
    pieces = cut_into_blocks(stored.times[frames], segment, longest_lag=fit_window[1])
    return measure_displacements((stored.read(frames[piece]) for piece in pieces), fit_window=fit_window)


def _refuse_too_few(stored: StoredTrajectory, n_kept: int, discard: float) -> None:
    if n_kept < 2:
        raise InputError(
            f"{n_kept} of {stored.n_frames} frames are left after dropping {discard:g} ps of every segment",
            where=f"file '{stored.path}'",
            fix="Simulate longer or lower 'evaluation.discard'.",
        )


@dataclass(frozen=True, kw_only=True)
class _Block:
    """What one block of frames leaves behind."""

    structure: StructureCounts
    forces: dict[str, np.ndarray]
    series: dict[str, np.ndarray]
    numbers: NumberCounts | None


def _measure_block(
    stored: StoredTrajectory, frames: Int[np.ndarray, "frames"], bins: StructureBins, degrees: int | None
) -> _Block:
    """Read one block in chunks and keep only sums, series and positions."""
    structure: StructureCounts | None = None
    forces: dict[str, np.ndarray] = {}
    series: list[dict[str, np.ndarray]] = []
    numbers: NumberCounts | None = None
    for part in read_chunks(stored, frames):
        counts = count_structure(part, bins, part.weight)
        structure = counts if structure is None else add_counts(structure, counts)
        if part.forces is not None:
            forces = {name: forces.get(name, 0.0) + sums for name, sums in sum_force_moments(part).items()}
        series.append(collect_series(part, degrees))
        if is_measurable(part):
            own = count_numbers(part)
            numbers = own if numbers is None else add_numbers(numbers, own)
    assert structure is not None
    joined = {key: np.concatenate([entry[key] for entry in series]) for key in series[0]}
    return _Block(structure=structure, forces=forces, series=joined, numbers=numbers)


def _count_unused(stored: StoredTrajectory, frames: Int[np.ndarray, "frames"], bins: StructureBins) -> StructureCounts:
    """Search discarded frames for the closest pair: a false well shows at any time."""
    parts = [count_structure(part, bins, np.zeros(part.n_frames)) for part in read_chunks(stored, frames)]
    total = parts[0]
    for part in parts[1:]:
        total = add_counts(total, part)
    return total


def frames_after(
    stored: StoredTrajectory, discard: float
) -> tuple[Bool[np.ndarray, "frames"], Int[np.ndarray, "frames"]]:
    """Return which frames lie beyond the discarded start of their segment, and all segments."""
    found = stored.segment
    segment = np.zeros(stored.n_frames, dtype=np.int64) if found is None else found
    kept = np.zeros(stored.n_frames, dtype=bool)
    for label in np.unique(segment):
        inside = segment == label
        # half a float32 step of slack: times are sums of timesteps
        kept[inside] = stored.times[inside] >= discard * (1.0 - 1e-6) if discard else True
    return kept, segment


def read_chunks(stored: StoredTrajectory, frames: Int[np.ndarray, "frames"]) -> Iterator[Trajectory]:
    """Give the chosen frames in order, in chunks of about 33,000 sites."""
    step = max(1, _CHUNK_SITES // stored.topology.n_sites)
    for start in range(0, len(frames), step):
        chosen = frames[start : start + step]
        is_contiguous = int(chosen[-1]) - int(chosen[0]) + 1 == len(chosen)
        yield stored.read(slice(int(chosen[0]), int(chosen[-1]) + 1) if is_contiguous else chosen)


def _degrees_of_freedom(stored: StoredTrajectory, frames: Int[np.ndarray, "frames"]) -> int | None:
    if "velocities" not in stored.fields:
        return None
    return count_degrees_of_freedom(stored.read(frames[:_MOMENTUM_FRAMES]))


def _length(times: np.ndarray, segment: np.ndarray, kept: np.ndarray) -> float:
    """Return the simulated time behind the kept frames: per segment, frames × spacing."""
    total = 0.0
    for label in np.unique(segment[kept]):
        inside = times[kept & (segment == label)]
        spacing = float(np.median(np.diff(inside))) if len(inside) > 1 else 0.0
        total += spacing * len(inside)
    return total


def _thin(series: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Average neighbouring frames of each segment until a few hundred points are left for the plots."""
    n_frames = len(series["time"])
    group = max(1, -(-n_frames // _LONGEST_SERIES))
    thinned: dict[str, list[float]] = {key: [] for key in series if key != "weight"}
    for label in dict.fromkeys(series["segment"].tolist()):
        inside = np.flatnonzero(series["segment"] == label)
        for part in np.array_split(inside, max(1, len(inside) // group)):
            for key, values in thinned.items():
                values.append(float(series[key][part].mean()))
    return {key: np.array(values) for key, values in thinned.items()}


def _peak_to_json(curve: Distribution) -> dict[str, Any] | None:
    peak = find_first_peak(curve)
    return None if peak is None else {"position": peak[0].to_json(), "height": peak[1].to_json()}


def _displacement_to_json(record: Displacement) -> dict[str, Any]:
    return {
        "lag": record.lags.tolist(),
        "mean_square": record.mean_square.tolist(),
        "standard_error": record.standard_error.tolist(),
        "fit_window": list(record.fit_window),
        "units": {"lag": "ps", "mean_square": "nm^2", "fit_window": "ps"},
    }
