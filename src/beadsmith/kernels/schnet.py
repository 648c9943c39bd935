"""The compiled sweeps of SchNet as torch functions that can be differentiated once with respect to the parameters.

Pair vectors are data: a training step runs the forward sweep and the explicit adjoint sweep as two ordinary functions,
so that one ordinary backward pass through both gives the gradient of a loss on energies and forces.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from beadsmith.errors import InputError
from beadsmith.kernels import filters
from beadsmith.kernels.rows import find_offsets
from beadsmith.kernels.threads import run_blocks, split_rows


@dataclass(frozen=True, kw_only=True)
class FilterRows:
    """The pairs of a batch within the cutoff as rows of neighbours, and where their distances lie in the tables."""

    offsets: Int[np.ndarray, "rows"]
    """Start of each site's row; has n_sites + 1 entries."""
    chosen: Int[np.ndarray, "pairs"]
    """Number of each pair in the list it was given in."""
    neighbours: Int[np.ndarray, "pairs"]
    """The neighbour of each pair."""
    starts: Int[np.ndarray, "pairs"]
    """First of the four rows of the tables that make a pair's filter."""
    weights: Float[np.ndarray, "pairs 8"]
    """Weights of the four rows in the filter, and in its slope [1/nm]."""
    units: Float[np.ndarray, "pairs 3"]
    """Unit vector to the neighbour."""
    vectors: Float[np.ndarray, "given 3"]
    """Vectors of all pairs in the list they were given in [nm]."""

    @property
    def pairs(self) -> tuple[np.ndarray, ...]:
        """What all sweeps take."""
        return self.offsets, self.neighbours, self.starts, self.weights

    @cached_property
    def blocks(self) -> list[tuple[int, int]]:
        """The sites of each thread."""
        return split_rows(self.offsets)

    @cached_property
    def reverse(self) -> Int[np.ndarray, "pairs"]:
        """The pair that points back, or −1; needed in training only."""
        return filters.find_reverse(self.offsets, self.neighbours, self.chosen, self.vectors)


def build_filter_rows(
    pair_index: Int[Tensor, "2 pairs"],
    pair_vectors: Float[Tensor, "pairs 3"],
    pair_classes: Int[Tensor, "pairs"] | None,
    *,
    n_sites: int,
    n_intervals: int,
    cutoff: float,
) -> FilterRows:
    """Return the rows of directed pairs.

    Parameters
    ----------
    pair_index, pair_vectors : Pairs in both directions, and their vectors [nm].
    pair_classes : Which of several tables a pair uses; None for the only one.
    n_sites : Number of sites.
    n_intervals, cutoff : Grid of the tables [nm].

    Raises
    ------
    InputError : the pairs are not sorted by first site, or name a site that does not exist.
    """
    second = pair_index[1].contiguous().numpy()
    offsets, is_valid = find_offsets(pair_index[0].contiguous().numpy(), second, n_sites)
    if not is_valid:
        raise InputError(
            "neighbour pairs are not sorted by first site, or name a site that does not exist",
            fix="Take them from beadsmith.neighbors.find_pairs, or sort them.",
        )
    vectors = pair_vectors.detach().contiguous().numpy()
    real = vectors.dtype.type
    classes = np.empty(0, np.int64) if pair_classes is None else pair_classes.contiguous().numpy()
    found = filters.locate_pairs(
        offsets, second, vectors, classes, real(cutoff / n_intervals), n_intervals, real(cutoff)
    )
    kept, chosen, neighbours, starts, weights, units = found
    return FilterRows(
        offsets=kept,
        chosen=chosen,
        neighbours=neighbours,
        starts=starts,
        weights=weights,
        units=units,
        vectors=vectors,
    )


def sum_filtered(rows: FilterRows, table: Tensor, features: Tensor) -> Tensor:
    """Return y_ia = Σ_j W_a(r_ij) x_ja over the neighbours; `table` holds W, `features` is x (sites, filters)."""
    return _SumFiltered.apply(rows, table, features)


def filter_slopes(rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> Tensor:
    """Return dE/dr of each pair from `adjoint` = dE/dy."""
    return _FilterSlopes.apply(rows, table, features, adjoint)


def filter_adjoint(rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> tuple[Tensor, Tensor]:
    """Return dE/dx and dE/dr of each pair from `adjoint` = dE/dy."""
    return _FilterAdjoint.apply(rows, table, features, adjoint)


def spread_slopes(rows: FilterRows, slopes: Tensor) -> Float[Tensor, "given 3"]:
    """Return dE/d(pair vectors) of the pairs as they were given from dE/dr of those within the cutoff."""
    gradient = slopes[:, None] * torch.from_numpy(rows.units)
    if len(rows.chosen) == len(rows.vectors):
        return gradient
    return gradient.new_zeros(rows.vectors.shape).index_copy(0, torch.from_numpy(rows.chosen), gradient)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _sweep(kernel: Any, rows: FilterRows, *inputs: Any, outputs: tuple[Tensor, ...]) -> None:
    """Run a kernel over all sites, a block of them on each thread."""
    arrays = [output.numpy() for output in outputs]
    run_blocks(lambda start, stop: kernel(rows.pairs, *inputs, start, stop, *arrays), rows.blocks)


def _sum(rows: FilterRows, table: Tensor, features: Tensor) -> Tensor:
    sums = torch.empty_like(features, memory_format=torch.contiguous_format)
    _sweep(filters.sum_filtered, rows, _array(table), _array(features), outputs=(sums,))
    return sums


def _table_gradient(kernel: Any, rows: FilterRows, table: Tensor, *inputs: Any) -> Tensor:
    """Add up what each thread finds, in their order."""

    def sweep(start: int, stop: int) -> np.ndarray:
        on_table = np.zeros(table.shape, rows.weights.dtype)
        kernel(rows.pairs, rows.reverse, *inputs, start, stop, on_table)
        return on_table

    first, *others = run_blocks(sweep, rows.blocks)
    for other in others:
        first += other
    return torch.from_numpy(first)


class _SumFiltered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: FilterRows, table: Tensor, features: Tensor) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(table, features)
        return _sum(rows, table, features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        table, features = ctx.saved_tensors
        inputs = (_array(adjoint), _array(features))
        on_table = _table_gradient(filters.values_table_gradient, ctx.rows, table, *inputs)
        return None, on_table, _sum(ctx.rows, table, adjoint)


class _FilterSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(table, features, adjoint)
        slopes = features.new_empty(len(rows.neighbours))
        _sweep(filters.filter_slopes, rows, _array(table), _array(features), _array(adjoint), outputs=(slopes,))
        return slopes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        rows: FilterRows = ctx.rows
        table, features, adjoint = ctx.saved_tensors
        bars = _both_ways(rows, bar)
        on_features, on_adjoint = torch.empty_like(features), torch.empty_like(features)
        inputs = (_array(features), _array(adjoint), bars)
        _sweep(filters.slopes_backward, rows, _array(table), *inputs, outputs=(on_features, on_adjoint))
        on_table = _table_gradient(filters.slopes_table_gradient, rows, table, *inputs)
        return None, on_table, on_features, on_adjoint


class _FilterAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> tuple[Tensor, Tensor]:
        ctx.rows = rows
        ctx.save_for_backward(table, features, adjoint)
        on_features, slopes = torch.empty_like(features), features.new_empty(len(rows.neighbours))
        inputs = (_array(table), _array(features), _array(adjoint))
        _sweep(filters.filter_adjoint, rows, *inputs, outputs=(on_features, slopes))
        return on_features, slopes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor, bar_of_slopes: Tensor) -> tuple[Tensor | None, ...]:
        rows: FilterRows = ctx.rows
        table, features, adjoint = ctx.saved_tensors
        bars = _both_ways(rows, bar_of_slopes)
        on_features, on_adjoint = torch.empty_like(features), torch.empty_like(features)
        inputs = (_array(features), _array(adjoint), bars, _array(bar))
        _sweep(filters.adjoint_backward, rows, _array(table), *inputs, outputs=(on_features, on_adjoint))
        on_table = _table_gradient(filters.adjoint_table_gradient, rows, table, *inputs)
        return None, on_table, on_features, on_adjoint


def _both_ways(rows: FilterRows, bar: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return a number of each pair, and that of the pair that points back."""
    here = _array(bar)
    padded = np.append(here, here.dtype.type(0.0))
    return here, padded[rows.reverse]
