"""Distributions, free-energy surfaces, basins, stereocentres and helices of one kind of molecule in one trajectory."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from beadsmith.analysis.blocks import BlockCounts, count_samples, jackknife, measure_average
from beadsmith.analysis.coordinates import Coordinate, is_inside
from beadsmith.analysis.definitions import BasinDefinition, MoleculeSettings
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.free_energy import build_curve, build_surface, find_bins, measure_asymmetry, measure_halves
from beadsmith.analysis.helices import IS_HELICAL
from beadsmith.analysis.molecule_plan import MoleculePlan
from beadsmith.analysis.molecule_series import MoleculeSeries
from beadsmith.analysis.stereocentres import CentreMeasurement, measure_centre
from beadsmith.units import thermal_energy

Limits = dict[str, tuple[float, float]]
"""Lowest and highest value of the bins of each coordinate, the same for all trajectories."""

_MARGIN = 0.1


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The distribution of one coordinate."""

    coordinate: Coordinate
    """What it is the distribution of."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the bins, in the coordinate's unit."""
    counts: BlockCounts
    """Counts of its values."""
    mean: Measurement | None
    """Mean value; None for a periodic coordinate."""

    @property
    def positive(self) -> Measurement:
        """Fraction of the values above 0."""
        above = np.asarray(0.5 * (self.edges[1:] + self.edges[:-1]) > 0.0)
        halves = [np.stack([rows[:, above].sum(axis=1), rows[:, ~above].sum(axis=1)], axis=1) for rows in self._rows]
        return _fraction(BlockCounts(counts=halves[0], left_out=halves[1], n_samples=self.counts.n_samples))

    @property
    def asymmetry(self) -> Measurement:
        """Jensen-Shannon divergence from the mirror image [nats]."""
        return measure_asymmetry(self.counts, (0,))

    @property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        return self.counts.counts, self.counts.left_out

    def to_json(self, label: str) -> dict[str, Any]:
        """Return the curve and what is told about it alone as a JSON-ready dictionary."""
        unit = self.coordinate.unit
        is_odd = self.coordinate.is_odd
        return {
            "unit": unit,
            "is_periodic": self.coordinate.is_periodic,
            "curve": build_curve(self.counts, self.edges, label=label, unit=unit).to_json(),
            "mean": None if self.mean is None else self.mean.to_json(),
            "halves": to_json_or_none(measure_halves(self.counts)),
            "positive": self.positive.to_json() if is_odd else None,
            "asymmetry": self.asymmetry.to_json() if is_odd else None,
        }


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The distribution over two coordinates, in two numbers of bins."""

    x: Coordinate
    """Horizontal coordinate."""
    y: Coordinate
    """Vertical coordinate."""
    edges: dict[int, tuple[np.ndarray, np.ndarray]]
    """Edges of the bins along both, by their number."""
    counts: dict[int, BlockCounts]
    """Counts by the number of bins along each axis."""

    @property
    def odd_axes(self) -> tuple[int, ...]:
        """Axes whose sign a mirror image changes."""
        return tuple(axis for axis, entry in enumerate((self.x, self.y)) if entry.is_odd)


@dataclass(frozen=True, kw_only=True)
class Helices:
    """Helices of a chain of alpha carbons: frames whose helicity is above a half."""

    helical: Measurement
    """Fraction of the frames that are helical."""
    left_handed: Measurement | None
    """Fraction of the helical frames whose handedness is negative; None where no frame is helical."""

    def to_json(self) -> dict[str, Any]:
        """Return both as a JSON-ready dictionary."""
        return {
            "threshold": IS_HELICAL,
            "helical": self.helical.to_json(),
            "left_handed": to_json_or_none(self.left_handed),
        }


@dataclass(frozen=True, kw_only=True)
class MoleculeMeasurements:
    """Everything measured on one kind of molecule in one trajectory."""

    n_copies: int
    """Number of copies of the molecule."""
    n_frames: int
    """Number of frames."""
    n_effective: float
    """Number of frames of equal weight that are worth as much."""
    temperature: float
    """Temperature of the state point [K]."""
    curves: dict[str, Curve]
    """Distributions of the coordinates."""
    bonded: dict[str, Curve]
    """Distributions of bonds, angles and dihedrals."""
    surfaces: dict[str, Surface]
    """Distributions over two coordinates, by ``"x, y"``."""
    basins: dict[str, Measurement]
    """Population of each basin."""
    definitions: tuple[BasinDefinition, ...]
    """The ranges of the basins."""
    centres: dict[str, CentreMeasurement]
    """The hand of each stereocentre."""
    helices: Helices | None
    """How helical the chain is and of which hand; None where it has no five alpha carbons."""

    def to_json(self) -> dict[str, Any]:
        """Return all measurements as a JSON-ready dictionary; surfaces with the first number of bins."""
        kT = thermal_energy(self.temperature)
        surfaces = {}
        for label, surface in self.surfaces.items():
            first = next(iter(surface.counts))
            names = (surface.x.name, surface.y.name)
            drawn = build_surface(surface.counts[first], names, surface.edges[first], thermal_energy=kT)
            odd = surface.odd_axes
            surfaces[label] = {
                **drawn.to_json(),
                "units": [surface.x.unit, surface.y.unit],
                "asymmetry": measure_asymmetry(surface.counts[first], odd).to_json() if odd else None,
            }
        return {
            "n_copies": self.n_copies,
            "n_frames": self.n_frames,
            "n_effective": self.n_effective,
            "coordinates": {name: curve.to_json(name) for name, curve in self.curves.items()},
            "bonded": {name: curve.to_json(name) for name, curve in self.bonded.items()},
            "surfaces": surfaces,
            "basins": {name: value.to_json() for name, value in self.basins.items()},
            "basin_ranges": [asdict(basin) for basin in self.definitions],
            "stereocentres": {name: value.to_json() for name, value in self.centres.items()},
            "helices": None if self.helices is None else self.helices.to_json(),
        }


def choose_limits(plan: MoleculePlan, series: MoleculeSeries) -> Limits:
    """Return the range of the bins of each coordinate: its natural one, else the data's widened by a tenth."""
    limits = {}
    for entries, values in ((plan.coordinates, series.values), (plan.bonded, series.bonded)):
        for entry in entries:
            limits[entry.name] = _coordinate_limits(entry, values[entry.name])
    return limits


def measure_molecules(
    plan: MoleculePlan, series: MoleculeSeries, limits: Limits, settings: MoleculeSettings
) -> MoleculeMeasurements:
    """Return the distributions of all that a plan names.

    Parameters
    ----------
    plan : Coordinates, surfaces and basins.
    series : Their values, with blocks and weights.
    limits : Range of the bins of each coordinate; values beyond count in the outermost bins.
    settings : Numbers of bins.
    """
    coordinates = plan.by_name

    def measure_curves(entries: Iterable[Coordinate], values: dict[str, np.ndarray]) -> dict[str, Curve]:
        return {
            entry.name: _measure_curve(entry, values[entry.name], limits[entry.name], series, settings.n_curve_bins)
            for entry in entries
        }

    return MoleculeMeasurements(
        n_copies=plan.molecules.n_molecules,
        n_frames=len(series.times),
        n_effective=series.frames.n_effective,
        temperature=series.temperature,
        curves=measure_curves(plan.coordinates, series.values),
        bonded=measure_curves(plan.bonded, series.bonded),
        surfaces={
            f"{x}, {y}": _measure_surface(coordinates[x], coordinates[y], series, limits, settings.n_surface_bins)
            for x, y in plan.surfaces
        },
        basins=_measure_basins(plan.basins, series, coordinates),
        definitions=plan.basins,
        centres={name: measure_centre(values, series.times, series.segment) for name, values in series.centres.items()},
        helices=_measure_helices(series),
    )


def to_json_or_none(measurement: Measurement | None) -> dict[str, Any] | None:
    """Return a measurement as a JSON-ready dictionary; None stays None."""
    return None if measurement is None else measurement.to_json()


def _coordinate_limits(entry: Coordinate, values: np.ndarray) -> tuple[float, float]:
    if entry.limits is not None:
        return entry.limits
    lowest, highest = float(values.min()), float(values.max())
    # a constrained distance does not vary at all
    margin = max(_MARGIN * (highest - lowest), 1e-3)
    low, high = lowest - margin, highest + margin
    if entry.is_odd:
        return -max(-low, high), max(-low, high)
    return (max(0.0, low) if lowest >= 0.0 else low), high


def _measure_curve(
    entry: Coordinate, values: np.ndarray, limits: tuple[float, float], series: MoleculeSeries, n_bins: int
) -> Curve:
    edges = np.linspace(*limits, n_bins + 1)
    return Curve(
        coordinate=entry,
        edges=edges,
        counts=count_samples(find_bins(values, edges), (n_bins,), series.frames),
        mean=None if entry.is_periodic else measure_average(values, series.frames, unit=entry.unit),
    )


def _measure_surface(
    x: Coordinate, y: Coordinate, series: MoleculeSeries, limits: Limits, n_bins: tuple[int, ...]
) -> Surface:
    edges, counts = {}, {}
    for number in n_bins:
        edges[number] = (np.linspace(*limits[x.name], number + 1), np.linspace(*limits[y.name], number + 1))
        bins = [find_bins(series.values[entry.name], along) for entry, along in zip((x, y), edges[number], strict=True)]
        counts[number] = count_samples(bins[0] * number + bins[1], (number, number), series.frames)
    return Surface(x=x, y=y, edges=edges, counts=counts)


def _measure_basins(
    basins: tuple[BasinDefinition, ...], series: MoleculeSeries, coordinates: dict[str, Coordinate]
) -> dict[str, Measurement]:
    """Return the population of each basin; basins of equal name are united."""
    inside: dict[str, np.ndarray] = {}
    for basin in basins:
        part = np.logical_and.reduce(
            [
                is_inside(
                    limits, series.values[limits.coordinate], is_periodic=coordinates[limits.coordinate].is_periodic
                )
                for limits in basin.ranges
            ]
        )
        inside[basin.name] = inside.get(basin.name, False) | part
    # bin 0 is inside, bin 1 outside
    return {
        name: _fraction(count_samples((~found).astype(np.int64), (2,), series.frames)) for name, found in inside.items()
    }


def _measure_helices(series: MoleculeSeries) -> Helices | None:
    if not {"helicity", "handedness"} <= series.values.keys():
        return None
    is_helical, is_left = series.values["helicity"] > IS_HELICAL, series.values["handedness"] < 0.0
    # bin 0: helical and left-handed; bin 1: helical and right-handed; bin 2: no helix
    counts = count_samples(np.where(is_helical, np.where(is_left, 0, 1), 2), (3,), series.frames)
    helical = jackknife(lambda rows: rows[:2].sum() / rows.sum(), counts)
    left = jackknife(lambda rows: rows[0] / rows[:2].sum() if rows[:2].any() else np.nan, counts)

    def measure(share: float, error: np.ndarray) -> Measurement:
        return Measurement(value=float(share), standard_error=float(error), unit="1", n_samples=counts.n_blocks)

    total = counts.total
    return Helices(
        helical=measure(total[:2].sum() / total.sum(), helical),
        left_handed=measure(total[0] / total[:2].sum(), left) if total[:2].any() else None,
    )


def _fraction(counts: BlockCounts) -> Measurement:
    """Return the share of the first of two bins."""
    return Measurement(
        value=float(counts.probability[0]),
        standard_error=float(counts.standard_error[0]),
        unit="1",
        n_samples=counts.n_blocks,
    )
