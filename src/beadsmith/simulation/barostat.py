"""Constant pressure: Monte Carlo changes of the volume between steps of dynamics.

A change scales the centres of the molecules with the cell, moves every molecule rigidly, and is accepted or refused by
the Metropolis rule, so that whatever the force field, the interval and the size of the changes, the isothermal-isobaric
distribution is left as it is (docs/decisions/0017). Nothing but energies is asked for, no mass of a piston, no virial.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beadsmith.energy import EnergyModel
from beadsmith.errors import InputError
from beadsmith.neighbors import SkinList, is_covering, renew_skin_list, strain_skin_list
from beadsmith.simulation.noise import VOLUMES, draw_uniforms
from beadsmith.simulation.state import State, compute_forces, place_sites
from beadsmith.trajectory import Trajectory
from beadsmith.units import GAS_CONSTANT, Unit

_WINDOW = 10
"""Attempts after which the largest change is adapted."""

_GROWTH = 1.25
"""Factor by which it is adapted."""

_FEW, _MANY = 0.4, 0.6
"""Acceptance between which it is left as it is."""

_WIDEST = 1.0
"""Largest change of ln V ever tried."""


@dataclass(frozen=True, kw_only=True)
class BarostatSettings:
    """How the cell finds its volume at constant pressure."""

    interval: Annotated[float, Unit("ps")] = 0.1
    """Time between attempts to change the volume; each costs one force call."""
    largest_change: float = 0.02
    """Largest relative change of the volume in the first attempts; adapted during the equilibration until about half of
    all attempts succeed, and fixed afterwards."""
    max_volume_ratio: float = 4.0
    """A replica whose volume has grown or shrunk by this factor is stopped: it boils or collapses."""

    def __post_init__(self) -> None:
        """Refuse values that make no barostat.

        Raises
        ------
        InputError : a value is out of range.
        """
        if not (np.isfinite(self.interval) and self.interval > 0.0):
            raise InputError(f"'barostat.interval' is {self.interval}, expected > 0")
        if not 0.0 < self.largest_change <= _WIDEST:
            raise InputError(f"'barostat.largest_change' is {self.largest_change}, expected > 0 and <= {_WIDEST:g}")
        if not self.max_volume_ratio > 1.0:
            raise InputError(f"'barostat.max_volume_ratio' is {self.max_volume_ratio}, expected > 1")


@dataclass(frozen=True, kw_only=True)
class VolumeMoves:
    """How far the volume of every replica may change at once, and what became of all attempts so far."""

    largest_change: Float[np.ndarray, "replicas"]
    """Largest change of ln V in one attempt."""
    start_volume: Float[np.ndarray, "replicas"]
    """Volume at the start of the run [nm³]."""
    attempts: Int[np.ndarray, "replicas"]
    """Attempts since the largest change was last set."""
    acceptances: Int[np.ndarray, "replicas"]
    """How many of them were accepted."""


def start_moves(settings: BarostatSettings, frames: Trajectory) -> VolumeMoves:
    """Return the record before the first attempt.

    Parameters
    ----------
    settings : Gives the first largest change.
    frames : Start of each replica.

    Raises
    ------
    InputError : the start has no periodic cell.
    """
    if frames.cell is None:
        raise InputError(
            "'simulation.pressure' is given, but the start has no periodic cell",
            fix="Start from frames in a box, or leave the pressure out.",
        )
    nothing = np.zeros(frames.n_frames, dtype=np.int64)
    return VolumeMoves(
        largest_change=np.full(frames.n_frames, settings.largest_change),
        start_volume=frames.volumes(),
        attempts=nothing,
        acceptances=nothing,
    )


def measure_volumes(state: State) -> Float[Tensor, "replicas"]:
    """Return the volume of each replica's cell [nm³], in float64."""
    assert state.system.cell is not None
    return torch.linalg.det(state.system.cell.double()).abs()


def change_volumes(
    state: State, moves: VolumeMoves, force_field: EnergyModel, *, pressure: float, attempt: int, is_adapting: bool
) -> tuple[State, VolumeMoves]:
    """Try to change the volume of every replica once.

    ln V' is uniform within the largest change of ln V; centres of molecules scale with the cell, momenta stay. Accepted
    with probability min(1, exp[−(ΔW + P ΔV)/kT + (N + 1) ln(V'/V)]), N the number of molecules: N powers of V from the
    centres, one from the uniform step in ln V. Where W depends on the cell itself, that is part of ΔW.

    Source: D. Frenkel and B. Smit, Understanding Molecular Simulation, 2nd ed. (2002), section 5.4; molecules:
    K.-H. Chow and D. M. Ferguson, Comput. Phys. Commun. 91, 283 (1995), DOI 10.1016/0010-4655(95)00059-O.

    Parameters
    ----------
    state : Replicas that run, with their energies; its neighbour list must cover them.
    moves : How far the volumes may change.
    force_field : What the replicas are simulated with.
    pressure : Pressure [kJ/mol/nm³].
    attempt : Number of the attempt; random numbers are a function of it and of the replica.
    is_adapting : Whether the largest change may be adapted; it must not while frames are saved, or their distribution
        would not be exact.
    """
    replica = state.replica.cpu().numpy()
    drawn = np.array([draw_uniforms(state.seed, VOLUMES, index=attempt, shape=(2,), replica=r) for r in replica])
    growth = moves.largest_change[replica] * (2.0 * drawn[:, 0] - 1.0)
    scaled = scale_volumes(state, torch.from_numpy(np.exp(growth)).to(state.positions.device))
    trial = compute_forces(_cover(scaled), force_field)
    old, new = measure_volumes(state), measure_volumes(trial)
    work = (trial.energy - state.energy + pressure * (new - old)) / (GAS_CONSTANT * state.temperature)
    exponent = (count_molecules_of_one(state) + 1) * torch.log(new / old) - work
    chance = torch.from_numpy(drawn[:, 1]).to(exponent.device)
    # written so that an energy that is not a number is never accepted
    is_accepted = chance < torch.exp(exponent.clamp(max=0.0))
    state = _take_accepted(state, trial, is_accepted, strained=scaled.skin_list)
    return state, _note(moves, replica, is_accepted.cpu().numpy(), is_adapting=is_adapting)


def count_molecules_of_one(state: State) -> int:
    """Return the number of molecules of one replica."""
    return int(state.system.molecule_index[state.n_sites - 1]) + 1


def scale_volumes(state: State, ratio: Float[Tensor, "replicas"]) -> State:
    """Return the state with cells whose volumes are multiplied; energies and forces are left as they were.

    Cells have the precision of the force field and are rounded to it, so sites move by the matrix between the rounded
    cells: positions and their images stay equivalent to the last digit.
    """
    system = state.system
    assert system.cell is not None
    old = system.cell.double()
    cell = (old * ratio[:, None, None] ** (1.0 / 3.0)).to(system.cell.dtype)
    change = torch.linalg.solve(old, cell.double()) - torch.eye(3, dtype=torch.float64, device=old.device)
    centres, radius = _find_centres(state)
    shifts = centres @ change
    images = state.images + state.images @ change
    skin_list = strain_skin_list(
        state.skin_list,
        cell,
        ((centres - state.images) @ change).view(-1, 3).to(system.positions.dtype),
        reach=state.cutoff + 2.0 * radius,
        strain=float(torch.linalg.matrix_norm(change, ord=2).max()),
    )
    scaled = replace(state, images=images, system=replace(system, cell=cell), skin_list=skin_list)
    return place_sites(scaled, state.positions + shifts)


def summarise_moves(moves: VolumeMoves, *, pressure: float) -> dict[str, Any]:
    """Return pressure [kJ/mol/nm³], acceptance and largest change of ln V of every replica as JSON."""
    with np.errstate(invalid="ignore"):
        acceptance = moves.acceptances / moves.attempts
    return {
        "pressure": pressure,
        "acceptance": [None if np.isnan(value) else float(value) for value in acceptance],
        "largest_change": moves.largest_change.tolist(),
    }


def _find_centres(state: State) -> tuple[Float[Tensor, "replicas sites 3"], float]:
    """Return the continuous centre of each site's molecule [nm], and the largest distance of a site from it [nm]."""
    n_molecules = count_molecules_of_one(state)
    if n_molecules == state.n_sites:
        return state.positions, 0.0
    molecule = state.system.molecule_index[: state.n_sites]
    masses = torch.zeros(n_molecules, 1, dtype=torch.float64, device=molecule.device)
    masses = masses.index_add(0, molecule, state.masses)
    sums = torch.zeros(state.n_replicas, n_molecules, 3, dtype=torch.float64, device=molecule.device)
    centres = (sums.index_add(1, molecule, state.masses * state.positions) / masses)[:, molecule]
    return centres, float((state.positions - centres).norm(dim=2).max())


def _cover(state: State) -> State:
    """Return the state with a neighbour list that covers its positions: the one it has, if it does."""
    if is_covering(state.skin_list, state.system):
        return state
    return replace(state, skin_list=renew_skin_list(state.skin_list, state.system, state.cutoff))


def _take_accepted(state: State, trial: State, is_accepted: Bool[Tensor, "replicas"], *, strained: SkinList) -> State:
    """Return the trial of the replicas that were accepted and the state of all others.

    Parameters
    ----------
    strained : The neighbour list of the state, strained with all replicas.
    """
    if bool(is_accepted.all()):
        return trial
    if not bool(is_accepted.any()):
        return state
    by_site = is_accepted[:, None, None]

    def choose(name: str, chosen: Tensor) -> Tensor:
        return torch.where(chosen, getattr(trial, name), getattr(state, name))

    assert state.system.cell is not None
    assert trial.system.cell is not None
    cell = torch.where(by_site, trial.system.cell, state.system.cell)
    new, old = (each.reference.view(state.n_replicas, -1, 3) for each in (strained, state.skin_list))
    skin_list = replace(strained, reference=torch.where(by_site, new, old).view(-1, 3), cell=cell)
    mixed = replace(
        state,
        images=choose("images", by_site),
        forces=choose("forces", by_site),
        energy=choose("energy", is_accepted),
        virial=choose("virial", by_site),
        system=replace(state.system, cell=cell),
        skin_list=skin_list,
    )
    return _cover(place_sites(mixed, choose("positions", by_site)))


def _note(
    moves: VolumeMoves,
    replica: Int[np.ndarray, "running"],
    is_accepted: Bool[np.ndarray, "running"],
    *,
    is_adapting: bool,
) -> VolumeMoves:
    """Count an attempt of the replicas that run; adapt the largest change of those that have enough of them."""
    attempts, acceptances = moves.attempts.copy(), moves.acceptances.copy()
    attempts[replica] += 1
    acceptances[replica] += is_accepted
    change = moves.largest_change.copy()
    if is_adapting:
        is_due = attempts >= _WINDOW
        rate = acceptances / np.maximum(attempts, 1)
        change = np.where(is_due & (rate > _MANY), np.minimum(change * _GROWTH, _WIDEST), change)
        change = np.where(is_due & (rate < _FEW), change / _GROWTH, change)
        attempts, acceptances = np.where(is_due, 0, attempts), np.where(is_due, 0, acceptances)
    return replace(moves, largest_change=change, attempts=attempts, acceptances=acceptances)
