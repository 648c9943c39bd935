"""The network that a training starts from: fresh, or that of a force field to continue."""

from pathlib import Path

import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.networks.kinds import NetworkSettings, build_network
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.labels import check_kinds, list_temperatures
from beadsmith.training.settings import TrainingSettings
from beadsmith.trajectory import Trajectory


def check_start(start: Path, settings: NetworkSettings | None, training: TrainingSettings) -> None:
    """Check that training can start from a force field folder, before anything is given up for it.

    Raises
    ------
    InputError : the folder holds no force field, no network, or another network or thermal form than the settings ask
        for.
    """
    previous = load_force_field(start)
    form = _continue_form(training, previous)
    start_network(settings, previous.type_names, 0, previous, form=form)


def choose_form(
    settings: TrainingSettings, trajectories: tuple[Trajectory, ...], previous: ForceField | None
) -> ThermalForm:
    """Return the thermal form of a training, about the mean temperature of the data unless the settings say otherwise.

    Parameters
    ----------
    settings : Kind and reference temperature.
    trajectories : Mapped data.
    previous : Force field to continue from, whose reference temperature stays, or None.

    Raises
    ------
    InputError : the labels cannot determine it, or the force field to continue from has another form.
    """
    if previous is not None:
        form = _continue_form(settings, previous)
    elif settings.thermal == "none":
        form = ThermalForm()
    else:
        temperatures = [value for trajectory in trajectories for value in list_temperatures(trajectory)]
        reference = settings.reference_temperature or sum(temperatures) / len(temperatures)
        form = ThermalForm(kind=settings.thermal, reference_temperature=reference)
    check_kinds(settings.labels, form, trajectories)
    return form


def _continue_form(settings: TrainingSettings, previous: ForceField) -> ThermalForm:
    """Return the form of the force field to continue from."""
    form, wanted = previous.thermal_form, settings.reference_temperature
    if form.kind != settings.thermal:
        raise InputError(
            f"the force field to continue from has the thermal form '{form.kind}', 'training.thermal' is "
            f"'{settings.thermal}'",
            fix="Use the form of the force field, or start a new training.",
        )
    if wanted is not None and wanted != form.reference_temperature:
        raise InputError(
            f"the force field to continue from was expanded about {form.reference_temperature:g} K, "
            f"'training.reference_temperature' is {wanted:g} K",
            fix="Leave it out: the force field brings its own.",
        )
    return form


def start_network(
    settings: NetworkSettings | None,
    type_names: tuple[str, ...],
    seed: int,
    previous: ForceField | None,
    *,
    form: ThermalForm,
) -> AbstractNetwork | None:
    """Return a fresh network, or the one to continue from.

    Parameters
    ----------
    settings : Architecture; None for a pair spline alone.
    type_names : Bead types of the data.
    seed : Seed of fresh weights.
    previous : Force field to continue from, or None.
    form : Says how many channels a network needs.

    Raises
    ------
    InputError : the force field to continue from has other bead types or another network, or there is no network for
        several channels.
    """
    fresh = None
    if settings is not None:
        generator = torch.Generator().manual_seed(seed)
        fresh = build_network(settings, type_names, generator, n_channels=form.n_channels)
    elif form.depends_on_temperature:
        raise InputError(
            f"'training.thermal' is {form.kind}, but pair splines do not depend on temperature",
            fix="Give a network, or set 'training.thermal: none'.",
        )
    if previous is None:
        return fresh
    if previous.type_names != type_names:
        raise InputError(
            f"the force field to continue from has bead types {list(previous.type_names)}, "
            f"the mapped data have {list(type_names)}",
            fix="Map the data with the bead types of the force field, or start a new training.",
        )
    if fresh is None or previous.network is None:
        raise InputError(
            "only a force field with a network can be continued, with a network",
            fix="A pair-spline force field is fitted in one step: train it again on all data.",
        )
    if previous.network.to_config() != fresh.to_config():
        raise InputError(
            f"the force field to continue from has the network {previous.network.to_config()}, "
            f"the settings ask for {fresh.to_config()}",
            fix="Use the network settings of the force field, or start a new training.",
        )
    return previous.network
