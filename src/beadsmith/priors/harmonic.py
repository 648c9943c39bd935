"""Harmonic bonds, angles and impropers: E = ½ k (x − x0)² everywhere in beadsmith, with the factor ½.

Some codes leave the factor out; their constants are half of these.
"""

import math
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.errors import PhysicsError
from beadsmith.kernels.bonded import HARMONIC, PERIODIC_HARMONIC
from beadsmith.priors.bonded import AbstractBondedTerm, Coordinate, TypeTuple, name_tuple


class AbstractHarmonicTerm(AbstractBondedTerm):
    """E = ½ k (x − x0)² with constants for each type tuple."""

    largest_centre: ClassVar[float] = math.inf
    smallest_centre: ClassVar[float] = 0.0
    centre: Tensor
    stiffness: Tensor

    def __init__(
        self,
        type_names: tuple[str, ...],
        type_tuples: tuple[TypeTuple, ...],
        *,
        centres: tuple[float, ...],
        stiffnesses: tuple[float, ...],
    ) -> None:
        """Build the terms of all type tuples.

        Parameters
        ----------
        type_names : Names of the bead types.
        type_tuples : Types of the sites, in the order of the constants.
        centres : x0 [nm or rad].
        stiffnesses : k [kJ/mol/nm² or kJ/mol/rad²].

        Raises
        ------
        InputError : a type tuple is wrong.
        PhysicsError : a constant is missing, not finite or not positive, or a centre is no value of the coordinate.
        """
        super().__init__(type_names, type_tuples)
        if not len(centres) == len(stiffnesses) == len(self.type_tuples):
            raise PhysicsError(
                f"{self.kind} has {len(centres)} centres and {len(stiffnesses)} stiffnesses for "
                f"{len(self.type_tuples)} type tuples"
            )
        for names, centre, stiffness in zip(self.type_tuples, centres, stiffnesses, strict=True):
            if not (np.isfinite(stiffness) and stiffness > 0.0):
                raise PhysicsError(
                    f"the stiffness of {self.kind} for '{name_tuple(names)}' is {stiffness}, expected positive and "
                    "finite",
                    fix=f"Fit the prior to more frames, use the 'variance' estimator, or leave the "
                    f"{self.coordinate} out of the prior.",
                )
            if not self.smallest_centre <= centre <= self.largest_centre:
                raise PhysicsError(
                    f"the centre of {self.kind} for '{name_tuple(names)}' is {centre}, expected between "
                    f"{self.smallest_centre:.4g} and {self.largest_centre:.4g}",
                    fix=f"Use the 'variance' estimator, or leave the {self.coordinate} out of the prior.",
                )
        self.register_buffer("centre", torch.tensor(centres, dtype=torch.float64))
        self.register_buffer("stiffness", torch.tensor(stiffnesses, dtype=torch.float64))

    def coordinate_energy(
        self, values: Float[Tensor, "terms"], numbers: Int[Tensor, "terms"]
    ) -> Float[Tensor, "terms"]:
        """Return the energy of each term [kJ/mol]."""
        deviation = values - self.centre.to(values.dtype).index_select(0, numbers)
        if self.form == PERIODIC_HARMONIC:
            deviation = deviation - 2.0 * math.pi * torch.round(deviation.detach() / (2.0 * math.pi))
        return 0.5 * self.stiffness.to(values.dtype).index_select(0, numbers) * deviation**2

    def tabulate(self) -> Float[np.ndarray, "tuples 2"]:
        """Return centre and stiffness of each type tuple."""
        return torch.stack([self.centre, self.stiffness], dim=1).numpy()

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {**super().to_config(), "centres": self.centre.tolist(), "stiffnesses": self.stiffness.tolist()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the term that `to_config` described."""
        return cls(
            tuple(config["type_names"]),
            tuple(tuple(names) for names in config["type_tuples"]),
            centres=tuple(config["centres"]),
            stiffnesses=tuple(config["stiffnesses"]),
        )


class HarmonicBonds(AbstractHarmonicTerm):
    """E = ½ k (r − r0)² of each bond."""

    kind: ClassVar[str] = "harmonic_bonds"
    coordinate: ClassVar[Coordinate] = "bond"
    form: ClassVar[int] = HARMONIC


class HarmonicAngles(AbstractHarmonicTerm):
    """E = ½ k (θ − θ0)² of each angle, in the angle and not in its cosine.

    The force of a straight angle (θ = π) has no direction unless θ0 = π; there it is zero.
    """

    kind: ClassVar[str] = "harmonic_angles"
    coordinate: ClassVar[Coordinate] = "angle"
    form: ClassVar[int] = HARMONIC
    largest_centre: ClassVar[float] = math.pi


class HarmonicImpropers(AbstractHarmonicTerm):
    """E = ½ k (χ − χ0)² of each improper, with the sign of χ and the difference taken to −π..π.

    χ0 carries the handedness of a stereocentre: a mirror image has −χ0 and another energy.
    """

    kind: ClassVar[str] = "harmonic_impropers"
    coordinate: ClassVar[Coordinate] = "improper"
    form: ClassVar[int] = PERIODIC_HARMONIC
    smallest_centre: ClassVar[float] = -math.pi
    largest_centre: ClassVar[float] = math.pi
