"""An energy that is a series in a few named coordinates of a molecule: E = Σ_k c_k Π_j g_kj(θ_j).

Each factor is a cosine or a sine of a multiple of the coordinate's angle, or one; products couple coordinates, for
example φ and ψ of one residue. The series is linear in its coefficients. It is what training puts on top of a network
where the network leaves slow coordinates wrong (`beadsmith.training.correction`).
"""

import itertools
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError
from beadsmith.kernels.bonded import ANGLE, DIHEDRAL, LENGTH, measure_terms
from beadsmith.kernels.coordinate_series import evaluate_series, scale_coordinates, sum_coordinate_series
from beadsmith.priors.internal_coordinates import measure_coordinates

CoordinateKind = Literal["dihedral", "angle", "distance"]

_KERNEL_KINDS = {"distance": LENGTH, "angle": ANGLE, "dihedral": DIHEDRAL}


@dataclass(frozen=True, kw_only=True)
class SeriesCoordinate:
    """One coordinate of a series."""

    name: str
    """Name, for messages and reports."""
    kind: CoordinateKind
    """What it is."""
    beads: tuple[int, ...]
    """The beads in order (4, 3 or 2), numbered within the molecule."""
    limits: tuple[float, float] | None = None
    """Range over which an angle [rad] or a distance [nm] may push; None for a dihedral, which has no ends."""

    def __post_init__(self) -> None:
        """Refuse beads and limits that do not fit the kind.

        Raises
        ------
        InputError : the number of beads is wrong, or limits are missing, given for a dihedral, or not in order.
        """
        expected = _KERNEL_KINDS[self.kind] + 2
        if len(self.beads) != expected:
            raise InputError(f"the {self.kind} '{self.name}' has {len(self.beads)} beads, expected {expected}")
        if (self.limits is None) != (self.kind == "dihedral"):
            raise InputError(f"the {self.kind} '{self.name}' has limits {self.limits}: only dihedrals have none")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise InputError(f"the limits of '{self.name}' are {self.limits}, expected lower and upper")


class CoordinateSeries(AbstractEnergyTerm):
    """Series in coordinates of every copy of one molecule; other molecules feel nothing.

    The term acts within one molecule, so it adds nothing to the molecular virial.
    """

    kind: ClassVar[str] = "coordinate_series"
    coefficients: Tensor
    """Shape (functions,) [kJ/mol], by increasing degree of the functions."""
    _types: Tensor
    _multiples: Tensor

    def __init__(
        self,
        type_names: tuple[str, ...],
        molecule: tuple[str, ...],
        coordinates: tuple[SeriesCoordinate, ...],
        groups: tuple[tuple[int, ...], ...],
        *,
        order: int,
    ) -> None:
        """Build series with all coefficients zero.

        Parameters
        ----------
        type_names : Names of the bead types.
        molecule : Type of each bead of the molecule, in order: molecules are recognised by it.
        coordinates : Coordinates.
        groups : Coordinates that share a series, with products between them; each coordinate is in one group.
        order : Largest degree of a function: the sum of its multiples.

        Raises
        ------
        InputError : an unknown type, a bead outside the molecule, an order below one, or groups that leave a coordinate
            out or name it twice.
        """
        super().__init__()
        self.cutoff = 0.0
        self.type_names, self.molecule = tuple(type_names), tuple(molecule)
        self.coordinates, self.groups, self.order = tuple(coordinates), tuple(tuple(g) for g in groups), int(order)
        if any(name not in self.type_names for name in self.molecule):
            raise InputError(f"the molecule {list(molecule)} has beads that are none of {', '.join(type_names)}")
        if any(not 0 <= bead < len(self.molecule) for entry in self.coordinates for bead in entry.beads):
            raise InputError(f"a coordinate of {self.kind} names a bead outside the molecule of {len(molecule)} beads")
        if sorted(itertools.chain(*self.groups)) != list(range(len(self.coordinates))) or not self.coordinates:
            raise InputError(f"the groups {groups} do not hold each of {len(self.coordinates)} coordinates once")
        if self.order < 1:
            raise InputError(f"the order of {self.kind} is {order}, expected at least 1")
        self.multiples = _list_functions(self.coordinates, self.groups, self.order)
        """Factors of each function, see `beadsmith.kernels.coordinate_series.evaluate_series`."""
        types = [self.type_names.index(name) for name in self.molecule]
        self.register_buffer("_types", torch.tensor(types), persistent=False)
        self.register_buffer("_multiples", torch.from_numpy(self.multiples), persistent=False)
        self.register_buffer("coefficients", torch.zeros(len(self.multiples), dtype=torch.float64))
        self._found: tuple[Tensor, Tensor, Tensor, list[Tensor]] | None = None
        beads = [entry.beads + (0,) * (4 - len(entry.beads)) for entry in self.coordinates]
        limits = [entry.limits or (0.0, 0.0) for entry in self.coordinates]
        kinds = [_KERNEL_KINDS[entry.kind] for entry in self.coordinates]
        self._kernel_coordinates = (np.array(beads), np.array(kinds), np.array(limits, dtype=np.float64))

    @property
    def degrees(self) -> Int[np.ndarray, "functions"]:
        """Degree of each function: the sum of its multiples."""
        return np.abs(self.multiples).sum(axis=1)

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; a molecule's energy counts at its first bead."""
        molecules, sites = self._find_sites(batch)
        factors = batch.positions.new_ones(len(molecules), len(self.multiples))
        for number, entry in enumerate(self.coordinates):
            values = measure_coordinates(batch, sites[number])
            if entry.limits is not None:
                lower, upper = entry.limits
                values = (np.pi * (values - lower) / (upper - lower)).clamp(0.0, np.pi)
            n = self._multiples[:, number]
            arguments = n.abs() * values[:, None]
            factors = factors * torch.where(n >= 0, torch.cos(arguments), torch.sin(arguments))
        energies = factors @ self.coefficients.to(factors.dtype)
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, molecules[:, 0], energies)

    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy, forces and the zero virial from one compiled sweep; on a GPU from `forward`."""
        if batch.positions.device.type != "cpu":
            return super().predict(batch, pairs)
        positions = batch.positions.detach()
        energy, gradient = sum_coordinate_series(
            (positions.contiguous().numpy(), batch.system_index.numpy()),
            _invert_cells(batch),
            self.find_molecules(batch).numpy(),
            self._kernel_coordinates,
            (self.multiples, self.coefficients.numpy().astype(np.float64)),
            batch.n_systems,
        )
        return Prediction(
            energy=torch.from_numpy(energy),
            forces=torch.from_numpy(-gradient).to(positions.dtype),
            virial=torch.zeros(batch.n_systems, 3, 3, dtype=torch.float64),
        )

    def find_molecules(self, batch: Batch) -> Int[Tensor, "molecules beads"]:
        """Return the sites of each molecule whose beads have the types of the term's molecule, in order."""
        return self._find_sites(batch)[0]

    def _find_sites(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return the sites of each molecule, and those of each coordinate (molecules, width)."""
        # the steps of a simulation share these tensors, and a captured step may copy nothing from the host
        if self._found is None or self._found[0] is not batch.molecule_index or self._found[1] is not batch.types:
            sizes = torch.bincount(batch.molecule_index)
            starts = torch.cumsum(sizes, 0) - sizes
            starts = starts[sizes == len(self.molecule)]
            sites = starts[:, None] + torch.arange(len(self.molecule), device=starts.device)
            molecules = sites[batch.types[sites].eq(self._types.to(sites.device)).all(dim=1)].contiguous()
            columns = [molecules[:, list(entry.beads)].contiguous() for entry in self.coordinates]
            self._found = (batch.molecule_index, batch.types, molecules, columns)
        return self._found[2], self._found[3]

    def measure(
        self, batch: Batch
    ) -> tuple[Float[np.ndarray, "molecules coordinates"], Float[np.ndarray, "molecules coordinates beads 3"]]:
        """Return each coordinate [nm or rad] and its gradient by the molecule's beads."""
        molecules = self.find_molecules(batch).cpu().numpy()
        sites = (batch.positions.detach().cpu().double().contiguous().numpy(), batch.system_index.cpu().numpy())
        values = np.empty((len(molecules), len(self.coordinates)))
        gradients = np.zeros((len(molecules), len(self.coordinates), len(self.molecule), 3))
        for number, entry in enumerate(self.coordinates):
            index = np.ascontiguousarray(molecules[:, list(entry.beads)])
            values[:, number], slopes = measure_terms(sites, _invert_cells(batch), index, _KERNEL_KINDS[entry.kind])
            gradients[:, number, list(entry.beads)] = slopes
        return values, gradients

    def evaluate_basis(
        self, values: Float[np.ndarray, "terms coordinates"]
    ) -> tuple[Float[np.ndarray, "terms functions"], Float[np.ndarray, "terms functions coordinates"]]:
        """Return the functions, without coefficients, and their slopes by the coordinates [1/nm or 1/rad]."""
        angles, scales = scale_coordinates(np.ascontiguousarray(values), *self._kernel_coordinates[1:])
        functions, slopes = evaluate_series(angles, self.multiples)
        return functions, slopes * scales[:, None, :]

    def with_limits(self, limits: Float[np.ndarray, "coordinates 2"]) -> "CoordinateSeries":
        """Return an empty series in the same coordinates over other ranges [nm or rad]; dihedrals keep having none."""
        coordinates = tuple(
            entry if entry.kind == "dihedral" else replace(entry, limits=(float(lower), float(upper)))
            for entry, (lower, upper) in zip(self.coordinates, limits, strict=True)
        )
        return CoordinateSeries(self.type_names, self.molecule, coordinates, self.groups, order=self.order)

    def with_order(self, order: int) -> "CoordinateSeries":
        """Return an empty series in the same coordinates of another order."""
        return CoordinateSeries(self.type_names, self.molecule, self.coordinates, self.groups, order=order)

    def with_coefficients(self, values: Float[np.ndarray, "functions"]) -> "CoordinateSeries":
        """Return the same series with the given coefficients [kJ/mol]."""
        term = self.from_config(self.to_config())
        term.coefficients.copy_(torch.from_numpy(values))
        return term

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {
            "type_names": list(self.type_names),
            "molecule": list(self.molecule),
            "coordinates": [asdict(entry) for entry in self.coordinates],
            "groups": [list(group) for group in self.groups],
            "order": self.order,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a series of the given shape; coefficients are loaded afterwards."""
        coordinates = tuple(
            SeriesCoordinate(
                name=entry["name"],
                kind=entry["kind"],
                beads=tuple(entry["beads"]),
                limits=None if entry["limits"] is None else tuple(entry["limits"]),
            )
            for entry in config["coordinates"]
        )
        groups = tuple(tuple(group) for group in config["groups"])
        return cls(tuple(config["type_names"]), tuple(config["molecule"]), coordinates, groups, order=config["order"])


def _list_functions(
    coordinates: tuple[SeriesCoordinate, ...], groups: tuple[tuple[int, ...], ...], order: int
) -> Int[np.ndarray, "functions coordinates"]:
    """Return all products of degree 1 to order within each group, by increasing degree; sines of dihedrals only."""
    rows: list[tuple[int, ...]] = []
    for group in groups:
        choices = [
            range(-order, order + 1) if coordinates[number].kind == "dihedral" else range(order + 1) for number in group
        ]
        for multiples in itertools.product(*choices):
            if 1 <= sum(map(abs, multiples)) <= order:
                row = [0] * len(coordinates)
                for number, multiple in zip(group, multiples, strict=True):
                    row[number] = multiple
                rows.append(tuple(row))
    return np.array(sorted(rows, key=lambda row: sum(map(abs, row))), dtype=np.int64)


def _invert_cells(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    if batch.cell is None:
        none = np.zeros((0, 3, 3))
        return none, none
    cell = batch.cell.detach().cpu().double().contiguous().numpy()
    return cell, np.linalg.inv(cell)
