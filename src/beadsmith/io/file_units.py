"""Units in which simulation programs write files, as factors to nm, kJ/mol/nm and ps."""

from dataclasses import dataclass
from typing import Literal

from beadsmith.errors import InputError
from beadsmith.units import ANGSTROM, ELECTRONVOLT, FEMTOSECOND, KILOCALORIE_PER_MOL

BOHR = 0.0529177210903
"""1 bohr in nm. Source: CODATA 2018."""

HARTREE = 2625.4996394798254
"""1 hartree in kJ/mol. Source: CODATA 2018 (4.3597447222071e-18 J times the Avogadro constant)."""

UnitStyle = Literal["gromacs", "real", "metal", "electron", "lj"]
LengthUnit = Literal["nm", "angstrom", "bohr"]
ForceUnit = Literal[
    "kJ/mol/nm", "kJ/mol/angstrom", "kcal/mol/angstrom", "kcal/mol/nm", "eV/angstrom", "eV/nm", "hartree/bohr"
]

LENGTHS: dict[str, float] = {"nm": 1.0, "angstrom": ANGSTROM, "bohr": BOHR}
_ENERGIES = {"kJ/mol": 1.0, "kcal/mol": KILOCALORIE_PER_MOL, "eV": ELECTRONVOLT, "hartree": HARTREE}
FORCES: dict[str, float] = {
    f"{energy}/{length}": _ENERGIES[energy] / LENGTHS[length] for energy in _ENERGIES for length in LENGTHS
}

# length, force, time, velocity of LAMMPS's unit styles (docs.lammps.org/units.html) and of GROMACS
_STYLES: dict[str, tuple[str, str, float, float]] = {
    "gromacs": ("nm", "kJ/mol/nm", 1.0, 1.0),
    "real": ("angstrom", "kcal/mol/angstrom", FEMTOSECOND, ANGSTROM / FEMTOSECOND),
    "metal": ("angstrom", "eV/angstrom", 1.0, ANGSTROM),
    # velocities of style electron are bohr per atomic time unit of 1.03275e-15 s (u, not electron masses)
    "electron": ("bohr", "hartree/bohr", FEMTOSECOND, BOHR / 1.03275e-3),
}

KNOWN_STYLES = frozenset(_STYLES)
"""Styles whose units need no further numbers."""


@dataclass(frozen=True, kw_only=True)
class FileUnits:
    """Factors from the units of one file to the units inside beadsmith."""

    length: float
    """Unit of length [nm]."""
    force: float | None
    """Unit of force [kJ/mol/nm], or None where neither format nor user states one."""
    time: float = 1.0
    """Unit of time [ps]."""
    velocity: float = 1.0
    """Unit of velocity [nm/ps]."""
    mass: float = 1.0
    """Unit of mass [u]."""
    name: str
    """The units in words, with who says so."""


GROMACS_UNITS = FileUnits(length=1.0, force=1.0, name="nm, kJ/mol/nm, ps (fixed by the format)")


def unit_style(style: str, *, who: str = "stated by the user") -> FileUnits:
    """Return the units of a named style other than ``lj``."""
    length, force, time, velocity = _STYLES[style]
    return FileUnits(
        length=LENGTHS[length],
        force=FORCES[force],
        time=time,
        velocity=velocity,
        name=f"{length}, {force} ({style}, {who})",
    )


def reduced_units(*, length: float, energy: float, mass: float) -> FileUnits:
    """Return reduced (Lennard-Jones) units from the length [nm], energy [kJ/mol] and mass [u] that are 1 in them.

    The unit of time is length (mass/energy)^(1/2).
    """
    time = length * (mass / energy) ** 0.5
    return FileUnits(
        length=length,
        force=energy / length,
        time=time,
        velocity=length / time,
        mass=mass,
        name=f"reduced units of {length:g} nm, {energy:g} kJ/mol, {mass:g} u (stated by the user)",
    )


def parse_unit(text: str, known: dict[str, float], *, what: str, where: str) -> float:
    """Return the factor of a unit written in a file, in any of the usual spellings.

    ``kJ mol-1 nm-1`` (H5MD), ``kilocalorie/mole/angstrom`` (AMBER) and ``kJ/mol/nm`` are all understood.

    Raises
    ------
    InputError : the unit is not known.
    """
    short = text.strip()
    for long, letters in (
        ("kilocalorie", "kcal"),
        ("kilojoule", "kJ"),
        ("electronvolt", "eV"),
        ("nanometer", "nm"),
        ("angstroms", "angstrom"),
        ("Angstrom", "angstrom"),
        ("Å", "angstrom"),
        ("Bohr", "bohr"),
        ("Hartree", "hartree"),
        ("mole", "mol"),
        ("picosecond", "ps"),
        ("femtosecond", "fs"),
    ):
        short = short.replace(long, letters)
    short = "/".join(part.removesuffix("-1") for part in short.replace("/", " ").split())
    if short.endswith("/A"):
        short = short.removesuffix("A") + "angstrom"
    short = "angstrom" if short == "A" else short
    if short not in known:
        raise InputError(
            f"the unit of {what} is '{text}', expected one of: {', '.join(known)}",
            where=where,
            fix="Correct the unit in the file, or convert the file to one of these.",
        )
    return known[short]
