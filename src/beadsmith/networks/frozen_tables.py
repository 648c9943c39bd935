"""Radial tables of a network whose weights do not change, kept from one prediction to the next."""

from torch import Tensor, nn


class FrozenTables:
    """Tables, and the weights they were made of."""

    def __init__(self, parameters: list[nn.Parameter], tables: list[Tensor]) -> None:
        """Remember tables that were made of the given weights."""
        # the aliases keep the memory alive: no other weights can come to lie at the same address
        self._weights = [parameter.detach() for parameter in parameters]
        self._versions = [parameter._version for parameter in parameters]
        self.tables = [table.detach() for table in tables]

    def __deepcopy__(self, memo: dict[int, object]) -> "FrozenTables":
        """Return no tables at all: the weights of a copy count changes anew and could seem unchanged."""
        return FrozenTables([], [])

    def are_of(self, parameters: list[nn.Parameter]) -> bool:
        """Return whether the weights are the same memory, unchanged since."""
        return len(parameters) == len(self._weights) and all(
            parameter.data_ptr() == weight.data_ptr() and parameter._version == version
            for parameter, weight, version in zip(parameters, self._weights, self._versions, strict=True)
        )
