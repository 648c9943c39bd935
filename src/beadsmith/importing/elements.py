"""Chemical elements: masses, covalent radii, and how names and masses of atoms tell them.

Sources: IUPAC standard atomic weights, abridged 2021 (Pure Appl. Chem. 94, 573 (2022)); covalent radii of Cordero et
al., Dalton Trans. 2832 (2008), for the elements that form the bonds of molecules. Metals and noble gases have no radius
here: ions and atoms are not bonded.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

# symbol: mass [u], covalent radius [nm] or None
_ELEMENTS: dict[str, tuple[float, float | None]] = {
    "H": (1.008, 0.031),
    "D": (2.014, 0.031),
    "He": (4.0026, None),
    "Li": (6.94, None),
    "Be": (9.0122, None),
    "B": (10.81, 0.084),
    "C": (12.011, 0.076),
    "N": (14.007, 0.071),
    "O": (15.999, 0.066),
    "F": (18.998, 0.057),
    "Ne": (20.180, None),
    "Na": (22.990, None),
    "Mg": (24.305, None),
    "Al": (26.982, None),
    "Si": (28.085, 0.111),
    "P": (30.974, 0.107),
    "S": (32.06, 0.105),
    "Cl": (35.45, 0.102),
    "Ar": (39.95, None),
    "K": (39.098, None),
    "Ca": (40.078, None),
    "Ti": (47.867, None),
    "Mn": (54.938, None),
    "Fe": (55.845, None),
    "Co": (58.933, None),
    "Ni": (58.693, None),
    "Cu": (63.546, None),
    "Zn": (65.38, None),
    "Se": (78.971, 0.120),
    "Br": (79.904, 0.120),
    "Kr": (83.798, None),
    "Rb": (85.468, None),
    "Ag": (107.87, None),
    "I": (126.90, 0.139),
    "Xe": (131.29, None),
    "Cs": (132.91, None),
    "Ba": (137.33, None),
    "Au": (196.97, None),
    "Pb": (207.2, None),
}

_MASS_TOLERANCE = 0.06
"""How far a mass may be from that of its element [u]: force fields round (H 1.00, O 16.0), Co and Ni differ by 0.24."""

_SINGLE = {"NA", "K", "MG", "CA", "ZN", "LI", "RB", "CS", "FE", "MN", "CU", "AR", "NE", "HE", "KR", "XE", "CO", "NI"}
"""Two-letter names that mean this element only where the atom is a residue of its own: CA is else a carbon."""


def is_element(symbol: str) -> bool:
    """Whether a symbol is that of an element in the table."""
    return symbol in _ELEMENTS


def element_mass(symbol: str) -> float:
    """Return the standard atomic weight [u]."""
    return _ELEMENTS[symbol][0]


def covalent_radii(elements: Sequence[str]) -> Float[np.ndarray, "sites"]:
    """Return the covalent radius of each atom [nm], NaN where it forms no covalent bonds."""
    return np.array([radius if (radius := _ELEMENTS[symbol][1]) is not None else np.nan for symbol in elements])


def forms_bonds(elements: Sequence[str]) -> Bool[np.ndarray, "sites"]:
    """Return whether each atom is of an element that forms covalent bonds."""
    return np.isfinite(covalent_radii(elements))


def element_of_mass(mass: float) -> str | None:
    """Return the element of a mass [u], or None if no element has it."""
    symbol = min(_ELEMENTS, key=lambda name: abs(_ELEMENTS[name][0] - mass))
    return symbol if abs(_ELEMENTS[symbol][0] - mass) <= _MASS_TOLERANCE else None


def element_of_name(name: str, *, is_alone: bool) -> str | None:
    """Return the element that the name of an atom tells: HB1 is hydrogen, CA carbon, or calcium if it is alone.

    Parameters
    ----------
    name : Name of the atom.
    is_alone : Whether the atom is the only one of its residue.
    """
    letters = name.lstrip("0123456789'").rstrip("0123456789+-*'\"")
    upper = letters.upper()
    if is_alone and upper in _SINGLE:
        return upper.capitalize()
    if letters in _ELEMENTS:
        return letters
    for symbol in ("CL", "BR", "SI", "SE"):
        # SE and SI begin no name of another element's atom; CL and BR belong to halogens in all force fields
        if upper.startswith(symbol):
            return symbol.capitalize()
    first = upper[:1]
    return first if first in ("H", "B", "C", "N", "O", "F", "P", "S", "I", "K", "D") else None
