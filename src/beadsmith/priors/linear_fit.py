"""Force matching with terms that are linear in their coefficients: streamed normal equations, block by block.

The sums are kept per contiguous block of frames, so that held-out losses and standard errors (leave one block out)
follow from one pass over the data, in memory that does not depend on its length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.linalg
import scipy.sparse.csgraph
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.priors.frames import FrameChunk
from beadsmith.statistics import leave_one_out_error

# Eigenvalues of the scaled normal matrix below this are rounding: the float64 precision times a few hundred columns.
_RANK_TOLERANCE = 1e-13


class LinearTerm(Protocol):
    """An energy term whose forces are linear in its coefficients."""

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients."""

    def force_design(self, batch: Batch, pairs: Pairs) -> tuple[Int[Tensor, "used"], Float[Tensor, "components used"]]:
        """Return the coefficients that matter to a batch, and the force components, site by site, of a unit of each."""

    def build_penalty(
        self, visits: Float[np.ndarray, "coefficients"]
    ) -> Float[np.ndarray, "coefficients coefficients"]:
        """Return a positive semi-definite matrix, in the scale of the Gram diagonal, that settles what data do not."""


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Sums over the frames of each block, in float64: everything that linear least squares needs of the data."""

    gram: Float[np.ndarray, "blocks coefficients coefficients"]
    """Aᵀ A of each block, A the force design."""
    moment: Float[np.ndarray, "blocks coefficients"]
    """Aᵀ b of each block, b the labels."""
    label_square: Float[np.ndarray, "blocks"]
    """bᵀ b of each block [(kJ/mol/nm)²]."""
    n_components: Float[np.ndarray, "blocks"]
    """Number (or sum of weights) of force components of each block."""

    def compute_losses(self, coefficients: Float[np.ndarray, "coefficients"]) -> Float[np.ndarray, "blocks"]:
        """Return the mean squared force error per component of each block [(kJ/mol/nm)²]."""
        quadratic = np.einsum("k,bkl,l->b", coefficients, self.gram, coefficients)
        # a block of zero-weight frames has no loss; it counts with weight zero
        return (quadratic - 2.0 * self.moment @ coefficients + self.label_square) / np.maximum(
            self.n_components, 1e-300
        )


@dataclass(frozen=True, kw_only=True)
class LinearSolution:
    """Least-squares coefficients with what their quality can be judged by."""

    coefficients: Float[np.ndarray, "coefficients"]
    """Solution from all blocks."""
    replicates: Float[np.ndarray, "blocks coefficients"]
    """Solutions with one block left out each."""
    loss: float
    """Mean squared force error per component on the fitted frames [(kJ/mol/nm)²]."""
    held_out_loss: float
    """The same on each block from the solution without it; NaN with one block."""
    zero_loss: float
    """Mean squared label component: the loss of zero coefficients."""
    n_unvisited: int
    """Coefficients that no frame determines; the penalty pins them."""
    rank: int
    """Rank of the penalised normal matrix; below the number of coefficients, the smallest solution is taken."""
    ridge: float
    """Weight of the penalty, relative to the Gram diagonal [1]."""

    @property
    def explained_variance(self) -> float:
        """Fraction of the mean squared label that the fit explains, on the fitted frames."""
        return 1.0 - self.loss / self.zero_loss

    def select(self, chosen: slice) -> "LinearSolution":
        """Return the solution with some of the coefficients; losses and counts stay those of the whole fit."""
        return replace(self, coefficients=self.coefficients[chosen], replicates=self.replicates[:, chosen])

    def estimate_error(self, functional: Float[np.ndarray, "points coefficients"]) -> Float[np.ndarray, "points"]:
        """Return the block-jackknife standard error of linear functions of the coefficients."""
        return leave_one_out_error(self.replicates @ functional.T)


def accumulate_normal_equations(
    terms: Sequence[LinearTerm],
    chunks: Iterable[FrameChunk],
    *,
    n_blocks: int,
    fixed_terms: Sequence[AbstractEnergyTerm] = (),
) -> NormalEquations:
    """Return the normal equations of the terms' coefficients, for labels minus the forces of the fixed terms.

    Parameters
    ----------
    terms : Linear terms; their coefficients stand side by side in the given order.
    chunks : Frames with labels, from `stream_frames`.
    n_blocks : Number of blocks that the chunks name.
    fixed_terms : Terms whose forces are taken off the labels first.
    """
    ends = np.cumsum([term.n_coefficients for term in terms])
    firsts, n_coefficients = [0, *ends[:-1].tolist()], int(ends[-1])
    gram = np.zeros((n_blocks, n_coefficients, n_coefficients))
    moment = np.zeros((n_blocks, n_coefficients))
    label_square = np.zeros(n_blocks)
    n_components = np.zeros(n_blocks)
    for chunk in chunks:
        labels = chunk.labels
        if fixed_terms:
            labels = labels - predict_prior(list(fixed_terms), chunk.batch, chunk.pairs).forces.reshape(-1)
        parts = [term.force_design(chunk.batch, chunk.pairs) for term in terms]
        used = np.concatenate([first + part[0].numpy() for first, part in zip(firsts, parts, strict=True)])
        design = torch.cat([part[1] for part in parts], dim=1)
        weights = chunk.weights.index_select(0, chunk.batch.system_index).repeat_interleave(3)
        weighted = design * weights[:, None]
        gram[chunk.block][np.ix_(used, used)] += (weighted.T @ design).numpy()
        moment[chunk.block, used] += (weighted.T @ labels).numpy()
        label_square[chunk.block] += float(labels @ (weights * labels))
        n_components[chunk.block] += float(weights.sum())
    return NormalEquations(gram=gram, moment=moment, label_square=label_square, n_components=n_components)


def solve_normal_equations(
    terms: Sequence[LinearTerm], equations: NormalEquations, *, ridge: float = 1e-9
) -> LinearSolution:
    """Return the coefficients c that minimise |A c - b|² + ridge cᵀ P c, P the terms' penalties.

    The penalty is dimensionless against the Gram diagonal: at 1e-9 it is far below the statistical error of every
    coefficient that data determine, and pins the others to their neighbours.

    Source: W. G. Noid et al., J. Chem. Phys. 128, 244115 (2008).

    Raises
    ------
    InputError : the ridge is negative, or a force or position was not finite.
    """
    if not (np.isfinite(ridge) and ridge >= 0.0):
        raise InputError(f"the ridge of the linear fit is {ridge}, expected a finite number >= 0")
    if not (np.isfinite(equations.label_square).all() and np.isfinite(equations.gram).all()):
        raise InputError(
            "a force or position in the frames to fit is not finite",
            fix="Look for a broken frame in the mapped trajectory.",
        )
    gram, moment = equations.gram.sum(axis=0), equations.moment.sum(axis=0)
    penalty = ridge * _join_penalties(terms, np.diagonal(gram))
    coefficients, rank = _solve_symmetric(gram + penalty, moment)
    n_blocks = len(equations.gram)
    replicates = np.empty((n_blocks, len(moment)))
    if n_blocks == 1:
        replicates[0] = coefficients
    else:
        for block in range(n_blocks):
            rest = gram - equations.gram[block] + penalty
            replicates[block], _ = _solve_symmetric(rest, moment - equations.moment[block])
    sizes = equations.n_components / equations.n_components.sum()
    held_out = [equations.compute_losses(replicate)[block] for block, replicate in enumerate(replicates)]
    return LinearSolution(
        coefficients=coefficients,
        replicates=replicates,
        loss=float(sizes @ equations.compute_losses(coefficients)),
        held_out_loss=float(sizes @ np.array(held_out)) if n_blocks > 1 else float("nan"),
        zero_loss=float(equations.label_square.sum() / equations.n_components.sum()),
        n_unvisited=int(np.sum(np.diagonal(gram) == 0.0)),
        rank=rank,
        ridge=ridge,
    )


def _join_penalties(terms: Sequence[LinearTerm], visits: np.ndarray) -> np.ndarray:
    parts = np.split(visits, np.cumsum([term.n_coefficients for term in terms])[:-1])
    return scipy.linalg.block_diag(*[term.build_penalty(part) for term, part in zip(terms, parts, strict=True)])


def _solve_symmetric(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int]:
    """Solve a positive semi-definite system, each of its uncoupled parts apart; return the solution and the rank."""
    n_parts, part = scipy.sparse.csgraph.connected_components(matrix != 0.0, directed=False)
    solution, rank = np.zeros_like(right), 0
    for number in range(n_parts):
        rows = np.flatnonzero(part == number)
        solution[rows], found = _solve_coupled(matrix[np.ix_(rows, rows)], right[rows])
        rank += found
    return solution, rank


def _solve_coupled(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int]:
    """Solve a positive semi-definite system after scaling its diagonal to one; return the solution and the rank."""
    diagonal = np.diagonal(matrix)
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    values, vectors = scipy.linalg.eigh(matrix * np.outer(scale, scale))
    kept = values > _RANK_TOLERANCE * len(values) * max(values[-1], 1e-300)
    projected = vectors[:, kept].T @ (scale * right)
    return scale * (vectors[:, kept] @ (projected / values[kept])), int(kept.sum())
