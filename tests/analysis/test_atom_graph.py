"""What beads are chemically, and which stereocentres they show."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.atom_graph import (
    AtomGraph,
    find_lost_stereocentres,
    find_stereocentres,
    label_beads,
    read_atom_graph,
)
from beadsmith.analysis.graph_symmetry import count_automorphisms
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.settings import MappingSettings
from example_references import build_capped_alanine

ALANINE = build_capped_alanine()
HEAVY = {"C_ace": 4, "N": 6, "CA": 8, "CB": 10, "C": 14, "N_nme": 16}


def alanine(*beads):
    """Return capped alanine with beads of the given atoms."""
    return AtomGraph(
        names=ALANINE.names, elements=ALANINE.elements, bonds=ALANINE.bonds, members=tuple(tuple(b) for b in beads)
    )


def n_hexane(*carbons_of_bead):
    """Return hexane, carbons 0 to 5 and then their hydrogens, with beads of carbons and their hydrogens."""
    bonds = [(k, k + 1) for k in range(5)]
    hydrogens = {k: [] for k in range(6)}
    for carbon in range(6):
        for _ in range(3 if carbon in (0, 5) else 2):
            hydrogens[carbon].append(6 + sum(map(len, hydrogens.values())))
            bonds.append((carbon, hydrogens[carbon][-1]))
    return AtomGraph(
        names=tuple(str(k) for k in range(20)),
        elements=("C",) * 6 + ("H",) * 14,
        bonds=np.array(bonds),
        members=tuple(tuple(a for c in row for a in (c, *hydrogens[c])) for row in carbons_of_bead),
    )


def test_the_alpha_carbon_is_the_stereocentre_of_alanine():
    assert find_stereocentres(alanine()) == (HEAVY["CA"],)


def test_glycine_has_no_stereocentre():
    # a hydrogen in place of the methyl group
    bonds = np.array([pair for pair in ALANINE.bonds.tolist() if not {11, 12, 13} & set(pair)])
    elements = tuple("H" if k == 10 else e for k, e in enumerate(ALANINE.elements))
    assert find_stereocentres(replace(alanine(), bonds=bonds, elements=elements)) == ()


@pytest.mark.parametrize(
    ("scheme", "is_lost"),
    [("alpha_carbon", True), ("backbone", True), ("residue", True), ("backbone_cb", False), ("core_cbeta", False)],
)
def test_schemes_without_a_bead_for_the_side_chain_lose_the_stereocentre(scheme, is_lost):
    (template,) = build_templates(ALANINE, MappingSettings(beads=scheme))
    atoms = alanine(*(np.flatnonzero(row).tolist() for row in template.members))
    assert find_lost_stereocentres(atoms, template.bonds) == ((HEAVY["CA"],) if is_lost else ())


def test_groups_of_atoms_show_the_hand_as_single_atoms_do():
    # CO, NH, CH, CH3, CO, NH
    atoms = alanine((4, 5), (6, 7), (8, 9), (10, 11, 12, 13), (14, 15), (16, 17))
    bonds = np.array([(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)])
    assert find_lost_stereocentres(atoms, bonds) == ()
    assert find_lost_stereocentres(atoms, np.delete(bonds, 2, axis=0)) == (HEAVY["CA"],)


def test_beads_of_hexane_are_equal_where_the_molecule_reads_the_same_backwards():
    four = label_beads(n_hexane((1,), (2,), (3,), (4,)))
    assert four[0] == four[3] != four[1] == four[2]
    assert count_automorphisms(four, np.array([(0, 1), (1, 2), (2, 3)])) == 2


def test_the_two_ends_of_a_chain_differ_by_the_atoms_behind_their_beads():
    labels = label_beads(alanine((HEAVY["C_ace"],), (HEAVY["N_nme"],)))
    assert labels[0] != labels[1]


def test_an_older_file_without_atoms_is_no_error():
    assert read_atom_graph({"name": "ACE-ALA-NME"}) is None
