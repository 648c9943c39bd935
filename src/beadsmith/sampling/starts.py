"""From what a user names to what is simulated: the liquid or the peptide, and where each replica starts."""

from dataclasses import dataclass, replace

import numpy as np

from beadsmith.errors import InputError
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.systems import ReplicaStarts, SystemSettings, build_system, describe_liquid
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint

SystemChoice = SystemSettings | PeptideSettings
"""What can be sampled; the first is what a section without 'kind' means."""

_WATER_DENSITY = 33.0
"""Molecules of TIP3P water per volume at 300 K [1/nm³]."""

_PEPTIDE_VOLUME = 1.21e-3
"""Partial specific volume of proteins, 0.73 cm³/g [nm³/u]."""


def build_starts(
    settings: SamplingSettings, system: SystemChoice, state_point: StatePoint, *, n_replicas: int, seed: int
) -> ReplicaStarts:
    """Return the OpenMM System and the starting positions of all replicas.

    Raises
    ------
    InputError : the system cannot be built or has no such state.
    """
    check_state(settings, system, state_point)
    if isinstance(system, PeptideSettings):
        return build_peptide(
            system,
            n_starts=n_replicas,
            seed=seed,
            cutoff=settings.cutoff,
            ewald_tolerance=settings.ewald_tolerance,
            hydrogen_mass=settings.hydrogen_mass,
        )
    density = settings.initial_density if state_point.pressure is not None else state_point.density
    boxes = [
        build_system(
            system,
            density=density,
            cutoff=settings.cutoff,
            seed=derive_seed(seed, replica),
            ewald_tolerance=settings.ewald_tolerance,
            hydrogen_mass=settings.hydrogen_mass,
        )
        for replica in range(n_replicas)
    ]
    return ReplicaStarts(atoms=boxes[0], positions=np.stack([box.positions for box in boxes]))


@dataclass(frozen=True, kw_only=True)
class SystemSize:
    """What a run will simulate and save, without simulating it."""

    topology: Topology
    """The atoms that are saved."""
    n_simulated: int
    """Number of atoms that move, water included."""


def measure_system(system: SystemChoice) -> SystemSize:
    """Return the atoms of a system; water that is not saved is estimated from the volume that it fills.

    Raises
    ------
    InputError : the peptide cannot be built.
    """
    if not isinstance(system, PeptideSettings):
        topology = describe_liquid(system)
        return SystemSize(topology=topology, n_simulated=topology.n_sites)
    if not system.is_periodic or system.save == "all":
        # all structures are read, so that a check finds a bad one before the run does
        atoms = build_peptide(system, n_starts=1 + len(system.structures), seed=0, cutoff=0.0).atoms
        return SystemSize(topology=atoms.topology, n_simulated=atoms.topology.n_sites)
    atoms = build_peptide(replace(system, solvent="vacuum", ionic_strength=0.0), n_starts=1, seed=0).atoms
    centre = 0.5 * (atoms.positions.min(axis=0) + atoms.positions.max(axis=0))
    radius = float(np.linalg.norm(atoms.positions - centre, axis=1).max())
    edge = max(2.0 * radius + system.padding, 2.0 * system.padding)
    volume = edge**3 - _PEPTIDE_VOLUME * atoms.topology.total_mass
    return SystemSize(
        topology=atoms.topology, n_simulated=atoms.topology.n_sites + 3 * max(0, round(_WATER_DENSITY * volume))
    )


def list_structures(system: SystemChoice | None) -> list[str]:
    """Return the files that a system is read from."""
    return system.list_files() if isinstance(system, PeptideSettings) else []


def check_state(settings: SamplingSettings, system: SystemChoice, state_point: StatePoint) -> None:
    """Refuse a state that the system cannot have, starts without replicas, and a timestep that its bonds do not allow.

    Raises
    ------
    InputError : the state, the engine, the number of replicas or the timestep does not fit the system.
    """
    if state_point.density is not None and state_point.pressure is not None:
        raise InputError("a run has either a density or a pressure, but both are given", fix="Remove one of them.")
    if settings.engine == "gromacs":
        _check_gromacs(system, state_point)
    if not isinstance(system, PeptideSettings):
        return
    if state_point.density is not None:
        raise InputError(
            "density is given, but the box of a peptide follows from its 'padding'"
            if system.is_periodic
            else f"density is given, but a peptide with solvent {system.solvent} has no box",
            fix="Remove it" + (", and give a pressure to let the box adjust." if system.is_periodic else "."),
        )
    if state_point.pressure is not None and not system.is_periodic:
        raise InputError(
            f"pressure is given, but a peptide with solvent {system.solvent} has no box",
            fix="Remove it, or use solvent: tip3p.",
        )
    if system.structures and len(system.structures) >= settings.replicas:
        raise InputError(
            f"structures are {len(system.structures)}, but replicas {settings.replicas}: none would start from the "
            f"{system.start} backbone",
            fix=f"Set sampling.replicas to {len(system.structures) + 1} or more, or start all from one file with pdb.",
        )
    longest = 0.002 if settings.has_heavy_hydrogens else 0.001
    if system.constraints == "none" and settings.timestep > longest + 1e-9:
        raise InputError(
            f"timestep is {1000.0 * settings.timestep:g} fs, but without constraints bonds to hydrogen are stable up "
            f"to {1000.0 * longest:g} fs",
            fix="Use a shorter timestep, or constraints: hydrogen.",
        )


def _check_gromacs(system: SystemChoice, state_point: StatePoint) -> None:
    """Refuse what the GROMACS engine is not for."""
    problem = None
    if isinstance(system, PeptideSettings):
        problem = "peptides have terms, implicit solvents and frames without water that only the OpenMM engine has"
    elif state_point.density is None and state_point.pressure is None:
        problem = "molecules without a box have no cutoff, which GROMACS does not do efficiently"
    if problem is not None:
        raise InputError(f"engine is gromacs, but {problem}", fix="Use engine: openmm.")


def derive_seed(seed: int, replica: int) -> int:
    """Return the seed of a replica; the first has that of the run."""
    if replica == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(replica,)).generate_state(1)[0])
