"""The GROMACS topology of an OpenMM System: every term is read from the System itself, so that both engines have one.

OPLS-AA as `beadsmith.sampling.interactions` builds it: bonds, angles, Ryckaert-Bellemans and improper torsions,
charges, Lennard-Jones with geometric mixing (combination rule 3), scaled 1-4 pairs, constraints, and masses after
hydrogens have been made heavier.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import openmm

from beadsmith.errors import InputError
from beadsmith.sampling.interactions import BONDED_FORCES
from beadsmith.topology import Topology

NAME_LENGTH = 5
"""Characters of an atom or residue name in GROMACS's files of fixed columns."""

_SECTIONS = ("bonds", "constraints", "pairs", "exclusions", "angles", "dihedrals")

# functional forms of GROMACS
_HARMONIC, _RYCKAERT_BELLEMANS, _IMPROPER, _CONSTRAINT, _PAIR = 1, 3, 4, 1, 1


@dataclass(frozen=True, kw_only=True)
class _Term:
    """One line of a molecule: its section, its atoms (numbers in the System) and the rest of the line."""

    section: str
    atoms: tuple[int, ...]
    text: str = ""


def format_topology(system: openmm.System, topology: Topology) -> str:
    """Return the text of a topology file, which includes no other file.

    Molecules with equal atoms and terms share one molecule type. GROMACS generates nothing on its own: exclusions
    and 1-4 pairs are those of the System.

    Parameters
    ----------
    system : Interactions from `beadsmith.sampling.interactions.build_interactions`.
    topology : Names of atoms and residues, and which atoms make a molecule.

    Raises
    ------
    InputError : the System has a force that this format cannot say, or 1-4 charges with different scale factors.
    """
    _refuse_other_forces(system)
    nonbonded = _find(system, openmm.NonbondedForce)
    type_of, types = _collect_types(_find(system, openmm.CustomNonbondedForce))
    charges = np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])
    names: dict[str, str] = {}
    blocks = []
    for number, block in enumerate(_format_molecules(system, topology, type_of, charges)):
        residue = topology.residue_names[number][:NAME_LENGTH] if topology.residue_names else "MOL"
        names.setdefault(block, f"{residue}_{len(names) + 1}")
        blocks.append(names[block])
    lines = [
        "; written by beadsmith from an OpenMM System: nm, kJ/mol, u",
        "[ defaults ]",
        "; nbfunc  comb-rule  gen-pairs  fudgeLJ  fudgeQQ",
        f"1 3 no 1.0 {_find_charge_scale(nonbonded, charges):.10g}",
        "\n[ atomtypes ]",
        "; name  mass  charge  ptype  sigma  epsilon",
        *types,
    ]
    for block, name in names.items():
        lines += ["\n[ moleculetype ]", "; exclusions are listed below", f"{name} 0", block]
    lines += ["\n[ system ]", "liquid", "\n[ molecules ]"]
    lines += [f"{name} {len(list(group))}" for name, group in groupby(blocks)]
    return "\n".join(lines) + "\n"


def _refuse_other_forces(system: openmm.System) -> None:
    known = (*BONDED_FORCES, openmm.NonbondedForce, openmm.CustomNonbondedForce, openmm.CMMotionRemover)
    for force in system.getForces():
        if not isinstance(force, known):
            raise InputError(
                f"the force '{force.getName()}' has no counterpart in the GROMACS topology", fix="Use engine: openmm."
            )


def _find(system: openmm.System, kind: type[openmm.Force]) -> openmm.Force:
    return next(force for force in system.getForces() if isinstance(force, kind))


def _collect_types(lennard_jones: openmm.CustomNonbondedForce) -> tuple[list[str], list[str]]:
    """Return the atom type of each particle and the lines of all types.

    The System stores a = 2 sqrt(eps) sigma^6 and b = 2 sqrt(eps) sigma^3.
    """
    known: dict[tuple[float, float], str] = {}
    of_particle = []
    for i in range(lennard_jones.getNumParticles()):
        parameters = tuple(lennard_jones.getParticleParameters(i))
        of_particle.append(known.setdefault(parameters, f"LJ{len(known) + 1}"))
    lines = []
    for (a, b), name in known.items():
        sigma = (a / b) ** (1.0 / 3.0) if b else 0.0
        epsilon = b**2 / (4.0 * sigma**6) if b else 0.0
        lines.append(f"{name} 0.0 0.0 A {sigma:.12g} {epsilon:.12g}")
    return of_particle, lines


def _find_charge_scale(nonbonded: openmm.NonbondedForce, charges: np.ndarray) -> float:
    """Return the factor between the charge products of 1-4 pairs and those of their atoms; 1 if there is none."""
    scales = []
    for k in range(nonbonded.getNumExceptions()):
        i, j, product, _, _ = nonbonded.getExceptionParameters(k)
        if product._value and charges[i] * charges[j]:
            scales.append(product._value / (charges[i] * charges[j]))
    if not scales:
        return 1.0
    if np.ptp(scales) > 1e-6:
        raise InputError(
            f"1-4 charges are scaled by {min(scales):g} to {max(scales):g}, and GROMACS has one factor for all",
            fix="Use engine: openmm.",
        )
    return float(np.mean(scales))


def _format_molecules(
    system: openmm.System, topology: Topology, type_of: list[str], charges: np.ndarray
) -> Iterator[str]:
    """Give the lines of each molecule, atoms numbered from 1."""
    molecule_index = topology.molecule_index
    n_molecules = int(molecule_index[-1]) + 1
    starts = np.searchsorted(molecule_index, np.arange(n_molecules + 1))
    terms: list[dict[str, list[str]]] = [{section: [] for section in _SECTIONS} for _ in range(n_molecules)]
    for term in _list_terms(system):
        molecule = int(molecule_index[term.atoms[0]])
        numbers = " ".join(str(atom - int(starts[molecule]) + 1) for atom in term.atoms)
        terms[molecule][term.section].append(f"{numbers} {term.text}".rstrip())
    for molecule in range(n_molecules):
        lines = ["\n[ atoms ]", "; nr  type  resnr  residue  atom  cgnr  charge  mass"]
        for nr, atom in enumerate(range(starts[molecule], starts[molecule + 1]), start=1):
            lines.append(
                f"{nr} {type_of[atom]} 1 MOL {topology.names[atom][:NAME_LENGTH]} {nr} {charges[atom]:.10g} "
                f"{system.getParticleMass(atom)._value:.10g}"
            )
        for section, entries in terms[molecule].items():
            if section == "constraints" and (settle := _find_settle(entries, n_atoms=nr)):
                lines += ["\n[ settles ]", settle]
            elif entries:
                lines += [f"\n[ {section} ]", *entries]
        yield "\n".join(lines)


def _find_settle(constraints: list[str], *, n_atoms: int) -> str | None:
    """Return the line for a rigid triangle of one atom and two equal ones, which LINCS cannot hold, or None."""
    if n_atoms != 3 or len(constraints) != 3:
        return None
    lengths = {frozenset(words[:2]): words[3] for words in (line.split() for line in constraints)}
    first, second, third = (lengths[frozenset(pair)] for pair in ("12", "13", "23"))
    return f"1 1 {first} {third}" if first == second else None


def _list_terms(system: openmm.System) -> Iterator[_Term]:
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            yield from _list_exceptions(force)
        else:
            yield from _list_bonded(force)
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        yield _Term(section="constraints", atoms=(i, j), text=f"{_CONSTRAINT} {length._value:.10g}")


def _list_bonded(force: openmm.Force) -> Iterator[_Term]:
    """Give the bonds, angles or torsions of one force; both engines write them with the same formulas.

    Bonds k/2 (r - r0)², angles k/2 (θ - θ0)², torsions Σ c_n cos^n(φ - 180°) and k (1 + cos(n φ - φ0)).
    """
    if isinstance(force, openmm.HarmonicBondForce):
        for index in range(force.getNumBonds()):
            *atoms, length, constant = force.getBondParameters(index)
            text = f"{_HARMONIC} {length._value:.10g} {constant._value:.10g}"
            yield _Term(section="bonds", atoms=tuple(atoms), text=text)
    elif isinstance(force, openmm.HarmonicAngleForce):
        for index in range(force.getNumAngles()):
            *atoms, angle, constant = force.getAngleParameters(index)
            text = f"{_HARMONIC} {np.degrees(angle._value):.10g} {constant._value:.10g}"
            yield _Term(section="angles", atoms=tuple(atoms), text=text)
    elif isinstance(force, openmm.RBTorsionForce):
        for index in range(force.getNumTorsions()):
            parameters = force.getTorsionParameters(index)
            coefficients = " ".join(f"{value._value:.10g}" for value in parameters[4:])
            text = f"{_RYCKAERT_BELLEMANS} {coefficients}"
            yield _Term(section="dihedrals", atoms=tuple(parameters[:4]), text=text)
    elif isinstance(force, openmm.PeriodicTorsionForce):
        for index in range(force.getNumTorsions()):
            *atoms, periodicity, phase, constant = force.getTorsionParameters(index)
            text = f"{_IMPROPER} {np.degrees(phase._value):.10g} {constant._value:.10g} {periodicity}"
            yield _Term(section="dihedrals", atoms=tuple(atoms), text=text)


def _list_exceptions(nonbonded: openmm.NonbondedForce) -> Iterator[_Term]:
    """Give an exclusion for every exception, and a pair for those that keep an interaction."""
    for k in range(nonbonded.getNumExceptions()):
        i, j, product, sigma, epsilon = nonbonded.getExceptionParameters(k)
        yield _Term(section="exclusions", atoms=(i, j))
        if product._value or epsilon._value:
            text = f"{_PAIR} {sigma._value:.10g} {epsilon._value:.10g}"
            yield _Term(section="pairs", atoms=(i, j), text=text)
