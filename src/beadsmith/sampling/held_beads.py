"""An atomistic system whose mapped coordinates R = C r stand still while everything else moves at a temperature.

Beads that are single atoms: the atom gets no mass, which OpenMM takes for immobile; where it is rigidly bonded to an
atom that moves, OpenMM refuses that, and it gets a mass so large (1e14 u) that it moves by 1e-6 nm in 40 ps. Its
hydrogens then move on spheres about it, and nothing has to be made flexible. Beads of several atoms: after every change
of the velocities the part that would move R is taken off, v -= M⁻¹Cᵀ (C M⁻¹ Cᵀ)⁻¹ C v. The atoms get masses that are
proportional to their weights in C (an average at fixed beads does not depend on masses), so that the projection is the
removal of a centre-of-mass velocity, which rigid bonds inside the bead do not disturb: R is kept to rounding.

Without rigid bonds across beads there is no other correction: C is linear, so the metric of the constraint R is
constant. Rigid bonds that share an atom weigh configurations by the root of the determinant of their mass metric
matrix, which depends on masses: for a methyl group it varies by 0.6 % (standard deviation over thermal angles) with
hydrogens of 3 u and by 0.03 % with true masses.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import openmm
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.units import GAS_CONSTANT

HEAVY = 1e14
"""Mass of a held atom with rigid bonds [u]: thermal velocities of 2e-7 nm/ps."""

FORCES = {0}
"""Force groups of the system itself: all but that of the projection."""

_PROJECTION = 1
"""Force group of the projection, which is no force of the system."""

_LIGHT, _HEAVIER = 1.5, 3.5
"""Masses below which an atom is a hydrogen of true mass, and one of threefold mass [u]."""


@dataclass(frozen=True, kw_only=True)
class HeldBeads:
    """What is simulated, and which of its forces count."""

    system: openmm.System
    """Interactions and changed masses."""
    n_projected: int
    """Number of beads that are held by projection; the others are immobile atoms."""
    longest_timestep: float
    """Longest stable timestep [ps]."""

    def create_integrator(
        self, *, temperature: float, friction: float, timestep: float, seed: int
    ) -> openmm.Integrator:
        """Return Langevin dynamics (leapfrog middle scheme) that leaves the beads where they are.

        Source: Z. Zhang et al., J. Phys. Chem. A 123, 6056 (2019).
        """
        if self.n_projected == 0:
            integrator = openmm.LangevinMiddleIntegrator(temperature, friction, timestep)
        else:
            integrator = _build_projected_integrator(temperature, friction, timestep)
        integrator.setRandomNumberSeed(seed)
        return integrator


def hold_beads(system: openmm.System, position_map: LinearMap, *, names: tuple[str, ...] | None = None) -> HeldBeads:
    """Return a copy of a system whose beads do not move.

    Parameters
    ----------
    system : All interactions; barostats and removal of the centre-of-mass motion are left out.
    position_map : C: its atoms are the first of the system, in order.
    names : Names of the beads, for messages.

    Raises
    ------
    InputError : a bead has negative weights, or shares an atom or a rigid bond in a way that cannot be held.
    """
    matrix = position_map.matrix.tocsr()
    rows = [slice(*bounds) for bounds in pairwise(matrix.indptr.tolist())]
    carriers = [matrix.indices[row][matrix.data[row] != 0.0] for row in rows]
    weights = [matrix.data[row][matrix.data[row] != 0.0] for row in rows]
    owner = _find_owners(carriers, weights, system.getNumParticles(), names)
    held = openmm.XmlSerializer.clone(system)
    for number in reversed(range(held.getNumForces())):
        if isinstance(held.getForce(number), openmm.CMMotionRemover | openmm.MonteCarloBarostat):
            held.removeForce(number)
        else:
            held.getForce(number).setForceGroup(min(FORCES))
    is_single = np.array([len(atoms) == 1 for atoms in carriers])
    _set_masses_(held, carriers, weights)
    _hold_atoms_(held, {int(atoms[0]) for atoms in carriers if len(atoms) == 1})
    _refuse_crossing_bonds(held, owner, is_single, names)
    if not is_single.all():
        several = [number for number in range(len(carriers)) if len(carriers[number]) > 1]
        held.addForce(_build_projection(held, [(carriers[n], weights[n]) for n in several]))
    return HeldBeads(
        system=held,
        n_projected=int((~is_single).sum()),
        longest_timestep=_find_longest_timestep(held),
    )


def _find_owners(
    carriers: list[Int[np.ndarray, "_"]],
    weights: list[Float[np.ndarray, "_"]],
    n_atoms: int,
    names: tuple[str, ...] | None,
) -> Int[np.ndarray, "atoms"]:
    """Return the bead of each atom, -1 for none."""
    owner = np.full(n_atoms, -1)
    for bead, (atoms, own) in enumerate(zip(carriers, weights, strict=True)):
        label = _label(bead, names)
        if np.any(own < 0.0):
            raise InputError(f"bead {label} has a negative position weight, so it cannot be held")
        taken = atoms[owner[atoms] >= 0]
        if len(taken):
            raise InputError(
                f"atom {taken[0]} carries the positions of beads {_label(int(owner[taken[0]]), names)} and {label}, "
                "which cannot be held together",
                fix="Use beads that share no atoms for averaged labels.",
            )
        owner[atoms] = bead
    return owner


def _set_masses_(
    system: openmm.System, carriers: list[Int[np.ndarray, "_"]], weights: list[Float[np.ndarray, "_"]]
) -> None:
    """Give the atoms of each bead of several atoms masses in proportion to their weights, in place."""
    for atoms, own in zip(carriers, weights, strict=True):
        if len(atoms) > 1:
            total = sum(system.getParticleMass(int(atom))._value for atom in atoms)
            for atom, weight in zip(atoms.tolist(), own.tolist(), strict=True):
                system.setParticleMass(atom, total * weight)


def _hold_atoms_(system: openmm.System, atoms: set[int]) -> None:
    """Make atoms immobile, in place."""
    is_bonded = set()
    for number in reversed(range(system.getNumConstraints())):
        first, second, _ = system.getConstraintParameters(number)
        if first in atoms and second in atoms:
            # neither moves
            system.removeConstraint(number)
        else:
            is_bonded |= {first, second} & atoms
    for atom in atoms:
        system.setParticleMass(atom, HEAVY if atom in is_bonded else 0.0)


def _refuse_crossing_bonds(
    system: openmm.System,
    owner: Int[np.ndarray, "atoms"],
    is_single: np.ndarray,
    names: tuple[str, ...] | None,
) -> None:
    for number in range(system.getNumConstraints()):
        pair = system.getConstraintParameters(number)[:2]
        for atom, other in (pair, pair[::-1]):
            bead = int(owner[atom])
            if bead >= 0 and not is_single[bead] and owner[other] != bead:
                raise InputError(
                    f"atom {atom} of bead {_label(bead, names)} is rigidly bonded to atom {other} outside the bead, so "
                    "the bead cannot be held",
                    fix="Sample without constraints, put both atoms into the bead, or use a bead of one atom.",
                )


def _build_projection(
    system: openmm.System, beads: list[tuple[Int[np.ndarray, "_"], Float[np.ndarray, "_"]]]
) -> openmm.CustomCentroidBondForce:
    """Return a force that, of velocities in the place of positions, is -Cᵀ (C M⁻¹ Cᵀ)⁻¹ C v."""
    force = openmm.CustomCentroidBondForce(1, "0.5*k*(x1^2+y1^2+z1^2)")
    force.addPerBondParameter("k")
    force.setUsesPeriodicBoundaryConditions(False)
    force.setForceGroup(_PROJECTION)
    for number, (atoms, weights) in enumerate(beads):
        masses = np.array([system.getParticleMass(int(atom))._value for atom in atoms])
        force.addGroup(atoms.tolist(), weights.tolist())
        force.addBond([number], [1.0 / float(np.sum(weights**2 / masses))])
    return force


def _build_projected_integrator(temperature: float, friction: float, timestep: float) -> openmm.CustomIntegrator:
    integrator = openmm.CustomIntegrator(timestep)
    decay = float(np.exp(-friction * timestep))
    for name, value in (("a", decay), ("b", np.sqrt(1.0 - decay**2)), ("kT", GAS_CONSTANT * temperature)):
        integrator.addGlobalVariable(name, value)
    integrator.addPerDofVariable("x0", 0.0)

    def project() -> None:
        integrator.addComputePerDof("x0", "x")
        integrator.addComputePerDof("x", "v")
        integrator.addComputePerDof("v", f"v+f{_PROJECTION}/m")
        integrator.addComputePerDof("x", "x0")

    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", f"v+dt*f{min(FORCES)}/m")
    project()
    integrator.addConstrainVelocities()
    integrator.addComputePerDof("x", "x+0.5*dt*v")
    integrator.addComputePerDof("v", "a*v+b*sqrt(kT/m)*gaussian")
    project()
    integrator.addComputePerDof("x", "x+0.5*dt*v")
    integrator.addComputePerDof("x0", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v+(x-x0)/dt")
    return integrator


def _find_longest_timestep(system: openmm.System) -> float:
    """Return the longest timestep that the lightest moving atoms allow [ps]; rigid bonds leave the slower motions."""
    is_rigid = {atom for n in range(system.getNumConstraints()) for atom in system.getConstraintParameters(n)[:2]}
    longest = 0.004
    for atom in range(system.getNumParticles()):
        mass = system.getParticleMass(atom)._value
        if 0.0 < mass < _LIGHT:
            longest = min(longest, 0.002 if atom in is_rigid else 0.001)
        elif 0.0 < mass < _HEAVIER and atom not in is_rigid:
            longest = min(longest, 0.002)
    return longest


def _label(bead: int, names: tuple[str, ...] | None) -> str:
    return str(bead) if names is None else f"{bead} ('{names[bead]}')"
