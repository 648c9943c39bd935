"""Starts of a peptide from structures: replicas in turn, coordinates and order of the atoms, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from openmm import app, unit

import beadsmith
from beadsmith.errors import InputError
from beadsmith.sampling.peptide_starts import build_backbone
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.starts import build_starts, list_structures, measure_system
from beadsmith.trajectory import StatePoint

DIPEPTIDE = PeptideSettings(sequence="GS", termini="charged")


def write_structure(path, residues=("GLY", "SER"), *, edit=lambda lines: lines):
    """Write heavy atoms with a helical backbone, those of each residue in alphabetical order; return positions [nm]."""
    modeller = build_backbone(residues, "helix", np.random.default_rng(1))
    topology, points = app.Topology(), []
    chain = topology.addChain()
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    for residue in modeller.topology.residues():
        copy = topology.addResidue(residue.name, chain)
        for atom in sorted(residue.atoms(), key=lambda atom: atom.name):
            topology.addAtom(atom.name, atom.element, copy)
            points.append(positions[atom.index])
    with path.open("w") as file:
        app.PDBFile.writeFile(topology, np.array(points) * unit.nanometer, file)
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
    return str(path), positions


def test_replicas_take_structures_and_built_backbones_in_turn(tmp_path):
    name, expected = write_structure(tmp_path / "helix.pdb")
    built = build_peptide(replace(DIPEPTIDE, structures=(name,)), n_starts=4, seed=1)
    heavy = np.array(built.atoms.topology.elements) != "H"
    # three digits of an angstrom
    for replica in (0, 2):
        np.testing.assert_allclose(built.positions[replica][heavy], expected, atol=6e-5)
    for replica in (1, 3):
        assert np.abs(built.positions[replica][heavy] - expected).max() > 0.01
    assert np.abs(built.positions[1] - built.positions[3]).max() > 0.01


def test_a_structure_leaves_atoms_and_interactions_as_they_are_without_it(tmp_path):
    name, _ = write_structure(tmp_path / "helix.pdb")
    plain = build_peptide(DIPEPTIDE, n_starts=1, seed=1).atoms
    other = build_peptide(replace(DIPEPTIDE, structures=(name,)), n_starts=2, seed=1).atoms
    assert other.topology.names == plain.topology.names
    np.testing.assert_array_equal(other.topology.bonds, plain.topology.bonds)
    np.testing.assert_array_equal(other.topology.constraints, plain.topology.constraints)


def test_backbones_between_structures_are_those_that_the_seed_draws(tmp_path):
    name, _ = write_structure(tmp_path / "helix.pdb")
    plain = build_peptide(DIPEPTIDE, n_starts=1, seed=1)
    mixed = build_peptide(replace(DIPEPTIDE, structures=(name,)), n_starts=2, seed=1)
    heavy = np.array(plain.atoms.topology.elements) != "H"
    np.testing.assert_array_equal(mixed.positions[1][heavy], plain.positions[0][heavy])


def test_several_structures_are_taken_in_the_order_in_which_they_are_named(tmp_path):
    first, expected = write_structure(tmp_path / "first.pdb")
    second, _ = write_structure(tmp_path / "second.pdb", edit=lambda lines: [move(line) for line in lines])
    built = build_peptide(replace(DIPEPTIDE, structures=(second, first)), n_starts=3, seed=1)
    heavy = np.array(built.atoms.topology.elements) != "H"
    np.testing.assert_allclose(built.positions[0][heavy], expected + [1.0, 0.0, 0.0], atol=6e-5)
    np.testing.assert_allclose(built.positions[1][heavy], expected, atol=6e-5)


def move(line):
    """Move an atom by 10 Å along x."""
    if not line.startswith(("ATOM", "HETATM")):
        return line
    return f"{line[:30]}{float(line[30:38]) + 10.0:8.3f}{line[38:]}"


def drop(name):
    """Return an edit that removes the atoms of a name."""
    return lambda lines: [line for line in lines if line[12:16].strip() != name]


def add_second_chain(lines):
    atoms = [line for line in lines if line.startswith("ATOM")]
    return [*atoms, *(line[:21] + "B" + line[22:] for line in atoms), "END"]


def add_phosphorus(lines):
    at = next(index for index, line in enumerate(lines) if " SER " in line)
    return [*lines[:at], lines[at][:12] + " P  " + lines[at][16:76] + " P", *lines[at:]]


BAD_FILES = {
    "other sequence": (("GLY", "THR"), None, r"residues GLY-THR, but the sequence is GLY-SER"),
    "capped": (("ACE", "GLY", "SER", "NME"), None, r"residues ACE-GLY-SER-NME, but the sequence is GLY-SER"),
    "two chains": (("GLY", "SER"), add_second_chain, r"residues GLY-SER-GLY-SER in 2 chains"),
    "side chain": (("GLY", "SER"), drop("OG"), r"residue SER 2 of chain 'A' lacks the atoms OG"),
    "end": (("GLY", "SER"), drop("OXT"), r"residue SER 2 lacks OXT"),
    "modified": (("GLY", "SER"), add_phosphorus, r"residue SER 2 has P besides"),
}


@pytest.mark.parametrize(("residues", "edit", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_structure_that_is_not_the_peptide_is_refused_with_file_and_difference(residues, edit, message, tmp_path):
    name, _ = write_structure(tmp_path / "bad.pdb", residues, edit=edit or (lambda lines: lines))
    with pytest.raises(InputError, match=message) as caught:
        build_peptide(replace(DIPEPTIDE, structures=(name,)), n_starts=2, seed=1)
    assert "bad.pdb" in str(caught.value)
    assert caught.value.fix


def test_a_missing_structure_is_named():
    with pytest.raises(InputError, match=r"'none\.pdb', which is no file"):
        build_peptide(replace(DIPEPTIDE, structures=("none.pdb",)), n_starts=2, seed=1)


BAD_SETTINGS = {
    "with pdb": (
        {"sequence": None, "pdb": "a.pdb"},
        "structures are b.pdb, but all replicas start from the pdb 'a.pdb'",
    ),
    "mirrored": ({"chirality": "D"}, "structures are given, but chirality is D"),
    "in water": ({"solvent": "tip3p"}, "structures are b.pdb, but in water all replicas start from one box"),
}


@pytest.mark.parametrize(("options", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_structures_are_refused_where_they_would_not_be_used(options, message):
    with pytest.raises(InputError, match=message):
        replace(DIPEPTIDE, structures=("b.pdb",), **options)


@pytest.mark.parametrize(("n_structures", "n_replicas"), [(1, 1), (2, 1), (3, 3)])
def test_fewer_replicas_than_starts_are_refused(n_structures, n_replicas):
    system = replace(DIPEPTIDE, structures=("b.pdb",) * n_structures)
    sampling = SamplingSettings(replicas=n_replicas)
    with pytest.raises(InputError, match=f"structures are {n_structures}, but replicas {n_replicas}") as caught:
        build_starts(sampling, system, StatePoint(temperature=300.0), n_replicas=n_replicas, seed=1)
    # the number of replicas that the message names is enough: what is missing then is the file
    needed = int(re.search(r"replicas to (\d+)", caught.value.fix)[1])
    with pytest.raises(InputError, match="which is no file"):
        build_starts(
            replace(sampling, replicas=needed), system, StatePoint(temperature=300.0), n_replicas=needed, seed=1
        )


def test_structures_are_inputs_of_the_run():
    assert list_structures(replace(DIPEPTIDE, structures=("a.pdb", "b.pdb"))) == ["a.pdb", "b.pdb"]
    assert list_structures(DIPEPTIDE) == []


def test_the_check_names_section_and_line_of_structures_without_replicas(tmp_path):
    text = (
        "name: short\nsystem:\n  kind: peptide\n  sequence: GS\n  structures: [a.pdb]\nstate:\n  temperature: 300 K\n"
    )
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match=r"'system\.structures' are 1, but replicas 1.*run\.yaml:5"):
        beadsmith.load_config(tmp_path / "run.yaml")


def test_every_structure_is_read_before_anything_runs(tmp_path):
    good, _ = write_structure(tmp_path / "good.pdb")
    bad, _ = write_structure(tmp_path / "bad.pdb", edit=drop("OG"))
    with pytest.raises(InputError, match=r"lacks the atoms OG.*bad\.pdb"):
        measure_system(replace(DIPEPTIDE, structures=(good, bad)))
