"""What a network gets wrong about each kind of label: the terms of the loss of a fit.

The loss is a sum over kinds; each kind has one function that turns a prediction into errors, and a table says which
potential it is a statement about.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Prediction
from beadsmith.energy import AbstractNetwork, predict_network, spread_weights
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.data import SITES_AT_ONCE, Example, PreparedFrames, group_rows, load_example
from beadsmith.training.labels import LabelBatch, LabelKind
from beadsmith.training.virial_components import to_components

_MOST_ROWS = 64
"""Frames of a trajectory from which the first offset of its energies is taken."""

_OFFSET_RATE = 0.01
"""Part of the last error of an energy that its offset follows: the memory is a hundred steps long."""

_CHANNELS: dict[LabelKind, Callable[[ThermalForm, Tensor], Tensor]] = {
    "forces": ThermalForm.free_energy_weights,
    "virials": ThermalForm.free_energy_weights,
    "energies": ThermalForm.energy_weights,
    "response_forces": ThermalForm.entropy_weights,
}
"""Weights of the network's channels for what each kind of label is about: W, U or -T S."""

_READ: dict[LabelKind, Callable[[Prediction], Tensor]] = {
    "forces": lambda prediction: prediction.forces,
    "virials": lambda prediction: to_components(prediction.virial),
    "energies": lambda prediction: prediction.energy,
    "response_forces": lambda prediction: prediction.forces,
}
"""What each kind of label is compared with."""


def predict_label(
    network: AbstractNetwork, form: ThermalForm, kind: LabelKind, example: Example, *, create_graph: bool = False
) -> Prediction:
    """Return what a network says about the potential that a kind of label is about."""
    weights = None
    if form.depends_on_temperature:
        weights = spread_weights(_CHANNELS[kind](form, example.batch.temperature), example.batch)
    return predict_network(network, example.batch, example.pairs, weights, create_graph=create_graph)


def find_errors(
    network: AbstractNetwork, form: ThermalForm, example: Example, *, create_graph: bool = False
) -> dict[LabelKind, Tensor]:
    """Return prediction minus label of each kind: forces (sites, 3) [kJ/mol/nm], energies (systems,) [kJ/mol], virials
    (systems, 6) [kJ/mol].

    Energies are off by an unknown constant of their trajectory. Kinds about the same potential share one prediction.
    """
    errors: dict[LabelKind, Tensor] = {}
    predictions: dict[Callable[[ThermalForm, Tensor], Tensor], Prediction] = {}
    for kind, label in example.labels.items():
        potential = _CHANNELS[kind]
        if potential not in predictions:
            predictions[potential] = predict_label(network, form, kind, example, create_graph=create_graph)
        errors[kind] = _READ[kind](predictions[potential]) - label.values
    return errors


def weigh_errors(errors: Tensor, label: LabelBatch, n_systems: int) -> Float[Tensor, "systems"]:
    """Return the weighted mean square of the errors of one kind in each system [(kJ/mol/nm)²]."""
    squares = errors.square()
    if squares.ndim == 2:
        squares = squares.mean(1)
    if label.weights is not None:
        squares = squares * label.weights
    return squares.view(n_systems, -1).mean(1)


def compute_loss(
    network: AbstractNetwork, form: ThermalForm, example: Example, offsets: list[float], *, create_graph: bool = False
) -> Float[Tensor, ""]:
    """Return the sum over kinds of the mean weighted loss of a batch; offsets of energies move on, in place.

    Parameters
    ----------
    network, form : What is fitted, and what its channels mean.
    example : Batch.
    offsets : For each trajectory, label minus predicted energy in the mean [kJ/mol].
    create_graph : Keep the graph for the gradient.
    """
    errors, n_systems = find_errors(network, form, example, create_graph=create_graph), example.batch.n_systems
    losses = []
    for kind, found in errors.items():
        if kind == "energies":
            offset = offsets[example.trajectory]
            offsets[example.trajectory] -= _OFFSET_RATE * (float(found.detach().mean()) + offset)
            found = found + offset
        losses.append(weigh_errors(found, example.labels[kind], n_systems).mean())
    return torch.stack(losses).sum() if len(losses) > 1 else losses[0]


@torch.no_grad()
def label_losses(
    network: AbstractNetwork,
    frames: PreparedFrames,
    rows: Int[np.ndarray, "rows 2"],
    *,
    max_sites: int = SITES_AT_ONCE,
) -> dict[LabelKind, Float[np.ndarray, "rows"]]:
    """Return the weighted loss of each kind on each frame, zero where a frame has no such label [(kJ/mol/nm)²].

    Energies are compared after the mean error of their trajectory is taken off, the best constant there is.
    """
    losses: dict[LabelKind, np.ndarray] = {
        kind: np.zeros(len(rows)) for labels in frames.labels for kind in labels if len(rows)
    }
    energy_errors = np.zeros(len(rows))
    for places in group_rows(frames.trajectories, rows, max_sites=max_sites):
        example = load_example(frames, rows[places])
        for kind, errors in find_errors(network, frames.thermal_form, example).items():
            if kind == "energies":
                energy_errors[places] = errors.cpu().numpy()
            else:
                losses[kind][places] = weigh_errors(errors.double(), example.labels[kind], len(places)).cpu().numpy()
    for number, labels in enumerate(frames.labels):
        mine = rows[:, 0] == number
        if "energies" in labels and mine.any():
            weights = labels["energies"].weights
            assert weights is not None
            own = energy_errors[mine] - energy_errors[mine].mean()
            losses["energies"][mine] = weights[rows[mine, 1]] * own**2
    return losses


@torch.no_grad()
def measure_offsets(
    network: AbstractNetwork, frames: PreparedFrames, rows: Int[np.ndarray, "rows 2"], *, most: int | None = _MOST_ROWS
) -> list[float]:
    """Return label minus predicted energy of each trajectory in the mean [kJ/mol]; 0 where energies are not used.

    Parameters
    ----------
    network : What predicts.
    frames : Data.
    rows : Frames to look at.
    most : Largest number of frames of a trajectory, evenly spread; None for all.
    """
    offsets = []
    for number, labels in enumerate(frames.labels):
        mine = rows[rows[:, 0] == number]
        if "energies" not in labels or not len(mine):
            offsets.append(0.0)
            continue
        mine = mine[:: 1 if most is None else -(-len(mine) // most)]
        errors: Sequence[np.ndarray] = [
            (
                predict_label(network, frames.thermal_form, "energies", example).energy
                - example.labels["energies"].values
            )
            .cpu()
            .numpy()
            for example in (load_example(frames, mine[places]) for places in group_rows(frames.trajectories, mine))
        ]
        offsets.append(-float(np.concatenate(errors).mean()))
    return offsets
