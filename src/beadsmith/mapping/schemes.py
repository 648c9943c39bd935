"""Residue templates: the beads that a peptide scheme gives to one residue, each on one of its atoms.

The caps of a peptide carry the backbone atom that stands beside their neighbour: C of ACE and N of NME, so that capped
alanine has the five beads C N CA C N, or six with CB. Source of these schemes: J. Wang et al., ACS Cent. Sci. 5, 755
(2019), doi 10.1021/acscentsci.8b00913 (five beads); B. E. Husic et al., J. Chem. Phys. 153, 194101 (2020), and
N. E. Charron et al., Nat. Chem. (2025), for N, CA, CB, C, O.
"""

from collections.abc import Sequence

from beadsmith.mapping.settings import BeadDefinition, MoleculeBeads, Scheme

_BACKBONE = ("N", "CA", "C")
_ATOMS_OF_SCHEME = {
    "alpha_carbon": ("CA",),
    "backbone": _BACKBONE,
    "backbone_cb": ("N", "CA", "CB", "C"),
    "core_cbeta": ("N", "CA", "CB", "C", "O"),
}
# atoms of a cap that continue the backbone, by the names of the residue in AMBER, CHARMM and GROMACS files
_CAPS = {"ACE": ("C", "O"), "NME": ("N",), "NMA": ("N",), "NHE": ("N",), "NH2": ("N",)}
# the dihedral N-CA-C-CB is about -120 degrees for L and +120 for D amino acids
_CHIRALITY = ("N", "CA", "C", "CB")


def define_residue(scheme: Scheme, residue: str, atom_names: Sequence[str]) -> MoleculeBeads | None:
    """Return the beads of one residue under a peptide scheme, or None if the scheme gives it none.

    Parameters
    ----------
    scheme : A scheme of one atom per bead.
    residue : Name of the residue.
    atom_names : Names of its atoms.
    """
    wanted = _ATOMS_OF_SCHEME[scheme]
    present = set(atom_names)
    if residue in _CAPS and not present >= set(_BACKBONE):
        chosen = [atom for atom in wanted if atom in _CAPS[residue] and atom in present]
    elif present >= set(_BACKBONE):
        # glycine has no CB; the two oxygens of a C terminus go by several names, of which one is O in most files
        chosen = [atom for atom in wanted if atom in present]
    else:
        return None
    if not chosen:
        return None
    beads = tuple(BeadDefinition(name=atom, atoms=(atom,), weights="atom") for atom in chosen)
    has_chirality = set(_CHIRALITY) <= set(chosen)
    return MoleculeBeads(name=residue, beads=beads, impropers=(_CHIRALITY,) if has_chirality else ())
