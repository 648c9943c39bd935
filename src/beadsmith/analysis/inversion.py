"""Inversion of a stereocentre: its barrier on a free-energy profile, how long it lasts, and how high it must be."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float

from beadsmith.errors import InputError
from beadsmith.units import PLANCK_CONSTANT, Unit, thermal_energy

SAFETY = 20.0
"""The waiting time for one inversion is to be this many times the simulated time: one run in twenty may see one."""


@dataclass(frozen=True, kw_only=True)
class InversionSettings:
    """Well-tempered metadynamics along the signed improper of every stereocentre of one molecule in open space."""

    timestep: Annotated[float, Unit("ps")] = 0.002
    """Timestep."""
    friction: Annotated[float, Unit("1/ps")] = 10.0
    """Collision rate with the heat bath."""
    duration: Annotated[float, Unit("ps")] = 500.0
    """Time of each run: long enough to fill the well up to its barrier."""
    interval: Annotated[float, Unit("ps")] = 0.2
    """Time between Gaussians."""
    height: Annotated[float, Unit("kJ/mol")] = 2.0
    """Height of the first Gaussians, below kT."""
    width: Annotated[float, Unit("degree")] = 6.0
    """Standard deviation of the Gaussians along the improper."""
    bias_factor: float = 20.0
    """How much hotter the improper becomes: about the barrier in kT."""
    runs: int = 2
    """Independent runs for each stereocentre, from which the error comes."""

    def __post_init__(self) -> None:
        """Refuse settings that make no bias.

        Raises
        ------
        InputError : a value is out of range.
        """
        for name in ("timestep", "friction", "duration", "interval", "height", "width"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"'{name}' is {getattr(self, name)}, expected > 0")
        if not self.bias_factor > 1.0:
            raise InputError(f"'bias_factor' is {self.bias_factor}, expected > 1")
        if self.runs < 2:
            raise InputError(f"'runs' is {self.runs}, expected at least 2: errors come from their spread")
        if not self.timestep <= self.interval <= self.duration:
            raise InputError(
                f"'interval' is {self.interval} ps, expected from one 'timestep' ({self.timestep} ps) to the "
                f"'duration' ({self.duration} ps)"
            )


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """The way from one hand to the other on a free-energy profile."""

    height: float
    """Free energy of the lower of the two passes over that of the native well [kJ/mol]."""
    is_crossed: bool
    """Whether the other hand lies below the pass by kT or more; if not, the height is a lower bound."""


def find_barrier(
    angles: Float[np.ndarray, "points"], free_energy: Float[np.ndarray, "points"], *, hand: float, kT: float
) -> Barrier:
    """Return the barrier between the two hands on a profile along a signed improper.

    There are two ways from one hand to the other, through 0 and through 180 degrees; the lower counts. Where a run has
    not been, the estimate of metadynamics is flat and as high as the highest point it has filled.

    Parameters
    ----------
    angles : Improper [degrees], ascending from −180 to 180.
    free_energy : Free energy [kJ/mol].
    hand : Sign of the native improper.
    kT : Thermal energy [kJ/mol].
    """
    # turned so that the native hand is the positive one
    order = np.argsort(hand * angles, kind="stable")
    angles, free_energy = hand * angles[order], free_energy[order]
    native = int(np.argmin(np.where(angles > 0.0, free_energy, np.inf)))
    other = int(np.argmin(np.where(angles < 0.0, free_energy, np.inf)))
    through_0 = free_energy[other : native + 1].max()
    through_180 = max(free_energy[native:].max(), free_energy[: other + 1].max())
    top = float(min(through_0, through_180))
    return Barrier(height=top - float(free_energy[native]), is_crossed=bool(top - free_energy[other] >= kT))


def compute_waiting_time(barrier: float, temperature: float) -> float:
    """Return the mean time until a barrier [kJ/mol] is crossed [ps], by transition-state theory.

    τ = (h/kT) exp(ΔG/RT), with no correction for recrossing. Source: H. Eyring, J. Chem. Phys. 3, 107 (1935), DOI
    10.1063/1.1749604.
    """
    kT = thermal_energy(temperature)
    return PLANCK_CONSTANT / kT * math.exp(barrier / kT)


def compute_required_barrier(simulated_time: float, temperature: float) -> float:
    """Return the barrier [kJ/mol] whose waiting time is 20 times a simulated time [ps]: RT ln((kT/h) 20 t)."""
    kT = thermal_energy(temperature)
    return kT * math.log(kT / PLANCK_CONSTANT * SAFETY * simulated_time)
