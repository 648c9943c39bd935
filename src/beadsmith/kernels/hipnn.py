"""The compiled sweeps of HIP-NN-TS as torch functions that can be differentiated once with respect to the parameters.

Pair vectors are data: a training step runs the forward sweep and the explicit adjoint sweep as two ordinary functions,
so that one ordinary backward pass through both gives the gradient of a loss on energies and forces.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from beadsmith.errors import InputError
from beadsmith.kernels import environments, messages
from beadsmith.kernels.one_interaction import predict_sites
from beadsmith.kernels.rows import find_offsets


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The pairs of a batch as rows of neighbours, one row a site; arrays share memory with the tensors on a CPU."""

    offsets: Int[np.ndarray, "rows"]
    """Start of each site's row; has n_sites + 1 entries."""
    second: Int[np.ndarray, "pairs"]
    """The neighbour of each pair."""
    vectors: Float[np.ndarray, "pairs 3"]
    """Vector to the neighbour [nm]."""
    kinds: Int[np.ndarray, "pairs"]
    """Type of the neighbour."""
    n_kinds: int
    """Number of bead types."""
    cutoff: float
    """Pairs beyond it do not count [nm]."""


def build_rows(
    types: Int[Tensor, "sites"],
    pair_index: Int[Tensor, "2 pairs"],
    pair_vectors: Float[Tensor, "pairs 3"],
    *,
    n_kinds: int,
    cutoff: float,
) -> Rows:
    """Return the rows of directed pairs.

    Raises
    ------
    InputError : the pairs are not sorted by first site, or name a site that does not exist.
    """
    second = pair_index[1].contiguous()
    offsets, is_valid = find_offsets(pair_index[0].contiguous().numpy(), second.numpy(), len(types))
    if not is_valid:
        raise InputError(
            "neighbour pairs are not sorted by first site, or name a site that does not exist",
            fix="Take them from beadsmith.neighbors.find_pairs, or sort them.",
        )
    return Rows(
        offsets=offsets,
        second=second.numpy(),
        vectors=pair_vectors.detach().contiguous().numpy(),
        kinds=types.index_select(0, second).numpy(),
        n_kinds=n_kinds,
        cutoff=cutoff,
    )


def sum_environments(rows: Rows, centres: Tensor, weights: Tensor, n_components: int) -> Tensor:
    """Return A[i,m,t,ν] = Σ_j s_ν u_m over the neighbours of type t, shape (sites, components, types, functions).

    Parameters
    ----------
    rows : Neighbours.
    centres, weights : c_ν = 1/μ_ν [1/nm] and w_ν = σ_ν²/2 [nm²] of the radial functions.
    n_components : Number of angular components: 1, 4 or 9.
    """
    return _SumEnvironments.apply(rows, centres, weights, n_components)


def environment_adjoint(rows: Rows, centres: Tensor, weights: Tensor, adjoint: Tensor) -> Tensor:
    """Return the derivative of an energy with respect to the pair vectors from its derivative `adjoint` by A."""
    return _EnvironmentAdjoint.apply(rows, centres, weights, adjoint)


def sum_messages(rows: Rows, centres: Tensor, weights: Tensor, projected: Tensor, n_components: int) -> Tensor:
    """Return E[i,m,a] = Σ_j u_m Σ_ν s_ν Q[j,ν,a], shape (sites, components, features); `projected` is Q."""
    return _SumMessages.apply(rows, centres, weights, projected, n_components)


def message_adjoint(
    rows: Rows, centres: Tensor, weights: Tensor, projected: Tensor, adjoint: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the derivatives with respect to the pair vectors and to Q from the derivative `adjoint` by E."""
    return _MessageAdjoint.apply(rows, centres, weights, projected, adjoint)


def predict_one_interaction(
    rows: Rows,
    types: Tensor,
    *,
    radial_functions: tuple[Tensor, Tensor],
    interaction: tuple[Tensor, Tensor, Tensor, Tensor],
    cusp: float,
    layers: list[tuple[Tensor, Tensor]],
    readout: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Return site energies and dE/d(pair vectors) of a network with one interaction, without a graph.

    Parameters
    ----------
    rows, types : Neighbours, and the type of each site.
    radial_functions : c_ν and w_ν.
    interaction : V as (types, functions, features), t (l_max, features), and for each type what enters the
        interaction and what bypasses it, both (types, features).
    cusp : ε under the square roots.
    layers : Weight and bias of each square linear layer: R, then W and R of each atom layer.
    readout : Vector (sites, features) and constant (sites,) that make a site's features its energy.
    """
    real = rows.vectors.dtype.type
    matrices = np.stack([_array(weight) for weight, _ in layers])
    biases = np.stack([_array(bias) for _, bias in layers])
    weights, scales, start, shortcut = (_array(tensor) for tensor in interaction)
    mixing = weights.reshape(-1, weights.shape[2])
    energies, gradient = predict_sites(
        (rows.offsets, rows.vectors, rows.kinds, types.contiguous().numpy()),
        (*(_array(tensor) for tensor in radial_functions), real(rows.cutoff)),
        (mixing, np.ascontiguousarray(mixing.T), scales, real(cusp), start, shortcut),
        (matrices, np.ascontiguousarray(matrices.transpose(0, 2, 1)), biases),
        tuple(_array(tensor) for tensor in readout),
    )
    return torch.from_numpy(energies), torch.from_numpy(gradient)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _sweep(kernel: Any, rows: Rows, data: np.ndarray, centres: Tensor, weights: Tensor, *more: Any) -> Any:
    """Call a kernel with the arguments that all share."""
    cutoff = rows.vectors.dtype.type(rows.cutoff)
    return kernel(rows.offsets, rows.vectors, data, _array(centres), _array(weights), cutoff, *more)


def _as_parameters(like: Tensor, *arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array).to(like.dtype) for array in arrays)


class _SumEnvironments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, centres: Tensor, weights: Tensor, n_components: int) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(centres, weights)
        shape = (n_components, rows.n_kinds)
        return torch.from_numpy(_sweep(environments.sum_environments, rows, rows.kinds, centres, weights, shape))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        centres, weights = ctx.saved_tensors
        kernel = environments.environment_adjoint
        _, *found = _sweep(kernel, ctx.rows, ctx.rows.kinds, centres, weights, _array(adjoint), True)
        return None, *_as_parameters(centres, *found), None


class _EnvironmentAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, centres: Tensor, weights: Tensor, adjoint: Tensor) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(centres, weights, adjoint)
        kernel = environments.environment_adjoint
        gradient, _, _ = _sweep(kernel, rows, rows.kinds, centres, weights, _array(adjoint), False)
        return torch.from_numpy(gradient)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        centres, weights, adjoint = ctx.saved_tensors
        kernel = environments.environment_adjoint_backward
        more = (_array(adjoint), _array(direction))
        on_adjoint, *found = _sweep(kernel, ctx.rows, ctx.rows.kinds, centres, weights, *more)
        return None, *_as_parameters(centres, *found), torch.from_numpy(on_adjoint)


class _SumMessages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Rows, centres: Tensor, weights: Tensor, projected: Tensor, n_components: int) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(centres, weights, projected)
        more = (_array(projected), n_components)
        return torch.from_numpy(_sweep(messages.sum_messages, rows, rows.second, centres, weights, *more))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        centres, weights, projected = ctx.saved_tensors
        more = (_array(projected), _array(adjoint))
        found = _sweep(messages.message_adjoint, ctx.rows, ctx.rows.second, centres, weights, *more)
        _, on_projected, on_centres, on_weights = found
        return None, *_as_parameters(centres, on_centres, on_weights), torch.from_numpy(on_projected), None


class _MessageAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Rows, centres: Tensor, weights: Tensor, projected: Tensor, adjoint: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.rows = rows
        ctx.save_for_backward(centres, weights, projected, adjoint)
        more = (_array(projected), _array(adjoint))
        found = _sweep(messages.message_adjoint, rows, rows.second, centres, weights, *more)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor, bar: Tensor) -> tuple[Tensor | None, ...]:
        centres, weights, projected, adjoint = ctx.saved_tensors
        more = (_array(projected), _array(adjoint), _array(direction), _array(bar))
        kernel = messages.message_adjoint_backward
        found = _sweep(kernel, ctx.rows, ctx.rows.second, centres, weights, *more)
        on_projected, on_adjoint, on_centres, on_weights = found
        on_parameters = _as_parameters(centres, on_centres, on_weights)
        return None, *on_parameters, torch.from_numpy(on_projected), torch.from_numpy(on_adjoint)
