"""Mapping files of other programs give the beads that their own programs would give, and hostile ones are refused."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.formats import read_mapping_files
from beadsmith.mapping.settings import MappingSettings
from example_references import ALCOHOL, DIMER, build_capped_alanine, build_topology

MIXTURE = build_topology(ALCOHOL, DIMER, ALCOHOL, ALCOHOL)

VOTCA = """<cg_molecule>
  <name>meoh</name> <ident>alcohol</ident>
  <topology>
    <cg_beads>
      <cg_bead><name>A1</name><type>A</type><mapping>A</mapping><beads> 1:alcohol:C </beads></cg_bead>
      <cg_bead>
        <name>B1</name><type>B</type><symmetry>1</symmetry><mapping>B</mapping>
        <beads> 1:alcohol:O 1:alcohol:H </beads>
      </cg_bead>
    </cg_beads>
    <cg_bonded><bond><name>bond</name><beads> A1 B1 </beads></bond></cg_bonded>
  </topology>
  <maps>
    <map><name>A</name><weights> 12 </weights></map>
    <map><name>B</name><weights> 3 1 </weights></map>
  </maps>
</cg_molecule>
"""

OPENMSCG = """
site-types:
  CH3: {index: [0], x-weight: [15.0], f-weight: [1.0]}
  OH: {index: [0, 1], x-weight: [3.0, 1.0], f-weight: [1.0, 1.0]}
system:
  - {anchor: 0, repeat: 1, offset: 0, sites: [[CH3, 0], [OH, 1]]}
  - anchor: 5
    repeat: 2
    offset: 3
    sites: [[CH3, 0], [OH, 1]]
"""

BACKWARD = """
; caps
[ molecule ]
ACE
[ martini ]
BB
[ mapping ]
amber
[ atoms ]
  1  CH3  BB
  2  C    BB
  3  O    BB
[ molecule ]
ALA ALA
[ martini ]
BB SC1
[ atoms ]
  1  N    BB
  3  CA   BB BB SC1   ; shared
  5  CB   SC1
  6  HB1
  9  C    !BB
[ out ]
  CB CA N HB1
[ molecule ]
TRP
[ atoms ]
  1  CZ3  SC5
"""


def read(tmp_path, content, name, topology=MIXTURE):
    path = tmp_path / name
    path.write_text(content)
    return read_mapping_files((str(path),), topology)


def map_with(tmp_path, content, name, topology=MIXTURE, **settings):
    definitions = read(tmp_path, content, name, topology)
    return build_templates(topology, MappingSettings(**settings), definitions)


@pytest.mark.parametrize(("content", "name"), [(VOTCA, "a.xml"), (OPENMSCG, "a.yaml"), (OPENMSCG, "A.YML")])
def test_same_mapping_from_votca_and_openmscg(tmp_path, content, name):
    (alcohol,) = map_with(tmp_path, content, name, omit=("dimer",))
    np.testing.assert_allclose(alcohol.position_weights, [[1, 0, 0], [0, 0.75, 0.25]])
    # the beads weigh what their atoms weigh, whatever the position weights
    np.testing.assert_allclose(alcohol.masses, [15.0, 17.0])
    np.testing.assert_array_equal(alcohol.bonds, [[0, 1]])
    assert alcohol.molecules.n_molecules == 3


def test_votca_names_and_types_are_kept(tmp_path):
    (alcohol,) = map_with(tmp_path, VOTCA, "a.xml", omit=("dimer",))
    assert (alcohol.names, alcohol.type_names) == (("A1", "B1"), ("A", "B"))


def test_openmscg_types_are_kept(tmp_path):
    (alcohol,) = map_with(tmp_path, OPENMSCG, "a.yaml", omit=("dimer",))
    assert (alcohol.names, alcohol.type_names) == (("CH31", "OH2"), ("CH3", "OH"))


def test_votca_dihedral_along_bonds_is_derived_and_any_other_an_improper(tmp_path):
    beads = "".join(
        f"<cg_bead><name>{atom}</name><type>{atom}</type><mapping>A</mapping><beads>1:ring:{atom}</beads></cg_bead>"
        for atom in "ABCD"
    )
    bonded = "<bond><name>b</name><beads>A B B C B D</beads></bond><dihedral><name>d</name><beads>{}</beads></dihedral>"
    document = (
        "<cg_molecule><name>r</name><ident>x</ident><topology><cg_beads>{}</cg_beads><cg_bonded>{}</cg_bonded>"
        "</topology><maps><map><name>A</name><weights>1</weights></map></maps></cg_molecule>"
    )
    ring = build_topology(("ring", tuple("ABCD"), (1.0,) * 4, ((0, 1), (1, 2), (1, 3)), ()))
    (template,) = map_with(tmp_path, document.format(beads, bonded.format("B A C D")), "r.xml", ring)
    np.testing.assert_array_equal(template.impropers, [[1, 0, 2, 3]])
    chain = bonded.replace("B B C B D", "B B C C D").format("A B C D")
    (template,) = map_with(tmp_path, document.format(beads, chain), "c.xml", ring)
    np.testing.assert_array_equal(template.dihedrals, [[0, 1, 2, 3]])
    assert len(template.impropers) == 0


def test_nested_groups_of_openmscg_are_repeated_inside_each_other(tmp_path):
    nested = OPENMSCG[: OPENMSCG.index("system:")] + (
        "system:\n"
        "  - anchor: 0\n    repeat: 2\n    offset: 6\n"
        "    groups: [{anchor: 0, repeat: 2, offset: 3, sites: [[CH3, 0], [OH, 1]]}]\n"
    )
    topology = build_topology(*[ALCOHOL] * 4)
    (alcohol,) = map_with(tmp_path, nested, "n.yaml", topology)
    assert alcohol.molecules.n_molecules == 4


def test_backward_shares_atoms_among_their_beads(tmp_path):
    topology = build_capped_alanine()
    (template,) = map_with(tmp_path, BACKWARD, "protein.map", topology, omit=("NME",))
    assert template.names == ("BB", "BB", "SC1")
    masses = {"N": 14.007, "CA": 12.011, "CB": 12.011}
    total = masses["N"] + 2 / 3 * masses["CA"]
    np.testing.assert_allclose(template.position_weights[1, [6, 8, 14]], [14.007 / total, 2 / 3 * 12.011 / total, 0.0])
    assert template.members[1, 14]
    np.testing.assert_allclose(template.masses[1:], [total, 12.011 * 4 / 3])
    assert not template.members[:, 11].any()


def test_residues_that_are_not_there_are_no_error(tmp_path):
    names = [definition.name for definition in read(tmp_path, BACKWARD, "a.map", build_capped_alanine())]
    assert names == ["ACE", "ALA"]


def test_file_that_fits_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="gives beads to ACE, ALA, TRP, expected a residue or molecule") as error:
        read(tmp_path, BACKWARD, "a.map")
    assert "alcohol, dimer" in str(error.value)


BOMB = '<!DOCTYPE a [<!ENTITY b "{}">{}]><cg_molecule>&j;</cg_molecule>'.format(
    "x" * 100,
    "".join(f'<!ENTITY {after} "{f"&{before};" * 50}">' for before, after in zip("bcdefghi", "cdefghij", strict=True)),
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><cg_molecule><name>&b;</name></cg_molecule>'
ENDLESS = """
site-types: {A: {index: [0], x-weight: [1.0], f-weight: [1.0]}}
system:
  - &group {anchor: 0, repeat: 2, offset: 1, groups: [*group]}
"""
HOSTILE = {
    "entities that expand": (BOMB, "a.xml", "declares a document type"),
    "entity of another file": (OUTSIDE, "a.xml", "declares a document type"),
    "group inside itself": (ENDLESS, "a.yaml", "uses aliases"),
    "tag that builds an object": ("!!python/object/apply:os.getcwd []", "a.yaml", "is not YAML"),
    "lists without end": ("[" * 5000, "a.yaml", "is not YAML"),
    "repeat without end": (
        OPENMSCG.replace("repeat: 2", "repeat: 1000000000000").replace("offset: 3", "offset: 0"),
        "a.yaml",
        "is repeated 1000000000000 times at an offset of 0",
    ),
    "anchor beyond the atoms": (OPENMSCG.replace("anchor: 5", "anchor: 900"), "a.yaml", "takes atoms .900. of 11"),
    "anchor before the atoms": (OPENMSCG.replace("anchor: 5", "anchor: -9"), "a.yaml", "takes atoms .-9. of 11"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused(tmp_path, case):
    content, name, message = HOSTILE[case]
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content, name)
    assert name in str(error.value)


BROKEN = {
    "no XML": ("<cg_molecule>", "a.xml", "is not XML"),
    "other XML": ("<topology/>", "a.xml", "holds <topology>, expected <cg_molecule>"),
    "bead without atoms": (VOTCA.replace(" 1:alcohol:C ", ""), "a.xml", "<cg_bead> has no <beads>"),
    "unknown map": (VOTCA.replace("<mapping>A<", "<mapping>Z<"), "a.xml", "uses the map 'Z'"),
    "weights of other atoms": (VOTCA.replace("> 12 <", "> 12 1 <"), "a.xml", "factors of bead 'A1' are 2 for 1 atoms"),
    "weight that is no number": (VOTCA.replace("> 12 <", "> nan <"), "a.xml", "weights of map 'A' are 'nan'"),
    "force weights": (VOTCA.replace("> 12 </weights>", "> 12 </weights><d>2</d>"), "a.xml", "force weights <d>"),
    "ellipsoid": (VOTCA.replace("<symmetry>1<", "<symmetry>3<"), "a.xml", "symmetry other than 1"),
    "atom without residue": (VOTCA.replace("1:alcohol:C", "C"), "a.xml", "expected NUMBER:RESIDUE:NAME"),
    "half a bond": (VOTCA.replace("A1 B1", "A1"), "a.xml", "lists 1 beads, expected a multiple of 2"),
    "other YAML": ("a: 1", "a.yaml", "neither 'definitions' nor the 'site-types'"),
    "unequal force weights": (OPENMSCG.replace("f-weight: [1.0, 1.0]", "f-weight: [1, 0]"), "a.yaml", "'f-weight' of"),
    "unknown site": (OPENMSCG.replace("[[CH3, 0]", "[[CH4, 0]"), "a.yaml", "site of type 'CH4'"),
    "site across molecules": (OPENMSCG.replace("anchor: 5", "anchor: 6"), "a.yaml", "takes atoms of 2 molecules"),
    "molecules mapped differently": (OPENMSCG.replace("repeat: 2", "repeat: 1"), "a.yaml", "get different sites"),
    "anchored group of groups": (
        OPENMSCG + "  - {anchor: 3, repeat: 1, offset: 0, groups: [{anchor: 0, repeat: 1, offset: 0}]}\n",
        "a.yaml",
        "has the anchor 3, expected 0",
    ),
    "text for a number": (OPENMSCG.replace("anchor: 5", "anchor: five"), "a.yaml", "'anchor' of a group is 'five'"),
    "no residue": ("[ atoms ]\n1 N BB\n", "a.map", "not 'number atom bead ...' of a"),
    "nothing": ("; empty\n", "a.map", "has no . molecule ."),
    "bead without an atom": (
        "[ molecule ]\nALA\n[ martini ]\nBB SC9\n[ atoms ]\n1 N BB\n",
        "a.map",
        "bead 'SC9' needs",
    ),
    "other program": ("", "a.txt", "expected a name that ends in .xml, .yaml, .yml, .map"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_refused_with_its_name(tmp_path, case):
    content, name, message = BROKEN[case]
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, content, name)
    assert name in str(error.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_mapping_files((str(tmp_path / "none.xml"),), MIXTURE)
