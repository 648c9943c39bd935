"""Spline potentials, linear in their coefficients: what the multiscale coarse-graining (MS-CG) method fits.

A spline offers its force design besides its energy, so that force matching is a linear least-squares problem
(`linear_fit`).
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.errors import InputError
from beadsmith.priors.pair_terms import NONBONDED, AbstractPairTerm, select_half_pairs

CUBIC_BASIS = torch.tensor(
    [[1.0, -3.0, 3.0, -1.0], [4.0, 0.0, -6.0, 3.0], [1.0, 3.0, 3.0, -3.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
).div(6.0)
"""Cubic B-splines: the four functions that reach into an interval (rows) by powers 0..3 of the position in it, 0..1.
Source: C. de Boor, A Practical Guide to Splines, Springer (1978), uniform knots."""

InnerEnd = Literal["free", "flat"]


class PairSpline(AbstractPairTerm):
    """A cubic B-spline pair potential for every unordered type pair.

    U(r) = Σ_k c_k B_k(r) on uniform knots from the type pair's inner distance to the cutoff, where U, U' and U'' are
    zero. At the inner end either nothing is imposed and U continues with constant force ("free"), or U' = U'' = 0 and
    U continues as a constant ("flat"): a flat spline adds no force inside and is meant to stand beside a repulsion.

    Source: S. Izvekov and G. A. Voth, J. Phys. Chem. B 109, 2469 (2005).
    """

    kind: ClassVar[str] = "pair_spline"
    coefficients: Tensor
    inner: Tensor
    basis: Tensor
    expansion: Tensor
    column_of_basis: Tensor

    def __init__(
        self,
        type_names: tuple[str, ...],
        *,
        inner_distances: tuple[float, ...],
        cutoff: float,
        n_intervals: int,
        inner_end: InnerEnd = "flat",
        bond_classes: tuple[int, ...] = NONBONDED,
    ) -> None:
        """Build a spline with all coefficients zero.

        Parameters
        ----------
        type_names : Names of the bead types.
        inner_distances : Innermost knot of each unordered type pair [nm].
        cutoff : Outermost knot [nm].
        n_intervals : Number of knot intervals, at least 4.
        inner_end : Condition at the innermost knot.
        bond_classes : Bond classes of the pairs that the spline applies to.

        Raises
        ------
        InputError : an inner distance is not between zero and the cutoff, or there are too few intervals.
        """
        super().__init__(type_names, cutoff=cutoff, bond_classes=bond_classes)
        if len(inner_distances) != len(self.type_pairs):
            raise InputError(f"{len(self.type_pairs)} type pairs need as many inner distances, got {inner_distances}")
        if not all(0.0 <= distance < cutoff for distance in inner_distances):
            raise InputError(
                f"spline knots start at {inner_distances} nm, expected between 0 and the cutoff {cutoff} nm"
            )
        if n_intervals < 4:
            raise InputError(f"a spline of {n_intervals} intervals was asked for, expected at least 4")
        self.inner_distances = tuple(float(distance) for distance in inner_distances)
        self.n_intervals = int(n_intervals)
        self.inner_end = inner_end
        expansion = torch.from_numpy(_expand_coefficients(self.n_intervals, inner_end))
        self.register_buffer("expansion", expansion, persistent=False)
        self.register_buffer("inner", torch.tensor(self.inner_distances, dtype=torch.float64), persistent=False)
        self.register_buffer("basis", CUBIC_BASIS.clone(), persistent=False)
        self.register_buffer("column_of_basis", self._number_columns(), persistent=False)
        coefficients = torch.zeros(len(self.type_pairs), expansion.shape[1], dtype=torch.float64)
        self.register_buffer("coefficients", coefficients)

    @property
    def n_coefficients(self) -> int:
        """Number of free coefficients of all type pairs."""
        return self.coefficients.numel()

    def pair_energy(self, distances: Float[Tensor, "pairs"], type_pair: Int[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
        """Return the energy of each pair [kJ/mol]."""
        every_basis = self.coefficients.to(distances.dtype) @ self.expansion.to(distances.dtype).T
        # one row of cubic coefficients per interval and type pair
        rows = (every_basis.unfold(1, 4, 1) @ self.basis.to(distances.dtype)).reshape(-1, 4)
        x, interval = self._locate(distances, type_pair)
        inside = x.clamp(0.0, self.n_intervals)
        row = rows.index_select(0, type_pair * self.n_intervals + interval)
        u = inside - interval
        energy = ((row[:, 3] * u + row[:, 2]) * u + row[:, 1]) * u + row[:, 0]
        if self.inner_end == "flat":
            return energy
        return energy + row[:, 1] * (x - inside).clamp(max=0.0)

    def force_design(self, batch: Batch, pairs: Pairs) -> tuple[Int[Tensor, "used"], Float[Tensor, "components used"]]:
        """Return the coefficients of the type pairs that come near, and the force components of a unit of each."""
        half = select_half_pairs(batch, pairs, self.type_pair_table)
        near = torch.nonzero((half.distances < self.cutoff) & self.class_mask[half.bond_class]).squeeze(1)
        distances, type_pair = half.distances[near], half.type_pair[near]
        columns, weights = self._evaluate_basis(distances, type_pair, 1)
        # force on the first site of a pair: +U'(r) along the unit vector to the second
        pull = weights[:, :, None] * (half.vectors[near] / distances[:, None])[:, None, :]
        n_free = self.coefficients.shape[1]
        seen, rank = torch.unique(type_pair, return_inverse=True)
        used = (seen[:, None] * n_free + torch.arange(n_free, device=seen.device)).reshape(-1)
        # functions without a coefficient go to one more row
        local = torch.where(columns == self.n_coefficients, len(used), columns + ((rank - type_pair) * n_free)[:, None])
        design = torch.zeros((len(used) + 1) * batch.n_sites, 3, dtype=pull.dtype, device=pull.device)
        for sites, sign in ((half.first[near], 1.0), (half.second[near], -1.0)):
            target = local * batch.n_sites + sites[:, None]
            design.index_add_(0, target.reshape(-1), (sign * pull).reshape(-1, 3))
        return used, design.reshape(len(used) + 1, 3 * batch.n_sites)[:-1].T

    def build_penalty(
        self, visits: Float[np.ndarray, "coefficients"]
    ) -> Float[np.ndarray, "coefficients coefficients"]:
        """Return the roughness matrix Dᵀ D of second differences, in the scale of each type pair's mean visit count.

        It continues coefficients that no data determine linearly from their neighbours, and to zero at the cutoff.

        Parameters
        ----------
        visits : Diagonal of the Gram matrix.
        """
        n_pairs, n_free = self.coefficients.shape
        differences = np.diff(self.expansion.numpy(), n=2, axis=0)
        roughness = differences.T @ differences
        penalty = np.zeros((n_pairs, n_free, n_pairs, n_free))
        for number, scale in enumerate(visits.reshape(n_pairs, n_free).mean(axis=1)):
            # a type pair that never occurs is pinned to zero with any positive weight
            penalty[number, :, number, :] = roughness * (scale if scale > 0.0 else 1.0)
        return penalty.reshape(self.n_coefficients, self.n_coefficients)

    def evaluate_basis(
        self, distances: Float[np.ndarray, "points"], type_pair: int, order: int
    ) -> Float[np.ndarray, "points coefficients"]:
        """Return the `order`-th derivative (0, 1 or 2) of every basis function at distances inside the knots."""
        points = torch.as_tensor(distances, dtype=torch.float64)
        columns, weights = self._evaluate_basis(points, torch.full_like(points, type_pair, dtype=torch.int64), order)
        dense = torch.zeros(len(points), self.n_coefficients + 1, dtype=torch.float64)
        return dense.scatter_add_(1, columns, weights)[:, :-1].numpy()

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {
            "type_names": list(self.type_names),
            "inner_distances": list(self.inner_distances),
            "cutoff": self.cutoff,
            "n_intervals": self.n_intervals,
            "inner_end": self.inner_end,
            "bond_classes": list(self.bond_classes),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a spline of the given shape; coefficients are loaded afterwards."""
        lists = {key: tuple(config[key]) for key in ("type_names", "inner_distances", "bond_classes")}
        return cls(**{**config, **lists})

    def with_coefficients(self, values: Float[np.ndarray, "coefficients"]) -> Self:
        """Return a spline of the same shape with the given coefficients [kJ/mol]."""
        spline = self.from_config(self.to_config())
        spline.coefficients.copy_(torch.from_numpy(values).reshape(spline.coefficients.shape))
        return spline

    def _number_columns(self) -> Tensor:
        """Return the free coefficient of each basis function; the last number means none (zero at the cutoff)."""
        n_pairs, (n_basis, n_free) = len(self.type_pairs), self.expansion.shape
        expansion = self.expansion.numpy()
        column = np.where(expansion.any(axis=1), expansion.argmax(axis=1), n_pairs * n_free)
        table = np.arange(n_pairs)[:, None] * n_free + column[None, :]
        return torch.from_numpy(np.minimum(table, n_pairs * n_free).reshape(n_pairs, n_basis))

    def _locate(self, distances: Tensor, type_pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions in units of the knot spacing and the interval they fall in, the nearest one if outside."""
        inner = self.inner.to(distances.dtype).index_select(0, type_pair)
        x = (distances - inner) * (self.n_intervals / (self.cutoff - inner))
        return x, x.detach().floor().clamp(0, self.n_intervals - 1).to(torch.int64)

    def _evaluate_basis(self, distances: Tensor, type_pair: Tensor, order: int) -> tuple[Tensor, Tensor]:
        """Return columns and derivatives of the four basis functions at each distance."""
        x, interval = self._locate(distances, type_pair)
        u = x.clamp(0.0, self.n_intervals) - interval
        polynomial = self.basis.to(distances.dtype)
        for _ in range(order):
            polynomial = polynomial[:, 1:] * torch.arange(1, polynomial.shape[1], dtype=u.dtype, device=u.device)
        powers = torch.stack([u**power for power in range(polynomial.shape[1])], dim=1)
        spacing = (self.cutoff - self.inner.to(distances.dtype)).div(self.n_intervals).index_select(0, type_pair)
        weights = powers @ polynomial.T / spacing[:, None] ** order
        first = type_pair * self.column_of_basis.shape[1] + interval
        local = first[:, None] + torch.arange(4, device=first.device)
        return self.column_of_basis.reshape(-1)[local], weights


def _expand_coefficients(n_intervals: int, inner_end: InnerEnd) -> np.ndarray:
    """Return the 0/1 matrix from free coefficients to all basis functions of one type pair."""
    # the three basis functions that reach the cutoff are left out: U, U' and U'' are zero there
    free = np.eye(n_intervals + 3)[:, :n_intervals]
    if inner_end == "free":
        return free
    # equal coefficients of the three functions that reach the inner knot make U' and U'' zero there
    return np.column_stack([free[:, :3].sum(axis=1), free[:, 3:]])
