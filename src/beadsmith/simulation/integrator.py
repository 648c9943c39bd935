"""The contract of integrators: a frozen record of its settings that turns one state into the next."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.simulation.state import State, StepInfo
from beadsmith.units import GAS_CONSTANT


class AbstractIntegrator(ABC):
    """A rule that moves all replicas by one timestep with one force call, or by several to the next saved frame."""

    refreshes_neighbours: ClassVar[bool] = False
    """Whether `step` itself does what `refresh_neighbours` does; otherwise a run does it at every saved frame."""
    timestep: float
    """Timestep [ps]."""

    @abstractmethod
    def init(self, state: State) -> State:
        """Return the state made ready for the first step."""

    @abstractmethod
    def step(self, state: State, force_field: EnergyModel) -> tuple[State, StepInfo]:
        """Return the state one timestep, or several, later."""

    @abstractmethod
    def measure_velocities(self, state: State) -> Float[Tensor, "replicas sites 3"] | None:
        """Return the velocities a trajectory should hold [nm/ps], or None where there are none."""

    @abstractmethod
    def measure_temperature(self, state: State) -> Float[Tensor, "replicas"]:
        """Return the kinetic temperature of each replica [K]; NaN where velocities mean nothing."""


def half_step_temperature(state: State, timestep: float, *, n_degrees_of_freedom: int) -> Float[Tensor, "replicas"]:
    """Return the kinetic temperature of the velocities half a step before and after the state, averaged [K].

    With v± = v ± (h/2) f/m the mean of K(v+) and K(v−) is Σ ½ m [v² + (h f / 2m)²]. In a harmonic well these half-step
    velocities have the exact variance kT/m when positions have the exact variance kT/k, as under BAOAB, while the
    full-step v has (kT/m)(1 − h²ω²/4): with stiff bonds it looks several per cent too cold.
    Source: B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013), DOI 10.1063/1.4802990.
    """
    kick = 0.5 * timestep * state.forces / state.masses
    kinetic = 0.5 * (state.masses * (state.velocities**2 + kick**2)).sum(dim=(1, 2))
    return 2.0 * kinetic / (max(1, n_degrees_of_freedom) * GAS_CONSTANT)


def centre_of_mass_velocity(state: State) -> Float[Tensor, "replicas 1 3"]:
    """Return the velocity of each replica's centre of mass [nm/ps]."""
    return (state.masses * state.velocities).sum(dim=1, keepdim=True) / torch.sum(state.masses)
