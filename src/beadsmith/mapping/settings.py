"""What a user may say about the mapping: a scheme, beads of one's own, files of other programs, and the force map."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from beadsmith.errors import InputError
from beadsmith.units import Unit

Scheme = Literal["center_of_mass", "residue", "alpha_carbon", "backbone", "backbone_cb", "core_cbeta"]
ForceMap = Literal["optimal", "sum", "uniform", "slice"]


@dataclass(frozen=True, kw_only=True)
class BeadDefinition:
    """One bead of a residue or molecule: its atoms and what it is."""

    name: str
    """Name of the bead, unique within its residue or molecule."""
    atoms: tuple[str, ...]
    """Its atoms by name. In a molecule of several residues also RESIDUE:NAME and NUMBER:RESIDUE:NAME; #5 is the fifth
    atom of the molecule."""
    type: str | None = None
    """Type; beads of equal type share all parameters. None builds it from residue and bead name (see types)."""
    weights: Literal["mass", "geometry", "atom"] = "mass"
    """Position of the bead: the centre of mass of its atoms, their mean, or the first atom alone."""
    factors: tuple[float, ...] = ()
    """Factor of each atom on top of these weights; with geometry, the weights themselves."""
    mass: Annotated[float, Unit("u")] | None = None
    """Mass; None takes the sum over its atoms, an atom of several beads being shared out."""

    def __post_init__(self) -> None:
        """Refuse a bead that cannot be one.

        Raises
        ------
        InputError : the bead has no name, no atoms, an atom twice, impossible factors or a mass that is not positive.
        """
        if not self.name or not self.atoms:
            raise InputError(f"bead '{self.name}' needs a name and at least one entry in 'atoms'")
        if len(set(self.atoms)) < len(self.atoms):
            twice = next(atom for atom in self.atoms if self.atoms.count(atom) > 1)
            raise InputError(
                f"atoms of bead '{self.name}' name '{twice}' twice", fix="Give it a larger factor instead."
            )
        if self.factors and len(self.factors) != len(self.atoms):
            raise InputError(f"factors of bead '{self.name}' are {len(self.factors)} for {len(self.atoms)} atoms")
        if self.factors and not (min(self.factors) >= 0.0 and sum(self.factors) > 0.0):
            raise InputError(f"factors of bead '{self.name}' are {self.factors}, expected none negative, not all 0")
        if self.factors and self.weights == "atom":
            raise InputError(f"factors of bead '{self.name}' have no meaning with 'weights: atom'")
        if self.mass is not None and not self.mass > 0.0:
            raise InputError(f"mass of bead '{self.name}' is {self.mass} u, expected > 0")


@dataclass(frozen=True, kw_only=True)
class MoleculeBeads:
    """The beads of one residue, or of a whole molecule."""

    name: str
    """Name of a residue, or of a molecule: the names of its residues joined by '-'. A molecule's entry comes first."""
    beads: tuple[BeadDefinition, ...]
    """The beads, in the order they shall have."""
    bonds: tuple[tuple[str, str], ...] | None = None
    """Bonds between these beads by name; None derives them from the bonds between atoms. Bonds to other residues are
    always derived, and angles and dihedrals follow from the bonds."""
    impropers: tuple[tuple[str, str, str, str], ...] = ()
    """Improper dihedrals by bead name, for example [N, CA, C, CB], which tells left from right."""

    def __post_init__(self) -> None:
        """Refuse beads of one name, and bonds to beads that are not there.

        Raises
        ------
        InputError : there is no bead, a bead name occurs twice, or a bond or improper names an unknown bead.
        """
        names = [bead.name for bead in self.beads]
        if not names:
            raise InputError(f"beads of '{self.name}' are missing", fix="To map nothing of it, name it under 'omit'.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"beads of '{self.name}' have the name '{twice}' twice")
        for field, terms in (("bonds", self.bonds or ()), ("impropers", self.impropers)):
            for term in terms:
                unknown = [name for name in term if name not in names]
                if unknown or len(set(term)) < len(term):
                    raise InputError(
                        f"{field} of '{self.name}' hold {list(term)}, expected different beads of {names}",
                    )


@dataclass(frozen=True, kw_only=True)
class MappingSettings:
    """How atoms become beads."""

    beads: Scheme = "center_of_mass"
    """Bead scheme for all that has no definition of its own. center_of_mass: one bead per molecule; residue: one bead
    per residue at its centre of mass. For peptides, one atom per bead: alpha_carbon; backbone (N, CA, C and those of
    the caps ACE and NME); backbone_cb (with CB); core_cbeta (with O and CB)."""
    definitions: tuple[MoleculeBeads, ...] = ()
    """Beads of one's own, per residue or molecule."""
    files: tuple[str, ...] = ()
    """Mapping files: definitions in a file of their own (.yaml), or those of VOTCA (.xml), OpenMSCG (.yaml) or
    Backward (.map). Of several for one residue the last counts, and one under definitions before all."""
    omit: tuple[str, ...] = ()
    """Residues that get no bead, for example water and ions around a peptide."""
    types: Literal["residue", "name", "graph"] = "residue"
    """Bead types without a name of their own: by residue and bead name, by bead name alone, or graph: by what the bead
    is made of and what is bonded to it, the same for the same fragment in any molecule."""
    graph_depth: int = 2
    """How many bonds between beads the surroundings reach that make a type with 'types: graph'; beads with a 'type' of
    their own start from it. 2 or 3 tells apart what is chemically different and keeps equal what is equal."""
    terminal_types: bool = False
    """Whether the first and the last residue of a chain have types of their own."""
    masses: Literal["simulation", "standard"] = "simulation"
    """Masses of the atoms: those of the simulation, in which hydrogens may be heavier, or those of the elements."""
    forces: ForceMap = "optimal"
    """Force map. optimal: the unbiased linear map of least noise. sum: all atoms of the bead count once. uniform: the
    atoms that carry its position count once; both with the atoms that are rigidly joined to them. slice: only the
    atoms that carry its position, refused where rigid bonds make that wrong."""
    regularization: float = 1e-6
    """Weight of the squared force-map weights against the mean squared force on an atom; keeps the optimum defined
    when there are fewer frames than atoms. The default is far below any physical stiffness."""
    noise_width: Annotated[float, Unit("nm")] | None = None
    """Width of Gaussian noise added to bead positions. The forces are then those of the blurred distribution: less
    noisy, but every well is wider by this much. None adds none."""
    noise_seed: int = 1
    """Seed of that noise."""
    chunk_frames: int | None = None
    """Frames held in memory at once and saved together; chosen from the number of atoms if not given."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        InputError : a value is out of range.
        """
        if self.beads not in get_args(Scheme):
            raise InputError(f"mapping.beads is '{self.beads}', expected one of {', '.join(get_args(Scheme))}")
        if self.forces not in get_args(ForceMap):
            raise InputError(f"mapping.forces is '{self.forces}', expected one of {', '.join(get_args(ForceMap))}")
        if not 0 <= self.graph_depth <= 20:
            raise InputError(f"mapping.graph_depth is {self.graph_depth}, expected 0 to 20; 2 or 3 is of use")
        if self.types == "graph" and self.terminal_types:
            raise InputError(
                "mapping.terminal_types is true with 'types: graph'",
                fix="Leave terminal_types away: beads near the ends of a chain differ by what is bonded to them.",
            )
        names = [definition.name for definition in self.definitions]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"mapping.definitions name '{twice}' twice")
        both = sorted(set(names) & set(self.omit))
        if both:
            raise InputError(f"mapping.omit names '{both[0]}', which has a definition")
        if not 0.0 <= self.regularization <= 1.0:
            raise InputError(f"mapping.regularization is {self.regularization}, expected 0 to 1")
        if self.noise_width is not None and not 0.0 < self.noise_width < 0.1:
            raise InputError(
                f"mapping.noise_width is {self.noise_width} nm, expected more than 0 and less than 0.1 nm",
                fix="Widths of use are 0.003 to 0.01 nm: small against the thermal spread of a bond.",
            )
        if self.noise_seed < 0:
            raise InputError(f"mapping.noise_seed is {self.noise_seed}, expected 0 or more")
        if self.chunk_frames is not None and self.chunk_frames < 1:
            raise InputError(f"mapping.chunk_frames is {self.chunk_frames}, expected at least 1")
