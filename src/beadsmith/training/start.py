"""The network that a training starts from: fresh, or that of a force field to continue."""

from pathlib import Path

import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, load_force_field
from beadsmith.networks.kinds import NetworkSettings, build_network


def check_start(start: Path, settings: NetworkSettings | None) -> None:
    """Check that training can start from a force field folder, before anything is given up for it.

    Raises
    ------
    InputError : the folder holds no force field, no network, or another network than the settings ask for.
    """
    previous = load_force_field(start)
    start_network(settings, previous.type_names, 0, previous)


def start_network(
    settings: NetworkSettings | None, type_names: tuple[str, ...], seed: int, previous: ForceField | None
) -> AbstractNetwork | None:
    """Return a fresh network, or the one to continue from.

    Parameters
    ----------
    settings : Architecture; None for a pair spline alone.
    type_names : Bead types of the data.
    seed : Seed of fresh weights.
    previous : Force field to continue from, or None.

    Raises
    ------
    InputError : the force field to continue from has other bead types or another network.
    """
    fresh = None
    if settings is not None:
        fresh = build_network(settings, type_names, torch.Generator().manual_seed(seed))
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
