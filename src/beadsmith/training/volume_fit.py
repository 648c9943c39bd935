"""Fit a term of the volume to the pressure that a force field leaves over: the last step of a training.

It changes no force, so the structure stays what it was, and the mean pressure on the training frames becomes that of
the labels exactly. With one density only its slope can be found.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.priors.volume import VolumeKind, VolumeTerm
from beadsmith.statistics import block_edges, leave_one_out_error
from beadsmith.training.data import N_BLOCKS
from beadsmith.training.virial_labels import has_virials, predict_virials
from beadsmith.trajectory import Trajectory
from beadsmith.units import BAR

_N_COEFFICIENTS = {"linear": 1, "quadratic": 2}

_SMALLEST_SPREAD = 2e-3
"""Relative standard deviation of the volume below which its pressure has no slope to speak of."""


def check_volume_term(kind: VolumeKind, trajectories: tuple[Trajectory, ...]) -> None:
    """Check that the data can determine a term of the volume, before anything is fitted.

    Raises
    ------
    InputError : virials or cells are missing, or all volumes of a molecule are alike for a quadratic term.
    """
    if kind == "none":
        return
    if not all(has_virials(trajectory) for trajectory in trajectories):
        raise InputError(
            f"'training.volume_term' is {kind}, but not every mapped trajectory has virials and a periodic cell",
            fix="Sample with beadsmith in a box, import virials, or set 'volume_term: none'.",
        )
    volumes = np.concatenate([t.volumes() / t.topology.n_molecules for t in trajectories])
    spread = float(volumes.std() / volumes.mean())
    if kind == "quadratic" and spread < _SMALLEST_SPREAD:
        raise InputError(
            f"'training.volume_term' is quadratic, but the volumes of the data differ by {spread:.1e} only",
            fix="Train with runs at other densities or at constant pressure ('train_with'), or use 'linear'.",
        )


def fit_volume_term(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    labels: Int[np.ndarray, "rows"],
    kind: VolumeKind,
    *,
    cutoff: float,
    dtype: torch.dtype,
) -> tuple[ForceField, dict[str, Any]]:
    """Return the force field with a term of the volume, and what is known about it as JSON.

    Least squares of the pressure that is left, p = (tr Ξ_label − tr Ξ_model)/(3V), by −(1/v₀)(c₁ + c₂ x), with weights
    in proportion to the number of molecules: the variance of a pressure falls with it. Errors come from leaving out one
    block of frames at a time.

    Parameters
    ----------
    force_field : What is to be corrected; without such a term.
    trajectories : Mapped data with virials.
    rows : Frames to fit to.
    labels : Segment label of each of them.
    kind : How many coefficients.
    cutoff : Cutoff of the neighbour lists [nm].
    dtype : Precision of the force field.
    """
    left, volume, weight = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    for number in np.unique(rows[:, 0]).tolist():
        trajectory, places = trajectories[number], np.flatnonzero(rows[:, 0] == number)
        frames = rows[places, 1]
        assert trajectory.virial is not None
        difference = trajectory.virial[frames] - predict_virials(
            force_field, trajectory, frames, cutoff=cutoff, dtype=dtype
        )
        volumes = trajectory.volumes()[frames]
        left[places] = np.trace(difference, axis1=1, axis2=2) / (3.0 * volumes)
        volume[places] = volumes / trajectory.topology.n_molecules
        weight[places] = trajectory.topology.n_molecules
    reference = float(np.average(volume, weights=weight))
    powers = np.arange(_N_COEFFICIENTS[kind])
    design = -((volume / reference - 1.0)[:, None] ** powers) / reference
    coefficients, errors = _solve_with_errors(design, left, weight, labels)
    term = VolumeTerm(tuple(coefficients.tolist()), reference_volume=reference)
    corrected = ForceField(
        [*force_field.prior, term], force_field.network, force_field.record, force_field.thermal_form
    )
    summary = {
        "kind": kind,
        "reference_volume": {"value": reference, "unit": "nm^3"},
        "coefficients": [
            {"value": float(value), "error": float(error), "unit": "kJ/mol"}
            for value, error in zip(coefficients, errors, strict=True)
        ],
        # at the reference volume only the first coefficient acts
        "pressure": {
            "value": float(-coefficients[0] / reference / BAR),
            "error": float(errors[0] / reference / BAR),
            "unit": "bar",
        },
        "n_frames": len(rows),
    }
    return corrected, summary


def _solve_with_errors(
    design: Float[np.ndarray, "rows terms"],
    values: Float[np.ndarray, "rows"],
    weight: Float[np.ndarray, "rows"],
    labels: Int[np.ndarray, "rows"],
) -> tuple[Float[np.ndarray, "terms"], Float[np.ndarray, "terms"]]:
    """Return weighted least-squares coefficients and their jackknife errors over contiguous blocks."""
    blocks = block_edges(len(values), min(2 * N_BLOCKS, len(values)), labels)
    normal = np.array([(design[b] * weight[b, None]).T @ design[b] for b in blocks])
    right = np.array([(design[b] * weight[b, None]).T @ values[b] for b in blocks])
    rest = np.array(
        [np.linalg.solve(normal.sum(axis=0) - n, right.sum(axis=0) - r) for n, r in zip(normal, right, strict=True)]
    )
    return np.linalg.solve(normal.sum(axis=0), right.sum(axis=0)), leave_one_out_error(rest)
