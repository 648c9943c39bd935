"""OPLS-AA energies, term by term, against sums written out here from the published parameters.

Parameters: W. L. Jorgensen, D. S. Maxwell, J. Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996), as distributed with
GROMACS 2022.5 (oplsaa.ff). Nothing here is read from the force-field file except names of atoms and bonds.
"""

from itertools import combinations, pairwise

import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError
from beadsmith.sampling.interactions import build_interactions
from beadsmith.sampling.residues import read_residues
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.units import COULOMB_CONSTANT

# charge [e], sigma [nm], epsilon [kJ/mol], class, mass [u]
ATOMS = {
    "opls_135": (-0.180, 0.350, 0.276144, "CT", 12.011),
    "opls_136": (-0.120, 0.350, 0.276144, "CT", 12.011),
    "opls_138": (-0.240, 0.350, 0.276144, "CT", 12.011),
    "opls_140": (0.060, 0.250, 0.125520, "HC", 1.008),
    "opls_145": (-0.115, 0.355, 0.292880, "CA", 12.011),
    "opls_146": (0.115, 0.242, 0.125520, "HA", 1.008),
    "opls_154": (-0.683, 0.312, 0.711280, "OH", 15.9994),
    "opls_155": (0.418, 0.0, 0.0, "HO", 1.008),
    "opls_156": (0.040, 0.250, 0.125520, "HC", 1.008),
    "opls_157": (0.145, 0.350, 0.276144, "CT", 12.011),
    "spce_O": (-0.8476, 0.316557, 0.650194, "OW", 15.9994),
    "spce_H": (0.4238, 0.0, 0.0, "HW", 1.008),
}
BONDS = {"CT CT": (0.1529, 224262.4), "CT OH": (0.1410, 267776.0), "CA CA": (0.1400, 392459.2)}
HYDROGEN_BONDS = {"CT HC": 0.1090, "HO OH": 0.0945, "CA HA": 0.1080}
ANGLES = {
    "CT CT CT": (112.7, 488.273),
    "CT CT HC": (110.7, 313.800),
    "HC CT HC": (107.8, 276.144),
    "HC CT OH": (109.5, 292.880),
    "CT OH HO": (108.5, 460.240),
    "CA CA CA": (120.0, 527.184),
    "CA CA HA": (120.0, 292.880),
}
TORSIONS = {
    "CT CT CT CT": (2.92880, -1.46440, 0.20920, -1.67360),
    "CT CT CT HC": (0.62760, 1.88280, 0.0, -2.51040),
    "HC CT CT HC": (0.62760, 1.88280, 0.0, -2.51040),
    "HC CT OH HO": (0.94140, 2.82420, 0.0, -3.76560),
    "CA CA CA CA": (30.33400, 0.0, -30.33400, 0.0),
    "CA CA CA HA": (30.33400, 0.0, -30.33400, 0.0),
    "HA CA CA HA": (30.33400, 0.0, -30.33400, 0.0),
}
IMPROPER = 4.60240
FORMULAS = {"methanol": "C H H H O H", "methane": "C H H H H", "benzene": "C " * 6 + "H " * 6}
CLUSTERS = {
    "two methanols": ("methanol", "methanol"),
    "hexane": ("hexane",),
    "benzene and methane": ("benzene", "methane"),
}


def cluster(molecules):
    """Return the System of molecules in vacuum, distorted positions, and types and bonds of all atoms."""
    counts = {name: molecules.count(name) for name in dict.fromkeys(molecules)}
    settings = SystemSettings(molecules=tuple(MoleculeCount(name=name, count=n) for name, n in counts.items()))
    atoms = build_system(settings, density=None, cutoff=1.0, seed=3)
    positions = atoms.positions + np.random.default_rng(4).normal(scale=0.01, size=atoms.positions.shape)
    types = [atoms.topology.type_names[t] for t in atoms.topology.types]
    if len(molecules) == 2:  # into contact, so that all terms matter
        second = atoms.topology.molecule_index == 1
        gap = positions[second].mean(axis=0) - positions[~second].mean(axis=0)
        positions[second] -= gap * (1.0 - 0.45 / np.linalg.norm(gap))
    return atoms.system, positions, types, [tuple(bond) for bond in atoms.topology.bonds.tolist()]


def engine_energy(system, positions, *, kinds, charges=True):
    """Return the energy [kJ/mol] of some forces of a System, optionally with all charges removed."""
    copy = openmm.XmlSerializer.clone(system)
    for force in copy.getForces():
        force.setForceGroup(1 if isinstance(force, kinds) else 0)
        if isinstance(force, openmm.NonbondedForce) and not charges:
            for i in range(force.getNumParticles()):
                force.setParticleParameters(i, 0.0, *force.getParticleParameters(i)[1:])
            for k in range(force.getNumExceptions()):
                i, j, _, sigma, epsilon = force.getExceptionParameters(k)
                force.setExceptionParameters(k, i, j, 0.0, sigma, epsilon)
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(copy, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(positions)
    return context.getState(energy=True, groups={1}).getPotentialEnergy()._value


def separations(n_atoms, bonds):
    """Return the number of bonds between all atoms (99 where there is no path), by repeated relaxation."""
    steps = np.full((n_atoms, n_atoms), 99)
    np.fill_diagonal(steps, 0)
    for i, j in bonds:
        steps[i, j] = steps[j, i] = 1
    for _ in range(n_atoms):
        steps = np.minimum(steps, (steps[:, :, None] + steps[None, :, :]).min(axis=1))
    return steps


def classes(types, sites):
    """Return the class names of sites in the order in which the tables hold them."""
    names = [ATOMS[types[site]][3] for site in sites]
    return " ".join(min(names, names[::-1]))


def angle_at(positions, i, j, k):
    """Return the angle i-j-k [degrees]."""
    a, b = positions[i] - positions[j], positions[k] - positions[j]
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


def cos_dihedral(positions, i, j, k, m):
    """Return the cosine of the dihedral i-j-k-m (IUPAC: 1 when eclipsed)."""
    b1, b2, b3 = positions[j] - positions[i], positions[k] - positions[j], positions[m] - positions[k]
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return n1 @ n2 / np.linalg.norm(n1) / np.linalg.norm(n2)


def neighbours_of(bonds):
    """Return the bonded neighbours of each atom."""
    found = {}
    for i, j in bonds:
        found.setdefault(i, []).append(j)
        found.setdefault(j, []).append(i)
    return found


def dihedrals_of(bonds):
    """Return all proper dihedrals, each once."""
    near = neighbours_of(bonds)
    return [(i, j, k, m) for j, k in bonds for i in near[j] if i != k for m in near[k] if m not in (j, i)]


def hand_pairs(positions, types, bonds):
    """Return Coulomb and Lennard-Jones energies of full pairs and of 1-4 pairs (scaled)."""
    steps = separations(len(types), bonds)
    sums = dict.fromkeys(("coulomb", "coulomb_14", "lennard_jones", "lennard_jones_14"), 0.0)
    for i, j in combinations(range(len(types)), 2):
        if steps[i, j] < 3:
            continue
        (q1, s1, e1, *_), (q2, s2, e2, *_) = ATOMS[types[i]], ATOMS[types[j]]
        r = np.linalg.norm(positions[i] - positions[j])
        sixth = (np.sqrt(s1 * s2) / r) ** 6
        scale, mark = (0.5, "_14") if steps[i, j] == 3 else (1.0, "")
        sums["coulomb" + mark] += scale * COULOMB_CONSTANT * q1 * q2 / r
        sums["lennard_jones" + mark] += scale * 4.0 * np.sqrt(e1 * e2) * (sixth**2 - sixth)
    return sums


# double precision on the Reference platform: what is left is the rounding of the Coulomb constant and of radians
TOLERANCE = {"rel": 1e-6, "abs": 1e-7}


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_bond_energy_equals_the_harmonic_sum_over_bonds_without_hydrogen(molecules):
    system, positions, types, bonds = cluster(molecules)
    expected = 0.0
    for i, j in bonds:
        if (name := classes(types, (i, j))) in BONDS:
            length, constant = BONDS[name]
            expected += 0.5 * constant * (np.linalg.norm(positions[i] - positions[j]) - length) ** 2
    assert expected > 0.0
    assert engine_energy(system, positions, kinds=openmm.HarmonicBondForce) == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_bonds_to_hydrogen_are_constrained_at_their_published_length(molecules):
    system, _, types, bonds = cluster(molecules)
    found = {}
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        found[frozenset((i, j))] = length._value
    wanted = {frozenset(bond): HYDROGEN_BONDS.get(classes(types, bond)) for bond in bonds}
    assert found == {bond: length for bond, length in wanted.items() if length is not None}


def test_water_is_rigid_with_the_published_dipole_and_the_energy_summed_by_hand():
    system, positions, types, bonds = cluster(("water", "water"))
    # a molecule on its own has no energy to minimise: the start holds the geometry but for the noise added above
    lengths = sorted(system.getConstraintParameters(k)[2]._value for k in range(system.getNumConstraints()))
    span = 2.0 * 0.1 * np.sin(np.radians(0.5 * 109.47122))
    assert lengths == pytest.approx([0.1] * 4 + [span] * 2, rel=1e-6)
    # 2.35 D for SPC/E: H. J. C. Berendsen et al., J. Phys. Chem. 91, 6269 (1987), table 1; 1 e nm = 48.032 D
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(3)]
    assert sum(charges) == pytest.approx(0.0, abs=1e-12)
    height = np.sqrt(lengths[0] ** 2 - 0.25 * lengths[-1] ** 2)
    assert 2.0 * charges[1] * height * 48.032 == pytest.approx(2.35, abs=0.005)
    # positions are noisy, so bond and angle terms would show here if any were left
    bonded = engine_energy(system, positions, kinds=(openmm.HarmonicBondForce, openmm.HarmonicAngleForce))
    assert bonded == 0.0
    sums = hand_pairs(positions, types, bonds)
    assert sums["coulomb_14"] == sums["lennard_jones_14"] == 0.0
    found = engine_energy(system, positions, kinds=openmm.NonbondedForce)
    assert found == pytest.approx(sums["coulomb"], **TOLERANCE)
    found = engine_energy(system, positions, kinds=openmm.CustomNonbondedForce)
    assert found == pytest.approx(sums["lennard_jones"], **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_angle_energy_equals_the_harmonic_sum_over_all_angles(molecules):
    system, positions, types, bonds = cluster(molecules)
    expected = 0.0
    for j, near in neighbours_of(bonds).items():
        for i, k in combinations(near, 2):
            angle, constant = ANGLES[classes(types, (i, j, k))]
            expected += 0.5 * constant * np.radians(angle_at(positions, i, j, k) - angle) ** 2
    assert engine_energy(system, positions, kinds=openmm.HarmonicAngleForce) == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_torsion_energy_equals_the_ryckaert_bellemans_sum(molecules):
    system, positions, types, bonds = cluster(molecules)
    expected = 0.0
    for sites in dihedrals_of(bonds):
        psi = -cos_dihedral(positions, *sites)  # cos(phi - 180 degrees)
        expected += sum(c * psi**n for n, c in enumerate(TORSIONS[classes(types, sites)]))
    assert expected > 0.0
    assert engine_energy(system, positions, kinds=openmm.RBTorsionForce) == pytest.approx(expected, **TOLERANCE)


def test_improper_energy_of_bent_benzene_equals_the_sum_over_ring_carbons():
    system, positions, _, _ = cluster(("benzene", "methane"))
    # order of GROMACS' improper_Z_CA_X_Y: two ring neighbours, the central carbon, its hydrogen
    expected = 0.0
    for c in range(6):
        left, right = sorted(((c - 1) % 6, (c + 1) % 6))
        cos_phi = cos_dihedral(positions, left, right, c, c + 6)
        expected += IMPROPER * (1.0 - (2.0 * cos_phi**2 - 1.0))  # k [1 + cos(2 phi - 180 degrees)]
    assert expected > 0.1
    assert engine_energy(system, positions, kinds=openmm.PeriodicTorsionForce) == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_lennard_jones_energy_mixes_sigma_and_epsilon_geometrically(molecules):
    system, positions, types, bonds = cluster(molecules)
    expected = hand_pairs(positions, types, bonds)["lennard_jones"]
    assert expected != 0.0
    found = engine_energy(system, positions, kinds=openmm.CustomNonbondedForce)
    assert found == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_lennard_jones_energy_of_1_4_pairs_is_halved_and_geometric(molecules):
    system, positions, types, bonds = cluster(molecules)
    expected = hand_pairs(positions, types, bonds)["lennard_jones_14"]
    found = engine_energy(system, positions, kinds=openmm.NonbondedForce, charges=False)
    assert found == pytest.approx(expected, **TOLERANCE)


@pytest.mark.parametrize("molecules", CLUSTERS.values(), ids=CLUSTERS)
def test_coulomb_energy_counts_1_4_pairs_half(molecules):
    system, positions, types, bonds = cluster(molecules)
    sums = hand_pairs(positions, types, bonds)
    with_charges = engine_energy(system, positions, kinds=openmm.NonbondedForce)
    without = engine_energy(system, positions, kinds=openmm.NonbondedForce, charges=False)
    assert with_charges - without == pytest.approx(sums["coulomb"] + sums["coulomb_14"], **TOLERANCE)


def test_hexane_has_lennard_jones_1_4_pairs_that_the_arithmetic_rule_would_get_wrong():
    _, positions, types, bonds = cluster(("hexane",))
    steps = separations(len(types), bonds)
    mixed = [pair for pair in zip(*np.nonzero(np.triu(steps == 3)), strict=True) if types[pair[0]] != types[pair[1]]]
    assert len(mixed) > 0
    assert abs(hand_pairs(positions, types, bonds)["lennard_jones_14"]) > 0.5


@pytest.mark.parametrize("name", ["methanol", "methane", "benzene", "hexane"])
def test_every_atom_has_published_charge_and_mass_and_the_molecule_is_neutral(name):
    residue = read_residues()[name]
    system = build_interactions((name,), edge=None, cutoff=1.0, ewald_tolerance=5e-4)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(residue.n_atoms)]
    masses = [system.getParticleMass(i)._value for i in range(residue.n_atoms)]
    assert charges == [ATOMS[t][0] for t in residue.type_names]
    assert masses == [ATOMS[t][4] for t in residue.type_names] == list(residue.masses)
    assert sum(charges) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_molecules_have_the_atoms_of_their_formula(name):
    assert list(read_residues()[name].elements) == FORMULAS[name].split()


def test_hexane_is_a_chain_of_six_carbons_with_fourteen_hydrogens():
    residue = read_residues()["hexane"]
    carbons = [i for i, element in enumerate(residue.elements) if element == "C"]
    chain = [bond for bond in residue.bonds if set(bond) <= set(carbons)]
    assert chain == list(pairwise(carbons))
    valence = [sum(i in bond for bond in residue.bonds) for i in range(residue.n_atoms)]
    assert valence == [4 if element == "C" else 1 for element in residue.elements]
    assert residue.n_atoms == 20


def test_periodic_lennard_jones_energy_is_truncated_minimum_image_sum_plus_tail():
    settings = SystemSettings(
        molecules=(MoleculeCount(name="methane", count=30), MoleculeCount(name="hexane", count=8))
    )
    atoms = build_system(settings, density=0.35 * 602.214, cutoff=0.8, seed=5)
    topology, edge = atoms.topology, atoms.edge
    types = [topology.type_names[t] for t in topology.types]
    sigma, epsilon = (np.array([ATOMS[t][k] for t in types]) for k in (1, 2))
    i, j = np.triu_indices(topology.n_sites, 1)
    steps = separations_within_molecules(topology)
    vectors = atoms.positions[i] - atoms.positions[j]
    r = np.linalg.norm(vectors - edge * np.round(vectors / edge), axis=1)
    is_counted = (r < 0.8) & (steps[i, j] > 3)
    sixth = (np.sqrt(sigma[i] * sigma[j]) / r) ** 6
    pairs = (4.0 * np.sqrt(epsilon[i] * epsilon[j]) * (sixth**2 - sixth))[is_counted].sum()
    # 2 pi N²/V <integral of U r² from the cutoff on>, averaged over all pairs of atoms, each with itself included
    a, b = np.triu_indices(topology.n_sites)
    s6, e = (sigma[a] * sigma[b]) ** 3, np.sqrt(epsilon[a] * epsilon[b])
    integral = 4.0 * e * (s6**2 / (9.0 * 0.8**9) - s6 / (3.0 * 0.8**3))
    tail = 2.0 * np.pi * topology.n_sites**2 / edge**3 * integral.mean()
    found = engine_energy(atoms.system, atoms.positions, kinds=openmm.CustomNonbondedForce)
    assert tail < -1.0
    # the engine integrates the tail numerically
    assert found == pytest.approx(pairs + tail, rel=1e-5)


def separations_within_molecules(topology):
    """Return the number of bonds between atoms, molecule by molecule."""
    steps = np.full((topology.n_sites, topology.n_sites), 99)
    for molecule in range(topology.n_molecules):
        sites = np.flatnonzero(topology.molecule_index == molecule)
        bonds = topology.bonds[np.isin(topology.bonds[:, 0], sites)] - sites[0]
        steps[np.ix_(sites, sites)] = separations(len(sites), bonds.tolist())
    return steps


@pytest.mark.parametrize("name", ["methanol", "methane", "benzene", "hexane"])
def test_hydrogen_mass_repartitioning_conserves_the_mass_of_every_molecule(name):
    n_atoms = read_residues()[name].n_atoms
    plain, heavy = (
        build_interactions((name,), edge=None, cutoff=1.0, ewald_tolerance=5e-4, hydrogen_mass=mass)
        for mass in (None, 3.0)
    )
    masses, moved = (np.array([s.getParticleMass(i)._value for i in range(n_atoms)]) for s in (plain, heavy))
    is_hydrogen = np.array([element == "H" for element in read_residues()[name].elements])
    assert moved.sum() == pytest.approx(masses.sum(), rel=1e-12)
    assert moved[is_hydrogen] == pytest.approx(3.0)
    assert np.all(moved[~is_hydrogen] > 3.0)


def test_hydrogen_mass_that_empties_a_carbon_is_refused():
    with pytest.raises(InputError, match=r"leaves .* u on an atom"):
        build_interactions(("methane",), edge=None, cutoff=1.0, ewald_tolerance=5e-4, hydrogen_mass=4.0)
