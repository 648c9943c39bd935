"""What a user says about files of frames: where they are, their units, their atoms, and what may be missing."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from beadsmith.errors import InputError
from beadsmith.io.file_units import (
    FORCES,
    LENGTHS,
    FileUnits,
    ForceUnit,
    LengthUnit,
    UnitStyle,
    reduced_units,
    unit_style,
)
from beadsmith.io.open_files import FileHints, FrameFormat
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class FileUnitSettings:
    """Units of files whose format leaves them open: a style, or a length and a force."""

    style: UnitStyle | None = None
    """Units of a program: gromacs (nm, kJ/mol/nm), or of LAMMPS: real (angstrom, kcal/mol/angstrom), metal, electron,
    lj."""
    length: LengthUnit | None = None
    """Unit of positions and cells, instead of a style."""
    force: ForceUnit | None = None
    """Unit of forces, instead of a style."""
    lj_length: Annotated[float, Unit("nm")] | None = None
    """Style lj: the length that is 1 in the file."""
    lj_energy: Annotated[float, Unit("kJ/mol")] | None = None
    """Style lj: the energy that is 1 in the file."""
    lj_mass: Annotated[float, Unit("u")] | None = None
    """Style lj: the mass that is 1 in the file."""

    def __post_init__(self) -> None:
        """Refuse a mixture of a style and single units, and a style lj without its numbers.

        Raises
        ------
        InputError : style and single units are both given, or neither; the numbers of style lj are missing or too much.
        """
        numbers = (self.lj_length, self.lj_energy, self.lj_mass)
        if (self.style is None) == (self.length is None and self.force is None):
            given = "neither is" if self.style is None else "both are"
            raise InputError(
                f"units need either a 'style' or 'length' and 'force', {given} given",
                fix="For example 'units: {style: real}', or 'units: {length: angstrom, force: kcal/mol/angstrom}'.",
            )
        if self.style == "lj" and not all(number is not None and number > 0.0 for number in numbers):
            raise InputError(
                "style lj has no units of its own, it needs 'lj_length', 'lj_energy' and 'lj_mass', all > 0",
                fix="For example lj_length: 0.34 nm, lj_energy: 0.996 kJ/mol, lj_mass: 39.95 u for argon.",
            )
        if self.style != "lj" and any(number is not None for number in numbers):
            raise InputError("'lj_length', 'lj_energy' and 'lj_mass' belong to style lj alone", fix="Remove them.")

    def to_file_units(self) -> FileUnits:
        """Return the factors; a length that is not stated is NaN."""
        if self.style == "lj":
            assert self.lj_length is not None
            assert self.lj_energy is not None
            assert self.lj_mass is not None
            return reduced_units(length=self.lj_length, energy=self.lj_energy, mass=self.lj_mass)
        if self.style is not None:
            return unit_style(self.style)
        stated = [unit for unit in (self.length, self.force) if unit is not None]
        return FileUnits(
            length=np.nan if self.length is None else LENGTHS[self.length],
            force=None if self.force is None else FORCES[self.force],
            name=f"{', '.join(stated)} (stated by the user)",
        )


@dataclass(frozen=True, kw_only=True)
class MoleculeSites:
    """Molecules of one kind that follow each other in the files, where no topology file says what they are."""

    name: str
    """Name of the molecule."""
    count: int = 1
    """Number of copies, one after the other."""
    names: tuple[str, ...]
    """Name of each atom of one molecule, in the order of the files; without masses they must tell the element."""
    masses: tuple[Annotated[float, Unit("u")], ...] = ()
    """Mass of each atom of one molecule; empty takes those of the elements."""
    bonds: tuple[tuple[int, int], ...] = ()
    """Bonded atoms, counted from 1 within the molecule."""
    constraints: tuple[tuple[int, int], ...] = ()
    """Atoms at fixed distance, counted from 1 within the molecule; found in the data if none are given."""

    def __post_init__(self) -> None:
        """Refuse numbers that do not fit each other.

        Raises
        ------
        InputError : the count is below 1, masses are not one for each name, or a bond names an atom that is not there.
        """
        if self.count < 1 or not self.names:
            raise InputError(
                f"molecule '{self.name}' has count {self.count} and {len(self.names)} names, expected some"
            )
        if self.masses and len(self.masses) != len(self.names):
            raise InputError(f"masses of '{self.name}' are {len(self.masses)} for {len(self.names)} names")
        for field in ("bonds", "constraints"):
            for pair in getattr(self, field):
                if min(pair) < 1 or max(pair) > len(self.names) or pair[0] == pair[1]:
                    raise InputError(
                        f"{field} of '{self.name}' name atoms {pair[0]} and {pair[1]}, expected two of 1 to "
                        f"{len(self.names)}"
                    )


@dataclass(frozen=True, kw_only=True)
class ReferenceSettings:
    """A reference that was simulated elsewhere: files of frames with forces."""

    files: tuple[str, ...]
    """Trajectory files, each a run of its own, relative to the folder in which the command is given."""
    topology: str | None = None
    """File with the atoms: TPR, GRO, PDB, TOP, ITP, PSF, parm7, LAMMPS data, DeePMD type.raw. None takes what the
    trajectory or 'molecules' say."""
    molecules: tuple[MoleculeSites, ...] = ()
    """The atoms in order, instead of a topology file."""
    forces: tuple[str, ...] = ()
    """Files with the forces, one for each trajectory file without forces."""
    cells: tuple[str, ...] = ()
    """npy files with the periodic cells, one for each npy trajectory."""
    format: FrameFormat = "auto"
    """Format of the files; auto goes by their endings."""
    units: FileUnitSettings | None = None
    """Units of LAMMPS dumps, NumPy arrays, and forces in DCD files; all other formats state their own."""
    frame_interval: Annotated[float, Unit("ps")] | None = None
    """Time between frames, instead of the times in the files."""
    periodic: bool = True
    """Whether the cells in the files count; false for a molecule in vacuum whose file has a cell all the same."""
    discard: int = 0
    """Frames left out at the beginning of each file."""
    stride: int = 1
    """Every how manieth frame is taken."""
    bonds: Literal["auto", "guess", "none"] = "auto"
    """Bonds from the topology, and where it has none from distances in the first frame; always from distances; or none
    at all, each site then being a molecule."""
    constraints: Literal["detect", "none", "h_bonds", "all_bonds"] = "detect"
    """Distances that the simulation held fixed: found in the data, none, those of bonds to hydrogen (and rigid water),
    or those of all bonds."""
    incomplete_frames: Literal["refuse", "skip"] = "refuse"
    """What to do with frames that hold no positions or no forces."""
    damaged_end: Literal["refuse", "skip"] = "refuse"
    """What to do with a file that ends in the middle of a frame."""
    unit_check: Literal["refuse", "warn"] = "refuse"
    """What to do when lengths, forces or velocities cannot be in the units that they are said to be in."""
    positions_key: str | None = None
    """Name of the array of positions in npz files, where it is not a usual one."""
    forces_key: str | None = None
    """Name of the array (npz) or column (extended XYZ) of forces, where it is not a usual one."""
    cell_key: str | None = None
    """Name of the array of cells in npz files, where it is not a usual one."""

    def __post_init__(self) -> None:
        """Refuse lists that do not fit each other.

        Raises
        ------
        InputError : no file is given, forces or cells are not one for each file, or a number is out of range.
        """
        if not self.files:
            raise InputError("files is empty", fix="Give at least one, for example 'files: [traj.trr]'.")
        for field in ("forces", "cells"):
            given = getattr(self, field)
            if given and len(given) != len(self.files):
                raise InputError(
                    f"{field} has {len(given)} entries for {len(self.files)} in 'files', expected one each"
                )
        if self.topology is not None and self.molecules:
            raise InputError("topology and 'molecules' are both given", fix="Remove one of them.")
        if self.discard < 0 or self.stride < 1:
            raise InputError(f"discard is {self.discard} and stride {self.stride}, expected >= 0 and >= 1")
        if self.frame_interval is not None and not self.frame_interval > 0.0:
            raise InputError(f"frame_interval is {self.frame_interval:g} ps, expected > 0")

    def to_hints(self) -> FileHints:
        """Return what the readers need to know."""
        return FileHints(
            format=self.format,
            units=None if self.units is None else self.units.to_file_units(),
            positions_key=self.positions_key,
            forces_key=self.forces_key,
            cell_key=self.cell_key,
        )

    def list_inputs(self) -> list[str]:
        """Return all files that the result depends on."""
        return [*self.files, *self.forces, *self.cells, *([] if self.topology is None else [self.topology])]
