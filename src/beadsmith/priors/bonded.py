"""What all bonded terms of a prior share: parameters per type tuple, compiled forces, and linear force designs."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError
from beadsmith.kernels.bonded import ANGLE, DIHEDRAL, LENGTH, measure_terms, sum_bonded_terms
from beadsmith.priors.internal_coordinates import measure_coordinates
from beadsmith.topology import Topology

Coordinate = Literal["bond", "angle", "dihedral", "improper"]
TypeTuple = tuple[str, ...]

COORDINATES: dict[Coordinate, tuple[str, int, int]] = {
    "bond": ("bonds", 2, LENGTH),
    "angle": ("angles", 3, ANGLE),
    "dihedral": ("dihedrals", 4, DIHEDRAL),
    "improper": ("impropers", 4, DIHEDRAL),
}
"""Field of a topology or batch, number of sites, and the coordinate of the kernel."""


def name_tuple(type_tuple: TypeTuple) -> str:
    """Return ``"a-b-c"``."""
    return "-".join(type_tuple)


def number_tuples(types: Int[np.ndarray, "terms width"], n_types: int) -> Int[np.ndarray, "terms"]:
    """Return a key for each tuple of types that does not change when the tuple is read backwards."""
    powers = n_types ** np.arange(types.shape[1], dtype=np.int64)
    return np.minimum(types @ powers, types[:, ::-1] @ powers)


def find_type_tuples(topologies: tuple[Topology, ...], coordinate: Coordinate) -> tuple[TypeTuple, ...]:
    """Return the type tuples of a coordinate in all topologies, each in one direction, in order of appearance."""
    field, _, _ = COORDINATES[coordinate]
    found: dict[int, TypeTuple] = {}
    for topology in topologies:
        types = topology.types[getattr(topology, field)]
        keys, first = np.unique(number_tuples(types, len(topology.type_names)), return_index=True)
        for key, row in sorted(zip(keys.tolist(), first.tolist(), strict=True), key=lambda pair: pair[1]):
            found.setdefault(key, tuple(topology.type_names[t] for t in types[row].tolist()))
    return tuple(found.values())


class AbstractBondedTerm(AbstractEnergyTerm):
    """A sum over bonds, angles or dihedrals of an energy that depends on the coordinate and the types of its sites.

    Types may be read in either direction. A term inside one molecule adds nothing to the molecular virial.
    """

    coordinate: ClassVar[Coordinate]
    """What it is a function of."""
    form: ClassVar[int]
    """Form of the energy in `beadsmith.kernels.bonded`."""
    keys: Tensor
    place_of_key: Tensor

    def __init__(self, type_names: tuple[str, ...], type_tuples: tuple[TypeTuple, ...]) -> None:
        """Set what all bonded terms need.

        Parameters
        ----------
        type_names : Names of the bead types.
        type_tuples : Types of the sites, for which there are parameters, in the parameters' order.

        Raises
        ------
        InputError : a tuple has the wrong length, names an unknown type, or stands there twice.
        """
        super().__init__()
        self.cutoff = 0.0
        self.type_names = tuple(type_names)
        self.type_tuples = tuple(tuple(names) for names in type_tuples)
        _, width, _ = COORDINATES[self.coordinate]
        for names in self.type_tuples:
            if len(names) != width or any(name not in self.type_names for name in names):
                raise InputError(
                    f"{self.kind} has parameters for '{name_tuple(names)}', expected {width} of the bead types "
                    f"{', '.join(self.type_names)}"
                )
        numbers = [[self.type_names.index(name) for name in names] for names in self.type_tuples]
        keys = number_tuples(np.array(numbers, dtype=np.int64).reshape(-1, width), len(self.type_names))
        order = np.argsort(keys)
        if len(np.unique(keys)) < len(keys):
            twice = order[:-1][np.diff(keys[order]) == 0][0]
            raise InputError(f"{self.kind} has parameters for '{name_tuple(self.type_tuples[twice])}' twice")
        self.register_buffer("keys", torch.from_numpy(keys[order]), persistent=False)
        self.register_buffer("place_of_key", torch.from_numpy(order), persistent=False)
        self._found: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; each term counts at its first site."""
        index, numbers = self.find_terms(batch)
        energies = self.coordinate_energy(measure_coordinates(batch, index), numbers)
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, index[:, 0], energies)

    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy, forces and the zero virial from one compiled sweep; on a GPU from `forward`."""
        if batch.positions.device.type != "cpu":
            return super().predict(batch, pairs)
        return predict_bonded(join_terms([self], batch), batch)

    def find_terms(self, batch: Batch) -> tuple[Int[Tensor, "terms width"], Int[Tensor, "terms"]]:
        """Return the sites of each term, and the number of its type tuple.

        Raises
        ------
        InputError : the batch has a type tuple without parameters.
        """
        index: Tensor = getattr(batch, COORDINATES[self.coordinate][0])
        # the steps of a simulation share these tensors
        if self._found is None or self._found[0] is not index or self._found[1] is not batch.types:
            types = batch.types[index].cpu().numpy()
            keys = torch.from_numpy(number_tuples(types, len(self.type_names))).to(self.keys.device)
            place = torch.searchsorted(self.keys, keys).clamp(max=max(len(self.keys) - 1, 0))
            known = self.keys[place] == keys if len(self.keys) else torch.zeros_like(keys, dtype=torch.bool)
            if not bool(known.all()):
                row = int(torch.nonzero(~known)[0])
                names = name_tuple(tuple(self.type_names[t] for t in types[row].tolist()))
                raise InputError(
                    f"{self.kind} has no parameters for the {self.coordinate} '{names}'; it knows "
                    f"{', '.join(map(name_tuple, self.type_tuples)) or 'none'}",
                    fix="Fit the prior to trajectories in which these beads are bonded in the same way.",
                )
            numbers = self.place_of_key[place] if len(self.keys) else keys
            self._found = (index, batch.types, numbers)
        return index, self._found[2]

    @abstractmethod
    def coordinate_energy(
        self, values: Float[Tensor, "terms"], numbers: Int[Tensor, "terms"]
    ) -> Float[Tensor, "terms"]:
        """Return the energy [kJ/mol] of each term from its coordinate [nm or rad] and the number of its type tuple."""

    @abstractmethod
    def tabulate(self) -> Float[np.ndarray, "tuples columns"]:
        """Return the parameters as the kernel wants them."""

    def to_config(self) -> dict[str, Any]:
        """Return the type tuples as JSON; terms add their parameters."""
        return {"type_names": list(self.type_names), "type_tuples": [list(names) for names in self.type_tuples]}


@dataclass(frozen=True)
class JoinedTerms:
    """Bonded terms of a batch as `beadsmith.kernels.bonded.sum_bonded_terms` wants them."""

    index: Int[np.ndarray, "terms 4"]
    """Sites of each term; those beyond its width are zero."""
    starts: Int[np.ndarray, "terms"]
    """Place of the first parameter of each term."""
    groups: Int[np.ndarray, "groups 5"]
    """First and last + 1 of the terms of each kind, its coordinate and form, and its number of parameters a row."""
    parameters: Float[np.ndarray, "parameters"]
    """Rows of parameters of all kinds, one after the other."""


def join_terms(terms: list[AbstractBondedTerm], batch: Batch) -> JoinedTerms:
    """Return all terms of several kinds as one list; it stays the same while only positions change.

    Raises
    ------
    InputError : the batch has a type tuple without parameters.
    """
    indices, starts, groups, parameters = [], [], [], []
    n_terms = n_parameters = 0
    for term in terms:
        index, numbers = (tensor.numpy() for tensor in term.find_terms(batch))
        table = term.tabulate().astype(np.float64)
        n_columns = table.shape[1]
        indices.append(np.pad(index, ((0, 0), (0, 4 - index.shape[1]))))
        starts.append(n_parameters + n_columns * numbers)
        groups.append((n_terms, n_terms + len(index), COORDINATES[term.coordinate][2], term.form, n_columns))
        parameters.append(table.reshape(-1))
        n_terms, n_parameters = n_terms + len(index), n_parameters + table.size
    return JoinedTerms(np.concatenate(indices), np.concatenate(starts), np.array(groups), np.concatenate(parameters))


def predict_bonded(joined: JoinedTerms, batch: Batch) -> Prediction:
    """Return energy, forces and the zero virial of bonded terms on a CPU."""
    positions = batch.positions.detach()
    energy, gradient = sum_bonded_terms(
        (positions.contiguous().numpy(), batch.system_index.numpy(), batch.n_systems),
        _invert_cells(batch),
        (joined.index, joined.starts),
        joined.groups,
        joined.parameters,
    )
    return Prediction(
        energy=torch.from_numpy(energy),
        forces=torch.from_numpy(gradient).neg_().to(positions.dtype),
        virial=torch.zeros(batch.n_systems, 3, 3, dtype=torch.float64),
    )


class AbstractLinearBondedTerm(AbstractBondedTerm):
    """A bonded term whose energy is linear in its coefficients, so that force matching is linear least squares."""

    coefficients: Tensor
    """Shape (type tuples, functions)."""

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients of all type tuples."""
        return self.coefficients.numel()

    @abstractmethod
    def evaluate_basis(
        self, values: Float[np.ndarray, "terms"], numbers: Int[np.ndarray, "terms"], order: int
    ) -> tuple[Int[np.ndarray, "terms k"], Float[np.ndarray, "terms k"]]:
        """Return function numbers and `order`-th derivatives (0 or 1) of the functions that do not vanish."""

    @abstractmethod
    def build_roughness(self) -> Float[np.ndarray, "functions functions"]:
        """Return the positive semi-definite matrix, about one on its diagonal, that settles what data do not."""

    def force_design(self, batch: Batch, pairs: Pairs) -> tuple[Int[Tensor, "used"], Float[Tensor, "components used"]]:
        """Return the numbers of the coefficients, and the force components that a unit of each gives."""
        index, numbers = (tensor.cpu().numpy() for tensor in self.find_terms(batch))
        positions = batch.positions.detach().double().contiguous().numpy()
        coordinate = COORDINATES[self.coordinate][2]
        values, gradient = measure_terms(
            (positions, batch.system_index.numpy()), _invert_cells(batch), index, coordinate
        )
        functions, slopes = self.evaluate_basis(values, numbers, 1)
        columns = numbers[:, None] * self.coefficients.shape[1] + functions
        design = torch.zeros(self.n_coefficients * batch.n_sites, 3, dtype=torch.float64)
        for s in range(index.shape[1]):
            target = torch.from_numpy(columns * batch.n_sites + index[:, s : s + 1]).reshape(-1)
            push = -slopes[:, :, None] * gradient[:, s, None, :]
            design.index_add_(0, target, torch.from_numpy(push).reshape(-1, 3))
        return torch.arange(self.n_coefficients), design.reshape(self.n_coefficients, 3 * batch.n_sites).T

    def build_penalty(
        self, visits: Float[np.ndarray, "coefficients"]
    ) -> Float[np.ndarray, "coefficients coefficients"]:
        """Return the roughness of each type tuple in the scale of its mean visit count."""
        n_tuples, n_functions = self.coefficients.shape
        penalty = np.zeros((n_tuples, n_functions, n_tuples, n_functions))
        for number, scale in enumerate(visits.reshape(n_tuples, n_functions).mean(axis=1)):
            penalty[number, :, number, :] = self.build_roughness() * (scale if scale > 0.0 else 1.0)
        return penalty.reshape(self.n_coefficients, self.n_coefficients)

    def with_coefficients(self, values: Float[np.ndarray, "coefficients"]) -> "AbstractLinearBondedTerm":
        """Return a term of the same shape with the given coefficients [kJ/mol]."""
        term = self.from_config(self.to_config())
        assert isinstance(term, AbstractLinearBondedTerm)
        term.coefficients.copy_(torch.from_numpy(values).reshape(term.coefficients.shape))
        return term


def _invert_cells(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    if batch.cell is None:
        none = np.zeros((0, 3, 3))
        return none, none
    cell = batch.cell.detach().cpu().double().contiguous().numpy()
    return cell, np.linalg.inv(cell)
