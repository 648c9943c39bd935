"""What is measured on each kind of molecule of one topology, from its nature and from the user's definitions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from beadsmith.analysis.coordinates import (
    Coordinate,
    default_basins,
    find_bonded_coordinates,
    find_peptide_coordinates,
    find_shape_coordinates,
    native_coordinates,
    resolve_coordinate,
)
from beadsmith.analysis.definitions import BasinDefinition, MoleculeSettings
from beadsmith.analysis.slow import Features, choose_features
from beadsmith.analysis.stereocentres import find_centres
from beadsmith.errors import InputError
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules


@dataclass(frozen=True, kw_only=True)
class MoleculePlan:
    """Everything that is measured on the copies of one molecule."""

    molecules: MoleculeKind
    """The copies."""
    coordinates: tuple[Coordinate, ...]
    """Coordinates with one value a copy."""
    bonded: tuple[Coordinate, ...]
    """Bonds, angles and dihedrals, equivalent ones together."""
    centres: tuple[Coordinate, ...]
    """Signed impropers of sites with three different substituents."""
    surfaces: tuple[tuple[str, str], ...]
    """Names of the coordinates of each surface."""
    basins: tuple[BasinDefinition, ...]
    """Basins; those of equal name are united."""
    features: Features | None
    """What slow components are made of, or None where they are not wanted."""

    @property
    def by_name(self) -> dict[str, Coordinate]:
        """Coordinates with one value a copy, by name."""
        return {entry.name: entry for entry in self.coordinates}


def large_molecules(topology: Topology) -> tuple[MoleculeKind, ...]:
    """Return the kinds of molecules with several sites; where two have the same name, the later get a number."""
    kinds: list[MoleculeKind] = []
    for kind in group_equal_molecules(topology):
        if kind.sites.shape[1] > 1:
            n_before = sum(other.name.split(" (")[0] == kind.name for other in kinds)
            kinds.append(replace(kind, name=f"{kind.name} ({n_before + 1})") if n_before else kind)
    return tuple(kinds)


def plan_molecules(
    topology: Topology, settings: MoleculeSettings, structures: dict[str, Float[np.ndarray, "sites 3"]]
) -> dict[str, MoleculePlan]:
    """Return what is measured on each kind of molecule with several sites, by its name.

    Parameters
    ----------
    topology : The sites.
    settings : The user's definitions.
    structures : Native structure of each kind that has one, whole [nm].

    Raises
    ------
    InputError : a definition names a molecule, a site or a coordinate that is not there.
    """
    kinds = large_molecules(topology)
    owners = {definition.name: _find_owner(definition.molecule, kinds) for definition in settings.coordinates}
    plans = {}
    for kind in kinds:
        own = [entry for entry in settings.coordinates if owners[entry.name] == kind.name]
        resolved = tuple(resolve_coordinate(entry, topology, kind) for entry in own)
        natural = (*find_peptide_coordinates(topology, kind), *find_shape_coordinates(topology, kind))
        structure = structures.get(kind.name)
        if settings.native is not None and structure is not None:
            natural += native_coordinates(structure, settings.native, topology, kind)
        taken = {entry.name for entry in resolved}
        coordinates = (*resolved, *(entry for entry in natural if entry.name not in taken))
        bonded = find_bonded_coordinates(topology, kind)
        plans[kind.name] = MoleculePlan(
            molecules=kind,
            coordinates=coordinates,
            bonded=bonded,
            centres=find_centres(topology, kind),
            surfaces=_choose_surfaces(coordinates, settings),
            basins=_choose_basins(coordinates, settings),
            features=None
            if settings.slow_modes is None
            else choose_features((*coordinates, *bonded), topology, kind, settings.slow_modes),
        )
    _refuse_unknown(settings, plans)
    return plans


def _find_owner(name: str | None, kinds: tuple[MoleculeKind, ...]) -> str:
    names = [kind.name for kind in kinds]
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return name
    problem = "names no 'molecule'" if name is None else f"names the molecule '{name}'"
    raise InputError(
        f"a coordinate of the evaluation {problem}, expected one of {', '.join(names) or 'none: all have one bead'}",
        where="evaluation.molecules.coordinates",
    )


def _choose_surfaces(coordinates: tuple[Coordinate, ...], settings: MoleculeSettings) -> tuple[tuple[str, str], ...]:
    """Return phi and psi of every residue that has both, helicity and handedness, and the user's pairs it has."""
    names = [entry.name for entry in coordinates]
    natural = [(name, name.replace("phi", "psi", 1)) for name in names if name == "phi" or name.startswith("phi ")]
    natural.append(("helicity", "handedness"))
    wanted = [(entry.x, entry.y) for entry in settings.surfaces]
    return tuple(dict.fromkeys(pair for pair in (*wanted, *natural) if set(pair) <= set(names)))


def _choose_basins(coordinates: tuple[Coordinate, ...], settings: MoleculeSettings) -> tuple[BasinDefinition, ...]:
    names = {entry.name for entry in coordinates}
    own = tuple(entry for entry in settings.basins if _coordinates_of(entry) <= names)
    return own if settings.basins else default_basins(coordinates)


def _coordinates_of(basin: BasinDefinition) -> set[str]:
    return {limits.coordinate for limits in basin.ranges}


def _refuse_unknown(settings: MoleculeSettings, plans: dict[str, MoleculePlan]) -> None:
    """Refuse a surface or basin that no molecule has all coordinates of."""
    if not plans:
        return
    wanted: Iterable[tuple[str, set[str]]] = (
        *((f"the surface of '{entry.x}' and '{entry.y}'", {entry.x, entry.y}) for entry in settings.surfaces),
        *((f"the basin '{entry.name}'", _coordinates_of(entry)) for entry in settings.basins),
    )
    known = [set(plan.by_name) for plan in plans.values()]
    for what, names in wanted:
        if not any(names <= some for some in known):
            raise InputError(
                f"{what} needs coordinates that no molecule has together",
                where="evaluation.molecules",
                fix=f"The coordinates are: {', '.join(sorted(set().union(*known)))}.",
            )
