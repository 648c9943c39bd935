"""Fourier series of dihedrals and impropers with cosine and sine terms: E = Σ_n a_n cos nφ + b_n sin nφ.

The sine terms tell a molecule from its mirror image; energies of distances alone cannot. Series without them are there
for who wants both hands to be alike.
"""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.errors import InputError, PhysicsError
from beadsmith.kernels.bonded import FOURIER
from beadsmith.priors.bonded import AbstractLinearBondedTerm, Coordinate, TypeTuple, name_tuple


class AbstractFourierTerm(AbstractLinearBondedTerm):
    """A Fourier series for each type tuple; its gradient is regular at 0 and π."""

    form: ClassVar[int] = FOURIER

    def __init__(
        self, type_names: tuple[str, ...], type_tuples: tuple[TypeTuple, ...], *, order: int, has_sines: bool = True
    ) -> None:
        """Build series with all coefficients zero.

        Parameters
        ----------
        type_names : Names of the bead types.
        type_tuples : Types of the sites, in the order of the coefficients.
        order : Largest multiple of the angle.
        has_sines : Whether there are sine terms; without, all coefficients are of cosines.

        Raises
        ------
        InputError : a type tuple is wrong, or the order is below one.
        """
        super().__init__(type_names, type_tuples)
        if order < 1:
            raise InputError(f"the order of {self.kind} is {order}, expected at least 1")
        self.order, self.has_sines = int(order), bool(has_sines)
        n_functions = 2 * self.order if has_sines else self.order
        self.register_buffer("coefficients", torch.zeros(len(self.type_tuples), n_functions, dtype=torch.float64))

    def coordinate_energy(
        self, values: Float[Tensor, "terms"], numbers: Int[Tensor, "terms"]
    ) -> Float[Tensor, "terms"]:
        """Return the energy of each term [kJ/mol]."""
        multiples = values[:, None] * torch.arange(1, self.order + 1, dtype=values.dtype, device=values.device)
        functions = torch.cos(multiples)
        if self.has_sines:
            functions = torch.cat([functions, torch.sin(multiples)], dim=1)
        return (self.coefficients.to(values.dtype).index_select(0, numbers) * functions).sum(1)

    def evaluate_basis(
        self, values: Float[np.ndarray, "terms"], numbers: Int[np.ndarray, "terms"], order: int
    ) -> tuple[Int[np.ndarray, "terms k"], Float[np.ndarray, "terms k"]]:
        """Return the numbers of all functions, and their values or slopes at each angle."""
        n = np.arange(1, self.order + 1)
        cosine, sine = np.cos(values[:, None] * n), np.sin(values[:, None] * n)
        functions = np.concatenate([cosine, sine] if order == 0 else [-n * sine, n * cosine], axis=1)
        functions = functions[:, : self.coefficients.shape[1]]
        return np.broadcast_to(np.arange(functions.shape[1]), functions.shape), functions

    def build_roughness(self) -> Float[np.ndarray, "functions functions"]:
        """Return the unit matrix: all coefficients are drawn to zero alike."""
        return np.eye(self.coefficients.shape[1])

    def tabulate(self) -> Float[np.ndarray, "tuples columns"]:
        """Return the coefficients, cosines first; the compiled sweep takes sines of zero for none."""
        found = self.coefficients.numpy()
        return found if self.has_sines else np.concatenate([found, np.zeros_like(found)], axis=1)

    def check_finite(self) -> None:
        """Refuse coefficients that are not finite.

        Raises
        ------
        PhysicsError : a coefficient is not finite.
        """
        for names, row in zip(self.type_tuples, self.coefficients.tolist(), strict=True):
            if not np.all(np.isfinite(row)):
                raise PhysicsError(
                    f"a Fourier coefficient of {self.kind} for '{name_tuple(names)}' is not finite",
                    fix=f"Fit the prior to more frames, or leave the {self.coordinate} out of the prior.",
                )

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {**super().to_config(), "order": self.order, "has_sines": self.has_sines}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a series of the given shape; coefficients are loaded afterwards."""
        tuples = tuple(tuple(names) for names in config["type_tuples"])
        # files of earlier series have sines without saying so
        return cls(tuple(config["type_names"]), tuples, order=config["order"], has_sines=config.get("has_sines", True))


class FourierDihedrals(AbstractFourierTerm):
    """A Fourier series of each proper dihedral."""

    kind: ClassVar[str] = "fourier_dihedrals"
    coordinate: ClassVar[Coordinate] = "dihedral"


class FourierImpropers(AbstractFourierTerm):
    """A Fourier series of each improper."""

    kind: ClassVar[str] = "fourier_impropers"
    coordinate: ClassVar[Coordinate] = "improper"
