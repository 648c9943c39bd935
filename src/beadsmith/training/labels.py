"""The labels of a data set: which kinds there are, how much each kind counts, and what is learned from them.

Every kind is an unbiased statement about one potential of mean force W(R;T) = U - T S: a force about -grad W, a virial
about its strain derivative, an energy about U, a thermal response force about grad S. The loss is a sum over named
kinds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from beadsmith.errors import InputError
from beadsmith.thermal_form import ThermalForm
from beadsmith.trajectory import Trajectory

LabelKind = Literal["forces", "virials", "energies", "response_forces"]
"""Mapped forces, instantaneous or averaged; molecular virials; atomistic energies; F_S = T grad S from covariances at
fixed beads."""

Weights = dict[LabelKind, Float[np.ndarray, "frames *sites"] | None]
"""Factor of the squared error of each label of one trajectory, by kind; None for 1 everywhere."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How much each kind of label counts in training; 1 is what its own noise makes it worth, 0 leaves it out."""

    forces: float = 1.0
    """Weight of the mapped forces."""
    virials: float = 0.0
    """Weight of the molecular virials, which make the pressure right. At 1 each of the six components of a virial
    counts as much as a component of a force, both over their own variance; more gets the pressure right sooner."""
    energies: float = 0.0
    """Weight of the atomistic potential energies, with a training.thermal that has an energy to learn from them. Their
    noise grows with the box: they are worth their cost for small molecules and averaged labels."""
    response_forces: float = 1.0
    """Weight of thermal response forces, where the data have any (averaged labels) and training.thermal is not none."""
    model_error: float = 0.1
    """Relative error that the network is expected to keep: averaged labels are not believed more exactly than this part
    of the root mean square of their own values, so that few of them do not outweigh all others."""

    def __post_init__(self) -> None:
        """Refuse weights that are none.

        Raises
        ------
        InputError : a weight is negative or not finite, or forces do not count.
        """
        for name in ("virials", "energies", "response_forces", "model_error"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise InputError(f"'{name}' is {getattr(self, name)}, expected >= 0")
        if not 0.0 < self.forces < float("inf"):
            raise InputError(f"'forces' is {self.forces}, expected > 0: all other labels leave pairs of beads free")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One kind of label of one trajectory."""

    values: Float[np.ndarray, "frames *shape"]
    """What the network should say: the label without the prior's part."""
    weights: Float[np.ndarray, "frames *sites"] | None = None
    """Factor of the squared error of each frame or site, in the unit of the force loss; None for 1 everywhere."""


@dataclass(frozen=True, kw_only=True)
class LabelBatch:
    """One kind of label of one batch."""

    values: Tensor
    """Systems or sites first, as in the prediction."""
    weights: Tensor | None
    """Factor of the squared errors of each system or site."""


def list_kinds(settings: LabelSettings, form: ThermalForm, trajectory: Trajectory) -> list[LabelKind]:
    """Return the kinds of labels that a trajectory has and training uses."""
    kinds: list[LabelKind] = ["forces"]
    if settings.virials > 0.0 and trajectory.virial is not None and trajectory.cell is not None:
        kinds.append("virials")
    if form.depends_on_temperature and settings.energies > 0.0 and trajectory.energy is not None:
        kinds.append("energies")
    if form.depends_on_temperature and settings.response_forces > 0.0 and trajectory.response_forces is not None:
        kinds.append("response_forces")
    return kinds


def list_temperatures(trajectory: Trajectory) -> list[float]:
    """Return the different temperatures of the frames [K], rising."""
    if trajectory.temperature is None:
        return [trajectory.state_point.temperature]
    return [float(value) for value in np.unique(trajectory.temperature)]


def check_kinds(settings: LabelSettings, form: ThermalForm, trajectories: tuple[Trajectory, ...]) -> None:
    """Refuse labels that cannot determine all channels, and weights for labels that nothing can be learned from.

    Forces at a temperature say one thing about the channels, energies or response forces there another.

    Raises
    ------
    InputError : energies are asked for without a thermal form, energies or virials are missing, or there are too few
        temperatures.
    """
    if settings.virials > 0.0 and not any(t.virial is not None and t.cell is not None for t in trajectories):
        raise InputError(
            f"'training.labels.virials' is {settings.virials:g}, but no mapped trajectory has virials and a periodic "
            "cell",
            fix="Sample with beadsmith in a box, import virials with the trajectory, or set 'virials: 0'.",
        )
    if not form.depends_on_temperature:
        if settings.energies > 0.0:
            raise InputError(
                f"'training.labels.energies' is {settings.energies:g}, but a force field that does not depend on "
                "temperature has no energy to learn, only a free energy",
                fix="Set 'training.thermal: linear', or 'energies: 0'.",
            )
        return
    kinds = [list_kinds(settings, form, trajectory) for trajectory in trajectories]
    if settings.energies > 0.0 and not any("energies" in found for found in kinds):
        raise InputError(
            f"'training.labels.energies' is {settings.energies:g}, but no mapped trajectory has energies",
            fix="Sample with beadsmith, import energies with the trajectory, or set 'energies: 0'.",
        )
    by_forces = {t for trajectory in trajectories for t in list_temperatures(trajectory)}
    by_others = {
        t
        for trajectory, found in zip(trajectories, kinds, strict=True)
        if {"energies", "response_forces"} & set(found)
        for t in list_temperatures(trajectory)
    }
    if len(by_forces) + len(by_others) < form.n_channels:
        listed = ", ".join(f"{value:g} K" for value in sorted(by_forces))
        raise InputError(
            f"'training.thermal' is {form.kind}, which has {form.n_channels} surfaces to learn, but the forces are all "
            f"at {listed}" + (" and energies or response forces do not make up for it" if by_others else ""),
            fix="Train with runs at other temperatures ('train_with'), or with 'labels: {energies: 1}'.",
        )
