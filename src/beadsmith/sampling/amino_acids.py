"""The twenty amino acids as chains of bonds, angles and dihedrals, and heavy-atom coordinates of a sequence.

Every heavy atom is placed from three atoms before it, so that any backbone dihedrals can be asked for and every centre
has the handedness of the L form. Hydrogens are added, and bond lengths relaxed, by the force field later.
"""

import numpy as np
from jaxtyping import Float

from beadsmith.errors import InputError

ONE_LETTER = {
    "A": "ALA", "R": "ARG", "N": "ASN", "D": "ASP", "C": "CYS", "Q": "GLN", "E": "GLU", "G": "GLY", "H": "HIS",
    "I": "ILE", "L": "LEU", "K": "LYS", "M": "MET", "F": "PHE", "P": "PRO", "S": "SER", "T": "THR", "W": "TRP",
    "Y": "TYR", "V": "VAL",
}  # fmt: skip
"""Three-letter code of each one-letter code."""

# One atom a row: name, the three atoms it is placed from, distance to the last of them [nm], angle and dihedral [deg].
# Bond lengths and angles rounded from R. A. Engh, R. Huber, Acta Cryst. A 47, 392 (1991),
# doi:10.1107/S0108767391001071; side-chain dihedrals are one common rotamer each, S. C. Lovell et al., Proteins 40,
# 389 (2000).
_Row = tuple[str, str, float, float, float]
_BETA: _Row = ("CB", "C N CA", 0.1530, 110.5, -122.5)
_SIDE_CHAINS: dict[str, tuple[_Row, ...]] = {
    "GLY": (),
    "ALA": (_BETA,),
    "SER": (_BETA, ("OG", "N CA CB", 0.1417, 111.1, -65.0)),
    "CYS": (_BETA, ("SG", "N CA CB", 0.1808, 114.4, -65.0)),
    "VAL": (_BETA, ("CG1", "N CA CB", 0.1521, 110.5, 175.0), ("CG2", "N CA CB", 0.1521, 110.5, -63.0)),
    "THR": (_BETA, ("OG1", "N CA CB", 0.1433, 109.6, 60.0), ("CG2", "N CA CB", 0.1521, 110.5, -60.0)),
    "ILE": (
        _BETA,
        ("CG1", "N CA CB", 0.1530, 110.4, -65.0),
        ("CG2", "N CA CB", 0.1521, 110.5, 173.0),
        ("CD1", "CA CB CG1", 0.1513, 113.8, 170.0),
    ),
    "LEU": (
        _BETA,
        ("CG", "N CA CB", 0.1530, 116.3, -65.0),
        ("CD1", "CA CB CG", 0.1521, 110.7, 175.0),
        ("CD2", "CA CB CG", 0.1521, 110.7, -63.0),
    ),
    "PRO": (
        ("CB", "C N CA", 0.1530, 103.0, -118.0),
        ("CG", "N CA CB", 0.1492, 104.5, 28.0),
        ("CD", "CA CB CG", 0.1503, 106.1, -36.0),
    ),
    "MET": (
        _BETA,
        ("CG", "N CA CB", 0.1520, 114.1, -65.0),
        ("SD", "CA CB CG", 0.1803, 112.7, 180.0),
        ("CE", "CB CG SD", 0.1791, 100.9, 75.0),
    ),
    "ASP": (
        _BETA,
        ("CG", "N CA CB", 0.1516, 112.6, -70.0),
        ("OD1", "CA CB CG", 0.1249, 118.4, -15.0),
        ("OD2", "CA CB CG", 0.1249, 118.4, 165.0),
    ),
    "ASN": (
        _BETA,
        ("CG", "N CA CB", 0.1516, 112.6, -65.0),
        ("OD1", "CA CB CG", 0.1231, 120.8, -20.0),
        ("ND2", "CA CB CG", 0.1328, 116.4, 160.0),
    ),
    "GLU": (
        _BETA,
        ("CG", "N CA CB", 0.1520, 114.1, -67.0),
        ("CD", "CA CB CG", 0.1516, 112.6, 180.0),
        ("OE1", "CB CG CD", 0.1249, 118.4, -10.0),
        ("OE2", "CB CG CD", 0.1249, 118.4, 170.0),
    ),
    "GLN": (
        _BETA,
        ("CG", "N CA CB", 0.1520, 114.1, -67.0),
        ("CD", "CA CB CG", 0.1516, 112.6, 180.0),
        ("OE1", "CB CG CD", 0.1231, 120.8, -25.0),
        ("NE2", "CB CG CD", 0.1328, 116.4, 155.0),
    ),
    "LYS": (
        _BETA,
        ("CG", "N CA CB", 0.1520, 114.1, -67.0),
        ("CD", "CA CB CG", 0.1520, 111.3, 180.0),
        ("CE", "CB CG CD", 0.1520, 111.3, 180.0),
        ("NZ", "CG CD CE", 0.1489, 111.9, 180.0),
    ),
    "ARG": (
        _BETA,
        ("CG", "N CA CB", 0.1520, 114.1, -67.0),
        ("CD", "CA CB CG", 0.1520, 111.3, 180.0),
        ("NE", "CB CG CD", 0.1460, 112.0, 180.0),
        ("CZ", "CG CD NE", 0.1329, 124.2, 180.0),
        ("NH1", "CD NE CZ", 0.1326, 120.0, 0.0),
        ("NH2", "CD NE CZ", 0.1326, 120.0, 180.0),
    ),
    "HIS": (
        _BETA,
        ("CG", "N CA CB", 0.1497, 113.8, -65.0),
        ("ND1", "CA CB CG", 0.1378, 122.7, -75.0),
        ("CD2", "CA CB CG", 0.1356, 131.2, 105.0),
        ("CE1", "CB CG ND1", 0.1321, 109.0, 180.0),
        ("NE2", "CB CG CD2", 0.1374, 107.2, 180.0),
    ),
    "PHE": (
        _BETA,
        ("CG", "N CA CB", 0.1502, 113.8, -65.0),
        ("CD1", "CA CB CG", 0.1384, 120.7, -85.0),
        ("CD2", "CA CB CG", 0.1384, 120.7, 95.0),
        ("CE1", "CB CG CD1", 0.1382, 120.7, 180.0),
        ("CE2", "CB CG CD2", 0.1382, 120.7, 180.0),
        ("CZ", "CG CD1 CE1", 0.1382, 120.0, 0.0),
    ),
    "TRP": (
        _BETA,
        ("CG", "N CA CB", 0.1498, 113.6, -65.0),
        ("CD1", "CA CB CG", 0.1365, 126.9, -90.0),
        ("CD2", "CA CB CG", 0.1433, 126.8, 90.0),
        ("NE1", "CB CG CD1", 0.1374, 110.2, 180.0),
        ("CE2", "CB CG CD2", 0.1409, 107.2, 180.0),
        ("CE3", "CB CG CD2", 0.1398, 133.9, 0.0),
        ("CZ2", "CG CD2 CE2", 0.1394, 122.4, 180.0),
        ("CZ3", "CG CD2 CE3", 0.1382, 118.6, 180.0),
        ("CH2", "CD2 CE2 CZ2", 0.1368, 117.5, 0.0),
    ),
}  # fmt: skip
_SIDE_CHAINS["TYR"] = (*_SIDE_CHAINS["PHE"], ("OH", "CD1 CE1 CZ", 0.1376, 119.9, 180.0))

BACKBONE_BASINS = {
    "beta": (-120.0, 130.0),
    "polyproline II": (-70.0, 145.0),
    "right-handed helix": (-65.0, -42.0),
}
"""Centres (phi, psi) [degrees] of the three regions that L residues populate."""

_PROLINE_PHI = -65.0
_SPREAD = 15.0
"""Standard deviation of the backbone dihedrals of a random start around a basin's centre [degrees]."""

Atoms = list[dict[str, np.ndarray]]
"""Position [nm] of each heavy atom by name, one dictionary a residue."""


def expand_sequence(text: str) -> tuple[str, ...]:
    """Return the three-letter codes of a sequence: ``YYDPETGTWY``, ``A`` or ``ACE-ALA-NME``.

    Raises
    ------
    InputError : a code is unknown, or one word such as ``ALA`` could mean one residue or three.
    """
    word = text.strip().upper()
    known = (*ONE_LETTER.values(), "ACE", "NME")
    if "-" in word:
        codes = tuple(part.strip() for part in word.split("-"))
    elif word in known:
        spelled = " (or, letter by letter, " + "-".join(ONE_LETTER.get(c, "?") for c in word) + ")"
        raise InputError(
            f"sequence is '{text}', which is one residue or three one-letter codes",
            fix=f"Write ACE-{word}-NME for the one residue{spelled if '?' not in spelled else ''}.",
        )
    else:
        codes = tuple(ONE_LETTER.get(letter, letter) for letter in word)
    if not any(code in _SIDE_CHAINS for code in codes):
        raise InputError(
            f"sequence is '{text}', which has no amino acid", fix="Write for example ACE-ALA-NME, or YYDPETGTWY."
        )
    for place, code in enumerate(codes, start=1):
        if code not in known:
            raise InputError(
                f"sequence '{text}' has the unknown residue '{code}' at place {place}",
                fix="Use one-letter codes (YYDPETGTWY) or three-letter codes joined by '-' (ACE-ALA-NME); "
                f"known residues: {', '.join(sorted(ONE_LETTER.values()))}, and the caps ACE and NME at the ends.",
            )
        if (code == "ACE" and place != 1) or (code == "NME" and place != len(codes)):
            raise InputError(f"sequence '{text}' has the cap {code} at place {place}, not at its end of the chain")
    return codes


def draw_backbone(residues: tuple[str, ...], generator: np.random.Generator) -> Float[np.ndarray, "residues 2"]:
    """Return random backbone dihedrals phi, psi [degrees], each residue in one of the regions that L residues have."""
    centres = np.array(list(BACKBONE_BASINS.values()))
    dihedrals = centres[generator.integers(len(centres), size=len(residues))]
    dihedrals += generator.normal(scale=_SPREAD, size=dihedrals.shape)
    dihedrals[[residue == "PRO" for residue in residues], 0] = _PROLINE_PHI
    return dihedrals


def build_heavy_atoms(residues: tuple[str, ...], backbone: Float[np.ndarray, "residues 2"]) -> Atoms:
    """Return the heavy atoms of a peptide with given backbone dihedrals and trans peptide bonds.

    Parameters
    ----------
    residues : Three-letter codes; ACE may be first and NME last. Without NME the last residue gets its second oxygen.
    backbone : phi and psi of every residue [degrees]; those of caps and of ends that lack a neighbour are ignored.
    """
    chain: Atoms = []
    for index, code in enumerate(residues):
        phi, psi = backbone[index].tolist()
        previous = chain[-1] if chain else None
        atoms: dict[str, np.ndarray] = {}
        chain.append(atoms)
        if code == "ACE":
            atoms["CH3"], atoms["C"] = np.array([-0.1522, 0.0, 0.0]), np.zeros(3)
            angle = np.radians(120.4)
            atoms["O"] = 0.1229 * np.array([-np.cos(angle), np.sin(angle), 0.0])
            continue
        if previous is None:
            angle = np.radians(111.2)
            atoms["N"], atoms["CA"] = np.array([-0.1458, 0.0, 0.0]), np.zeros(3)
            atoms["C"] = 0.1525 * np.array([-np.cos(angle), np.sin(angle), 0.0])
        else:
            # the peptide plane: the next nitrogen lies opposite to the oxygen
            centre = "CA" if "CA" in previous else "CH3"
            atoms["N"] = _place(previous["O"], previous[centre], previous["C"], 0.1329, 116.2, 180.0)
            if code == "NME":
                atoms["C"] = _place(previous[centre], previous["C"], atoms["N"], 0.1449, 121.9, 180.0)
                continue
            atoms["CA"] = _place(previous[centre], previous["C"], atoms["N"], 0.1458, 121.7, 180.0)
            atoms["C"] = _place(previous["C"], atoms["N"], atoms["CA"], 0.1525, 111.2, phi)
        atoms["O"] = _place(atoms["N"], atoms["CA"], atoms["C"], 0.1231, 120.8, psi + 180.0)
        for name, origins, length, bend, dihedral in _SIDE_CHAINS[code]:
            a, b, c = (atoms[origin] for origin in origins.split())
            atoms[name] = _place(a, b, c, length, bend, dihedral)
        if index == len(residues) - 1:
            atoms["OXT"] = _place(atoms["N"], atoms["CA"], atoms["C"], 0.1250, 118.0, psi)
    return chain


def closest_contact(chain: Atoms) -> float:
    """Return the shortest distance [nm] between heavy atoms of residues that are not neighbours (inf if none)."""
    owner = np.repeat(np.arange(len(chain)), [len(atoms) for atoms in chain])
    points = np.array([point for atoms in chain for point in atoms.values()])
    first, second = np.triu_indices(len(points), 1)
    is_far = owner[second] - owner[first] > 1
    distances = np.linalg.norm(points[first] - points[second], axis=1)[is_far]
    return float(distances.min(initial=np.inf))


def list_missing_atoms(code: str, names: set[str]) -> list[str]:
    """Return the heavy atoms that an amino acid lacks; none for a residue of another code."""
    if code not in _SIDE_CHAINS:
        return []
    return [name for name in ("N", "CA", "C", "O", *(row[0] for row in _SIDE_CHAINS[code])) if name not in names]


def _place(
    first: np.ndarray, second: np.ndarray, third: np.ndarray, length: float, angle: float, dihedral: float
) -> np.ndarray:
    """Return the point at a distance from the third point, with the angle at it and the dihedral around its bond.

    Source: J. Parsons et al., J. Comput. Chem. 26, 1063 (2005), doi:10.1002/jcc.20237.
    """
    bend, turn = np.radians(angle), np.radians(dihedral)
    axis = (third - second) / np.linalg.norm(third - second)
    normal = np.cross(second - first, axis)
    normal /= np.linalg.norm(normal)
    local = length * np.array([-np.cos(bend), np.sin(bend) * np.cos(turn), np.sin(bend) * np.sin(turn)])
    return third + local @ np.stack([axis, np.cross(normal, axis), normal])
