"""Which slow coordinates a force field is corrected in: settings, and their names looked up in its molecules."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from beadsmith.analysis.coordinates import Coordinate, default_basins, find_peptide_coordinates, resolve_coordinate
from beadsmith.analysis.definitions import BasinDefinition, CoordinateDefinition
from beadsmith.errors import InputError
from beadsmith.priors.coordinate_series import CoordinateSeries, SeriesCoordinate
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules
from beadsmith.training.correction_run import CorrectionRunSettings


@dataclass(frozen=True, kw_only=True)
class CorrectionSettings:
    """A series in slow coordinates on top of prior and network, for the populations of basins."""

    method: Literal["labels", "simulation"] = "labels"
    """Where the series comes from: `labels`, the forces that prior and network leave, which takes nothing from the
    populations of the reference and misses what other coordinates do along with these; or `simulation`, which runs
    prior and network and gives them the distribution that the reference has, exactly, for one molecule in a frame."""
    coordinates: tuple[str, ...] = ("phi", "psi")
    """Names of the slow coordinates. In a peptide, phi is that of every residue; those of one residue get products."""
    definitions: tuple[CoordinateDefinition, ...] = ()
    """Coordinates of your own, as under evaluation.molecules.coordinates; what a peptide has by its nature needs
    none."""
    basins: tuple[BasinDefinition, ...] = ()
    """Basins whose change of population is predicted; where there is none, beta/PII, alphaR and phi > 0 of peptides."""
    order: int = 6
    """Largest degree of the series. Blocks of frames left out in turn choose this or a lower one, or no correction."""
    weighting: Literal["noise", "equal"] = "noise"
    """Weight of force components, for labels: `noise` is the inverse covariance of the residual forces (generalised
    least squares), `equal` plain least squares."""
    ridge: float = 1e-3
    """Share of imagined frames without residual force, spread evenly over all values of the coordinates: they keep the
    series flat where there are no real frames, and change nothing where there are many. For a simulation, the same
    penalty in units of kT; ten times and a hundred times this are tried too, and left-out blocks choose."""
    n_blocks: int = 20
    """Contiguous blocks of frames, and groups of replicas, from which errors and held-out losses are taken."""
    simulation: CorrectionRunSettings = field(default_factory=CorrectionRunSettings)
    """The run of `method: simulation`."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        InputError : no coordinate or one named twice, or a value out of range.
        """
        if not self.coordinates or len(set(self.coordinates)) < len(self.coordinates):
            raise InputError(f"'coordinates' is {list(self.coordinates)}, expected one or more different names")
        if not 1 <= self.order <= 12:
            raise InputError(f"'order' is {self.order}, expected 1 to 12")
        if self.method not in ("labels", "simulation"):
            raise InputError(f"'method' is '{self.method}', expected 'labels' or 'simulation'")
        if self.weighting not in ("noise", "equal"):
            raise InputError(f"'weighting' is '{self.weighting}', expected 'noise' or 'equal'")
        if not 0.0 <= self.ridge <= 1.0:
            raise InputError(f"'ridge' is {self.ridge}, expected 0 to 1")
        if self.n_blocks < 4:
            raise InputError(f"'n_blocks' is {self.n_blocks}, expected at least 4")
        if self.method == "simulation" and self.simulation.replicas < 2 * self.n_blocks:
            raise InputError(
                f"'simulation.replicas' is {self.simulation.replicas}, expected at least two for each of the "
                f"{self.n_blocks} 'n_blocks'"
            )


@dataclass(frozen=True, kw_only=True)
class SlowSeries:
    """An empty series of one kind of molecule."""

    molecule: str
    """Name of the kind of molecule."""
    term: CoordinateSeries
    """The series; ranges of angles and distances are still open."""
    basins: tuple[BasinDefinition, ...]
    """Basins in its coordinates."""


def find_series(settings: CorrectionSettings, templates: tuple[Topology, ...]) -> tuple[SlowSeries, ...]:
    """Return a series for each kind of molecule that has any of the coordinates.

    A molecule that has all names as they stand gets one series in all of them. Otherwise a name stands for its
    namesakes in all residues (``phi`` for ``phi 2``, ``phi 3``, ...), and each residue has a series of its own.

    Parameters
    ----------
    settings : The names.
    templates : One molecule of each kind.

    Raises
    ------
    InputError : no molecule has the coordinates, or a definition cannot be resolved.
    """
    found, known = [], []
    for template in templates:
        (molecules,) = group_equal_molecules(template)
        available = _list_coordinates(settings, template, molecules)
        known += [name for name in available if name not in known]
        groups = _group_names(settings.coordinates, tuple(available))
        if groups:
            found.append(_build_series(settings, template, molecules, groups, available))
    if not found:
        raise InputError(
            f"no molecule has the slow coordinates {', '.join(settings.coordinates)}",
            where="training.correction.coordinates",
            fix=f"Known are: {', '.join(known)}; others need 'definitions'."
            if known
            else "No molecule is a peptide by its bead names: describe the coordinates under 'definitions'.",
        )
    return tuple(found)


def _list_coordinates(
    settings: CorrectionSettings, template: Topology, molecules: MoleculeKind
) -> dict[str, Coordinate]:
    own = [entry for entry in settings.definitions if entry.molecule in (None, molecules.name)]
    natural = {entry.name: entry for entry in find_peptide_coordinates(template, molecules)}
    return natural | {entry.name: resolve_coordinate(entry, template, molecules) for entry in own}


def _group_names(wanted: tuple[str, ...], available: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the names that share a series."""
    if set(wanted) <= set(available):
        return [wanted]
    residues = dict.fromkeys(name.partition(" ")[2] for name in available if name.partition(" ")[0] in wanted)
    groups = [tuple(f"{name} {residue}" for name in wanted) for residue in residues if residue]
    kept = [tuple(name for name in group if name in available) for group in groups]
    return [group for group in kept if group]


def _build_series(
    settings: CorrectionSettings,
    template: Topology,
    molecules: MoleculeKind,
    groups: list[tuple[str, ...]],
    available: dict[str, Coordinate],
) -> SlowSeries:
    names = [name for group in groups for name in group]
    coordinates = []
    for name in names:
        kind, sites = available[name].kind, available[name].sites
        assert kind is not None
        assert sites is not None
        beads = tuple((sites[0] - molecules.sites[0, 0]).tolist())
        # the ends of a range are read off the frames later
        limits = None if kind == "dihedral" else (0.0, np.inf)
        coordinates.append(SeriesCoordinate(name=name, kind=kind, beads=beads, limits=limits))
    numbers = iter(range(len(names)))
    term = CoordinateSeries(
        template.type_names,
        tuple(template.type_names[number] for number in template.types.tolist()),
        tuple(coordinates),
        tuple(tuple(next(numbers) for _ in group) for group in groups),
        order=settings.order,
    )
    basins = settings.basins or default_basins(tuple(available[name] for name in names))
    own = tuple(basin for basin in basins if {limits.coordinate for limits in basin.ranges} <= set(names))
    return SlowSeries(molecule=molecules.name, term=term, basins=own)
