"""The sums over neighbours of MACE on a GPU; the twin with the same arguments is in `beadsmith.networks.tensor_sweeps`.

They are one form, F = Σ_p Σ_ρck R[p,π(ρ),k] T[p,ρ,c] h[j,c,k] G[i,ρ,k] over pairs p from site i to site j, linear in
each of its four arguments: radial functions R of path π and channel k, coupling matrices T of result ρ and component c,
features h and an adjoint G. Its derivative by any one of them is a kernel; derivatives of those are the same four.
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

_CHANNELS_AT_ONCE = 32
_SMALLEST_BLOCK = 4
_RADIAL, _MATRICES, _FEATURES, _ADJOINT = range(4)


class CouplingSums:
    """The sums of one force call; all its layers share the order of the pairs.

    Pairs whose radial functions are all zero are beyond the cutoff: they are skipped, and get no derivatives.
    """

    def __init__(self) -> None:
        """Know nothing of the pairs yet."""
        self._sides: Sides | None = None

    def __call__(
        self,
        radial: Float[Tensor, "pairs paths channels"],
        matrices: Float[Tensor, "pairs results components"],
        path_of: Int[Tensor, "results"],
        pair_index: Int[Tensor, "2 pairs"],
        features: Float[Tensor, "sites components channels"],
    ) -> Float[Tensor, "sites results channels"]:
        """Return A[i,ρ,k] = Σ_j R[p,π(ρ),k] Σ_c T[p,ρ,c] h[j,c,k]."""
        if self._sides is None:
            self._sides = Sides(pair_index, len(features))
        # integers, by which kernels multiply the numbers of rows they read
        is_near = (radial.detach() != 0.0).flatten(1).any(1).to(torch.int32)
        form = _Form(self._sides, is_near, path_of, radial.shape, matrices.shape)
        return _Derivative.apply(form, _ADJOINT, radial, matrices, features, None)


class _Form:
    """What F depends on beside its four arguments."""

    def __init__(
        self, sides: Sides, is_near: Tensor, path_of: Tensor, radial_shape: torch.Size, matrices_shape: torch.Size
    ) -> None:
        self.sides, self.is_near, self.path_of = sides, is_near, path_of
        n_sites, (self.n_pairs, self.n_paths, self.n_channels) = sides.n_sites, radial_shape
        _, self.n_results, self.n_components = matrices_shape
        self.shapes = (
            radial_shape,
            matrices_shape,
            (n_sites, self.n_components, self.n_channels),
            (n_sites, self.n_results, self.n_channels),
        )

    def differentiate(self, number: int, arguments: tuple[Tensor | None, ...]) -> Tensor:
        """Return dF by the argument of a number from the three others."""
        given = [argument for argument in arguments if argument is not None]
        derivative = given[0].new_empty(self.shapes[number])
        block = _block(self.n_channels, largest=_CHANNELS_AT_ONCE)
        n_blocks = triton.cdiv(self.n_channels, block)
        sizes = (self.n_paths, self.n_results, self.n_components, self.n_channels)
        whole = (_block(self.n_results), _block(self.n_components), block)
        grid: tuple[int, int]
        where: tuple[Tensor, ...]
        if number in (_RADIAL, _MATRICES):
            kernel = _radial_kernel if number == _RADIAL else _matrices_kernel
            grid, where = (self.n_pairs, n_blocks if number == _RADIAL else 1), self.sides.ends(is_second=False)
        else:
            kernel = _features_kernel if number == _FEATURES else _results_kernel
            side = self.sides.side(is_second=number == _FEATURES)
            grid, where = (self.sides.n_sites, n_blocks), (side.offsets, side.order, side.other)
        launch(kernel, grid, *where, self.is_near, self.path_of, *given, derivative, *sizes, *whole)
        return derivative


def _block(n: int, largest: int = 2**20) -> int:
    return min(max(triton.next_power_of_2(n), _SMALLEST_BLOCK), largest)


class _Derivative(torch.autograd.Function):
    """The derivative of F by one of its arguments, which is None."""

    @staticmethod
    def forward(ctx: Any, form: _Form, number: int, *arguments: Tensor | None) -> Tensor:
        ctx.form, ctx.number = form, number
        ctx.save_for_backward(*arguments)
        return form.differentiate(number, arguments)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        whole = list(ctx.saved_tensors)
        whole[ctx.number] = bar
        found: list[Tensor | None] = [None] * 4
        for number in range(4):
            if number != ctx.number and ctx.needs_input_grad[2 + number]:
                others = [None if k == number else argument for k, argument in enumerate(whole)]
                found[number] = _Derivative.apply(ctx.form, number, *others)
        return None, None, *found


@triton.jit
def _load_radial(radial, path_of, pair, result, channel, counts, n_paths, n_results, n_channels):
    """Return R of each result, a block (results, channels); nothing but zeros for a pair that does not count."""
    path = tl.load(path_of + result, mask=result < n_results, other=0)
    chosen = (result < n_results * counts)[:, None] & (channel < n_channels)[None, :]
    return tl.load(radial + (pair * n_paths + path[:, None]) * n_channels + channel[None, :], mask=chosen, other=0.0)


@triton.jit
def _load_sites(values, site, row, channel, counts, n_rows, n_channels):
    """Return a block (rows, channels) of what a site has."""
    chosen = (row < n_rows * counts)[:, None] & (channel < n_channels)[None, :]
    return tl.load(values + (site * n_rows + row[:, None]) * n_channels + channel[None, :], mask=chosen, other=0.0)


@triton.jit
def _couple(
    matrices, features, pair, neighbour, result, channel, counts, n_results, n_components, n_channels,
    RESULTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Return Σ_c T h of a pair, a block (results, channels)."""
    total = tl.zeros((RESULTS, CHANNELS), dtype=features.dtype.element_ty)
    for component in range(n_components):
        column = tl.load(
            matrices + (pair * n_results + result) * n_components + component,
            mask=result < n_results * counts,
            other=0.0,
        )
        row = tl.load(
            features + (neighbour * n_components + component) * n_channels + channel,
            mask=channel < n_channels * counts,
            other=0.0,
        )
        total += column[:, None] * row[None, :]
    return total


@triton.jit
def _results_kernel(
    offsets, order, other, is_near, path_of, radial, matrices, features, sums,
    n_paths, n_results, n_components, n_channels,
    RESULTS: tl.constexpr, COMPONENTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the derivative by G of one site: Σ_p R Σ_c T h."""
    site = tl.program_id(0).to(tl.int64)
    result = tl.arange(0, RESULTS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    total = tl.zeros((RESULTS, CHANNELS), dtype=sums.dtype.element_ty)
    for place in range(tl.load(offsets + site), tl.load(offsets + site + 1)):
        pair = tl.load(order + place)
        counts, neighbour = tl.load(is_near + pair), tl.load(other + pair)
        strength = _load_radial(radial, path_of, pair, result, channel, counts, n_paths, n_results, n_channels)
        total += strength * _couple(
            matrices, features, pair, neighbour, result, channel, counts, n_results, n_components, n_channels,
            RESULTS, CHANNELS,
        )  # fmt: skip
    chosen = (result < n_results)[:, None] & (channel < n_channels)[None, :]
    tl.store(sums + (site * n_results + result[:, None]) * n_channels + channel[None, :], total, mask=chosen)


@triton.jit
def _features_kernel(
    offsets, order, other, is_near, path_of, radial, matrices, adjoint, sums,
    n_paths, n_results, n_components, n_channels,
    RESULTS: tl.constexpr, COMPONENTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the derivative by h of one site: Σ_p Σ_ρ T R G over the pairs to it."""
    site = tl.program_id(0).to(tl.int64)
    result, component = tl.arange(0, RESULTS), tl.arange(0, COMPONENTS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    total = tl.zeros((COMPONENTS, CHANNELS), dtype=sums.dtype.element_ty)
    for place in range(tl.load(offsets + site), tl.load(offsets + site + 1)):
        pair = tl.load(order + place)
        counts, receiver = tl.load(is_near + pair), tl.load(other + pair)
        pull = _load_radial(radial, path_of, pair, result, channel, counts, n_paths, n_results, n_channels)
        pull *= _load_sites(adjoint, receiver, result, channel, counts, n_results, n_channels)
        for c in range(n_components):
            column = tl.load(
                matrices + (pair * n_results + result) * n_components + c, mask=result < n_results * counts, other=0.0
            )
            total += tl.where(component == c, 1.0, 0.0)[:, None] * tl.sum(column[:, None] * pull, axis=0)[None, :]
    chosen = (component < n_components)[:, None] & (channel < n_channels)[None, :]
    tl.store(sums + (site * n_components + component[:, None]) * n_channels + channel[None, :], total, mask=chosen)


@triton.jit
def _radial_kernel(
    first, second, is_near, path_of, matrices, features, adjoint, on_radial,
    n_paths, n_results, n_components, n_channels,
    RESULTS: tl.constexpr, COMPONENTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the derivative by R of one pair: Σ_ρ G Σ_c T h over the results of each path."""
    pair = tl.program_id(0).to(tl.int64)
    result = tl.arange(0, RESULTS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    counts, site, neighbour = tl.load(is_near + pair), tl.load(first + pair), tl.load(second + pair)
    products = _load_sites(adjoint, site, result, channel, counts, n_results, n_channels)
    products *= _couple(
        matrices, features, pair, neighbour, result, channel, counts, n_results, n_components, n_channels,
        RESULTS, CHANNELS,
    )  # fmt: skip
    path_of_result = tl.load(path_of + result, mask=result < n_results, other=0)
    for path in range(n_paths):
        total = tl.sum(tl.where((path_of_result == path)[:, None], products, 0.0), axis=0)
        tl.store(on_radial + (pair * n_paths + path) * n_channels + channel, total, mask=channel < n_channels)


@triton.jit
def _matrices_kernel(
    first, second, is_near, path_of, radial, features, adjoint, on_matrices,
    n_paths, n_results, n_components, n_channels,
    RESULTS: tl.constexpr, COMPONENTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the derivative by T of one pair: Σ_k R G h."""
    pair = tl.program_id(0).to(tl.int64)
    result = tl.arange(0, RESULTS)
    counts, site, neighbour = tl.load(is_near + pair), tl.load(first + pair), tl.load(second + pair)
    for component in range(n_components):
        total = tl.zeros((RESULTS,), dtype=on_matrices.dtype.element_ty)
        for start in range(0, n_channels, CHANNELS):
            channel = start + tl.arange(0, CHANNELS)
            pull = _load_radial(radial, path_of, pair, result, channel, counts, n_paths, n_results, n_channels)
            pull *= _load_sites(adjoint, site, result, channel, counts, n_results, n_channels)
            row = tl.load(
                features + (neighbour * n_components + component) * n_channels + channel,
                mask=channel < n_channels * counts,
                other=0.0,
            )
            total += tl.sum(pull * row[None, :], axis=1)
        tl.store(on_matrices + (pair * n_results + result) * n_components + component, total, mask=result < n_results)
