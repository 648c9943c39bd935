"""Overdamped (Brownian) dynamics in the Leimkuhler-Matthews form: configurations only, no inertia."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.simulation.integrator import AbstractIntegrator
from beadsmith.simulation.state import State, StepInfo, move_sites, next_noise
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class Brownian(AbstractIntegrator):
    """Sample dx = F dt/(m γ) + sqrt(2 D) dW, D = kT/(m γ), with x += h F/(m γ) + sqrt(2 D h) (ξ_n + ξ_{n+1})/2.

    This is the high-friction limit of BAOAB. Averaging the noise of two steps costs nothing and makes averages over
    positions exact in a harmonic well and accurate to O(h²) elsewhere; Euler-Maruyama (ξ_n alone) has an error of O(h).
    In the limit velocities are white noise: the state holds v_n = sqrt(kT/m) ξ_n, which enters the next step as
    sqrt(h/2γ) (v_n + v_{n+1}).

    Source: B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34 (2013), DOI 10.1093/amrx/abs010.
    """

    timestep: Annotated[float, Unit("ps")]
    """Timestep; stable while h F'/(m γ) stays well below 2."""
    friction: Annotated[float, Unit("1/ps")]
    """Friction γ, which sets the diffusion coefficient kT/(m γ) of a free site."""

    def init(self, state: State) -> State:
        """Return the state as it is: its velocities are the noise of step 0."""
        return state

    def step(self, state: State, force_field: EnergyModel) -> tuple[State, StepInfo]:
        """Return the state one timestep later."""
        noise, block = next_noise(state)
        velocities = torch.sqrt(state.thermal_energy / state.masses) * noise
        drift = self.timestep / self.friction * state.forces / state.masses
        kick = (0.5 * self.timestep / self.friction) ** 0.5 * (state.velocities + velocities)
        moved, info = move_sites(replace(state, noise=block), force_field, positions=state.positions + drift + kick)
        return replace(moved, velocities=velocities), info

    def measure_velocities(self, state: State) -> None:
        """Return None: overdamped sites have no velocity."""
        return

    def measure_temperature(self, state: State) -> Float[Tensor, "replicas"]:
        """Return NaN: overdamped sites have no kinetic temperature."""
        return torch.full_like(state.energy, torch.nan)
