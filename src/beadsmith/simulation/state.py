"""The state of a simulation: replicas of one system as tensors, and the one place where forces are asked for.

Positions, velocities and forces are float64 and continuous (a site that leaves the cell is not put back), so that
displacements can be read from them; the force field sees positions wrapped into the cell, in its own precision.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from beadsmith.batch import Batch, build_batch
from beadsmith.energy import EnergyModel, predict
from beadsmith.errors import PhysicsError
from beadsmith.neighbors import OTHER_MOLECULE, SkinList, build_skin_list, is_covering, pair_vectors, renew_skin_list
from beadsmith.simulation.noise import VELOCITIES, NoiseBlock, draw_block, draw_normals, is_block_of
from beadsmith.trajectory import Trajectory
from beadsmith.units import GAS_CONSTANT


@dataclass(frozen=True, kw_only=True)
class State:
    """Replicas of one system at one step."""

    positions: Float[Tensor, "replicas sites 3"]
    """Continuous site positions [nm], float64."""
    velocities: Float[Tensor, "replicas sites 3"]
    """Velocities at the same time as the positions [nm/ps], float64."""
    forces: Float[Tensor, "replicas sites 3"]
    """Forces at these positions [kJ/mol/nm], float64."""
    energy: Float[Tensor, "replicas"]
    """Potential energy [kJ/mol]."""
    virial: Float[Tensor, "replicas 3 3"]
    """Molecular virial [kJ/mol]."""
    masses: Float[Tensor, "sites 1"]
    """Site masses [u], float64."""
    temperature: Float[Tensor, "replicas"]
    """Temperature of the heat bath [K], float64."""
    replica: Int[Tensor, "replicas"]
    """Number of each replica; it stays when others are dropped."""
    is_alive: Bool[Tensor, "replicas"]
    """False where the last step was refused; such a replica stands still at its last good positions."""
    step: int
    """Number of steps done."""
    seed: int
    """Seed of all random numbers."""
    noise: NoiseBlock
    """Random numbers of the steps around `step`."""
    system: Batch
    """What the force field sees."""
    images: Float[Tensor, "replicas sites 3"]
    """Sum of cell vectors by which each site's continuous position exceeds its wrapped one [nm]."""
    skin_list: SkinList
    """Neighbour pairs."""
    cutoff: float
    """Cutoff of the force field [nm]."""
    max_displacement: float
    """Longest displacement in one step that is believed [nm]."""

    @property
    def n_replicas(self) -> int:
        """Number of replicas."""
        return int(self.positions.shape[0])

    @property
    def n_sites(self) -> int:
        """Number of sites of one replica."""
        return int(self.positions.shape[1])

    @property
    def thermal_energy(self) -> Float[Tensor, "replicas 1 1"]:
        """The heat bath's kT of each replica [kJ/mol]."""
        return GAS_CONSTANT * self.temperature[:, None, None]


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """What happened in a step beside the motion."""

    is_rebuilt: bool = False
    """The neighbour list was made anew."""
    has_stopped: bool = False
    """At least one replica's step was refused."""
    displacement: Float[Tensor, "replicas"] | None = None
    """Longest displacement of each replica in the step [nm]; only given when the list was made anew."""


_QUIET = StepInfo()
"""A step of which there is nothing to say."""


def init_state(
    force_field: EnergyModel,
    start: Trajectory,
    *,
    cutoff: float,
    skin: float,
    max_displacement: float,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> State:
    """Return the state at step 0: one replica for each frame, velocities from the frames or Maxwell-Boltzmann.

    Parameters
    ----------
    force_field : Gives the forces; its weights have precision `dtype` and lie on `device`.
    start : One frame a replica; its state point is the temperature of the heat bath.
    cutoff : Cutoff of the force field [nm]; 0 if it has no pair term.
    skin : Extra distance of the neighbour list [nm].
    max_displacement : Longest displacement in one step that is believed [nm].
    seed : Seed of velocities and noise.

    Raises
    ------
    PhysicsError : a force at the start is not finite.
    """
    n_replicas, n_sites = start.n_frames, start.n_sites
    replica = torch.arange(n_replicas)

    def real(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    system = build_batch(start, np.arange(n_replicas), device=device, dtype=dtype)
    positions, masses = real(start.positions), real(start.topology.masses)[:, None]
    temperature = real(np.full(n_replicas, start.state_point.temperature))
    if start.velocities is None:
        velocities = draw_velocities(masses, temperature, replicas=replica.tolist(), seed=seed)
    else:
        velocities = real(start.velocities)
    images = torch.zeros_like(positions)
    state = State(
        positions=positions,
        velocities=velocities,
        forces=torch.zeros_like(positions),
        energy=torch.zeros_like(temperature),
        virial=positions.new_zeros(n_replicas, 3, 3),
        masses=masses,
        temperature=temperature,
        replica=replica.to(device),
        is_alive=torch.ones(n_replicas, dtype=torch.bool, device=device),
        step=0,
        seed=seed,
        noise=draw_block(seed, replica.tolist(), step=0, n_sites=n_sites, device=device),
        system=system,
        images=images,
        skin_list=build_skin_list(system, cutoff, skin),
        cutoff=cutoff,
        max_displacement=max_displacement,
    )
    state = compute_forces(refresh_neighbours(state), force_field)
    _refuse_infinite_forces(state)
    return state


def draw_velocities(
    masses: Float[Tensor, "sites 1"], temperature: Float[Tensor, "replicas"], *, replicas: list[int], seed: int
) -> Float[Tensor, "replicas sites 3"]:
    """Return Maxwell-Boltzmann velocities [nm/ps]: each component normal with variance kT/m."""
    drawn = [draw_normals(seed, VELOCITIES, replica=r, index=0, shape=(len(masses), 3)) for r in replicas]
    widths = torch.sqrt(GAS_CONSTANT * temperature[:, None, None] / masses)
    return widths * torch.from_numpy(np.stack(drawn)).to(masses.device)


def next_noise(state: State) -> tuple[Float[Tensor, "replicas sites 3"], NoiseBlock]:
    """Return the standard normal numbers of the step to come, and the block they stand in."""
    block = state.noise
    if not is_block_of(block, state.step):
        replicas = state.replica.tolist()
        block = draw_block(state.seed, replicas, step=state.step, n_sites=state.n_sites, device=state.positions.device)
    return block.values[state.step % block.values.shape[0]], block


def move_sites(
    state: State, force_field: EnergyModel, *, positions: Float[Tensor, "replicas sites 3"]
) -> tuple[State, StepInfo]:
    """Return the state with sites at new positions and the forces there; the step count grows by one.

    A replica with a displacement that is not finite or longer than `max_displacement` stays where it was and is
    marked as not alive. The test costs nothing on most steps: a site that jumps also leaves the skin.
    """
    system = _place(state, positions)
    if is_covering(state.skin_list, system):
        return _predict(state, force_field, positions=positions, system=system, step=state.step + 1), _QUIET
    displacement = (positions - state.positions).norm(dim=2).amax(dim=1)
    is_good = displacement <= state.max_displacement
    moved = place_sites(state, torch.where(is_good[:, None, None], positions, state.positions))
    skin_list = renew_skin_list(state.skin_list, moved.system, state.cutoff)
    is_alive = state.is_alive & is_good
    info = StepInfo(is_rebuilt=True, has_stopped=not bool(is_good.all()), displacement=displacement)
    return _predict(moved, force_field, is_alive=is_alive, skin_list=skin_list, step=state.step + 1), info


def compute_forces(state: State, force_field: EnergyModel) -> State:
    """Return the state with energy, forces and virial of its positions; the neighbour list must cover them."""
    return _predict(state, force_field)


def _predict(state: State, force_field: EnergyModel, **changes: Any) -> State:
    """Return the state with changes, and with the forces there; one copy, because copies of records cost time."""
    system, skin_list = changes.get("system", state.system), changes.get("skin_list", state.skin_list)
    prediction = predict(force_field, system, skin_list.pairs)
    return replace(
        state,
        forces=prediction.forces.to(torch.float64).view_as(state.positions),
        energy=prediction.energy.to(torch.float64),
        virial=prediction.virial.to(torch.float64),
        **changes,
    )


def refresh_neighbours(state: State) -> State:
    """Wrap all molecules into the cell and make the neighbour list anew.

    What the force field sees, down to the last digit, is afterwards a function of positions and step alone. A run
    calls this at fixed steps, so that a restart, and replicas beside others, follow the same path bit for bit.
    """
    wrapped = wrap_molecules(state)
    return replace(wrapped, skin_list=renew_skin_list(state.skin_list, wrapped.system, state.cutoff))


def wrap_molecules(state: State) -> State:
    """Return the state with all molecules wrapped into the cell, whole; its neighbour list no longer fits."""
    images = state.images
    if state.system.cell is not None:
        cell = state.system.cell.to(torch.float64)
        fractional = torch.linalg.solve(cell.transpose(1, 2), state.positions.transpose(1, 2)).transpose(1, 2)
        # whole molecules: all sites of a molecule move with its first one
        molecule = state.system.molecule_index[: state.n_sites]
        is_first = torch.cat([molecule.new_ones(1, dtype=torch.bool), molecule[1:] != molecule[:-1]])
        images = (torch.floor(fractional[:, is_first]) @ cell)[:, molecule - molecule[0]]
    return place_sites(replace(state, images=images), state.positions)


def keep_replicas(state: State, chosen: Bool[Tensor, "replicas"]) -> State:
    """Return the state of the chosen replicas only."""
    n_kept, n_sites, system = int(chosen.sum()), state.n_sites, state.system
    first = slice(0, n_kept * n_sites)
    # replicas are copies of one system, so the first n_kept blocks of all index arrays describe any n_kept of them
    shortened = {
        name: getattr(system, name)[: n_kept * (len(getattr(system, name)) // state.n_replicas)]
        for name in ("bonds", "angles", "dihedrals", "impropers")
    }
    system = replace(
        system,
        positions=system.positions.view(-1, n_sites, 3)[chosen].reshape(-1, 3),
        types=system.types[first],
        masses=system.masses[first],
        system_index=system.system_index[first],
        molecule_index=system.molecule_index[first],
        cell=None if system.cell is None else system.cell[chosen],
        temperature=system.temperature[chosen],
        **shortened,
    )
    noise = replace(state.noise, values=state.noise.values[:, chosen])
    skin_list = build_skin_list(system, state.cutoff, state.skin_list.skin)
    return replace(
        state,
        system=system,
        noise=noise,
        skin_list=skin_list,
        positions=state.positions[chosen],
        velocities=state.velocities[chosen],
        forces=state.forces[chosen],
        energy=state.energy[chosen],
        virial=state.virial[chosen],
        temperature=state.temperature[chosen],
        replica=state.replica[chosen],
        is_alive=state.is_alive[chosen],
        images=state.images[chosen],
    )


def closest_distances(state: State) -> Float[Tensor, "replicas"]:
    """Return the smallest distance between sites of different molecules in each replica [nm]; inf beyond the list."""
    distances, index = _intermolecular_distances(state)
    closest = torch.full((state.n_replicas,), torch.inf, dtype=torch.float64, device=distances.device)
    return closest.scatter_reduce(0, state.system.system_index[index[0]], distances, "amin")


def find_closest_pair(state: State, row: int) -> tuple[float, int, int] | None:
    """Return distance [nm] and sites of the closest pair of molecules in one row of the state; None without pairs."""
    distances, index = _intermolecular_distances(state)
    distances = torch.where(state.system.system_index[index[0]] == row, distances, torch.inf)
    if not bool((distances < torch.inf).any()):
        return None
    best = int(distances.argmin())
    return float(distances[best]), int(index[0, best]) % state.n_sites, int(index[1, best]) % state.n_sites


def _intermolecular_distances(state: State) -> tuple[Tensor, Tensor]:
    pairs, system = state.skin_list.pairs, state.system
    vectors = pair_vectors(system.positions, system.cell, system.system_index, pairs)
    is_other = pairs.bond_class == OTHER_MOLECULE
    return vectors[is_other].norm(dim=1).double(), pairs.index[:, is_other]


def _refuse_infinite_forces(state: State) -> None:
    if not bool(torch.isfinite(state.forces).all()):
        raise PhysicsError(
            "a force at the start is not finite; "
            f"the closest pair is {float(closest_distances(state).min()):.3f} nm apart",
            fix="Start from another frame, or look at the force field at short distances.",
        )


def place_sites(state: State, positions: Float[Tensor, "replicas sites 3"]) -> State:
    """Return the state with sites at new positions; forces and neighbour list are left as they were."""
    return replace(state, positions=positions, system=_place(state, positions))


def _place(state: State, positions: Float[Tensor, "replicas sites 3"]) -> Batch:
    wrapped = positions if state.system.cell is None else positions - state.images
    return replace(state.system, positions=wrapped.reshape(-1, 3).to(state.system.positions.dtype))
