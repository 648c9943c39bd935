"""SchNet without a graph: matrices that follow each other are multiplied beforehand, and no autograd is involved.

See `beadsmith.kernels.filter_prediction` for the equations. The readable twin is `Schnet.forward`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from beadsmith.kernels import filter_prediction as kernels
from beadsmith.kernels.activations import KINDS
from beadsmith.kernels.schnet import FilterRows
from beadsmith.kernels.threads import run_blocks
from beadsmith.networks.activations import ActivationName

N_PADDED = 16
"""Widths are padded to a multiple of this: one vector in float32, two in float64."""

ReadOut = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps o (sites, outputs) to site energies and dE/do."""


def collect_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module; torch takes longer than a prediction of a small molecule."""
    found = [parameter for parameter in module._parameters.values() if parameter is not None]
    for child in module._modules.values():
        if child is not None:
            found += collect_parameters(child)
    return found


@torch.no_grad()
def fold(
    embedding: Float[Tensor, "types features"],
    sends: Sequence[Float[Tensor, "filters features"]],
    receives: Sequence[nn.Linear],
    updates: Sequence[nn.Linear],
    output: nn.Linear,
    tables: Sequence[Float[Tensor, "rows filters"]],
) -> list[Tensor]:
    """Return all that a prediction needs, with all widths padded by zeros to whole vectors.

    Products are made in float64 and rounded once. All activation functions are zero at zero, so that the padding stays.

    Parameters
    ----------
    embedding : x⁰ of each type.
    sends, receives, updates : A; V₁ and c₁; V₂ and c₂ of each interaction.
    output : First layer of the output network.
    tables : Filters of each interaction.

    Returns
    -------
    Tables (interactions, rows, filters); z_0 of each type; R as in × out (interactions, filters, features) and c; T as
    in × out (interactions, targets, features, filters); O as in × out (interactions, features, outputs); z_m and o of
    each type; and R, T and O as out × in.
    """
    n_targets = len(sends) - 1
    x = embedding.double()
    sent = [send.double() for send in sends]
    onward_constants, outward, onward = [], [], []
    for k, update in enumerate(updates):
        matrix = update.weight.double()
        onward.append([sent[m + 1] @ matrix if m >= k else torch.zeros_like(sent[0]) for m in range(n_targets)])
        outward.append(output.weight.double() @ matrix)
        x = x + update.bias.double()
        if k < n_targets:
            onward_constants.append(x @ sent[k + 1].T)
    stacked = [
        torch.stack(list(tables)),
        embedding.double() @ sent[0].T,
        torch.stack([receive.weight.double().T for receive in receives]),
        torch.stack([receive.bias.double() for receive in receives]),
        _stack(onward, len(updates), embedding).transpose(-1, -2),
        torch.stack(outward).transpose(-1, -2),
        torch.stack(onward_constants) if n_targets else x.new_zeros(0, *(len(x), len(sent[0]))),
        x @ output.weight.double().T + output.bias.double(),
    ]
    stacked += [stacked[k].transpose(-1, -2) for k in (2, 4, 5)]
    n_matrix_axes = (1, 1, 2, 1, 2, 2, 1, 1, 2, 2, 2)
    return [_pad(part, n).to(embedding.dtype).contiguous() for part, n in zip(stacked, n_matrix_axes, strict=True)]


def _stack(onward: list[list[Tensor]], n_interactions: int, like: Tensor) -> Tensor:
    """Return T as (interactions, targets, filters, features)."""
    if not onward[0]:
        return like.new_zeros(n_interactions, 0, 1, 1, dtype=torch.float64)
    return torch.stack([torch.stack(matrices) for matrices in onward])


def _pad(tensor: Tensor, n_axes: int) -> Tensor:
    """Pad the last axis, or the last two, with zeros to whole vectors."""
    more = [(0, -n % N_PADDED) for n in tensor.shape[: -n_axes - 1 : -1]]
    return functional.pad(tensor, [n for both in more for n in both])


@torch.no_grad()
def predict(
    rows: FilterRows, types: Int[Tensor, "sites"], folded: list[Tensor], activation: ActivationName, read_out: ReadOut
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "given 3"]]:
    """Return site energies and dE/d(pair vectors).

    Parameters
    ----------
    rows, types : Neighbours, and the type of each site.
    folded : What `fold` returned.
    activation : Activation function of the interactions.
    read_out : The rest of the output network.
    """
    tables, by_type, receive, bias, onward, outward, onward_constants, outward_constants, *transposed = (
        tensor.numpy() for tensor in folded
    )
    receive_back, onward_back, outward_back = transposed
    real, n_sites = tables.dtype, len(types)
    (n_interactions, n_filters, n_features), n_outputs = receive.shape, outward.shape[2]
    type_numbers = types.contiguous().numpy()
    slopes = np.empty((n_interactions, n_sites, n_features), real)
    later = np.empty((n_interactions - 1, n_sites, n_filters), real)
    outputs = np.empty((n_sites, n_outputs), real)
    # at first all sites of a type send the same
    first_pairs = (rows.offsets, type_numbers[rows.neighbours], rows.starts, rows.weights)
    pairs = [first_pairs] + [rows.pairs] * (n_interactions - 1)
    sent = [by_type, *later]

    def sweep(kernel: Callable[..., None], *inputs: Any) -> None:
        run_blocks(lambda start, stop: kernel(*inputs, start, stop), rows.blocks)

    for k in range(n_interactions):
        layers = receive[k], bias[k], onward[k], outward[k], onward_constants, outward_constants
        memory = slopes, later, outputs
        sweep(kernels.advance, pairs[k], tables[k], sent[k], layers, KINDS[activation], type_numbers, k, memory)
    energies, derivatives = read_out(torch.from_numpy(outputs))

    by_distance = np.zeros(len(rows.neighbours), real)
    on_later, on_outputs = np.empty_like(later), derivatives.contiguous().numpy()
    on_next, on_sums = np.empty((n_sites, n_filters), real), np.empty((n_sites, n_filters), real)
    for k in reversed(range(n_interactions)):
        backward = receive_back[k], onward_back[k], outward_back[k]
        table = tables[min(k + 1, n_interactions - 1)]
        buffers = on_later, on_next, on_sums, by_distance
        sweep(kernels.retreat, rows.pairs, table, backward, k, (slopes, later, on_outputs), buffers)
        on_next, on_sums = on_sums, on_next
    is_whole = len(rows.chosen) == len(rows.vectors)
    gradient = (np.empty if is_whole else np.zeros)(rows.vectors.shape, real)
    sweep(kernels.write_gradient, pairs[0], tables[0], by_type, on_next, by_distance, rows.chosen, rows.units, gradient)
    return energies, torch.from_numpy(gradient)
