"""The numbers of a network whose weights do not change, kept in the layout of the kernels between predictions."""

from typing import Any

from torch import nn

from beadsmith.kernels.prediction import PackedNetwork


class PackedWeights:
    """A packed network, and the weights it was made of."""

    def __init__(self, module: nn.Module, network: PackedNetwork) -> None:
        """Remember what the frozen weights of a module were packed into."""
        self.network = network
        self._parts = [
            (part._parameters, name, parameter, parameter.data_ptr(), parameter._version, parameter.detach())
            for part in module.modules()
            for name, parameter in part._parameters.items()
            if parameter is not None
        ]

    def is_current(self) -> bool:
        """Return whether the weights are the same memory, unchanged since, and still frozen."""
        # each part keeps an alias of its memory alive: no other weights can come to lie at the same address
        return all(
            owner.get(name) is parameter
            and parameter.data_ptr() == address
            and parameter._version == version
            and not parameter.requires_grad
            for owner, name, parameter, address, version, _ in self._parts
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Return nothing: a copy of the module counts the changes of its weights anew."""
        return

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave nothing in a pickle."""
        return type(None), ()
