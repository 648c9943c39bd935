"""The one unit system inside beadsmith (nm, ps, u, kJ/mol, K) and every conversion factor at its edges.

The system is consistent without any factor: 1 u nm²/ps² = 1 kJ/mol. Pressures are kJ/mol/nm³, densities u/nm³.
"""

from dataclasses import dataclass

GAS_CONSTANT = 0.00831446261815324
"""Molar Boltzmann constant [kJ/mol/K]. Source: CODATA 2018 (exact since the 2019 SI)."""

PLANCK_CONSTANT = 0.3990312712893431
"""Molar Planck constant h N_A [kJ/mol ps]. Source: CODATA 2018 (exact since the 2019 SI)."""

AVOGADRO = 6.02214076e23
"""Avogadro constant [1/mol]. Source: CODATA 2018 (exact)."""

BAR = 0.0602214076
"""1 bar in kJ/mol/nm³ (1e5 Pa · 1e-27 m³ · N_A / 1e3)."""

GIGAPASCAL = 1e4 * BAR
"""1 GPa in kJ/mol/nm³."""

JOULE = 1e-3
"""1 J/mol in kJ/mol."""

GRAM_PER_CUBIC_CENTIMETRE = 602.214076
"""1 g/cm³ in u/nm³."""

ANGSTROM = 0.1
"""1 angstrom in nm."""

FEMTOSECOND = 0.001
"""1 fs in ps."""

SQUARE_CENTIMETRE_PER_SECOND = 100.0
"""1 cm²/s in nm²/ps."""

KILOCALORIE_PER_MOL = 4.184
"""1 kcal/mol in kJ/mol (thermochemical calorie, exact)."""

ELECTRONVOLT = 96.48533212331001
"""1 eV in kJ/mol (e · N_A / 1e3). Source: CODATA 2018 (exact)."""

COULOMB_CONSTANT = 138.93545764438198
"""e²/(4 π ε0) in kJ/mol nm. Source: CODATA 2018."""


@dataclass(frozen=True)
class Unit:
    """Mark a settings field with the unit its value has inside beadsmith: ``Annotated[float, Unit("nm")]``.

    The configuration reader parses ``0.9 nm`` or ``9 angstrom`` into it; code reads plain floats.
    """

    symbol: str
    """Unit in pint notation, for example ``"nm"``, ``"kJ/mol/nm**3"``, ``"u/nm**3"``."""


def thermal_energy(temperature: float) -> float:
    """Return kT [kJ/mol] at a temperature [K]."""
    return GAS_CONSTANT * temperature
