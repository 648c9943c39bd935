"""What all pair terms of a prior share: type pairs, the half list, bond classes and the sum at the first site."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError
from beadsmith.neighbors import OTHER_MOLECULE, SAME_MOLECULE, pair_vectors

NONBONDED = (OTHER_MOLECULE, SAME_MOLECULE)
"""Bond classes that non-bonded pair terms apply to by default; bonded terms take care of the others."""

_N_BOND_CLASSES = 5


def name_type_pairs(type_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names ``"a-b"`` of all unordered type pairs, in the order in which pair terms number them."""
    return tuple(f"{a}-{b}" for a, b in combinations_with_replacement(type_names, 2))


def number_type_pairs(n_types: int) -> Int[np.ndarray, "types types"]:
    """Return the symmetric table that numbers unordered type pairs."""
    table = np.zeros((n_types, n_types), dtype=np.int64)
    for number, (a, b) in enumerate(combinations_with_replacement(range(n_types), 2)):
        table[a, b] = table[b, a] = number
    return table


@dataclass(frozen=True, kw_only=True)
class HalfPairs:
    """Each unordered pair of a batch once."""

    first: Int[Tensor, "pairs"]
    """First site."""
    second: Int[Tensor, "pairs"]
    """Second site."""
    vectors: Float[Tensor, "pairs 3"]
    """Vector from first to second site [nm]."""
    distances: Float[Tensor, "pairs"]
    """Length of the vectors [nm]."""
    type_pair: Int[Tensor, "pairs"]
    """Number of the unordered type pair."""
    bond_class: Int[Tensor, "pairs"]
    """Bond class, as in `Pairs`."""


def select_half_pairs(batch: Batch, pairs: Pairs, type_pair_table: Int[Tensor, "types types"]) -> HalfPairs:
    """Return each unordered pair once, differentiable with respect to positions and cell."""
    index = pairs.index.index_select(1, pairs.half)
    bond_class = pairs.bond_class.index_select(0, pairs.half)
    # halving the list first: the other direction's vectors would be computed for nothing
    halved = replace(pairs, index=index, shifts=pairs.shifts.index_select(0, pairs.half), bond_class=bond_class)
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, halved)
    first, second = index[0], index[1]
    numbers = batch.types.index_select(0, first) * type_pair_table.shape[0] + batch.types.index_select(0, second)
    return HalfPairs(
        first=first,
        second=second,
        vectors=vectors,
        distances=torch.linalg.vector_norm(vectors, dim=1),
        type_pair=type_pair_table.reshape(-1).index_select(0, numbers),
        bond_class=bond_class,
    )


class AbstractPairTerm(AbstractEnergyTerm):
    """A sum over unordered pairs of an energy that depends on the distance and on the two types."""

    type_pair_table: Tensor
    class_mask: Tensor

    def __init__(self, type_names: tuple[str, ...], *, cutoff: float, bond_classes: tuple[int, ...]) -> None:
        """Set what all pair terms need.

        Parameters
        ----------
        type_names : Names of the bead types.
        cutoff : Distance [nm] from which the energy is exactly zero.
        bond_classes : Bond classes of the pairs that the term applies to.

        Raises
        ------
        InputError : the cutoff is not positive.
        """
        super().__init__()
        if not cutoff > 0.0:
            raise InputError(f"the cutoff of a pair term is {cutoff} nm, expected > 0")
        self.type_names = tuple(type_names)
        self.cutoff = float(cutoff)
        self.bond_classes = tuple(bond_classes)
        table = torch.from_numpy(number_type_pairs(len(self.type_names)))
        mask = torch.tensor([c in self.bond_classes for c in range(_N_BOND_CLASSES)])
        self.register_buffer("type_pair_table", table, persistent=False)
        self.register_buffer("class_mask", mask, persistent=False)

    @property
    def type_pairs(self) -> tuple[str, ...]:
        """Names of the unordered type pairs, in the order of their numbers."""
        return name_type_pairs(self.type_names)

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; each pair counts once, at its first site."""
        half = select_half_pairs(batch, pairs, self.type_pair_table)
        energies = self.pair_energy(half.distances, half.type_pair) * self.class_mask[half.bond_class]
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, half.first, energies)

    @abstractmethod
    def pair_energy(self, distances: Float[Tensor, "pairs"], type_pair: Int[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
        """Return the energy of each pair [kJ/mol], in the precision of the distances."""


@dataclass(frozen=True, kw_only=True)
class PairCurve:
    """The energy of one type pair as a function of distance."""

    distances: Float[np.ndarray, "points"]
    """Distances [nm]."""
    energy: Float[np.ndarray, "points"]
    """Pair energy [kJ/mol]."""
    force: Float[np.ndarray, "points"]
    """Minus dE/dr [kJ/mol/nm]; positive is repulsive."""
    slope: Float[np.ndarray, "points"]
    """d(force)/dr [kJ/mol/nm²]."""


def compute_pair_curve(term: AbstractPairTerm, distances: np.ndarray, type_pair: int) -> PairCurve:
    """Return energy, force and slope of the force of one type pair, from autograd in float64."""
    with torch.enable_grad():
        points = torch.tensor(distances, dtype=torch.float64, requires_grad=True)
        energy = term.pair_energy(points, torch.full_like(points, type_pair, dtype=torch.int64))
        (gradient,) = torch.autograd.grad(energy.sum(), points, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.sum(), points)
    return PairCurve(
        distances=np.asarray(distances, dtype=np.float64),
        energy=energy.detach().numpy(),
        force=-gradient.detach().numpy(),
        slope=-curvature.numpy(),
    )
