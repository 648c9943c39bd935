"""Pair terms of a prior as cubic tables: the same energies, in a tenth of the time, for simulations on a CPU.

A pair energy is a function of the distance alone, so all pair terms of a type pair become one table. Energy and force
of the table belong to each other exactly; against the terms the error is measured when the table is made.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm, find_centre_offsets
from beadsmith.kernels.pair_sums import as_array
from beadsmith.kernels.pair_tables import sum_pair_tables
from beadsmith.neighbors import pair_vectors
from beadsmith.priors.pair_terms import AbstractPairTerm, compute_pair_curve

STEP = 0.00025
"""Spacing of the tables [nm]."""

START = 0.01
"""First distance of the tables [nm]; nothing physical happens below."""

RELATIVE_ERROR, ABSOLUTE_ERROR = 1e-4, 0.01
"""Largest force error of a table, relative and in kJ/mol/nm: below the rounding of float32 positions."""


def tabulate_pair_terms(terms: Iterable[AbstractEnergyTerm]) -> list[AbstractEnergyTerm]:
    """Return the terms with all pair terms joined into tables; terms of other kinds, and all if tables fail, unchanged.

    Tables fail when their force between the grid points is off by more than `RELATIVE_ERROR` and `ABSOLUTE_ERROR`: a
    term then has a step or a kink.
    """
    terms = list(terms)
    pair_terms = [term for term in terms if isinstance(term, AbstractPairTerm)]
    if not pair_terms:
        return terms
    tabulated = TabulatedPairs(pair_terms)
    if not tabulated.is_accurate:
        return terms
    return [term for term in terms if not isinstance(term, AbstractPairTerm)] + [tabulated]


class TabulatedPairs(AbstractEnergyTerm):
    """The sum of several pair terms, as one cubic Hermite table for each type pair and set of bond classes.

    Made for one simulation and never stored.
    """

    kind: ClassVar[str] = "tabulated_pairs"

    def __init__(self, terms: list[AbstractPairTerm]) -> None:
        """Tabulate terms of the same bead types.

        Parameters
        ----------
        terms : At least one pair term.
        """
        super().__init__()
        self.cutoff = max(term.cutoff for term in terms)
        n_intervals = int(np.ceil((self.cutoff - START) / STEP))
        n_types, n_classes = len(terms[0].type_names), len(terms[0].class_mask)
        numbers = np.full((n_types, n_types, n_classes), -1, dtype=np.int64)
        tables: dict[tuple[int, tuple[int, ...]], int] = {}
        coefficients: list[np.ndarray] = []
        errors: list[float] = []
        type_pairs = terms[0].type_pair_table.cpu().numpy()
        for bond_class in range(n_classes):
            chosen = tuple(k for k, term in enumerate(terms) if bool(term.class_mask[bond_class]))
            for (a, b), type_pair in np.ndenumerate(type_pairs):
                key = (int(type_pair), chosen)
                if chosen and key not in tables:
                    table, error = _tabulate([terms[k] for k in chosen], int(type_pair), n_intervals)
                    tables[key] = len(coefficients)
                    coefficients.append(table)
                    errors.append(error)
                numbers[a, b, bond_class] = tables.get(key, -1)
        self.numbers = numbers
        """Number of the table of each pair of types and bond class, −1 for none, shape (types, types, classes)."""
        self.coefficients = np.array(coefficients).reshape(-1, n_intervals, 4)
        """Cubic in the fraction of each interval [kJ/mol], constant term first, shape (tables, intervals, 4)."""
        self.is_accurate = bool(max(errors) <= 1.0)
        """Whether every table meets the error that the module states."""

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; each pair counts once, at its first site."""
        index, shifts = pairs.index.index_select(1, pairs.half), pairs.shifts.index_select(0, pairs.half)
        bond_class = pairs.bond_class.index_select(0, pairs.half)
        halved = replace(pairs, index=index, shifts=shifts, bond_class=bond_class)
        vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, halved)
        x = (torch.linalg.vector_norm(vectors.double(), dim=1) - START) / STEP
        numbers, coefficients = (torch.from_numpy(a).to(x.device) for a in (self.numbers, self.coefficients))
        number = numbers[batch.types[index[0]], batch.types[index[1]], bond_class]
        n_intervals = coefficients.shape[1]
        # a distance that is not a number is in the first interval; clamp would pass it on as an index
        interval = torch.where(x.detach() >= 1.0, x.detach(), 0.0).clamp(max=n_intervals - 1).long()
        u = x - interval
        c0, c1, c2, c3 = coefficients[number.clamp(min=0), interval].unbind(1)
        energies = c0 + u * (c1 + torch.where(u < 0.0, 0.0, u * (c2 + u * c3)))
        energies = torch.where((number < 0) | (x >= n_intervals), 0.0, energies).to(batch.positions.dtype)
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, index[0], energies)

    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy, forces and virial from one compiled sweep; devices without one differentiate `forward`."""
        positions = batch.positions.detach()
        if positions.device.type != "cpu":
            return super().predict(batch, pairs)
        none = positions.new_zeros(0, 3, 3)
        offsets = find_centre_offsets(batch)
        energy, forces, virial = sum_pair_tables(
            tuple(
                as_array(tensor)
                for tensor in (positions, batch.system_index, batch.types, none[:, 0] if offsets is None else offsets)
            ),
            as_array(none if batch.cell is None else batch.cell),
            tuple(as_array(tensor) for tensor in (pairs.index, pairs.half, pairs.shifts, pairs.bond_class)),
            (self.numbers, self.coefficients),
            (batch.n_systems, START, STEP),
        )
        return Prediction(
            energy=torch.from_numpy(energy),
            forces=torch.from_numpy(forces).to(positions.dtype),
            virial=torch.from_numpy(0.5 * (virial + virial.transpose(0, 2, 1))),
        )

    def to_config(self) -> dict[str, Any]:
        """Refuse: tables are made from the terms that are stored."""
        raise NotImplementedError("tabulated pairs are not stored")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Refuse: tables are made from the terms that are stored."""
        raise NotImplementedError("tabulated pairs are not stored")


def _tabulate(terms: list[AbstractPairTerm], type_pair: int, n_intervals: int) -> tuple[np.ndarray, float]:
    """Return cubic coefficients (intervals, 4), and the force error between grid points in units of the allowed one."""
    grid = START + STEP * np.arange(n_intervals + 1)
    middle = grid[:-1] + 0.5 * STEP
    energy, force, force_between = np.zeros_like(grid), np.zeros_like(grid), np.zeros_like(middle)
    for term in terms:
        curve = compute_pair_curve(term, grid, type_pair)
        is_inside = grid < term.cutoff
        energy += np.where(is_inside, curve.energy, 0.0)
        force += np.where(is_inside, curve.force, 0.0)
        between = compute_pair_curve(term, middle, type_pair)
        force_between += np.where(middle < term.cutoff, between.force, 0.0)
    left, right = -STEP * force[:-1], -STEP * force[1:]
    rise = np.diff(energy)
    table = np.stack([energy[:-1], left, 3.0 * rise - 2.0 * left - right, left + right - 2.0 * rise], axis=1)
    tabulated = -(table[:, 1] + table[:, 2] + 0.75 * table[:, 3]) / STEP
    error = np.abs(tabulated - force_between) / (ABSOLUTE_ERROR + RELATIVE_ERROR * np.abs(force_between))
    return table, float(error.max())
