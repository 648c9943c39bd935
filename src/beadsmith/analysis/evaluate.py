"""The verb `evaluate`: measure the reference and every simulation in the same way, and hold them against each other.

Every trajectory is read block by block. What applies to it is measured: structure, motion and pressure where there
are several molecules, coordinates and free energies where molecules have several beads (`molecules`), bonds and nearest
neighbours where there are bonds. The result is one JSON object; every number in it is a `Measurement` (value, standard
error, unit, number of samples).
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from beadsmith.analysis.bond_identity import BondIdentity, follow_bonds, survey_bonds
from beadsmith.analysis.comparison import (
    divide,
    expected_difference,
    mean_absolute_difference,
    sampling_error,
    subtract,
)
from beadsmith.analysis.definitions import MoleculeSettings
from beadsmith.analysis.displacement import available_lag
from beadsmith.analysis.distribution import Distribution
from beadsmith.analysis.inversion import InversionSettings
from beadsmith.analysis.measure import SystemMeasurements, frames_after, measure_trajectory
from beadsmith.analysis.molecules import evaluate_molecules
from beadsmith.analysis.structure import StructureBins, choose_bins, find_first_peak
from beadsmith.errors import InputError
from beadsmith.io.h5md import StoredTrajectory, open_trajectory
from beadsmith.progress import Progress, silent
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How simulations are compared with the reference."""

    distance_bin: Annotated[float, Unit("nm")] = 0.01
    """Width of the distance bins of the radial distribution function."""
    largest_distance: Annotated[float, Unit("nm")] = 1.5
    """Largest distance of the radial distribution function; half the smallest height of the cell if that is less."""
    window_start: Annotated[float, Unit("nm")] = 0.3
    """Start of the window over which radial distribution functions are compared by one number."""
    window_end: Annotated[float, Unit("nm")] = 1.0
    """End of that window."""
    arm_cutoff: Annotated[float, Unit("nm")] = 0.45
    """Both neighbours of a triplet's centre are closer than this in the angular distribution."""
    n_angle_bins: int = 36
    """Number of angle bins over 0 to 180 degrees."""
    n_blocks: int = 10
    """Number of blocks of frames for the error bars; a block should be longer than the slowest correlation."""
    discard: Annotated[float, Unit("ps")] = 0.0
    """Time dropped at the start of every simulated replica, beyond the equilibration that was never saved."""
    diffusion_start: Annotated[float, Unit("ps")] = 2.0
    """Shortest time difference in the fit of the diffusion coefficient, beyond the ballistic motion."""
    diffusion_end: Annotated[float, Unit("ps")] = 8.0
    """Longest time difference in that fit; less where a run is shorter than ten times this."""
    molecules: MoleculeSettings = field(default_factory=MoleculeSettings)
    """Coordinates, free-energy surfaces and basins of molecules of several beads."""
    inversion_barrier: InversionSettings | None = None
    """Metadynamics along the signed improper of every stereocentre, for systems of one molecule; it takes minutes, and
    'none' leaves it out."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be measured.

        Raises
        ------
        InputError : a value is out of range.
        """
        for name in ("distance_bin", "largest_distance", "arm_cutoff", "diffusion_start", "diffusion_end"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"'{name}' is {getattr(self, name)}, expected > 0")
        if self.discard < 0.0:
            raise InputError(f"'discard' is {self.discard} ps, expected >= 0")
        if not 0.0 <= self.window_start < self.window_end:
            raise InputError(f"the window from {self.window_start} to {self.window_end} nm is empty")
        if not self.diffusion_start < self.diffusion_end:
            raise InputError(
                f"'diffusion_start' is {self.diffusion_start} ps, expected less than 'diffusion_end' "
                f"({self.diffusion_end} ps)"
            )
        if self.n_angle_bins < 2:
            raise InputError(f"'n_angle_bins' is {self.n_angle_bins}, expected at least 2")
        if self.n_blocks < 2:
            raise InputError(f"'n_blocks' is {self.n_blocks}, expected at least 2: one block gives no error bar")


def evaluate(
    reference: Path, simulations: dict[str, Path], settings: EvaluationSettings, *, progress: Progress = silent
) -> dict[str, Any]:
    """Measure the mapped reference and the simulations, and compare each simulation with the reference.

    Parameters
    ----------
    reference : The mapped reference trajectory.
    simulations : Trajectory files by name; ``"network"`` is the main model, ``"pair_spline"`` the baseline.
    settings : Bins, windows and blocks.
    progress : Receives the number of frames done.

    Returns
    -------
    ``settings``, ``systems`` (name → measurements) and ``comparisons`` (simulation → distances to the reference).

    Raises
    ------
    InputError : a file cannot be read, or a simulation has other site types than the reference.
    """
    paths = {"reference": reference, **simulations}
    plan = _inspect(paths, settings)
    total = sum(plan.n_frames.values())
    measured: dict[str, SystemMeasurements] = {}
    for name, path in paths.items():
        before = sum(plan.n_frames[earlier] for earlier in measured)
        with open_trajectory(path) as stored:
            measured[name] = measure_trajectory(
                stored,
                plan.bins,
                n_blocks=settings.n_blocks,
                discard=_discarded(name, settings),
                fit_window=plan.fit_window,
                progress=_shifted(progress, before=before, of_all=total, name=name),
            )
    molecules = evaluate_molecules(
        paths,
        settings.molecules,
        n_blocks=settings.n_blocks,
        discard={name: _discarded(name, settings) for name in paths},
    )
    bonds = _follow_bonds(paths)
    return {
        "settings": asdict(settings),
        "systems": {
            name: {
                **system.to_json(),
                "molecules": molecules.systems[name],
                "bond_identity": bonds[name].to_json() if name in bonds else None,
            }
            for name, system in measured.items()
        },
        "comparisons": {
            name: {
                **_compare(measured[name], measured["reference"], settings),
                "molecules": molecules.comparisons[name],
            }
            for name in simulations
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What all files have in common, so that their curves can be compared."""

    bins: StructureBins
    n_frames: dict[str, int]
    fit_window: tuple[float, float]


def _inspect(paths: dict[str, Path], settings: EvaluationSettings) -> _Plan:
    """Choose bins that fit the reference's cell, and lags that every file is long enough for."""
    n_frames: dict[str, int] = {}
    expected: tuple[str, ...] | None = None
    bins: StructureBins | None = None
    longest = settings.diffusion_end
    for name, path in paths.items():
        with open_trajectory(path) as stored:
            n_frames[name] = stored.n_frames
            found = stored.topology.type_names
            if bins is None or expected is None:
                bins, expected = _choose_bins(stored, settings), found
            elif found != expected:
                raise InputError(
                    f"the simulation has site types {found}, the reference {expected}",
                    where=f"file '{path}'",
                    fix="Compare a simulation only with the reference that its force field was trained on.",
                )
            kept, segment = frames_after(stored, _discarded(name, settings))
            if kept.any():
                longest = available_lag(stored.times[kept], segment[kept], wanted=longest)
    assert bins is not None
    return _Plan(bins=bins, n_frames=n_frames, fit_window=(min(settings.diffusion_start, 0.5 * longest), longest))


def _follow_bonds(paths: dict[str, Path]) -> dict[str, BondIdentity]:
    """Return what became of the bonds in every trajectory, equilibration included; nothing where there are none."""
    with open_trajectory(paths["reference"]) as stored:
        survey = survey_bonds(stored)
    if survey is None:
        return {}
    found = {}
    for name, path in paths.items():
        with open_trajectory(path) as stored:
            found[name] = follow_bonds(stored, survey)
    return found


def _discarded(name: str, settings: EvaluationSettings) -> float:
    """Return the time dropped at the start of each segment [ps]; the sampling has equilibrated the reference."""
    return 0.0 if name == "reference" else settings.discard


def _shifted(progress: Progress, *, before: int, of_all: int, name: str) -> Progress:
    """Return a progress receiver for one file that reports to the receiver of all files."""

    def report(done: float, total: float, note: str = "") -> None:
        progress(before + done, of_all, name)

    return report


def _choose_bins(stored: StoredTrajectory, settings: EvaluationSettings) -> StructureBins:
    return choose_bins(
        stored.read(slice(0, 1)),
        bin_width=settings.distance_bin,
        largest_distance=settings.largest_distance,
        arm_cutoff=settings.arm_cutoff,
        n_angle_bins=settings.n_angle_bins,
    )


def _compare(
    simulated: SystemMeasurements, reference: SystemMeasurements, settings: EvaluationSettings
) -> dict[str, Any]:
    """Return every distance between one simulation and the reference."""
    window = (settings.window_start, settings.window_end)
    return {
        "window": {"value": list(window), "unit": "nm"},
        "rdf": {
            label: {
                **_compare_curves(simulated.radial[label], curve, window),
                **_compare_peaks(simulated.radial[label], curve),
            }
            for label, curve in reference.radial.items()
            if _is_comparable(simulated.radial.get(label), curve)
        },
        "adf": {
            label: _compare_curves(simulated.angular[label], curve, None)
            for label, curve in reference.angular.items()
            if _is_comparable(simulated.angular.get(label), curve)
        },
        "speed_up": {
            name: divide(record.diffusion, reference.displacements[name].diffusion).to_json()
            for name, record in simulated.displacements.items()
            if name in reference.displacements and reference.displacements[name].diffusion.value > 0.0
        },
        "pressure_difference": _subtract_scalars(simulated, reference, "pressure"),
        "density_difference": _subtract_scalars(simulated, reference, "density"),
    }


def _is_comparable(simulated: Distribution | None, reference: Distribution) -> bool:
    """Return whether both curves have an error bar; rare kinds of triplets may be seen in one block only."""
    return simulated is not None and min(len(simulated.blocks), len(reference.blocks)) >= 2


def _compare_curves(
    simulated: Distribution, reference: Distribution, window: tuple[float, float] | None
) -> dict[str, Any]:
    """Return the mean |difference| and what chance alone would make of it."""
    own = [sampling_error(curve, window) for curve in (reference, simulated)]
    return {
        "mean_difference": mean_absolute_difference(simulated, reference, window).to_json(),
        "reference_error": own[0].to_json(),
        "simulation_error": own[1].to_json(),
        "expected_by_chance": expected_difference(own[0], own[1]).to_json(),
    }


def _compare_peaks(simulated: Distribution, reference: Distribution) -> dict[str, Any]:
    peaks = find_first_peak(simulated), find_first_peak(reference)
    if peaks[0] is None or peaks[1] is None:
        return {"peak_shift": None, "peak_height_ratio": None}
    return {
        "peak_shift": subtract(peaks[0][0], peaks[1][0]).to_json(),
        "peak_height_ratio": divide(peaks[0][1], peaks[1][1]).to_json(),
    }


def _subtract_scalars(simulated: SystemMeasurements, reference: SystemMeasurements, name: str) -> dict[str, Any] | None:
    first, second = simulated.scalars[name], reference.scalars[name]
    return None if first is None or second is None else subtract(first, second).to_json()
