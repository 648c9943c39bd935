"""The sums over neighbours of HIP-NN-TS on a GPU; the twins with the same arguments are in `beadsmith.networks.sweeps`.

Both are one form, T = Σ_p Σ_mνa u_pm s_pν Q[j,ν,a] G[i,m,a] over pairs p from site i to site j, linear in each of its
four arguments. Its derivatives by G or Q are sums over the pairs of a site, those by u or s are numbers of a pair. Two
kernels compute them all, and the derivatives of derivatives, of any order, are the same two again.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-incomplete-defs=False
# triton infers types itself; annotations would only be checked at calls that Python never makes

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.kernels.triton.launch import launch
from beadsmith.kernels.triton.sides import Sides

_COLUMNS_AT_ONCE = 64
_SMALLEST_BLOCK = 4


class Sums:
    """The sums of one force call; all its interactions share the order of the pairs.

    Pairs whose radial functions are all zero are beyond the cutoff: they are skipped, and get no derivatives.
    """

    def __init__(self) -> None:
        """Know nothing of the pairs yet."""
        self._sides: Sides | None = None

    def environment_sums(
        self,
        sensitivities: Float[Tensor, "pairs sensitivities"],
        angular: Float[Tensor, "pairs components"],
        pair_index: Int[Tensor, "2 pairs"],
        types: Int[Tensor, "sites"],
        n_types: int,
    ) -> Float[Tensor, "sites components types sensitivities"]:
        """Return A[i,m,t,ν] = Σ_j s_ν(r_ij) u_m(n_ij) over the neighbours j of type t."""
        n_functions = sensitivities.shape[1]
        # every type sends ones in its own columns, instead of every site
        sent = torch.eye(n_types * n_functions, dtype=sensitivities.dtype, device=sensitivities.device)
        sides = Sides(torch.stack([pair_index[0], types[pair_index[1]]]), len(types))
        sums = _sum(sides, angular, sensitivities, sent.view(n_types, n_functions, -1))
        return sums.unflatten(2, (n_types, n_functions))

    def message_sums(
        self,
        sensitivities: Float[Tensor, "pairs sensitivities"],
        angular: Float[Tensor, "pairs components"],
        pair_index: Int[Tensor, "2 pairs"],
        projected: Float[Tensor, "sites sensitivities features"],
    ) -> Float[Tensor, "sites components features"]:
        """Return E[i,m,a] = Σ_j u_m(n_ij) Σ_ν s_ν(r_ij) Q[j,ν,a]."""
        if self._sides is None:
            self._sides = Sides(pair_index, len(projected))
        return _sum(self._sides, angular, sensitivities, projected)


def _sum(sides: Sides, angular: Tensor, sensitivities: Tensor, sent: Tensor) -> Tensor:
    # integers, by which kernels multiply the numbers of rows they read
    is_near = (sensitivities.detach() != 0.0).any(1).to(torch.int32)
    return _Sum.apply(sides, is_near, angular, sensitivities, sent, False)


class _Sum(torch.autograd.Function):
    """Σ_p outer_pm Σ_ν inner_pν sent[other,ν,a] over the pairs from each site, or over those to it."""

    @staticmethod
    def forward(
        ctx: Any, sides: Sides, is_near: Tensor, outer: Tensor, inner: Tensor, sent: Tensor, is_to: bool
    ) -> Tensor:
        ctx.sides, ctx.is_near, ctx.is_to = sides, is_near, is_to
        ctx.save_for_backward(outer, inner, sent)
        side, n_columns = sides.side(is_second=is_to), sent.shape[2]
        sums = sent.new_empty(sides.n_sites, outer.shape[1], n_columns)
        grid = (sides.n_sites, triton.cdiv(n_columns, _block(n_columns)))
        _launch(_sum_kernel, grid, (side.offsets, side.order, side.other), is_near, (outer, inner, sent), sums)
        return sums

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        outer, inner, sent = ctx.saved_tensors
        where, is_to = (ctx.sides, ctx.is_near), ctx.is_to
        on_outer = _Contract.apply(*where, inner, bar, sent, is_to) if ctx.needs_input_grad[2] else None
        on_inner = _Contract.apply(*where, outer, sent, bar, not is_to) if ctx.needs_input_grad[3] else None
        on_sent = _Sum.apply(*where, inner, outer, bar, not is_to) if ctx.needs_input_grad[4] else None
        return None, None, on_outer, on_inner, on_sent, None


class _Contract(torch.autograd.Function):
    """Σ_a left[own,m,a] Σ_ν inner_pν sent[other,ν,a] of each pair, whose own site is its first, or its second one."""

    @staticmethod
    def forward(
        ctx: Any, sides: Sides, is_near: Tensor, inner: Tensor, left: Tensor, sent: Tensor, is_to: bool
    ) -> Tensor:
        ctx.sides, ctx.is_near, ctx.is_to = sides, is_near, is_to
        ctx.save_for_backward(inner, left, sent)
        own, other = sides.ends(is_second=is_to)
        result = inner.new_empty(len(inner), left.shape[1])
        _launch(_contract_kernel, (len(inner),), (own, other), is_near, (left, inner, sent), result)
        return result

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        inner, left, sent = ctx.saved_tensors
        where, is_to = (ctx.sides, ctx.is_near), ctx.is_to
        on_inner = _Contract.apply(*where, bar, sent, left, not is_to) if ctx.needs_input_grad[2] else None
        on_left = _Sum.apply(*where, bar, inner, sent, is_to) if ctx.needs_input_grad[3] else None
        on_sent = _Sum.apply(*where, inner, bar, left, not is_to) if ctx.needs_input_grad[4] else None
        return None, None, on_inner, on_left, on_sent, None


def _block(n: int) -> int:
    return min(max(triton.next_power_of_2(n), _SMALLEST_BLOCK), _COLUMNS_AT_ONCE)


def _launch(
    kernel: Any,
    grid: tuple[int, ...],
    places: tuple[Tensor, ...],
    is_near: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor],
    output: Tensor,
) -> None:
    """Run a kernel; the second and third input tell the number of inner functions and of columns."""
    n_outer, n_inner, n_columns = output.shape[1], inputs[1].shape[1], inputs[2].shape[2]
    whole = (max(triton.next_power_of_2(n), _SMALLEST_BLOCK) for n in (n_outer, n_inner))
    sizes = (n_outer, n_inner, n_columns, *whole, _block(n_columns))
    launch(kernel, grid, *places, is_near, *inputs, output, *sizes)


@triton.jit
def _sum_kernel(
    offsets,
    order,
    other,
    is_near,
    outer,
    inner,
    sent,
    sums,
    n_outer,
    n_inner,
    n_columns,
    OUTER: tl.constexpr,
    INNER: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write a block of columns of the sums of one site."""
    site = tl.program_id(0).to(tl.int64)
    m, k = tl.arange(0, OUTER), tl.arange(0, INNER)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((OUTER, COLUMNS), dtype=sums.dtype.element_ty)
    for place in range(tl.load(offsets + site), tl.load(offsets + site + 1)):
        pair = tl.load(order + place)
        counts = tl.load(is_near + pair)
        neighbour = tl.load(other + pair)
        factors = tl.load(inner + pair * n_inner + k, mask=k < n_inner * counts, other=0.0)
        chosen = (k < n_inner * counts)[:, None] & (column < n_columns)[None, :]
        values = tl.load(sent + (neighbour * n_inner + k[:, None]) * n_columns + column[None, :], chosen, other=0.0)
        message = tl.sum(factors[:, None] * values, axis=0)
        components = tl.load(outer + pair * n_outer + m, mask=m < n_outer * counts, other=0.0)
        total += components[:, None] * message[None, :]
    chosen = (m < n_outer)[:, None] & (column < n_columns)[None, :]
    tl.store(sums + (site * n_outer + m[:, None]) * n_columns + column[None, :], total, mask=chosen)


@triton.jit
def _contract_kernel(
    own,
    other,
    is_near,
    left,
    inner,
    sent,
    result,
    n_outer,
    n_inner,
    n_columns,
    OUTER: tl.constexpr,
    INNER: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the numbers of one pair."""
    pair = tl.program_id(0).to(tl.int64)
    m, k = tl.arange(0, OUTER), tl.arange(0, INNER)
    counts = tl.load(is_near + pair)
    site, neighbour = tl.load(own + pair), tl.load(other + pair)
    factors = tl.load(inner + pair * n_inner + k, mask=k < n_inner * counts, other=0.0)
    total = tl.zeros((OUTER,), dtype=result.dtype.element_ty)
    for start in range(0, n_columns, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        chosen = (k < n_inner * counts)[:, None] & (column < n_columns)[None, :]
        values = tl.load(sent + (neighbour * n_inner + k[:, None]) * n_columns + column[None, :], chosen, other=0.0)
        message = tl.sum(factors[:, None] * values, axis=0)
        chosen = (m < n_outer * counts)[:, None] & (column < n_columns)[None, :]
        weights = tl.load(left + (site * n_outer + m[:, None]) * n_columns + column[None, :], chosen, other=0.0)
        total += tl.sum(weights * message[None, :], axis=1)
    tl.store(result + pair * n_outer + m, total, mask=m < n_outer)
