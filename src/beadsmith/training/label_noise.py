"""How noisy each label is, from the data, and what weight that gives it.

Labels of different origin are joined as in any least-squares problem: squared errors over the variance of the label.
For instantaneous labels that variance is what a linear fit leaves of them on the training frames (an upper bound, and
most of them is noise); for averaged labels it is the square of the standard error that came with them, plus that of
the model, which no label can make smaller.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.batch import build_batch
from beadsmith.energy import EnergyModel, predict
from beadsmith.neighbors import find_pairs
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.data import group_rows
from beadsmith.training.labels import LabelKind, LabelSettings, Weights, list_kinds, list_temperatures
from beadsmith.training.virial_components import N_COMPONENTS, virial_components
from beadsmith.training.virial_labels import predict_virials
from beadsmith.trajectory import Trajectory

_MOST_FRAMES = 500
"""Frames of a trajectory that energies are looked at on."""


@dataclass(frozen=True, kw_only=True)
class Weighing:
    """Weights of all labels, and what they come from."""

    weights: tuple[Weights, ...]
    """One entry for each trajectory."""
    summary: list[dict[str, Any]]
    """Noise and weight of each kind of label of each trajectory, as JSON."""


def weigh_labels(
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    *,
    baseline: EnergyModel,
    baseline_losses: Float[np.ndarray, "rows"],
    cutoff: float,
    form: ThermalForm,
    settings: LabelSettings,
) -> Weighing:
    """Return the weight of every label.

    With the variance s² of a label the weight is A/s² of a force component, λ A/(3 N s²) of an energy of N beads or of
    each component of a virial, and λ A/s² of a response force component, with the user's factors λ. A makes the mean
    weight of a force one, so that the loss stays in (kJ/mol/nm)²; for one trajectory of instantaneous forces all
    weights of forces are one.

    Parameters
    ----------
    trajectories : Mapped data.
    rows : Training frames.
    baseline : Linear fit to their forces.
    baseline_losses : Its loss on each of these frames [(kJ/mol/nm)²].
    cutoff : Cutoff of its neighbour lists [nm].
    form : Thermal form.
    settings : Factors λ and error of the model.
    """
    frames = [rows[rows[:, 0] == number, 1] for number in range(len(trajectories))]
    variances: list[dict[LabelKind, np.ndarray]] = []
    for number, trajectory in enumerate(trajectories):
        found: dict[LabelKind, np.ndarray] = {}
        found["forces"] = _force_variance(trajectory, baseline_losses[rows[:, 0] == number], settings)
        kinds = list_kinds(settings, form, trajectory)
        if "virials" in kinds:
            found["virials"] = _virial_variance(trajectory, frames[number], baseline, cutoff)
        if "energies" in kinds:
            found["energies"] = _energy_variance(trajectory, frames[number], baseline, cutoff, settings)
        if "response_forces" in kinds:
            found["response_forces"] = _response_variance(trajectory, settings)
        variances.append(found)
    amplitude = _find_amplitude(trajectories, frames, [found["forces"] for found in variances])
    is_plain = len(trajectories) == 1 and trajectories[0].force_noise is None and settings.forces == 1.0
    weights: list[Weights] = []
    for trajectory, variance_of in zip(trajectories, variances, strict=True):
        own: Weights = {}
        for kind, variance in variance_of.items():
            factor = getattr(settings, kind) * amplitude
            shape: tuple[int, ...] = (trajectory.n_frames, trajectory.n_sites)
            if kind in ("energies", "virials"):
                # the loss of a frame is a mean over its components
                n_components = N_COMPONENTS if kind == "virials" else 1
                factor, shape = factor * n_components / (3.0 * trajectory.n_sites), (trajectory.n_frames,)
            own[kind] = None if kind == "forces" and is_plain else np.broadcast_to(factor / variance, shape)
        weights.append(own)
    summary = [
        _summarise(trajectory, chosen, variance_of, own)
        for trajectory, chosen, variance_of, own in zip(trajectories, frames, variances, weights, strict=True)
    ]
    return Weighing(weights=tuple(weights), summary=summary)


def note_offsets(summary: list[dict[str, Any]], offsets: list[float]) -> list[dict[str, Any]]:
    """Return the summary with the mean of label minus prediction beside the noise of energies [kJ/mol]."""
    noted = []
    for entry, offset in zip(summary, offsets, strict=True):
        energies = {kind: {**own, "offset": offset} for kind, own in entry["labels"].items() if kind == "energies"}
        noted.append({**entry, "labels": {**entry["labels"], **energies}})
    return noted


def _find_amplitude(
    trajectories: tuple[Trajectory, ...], frames: list[Int[np.ndarray, "_"]], variances: list[np.ndarray]
) -> float:
    """Return the number over which the variances of force components give a mean weight of one [(kJ/mol/nm)²]."""
    total = count = 0.0
    for trajectory, chosen, variance in zip(trajectories, frames, variances, strict=True):
        inverse = np.broadcast_to(1.0 / variance, (trajectory.n_frames, trajectory.n_sites))
        total += float(inverse[chosen].sum())
        count += len(chosen) * trajectory.n_sites
    return count / total


def _force_variance(
    trajectory: Trajectory, losses: Float[np.ndarray, "frames"], settings: LabelSettings
) -> Float[np.ndarray, "*shape"]:
    """Return the variance of a force component [(kJ/mol/nm)²]: one number, or one for each label."""
    if trajectory.force_noise is None:
        return np.array(max(float(losses.mean()) if len(losses) else 1.0, 1e-12))
    return _with_model_error(trajectory.force_noise, trajectory.forces, settings)


def _response_variance(trajectory: Trajectory, settings: LabelSettings) -> Float[np.ndarray, "frames sites"]:
    return _with_model_error(trajectory.response_noise, trajectory.response_forces, settings)


def _with_model_error(
    noise: np.ndarray | None, values: np.ndarray | None, settings: LabelSettings
) -> Float[np.ndarray, "frames sites"]:
    assert noise is not None
    assert values is not None
    floor = settings.model_error**2 * float(np.mean(values.astype(np.float64) ** 2))
    return noise.astype(np.float64) ** 2 + max(floor, 1e-12)


def _energy_variance(
    trajectory: Trajectory,
    frames: Int[np.ndarray, "_"],
    baseline: EnergyModel,
    cutoff: float,
    settings: LabelSettings,
) -> Float[np.ndarray, "*shape"]:
    """Return the variance of energies about a straight line in the energy of the linear fit [(kJ/mol)²]."""
    assert trajectory.energy is not None
    if trajectory.energy_noise is not None:
        spread = float(np.var(trajectory.energy))
        return trajectory.energy_noise**2 + max(settings.model_error**2 * spread, 1e-12)
    chosen = frames[:: -(-len(frames) // _MOST_FRAMES)] if len(frames) else frames
    if len(chosen) < 3:
        return np.array(max(float(np.var(trajectory.energy)), 1e-12))
    predicted = np.empty(len(chosen))
    rows = np.stack([np.zeros_like(chosen), chosen], axis=1)
    with torch.no_grad():
        for places in group_rows((trajectory,), rows):
            batch = build_batch(trajectory, chosen[places])
            predicted[places] = predict(baseline, batch, find_pairs(batch, cutoff)).energy.numpy()
    design = np.stack([np.ones(len(chosen)), predicted - predicted.mean()], axis=1)
    energies = trajectory.energy[chosen] - trajectory.energy[chosen].mean()
    left = energies - design @ np.linalg.lstsq(design, energies, rcond=None)[0]
    return np.array(max(float(left @ left) / (len(chosen) - 2), 1e-12))


def _virial_variance(
    trajectory: Trajectory, frames: Int[np.ndarray, "_"], baseline: EnergyModel, cutoff: float
) -> Float[np.ndarray, ""]:
    """Return the variance of one component of a virial about its mean, beside that of the linear fit [(kJ/mol)²]."""
    assert trajectory.virial is not None
    chosen = frames[:: -(-len(frames) // _MOST_FRAMES)] if len(frames) else np.arange(trajectory.n_frames)
    known = virial_components(trajectory.virial[chosen])
    left = known - virial_components(predict_virials(baseline, trajectory, chosen, cutoff=cutoff))
    # the fit to forces knows nothing of virials: where it makes them no smaller, it is left out
    smallest = min(float(values.var(axis=0).mean()) for values in (known, left))
    return np.array(max(smallest * len(chosen) / max(len(chosen) - 1, 1), 1e-12))


def _summarise(
    trajectory: Trajectory, frames: Int[np.ndarray, "_"], variances: dict[LabelKind, np.ndarray], weights: Weights
) -> dict[str, Any]:
    units = {"forces": "kJ/mol/nm", "virials": "kJ/mol", "energies": "kJ/mol", "response_forces": "kJ/mol/nm"}
    labels = {}
    for kind, variance in variances.items():
        own = weights[kind]
        labels[kind] = {
            "noise": float(np.sqrt(np.mean(variance))),
            "unit": units[kind],
            "mean_weight": 1.0 if own is None else float(own[frames].mean()) if len(frames) else None,
            "origin": "standard errors of the averages and model error" if variance.ndim else "left by a linear fit",
        }
    return {
        "temperatures": list_temperatures(trajectory),
        "n_training_frames": len(frames),
        "is_averaged": trajectory.n_averaged is not None,
        "labels": labels,
    }
