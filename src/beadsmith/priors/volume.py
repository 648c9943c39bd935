"""A potential of the volume alone: it changes the pressure and no force.

Mapping atoms out leaves a part of the potential of mean force that depends on the volume and on no bead (the free
energy of the atoms that are gone). Forces cannot show it; virials do.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError


class VolumeTerm(AbstractEnergyTerm):
    """W(V) = N Σ_k c_k x^k / k, x = V/(N v₀) − 1, N the number of molecules: it adds −(1/v₀) Σ_k c_k x^(k−1) to P.

    A polynomial per molecule, so that the term is extensive and serves boxes of any size with the same composition.
    Source: A. Das and H. C. Andersen, J. Chem. Phys. 132, 164106 (2010): the pressure as a polynomial of the volume.
    """

    kind: ClassVar[str] = "volume"

    def __init__(self, coefficients: tuple[float, ...], *, reference_volume: float) -> None:
        """Set the polynomial.

        Parameters
        ----------
        coefficients : c_1, c_2, ... [kJ/mol].
        reference_volume : Volume of one molecule v₀ [nm³].

        Raises
        ------
        InputError : there is no coefficient, or the reference volume is not positive.
        """
        super().__init__()
        if not coefficients:
            raise InputError("a volume term needs at least one coefficient")
        if not reference_volume > 0.0:
            raise InputError(f"the reference volume of a volume term is {reference_volume} nm^3, expected > 0")
        self.cutoff = 0.0
        self.coefficients, self.reference_volume = tuple(coefficients), float(reference_volume)

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]: every site of a system has the same share."""
        n_molecules, volume = _describe_systems(batch)
        energy = n_molecules * self.molecule_energy(volume / n_molecules)
        n_sites = torch.bincount(batch.system_index, minlength=batch.n_systems)
        return (energy / n_sites).index_select(0, batch.system_index).to(batch.positions.dtype)

    def molecule_energy(self, volume: Float[Tensor, "systems"]) -> Float[Tensor, "systems"]:
        """Return W/N [kJ/mol] at a volume of one molecule [nm³]."""
        x = volume / self.reference_volume - 1.0
        terms = [c / k * x**k for k, c in enumerate(self.coefficients, start=1)]
        return torch.stack(terms).sum(0)

    def pressure(self, volume: Float[Tensor, "systems"]) -> Float[Tensor, "systems"]:
        """Return −dW/dV [kJ/mol/nm³] at a volume of one molecule [nm³]."""
        x = volume / self.reference_volume - 1.0
        terms = [c * x**k for k, c in enumerate(self.coefficients)]
        return -torch.stack(terms).sum(0) / self.reference_volume

    @torch.no_grad()
    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy and virial in closed form, and no force.

        Raises
        ------
        InputError : the system has no periodic cell.
        """
        n_molecules, volume = _describe_systems(batch)
        trace = 3.0 * volume * self.pressure(volume / n_molecules)
        identity = torch.eye(3, dtype=torch.float64, device=volume.device)
        return Prediction(
            energy=n_molecules * self.molecule_energy(volume / n_molecules),
            forces=torch.zeros_like(batch.positions),
            virial=trace[:, None, None] / 3.0 * identity,
        )

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {"coefficients": list(self.coefficients), "reference_volume": self.reference_volume}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the term."""
        return cls(tuple(config["coefficients"]), reference_volume=config["reference_volume"])


def refuse_without_volume(terms: Iterable[AbstractEnergyTerm]) -> None:
    """Refuse terms of the volume for a system in open space, before an engine asks for its first energy.

    Raises
    ------
    InputError : there is such a term.
    """
    if any(isinstance(term, VolumeTerm) for term in terms):
        raise _make_open_error()


def _make_open_error() -> InputError:
    return InputError(
        "the force field has a term that depends on the volume, but the system has no periodic cell",
        fix="Train without 'training.volume_term' for molecules in open space.",
    )


def _describe_systems(batch: Batch) -> tuple[Int[Tensor, "systems"], Float[Tensor, "systems"]]:
    """Return number of molecules and volume [nm³] of each system, in float64."""
    if batch.cell is None:
        raise _make_open_error()
    molecule = batch.molecule_index
    is_first = torch.cat([molecule.new_ones(1, dtype=torch.bool), molecule[1:] != molecule[:-1]])
    n_molecules = torch.bincount(batch.system_index[is_first], minlength=batch.n_systems)
    return n_molecules, torch.linalg.det(batch.cell.double()).abs()
