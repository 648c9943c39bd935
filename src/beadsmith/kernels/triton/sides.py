"""Pairs grouped by either of their sites, so that a sum over all pairs of a site has one program that writes it."""

from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Side(NamedTuple):
    """Pairs grouped by one of their two sites."""

    offsets: Int[Tensor, "rows"]
    """Start of each site's pairs in `order`; has n_sites + 1 entries."""
    order: Int[Tensor, "pairs"]
    """Numbers of the pairs."""
    other: Int[Tensor, "pairs"]
    """The other site of each pair."""


class Sides:
    """Both groupings of directed pairs, each made when it is first asked for."""

    def __init__(self, pair_index: Int[Tensor, "2 pairs"], n_sites: int) -> None:
        """Take pairs that are sorted by first site, which is not checked: the host would have to wait."""
        self._index, self.n_sites = pair_index, n_sites

    @cached_property
    def by_first(self) -> Side:
        """Pairs as they were given: the neighbours of each site."""
        first, second = self._index.unbind()
        return Side(self._find_offsets(first), torch.arange(len(first), device=first.device), second)

    @cached_property
    def by_second(self) -> Side:
        """Pairs that end at each site."""
        first, second = self._index.unbind()
        ordered, order = torch.sort(second, stable=True)
        return Side(self._find_offsets(ordered), order, first)

    def side(self, *, is_second: bool) -> Side:
        """Return one of the groupings."""
        return self.by_second if is_second else self.by_first

    def ends(self, *, is_second: bool) -> tuple[Tensor, Tensor]:
        """Return first and second site of each pair, or second and first."""
        first, second = self._index.unbind()
        return (second, first) if is_second else (first, second)

    def _find_offsets(self, ordered: Tensor) -> Tensor:
        return torch.searchsorted(ordered, torch.arange(self.n_sites + 1, device=ordered.device))
