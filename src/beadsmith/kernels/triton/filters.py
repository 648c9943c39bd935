"""The sweeps of SchNet on a GPU: features times tabulated filters, summed over neighbours, and their derivatives.

This has the functions of `beadsmith.kernels.schnet`, whose module `filters` explains the notation. A program takes one
site and a block of columns, and a few pairs at a time. Where each distance lies in the table is found again in every
kernel: it costs less than to read eight weights a pair.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-incomplete-defs=False
# triton infers types itself; annotations would only be checked at calls that Python never makes

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from beadsmith.kernels.splines import FIRST_INTERVAL
from beadsmith.kernels.triton.launch import launch
from beadsmith.kernels.triton.sides import Sides

_PAIRS_AT_ONCE = 16
_MOST_COLUMNS = 128
_FIRST = tl.constexpr(FIRST_INTERVAL)


@dataclass(frozen=True, kw_only=True)
class FilterRows:
    """The pairs of a batch, and where they look their filters up."""

    sides: Sides
    """First and second site of each pair."""
    distances: Float[Tensor, "pairs"]
    """Distances [nm]; pairs beyond the cutoff add zeros."""
    units: Float[Tensor, "pairs 3"]
    """Unit vector to the neighbour."""
    starts: Int[Tensor, "pairs"]
    """First row of the table of each pair's class."""
    n_intervals: int
    """Number of intervals of a table."""
    cutoff: float
    """Distance at which tables end [nm]."""


def build_filter_rows(
    pair_index: Int[Tensor, "2 pairs"],
    pair_vectors: Float[Tensor, "pairs 3"],
    pair_classes: Int[Tensor, "pairs"] | None,
    *,
    n_sites: int,
    n_intervals: int,
    cutoff: float,
) -> FilterRows:
    """Return the rows of directed pairs; arguments as in `beadsmith.kernels.schnet.build_filter_rows`."""
    vectors = pair_vectors.detach()
    distances = torch.linalg.vector_norm(vectors, dim=1)
    # two sites on one point push in no direction
    inverse = torch.where(distances == 0.0, 0.0, 1.0 / distances)
    starts = torch.zeros_like(pair_index[0]) if pair_classes is None else pair_classes * (n_intervals + 2)
    return FilterRows(
        sides=Sides(pair_index, n_sites),
        distances=distances,
        units=vectors * inverse[:, None],
        starts=starts,
        n_intervals=n_intervals,
        cutoff=cutoff,
    )


def sum_filtered(rows: FilterRows, table: Tensor, features: Tensor) -> Tensor:
    """Return y_ia = Σ_j W_a(r_ij) x_ja over the neighbours; `table` holds W, `features` is x (sites, filters)."""
    return _Sum.apply(rows, table, features, False)


def filter_slopes(rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> Tensor:
    """Return dE/dr of each pair from `adjoint` = dE/dy."""
    return _Slopes.apply(rows, table, features, adjoint)


def filter_adjoint(rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> tuple[Tensor, Tensor]:
    """Return dE/dx and dE/dr of each pair from `adjoint` = dE/dy."""
    return _Sum.apply(rows, table, adjoint, True), filter_slopes(rows, table, features, adjoint)


def spread_slopes(rows: FilterRows, slopes: Tensor) -> Float[Tensor, "pairs 3"]:
    """Return dE/d(pair vectors) from dE/dr of each pair."""
    return slopes[:, None] * rows.units


class _Sum(torch.autograd.Function):
    """Sum W_a(r) x_a over the pairs from each site, or over those to it."""

    @staticmethod
    def forward(ctx: Any, rows: FilterRows, table: Tensor, values: Tensor, is_to: bool) -> Tensor:
        ctx.rows, ctx.is_to = rows, is_to
        ctx.save_for_backward(table, values)
        return _sum(rows, table, values, None, is_to=is_to)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        table, values = ctx.saved_tensors
        from_first, to_second = (values, bar) if ctx.is_to else (bar, values)
        on_table = _differentiate_table(ctx.rows, table, from_first, to_second, None)
        return None, on_table, _sum(ctx.rows, table, bar, None, is_to=not ctx.is_to), None


class _Slopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: FilterRows, table: Tensor, features: Tensor, adjoint: Tensor) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(table, features, adjoint)
        slopes = torch.zeros_like(rows.distances)
        inputs = (table, features, adjoint)
        _launch(_slopes_kernel, rows, False, inputs, slopes, (), n_blocks=1)
        return slopes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        table, features, adjoint = ctx.saved_tensors
        on_table = _differentiate_table(ctx.rows, table, adjoint, features, bar)
        on_features = _sum(ctx.rows, table, adjoint, bar, is_to=True)
        return None, on_table, on_features, _sum(ctx.rows, table, features, bar, is_to=False)


def _sum(rows: FilterRows, table: Tensor, values: Tensor, scales: Tensor | None, *, is_to: bool) -> Tensor:
    """Return the sums of W, or, with a factor for each pair, of W' times the factor."""
    sums = torch.empty_like(values, memory_format=torch.contiguous_format)
    inputs = (values if scales is None else scales.contiguous(), table, values)
    return _launch(_sum_kernel, rows, is_to, inputs, sums, (scales is not None,))


def _differentiate_table(rows: FilterRows, table: Tensor, left: Tensor, right: Tensor, scales: Tensor | None) -> Tensor:
    """Return the derivative of Σ_p Σ_a u_ia W_a(r_p) v_ja by the table, or the same of W' times a factor a pair."""
    on_table = torch.zeros_like(table, memory_format=torch.contiguous_format)
    inputs = (left if scales is None else scales.contiguous(), left, right)
    return _launch(_table_kernel, rows, False, inputs, on_table, (scales is not None,))


def _launch(
    kernel: Any,
    rows: FilterRows,
    is_to: bool,
    inputs: tuple[Tensor, ...],
    output: Tensor,
    flags: tuple[bool, ...],
    n_blocks: int | None = None,
) -> Tensor:
    """Run a kernel with one program for each site and block of columns."""
    side = rows.sides.side(is_second=is_to)
    n_columns = inputs[-1].shape[1]
    block = min(triton.next_power_of_2(n_columns), _MOST_COLUMNS)
    grid = (rows.sides.n_sites, n_blocks or triton.cdiv(n_columns, block))
    # distances are compared and scaled by literals of the kernel: an argument would be rounded to float32
    literals = (rows.cutoff / rows.n_intervals, rows.n_intervals, rows.cutoff)
    launch(
        kernel,
        grid,
        side.offsets,
        side.order,
        side.other,
        rows.distances,
        rows.starts,
        *inputs,
        output,
        n_columns,
        *literals,
        *flags,
        _PAIRS_AT_ONCE,
        block,
    )
    return output


@triton.jit
def _locate(
    distances,
    starts,
    pair,
    is_pair,
    SPACING: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    CUTOFF: tl.constexpr,
    IS_SLOPE: tl.constexpr,
):
    """Return the first row, whether a pair counts, and the four weights in the filter or in its slope [1/nm]."""
    r = tl.load(distances + pair, mask=is_pair, other=0.0)
    # a distance that is not a number counts, and reaches the energy
    is_near = is_pair & ((r < CUTOFF) | (r != r))
    x = r * (1.0 / SPACING)
    k = tl.minimum(tl.where(x > _FIRST, x, _FIRST).to(tl.int64), N_INTERVALS - 1)
    u = tl.where(x < _FIRST, 0.0, x - k.to(x.dtype))
    v = 1.0 - u
    if IS_SLOPE:
        scale = tl.where(x < _FIRST, 0.0, x * 0.0 + 0.5 / SPACING)
        w0 = -v * v * scale
        w1 = (3.0 * u * u - 4.0 * u) * scale
        w2 = (4.0 * v - 3.0 * v * v) * scale
        w3 = u * u * scale
    else:
        w0 = v * v * v / 6.0
        w1 = (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0
        w2 = (3.0 * v * v * v - 6.0 * v * v + 4.0) / 6.0
        w3 = u * u * u / 6.0
    row = tl.load(starts + pair, mask=is_pair, other=0) + k - 1
    return row, is_near, w0, w1, w2, w3


@triton.jit
def _interpolate(table, row, column, n_columns, chosen, w0, w1, w2, w3):
    """Return a block (pairs, columns) of filters."""
    place = table + row[:, None] * n_columns + column[None, :]
    filters = w0[:, None] * tl.load(place, mask=chosen, other=0.0)
    filters += w1[:, None] * tl.load(place + n_columns, mask=chosen, other=0.0)
    filters += w2[:, None] * tl.load(place + 2 * n_columns, mask=chosen, other=0.0)
    return filters + w3[:, None] * tl.load(place + 3 * n_columns, mask=chosen, other=0.0)


@triton.jit
def _sum_kernel(
    offsets,
    order,
    other,
    distances,
    starts,
    scales,
    table,
    values,
    sums,
    n_columns,
    SPACING: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    CUTOFF: tl.constexpr,
    IS_SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write Σ W_a(r) x_a of one site, or Σ S W'_a(r) x_a with a factor S of each pair."""
    site = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < n_columns
    total = tl.zeros((COLUMNS,), dtype=sums.dtype.element_ty)
    last = tl.load(offsets + site + 1)
    for start in range(tl.load(offsets + site), last, PAIRS):
        place = start + tl.arange(0, PAIRS)
        is_pair = place < last
        pair = tl.load(order + place, mask=is_pair, other=0)
        row, is_near, w0, w1, w2, w3 = _locate(distances, starts, pair, is_pair, SPACING, N_INTERVALS, CUTOFF, IS_SLOPE)
        chosen = is_near[:, None] & is_column[None, :]
        filters = _interpolate(table, row, column, n_columns, chosen, w0, w1, w2, w3)
        neighbour = tl.load(other + pair, mask=is_near, other=0)
        factors = tl.load(values + neighbour[:, None] * n_columns + column[None, :], mask=chosen, other=0.0)
        if IS_SLOPE:
            factors *= tl.load(scales + pair, mask=is_near, other=0.0)[:, None]
        total += tl.sum(filters * factors, axis=0)
    tl.store(sums + site * n_columns + column, total, mask=is_column)


@triton.jit
def _slopes_kernel(
    offsets,
    order,
    other,
    distances,
    starts,
    table,
    features,
    adjoint,
    slopes,
    n_columns,
    SPACING: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    CUTOFF: tl.constexpr,
    PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write Σ_a W'_a(r_p) g_ia x_ja for the pairs from one site."""
    site = tl.program_id(0).to(tl.int64)
    last = tl.load(offsets + site + 1)
    for start in range(tl.load(offsets + site), last, PAIRS):
        place = start + tl.arange(0, PAIRS)
        is_pair = place < last
        pair = tl.load(order + place, mask=is_pair, other=0)
        row, is_near, w0, w1, w2, w3 = _locate(distances, starts, pair, is_pair, SPACING, N_INTERVALS, CUTOFF, True)
        neighbour = tl.load(other + pair, mask=is_near, other=0)
        total = tl.zeros((PAIRS,), dtype=slopes.dtype.element_ty)
        for block in range(0, n_columns, COLUMNS):
            column = block + tl.arange(0, COLUMNS)
            chosen = is_near[:, None] & (column < n_columns)[None, :]
            values = _interpolate(table, row, column, n_columns, chosen, w0, w1, w2, w3)
            values *= tl.load(features + neighbour[:, None] * n_columns + column[None, :], mask=chosen, other=0.0)
            own = tl.load(adjoint + site * n_columns + column, mask=column < n_columns, other=0.0)
            total += tl.sum(values * own[None, :], axis=1)
        tl.store(slopes + pair, total, mask=is_pair)


@triton.jit
def _table_kernel(
    offsets,
    order,
    other,
    distances,
    starts,
    scales,
    left,
    right,
    on_table,
    n_columns,
    SPACING: tl.constexpr,
    N_INTERVALS: tl.constexpr,
    CUTOFF: tl.constexpr,
    IS_SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Add the derivative of Σ_p Σ_a u_ia W_a(r_p) v_ja, or of W' times a factor, by the table: pairs of one site."""
    site = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < n_columns
    own = tl.load(left + site * n_columns + column, mask=is_column, other=0.0)
    last = tl.load(offsets + site + 1)
    for start in range(tl.load(offsets + site), last, PAIRS):
        place = start + tl.arange(0, PAIRS)
        is_pair = place < last
        pair = tl.load(order + place, mask=is_pair, other=0)
        row, is_near, w0, w1, w2, w3 = _locate(distances, starts, pair, is_pair, SPACING, N_INTERVALS, CUTOFF, IS_SLOPE)
        chosen = is_near[:, None] & is_column[None, :]
        neighbour = tl.load(other + pair, mask=is_near, other=0)
        value = tl.load(right + neighbour[:, None] * n_columns + column[None, :], mask=chosen, other=0.0)
        value *= own[None, :]
        if IS_SLOPE:
            value *= tl.load(scales + pair, mask=is_near, other=0.0)[:, None]
        # the rows of a table are shared by the pairs of all sites
        target = on_table + row[:, None] * n_columns + column[None, :]
        tl.atomic_add(target, w0[:, None] * value, mask=chosen)
        tl.atomic_add(target + n_columns, w1[:, None] * value, mask=chosen)
        tl.atomic_add(target + 2 * n_columns, w2[:, None] * value, mask=chosen)
        tl.atomic_add(target + 3 * n_columns, w3[:, None] * value, mask=chosen)
