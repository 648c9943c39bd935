"""What describes the thermodynamic state of a trajectory: series of its frames, and their means and fluctuations."""

from dataclasses import replace

import numpy as np

from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.number_fluctuations import NumberCounts, measure_bulk_compressibility
from beadsmith.analysis.temperature import kinetic_temperatures
from beadsmith.analysis.thermodynamics import (
    densities,
    measure_compressibility,
    measure_drift,
    measure_heat_capacity,
    measure_mean,
    pressures,
)
from beadsmith.trajectory import Trajectory
from beadsmith.units import BAR

SERIES_UNITS = {"kinetic_temperature": "K", "energy": "kJ/mol", "pressure": "bar", "density": "g/cm^3"}
"""Unit of each series that has a mean."""

_SAME_VOLUME = 1e-5
"""Relative spread of volumes that is rounding of float32 cells."""


def collect_series(part: Trajectory, degrees: int | None) -> dict[str, np.ndarray]:
    """Return time, segment, weight, volume and the series of `SERIES_UNITS` that the fields of some frames allow.

    Parameters
    ----------
    part : Frames.
    degrees : Momenta that are free, or None for no temperature.
    """
    n_frames = part.n_frames
    series: dict[str, np.ndarray] = {
        "time": part.times,
        "segment": np.zeros(n_frames, dtype=np.int64) if part.segment is None else part.segment,
        "weight": np.ones(n_frames) if part.weight is None else part.weight,
    }
    if part.cell is not None:
        series["volume"] = part.volumes()
        series["density"] = densities(part)
    if degrees is not None:
        series["kinetic_temperature"] = kinetic_temperatures(part, degrees_of_freedom=degrees)
    if part.energy is not None:
        series["energy"] = part.energy
    if part.virial is not None and part.cell is not None:
        series["pressure"] = pressures(part) / BAR
    return series


def measure_scalars(series: dict[str, np.ndarray], n_blocks: int) -> dict[str, Measurement | None]:
    """Return the mean of every series, None for those that are missing, and the drift of the energy."""
    segment, weight = series["segment"], series["weight"]
    scalars: dict[str, Measurement | None] = {
        name: measure_mean(series[name], unit=unit, n_blocks=n_blocks, segment=segment, weight=weight)
        if name in series
        else None
        for name, unit in SERIES_UNITS.items()
    }
    density = scalars["density"]
    if density is not None and has_constant_volume(series["volume"], segment):
        # it is what the cells were made with; blocks of equal numbers differ by rounding
        scalars["density"] = replace(density, standard_error=0.0)
    scalars["energy_drift"] = (
        measure_drift(series["energy"], unit="kJ/mol", n_blocks=n_blocks, segment=segment)
        if "energy" in series
        else None
    )
    return scalars


def measure_fluctuations(
    series: dict[str, np.ndarray],
    numbers: list[NumberCounts],
    *,
    temperature: float,
    n_molecules: int,
    is_atomistic: bool,
    n_blocks: int,
) -> tuple[dict[str, Measurement | None], str | None]:
    """Return ``compressibility`` and ``heat_capacity``, None where frames cannot show them, and the first one's origin.

    At constant pressure volumes show the compressibility, at constant volume the numbers of molecules in parts of the
    cell: whether a volume changes is asked of each segment, since replicas may keep cells of different sizes. The heat
    capacity is that of the potential energy at one constant volume; it is read from atomistic energies only, since
    those of a coarse-grained run are free energies.

    Parameters
    ----------
    series : What `collect_series` returned.
    numbers : Counts of blocks of frames; empty where they mean nothing.
    temperature : Temperature of the state point [K].
    n_molecules : Number of molecules.
    is_atomistic : Whether the energies are those of the atoms.
    n_blocks : Blocks for the errors.
    """
    found: dict[str, Measurement | None] = {"compressibility": None, "heat_capacity": None}
    source = None
    is_constant = "volume" not in series or has_constant_volume(series["volume"])
    if "volume" in series and not has_constant_volume(series["volume"], series["segment"]):
        found["compressibility"] = measure_compressibility(
            series["volume"],
            temperature=temperature,
            n_blocks=n_blocks,
            segment=series["segment"],
            weight=series["weight"],
        )
        source = "volumes"
    elif numbers:
        found["compressibility"] = measure_bulk_compressibility(
            numbers, temperature=temperature, n_molecules=n_molecules
        )
        source = "numbers in parts of the cell"
    if is_atomistic and is_constant and "energy" in series and np.ptp(series["weight"]) == 0.0:
        found["heat_capacity"] = measure_heat_capacity(
            series["energy"],
            temperature=temperature,
            n_molecules=n_molecules,
            n_blocks=n_blocks,
            segment=series["segment"],
        ).total
    return found, source


def has_constant_volume(volumes: np.ndarray, segment: np.ndarray | None = None) -> bool:
    """Tell whether volumes differ by rounding only: all of them, or those of each segment."""
    parts = [volumes] if segment is None else [volumes[segment == label] for label in np.unique(segment)]
    return all(float(np.ptp(part)) <= _SAME_VOLUME * float(part.mean()) for part in parts)
