"""Langevin dynamics with the BAOAB splitting: the integrator for sampling at constant temperature."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.simulation.integrator import AbstractIntegrator, half_step_temperature
from beadsmith.simulation.state import State, StepInfo, move_sites, next_noise
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class Langevin(AbstractIntegrator):
    """Sample dx = v dt, m dv = F dt − m γ v dt + sqrt(2 m γ kT) dW with the BAOAB splitting.

    B: v += (h/2) F/m; A: x += (h/2) v; O: v ← c v + sqrt(1 − c²) sqrt(kT/m) ξ with c = exp(−γ h); A; B, with one force
    call a step. Averages over positions are exact in a harmonic well at any stable timestep, and elsewhere have an
    error of O(h²), at high friction O(h⁴). Momentum is not conserved: a system has 3 n_sites degrees of freedom.

    Source: B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013), DOI 10.1063/1.4802990, section II.
    """

    timestep: Annotated[float, Unit("ps")]
    """Timestep."""
    friction: Annotated[float, Unit("1/ps")]
    """Collision rate γ with the heat bath."""
    _kept: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)
    """Temperature and masses of the last state, and the coefficients that belong to them."""

    def init(self, state: State) -> State:
        """Return the state as it is."""
        return state

    def step(self, state: State, force_field: EnergyModel) -> tuple[State, StepInfo]:
        """Return the state one timestep later."""
        half = 0.5 * self.timestep
        decay = math.exp(-self.friction * self.timestep)
        half_over_mass, width = self._find_coefficients(state)
        noise, block = next_noise(state)
        velocities = torch.addcmul(state.velocities, half_over_mass, state.forces)
        positions = torch.add(state.positions, velocities, alpha=half)
        velocities = torch.addcmul(decay * velocities, width, noise)
        positions = torch.add(positions, velocities, alpha=half)
        moved, info = move_sites(state, force_field, positions=positions)
        velocities = torch.addcmul(velocities, half_over_mass, moved.forces)
        return replace(moved, velocities=velocities, noise=block), info

    def _find_coefficients(self, state: State) -> tuple[Float[Tensor, "sites 1"], Float[Tensor, "replicas sites 1"]]:
        """Return h/2m and sqrt(1 − c²) sqrt(kT/m); the steps between exchanges of temperature share them."""
        if not self._kept or self._kept[0] is not state.temperature or self._kept[1] is not state.masses:
            variance = -math.expm1(-2.0 * self.friction * self.timestep) * state.thermal_energy / state.masses
            self._kept[:] = [state.temperature, state.masses, 0.5 * self.timestep / state.masses, torch.sqrt(variance)]
        return self._kept[2], self._kept[3]

    def measure_velocities(self, state: State) -> Float[Tensor, "replicas sites 3"]:
        """Return the velocities half a step ahead: their distribution is free of the O(h²) bias of the full step."""
        return state.velocities + 0.5 * self.timestep * state.forces / state.masses

    def measure_temperature(self, state: State) -> Float[Tensor, "replicas"]:
        """Return the kinetic temperature of the half-step velocities [K]."""
        return half_step_temperature(state, self.timestep, n_degrees_of_freedom=3 * state.n_sites)
