"""A HIP-NN-TS network with one interaction as one torch function, differentiable once by its weights: for training.

The way there is that of a simulation; the way back is one more sweep. torch sees two compiled calls instead of some
hundred small operations. The readable twin is `beadsmith.energy.AbstractNetwork.pair_gradient`.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from beadsmith.kernels.hipnn import (
    Rows,
    add_parts,
    as_array,
    function_arrays,
    parameter_gradients,
)
from beadsmith.kernels.one_interaction_gradients import differentiate_sites
from beadsmith.kernels.prediction import BlockWeights, PackedNetwork, pack, predict_in_one_sweep
from beadsmith.kernels.threads import run_blocks, split_rows


def predict_with_graph(
    rows: Rows,
    types: Int[Tensor, "sites"],
    block: BlockWeights,
    constants: Float[Tensor, "channels types"],
    cusp: float,
    channel_weights: Float[Tensor, "sites channels"],
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
    """Return what `predict` does for one block, with a graph to its weights.

    Parameters
    ----------
    rows, types, channel_weights : As in `beadsmith.kernels.prediction.predict`.
    block, constants, cusp : As in `pack`.
    """
    matrices, biases = zip(*block.layers, strict=True)
    weights = (
        *block.functions,
        block.interaction,
        block.tensor_scales,
        *block.self_interaction,
        block.projection,
        block.readout,
        constants,
        *matrices,
        *biases,
    )
    with torch.no_grad():
        network = pack([block], constants, cusp)
    return _Prediction.apply(rows, types, network, channel_weights, *weights)


class _Prediction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Rows, types: Tensor, network: PackedNetwork, channel_weights: Tensor, *weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        n_matrices, _, n_features = network.blocks[0].layers[2].shape
        record = np.empty((5, n_matrices // 2 + 1, rows.n_sites, n_features), rows.vectors.dtype)
        ctx.rows, ctx.network, ctx.record = rows, network, record
        ctx.save_for_backward(types, channel_weights, *weights)
        return predict_in_one_sweep(rows, types, network, channel_weights, record)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, on_energies: Tensor | None, direction: Tensor | None) -> tuple[Tensor | None, ...]:
        types, channel_weights, *weights = ctx.saved_tensors
        parts = _sweep(ctx.rows, types, ctx.network, channel_weights, ctx.record, on_energies, direction)
        return None, None, None, None, *_list_gradients(weights, parts)


def _sweep(
    rows: Rows,
    types: Tensor,
    network: PackedNetwork,
    channel_weights: Tensor,
    record: np.ndarray,
    on_energies: Tensor | None,
    direction: Tensor | None,
) -> list[Any]:
    """Return what the sweep back says of each block of sites."""
    (block,) = network.blocks
    real = rows.vectors.dtype
    shared = (
        (rows.order, rows.segments, rows.vectors),
        function_arrays(rows, block.functions),
        block.interaction,
        block.layers,
        (block.readout.numpy(), network.constants),
        (as_array(types), as_array(channel_weights)),
        record,
        (
            np.zeros(rows.n_sites, real) if on_energies is None else as_array(on_energies),
            np.zeros_like(rows.vectors) if direction is None else as_array(direction),
        ),
    )
    return run_blocks(
        lambda start, stop: differentiate_sites(*shared, start, stop), split_rows(rows.segments[:: rows.n_kinds])
    )


def _list_gradients(weights: list[Any], parts: list[Any]) -> list[Tensor | None]:
    """Return the derivatives in the order and the shapes of the weights from those by their padded copies."""
    functions, interaction, projection = weights[:3], weights[3], weights[7]
    on_functions, on_mixing, on_inputs, on_layers, on_readout, on_constants = zip(*parts, strict=True)
    on_scales, on_matrices, on_biases = (add_parts(list(found)) for found in zip(*on_layers, strict=True))
    n_functions, n_features, n_types = interaction.shape
    on_entering, on_bypassing = add_parts(list(on_inputs))[..., :n_features].unbind(0)
    on_interaction = add_parts(list(on_mixing)).unflatten(0, (n_types, -1))
    return [
        *parameter_gradients(tuple(functions), list(on_functions)),
        on_interaction[:, :n_functions, :n_features].permute(1, 2, 0),
        on_scales[:, :n_features],
        on_entering.T,
        on_entering.sum(0),
        None if projection is None else on_bypassing.T,
        add_parts(list(on_readout))[:, :n_features],
        add_parts(list(on_constants)),
        *on_matrices[..., :n_features].unbind(0),
        *on_biases[..., :n_features].unbind(0),
    ]
