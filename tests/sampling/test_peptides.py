"""Peptides from a sequence or a PDB file: shapes, handedness, force-field terms, solvent, and what is refused."""

import functools
import re
from dataclasses import replace

import numpy as np
import openmm
import pytest
from openmm import app, unit

from beadsmith.analysis.internal import angles, dihedrals
from beadsmith.errors import InputError
from beadsmith.sampling.amino_acids import ONE_LETTER, build_heavy_atoms, closest_contact, draw_backbone
from beadsmith.sampling.interactions import use_native_obc_
from beadsmith.sampling.peptides import PeptideSettings, build_peptide, load_force_field
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

CHIGNOLIN = "GYDPETGTWG"
RESIDUES = sorted(ONE_LETTER.values())


@functools.cache
def build_capped(residue):
    """Return the capped residue with two random starts."""
    return build_peptide(PeptideSettings(sequence=f"ACE-{residue}-NME"), n_starts=2, seed=3)


@functools.cache
def build_chignolin(**options):
    return build_peptide(PeptideSettings(sequence=CHIGNOLIN, **options), n_starts=3, seed=5)


def create_context(system, positions):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context


def compute_energy(context):
    return context.getState(energy=True).getPotentialEnergy()._value


def minimise(system, positions):
    """Return positions and energy at the minimum."""
    context = create_context(system, positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 1000)
    return context.getState(positions=True).getPositions(asNumpy=True)._value, compute_energy(context)


def sum_charges(system):
    (force,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return sum(force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles()))


def triple_product(topology, positions, residue, centre, others):
    """Return a · (b × c) of the directions from one atom of a residue to three others of it [1]."""
    index = {
        name: site
        for site, name in enumerate(topology.names)
        if topology.residue_names[topology.residue_index[site]] == residue
    }
    a, b, c = (positions[index[name]] - positions[index[centre]] for name in others)
    return float(a @ np.cross(b, c) / (np.linalg.norm(a) * np.linalg.norm(b) * np.linalg.norm(c)))


@pytest.mark.parametrize("residue", RESIDUES)
def test_bonds_and_angles_of_a_capped_residue_are_those_of_organic_molecules(residue):
    built = build_capped(residue)
    topology = built.atoms.topology
    elements = np.array(topology.elements)
    for positions in built.positions:
        i, j = topology.bonds.T
        lengths = np.linalg.norm(positions[i] - positions[j], axis=1)
        to_hydrogen = (elements[topology.bonds] == "H").any(axis=1)
        to_sulfur = (elements[topology.bonds] == "S").any(axis=1)
        assert np.all((lengths[to_hydrogen] > 0.09) & (lengths[to_hydrogen] < 0.14))
        assert np.all((lengths[to_sulfur & ~to_hydrogen] > 0.178) & (lengths[to_sulfur & ~to_hydrogen] < 0.183))
        plain = ~to_sulfur & ~to_hydrogen
        assert np.all((lengths[plain] > 0.12) & (lengths[plain] < 0.156))
        bends = angles(positions[None], topology.angles)
        # rings of five have 103 degrees inside and 134 outside
        assert np.all((bends > 90.0) & (bends < 137.0))


@pytest.mark.parametrize("residue", [name for name in RESIDUES if name != "GLY"])
def test_a_residue_is_of_the_l_form_before_and_after_minimisation(residue):
    built = build_capped(residue)
    topology = built.atoms.topology
    for start in built.positions:
        for positions in (start, minimise(built.atoms.system, start)[0]):
            # N, C, CB counter-clockwise seen from these three: configuration S of all but cysteine, which is alike
            assert triple_product(topology, positions, residue, "CA", ("N", "C", "CB")) > 0.5
            if residue == "THR":  # 3R
                assert triple_product(topology, positions, residue, "CB", ("OG1", "CA", "CG2")) < -0.5
            if residue == "ILE":  # 3S
                assert triple_product(topology, positions, residue, "CB", ("CA", "CG1", "CG2")) > 0.5


@pytest.mark.parametrize("residue", RESIDUES)
def test_minimisation_of_a_capped_residue_ends_at_a_low_finite_energy(residue):
    built = build_capped(residue)
    energies = [minimise(built.atoms.system, start)[1] for start in built.positions]
    assert np.all(np.isfinite(energies))
    # conformers of one molecule lie within a few hydrogen bonds and torsion barriers of each other
    assert abs(energies[0] - energies[1]) < 100.0


@pytest.mark.parametrize("residue", RESIDUES)
def test_atom_names_of_a_capped_residue_are_those_of_the_force_field(residue):
    settings = PeptideSettings(sequence=f"ACE-{residue}-NME")
    topology = build_capped(residue).atoms.topology
    force_field = load_force_field(settings)
    names = {topology.names[site] for site in range(topology.n_sites) if topology.residue_index[site] == 1}
    templates = {"HIS": ("HID", "HIE", "HIP")}.get(residue, (residue,))
    known = [{atom.name for atom in force_field._templates[name].atoms} for name in templates]
    assert names in known


def test_capped_alanine_has_the_terms_of_its_graph():
    topology = build_capped("ALA").atoms.topology
    assert topology.residue_names == ("ACE", "ALA", "NME")
    assert (topology.n_sites, topology.n_molecules) == (22, 1)
    # 12 bonds to hydrogen; angles and dihedrals counted by hand from the degrees of the atoms
    terms = (topology.bonds, topology.angles, topology.dihedrals, topology.impropers, topology.constraints)
    assert [len(rows) for rows in terms] == [21, 36, 41, 4, 12]
    assert topology.total_mass == pytest.approx(144.17, abs=0.02)


def test_constraints_are_the_bonds_to_hydrogen():
    topology = build_chignolin().atoms.topology
    elements = np.array(topology.elements)
    to_hydrogen = topology.bonds[(elements[topology.bonds] == "H").any(axis=1)]
    np.testing.assert_array_equal(topology.constraints, to_hydrogen)
    free = build_peptide(PeptideSettings(sequence="AA", constraints="none"), n_starts=1, seed=1)
    assert len(free.atoms.topology.constraints) == 0


def test_a_chain_has_the_backbone_dihedrals_asked_for():
    residues = ("ACE", *(ONE_LETTER[letter] for letter in CHIGNOLIN), "NME")
    wanted = draw_backbone(residues, np.random.default_rng(1))
    chain = build_heavy_atoms(residues, wanted)
    for before, here, after, (phi, psi) in zip(chain, chain[1:], chain[2:], wanted[1:-1], strict=False):
        points = [before["C"], here["N"], here["CA"], here["C"], after["N"], after["CA" if "CA" in after else "C"]]
        rows = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]])
        measured = dihedrals(np.array(points)[None], rows)[0]
        difference = measured - np.array([phi, psi, 180.0])
        # rounding of a chain of a hundred placed atoms
        np.testing.assert_allclose((difference + 180.0) % 360.0 - 180.0, 0.0, atol=1e-6)


def test_random_starts_differ_and_keep_their_distance():
    built = build_chignolin()
    assert built.positions.shape == (3, built.atoms.topology.n_sites, 3)
    ends = np.linalg.norm(built.positions[:, 0] - built.positions[:, -1], axis=1)
    assert len(np.unique(ends.round(3))) == 3
    residues = ("ACE", *(ONE_LETTER[letter] for letter in CHIGNOLIN), "NME")
    chain = build_heavy_atoms(residues, np.tile((-140.0, 140.0), (12, 1)))
    assert closest_contact(chain) > 0.28


def test_the_seed_fixes_all_starts():
    settings = PeptideSettings(sequence="ACE-SER-NME")
    first, second, third = (build_peptide(settings, n_starts=2, seed=seed).positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, third)


def test_extended_starts_are_all_the_same_stretched_chain():
    built = build_peptide(PeptideSettings(sequence=CHIGNOLIN, start="extended"), n_starts=2, seed=1)
    alpha = [site for site, name in enumerate(built.atoms.topology.names) if name == "CA"]
    # ten residues of about 0.34 nm rise
    ends = np.linalg.norm(built.positions[:, alpha[0]] - built.positions[:, alpha[-1]], axis=1)
    assert np.all(ends > 2.5)
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "charge", "first", "last"),
    [
        ({}, -2.0, "ACE", "NME"),
        ({"termini": "charged"}, -2.0, "GLY", "GLY"),
        # aspartate and glutamate take up their protons
        ({"ph": 2.0}, 0.0, "ACE", "NME"),
    ],
)
def test_chignolin_has_the_charge_of_its_residues(options, charge, first, last):
    built = build_peptide(PeptideSettings(sequence=CHIGNOLIN, **options), n_starts=1, seed=1)
    assert sum_charges(built.atoms.system) == pytest.approx(charge, abs=1e-4)
    assert built.atoms.topology.residue_names[0] == first
    assert built.atoms.topology.residue_names[-1] == last


def test_heavy_hydrogens_keep_the_total_mass_and_the_true_masses_of_the_topology():
    light, heavy = (
        build_peptide(PeptideSettings(sequence="ACE-ALA-NME"), n_starts=1, seed=1, hydrogen_mass=mass).atoms
        for mass in (None, 3.0)
    )
    masses = [[atoms.system.getParticleMass(i)._value for i in range(22)] for atoms in (light, heavy)]
    # the force field rounds the masses of the elements
    np.testing.assert_allclose(masses[0], light.topology.masses, rtol=3e-4)
    np.testing.assert_array_equal(light.topology.masses, heavy.topology.masses)
    assert sum(masses[0]) == pytest.approx(sum(masses[1]))
    assert min(masses[1]) == pytest.approx(3.0)


@pytest.mark.parametrize("sequence", ["ACE-ALA-NME", CHIGNOLIN])
@pytest.mark.parametrize("force_field", ["ff14SB", "ff99SB-ILDN"])
def test_native_obc_equals_the_custom_force_it_replaces(sequence, force_field):
    settings = PeptideSettings(sequence=sequence, force_field=force_field)
    built = build_peptide(settings, n_starts=3, seed=2)
    files = load_force_field(settings)
    app_topology = rebuild_topology(built.atoms.topology)
    custom = files.createSystem(app_topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    native = openmm.XmlSerializer.clone(custom)
    use_native_obc_(native)
    assert any(isinstance(force, openmm.CustomGBForce) for force in custom.getForces())
    assert not any(isinstance(force, openmm.CustomGBForce) for force in native.getForces())
    for start in built.positions:
        relaxed, _ = minimise(native, start)
        states = [create_context(system, relaxed).getState(energy=True, forces=True) for system in (custom, native)]
        energies = [state.getPotentialEnergy()._value for state in states]
        forces = [state.getForces(asNumpy=True)._value for state in states]
        assert energies[1] == pytest.approx(energies[0], rel=2e-5)
        # the solvent's constants differ by 1e-5 of a force of some 1000 kJ/mol/nm
        np.testing.assert_allclose(forces[1], forces[0], atol=0.05)


def rebuild_topology(topology):
    """Return OpenMM's topology of one chain from ours."""
    result = app.Topology()
    chain = result.addChain()
    residues = [result.addResidue(name, chain) for name in topology.residue_names]
    atoms = [
        result.addAtom(name, app.Element.getBySymbol(element), residues[residue])
        for name, element, residue in zip(topology.names, topology.elements, topology.residue_index, strict=True)
    ]
    for i, j in topology.bonds.tolist():
        result.addBond(atoms[i], atoms[j])
    return result


def test_gbn2_is_left_as_openmm_has_it():
    built = build_peptide(PeptideSettings(sequence="ACE-ALA-NME", solvent="gbn2"), n_starts=1, seed=1)
    assert any(isinstance(force, openmm.CustomGBForce) for force in built.atoms.system.getForces())
    assert np.isfinite(minimise(built.atoms.system, built.positions[0])[1])


@pytest.fixture(scope="module")
def water_box():
    settings = PeptideSettings(sequence=CHIGNOLIN, start="extended", solvent="tip3p", padding=0.7, save="all")
    return build_peptide(settings, n_starts=2, seed=1, cutoff=0.9, hydrogen_mass=3.0)


def test_box_of_water_is_neutral_and_as_dense_as_water(water_box):
    atoms = water_box.atoms
    assert sum_charges(atoms.system) == pytest.approx(0.0, abs=1e-3)
    assert atoms.topology.residue_names.count("NA") == 2
    cell = np.array([[v.x, v.y, v.z] for v in atoms.system.getDefaultPeriodicBoxVectors()])
    density = atoms.topology.total_mass / np.linalg.det(cell) / GRAM_PER_CUBIC_CENTIMETRE
    # TIP3P has 0.985 g/cm^3 at 300 K; the shell around the peptide is left a little empty
    assert density == pytest.approx(0.985, abs=0.05)


def test_water_is_rigid_and_keeps_its_hydrogen_mass(water_box):
    topology = water_box.atoms.topology
    water = [site for site in range(topology.n_sites) if topology.residue_names[topology.residue_index[site]] == "HOH"]
    n_rigid = sum(1 for pair in topology.constraints.tolist() if pair[0] in set(water))
    assert n_rigid == len(water)
    masses = {round(water_box.atoms.system.getParticleMass(site)._value, 3) for site in water}
    assert masses == {1.008, 15.999}


def test_all_replicas_in_water_start_alike(water_box):
    assert water_box.positions.shape[0] == 2
    np.testing.assert_array_equal(water_box.positions[0], water_box.positions[1])


def test_saving_the_solute_leaves_water_out_of_the_topology():
    settings = PeptideSettings(sequence="ACE-ALA-NME", solvent="tip3p", padding=0.8)
    built = build_peptide(settings, n_starts=1, seed=1, cutoff=0.7)
    assert built.atoms.topology.n_sites == 22
    assert built.atoms.system.getNumParticles() == len(built.positions[0]) > 300
    assert len(built.atoms.topology.constraints) == 12


def write_pdb(path, *, skip=(), residue=None):
    """Write the heavy atoms of extended chignolin with charged ends, and one water."""
    settings = PeptideSettings(sequence=CHIGNOLIN, termini="charged", start="extended")
    built = build_peptide(settings, n_starts=1, seed=1)
    topology = rebuild_topology(built.atoms.topology)
    modeller = app.Modeller(topology, built.positions[0] * unit.nanometer)
    atoms = modeller.topology.atoms()
    modeller.delete([a for a in atoms if a.element is app.element.hydrogen or (a.residue.index, a.name) in skip])
    for entry in modeller.topology.residues():
        entry.name = residue if residue is not None and entry.index == 3 else entry.name
    with path.open("w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file)
    return built


def test_a_pdb_file_gives_the_peptide_it_holds(tmp_path):
    built = write_pdb(tmp_path / "chignolin.pdb")
    read = build_peptide(PeptideSettings(pdb=str(tmp_path / "chignolin.pdb")), n_starts=2, seed=1)
    assert read.atoms.topology.names == built.atoms.topology.names
    assert read.atoms.topology.residue_names == built.atoms.topology.residue_names
    heavy = [site for site, element in enumerate(built.atoms.topology.elements) if element != "H"]
    # a PDB file has three digits of an angstrom
    np.testing.assert_allclose(read.positions[0][heavy], built.positions[0][heavy], atol=6e-5)
    np.testing.assert_array_equal(read.positions[0], read.positions[1])


def test_an_incomplete_pdb_file_is_refused_with_residue_and_atoms(tmp_path):
    write_pdb(tmp_path / "broken.pdb", skip={(1, "CG"), (1, "OH")})
    with pytest.raises(InputError, match=r"TYR 2 of chain 'A' lacks the atoms CG, OH.*broken\.pdb") as caught:
        build_peptide(PeptideSettings(pdb=str(tmp_path / "broken.pdb")), n_starts=1, seed=1)
    assert "PDBFixer" in caught.value.fix


def test_a_residue_that_the_force_field_does_not_know_is_named(tmp_path):
    write_pdb(tmp_path / "odd.pdb", residue="XYZ")
    with pytest.raises(InputError, match=r"ff14SB cannot describe the peptide.*XYZ"):
        build_peptide(PeptideSettings(pdb=str(tmp_path / "odd.pdb")), n_starts=1, seed=1)


@pytest.mark.parametrize("text", ["", "HELLO\n"])
def test_a_file_without_atoms_is_refused(tmp_path, text):
    (tmp_path / "empty.pdb").write_text(text)
    with pytest.raises(InputError, match="empty"):
        build_peptide(PeptideSettings(pdb=str(tmp_path / "empty.pdb")), n_starts=1, seed=1)


def test_a_missing_pdb_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="which is no file"):
        build_peptide(PeptideSettings(pdb=str(tmp_path / "none.pdb")), n_starts=1, seed=1)


def test_a_cutoff_that_does_not_fit_into_the_water_box_is_refused():
    settings = PeptideSettings(sequence="ACE-GLY-NME", solvent="tip3p", padding=0.4)
    with pytest.raises(InputError, match=r"cutoff is 1 nm, more than half of the water box") as caught:
        build_peptide(settings, n_starts=1, seed=1, cutoff=1.0)
    # the padding that the message names is enough
    padding = float(re.search(r"padding of at least ([\d.]+) nm", caught.value.fix)[1])
    assert build_peptide(replace(settings, padding=padding), n_starts=1, seed=1, cutoff=1.0).atoms.edge < 2.1


BAD_SETTINGS = {
    "nothing": ({}, "either a 'sequence' or a 'pdb', neither is given"),
    "both": ({"sequence": "AA", "pdb": "a.pdb"}, "either a 'sequence' or a 'pdb', both are given"),
    "unknown letter": ({"sequence": "GXG"}, "unknown residue 'X' at place 2"),
    "unknown code": ({"sequence": "ACE-ALX-GLY"}, "unknown residue 'ALX' at place 2"),
    "one word": ({"sequence": "ALA"}, "one residue or three one-letter codes"),
    "no amino acid": ({"sequence": "ACE-NME"}, "no amino acid"),
    "cap inside": ({"sequence": "ALA-ACE-ALA"}, "cap ACE at place 2"),
    "caps with charged ends": ({"sequence": "ACE-ALA-NME", "termini": "charged"}, "sequence .* has caps"),
    "caps in charmm": ({"sequence": "AA", "force_field": "charmm36"}, "no caps ACE and NME"),
    "single charged residue": ({"sequence": "A", "termini": "charged"}, "single amino acid with charged ends"),
    "pH": ({"sequence": "AA", "ph": 15.0}, "ph is 15.0"),
    "padding": ({"sequence": "AA", "padding": 0.0}, "padding is 0.0 nm"),
    "salt without water": ({"sequence": "AA", "ionic_strength": 0.1}, "obc2, which has no ions"),
    "much salt": ({"sequence": "AA", "solvent": "tip3p", "ionic_strength": 9.0}, "ionic_strength is 9.0"),
}


@pytest.mark.parametrize(("options", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused_with_the_field(options, message):
    with pytest.raises(InputError, match=message) as caught:
        PeptideSettings(**options)
    assert caught.value.exit_code == 2


def test_charmm_describes_a_peptide_with_charged_ends():
    settings = PeptideSettings(sequence="GYG", force_field="charmm36", termini="charged", solvent="vacuum")
    built = build_peptide(settings, n_starts=1, seed=1)
    assert np.isfinite(minimise(built.atoms.system, built.positions[0])[1])


def test_a_hydrogen_mass_that_empties_an_atom_is_refused():
    with pytest.raises(InputError, match="hydrogen_mass is 6 u"):
        build_peptide(PeptideSettings(sequence="AA"), n_starts=1, seed=1, hydrogen_mass=6.0)


def energy_and_forces(system, positions):
    state = create_context(system, positions).getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize(("force_field", "solvent"), [("ff14SB", "obc2"), ("ff99SB-ILDN", "vacuum")])
def test_the_d_form_has_energy_and_mirrored_forces_of_the_l_form(force_field, solvent):
    settings = PeptideSettings(sequence="FHIPRTVW", force_field=force_field, solvent=solvent)
    left = build_peptide(settings, n_starts=1, seed=2)
    right = build_peptide(replace(settings, chirality="D"), n_starts=1, seed=2)
    # the plane of reflection stands at right angles to x
    mirror = np.array([-1.0, 1.0, 1.0])
    moved = right.positions[0] - mirror * left.positions[0]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-12)
    expected, forces = energy_and_forces(left.atoms.system, left.positions[0])
    energy, mirrored = energy_and_forces(right.atoms.system, right.positions[0])
    assert energy == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(mirrored, mirror * forces, rtol=0.0, atol=1e-9 * np.abs(forces).max())


def test_the_d_form_has_centres_of_the_other_hand_in_water_as_well():
    settings = PeptideSettings(sequence="ACE-THR-NME", solvent="tip3p", save="all", padding=0.5)
    other = build_peptide(settings, n_starts=1, seed=1, cutoff=0.4)
    built = build_peptide(replace(settings, chirality="D"), n_starts=1, seed=1, cutoff=0.4)
    positions = built.positions[0]
    assert triple_product(built.atoms.topology, positions, "THR", "CA", ("N", "C", "CB")) < -0.5
    assert triple_product(built.atoms.topology, positions, "THR", "CB", ("OG1", "CA", "CG2")) > 0.5
    # as good as that of the L form, up to the grid of the Ewald sum
    expected = compute_energy(create_context(other.atoms.system, other.positions[0]))
    assert compute_energy(create_context(built.atoms.system, positions)) == pytest.approx(expected, abs=1.0)


def test_helices_start_right_handed_for_l_and_left_handed_for_d_residues():
    for chirality, expected in (("L", (-65.0, -42.0)), ("D", (65.0, 42.0))):
        built = build_peptide(PeptideSettings(sequence="AAAAA", start="helix", chirality=chirality), n_starts=1, seed=1)
        topology = built.atoms.topology
        site = {(r, n): k for k, (r, n) in enumerate(zip(topology.residue_index.tolist(), topology.names, strict=True))}
        phi = [[site[2, "C"], site[3, "N"], site[3, "CA"], site[3, "C"]]]
        psi = [[site[3, "N"], site[3, "CA"], site[3, "C"], site[4, "N"]]]
        found = dihedrals(built.positions, np.array([*phi, *psi]))[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("force_field", ["ff19SB", "charmm36"])
def test_force_fields_with_maps_for_l_residues_refuse_d(force_field):
    with pytest.raises(InputError, match=f"force_field {force_field} has energy maps that hold for L residues alone"):
        PeptideSettings(sequence="AAA", force_field=force_field, chirality="D", termini="charged")


def test_a_file_has_the_handedness_that_it_has():
    with pytest.raises(InputError, match="chirality is D, but the coordinates come from a PDB file"):
        PeptideSettings(pdb="x.pdb", chirality="D")


def test_the_force_fields_that_take_d_have_no_energy_maps():
    for force_field in ("ff14SB", "ff99SB-ILDN"):
        settings = PeptideSettings(sequence="AA", force_field=force_field, solvent="vacuum")
        system = build_peptide(settings, n_starts=1, seed=1).atoms.system
        assert not any(isinstance(force, openmm.CMAPTorsionForce) for force in system.getForces())
