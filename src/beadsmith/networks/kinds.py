"""The networks that a configuration or a force field file can name: one line each, here and nowhere else."""

from collections.abc import Callable
from typing import Any

import torch

from beadsmith.energy import AbstractNetwork
from beadsmith.networks.hipnn import Hipnn, HipnnSettings, build_hipnn
from beadsmith.networks.mace import Mace, MaceSettings, build_mace
from beadsmith.networks.schnet import Schnet, SchnetSettings, build_schnet

NetworkSettings = HipnnSettings | SchnetSettings | MaceSettings
"""Settings of any network; the key ``kind`` tells which."""

NETWORKS: dict[str, type[AbstractNetwork]] = {network.kind: network for network in (Hipnn, Schnet, Mace)}
"""Network classes by the kind that files name."""

_BUILDERS: dict[type, Callable[..., AbstractNetwork]] = {
    HipnnSettings: build_hipnn,
    SchnetSettings: build_schnet,
    MaceSettings: build_mace,
}


def build_network(
    settings: NetworkSettings, type_names: tuple[str, ...], generator: torch.Generator, **more: Any
) -> AbstractNetwork:
    """Return a freshly initialised network of any kind.

    Parameters
    ----------
    settings : Architecture; its class tells the kind.
    type_names : Names of the bead types; a site's type is an index into them.
    generator : Source of the random weights, on the CPU.
    more : ``n_channels``, the number of energies each site returns.

    Raises
    ------
    InputError : there is no bead type, or no channel.
    """
    return _BUILDERS[type(settings)](settings, type_names, generator, **more)
