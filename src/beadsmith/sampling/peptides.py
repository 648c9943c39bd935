"""Peptides and small proteins with OpenMM's own force fields: settings, topology, System and starting positions."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import openmm
from jaxtyping import Float
from openmm import app, unit

from beadsmith.errors import InputError
from beadsmith.sampling.amino_acids import expand_sequence
from beadsmith.sampling.interactions import use_native_obc_
from beadsmith.sampling.peptide_starts import Backbone, build_backbone, read_pdb, read_structure
from beadsmith.sampling.peptide_topology import build_peptide_topology
from beadsmith.sampling.systems import AtomisticSystem, ReplicaStarts
from beadsmith.units import Unit

ForceFieldName = Literal["ff14SB", "ff99SB-ILDN", "ff19SB", "charmm36"]
Solvent = Literal["obc2", "gbn2", "vacuum", "tip3p"]

_PROTEIN_FILES = {
    "ff14SB": "amber14/protein.ff14SB.xml",
    "ff99SB-ILDN": "amber99sbildn.xml",
    "ff19SB": "amber19/protein.ff19SB.xml",
    "charmm36": "charmm36.xml",
}
_WATER_FILES = {
    "ff14SB": "amber14/tip3p.xml",
    "ff99SB-ILDN": "tip3p.xml",
    "ff19SB": "amber19/tip3p.xml",
    "charmm36": "charmm36/water.xml",
}
_IMPLICIT_FILES = {"obc2": "implicit/obc2.xml", "gbn2": "implicit/gbn2.xml"}

_MADE_FOR_L = ("ff19SB", "charmm36")
"""Force fields whose energy maps of phi and psi (CMAP) are not those of the mirror image."""


@dataclass(frozen=True, kw_only=True)
class PeptideSettings:
    """One peptide or small protein with a force field that OpenMM ships, in implicit solvent, vacuum or water."""

    kind: Literal["peptide"] = "peptide"
    """A peptide from its sequence or from a PDB file."""
    sequence: str | None = None
    """One-letter codes, for example YYDPETGTWY, or three-letter codes joined by '-', for example ACE-ALA-NME."""
    pdb: str | None = None
    """PDB file with all heavy atoms, instead of a sequence; hydrogens are replaced and water is removed."""
    force_field: ForceFieldName = "ff14SB"
    """Force field of the peptide; charmm36 has no caps ACE and NME."""
    solvent: Solvent = "obc2"
    """Implicit water obc2 (fast) or gbn2, explicit water tip3p, or vacuum."""
    termini: Literal["capped", "charged"] = "capped"
    """Ends of a sequence: capped adds ACE and NME where they are not written, charged leaves NH3+ and COO-."""
    ph: float = 7.0
    """pH that decides which residues carry a proton."""
    start: Backbone = "random"
    """Backbone of the starts of a sequence: random draws each residue from beta, polyproline II or helix."""
    structures: tuple[str, ...] = ()
    """PDB files of the same peptide as further starts: replicas take these and 'start' in turn."""
    chirality: Literal["L", "D"] = "L"
    """Handedness of all residues of a sequence: with D every start is the mirror image of the L peptide's, side chains
    included, and so is its distribution. Only force fields without CMAP know no left and right of their own."""
    constraints: Literal["hydrogen", "none"] = "hydrogen"
    """Constrain all bonds to hydrogen, or none of the peptide's bonds."""
    padding: Annotated[float, Unit("nm")] = 1.0
    """Least distance between the peptide and its periodic images, with tip3p."""
    ionic_strength: Annotated[float, Unit("mol/l")] = 0.0
    """Concentration of NaCl with tip3p, in addition to the ions that neutralise the peptide."""
    save: Literal["solute", "all"] = "solute"
    """Atoms in the saved frames, with tip3p; forces on the solute include those of the water, so the mapped mean force
    is the same."""

    def __post_init__(self) -> None:
        """Refuse a peptide that cannot be built.

        Raises
        ------
        InputError : not exactly one of sequence and PDB is given, the sequence is wrong, or a value is out of range.
        """
        if (self.sequence is None) == (self.pdb is None):
            given = "neither is" if self.sequence is None else "both are"
            raise InputError(
                f"a peptide needs either a 'sequence' or a 'pdb', {given} given",
                fix="Write for example sequence: ACE-ALA-NME, or pdb: chignolin.pdb.",
            )
        if self.sequence is not None:
            self._check_sequence(self.list_residues())
        self._check_chirality()
        self._check_structures()
        if not 0.0 <= self.ph <= 14.0:
            raise InputError(f"ph is {self.ph}, expected between 0 and 14")
        if not 0.3 <= self.padding <= 10.0:
            raise InputError(f"padding is {self.padding} nm, expected between 0.3 and 10 nm")
        if not 0.0 <= self.ionic_strength <= 5.0:
            raise InputError(f"ionic_strength is {self.ionic_strength} mol/l, expected between 0 and 5 mol/l")
        if self.solvent != "tip3p" and self.ionic_strength > 0.0:
            raise InputError(
                f"ionic_strength is {self.ionic_strength:g} mol/l, but solvent is {self.solvent}, which has no ions",
                fix="Use solvent: tip3p, or remove ionic_strength.",
            )

    def _check_chirality(self) -> None:
        if self.chirality == "L":
            return
        if self.pdb is not None:
            raise InputError(
                "chirality is D, but the coordinates come from a PDB file",
                fix="Remove chirality: a file is taken as it is.",
            )
        if self.force_field in _MADE_FOR_L:
            raise InputError(
                f"chirality is D, but force_field {self.force_field} has energy maps that hold for L residues alone",
                fix="Use ff14SB or ff99SB-ILDN.",
            )

    def _check_structures(self) -> None:
        if not self.structures:
            return
        if self.pdb is not None:
            raise InputError(
                f"structures are {', '.join(self.structures)}, but all replicas start from the pdb '{self.pdb}'",
                fix="Write the sequence instead of the pdb, and the pdb among the structures.",
            )
        if self.is_periodic:
            raise InputError(
                f"structures are {', '.join(self.structures)}, but in water all replicas start from one box",
                fix="Use implicit water, for example solvent: obc2, or the pdb instead of the sequence.",
            )
        if self.chirality == "D":
            raise InputError(
                "structures are given, but chirality is D, and files are taken as they are",
                fix="Remove one of them.",
            )

    def _check_sequence(self, residues: tuple[str, ...]) -> None:
        has_caps = "ACE" in residues or "NME" in residues
        if self.termini == "charged" and has_caps:
            raise InputError(
                f"termini is charged, but the sequence '{self.sequence}' has caps",
                fix="Remove ACE and NME from the sequence, or use termini: capped.",
            )
        if self.force_field == "charmm36" and has_caps:
            raise InputError(
                "force_field is charmm36, which has no caps ACE and NME in OpenMM",
                fix="Use an Amber force field, for example ff14SB, or termini: charged.",
            )
        if self.termini == "charged" and len(residues) < 2:
            raise InputError(
                f"sequence is '{self.sequence}', and no force field has a single amino acid with charged ends",
                fix="Use termini: capped.",
            )

    def list_residues(self) -> tuple[str, ...]:
        """Return the three-letter codes of the sequence with its caps, or none for a PDB file."""
        if self.sequence is None:
            return ()
        residues = expand_sequence(self.sequence)
        if self.termini == "capped":
            residues = (() if residues[0] == "ACE" else ("ACE",)) + residues
            residues += () if residues[-1] == "NME" else ("NME",)
        return residues

    def list_files(self) -> list[str]:
        """Return the PDB files that starts are read from."""
        return list(self.structures) if self.pdb is None else [self.pdb]

    def describe(self) -> str:
        """Return one line for a person: what it is made of, its force field and its solvent."""
        name = "-".join(self.list_residues()) or str(self.pdb)
        return f"{'D form of ' if self.chirality == 'D' else ''}{name}; {self.force_field}; {self.solvent}"

    @property
    def is_periodic(self) -> bool:
        """Whether the peptide is in a box of water."""
        return self.solvent == "tip3p"


def build_peptide(
    settings: PeptideSettings,
    *,
    n_starts: int,
    seed: int,
    cutoff: float = 0.9,
    ewald_tolerance: float = 5e-4,
    hydrogen_mass: float | None = None,
) -> ReplicaStarts:
    """Return the OpenMM System of a peptide and the starts of its replicas.

    The starts of a sequence in implicit solvent differ in their backbones, and its replicas take structures and built
    backbones in turn; `pdb`, and a box of water, which has the same number of molecules in every replica, start all
    replicas from the same coordinates.

    Parameters
    ----------
    settings : The peptide.
    n_starts : Number of replicas.
    seed : Fixes all starts.
    cutoff : Range of the Lennard-Jones and the direct Coulomb sum in a box of water [nm]; without a box there is none.
    ewald_tolerance : Relative error of the Ewald forces.
    hydrogen_mass : Mass of each hydrogen of the peptide in the dynamics [u], taken from the atom it is bonded to, or
        None for the true mass.

    Raises
    ------
    InputError : a PDB file is missing, incomplete, of another peptide or has residues that the force field does not
        know; the cutoff does not fit into the box.
    """
    generator = np.random.default_rng(seed)
    force_field = load_force_field(settings)
    n_built = n_starts if settings.sequence is not None and not settings.is_periodic else 1
    with _fixed_random(seed):
        first = _build_heavy(settings, 0, generator)
        variants = _add_hydrogens_(first, force_field, settings, None)
        shapes = [_to_array(first)]
        for replica in range(1, n_built):
            other = _build_heavy(settings, replica, generator)
            _add_hydrogens_(other, force_field, settings, variants)
            shapes.append(_to_array(other))
        n_solute = first.topology.getNumAtoms()
        if settings.is_periodic and settings.save == "solute":
            _refuse_several_chains(first)
        if settings.is_periodic:
            _add_water_(first, force_field, settings, cutoff)
            shapes = [_to_array(first)]
    system = create_system(
        first.topology,
        force_field,
        settings,
        cutoff=cutoff,
        ewald_tolerance=ewald_tolerance,
        hydrogen_mass=hydrogen_mass,
    )
    n_saved = n_solute if settings.save == "solute" else None
    topology = build_peptide_topology(first.topology, system, n_saved=n_saved)
    if settings.chirality == "D":
        shapes = [_mirror(shape) for shape in shapes]
    lengths = first.topology.getUnitCellDimensions()
    atoms = AtomisticSystem(
        topology=topology,
        system=system,
        positions=shapes[0],
        edge=float(lengths[0].value_in_unit(unit.nanometer)) if settings.is_periodic else None,
    )
    return ReplicaStarts(atoms=atoms, positions=np.stack([shapes[r % n_built] for r in range(n_starts)]))


def load_force_field(settings: PeptideSettings) -> app.ForceField:
    """Return OpenMM's force field of a peptide and its solvent."""
    files = [_PROTEIN_FILES[settings.force_field]]
    if settings.is_periodic:
        files.append(_WATER_FILES[settings.force_field])
    elif settings.solvent in _IMPLICIT_FILES:
        files.append(_IMPLICIT_FILES[settings.solvent])
    return app.ForceField(*files)


def create_system(
    topology: app.Topology,
    force_field: app.ForceField,
    settings: PeptideSettings,
    *,
    cutoff: float,
    ewald_tolerance: float,
    hydrogen_mass: float | None,
) -> openmm.System:
    """Return the OpenMM System of a complete topology; see `build_peptide` for the parameters.

    Raises
    ------
    InputError : the hydrogen mass leaves an atom without mass.
    """
    system = force_field.createSystem(
        topology,
        nonbondedMethod=app.PME if settings.is_periodic else app.NoCutoff,
        nonbondedCutoff=cutoff * unit.nanometer,
        ewaldErrorTolerance=ewald_tolerance,
        constraints=app.HBonds if settings.constraints == "hydrogen" else None,
        rigidWater=True,
        removeCMMotion=False,
        hydrogenMass=None if hydrogen_mass is None else hydrogen_mass * unit.dalton,
    )
    lightest = min(system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    if lightest < 1.0:
        raise InputError(
            f"hydrogen_mass is {hydrogen_mass:g} u, which leaves {lightest:g} u on an atom that carries hydrogens",
            fix="Use a smaller hydrogen_mass, for example 3 u.",
        )
    if settings.solvent == "obc2":
        use_native_obc_(system)
    return system


def _build_heavy(settings: PeptideSettings, replica: int, generator: np.random.Generator) -> app.Modeller:
    """Return the heavy atoms at the start of a replica."""
    if settings.pdb is not None:
        return read_pdb(Path(settings.pdb))
    turn = replica % (len(settings.structures) + 1)
    if turn < len(settings.structures):
        return read_structure(settings.list_residues(), Path(settings.structures[turn]))
    return build_backbone(settings.list_residues(), settings.start, generator)


def _add_hydrogens_(
    modeller: app.Modeller, force_field: app.ForceField, settings: PeptideSettings, variants: list[str] | None
) -> list[str]:
    """Add hydrogens, in place, and return the protonation of each residue."""
    reference = openmm.Platform.getPlatformByName("Reference")
    try:
        return modeller.addHydrogens(force_field, pH=settings.ph, variants=variants, platform=reference)
    except ValueError as error:
        what = str(error).split(". ")[0].rstrip(".")
        raise InputError(
            f"{settings.force_field} cannot describe the peptide: {what}",
            where=None if settings.pdb is None else f"file '{settings.pdb}'",
            fix="Remove ligands, ions and non-standard residues, complete missing atoms, and end each chain with OXT "
            "or a cap.",
        ) from error


def _add_water_(modeller: app.Modeller, force_field: app.ForceField, settings: PeptideSettings, cutoff: float) -> None:
    modeller.addSolvent(
        force_field,
        model="tip3p",
        padding=settings.padding * unit.nanometer,
        ionicStrength=settings.ionic_strength * unit.molar,
    )
    edge = min(modeller.topology.getUnitCellDimensions().value_in_unit(unit.nanometer))
    if 2.0 * cutoff > edge:
        raise InputError(
            f"cutoff is {cutoff:.4g} nm, more than half of the water box of {edge:.4g} nm",
            fix=f"Use a padding of at least {min(cutoff, settings.padding + 2.0 * cutoff - edge) + 0.01:.2f} nm.",
        )


def _refuse_several_chains(modeller: app.Modeller) -> None:
    """Refuse to save molecules without their box, whose distances are those of arbitrary images."""
    n_molecules = build_peptide_topology(modeller.topology, openmm.System()).n_molecules
    if n_molecules > 1:
        raise InputError(
            f"save is solute, but the peptide has {n_molecules} molecules, whose distances need the box",
            fix="Use save: all, and name water and ions under mapping.omit.",
        )


def _to_array(modeller: app.Modeller) -> Float[np.ndarray, "atoms 3"]:
    return np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)


def _mirror(positions: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "atoms 3"]:
    """Return the mirror image in a plane through the middle of the atoms; water stays in its box."""
    mirrored = positions.copy()
    mirrored[:, 0] = positions[:, 0].min() + positions[:, 0].max() - positions[:, 0]
    return mirrored


@contextmanager
def _fixed_random(seed: int) -> Iterator[None]:
    """Fix the global random numbers, by which OpenMM's Modeller places hydrogens and ions, and put them back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
