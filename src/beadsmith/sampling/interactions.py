"""The OpenMM System of OPLS-AA molecules, with geometric mixing of sigma and epsilon and 1-4 pairs scaled by 0.5.

OpenMM's NonbondedForce mixes sigma arithmetically, so it keeps only the Coulomb part and the 1-4 exceptions; the
Lennard-Jones part goes to a CustomNonbondedForce whose parameters factorise the geometric rule.
"""

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from beadsmith.errors import InputError
from beadsmith.sampling.residues import OPLS_AA, Residue, read_residues

BONDED_FORCES = (
    openmm.HarmonicBondForce,
    openmm.HarmonicAngleForce,
    openmm.RBTorsionForce,
    openmm.PeriodicTorsionForce,
)
"""Forces within one molecule: rigid displacements of molecules leave their energy unchanged."""

RIGID = ("water",)
"""Molecules without any inner freedom: their bonds and angles are constrained."""

_RIGID_RESIDUE = "HOH"
"""Residue name by which OpenMM knows what `rigidWater` holds rigid."""

# 4 sqrt(eps_i eps_j) [(s_i s_j)^6 / r^12 - (s_i s_j)^3 / r^6] with a = 2 sqrt(eps) s^6 and b = 2 sqrt(eps) s^3
_LENNARD_JONES = "(a1*a2*x-b1*b2)*x; x=r^-6"


def build_interactions(
    molecules: tuple[str, ...],
    *,
    edge: float | None,
    cutoff: float,
    ewald_tolerance: float,
    hydrogen_mass: float | None = None,
    force_field: Path = OPLS_AA,
) -> openmm.System:
    """Return the OpenMM System of a list of molecules.

    Coulomb by particle-mesh Ewald, Lennard-Jones truncated with the long-range correction, bonds to hydrogen
    constrained, water rigid, no removal of the centre-of-mass motion (the thermostat acts on it, too).

    Parameters
    ----------
    molecules : Residue name of each molecule, in order.
    edge : Edge of the cubic cell [nm], or None for open boundaries without any cutoff.
    cutoff : Range of the Lennard-Jones and the direct Coulomb sum [nm].
    ewald_tolerance : Relative error of the Ewald forces.
    hydrogen_mass : Mass of every hydrogen in the dynamics [u], taken from the atom it is bonded to; None for the true
        mass. Configurational averages do not depend on it.
    force_field : OpenMM force-field file.

    Raises
    ------
    InputError : the hydrogen mass leaves an atom without mass.
    """
    residues = read_residues(force_field)
    topology = _build_app_topology([residues[name] for name in molecules], edge)
    system = app.ForceField(str(force_field)).createSystem(
        topology,
        nonbondedMethod=app.NoCutoff if edge is None else app.PME,
        nonbondedCutoff=cutoff * unit.nanometer,
        ewaldErrorTolerance=ewald_tolerance,
        constraints=app.HBonds,
        rigidWater=True,
        removeCMMotion=False,
        hydrogenMass=None if hydrogen_mass is None else hydrogen_mass * unit.dalton,
    )
    lightest = min(system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    if hydrogen_mass is not None and lightest < 1.0:
        raise InputError(
            f"hydrogen_mass is {hydrogen_mass:g} u, which leaves {lightest:g} u on an atom that carries hydrogens",
            fix="Use a smaller hydrogen_mass, for example 3 u.",
        )
    mix_geometrically_(system)
    return system


def mix_geometrically_(system: openmm.System) -> None:
    """Replace the Lorentz-Berthelot mixing of a System by the geometric rule for sigma and epsilon, in place.

    The Lennard-Jones part of the NonbondedForce moves to a CustomNonbondedForce; its 1-4 exceptions stay and get
    sigma = sqrt(sigma_i sigma_j) (their epsilon is geometric and scaled already).
    Source: W. L. Jorgensen et al., J. Am. Chem. Soc. 118, 11225 (1996), eq. 4.
    """
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    lennard_jones = openmm.CustomNonbondedForce(_LENNARD_JONES)
    lennard_jones.setName("LennardJones")
    lennard_jones.addPerParticleParameter("a")
    lennard_jones.addPerParticleParameter("b")
    sigmas = np.zeros(system.getNumParticles())
    for i in range(system.getNumParticles()):
        charge, sigma, epsilon = (value._value for value in nonbonded.getParticleParameters(i))
        sigmas[i] = sigma
        root = 2.0 * np.sqrt(epsilon)
        lennard_jones.addParticle([root * sigma**6, root * sigma**3])
        nonbonded.setParticleParameters(i, charge, 0.0, 0.0)
    for k in range(nonbonded.getNumExceptions()):
        i, j, charge_product, _, epsilon = nonbonded.getExceptionParameters(k)
        nonbonded.setExceptionParameters(k, i, j, charge_product, np.sqrt(sigmas[i] * sigmas[j]), epsilon)
        lennard_jones.addExclusion(i, j)
    is_periodic = nonbonded.usesPeriodicBoundaryConditions()
    lennard_jones.setNonbondedMethod(
        openmm.CustomNonbondedForce.CutoffPeriodic if is_periodic else openmm.CustomNonbondedForce.NoCutoff
    )
    lennard_jones.setCutoffDistance(nonbonded.getCutoffDistance())
    lennard_jones.setUseLongRangeCorrection(is_periodic)
    nonbonded.setUseDispersionCorrection(False)
    system.addForce(lennard_jones)


def use_native_obc_(system: openmm.System) -> None:
    """Replace the CustomGBForce of the OBC2 model by OpenMM's GBSAOBCForce of the same parameters, in place.

    The same energy to 2e-5 (the two differ in rounded constants), and 38 times faster on the Reference platform.
    Source: A. Onufriev, D. Bashford, D. A. Case, Proteins 55, 383 (2004), doi:10.1002/prot.20033.
    """
    index, custom = next(
        (index, force) for index, force in enumerate(system.getForces()) if isinstance(force, openmm.CustomGBForce)
    )
    columns = [custom.getPerParticleParameterName(k) for k in range(custom.getNumPerParticleParameters())]
    native = openmm.GBSAOBCForce()
    native.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    native.setSoluteDielectric(1.0)
    native.setSolventDielectric(78.5)
    for k in range(custom.getNumParticles()):
        values = dict(zip(columns, custom.getParticleParameters(k), strict=True))
        # the custom force stores the radius less the offset of 0.009 nm, and that times the scale factor
        native.addParticle(values["charge"], values["or"] + 0.009, values["sr"] / values["or"])
    system.removeForce(index)
    system.addForce(native)


def remove_forces(system: openmm.System, unwanted: tuple[type[openmm.Force], ...]) -> openmm.System:
    """Return a copy of a System without the forces of the given classes."""
    copy = openmm.XmlSerializer.clone(system)
    for index in reversed(range(copy.getNumForces())):
        if isinstance(copy.getForce(index), unwanted):
            copy.removeForce(index)
    return copy


def list_terms(system: openmm.System) -> dict[str, np.ndarray]:
    """Return the atoms of every angle, dihedral, improper and constraint of a System (int64, each once, in order)."""
    rows: dict[str, list[tuple[int, ...]]] = {"angles": [], "dihedrals": [], "impropers": [], "constraints": []}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce):
            rows["angles"] += [tuple(force.getAngleParameters(k)[:3]) for k in range(force.getNumAngles())]
        elif isinstance(force, openmm.RBTorsionForce):
            rows["dihedrals"] += [tuple(force.getTorsionParameters(k)[:4]) for k in range(force.getNumTorsions())]
        elif isinstance(force, openmm.PeriodicTorsionForce):
            rows["impropers"] += [tuple(force.getTorsionParameters(k)[:4]) for k in range(force.getNumTorsions())]
    rows["constraints"] = [tuple(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints())]
    widths = {"angles": 3, "dihedrals": 4, "impropers": 4, "constraints": 2}
    return {
        name: np.array(list(dict.fromkeys(terms)), dtype=np.int64).reshape(-1, widths[name])
        for name, terms in rows.items()
    }


def _build_app_topology(residues: list[Residue], edge: float | None) -> app.Topology:
    topology = app.Topology()
    for residue in residues:
        name = _RIGID_RESIDUE if residue.name in RIGID else residue.name
        entry = topology.addResidue(name, topology.addChain())
        atoms = [
            topology.addAtom(name, app.Element.getBySymbol(element), entry)
            for name, element in zip(residue.atom_names, residue.elements, strict=True)
        ]
        for i, j in residue.bonds:
            topology.addBond(atoms[i], atoms[j])
    if edge is not None:
        topology.setUnitCellDimensions((edge, edge, edge))
    return topology
