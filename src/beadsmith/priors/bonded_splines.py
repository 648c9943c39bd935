"""Splines of bond lengths and angles, linear in their coefficients: the bonded part of an MS-CG force field."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.errors import InputError
from beadsmith.kernels.bonded import SPLINE
from beadsmith.priors.bonded import AbstractLinearBondedTerm, Coordinate, TypeTuple
from beadsmith.priors.splines import CUBIC_BASIS


class AbstractBondedSpline(AbstractLinearBondedTerm):
    """A cubic B-spline of a bonded coordinate for each type tuple, on uniform knots over the range of the data.

    Outside the knots the energy goes on with constant force, so that a harmonic term beside it still confines.

    Source: S. Izvekov and G. A. Voth, J. Phys. Chem. B 109, 2469 (2005).
    """

    form: ClassVar[int] = SPLINE
    basis: Tensor
    edges: Tensor

    def __init__(
        self,
        type_names: tuple[str, ...],
        type_tuples: tuple[TypeTuple, ...],
        *,
        ranges: tuple[tuple[float, float], ...],
        n_intervals: int,
    ) -> None:
        """Build splines with all coefficients zero.

        Parameters
        ----------
        type_names : Names of the bead types.
        type_tuples : Types of the sites, in the order of the ranges.
        ranges : First and last knot of each type tuple [nm or rad].
        n_intervals : Number of knot intervals.

        Raises
        ------
        InputError : a type tuple is wrong, a range is empty, or there is no interval.
        """
        super().__init__(type_names, type_tuples)
        if len(ranges) != len(self.type_tuples) or not all(first < last for first, last in ranges):
            raise InputError(f"{self.kind} has the ranges {ranges} for {len(self.type_tuples)} type tuples")
        if n_intervals < 1:
            raise InputError(f"a spline of {n_intervals} intervals was asked for, expected at least 1")
        self.ranges = tuple((float(first), float(last)) for first, last in ranges)
        self.n_intervals = int(n_intervals)
        edges = torch.tensor(self.ranges, dtype=torch.float64).reshape(-1, 2)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("basis", CUBIC_BASIS.clone(), persistent=False)
        coefficients = torch.zeros(len(self.type_tuples), self.n_intervals + 3, dtype=torch.float64)
        self.register_buffer("coefficients", coefficients)

    def coordinate_energy(
        self, values: Float[Tensor, "terms"], numbers: Int[Tensor, "terms"]
    ) -> Float[Tensor, "terms"]:
        """Return the energy of each term [kJ/mol]."""
        first, last = self.edges.to(values.dtype).index_select(0, numbers).unbind(1)
        x = (values - first) * (self.n_intervals / (last - first))
        inside = x.clamp(0.0, self.n_intervals)
        interval = x.detach().floor().clamp(0, self.n_intervals - 1).to(torch.int64)
        row = self._cubics().to(values.dtype).index_select(0, numbers * self.n_intervals + interval)
        u = inside - interval
        slope = (3.0 * row[:, 3] * u + 2.0 * row[:, 2]) * u + row[:, 1]
        # the slope there is a constant
        return ((row[:, 3] * u + row[:, 2]) * u + row[:, 1]) * u + row[:, 0] + slope.detach() * (x - inside)

    def evaluate_basis(
        self, values: Float[np.ndarray, "terms"], numbers: Int[np.ndarray, "terms"], order: int
    ) -> tuple[Int[np.ndarray, "terms k"], Float[np.ndarray, "terms k"]]:
        """Return the numbers of the four functions, and their values or slopes; outside those of the nearest knot."""
        first, last = self.edges.double().numpy()[numbers].T
        spacing = (last - first) / self.n_intervals
        x = np.clip((values - first) / spacing, 0.0, self.n_intervals)
        interval = np.minimum(x.astype(np.int64), self.n_intervals - 1)
        u = (x - interval)[:, None]
        basis = self.basis.double().numpy()
        if order == 0:
            weights = u ** np.arange(4) @ basis.T
        else:
            weights = u ** np.arange(3) @ (basis[:, 1:] * np.arange(1, 4)).T / spacing[:, None]
        return interval[:, None] + np.arange(4), weights

    def build_roughness(self) -> Float[np.ndarray, "functions functions"]:
        """Return Dᵀ D of second differences."""
        differences = np.diff(np.eye(self.n_intervals + 3), n=2, axis=0)
        return differences.T @ differences

    def tabulate(self) -> Float[np.ndarray, "tuples columns"]:
        """Return first knot, spacing and the cubics of each type tuple."""
        first, last = self.edges.double().unbind(1)
        spacing = (last - first) / self.n_intervals
        cubics = self._cubics().reshape(len(self.type_tuples), 4 * self.n_intervals)
        return torch.cat([first[:, None], spacing[:, None], cubics.double()], dim=1).numpy()

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {**super().to_config(), "ranges": [list(pair) for pair in self.ranges], "n_intervals": self.n_intervals}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a spline of the given shape; coefficients are loaded afterwards."""
        tuples = tuple(tuple(names) for names in config["type_tuples"])
        ranges = tuple((first, last) for first, last in config["ranges"])
        return cls(tuple(config["type_names"]), tuples, ranges=ranges, n_intervals=config["n_intervals"])

    def _cubics(self) -> Tensor:
        """Return one row of powers for each type tuple and interval."""
        return (self.coefficients.unfold(1, 4, 1) @ self.basis.to(self.coefficients.dtype)).reshape(-1, 4)


class BondSpline(AbstractBondedSpline):
    """A spline of each bond length."""

    kind: ClassVar[str] = "bond_spline"
    coordinate: ClassVar[Coordinate] = "bond"


class AngleSpline(AbstractBondedSpline):
    """A spline of each angle."""

    kind: ClassVar[str] = "angle_spline"
    coordinate: ClassVar[Coordinate] = "angle"
