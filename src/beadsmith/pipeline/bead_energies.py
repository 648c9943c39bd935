"""What a force field of energy and entropy adds to an evaluation: mean energies, mean entropies, heat capacities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beadsmith.analysis.comparison import subtract
from beadsmith.analysis.evaluate import EvaluationSettings
from beadsmith.diagnostics.bead_series import BeadSeries, knows_energy, read_bead_series
from beadsmith.diagnostics.heat_capacity import measure_bead_heat_capacity
from beadsmith.diagnostics.mean_energy import (
    EnergyZero,
    compare_energies,
    explain_missing_zero,
    find_zero,
    measure_atomistic_energy,
    measure_bead_energy,
    measure_bead_entropy,
    measure_model_energy,
)
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.io.h5md import open_trajectory

_MOST_FRAMES = 400
"""Frames of a training file that the zero of energy is read from: more of them cost time and no accuracy."""


def add_bead_energies(
    evaluation: dict[str, Any],
    force_fields: dict[str, Path],
    simulations: dict[str, Path],
    settings: EvaluationSettings,
    *,
    mapped: Path,
    training: Sequence[Path],
    main: str,
) -> dict[str, Any]:
    """Return an evaluation with what force fields that know energy and entropy apart say of their own simulations.

    Every system gets ``heat_capacity`` and, if the zero of energy is known, ``mean_energy``: the mean potential energy
    of a molecule. Its comparison gets ``energy_difference`` (None without a zero, and then ``no_energy_difference``
    says why) and ``entropy_difference``. The main one and the reference get ``bead_energy`` and ``bead_entropy``, means
    of U(R) and S(R) with the zeros of the main force field.

    Parameters
    ----------
    evaluation : Measurements of all simulations.
    force_fields : Folders of the networks' force fields by name.
    simulations : Their simulations by the same names.
    settings : Blocks and discarded time.
    mapped : Mapped reference.
    training : Files that the force fields were trained on; those that are gone are left out.
    main : Name of the main force field.

    Raises
    ------
    InputError : a file is damaged.
    """
    found = {**evaluation, "systems": {**evaluation["systems"]}, "comparisons": {**evaluation["comparisons"]}}
    for name, folder in force_fields.items():
        force_field = load_force_field(folder)
        if not knows_energy(force_field):
            continue
        reference = read_bead_series(force_field, mapped, is_atomistic=True)
        series = read_bead_series(force_field, simulations[name], discard=settings.discard)
        files = [path for path in training if _has_instantaneous_frames(path)]
        frames = [_read_training(force_field, path, mapped, reference) for path in files]
        own = next((number for number, entry in enumerate(frames) if entry is reference), None)
        reason = explain_missing_zero(frames, reference)
        zero = None if reason else find_zero(frames, reference, own=own)
        system, comparison = _describe(series, reference, zero, settings.n_blocks)
        found["systems"][name] = {**found["systems"][name], **system}
        found["comparisons"][name] = {**found["comparisons"][name], **comparison, "no_energy_difference": reason}
        if name == main:
            for key, entry in ((name, series), ("reference", reference)):
                found["systems"][key] = {**found["systems"][key], **_describe_beads(entry, settings.n_blocks)}
            theirs = measure_atomistic_energy(reference, settings.n_blocks)
            found["systems"]["reference"]["mean_energy"] = None if theirs is None else theirs.to_json()
    return found


def _has_instantaneous_frames(path: Path) -> bool:
    """Tell whether a file is there and holds frames as they were, not averages at fixed beads."""
    if not path.is_file():
        return False
    with open_trajectory(path) as stored:
        return "n_averaged" not in stored.fields


def _read_training(force_field: ForceField, path: Path, mapped: Path, reference: BeadSeries) -> BeadSeries:
    """Return the series of a training file; the reference's own where it is the same file."""
    if path.samefile(mapped):
        return reference
    return read_bead_series(force_field, path, is_atomistic=True, most=_MOST_FRAMES)


def _describe(
    series: BeadSeries, reference: BeadSeries, zero: EnergyZero | None, n_blocks: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is added to a system and to its comparison with the reference."""
    system: dict[str, Any] = {"mean_energy": None}
    entropies = [measure_bead_entropy(entry, n_blocks) for entry in (series, reference)]
    comparison: dict[str, Any] = {"energy_difference": None, "entropy_difference": subtract(*entropies).to_json()}
    hidden = None
    if zero is not None:
        hidden = zero.measure_slope(n_blocks)
        theirs = measure_atomistic_energy(reference, n_blocks)
        assert theirs is not None
        system["mean_energy"] = measure_model_energy(series, zero, n_blocks).to_json()
        comparison["energy_difference"] = {
            **compare_energies(series, reference, zero, n_blocks).to_json(),
            "reference_error": theirs.standard_error,
            "training_temperatures": {"values": zero.temperatures, "unit": "K"},
        }
    capacity = measure_bead_heat_capacity(series, hidden=hidden, n_blocks=n_blocks)
    if capacity is not None:
        parts = {
            "between": capacity.between.to_json(),
            "within": capacity.within.to_json(),
            "hidden": None if hidden is None else hidden.to_json(),
        }
        system |= {"heat_capacity": capacity.total.to_json(), "heat_capacity_parts": parts}
    return system, comparison


def _describe_beads(series: BeadSeries, n_blocks: int) -> dict[str, Any]:
    return {
        "bead_energy": measure_bead_energy(series, n_blocks).to_json(),
        "bead_entropy": measure_bead_entropy(series, n_blocks).to_json(),
    }
