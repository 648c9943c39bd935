"""What a user may ask of molecules in the evaluation: coordinates, surfaces, basins, a structure, slow components.

Sites are named, never numbered: ``CA`` where the name is unique in the molecule, ``2:CA`` for the CA of its second
residue, ``ALA:CA`` where only one residue is called ALA.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from beadsmith.errors import InputError
from beadsmith.units import Unit

CoordinateKind = Literal["dihedral", "angle", "distance"]
_N_SITES = {"dihedral": 4, "angle": 3, "distance": 2}


@dataclass(frozen=True, kw_only=True)
class CoordinateDefinition:
    """One internal coordinate that is looked at in the evaluation."""

    name: str
    """Name on the page and in the results, for example ``omega``."""
    kind: CoordinateKind
    """What it is."""
    sites: tuple[str, ...]
    """The beads in order (4, 3 or 2): ``CA``, ``2:CA`` (second residue of the molecule) or ``ALA:CA``."""
    molecule: str | None = None
    """Name of the molecule; may be left out where only one kind of molecule has several beads."""

    def __post_init__(self) -> None:
        """Refuse a wrong number of sites.

        Raises
        ------
        InputError : the number of sites does not fit the kind, or the name is empty.
        """
        if not self.name.strip():
            raise InputError("'name' of a coordinate is empty")
        if len(self.sites) != _N_SITES[self.kind]:
            raise InputError(
                f"'sites' of the {self.kind} '{self.name}' has {len(self.sites)} entries, "
                f"expected {_N_SITES[self.kind]}"
            )


@dataclass(frozen=True, kw_only=True)
class SurfaceDefinition:
    """A free-energy surface over two coordinates."""

    x: str
    """Name of the horizontal coordinate."""
    y: str
    """Name of the vertical coordinate."""

    def __post_init__(self) -> None:
        """Refuse a surface over one coordinate.

        Raises
        ------
        InputError : both names are the same.
        """
        if self.x == self.y:
            raise InputError(f"the surface has '{self.x}' on both axes, expected two coordinates")


@dataclass(frozen=True, kw_only=True)
class CoordinateRange:
    """A range of one coordinate; for a dihedral it may run through 180 degrees (start above end)."""

    coordinate: str
    """Name of the coordinate."""
    start: float
    """Lower end, included, in the coordinate's unit (degrees or nm)."""
    end: float
    """Upper end, not included."""


@dataclass(frozen=True, kw_only=True)
class BasinDefinition:
    """A basin of the free-energy surface: all its ranges at once. Basins of equal name are united."""

    name: str
    """Name of the basin, for example ``alphaR``."""
    ranges: tuple[CoordinateRange, ...]
    """Ranges that must all hold: two make a rectangle."""

    def __post_init__(self) -> None:
        """Refuse a basin without ranges.

        Raises
        ------
        InputError : there is no range.
        """
        if not self.ranges:
            raise InputError(f"'ranges' of the basin '{self.name}' is empty, expected at least one")


@dataclass(frozen=True, kw_only=True)
class NativeSettings:
    """The structure that RMSD and native contacts are measured from."""

    frame: int = 0
    """Frame of the mapped reference that is the structure, counted from 0."""
    contact_distance: Annotated[float, Unit("nm")] = 0.8
    """Two beads are in native contact when they are closer than this in the structure."""
    separation: int = 3
    """Beads of residues that are fewer than this apart along the chain are no contact."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises
        ------
        InputError : a value is out of range.
        """
        if self.frame < 0:
            raise InputError(f"'frame' is {self.frame}, expected >= 0")
        if not self.contact_distance > 0.0:
            raise InputError(f"'contact_distance' is {self.contact_distance} nm, expected > 0")
        if self.separation < 1:
            raise InputError(f"'separation' is {self.separation}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class SlowModeSettings:
    """How the slow motions of a molecule are found."""

    lag: Annotated[float, Unit("ps")] = 10.0
    """Time lag of the independent components: beyond the fast vibrations, below the slowest relaxation."""
    features: Literal["all", "dihedrals", "distances"] = "all"
    """What the components are made of: sines and cosines of all dihedrals, distances of beads, or both."""
    n_components: int = 2
    """Number of slow components that reference and simulations are projected on."""
    n_states: int = 100
    """Number of states (k-means clusters) of the Markov state model."""
    reweight: bool = False
    """Whether the reference was sampled adaptively, so that its frames need the model's stationary weights."""
    seed: int = 0
    """Seed of the clustering."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises
        ------
        InputError : a value is out of range.
        """
        if not self.lag > 0.0:
            raise InputError(f"'lag' is {self.lag} ps, expected > 0")
        for name, least in (("n_components", 1), ("n_states", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"'{name}' is {getattr(self, name)}, expected at least {least}")


@dataclass(frozen=True, kw_only=True)
class MoleculeSettings:
    """What is measured on molecules of several beads. Peptides have phi, psi, their surfaces and basins by default."""

    coordinates: tuple[CoordinateDefinition, ...] = ()
    """Dihedrals, angles and distances to look at, beyond those a peptide has by its nature."""
    surfaces: tuple[SurfaceDefinition, ...] = ()
    """Pairs of coordinates to draw free-energy surfaces of, beyond phi and psi of each residue."""
    basins: tuple[BasinDefinition, ...] = ()
    """Basins whose populations are compared; where there is none, beta/PII, alphaR and phi > 0 of each residue."""
    native: NativeSettings | None = field(default_factory=NativeSettings)
    """Structure that RMSD and native contacts are measured from, for systems of one molecule; 'none' for no such."""
    slow_modes: SlowModeSettings | None = None
    """Slow components of the reference (TICA) that the simulation is projected on; 'none' leaves them out."""
    n_curve_bins: int = 60
    """Number of bins of the distribution of one coordinate."""
    n_surface_bins: tuple[int, int] = (36, 20)
    """Bins along each axis of a surface: the first is drawn, and the divergence is given for both."""

    def __post_init__(self) -> None:
        """Refuse names that are used twice, and too few bins.

        Raises
        ------
        InputError : two coordinates have the same name, or a number of bins is below 2.
        """
        names = [entry.name for entry in self.coordinates]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise InputError(f"two 'coordinates' are called '{repeated}'")
        if min(self.n_curve_bins, *self.n_surface_bins) < 2:
            raise InputError("'n_curve_bins' and 'n_surface_bins' must be at least 2")
