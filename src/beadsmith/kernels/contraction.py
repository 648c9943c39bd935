"""The symmetric contraction of MACE as a torch function with an explicit adjoint.

It can be differentiated as a network's forces need it: the derivative with respect to the features is a function of
its own, which can be differentiated once more with respect to everything.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from beadsmith.kernels import polynomials
from beadsmith.kernels.threads import run_blocks
from beadsmith.kernels.vectors import VECTOR_BYTES, make_zeros

_SMALLEST_BLOCK = 64
"""Sites below which a second thread costs more than it saves."""


@dataclass(frozen=True, eq=False)
class SiteProgram:
    """Sparse polynomials: what is computed on each site and channel."""

    n_components: int
    """Number of features of a site and channel."""
    n_results: int
    """Number of results of a site and channel."""
    n_weights: int
    """Number of couplings, each of which has a weight."""
    factors: Int[np.ndarray, "factors"]
    """Three places of features for each monomial; the place after the last feature holds the number 1."""
    targets: Int[np.ndarray, "rows 2"]
    """Result and weight of each row."""
    terms: tuple[np.ndarray, np.ndarray, np.ndarray]
    """First term of each row; monomial and coefficient (float64) of each term."""


def build_program(
    factors: Sequence[Int[np.ndarray, "order monomials"]],
    matrix: Float[np.ndarray, "rows monomials"],
    n_couplings: Sequence[int],
) -> SiteProgram:
    """Return the polynomials of a contraction as sparse sums.

    Parameters
    ----------
    factors : Features that make up the monomials of two, three, … copies; a column for each monomial.
    matrix : Coefficients of all monomials, those of one copy first; one row for each degree, coupling and component.
    n_couplings : Number of couplings to each degree 0, 1, …
    """
    n_components = matrix.shape[1] - sum(order.shape[1] for order in factors)
    alone = np.arange(n_components)[None]
    padded = [np.pad(order, ((0, 3 - len(order)), (0, 0)), constant_values=n_components) for order in (alone, *factors)]
    targets = [
        (degree**2 + component, sum(n_couplings[:degree]) + coupling)
        for degree, number in enumerate(n_couplings)
        for coupling in range(number)
        for component in range(2 * degree + 1)
    ]
    # coefficients are sums of square roots of fractions: what is smaller is what rounding left of zero
    rows, places = (np.ascontiguousarray(numbers) for numbers in np.nonzero(np.abs(matrix) > 1e-9))
    firsts = np.searchsorted(rows, np.arange(len(matrix) + 1))
    return SiteProgram(
        n_components,
        len(n_couplings) ** 2,
        sum(n_couplings),
        np.concatenate(padded, axis=1).T.flatten(),
        np.array(targets, np.int64),
        (firsts, places, matrix[rows, places]),
    )


def contract(
    program: SiteProgram,
    features: Float[Tensor, "components sites channels"],
    weights: Float[Tensor, "types couplings channels"],
    types: Int[Tensor, "sites"],
) -> Float[Tensor, "results sites channels"]:
    """Return B[a,i,k] = Σ_η w[type(i), η, k] P_{a η}(A[·,i,k]) with the polynomials P of a program."""
    return _Contract.apply(program, types, features, weights)


def contraction_adjoint(
    program: SiteProgram,
    features: Float[Tensor, "components sites channels"],
    weights: Float[Tensor, "types couplings channels"],
    types: Int[Tensor, "sites"],
    adjoint: Float[Tensor, "results sites channels"],
) -> Float[Tensor, "components sites channels"]:
    """Return the derivative by A of an energy whose derivative by B is `adjoint`."""
    return _ContractionAdjoint.apply(program, types, features, weights, adjoint)


@lru_cache(maxsize=64)
def _arrays(program: SiteProgram, n_channels: int, real: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the `program` of `beadsmith.kernels.polynomials.contract_`."""
    firsts, places, values = program.terms
    return (
        program.factors,
        program.targets * np.array([1, n_channels]),
        (firsts, places, values.astype(real)),
    )


class _Call:
    """Arrays whose channels fill whole vectors, and the blocks of sites of the threads."""

    def __init__(self, program: SiteProgram, types: Tensor, like: Tensor) -> None:
        self.n_channels, n_sites = like.shape[2], len(types)
        self.missing = -self.n_channels % (VECTOR_BYTES // like.element_size())
        self.types = types.contiguous().numpy()
        self.real = np.dtype(str(like.dtype).removeprefix("torch."))
        self.program = _arrays(program, self.n_channels + self.missing, self.real)
        n_blocks = max(1, min(torch.get_num_threads(), n_sites // _SMALLEST_BLOCK))
        borders = [n_sites * b // n_blocks for b in range(n_blocks + 1)]
        self.blocks = list(itertools.pairwise(borders))

    def pad(self, tensor: Tensor) -> np.ndarray:
        """Return a tensor with channels that fill whole vectors."""
        if self.missing:
            return functional.pad(tensor.detach(), (0, self.missing)).numpy()
        return tensor.detach().contiguous().numpy()

    def make(self, *shape: int) -> np.ndarray:
        """Return zeros for a result."""
        return make_zeros((*shape, self.n_channels + self.missing), self.real)

    def cut(self, array: np.ndarray) -> Tensor:
        """Return a result without the channels that were added."""
        return torch.from_numpy(array)[..., : self.n_channels].contiguous()

    def make_sums(self, like: Tensor) -> dict[tuple[int, int], np.ndarray]:
        """Return zeros for each block, to be added afterwards."""
        return {block: self.make(*like.shape[:2]) for block in self.blocks}


def _add(parts: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    total, *others = parts.values()
    for part in others:
        total += part
    return total


class _Contract(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, program: SiteProgram, types: Tensor, features: Tensor, weights: Tensor) -> Tensor:
        ctx.program = program
        ctx.save_for_backward(types, features, weights)
        call = _Call(program, types, features)
        results = call.make(program.n_results, len(types))
        arguments = (call.program, call.types, call.pad(features), call.pad(weights), results)
        run_blocks(lambda first, last: polynomials.contract_(first, last, *arguments), call.blocks)
        return call.cut(results)

    @staticmethod
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        types, features, weights = ctx.saved_tensors
        on_features = on_weights = None
        if ctx.needs_input_grad[2]:
            on_features = _ContractionAdjoint.apply(ctx.program, types, features, weights, adjoint)
        if ctx.needs_input_grad[3]:
            on_weights = _ContractionWeights.apply(ctx.program, types, features, weights, adjoint)
        return None, None, on_features, on_weights


class _ContractionWeights(torch.autograd.Function):
    """The derivative by the weights, which cannot be differentiated further."""

    @staticmethod
    def forward(
        ctx: Any, program: SiteProgram, types: Tensor, features: Tensor, weights: Tensor, adjoint: Tensor
    ) -> Tensor:
        call = _Call(program, types, features)
        sums = call.make_sums(weights)
        arguments = (call.program, call.types, call.pad(features), call.pad(adjoint))

        def sweep(first: int, last: int) -> None:
            polynomials.weigh_contraction_(first, last, *arguments, sums[first, last])

        run_blocks(sweep, call.blocks)
        return call.cut(_add(sums))

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError("the derivative of a contraction by its weights cannot be differentiated again")


class _ContractionAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, program: SiteProgram, types: Tensor, features: Tensor, weights: Tensor, adjoint: Tensor
    ) -> Tensor:
        ctx.program = program
        ctx.save_for_backward(types, features, weights, adjoint)
        call = _Call(program, types, features)
        on_features = call.make(*features.shape[:2])
        arguments = (call.program, call.types, call.pad(features), call.pad(weights), call.pad(adjoint), on_features)
        run_blocks(lambda first, last: polynomials.contraction_adjoint_(first, last, *arguments), call.blocks)
        return call.cut(on_features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, moves: Tensor) -> tuple[Tensor | None, ...]:
        types, features, weights, adjoint = ctx.saved_tensors
        call = _Call(ctx.program, types, features)
        on_features, on_adjoint = call.make(*features.shape[:2]), call.make(*adjoint.shape[:2])
        sums = call.make_sums(weights)
        arrays = (call.pad(features), call.pad(moves), call.pad(weights), call.pad(adjoint))

        def sweep(first: int, last: int) -> None:
            results = (on_features, on_adjoint, sums[first, last])
            polynomials.move_contraction_(first, last, call.program, call.types, *arrays, results)

        run_blocks(sweep, call.blocks)
        return None, None, call.cut(on_features), call.cut(_add(sums)), call.cut(on_adjoint)
