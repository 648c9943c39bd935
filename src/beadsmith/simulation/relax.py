"""Steepest descent with a bounded step: takes the worst overlaps out of a start, and nothing more."""

from dataclasses import replace

import torch

from beadsmith.energy import EnergyModel
from beadsmith.errors import PhysicsError
from beadsmith.simulation.state import State, closest_distances, move_sites, place_sites, refresh_neighbours

_FIRST_STEP = 0.005
_LONGEST_STEP = 0.02
_GROWTH, _SHRINKAGE = 1.2, 0.5


def relax(state: State, force_field: EnergyModel, *, largest_force: float = 1500.0, n_steps: int = 500) -> State:
    """Return the state moved downhill until no force is larger than `largest_force`, at step 0 again.

    Each step moves the site with the largest force by a trust length along its force, and all others in proportion.
    The length grows when the energy falls; otherwise the step is undone and the length shrinks, in each replica alone.

    Parameters
    ----------
    largest_force : Stop when all forces are below [kJ/mol/nm]; the default is several times the thermal force of a
        liquid, so an equilibrated frame is left as it is.
    n_steps : Largest number of force calls.

    Raises
    ------
    PhysicsError : a force is still more than ten times too large at the end: the beads do not fit into the cell.
    """
    length = torch.full_like(state.energy, min(_FIRST_STEP, 0.9 * state.max_displacement))
    for _ in range(n_steps):
        largest = state.forces.norm(dim=2).amax(dim=1)
        is_moving = largest > largest_force
        if not bool(is_moving.any()):
            break
        scale = torch.where(is_moving, length / largest, 0.0)[:, None, None]
        trial, _ = move_sites(state, force_field, positions=state.positions + scale * state.forces)
        is_better = (trial.energy < state.energy) & torch.isfinite(trial.forces).all(dim=2).all(dim=1)
        state = _accept(state, trial, is_better)
        length = length * torch.where(is_better, _GROWTH, _SHRINKAGE)
        length = length.clamp(max=min(_LONGEST_STEP, 0.9 * state.max_displacement))
    worst = float(state.forces.norm(dim=2).max())
    if not worst <= 10.0 * largest_force:
        raise PhysicsError(
            f"the start cannot be relaxed: a force is {worst:.3g} kJ/mol/nm after {n_steps} steps, and the closest "
            f"pair is {float(closest_distances(state).min()):.3f} nm apart",
            fix="Lower the density, or start from a frame of a trajectory.",
        )
    return replace(refresh_neighbours(state), step=0)


def _accept(old: State, new: State, is_better: torch.Tensor) -> State:
    by_site = is_better[:, None, None]
    return replace(
        place_sites(new, torch.where(by_site, new.positions, old.positions)),
        forces=torch.where(by_site, new.forces, old.forces),
        energy=torch.where(is_better, new.energy, old.energy),
        virial=torch.where(by_site, new.virial, old.virial),
        is_alive=torch.ones_like(new.is_alive),
    )
