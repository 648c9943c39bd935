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
from beadsmith.kernels.products import multiply_rows_, pad
from beadsmith.kernels.site_layers import allocate_layers, apply_all_layers_, differentiate_all_layers_, no_record
from beadsmith.kernels.threads import run_blocks, split_rows

_NUMBERS_PER_PAIR = 1000
"""Multiplications that take about as long as a pair of sites in a sweep."""


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
    readout: Float[Tensor, "channels features"]
    """Derivative of the energy of a site in each channel by its features after the block."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The numbers of one block as the kernels take them: padded, contiguous and where needed transposed."""

    functions: tuple[Tensor, ...]
    matrix: np.ndarray
    """V as (types × functions, features) in the first block, else as (inputs, functions × features)."""
    transposed: np.ndarray
    """The same transposed."""
    self_interaction: tuple[np.ndarray, np.ndarray, Tensor]
    """W as (inputs, features), W transposed, and b."""
    interaction: tuple[np.ndarray, ...]
    """What `predict_sites` wants of a first block; empty for the others."""
    layers: tuple[Any, ...]
    readout: Tensor

    @property
    def n_components(self) -> int:
        """Number of angular components."""
        return (1, 4, 9)[len(self.layers[0])]


@dataclass(frozen=True, kw_only=True)
class PackedNetwork:
    """All numbers of a network, in the layout of the kernels; see `pack`."""

    blocks: list[_Block]
    constants: Float[np.ndarray, "channels types"]


def pack(blocks: list[BlockWeights], constants: Float[Tensor, "channels types"], cusp: float) -> PackedNetwork:
    """Bring the numbers of a network into the layout of the kernels; copies all of them.

    Parameters
    ----------
    blocks : Weights.
    constants : What the energy of a site of each type is without any block.
    cusp : ε under the square roots.
    """
    packed = [_pack_block(weights, is_first=k == 0, cusp=cusp) for k, weights in enumerate(blocks)]
    return PackedNetwork(blocks=packed, constants=_copy(constants))


def _pack_block(weights: BlockWeights, *, is_first: bool, cusp: float) -> _Block:
    matrices = torch.stack([matrix for matrix, _ in weights.layers])
    layers = (
        _copy(pad_last(weights.tensor_scales)),
        as_array(weights.interaction).dtype.type(cusp),
        _copy(pad_last(matrices)),
        _copy(pad_last(matrices.transpose(1, 2))),
        _copy(pad_last(torch.stack([bias for _, bias in weights.layers]))),
    )
    matrix = _mixing(weights.interaction) if is_first else _pad_both(weights.interaction).flatten(0, 1).T
    matrix_in, bias = weights.self_interaction
    inwards = _pad_both(matrix_in).T
    by_type: tuple[np.ndarray, ...] = ()
    if is_first:
        n_types = matrix_in.shape[1]
        unit = torch.eye(n_types, dtype=matrix_in.dtype)
        bypassing = unit if weights.projection is None else weights.projection.T
        mixed = pad_last(weights.interaction.permute(2, 0, 1))
        first_inputs = pad_last(matrix_in.T + bias), pad_last(bypassing)
        by_type = tuple(_copy(part) for part in (matrix, matrix.T, mixed, *first_inputs))
    return _Block(
        functions=tuple(_own(pad_last(part)) for part in weights.functions),
        matrix=_copy(matrix),
        transposed=_copy(matrix.T),
        self_interaction=(_copy(inwards), _copy(inwards.T), _own(pad_last(bias))),
        interaction=by_type,
        layers=layers,
        readout=_own(pad_last(weights.readout)),
    )


def predict(
    rows: Rows, types: Int[Tensor, "sites"], network: PackedNetwork, channel_weights: Float[Tensor, "sites channels"]
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
    """Return channel-weighted site energies and dE/d(pair vectors).

    Parameters
    ----------
    rows, types : Neighbours, and the type of each site.
    network : All weights.
    channel_weights : Weight of each channel at each site.
    """
    if len(network.blocks) == 1:
        return predict_in_one_sweep(rows, types, network, channel_weights, no_record(rows.vectors.dtype))
    stages: list[_Stage] = []
    constants = torch.from_numpy(network.constants).T.index_select(0, types)
    energies = (channel_weights * constants).sum(1)
    for block in network.blocks:
        stage = _enter(rows, types, block, stages[-1].features if stages else None)
        _run_layers(apply_all_layers_, rows, stage)
        energies += ((channel_weights @ block.readout) * stage.features).sum(1)
        stages.append(stage)
    gradient: Tensor | float = 0.0
    from_next: Tensor | float = 0.0
    for stage in reversed(stages):
        block = stage.block
        stage.features.copy_(channel_weights @ block.readout + from_next)
        _run_layers(differentiate_all_layers_, rows, stage)
        own = np.zeros_like(rows.vectors)
        if stage.projected is None:
            adjoint = _multiply(stage.tensors, block.transposed)
            adjoint = adjoint.view(rows.n_sites, block.n_components, rows.n_kinds, -1)
            sweep_sites(environments.environment_adjoint, rows, block.functions, adjoint.numpy(), own)
        else:
            on_projected = torch.empty_like(stage.projected)
            more = (stage.projected.numpy(), stage.tensors.numpy(), own, on_projected.numpy())
            sweep_sources(messages.message_adjoint, rows, block.functions, *more)
            from_next = stage.features + _multiply(stage.inner, block.self_interaction[1])
            from_next += _multiply(on_projected.flatten(1), block.transposed)
        gradient = gradient + torch.from_numpy(own)
    return energies, torch.as_tensor(gradient)


@dataclass(frozen=True)
class _Stage:
    """What the way back through one block needs; all features are padded to whole vectors."""

    block: _Block
    projected: Tensor | None
    """What sites send to their neighbours; None in the first block, where they send their type."""
    tensors: Tensor
    inner: Tensor
    features: Tensor
    memory: tuple[np.ndarray, ...]


def _enter(rows: Rows, types: Tensor, block: _Block, entering: Tensor | None) -> _Stage:
    """Sum over the neighbours of all sites."""
    n_features = block.layers[0].shape[1]
    projected = None
    if entering is None:
        shape = (rows.n_sites, block.n_components, rows.n_kinds, block.functions[0].shape[0])
        sums = np.empty(shape, rows.vectors.dtype)
        sweep_sites(environments.sum_environments, rows, block.functions, sums)
        mixed = _multiply(torch.from_numpy(sums).flatten(2), block.matrix)
        tensors = mixed.view(rows.n_sites, block.n_components, n_features)
        inner, features = (torch.from_numpy(part).index_select(0, types) for part in block.interaction[3:])
    else:
        projected = _multiply(entering, block.matrix).unflatten(1, (-1, n_features))
        tensors = add_parts(
            sweep_sources(messages.sum_messages, rows, block.functions, projected.numpy(), block.n_components)
        )
        inner, features = _multiply(entering, block.self_interaction[0]), entering.clone()
        inner += block.self_interaction[2]
    shape_of_memory = (len(block.layers[2]) // 2 + 1, len(block.layers[0]))
    memory = allocate_layers(rows.n_sites, n_features, shape_of_memory, rows.vectors.dtype)
    return _Stage(block, projected, tensors, inner, features, memory)


def _multiply(left: Tensor, right: np.ndarray) -> Tensor:
    """Return the product of two matrices, on all threads; leading axes of the left one are rows."""
    rows = left.reshape(-1, len(right)).numpy()
    result = np.empty((len(rows), right.shape[1]), rows.dtype)
    # a product of this many numbers takes about as long as a pair
    pairs = np.arange(len(rows) + 1) * (right.size // _NUMBERS_PER_PAIR + 1)
    run_blocks(lambda start, stop: multiply_rows_(result, rows, right, start, stop), split_rows(pairs))
    return torch.from_numpy(result)


def _run_layers(kernel: Callable[..., None], rows: Rows, stage: _Stage) -> None:
    """Apply a block, or go back through it, on all threads."""
    data = stage.tensors.numpy(), stage.inner.numpy(), stage.features.numpy(), stage.block.layers, stage.memory
    run_blocks(lambda start, stop: kernel(*data, start, stop), split_rows(rows.segments[:: rows.n_kinds]))


def predict_in_one_sweep(
    rows: Rows, types: Tensor, network: PackedNetwork, channel_weights: Tensor, record: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return what `predict` does for one block: each site goes through the network and back before the next one.

    Parameters
    ----------
    record : Filled for training, see `site_layers.apply_layers_`; empty for none.
    """
    (block,) = network.blocks
    gradient = np.zeros(rows.vectors.shape, rows.vectors.dtype)
    energies = np.empty(rows.n_sites, rows.vectors.dtype)
    shared = (
        (rows.order, rows.segments, rows.vectors),
        function_arrays(rows, block.functions),
        block.interaction,
        block.layers,
        (block.readout.numpy(), network.constants),
        (types.contiguous().numpy(), channel_weights.contiguous().numpy()),
        (energies, gradient, record),
    )
    run_blocks(lambda start, stop: predict_sites(*shared, start, stop), split_rows(rows.segments[:: rows.n_kinds]))
    return torch.from_numpy(energies), torch.from_numpy(gradient)


def _mixing(weights: Tensor) -> Tensor:
    """Return V as (types × functions, features)."""
    n_functions, n_features, _ = weights.shape
    more = (0, pad(n_features) - n_features, 0, pad(n_functions) - n_functions)
    return functional.pad(weights.permute(2, 0, 1), more).flatten(0, 1)


def _pad_both(matrix: Tensor) -> Tensor:
    """Pad the last two axes with zeros to whole vectors."""
    rows, columns = (pad(n) - n for n in matrix.shape[-2:])
    return functional.pad(matrix, (0, columns, 0, rows)) if rows or columns else matrix


def _own(tensor: Tensor) -> Tensor:
    """Return a contiguous copy without a graph."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _copy(tensor: Tensor) -> np.ndarray:
    return _own(tensor).numpy()
