"""Types from the bond graph: equal surroundings share one, in whatever molecule, and different ones do not."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.graph_types import refine_colors
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from example_references import build_capped_alanine, build_topology

MASSES = {"C": 12.011, "H": 1.008, "N": 14.007, "O": 15.999}
CHAIN_OF_FIVE = np.array([(0, 1), (1, 2), (2, 3), (3, 4)])


def build_alkane(*groups, name="alkane"):
    """Return carbons with hydrogens, given as (number of hydrogens, carbon it hangs on or None)."""
    names, bonds, carbons = [], [], []
    for hydrogens, parent in groups:
        carbons.append(len(names))
        names.append(f"C{len(carbons)}")
        bonds += [] if parent is None else [(carbons[parent], carbons[-1])]
        for k in range(hydrogens):
            bonds.append((carbons[-1], len(names)))
            names.append(f"H{len(carbons)}{k}")
    topology = build_topology((name, tuple(names), tuple(MASSES[n[0]] for n in names), tuple(bonds), ()))
    return replace(topology, elements=tuple(n[0] for n in names))


def build_n_alkane(n_carbons):
    counts = [3 if k in (0, n_carbons - 1) else 2 for k in range(n_carbons)]
    return build_alkane(*((h, k - 1 if k else None) for k, h in enumerate(counts)))


HEXANE = build_n_alkane(6)


def group(topology, name, *carbons):
    """Return a bead of carbons with their hydrogens at their centre of mass."""
    atoms = [atom for atom in topology.names for c in carbons if atom == f"C{c}" or atom.startswith(f"H{c}")]
    return BeadDefinition(name=name, atoms=tuple(atoms))


def site(name, atom, **fields):
    return BeadDefinition(name=name, atoms=(atom,), weights="atom", **fields)


def types_of(topology, *beads, depth=2, **fields):
    settings = MappingSettings(
        types="graph",
        graph_depth=depth,
        definitions=(MoleculeBeads(name="alkane", beads=beads),) if beads else (),
        **fields,
    )
    (template,) = build_templates(topology, settings)
    return template.type_names


def pattern(types):
    """Number types in the order in which they appear, as in the tables of the literature."""
    order = list(dict.fromkeys(types))
    return [order.index(name) + 1 for name in types]


def test_colors_of_a_chain_grow_with_depth_until_only_its_mirror_images_are_equal():
    colors = {depth: refine_colors("aaaaa", CHAIN_OF_FIVE, depth) for depth in range(4)}
    assert colors[0] == (0, 0, 0, 0, 0)
    assert colors[1] == (0, 1, 1, 1, 0)
    assert colors[2] == colors[3] == (0, 1, 2, 1, 0)


def test_a_label_breaks_the_symmetry_as_far_as_the_depth_reaches():
    assert refine_colors("baaaa", CHAIN_OF_FIVE, 1) == (0, 1, 2, 2, 3)
    assert refine_colors("baaaa", CHAIN_OF_FIVE, 2) == (0, 1, 2, 3, 4)


def test_colors_follow_the_sites_when_these_are_renumbered():
    generator = np.random.default_rng(5)
    labels = "abbacabcab"
    bonds = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6), (2, 7), (7, 8), (8, 9)])
    order = generator.permutation(10)
    colors = np.array(refine_colors(labels, bonds, 2))
    renumbered = np.array(refine_colors([labels[old] for old in order], np.argsort(order)[bonds][:, ::-1], 2))
    assert (colors[order][:, None] == colors[order]).tolist() == (renumbered[:, None] == renumbered).tolist()


def test_sites_without_bonds_have_the_colors_of_their_labels():
    assert refine_colors(["x", "y", "x"], np.zeros((0, 2), dtype=np.int64), 3) == (0, 1, 0)


@pytest.mark.parametrize(
    ("beads", "expected"),
    [
        ([group(HEXANE, "A", 1, 2, 3), group(HEXANE, "B", 4, 5, 6)], [1, 1]),
        ([group(HEXANE, "A", 1, 2), group(HEXANE, "B", 3, 4), group(HEXANE, "C", 5, 6)], [1, 2, 1]),
        ([site("A", "C2"), site("B", "C3"), site("C", "C4"), site("D", "C5")], [1, 2, 2, 1]),
        ([site(f"C{k}", f"C{k}") for k in range(1, 7)], [1, 2, 3, 3, 2, 1]),
        ([group(HEXANE, "A", 1, 2, 3, 4), group(HEXANE, "B", 5, 6)], [1, 2]),
    ],
)
def test_types_of_hexane_are_equal_for_halves_that_are(beads, expected):
    assert pattern(types_of(HEXANE, *beads)) == expected


def test_all_six_beads_of_alanine_differ_even_without_looking_around():
    assert pattern(types_of(build_capped_alanine(), beads="backbone_cb", depth=0)) == [1, 2, 3, 4, 5, 6]


def test_names_begin_with_the_formula_of_the_bead():
    names = types_of(build_capped_alanine(), beads="backbone_cb")
    assert [name.rpartition("_")[0] for name in names] == ["C", "NH", "CH", "CH3", "C", "NH"]


def test_a_fragment_has_its_type_in_every_molecule_and_only_as_far_as_the_depth():
    octane = build_n_alkane(8)
    of_hexane = types_of(HEXANE, *(site(f"C{k}", f"C{k}") for k in range(1, 7)), depth=2)
    of_octane = types_of(octane, *(site(f"C{k}", f"C{k}") for k in range(1, 9)), depth=2)
    assert of_octane[:3] == of_hexane[:3]
    # the fourth carbon of octane is three bonds from either end
    assert of_octane[3] not in of_hexane
    deep = types_of(HEXANE, *(site(f"C{k}", f"C{k}") for k in range(1, 7)), depth=5)
    assert not set(deep) & set(types_of(octane, *(site(f"C{k}", f"C{k}") for k in range(1, 9)), depth=5))


def test_beads_of_one_formula_differ_by_how_their_atoms_are_bonded():
    isomer = build_alkane((3, None), (1, 0), (3, 1), (2, 1), (3, 3))
    straight = build_n_alkane(5)
    isopropyl = types_of(isomer, group(isomer, "A", 1, 2, 3), group(isomer, "B", 4, 5), depth=0)
    propyl = types_of(straight, group(straight, "A", 1, 2, 3), group(straight, "B", 4, 5), depth=0)
    assert isopropyl[1] == propyl[1]
    assert isopropyl[0] != propyl[0]


def test_a_side_chain_without_a_bead_counts_for_the_bead_it_hangs_on():
    isomer = build_alkane((3, None), (1, 0), (2, 1), (3, 2), (3, 1))
    straight = build_n_alkane(4)
    backbone = [site(f"C{k}", f"C{k}") for k in range(1, 5)]
    branched, plain = types_of(isomer, *backbone, depth=0), types_of(straight, *backbone, depth=0)
    assert (branched[0], branched[2], branched[3]) == (plain[0], plain[2], plain[3])
    assert branched[1] != plain[1]


def test_stated_types_are_where_refinement_begins():
    beads = [site(f"C{k}", f"C{k}", type="A" if k < 4 else "B") for k in range(1, 7)]
    names = types_of(HEXANE, *beads, depth=1)
    assert [name[0] for name in names] == list("AAABBB")
    # A-A-A-B-B-B: ends, next to the ends, and at the border
    assert pattern(names) == [1, 2, 3, 4, 5, 6]


def test_one_bead_a_molecule_is_named_after_what_it_is_and_not_after_the_molecule():
    names = [types_of(replace(HEXANE, residue_names=(name,)))[0] for name in ("hexane", "solvent")]
    assert names[0] == names[1]
    assert names[0].startswith("C6H14_")


def test_names_are_those_of_every_other_run():
    # written down once: force fields of earlier runs name their types so
    assert types_of(HEXANE, site("A", "C1"), site("B", "C2"), depth=1) == ("CH3_a3ae4b", "CH2_629a8e")


def test_a_reference_without_elements_needs_types_to_start_from():
    unknown = replace(HEXANE, elements=None)
    with pytest.raises(InputError, match="does not say which elements the atoms of bead 'A' are"):
        types_of(unknown, site("A", "C1"))
    assert types_of(unknown, site("A", "C1", type="T"))[0].startswith("T_")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"graph_depth": -1}, "mapping.graph_depth is -1, expected 0 to 20"),
        ({"types": "graph", "terminal_types": True}, "mapping.terminal_types is true with 'types: graph'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        MappingSettings(**settings)
