"""Velocity Verlet: constant energy and momentum, to judge the forces rather than to sample."""

from dataclasses import dataclass, replace
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.simulation.integrator import AbstractIntegrator, centre_of_mass_velocity, half_step_temperature
from beadsmith.simulation.state import State, StepInfo, move_sites
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class Verlet(AbstractIntegrator):
    """Integrate m d²x/dt² = F: v += (h/2) F/m; x += h v; v += (h/2) F/m.

    Time-reversible and symplectic; the energy error is O(h²) and does not grow while the timestep is stable.
    Source: W. C. Swope et al., J. Chem. Phys. 76, 637 (1982), DOI 10.1063/1.442716.
    """

    timestep: Annotated[float, Unit("ps")]
    """Timestep."""

    def init(self, state: State) -> State:
        """Return the state with the centre of mass at rest (3 degrees of freedom less), if there are several sites."""
        if state.n_sites == 1:
            return state
        return replace(state, velocities=state.velocities - centre_of_mass_velocity(state))

    def step(self, state: State, force_field: EnergyModel) -> tuple[State, StepInfo]:
        """Return the state one timestep later."""
        half = 0.5 * self.timestep
        velocities = state.velocities + half * state.forces / state.masses
        moved, info = move_sites(state, force_field, positions=state.positions + self.timestep * velocities)
        velocities = velocities + half * moved.forces / state.masses
        return replace(moved, velocities=velocities), info

    def measure_velocities(self, state: State) -> Float[Tensor, "replicas sites 3"]:
        """Return the full-step velocities: kinetic plus potential energy of a saved frame is what is conserved."""
        return state.velocities

    def measure_temperature(self, state: State) -> Float[Tensor, "replicas"]:
        """Return the kinetic temperature of the half-step velocities [K]."""
        n_degrees = 3 * state.n_sites - (3 if state.n_sites > 1 else 0)
        return half_step_temperature(state, self.timestep, n_degrees_of_freedom=n_degrees)
