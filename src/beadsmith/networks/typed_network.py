"""What all networks of this package share: settings, bead types and channels describe them, in memory and in files."""

from abc import abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import AbstractNetwork
from beadsmith.errors import InputError

MOST_EXCLUSIONS = 3
"""Bond classes tell pairs of up to this many bonds apart."""


def check_exclusions(exclusions: int) -> None:
    """Refuse a number of bonds that no pair class knows.

    Raises
    ------
    InputError : the number is not 0 to 3.
    """
    if not 0 <= exclusions <= MOST_EXCLUSIONS:
        raise InputError(f"exclusions are {exclusions}, expected 0 to {MOST_EXCLUSIONS} bonds")


class AbstractTypedNetwork(AbstractNetwork):
    """A network for a list of bead types whose architecture is a settings record."""

    settings_class: ClassVar[type]
    """Class of the settings."""

    def __init__(self, settings: Any, type_names: tuple[str, ...], n_channels: int = 1) -> None:
        """Note what describes the network; all weights are zero until they are initialised or loaded.

        Parameters
        ----------
        settings : Architecture.
        type_names : Names of the bead types; a site's type is an index into them.
        n_channels : Number of energies each site returns.

        Raises
        ------
        InputError : there is no bead type, or no channel.
        """
        super().__init__()
        if not type_names or n_channels < 1:
            raise InputError(f"a network needs a bead type and a channel, got {len(type_names)} and {n_channels}")
        self.settings, self.type_names, self.n_channels = settings, tuple(type_names), n_channels
        self.cutoff, self.exclusions = settings.cutoff, settings.exclusions

    @abstractmethod
    def initialise_(self, generator: torch.Generator) -> None:
        """Draw all weights from a generator on the CPU."""

    @abstractmethod
    def channel_axes(self) -> dict[str, int]:
        """Return the names of the weights that have one entry for each channel, and the axis of the channels.

        The energies must be linear in all of them together, and in no other weight may a channel differ from another.
        """

    @torch.no_grad()
    def merge_channels(self, weights: Float[Tensor, "channels"]) -> Self:
        """Return a frozen network of one channel, the sum of this one's channels with fixed weights.

        The sum is taken in the last, linear layers, so it is exact up to one rounding, and costs nothing afterwards.
        """
        merged = type(self)(self.settings, self.type_names, 1)
        axes, state = self.channel_axes(), self.state_dict()
        for name, axis in axes.items():
            summed = torch.tensordot(weights.double().to(state[name].device), state[name].double(), dims=([0], [axis]))
            state[name] = summed.unsqueeze(axis).to(state[name].dtype)
        like = next(self.parameters())
        merged.to(like.device, like.dtype).load_state_dict(state)
        merged.is_fused = self.is_fused
        return merged.eval().requires_grad_(False)

    def to_config(self) -> dict[str, Any]:
        """Return the architecture as JSON."""
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.settings).items()}
        return {"settings": settings, "type_names": list(self.type_names), "n_channels": self.n_channels}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a network of the given architecture; weights are loaded afterwards."""
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in config["settings"].items()}
        return cls(cls.settings_class(**settings), tuple(config["type_names"]), int(config["n_channels"]))
