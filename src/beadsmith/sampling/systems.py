"""What is in the box: settings for liquids and mixtures, and their topology, OpenMM System and starting positions."""

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import openmm
from jaxtyping import Float

from beadsmith.errors import InputError
from beadsmith.sampling.engine import Platform
from beadsmith.sampling.interactions import build_interactions, list_terms, remove_forces
from beadsmith.sampling.packing import embed_molecule, free_spacing, pack, place_on_lattice
from beadsmith.sampling.residues import Residue, read_residues
from beadsmith.topology import Topology
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

_PACKING_CUTOFF = 0.6
"""Range of the Lennard-Jones forces that separate overlapping molecules [nm]: beyond all repulsion."""

_REPULSIVE = 5.0
"""Lennard-Jones energy per molecule [kJ/mol] above which a relaxed box is compressed beyond any liquid."""


@dataclass(frozen=True, kw_only=True)
class MoleculeCount:
    """How many copies of one molecule there are."""

    name: str
    """Name of the molecule in the force field: methanol, methane, benzene, hexane or water."""
    count: int
    """Number of copies."""

    def __post_init__(self) -> None:
        """Refuse a molecule that the force field does not have, and a count below 1.

        Raises
        ------
        InputError : the name is unknown or the count is below 1.
        """
        known = read_residues()
        if self.name not in known:
            nearest = difflib.get_close_matches(self.name.lower(), known, n=1, cutoff=0.3)
            raise InputError(
                f"molecule '{self.name}' is not in the force field",
                fix=(f"Did you mean '{nearest[0]}'? " if nearest else "") + f"Known molecules: {', '.join(known)}.",
            )
        if self.count < 1:
            raise InputError(f"count of '{self.name}' is {self.count}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    """A liquid, a mixture or a cluster of molecules with OPLS-AA interactions."""

    kind: Literal["liquid"] = "liquid"
    """Molecules in a box, or in the open if there is neither density nor pressure."""
    molecules: tuple[MoleculeCount, ...]
    """Kinds of molecules and their numbers."""

    def __post_init__(self) -> None:
        """Refuse an empty system and a molecule that is named twice.

        Raises
        ------
        InputError : no molecule is given, or a name occurs twice.
        """
        if not self.molecules:
            raise InputError("molecules is empty", fix="Give at least one, for example {name: methanol, count: 256}.")
        names = [molecule.name for molecule in self.molecules]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"molecule '{name}' is given twice", fix="Add its counts into one entry.")

    def list_residues(self) -> list[Residue]:
        """Return the residue of every molecule, in the order of the sites."""
        known = read_residues()
        return [known[molecule.name] for molecule in self.molecules for _ in range(molecule.count)]

    @property
    def n_molecules(self) -> int:
        """Number of molecules of all kinds."""
        return sum(molecule.count for molecule in self.molecules)

    @property
    def mass(self) -> float:
        """Mass of all molecules [u]."""
        known = read_residues()
        return sum(molecule.count * known[molecule.name].mass for molecule in self.molecules)


@dataclass(frozen=True, kw_only=True)
class AtomisticSystem:
    """Everything an OpenMM run starts from."""

    topology: Topology
    """Atoms with their true masses, bonds (constrained ones included) and constraints."""
    system: openmm.System
    """OpenMM System; its masses may be repartitioned."""
    positions: Float[np.ndarray, "atoms 3"]
    """Starting positions [nm], molecules whole, overlaps relaxed."""
    edge: float | None
    """Edge of the cubic cell at the start [nm], or None for open boundaries."""


@dataclass(frozen=True, kw_only=True)
class ReplicaStarts:
    """A system and where its replicas start."""

    atoms: AtomisticSystem
    """Topology of the saved atoms, OpenMM System of all atoms, and the first start."""
    positions: Float[np.ndarray, "replicas atoms 3"]
    """Start of each replica [nm], all atoms."""


def box_edge(settings: SystemSettings, density: float) -> float:
    """Return the edge [nm] of the cubic box that holds the molecules at a density [u/nm³]."""
    return float((settings.mass / density) ** (1.0 / 3.0))


def check_box(settings: SystemSettings, *, density: float, cutoff: float) -> None:
    """Refuse a box into which the cutoff does not fit, or a density that no liquid of these molecules has.

    Raises
    ------
    InputError : the cutoff is longer than half the edge, or the density is above 3 g/cm³.
    """
    in_grams = density / GRAM_PER_CUBIC_CENTIMETRE
    if in_grams > 3.0:
        raise InputError(
            f"density is {in_grams:.3g} g/cm^3, but these molecules overlap at such a density",
            fix="Liquids of small organic molecules have 0.5 to 1.5 g/cm^3: check the unit.",
        )
    edge = box_edge(settings, density)
    if 2.0 * cutoff > edge:
        factor = (2.0 * cutoff / edge) ** 3
        counts = ", ".join(f"{m.name} {int(np.ceil(m.count * factor))}" for m in settings.molecules)
        longest = np.floor(500.0 * edge) / 1000.0
        raise InputError(
            f"cutoff is {cutoff:.4g} nm, more than half of the box of {edge:.4g} nm that "
            f"{settings.n_molecules} molecules fill at {in_grams:.4g} g/cm^3",
            fix=f"Use a cutoff of at most {longest:.3f} nm, or at least these counts: {counts}.",
        )


@lru_cache(maxsize=8)
def describe_liquid(settings: SystemSettings) -> Topology:
    """Return the topology of all molecules, without placing them anywhere.

    Kept, because a study asks for the same liquid for each of a hundred runs.
    """
    residues = settings.list_residues()
    names = tuple(residue.name for residue in residues)
    return _build_topology(residues, build_interactions(names, edge=None, cutoff=1.0, ewald_tolerance=5e-4))


def build_system(
    settings: SystemSettings,
    *,
    density: float | None,
    cutoff: float,
    seed: int,
    ewald_tolerance: float = 5e-4,
    hydrogen_mass: float | None = None,
) -> AtomisticSystem:
    """Return the OpenMM System, topology and relaxed starting positions of a liquid box or an open cluster.

    Parameters
    ----------
    settings : Kinds and numbers of molecules.
    density : Mass density of the cubic box [u/nm³], or None for a cluster without a box and without cutoffs.
    cutoff : Range of the Lennard-Jones and the direct Coulomb sum [nm].
    seed : Fixes the starting positions.
    ewald_tolerance : Relative error of the Ewald forces.
    hydrogen_mass : Mass of each hydrogen in the dynamics [u] (see `build_interactions`), or None for the true mass.

    Raises
    ------
    InputError : the cutoff does not fit into the box, or the molecules overlap at this density.
    """
    edge = None
    if density is not None:
        check_box(settings, density=density, cutoff=cutoff)
        edge = box_edge(settings, density)
    residues = settings.list_residues()
    system = build_interactions(
        tuple(residue.name for residue in residues),
        edge=edge,
        cutoff=cutoff,
        ewald_tolerance=ewald_tolerance,
        hydrogen_mass=hydrogen_mass,
    )
    positions = _start_positions(settings, system, edge, np.random.default_rng(seed))
    return AtomisticSystem(topology=_build_topology(residues, system), system=system, positions=positions, edge=edge)


def _build_topology(residues: list[Residue], system: openmm.System) -> Topology:
    sizes = [residue.n_atoms for residue in residues]
    molecule_index = np.repeat(np.arange(len(residues), dtype=np.int64), sizes)
    site_types = [name for residue in residues for name in residue.type_names]
    type_names = tuple(dict.fromkeys(site_types))
    starts = np.cumsum([0, *sizes[:-1]])
    bonds = [(start + i, start + j) for start, r in zip(starts.tolist(), residues, strict=True) for i, j in r.bonds]
    return Topology(
        names=tuple(name for residue in residues for name in residue.atom_names),
        types=np.array([type_names.index(name) for name in site_types], dtype=np.int64),
        type_names=type_names,
        elements=tuple(element for residue in residues for element in residue.elements),
        masses=np.array([mass for residue in residues for mass in residue.masses]),
        molecule_index=molecule_index,
        residue_index=molecule_index.copy(),
        residue_names=tuple(residue.name for residue in residues),
        bonds=np.array(bonds, dtype=np.int64).reshape(-1, 2),
        **list_terms(system),
    )


def _start_positions(
    settings: SystemSettings, system: openmm.System, edge: float | None, generator: np.random.Generator
) -> Float[np.ndarray, "atoms 3"]:
    shape_of = {}
    for molecule in settings.molecules:
        alone = build_interactions((molecule.name,), edge=None, cutoff=1.0, ewald_tolerance=5e-4)
        shape_of[molecule.name] = embed_molecule(alone, generator)
    shapes = [shape_of[residue.name] for residue in settings.list_residues()]
    if edge is None:
        side = np.ceil(len(shapes) ** (1.0 / 3.0)) * free_spacing(shapes)
        return np.concatenate(place_on_lattice(shapes, side, generator))

    # without charges: a hydroxyl hydrogen has no Lennard-Jones radius, so overlapping charges would collapse
    uncharged = remove_forces(system, (openmm.NonbondedForce,))
    for force in uncharged.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            force.setCutoffDistance(min(_PACKING_CUTOFF, force.getCutoffDistance()._value))
    # one thread sums in a fixed order: the same seed packs the same box
    context = Platform(name="CPU", threads=1).create_context(uncharged, openmm.VerletIntegrator(0.001))

    def relax(positions: np.ndarray, box: float, n_iterations: int) -> np.ndarray:
        context.setPeriodicBoxVectors(*(box * np.eye(3)))
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, 100.0, n_iterations)
        return context.getState(positions=True).getPositions(asNumpy=True)._value

    positions = pack(shapes, edge, generator, relax=relax)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    if not energy < _REPULSIVE * settings.n_molecules:
        density = settings.mass / edge**3 / GRAM_PER_CUBIC_CENTIMETRE
        raise InputError(
            f"density is {density:.4g} g/cm^3, but the molecules overlap at such a density: their packing energy "
            f"is {energy / settings.n_molecules:.3g} kJ/mol per molecule",
            fix="Use the density of the liquid (0.5 to 1 g/cm^3 for most), or give a pressure instead.",
        )
    return positions
