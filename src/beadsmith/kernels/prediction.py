"""Energies and pair gradients of a whole HIP-NN-TS network without a graph: what molecular dynamics calls.

Nothing is differentiated automatically, so that no memory is kept and small molecules do not wait for bookkeeping. The
plain-torch twin is `beadsmith.energy.AbstractNetwork.pair_gradient`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from beadsmith.kernels import environments, messages
from beadsmith.kernels.hipnn import (
    Functions,
    Rows,
    add_parts,
    as_array,
    function_arrays,
    pad_last,
    sweep_sites,
    sweep_sources,
)
from beadsmith.kernels.one_interaction import predict_sites
from beadsmith.kernels.products import pad
from beadsmith.kernels.site_layers import allocate_layers, apply_all_layers_, differentiate_all_layers_
from beadsmith.kernels.threads import run_blocks, split_rows


@dataclass(frozen=True, kw_only=True)
class BlockWeights:
    """The numbers of one block; the square matrices of the layers are out × in."""

    functions: Functions
    """The radial functions."""
    interaction: Float[Tensor, "functions features inputs"]
    """V."""
    tensor_scales: Float[Tensor, "l_max features"]
    """t."""
    self_interaction: tuple[Tensor, Tensor]
    """W (features, inputs) and b (features,)."""
    projection: Float[Tensor, "features inputs"] | None
    """P of what bypasses the interaction; None for the unit matrix."""
    layers: list[tuple[Tensor, Tensor]]
    """Matrix and bias of each square linear layer: R, then W and R of each atom layer."""
    readout: Float[Tensor, "sites features"]
    """Derivative of each site's energy by its features after the block."""


def predict(
    rows: Rows,
    types: Int[Tensor, "sites"],
    blocks: list[BlockWeights],
    constants: Float[Tensor, "sites"],
    cusp: float,
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
    """Return site energies and dE/d(pair vectors).

    Parameters
    ----------
    rows, types : Neighbours, and the type of each site.
    blocks : The network.
    constants : What the energy of each site is without any block.
    cusp : ε under the square roots.
    """
    if len(blocks) == 1:
        return _predict_in_one_sweep(rows, types, blocks[0], constants, cusp)
    stages: list[_Stage] = []
    energies = constants.clone()
    for weights in blocks:
        stage = _enter(rows, types, weights, cusp, stages[-1].features if stages else None)
        _run_layers(apply_all_layers_, rows, stage)
        energies += (pad_last(weights.readout) * stage.features).sum(1)
        stages.append(stage)
    gradient: Tensor | float = 0.0
    from_next: Tensor | float = 0.0
    for weights, stage in zip(reversed(blocks), reversed(stages), strict=True):
        stage.features.copy_(pad_last(weights.readout) + from_next)
        _run_layers(differentiate_all_layers_, rows, stage)
        own = np.zeros_like(rows.vectors)
        if stage.projected is None:
            adjoint = as_array((stage.tensors @ stage.matrix.T).unflatten(2, (rows.n_kinds, -1)))
            sweep_sites(environments.environment_adjoint, rows, weights.functions, adjoint, own)
        else:
            on_projected = torch.empty_like(stage.projected)
            more = (stage.projected.numpy(), stage.tensors.numpy(), own, on_projected.numpy())
            sweep_sources(messages.message_adjoint, rows, weights.functions, *more)
            from_next = stage.features + stage.inner @ _pad_both(weights.self_interaction[0])
            from_next = from_next + on_projected.flatten(1) @ stage.matrix
        gradient = gradient + torch.from_numpy(own)
    return energies, torch.as_tensor(gradient)


@dataclass(frozen=True)
class _Stage:
    """What the way back through one block needs; all features are padded to whole vectors."""

    matrix: Tensor
    """V as (types × functions, features) in the first block, else as (functions × features, inputs)."""
    projected: Tensor | None
    """What sites send to their neighbours; None in the first block, where they send their type."""
    tensors: Tensor
    inner: Tensor
    features: Tensor
    layers: tuple[Any, ...]
    memory: tuple[np.ndarray, ...]


def _enter(rows: Rows, types: Tensor, weights: BlockWeights, cusp: float, entering: Tensor | None) -> _Stage:
    """Sum over the neighbours of all sites."""
    n_components = (1, 4, 9)[len(weights.tensor_scales)]
    n_functions, n_features, _ = weights.interaction.shape
    projected = None
    if entering is None:
        matrix = _mixing(weights.interaction)
        shape = (rows.n_sites, n_components, rows.n_kinds, pad(n_functions))
        sums = np.empty(shape, rows.vectors.dtype)
        sweep_sites(environments.sum_environments, rows, weights.functions, sums)
        tensors = torch.from_numpy(sums).flatten(2) @ matrix
        inner, features = (pad_last(part).index_select(0, types) for part in _first_inputs(weights))
    else:
        matrix = _pad_both(weights.interaction).flatten(0, 1)
        projected = (entering @ matrix.T).unflatten(1, (n_functions, -1))
        tensors = add_parts(
            sweep_sources(messages.sum_messages, rows, weights.functions, projected.numpy(), n_components)
        )
        matrix_in, bias = weights.self_interaction
        inner, features = functional.linear(entering, _pad_both(matrix_in), pad_last(bias)), entering.clone()
    layers = _pack_layers(weights, rows.vectors.dtype.type(cusp))
    n_activations = len(weights.layers) // 2 + 1
    memory = allocate_layers(
        rows.n_sites, pad(n_features), (n_activations, len(weights.tensor_scales)), rows.vectors.dtype
    )
    return _Stage(matrix, projected, tensors, inner, features, layers, memory)


def _run_layers(kernel: Callable[..., None], rows: Rows, stage: _Stage) -> None:
    """Apply a block, or go back through it, on all threads."""
    data = stage.tensors.numpy(), stage.inner.numpy(), stage.features.numpy(), stage.layers, stage.memory
    run_blocks(lambda start, stop: kernel(*data, start, stop), split_rows(rows.segments[:: rows.n_kinds]))


def _predict_in_one_sweep(
    rows: Rows, types: Tensor, weights: BlockWeights, constants: Tensor, cusp: float
) -> tuple[Tensor, Tensor]:
    """Let each site go through the network and back before the next one."""
    mixing = as_array(_mixing(weights.interaction))
    gradient = np.zeros(rows.vectors.shape, rows.vectors.dtype)
    energies = np.empty(rows.n_sites, rows.vectors.dtype)
    shared = (
        (rows.order, rows.segments, rows.vectors),
        function_arrays(rows, weights.functions),
        (mixing, np.ascontiguousarray(mixing.T), *(as_array(pad_last(part)) for part in _first_inputs(weights))),
        _pack_layers(weights, rows.vectors.dtype.type(cusp)),
        (as_array(pad_last(weights.readout)), as_array(constants)),
        types.contiguous().numpy(),
        energies,
        gradient,
    )
    run_blocks(lambda start, stop: predict_sites(*shared, start, stop), split_rows(rows.segments[:: rows.n_kinds]))
    return torch.from_numpy(energies), torch.from_numpy(gradient)


def _first_inputs(weights: BlockWeights) -> tuple[Tensor, Tensor]:
    """Return what enters the first interaction and what bypasses it, for each type."""
    matrix, bias = weights.self_interaction
    n_types = matrix.shape[1]
    unit = torch.eye(n_types, dtype=matrix.dtype)
    return matrix.T + bias, unit if weights.projection is None else weights.projection.T


def _mixing(weights: Tensor) -> Tensor:
    """Return V as (types × functions, features)."""
    n_functions, n_features, _ = weights.shape
    more = (0, pad(n_features) - n_features, 0, pad(n_functions) - n_functions)
    return functional.pad(weights.permute(2, 0, 1), more).flatten(0, 1)


def _pad_both(matrix: Tensor) -> Tensor:
    """Pad the last two axes with zeros to whole vectors."""
    rows, columns = (pad(n) - n for n in matrix.shape[-2:])
    return functional.pad(matrix, (0, columns, 0, rows)) if rows or columns else matrix


def _pack_layers(weights: BlockWeights, cusp: Any) -> tuple[Any, ...]:
    """Return the layers as `beadsmith.kernels.site_layers` takes them."""
    matrices = _pad_both(torch.stack([matrix for matrix, _ in weights.layers]))
    biases = pad_last(torch.stack([bias for _, bias in weights.layers]))
    transposed = matrices.transpose(1, 2)
    return as_array(pad_last(weights.tensor_scales)), cusp, as_array(matrices), as_array(transposed), as_array(biases)
