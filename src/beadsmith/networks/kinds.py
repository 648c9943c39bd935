"""The networks that a configuration or a force field file can name: one line each, here and nowhere else."""

import torch

from beadsmith.networks.hipnn import Hipnn, HipnnSettings
from beadsmith.networks.mace import Mace, MaceSettings
from beadsmith.networks.schnet import Schnet, SchnetSettings
from beadsmith.networks.typed_network import AbstractTypedNetwork

NetworkSettings = HipnnSettings | SchnetSettings | MaceSettings
"""Settings of any network; the key ``kind`` tells which."""

NETWORKS: dict[str, type[AbstractTypedNetwork]] = {network.kind: network for network in (Hipnn, Schnet, Mace)}
"""Network classes by the kind that files name."""


def build_network(
    settings: NetworkSettings, type_names: tuple[str, ...], generator: torch.Generator, *, n_channels: int = 1
) -> AbstractTypedNetwork:
    """Return a freshly initialised network of any kind.

    Parameters
    ----------
    settings : Architecture; it names the kind.
    type_names : Names of the bead types; a site's type is an index into them.
    generator : Source of the random weights, on the CPU.
    n_channels : Number of energies each site returns.

    Raises
    ------
    InputError : there is no bead type, or no channel.
    """
    network = NETWORKS[settings.kind](settings, type_names, n_channels)
    network.initialise_(generator)
    return network
