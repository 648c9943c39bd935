"""MACE for simulations: the way through the layers and back without automatic differentiation.

Constant factors are part of the weights, and the derivative of each step is written out. Only the sums over neighbours
and the products are functions of `beadsmith.kernels`, as in training; the numbers are the same up to rounding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.kernels.contraction import contract, contraction_adjoint
from beadsmith.kernels.mace import Neighbourhoods, sum_tensor_messages, tensor_message_adjoint, tensor_message_gradient
from beadsmith.kernels.type_mixing import mix_types
from beadsmith.networks.mace_layers import SILU_SCALE, MaceLayer

Matrices = Sequence[Float[Tensor, "inputs outputs"]]
"""One matrix for each degree."""


def transpose(matrices: Matrices) -> list[Tensor]:
    """Return contiguous transposes."""
    return [matrix.transpose(-1, -2).contiguous() for matrix in matrices]


def mix(values: Float[Tensor, "components sites channels"], matrices: Matrices) -> Tensor:
    """Return values · matrix, degree by degree; values may have more components than there are degrees."""
    results = values.new_empty(len(matrices) ** 2, values.shape[1], matrices[0].shape[1])
    for degree, matrix in enumerate(matrices):
        rows = slice(degree**2, (degree + 1) ** 2)
        torch.mm(values[rows].flatten(0, 1), matrix, out=results[rows].flatten(0, 1))
    return results


@dataclass(frozen=True)
class Passage:
    """What the way back through one layer needs of the way there."""

    sent: Float[Tensor, "sites components channels"]
    basis: Float[Tensor, "components sites channels"]
    """A, as it enters the products."""


class FrozenLayer:
    """The weights of a layer, with constant factors and in the order of use."""

    def __init__(self, layer: MaceLayer, table: Float[Tensor, "classes knots columns"]) -> None:
        """Copy the weights; later changes do not count."""
        n = layer.up.shape[1]
        scale = n**-0.5
        self.table, self.paths, self.is_plain = (table.detach(), layer.tensor_paths, layer.is_plain)
        self.program = layer.contraction.program
        self.weights = torch.cat([weight.detach() for weight in layer.contraction.weights], dim=1)
        self.up = [weight * scale for weight in layer.up.detach()]
        self.down = [weight.detach() / (math.sqrt(len(weight)) * layer.average_neighbors) for weight in layer.down]
        self.out = [weight * scale for weight in layer.out.detach()]
        self.skip = layer.skip.detach() * (scale * layer.skip.shape[1] ** -0.5)
        self.up_back, self.down_back, self.out_back = (transpose(m) for m in (self.up, self.down, self.out))
        self.skip_back = self.skip.transpose(2, 3).contiguous()
        self.n_paths = [len(weight) // n for weight in self.down]

    def send(self, features: Float[Tensor, "components sites channels"]) -> Float[Tensor, "sites components channels"]:
        """Return what sites send to their neighbours."""
        return mix(features, self.up).transpose(0, 1).contiguous()

    def enter(
        self, where: Neighbourhoods, features: Tensor, sent: Tensor, types: Int[Tensor, "sites"]
    ) -> tuple[Float[Tensor, "results sites channels"], Passage]:
        """Return the features that leave the layer from those that enter it, and what the way back needs."""
        sums = sum_tensor_messages(where, self.paths, self.table, sent)
        basis = sums.new_empty(len(self.down) ** 2, *sums.shape[::2])
        for degree, block in enumerate(self._blocks(sums)):
            rows = basis[degree**2 : (degree + 1) ** 2].flatten(0, 1)
            torch.mm(block.reshape(len(rows), -1), self.down[degree], out=rows)
        if self.is_plain:
            basis = self._mix_by_type(basis, self.skip, types)
        results = mix(contract(self.program, basis, self.weights, types), self.out)
        if not self.is_plain:
            n_skipped = len(self.skip) ** 2
            results[:n_skipped] += self._mix_by_type(features[:n_skipped], self.skip, types)
        return results, Passage(sent, basis)

    def leave(
        self, where: Neighbourhoods, passage: Passage, adjoint: Tensor, types: Int[Tensor, "sites"], *, is_first: bool
    ) -> tuple[Float[Tensor, "pairs 3"], Float[Tensor, "components sites channels"] | None]:
        """Return the derivatives by the pair vectors, and by the features that enter unless the layer is the first."""
        on_basis = contraction_adjoint(self.program, passage.basis, self.weights, types, mix(adjoint, self.out_back))
        if self.is_plain:
            on_basis = self._mix_by_type(on_basis, self.skip_back, types)
        on_sums = on_basis.new_empty(on_basis.shape[1], self.paths.n_results, on_basis.shape[2])
        for degree, block in enumerate(self._blocks(on_sums)):
            rows = on_basis[degree**2 : (degree + 1) ** 2].flatten(0, 1)
            block.copy_((rows @ self.down_back[degree]).view(block.shape))
        sweep = (where, self.paths, self.table, passage.sent, on_sums)
        if is_first:
            return tensor_message_gradient(*sweep), None
        gradient, on_sent = tensor_message_adjoint(*sweep)
        on_features = mix(on_sent.transpose(0, 1).contiguous(), self.up_back)
        if not self.is_plain:
            n_skipped = len(self.skip) ** 2
            on_features[:n_skipped] += self._mix_by_type(adjoint[:n_skipped], self.skip_back, types)
        return gradient, on_features

    def _blocks(self, sums: Tensor) -> list[Float[Tensor, "components sites paths channels"]]:
        """Return views of the sums of each degree."""
        parts = sums.split([n * (2 * degree + 1) for degree, n in enumerate(self.n_paths)], dim=1)
        return [part.unflatten(1, (-1, 2 * degree + 1)).permute(2, 0, 1, 3) for degree, part in enumerate(parts)]

    @staticmethod
    def _mix_by_type(features: Tensor, weights: Tensor, types: Tensor) -> Tensor:
        if weights.shape[1] == 1:
            return mix(features, list(weights[:, 0]))
        return mix_types(features, weights, types)


def read_out_with_slope(
    scalars: Float[Tensor, "sites features"],
    matrices: Sequence[Float[Tensor, "inputs outputs"]],
    weights: Float[Tensor, "sites channels"],
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "sites features"]]:
    """Return weighted site energies in the scalars that leave a layer, and their derivative.

    Parameters
    ----------
    scalars : Scalars of each site.
    matrices : Of a linear readout, or of one with a hidden layer.
    weights : Weight of each channel.
    """
    *hidden, last = (matrix * len(matrix) ** -0.5 for matrix in matrices)
    slope = weights @ last.T
    if not hidden:
        return ((scalars @ last) * weights).sum(1), slope
    (first,) = hidden
    inputs = scalars @ first
    gate = torch.sigmoid(inputs)
    values = SILU_SCALE * inputs * gate
    return ((values @ last) * weights).sum(1), (slope * (SILU_SCALE * gate + values * (1.0 - gate))) @ first.T


def predict(
    layers: Sequence[FrozenLayer],
    where: Neighbourhoods,
    embedding: Float[Tensor, "types channels"],
    types: Int[Tensor, "sites"],
    read_out: Callable[[int, Float[Tensor, "sites channels"]], tuple[Tensor, Tensor]],
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
    """Return site energies and dE/d(pair vectors).

    Parameters
    ----------
    layers : All layers.
    where : Neighbours.
    embedding : Scalar features of each type.
    types : Type of each site.
    read_out : Turns the number of a layer and the scalars that leave it into site energies and their derivative by
        the scalars.
    """
    features = embedding.index_select(0, types)[None]
    # what the first layer sends is known by type
    sent = mix(embedding[None], layers[0].up)[0].index_select(0, types)[:, None]
    passages, adjoints = [], []
    energies: Tensor | float = 0.0
    for k, layer in enumerate(layers):
        features, passage = layer.enter(where, features, layer.send(features) if k else sent, types)
        own, slope = read_out(k, features[0])
        energies = energies + own
        adjoint = features.new_zeros(features.shape)
        adjoint[0] = slope
        passages.append(passage)
        adjoints.append(adjoint)
    gradient: Tensor | None = None
    on_features: Tensor | None = None
    for k in reversed(range(len(layers))):
        adjoint = adjoints[k] if on_features is None else adjoints[k] + on_features
        own, on_features = layers[k].leave(where, passages[k], adjoint, types, is_first=k == 0)
        gradient = own if gradient is None else gradient.add_(own)
    assert isinstance(energies, Tensor)
    assert gradient is not None
    return energies, gradient
