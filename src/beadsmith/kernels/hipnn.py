"""The compiled sweeps of HIP-NN-TS as torch functions that can be differentiated once with respect to the parameters.

Pair vectors are data: a training step runs the forward sweep and the explicit adjoint sweep as two ordinary functions,
so that one ordinary backward pass through both gives the gradient of a loss on energies and forces. Sweeps run on as
many threads as torch has, each on its own block of sites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from beadsmith.errors import InputError
from beadsmith.kernels import environments, messages
from beadsmith.kernels.products import pad
from beadsmith.kernels.rows import find_offsets, list_segments, list_sources
from beadsmith.kernels.threads import run_blocks, split_rows


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The pairs of a batch as rows of neighbours, one row a site; arrays share memory with the tensors on a CPU."""

    order: Int[np.ndarray, "near"]
    """The pairs within the cutoff, by site and by type of the neighbour."""
    segments: Int[np.ndarray, "segments"]
    """Start of each site's neighbours of each type in this order; has n_sites · n_kinds + 1 entries."""
    first: Int[np.ndarray, "pairs"]
    """The site of each pair."""
    second: Int[np.ndarray, "pairs"]
    """The neighbour of each pair."""
    vectors: Float[np.ndarray, "pairs 3"]
    """Vector to the neighbour [nm]."""
    classes: Int[np.ndarray, "pairs"]
    """Relation of the two sites."""
    n_kinds: int
    """Number of bead types."""
    cutoff: float
    """Pairs beyond it do not count [nm]."""

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return (len(self.segments) - 1) // self.n_kinds

    @cached_property
    def sources(self) -> tuple[np.ndarray, np.ndarray]:
        """Start of the pairs that end at each site, and these pairs."""
        offsets, order = list_sources(self.second, self.order, self.n_sites)
        return offsets, order


def build_rows(
    types: Int[Tensor, "sites"],
    pair_index: Int[Tensor, "2 pairs"],
    pair_vectors: Float[Tensor, "pairs 3"],
    pair_bond_class: Int[Tensor, "pairs"],
    *,
    n_kinds: int,
    cutoff: float,
) -> Rows:
    """Return the rows of directed pairs.

    Raises
    ------
    InputError : the pairs are not sorted by first site, or name a site that does not exist.
    """
    first, second = (part.contiguous().numpy() for part in pair_index)
    vectors = pair_vectors.detach().contiguous().numpy()
    offsets, is_valid = find_offsets(first, second, len(types))
    if not is_valid:
        raise InputError(
            "neighbour pairs are not sorted by first site, or name a site that does not exist",
            fix="Take them from beadsmith.neighbors.find_pairs, or sort them.",
        )
    real_cutoff = vectors.dtype.type(cutoff)
    segments, order = list_segments(offsets, second, vectors, types.contiguous().numpy(), n_kinds, real_cutoff)
    return Rows(
        order=order,
        segments=segments,
        first=first,
        second=second,
        vectors=vectors,
        classes=pair_bond_class.contiguous().numpy(),
        n_kinds=n_kinds,
        cutoff=cutoff,
    )


Functions = tuple[Tensor, Tensor, Tensor]
"""c_ν = 1/μ_ν [1/nm] and w_ν = σ_ν²/2 [nm²] of the radial functions, and amplitudes (classes, functions).

One row of amplitudes serves all pairs; otherwise each class of pairs has its own.
"""


def sum_environments(rows: Rows, functions: Functions, n_components: int) -> Tensor:
    """Return A[i,m,t,ν] = Σ_j s_ν u_m over the neighbours of type t, shape (sites, components, types, functions).

    Parameters
    ----------
    rows : Neighbours.
    functions : The radial functions.
    n_components : Number of angular components: 1, 4 or 9.
    """
    return _SumEnvironments.apply(rows, *functions, n_components)[..., : len(functions[0])]


def environment_adjoint(rows: Rows, functions: Functions, adjoint: Tensor) -> Tensor:
    """Return the derivative of an energy with respect to the pair vectors from its derivative `adjoint` by A."""
    return _EnvironmentAdjoint.apply(rows, *functions, pad_last(adjoint))


def sum_messages(rows: Rows, functions: Functions, projected: Tensor, n_components: int) -> Tensor:
    """Return E[i,m,a] = Σ_j u_m Σ_ν s_ν Q[j,ν,a], shape (sites, components, features); `projected` is Q."""
    return _SumMessages.apply(rows, *functions, pad_last(projected), n_components)[..., : projected.shape[2]]


def message_adjoint(rows: Rows, functions: Functions, projected: Tensor, adjoint: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives with respect to the pair vectors and to Q from the derivative `adjoint` by E."""
    gradient, on_projected = _MessageAdjoint.apply(rows, *functions, pad_last(projected), pad_last(adjoint))
    return gradient, on_projected[..., : projected.shape[2]]


def as_array(tensor: Tensor) -> np.ndarray:
    """Return the numbers of a tensor."""
    return tensor.detach().contiguous().numpy()


def pad_last(tensor: Tensor) -> Tensor:
    """Pad the last axis with zeros to whole vectors."""
    more = pad(tensor.shape[-1]) - tensor.shape[-1]
    return functional.pad(tensor, (0, more)) if more else tensor


def function_arrays(rows: Rows, functions: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Return the radial functions as the sweeps take them."""
    return *(as_array(pad_last(part)) for part in functions), rows.classes, rows.vectors.dtype.type(rows.cutoff)


def sweep_sites(kernel: Callable[..., Any], rows: Rows, functions: tuple[Tensor, ...], *more: Any) -> list[Any]:
    """Run a sweep over the sites and their neighbours on all threads."""
    shared = ((rows.order, rows.segments, rows.vectors), function_arrays(rows, functions), *more)
    return run_blocks(lambda start, stop: kernel(*shared, start, stop), split_rows(rows.segments[:: rows.n_kinds]))


def sweep_sources(kernel: Callable[..., Any], rows: Rows, functions: tuple[Tensor, ...], *more: Any) -> list[Any]:
    """Run a sweep over the sites and the pairs that end at them on all threads."""
    offsets, order = rows.sources
    shared = ((order, offsets, rows.vectors, rows.first), function_arrays(rows, functions), *more)
    return run_blocks(lambda start, stop: kernel(*shared, start, stop), split_rows(offsets))


def add_parts(parts: list[np.ndarray]) -> Tensor:
    """Add what the threads found, always in the same order."""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return torch.from_numpy(total)


def parameter_gradients(functions: tuple[Tensor, ...], parts: list[np.ndarray]) -> tuple[Tensor, ...]:
    """Return the derivatives by c, w and the amplitudes from the sums of `gaussians.add_parameters_`."""
    centres, weights, amplitudes = functions
    on_centres, on_weights, on_amplitudes = add_parts(parts)[..., : len(centres)].unbind(1)
    found = (
        2.0 * weights.double() * (amplitudes.double() * on_centres).sum(0),
        (amplitudes.double() * on_weights).sum(0),
        on_amplitudes,
    )
    return tuple(part.to(centres.dtype) for part in found)


class _SumEnvironments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, *arguments: Any) -> Tensor:
        *functions, n_components = arguments
        ctx.rows = rows
        ctx.save_for_backward(*functions)
        shape = (rows.n_sites, n_components, rows.n_kinds, pad(len(functions[0])))
        sums = np.empty(shape, rows.vectors.dtype)
        sweep_sites(environments.sum_environments, rows, tuple(functions), sums)
        return torch.from_numpy(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        functions = ctx.saved_tensors
        totals = sweep_sites(environments.environment_parameters, ctx.rows, functions, as_array(adjoint))
        return None, *parameter_gradients(functions, totals), None


class _EnvironmentAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, *arguments: Tensor) -> Tensor:
        *functions, adjoint = arguments
        ctx.rows = rows
        ctx.save_for_backward(*arguments)
        gradient = np.zeros_like(rows.vectors)
        sweep_sites(environments.environment_adjoint, rows, tuple(functions), as_array(adjoint), gradient)
        return torch.from_numpy(gradient)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        *functions, adjoint = ctx.saved_tensors
        on_adjoint = np.empty(adjoint.shape, ctx.rows.vectors.dtype)
        more = (as_array(adjoint), as_array(direction), on_adjoint)
        totals = sweep_sites(environments.environment_adjoint_backward, ctx.rows, tuple(functions), *more)
        return None, *parameter_gradients(tuple(functions), totals), torch.from_numpy(on_adjoint)


class _SumMessages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, *arguments: Any) -> Tensor:
        *functions, projected, n_components = arguments
        ctx.rows = rows
        ctx.save_for_backward(*functions, projected)
        return add_parts(
            sweep_sources(messages.sum_messages, rows, tuple(functions), as_array(projected), n_components)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        *functions, projected = ctx.saved_tensors
        on_projected = np.empty(projected.shape, ctx.rows.vectors.dtype)
        more = (as_array(projected), as_array(adjoint), on_projected)
        totals = sweep_sources(messages.message_backward, ctx.rows, tuple(functions), *more)
        return None, *parameter_gradients(tuple(functions), totals), torch.from_numpy(on_projected), None


class _MessageAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        *functions, projected, adjoint = arguments
        ctx.rows = rows
        ctx.save_for_backward(*arguments)
        gradient = np.zeros_like(rows.vectors)
        on_projected = np.empty(projected.shape, rows.vectors.dtype)
        more = (as_array(projected), as_array(adjoint), gradient, on_projected)
        sweep_sources(messages.message_adjoint, rows, tuple(functions), *more)
        return torch.from_numpy(gradient), torch.from_numpy(on_projected)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor, bar: Tensor) -> tuple[Tensor | None, ...]:
        *functions, projected, adjoint = ctx.saved_tensors
        on_projected = np.empty(projected.shape, ctx.rows.vectors.dtype)
        more = (as_array(projected), as_array(adjoint), as_array(direction), as_array(bar), on_projected)
        parts = sweep_sources(messages.message_adjoint_backward, ctx.rows, tuple(functions), *more)
        on_parameters = parameter_gradients(tuple(functions), [totals for _, totals in parts])
        on_adjoint = add_parts([part for part, _ in parts])
        return None, *on_parameters, torch.from_numpy(on_projected), on_adjoint
