"""Atomistic reference trajectories with known answers, for the tests of mapping."""

import numpy as np

from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import thermal_energy

KT = thermal_energy(300.0)

# united-atom methanol with its hydroxyl bond rigid, and a flexible diatomic: (names, masses, bonds, constraints)
ALCOHOL = ("alcohol", ("C", "O", "H"), (15.0, 16.0, 1.0), ((0, 1), (1, 2)), ((1, 2),))
DIMER = ("dimer", ("A", "B"), (12.0, 4.0), ((0, 1),), ())


def build_topology(*molecules):
    """Return the topology of the given molecules in order."""
    names, masses, molecule_index, bonds, constraints = [], [], [], [], []
    for index, (_, atoms, atom_masses, atom_bonds, atom_constraints) in enumerate(molecules):
        first = len(names)
        names += atoms
        masses += atom_masses
        molecule_index += [index] * len(atoms)
        bonds += [(first + i, first + j) for i, j in atom_bonds]
        constraints += [(first + i, first + j) for i, j in atom_constraints]
    type_names = tuple(dict.fromkeys(names))
    return Topology(
        names=tuple(names),
        types=np.array([type_names.index(name) for name in names]),
        type_names=type_names,
        masses=np.array(masses),
        molecule_index=np.array(molecule_index),
        residue_index=np.array(molecule_index),
        residue_names=tuple(molecule[0] for molecule in molecules),
        bonds=np.array(bonds, dtype=np.int64).reshape(-1, 2),
        angles=np.zeros((0, 3), dtype=np.int64),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=np.array(constraints, dtype=np.int64).reshape(-1, 2),
    )


def build_capped_alanine(*, n_molecules=1, elements=True):
    """Return the topology of ACE-ALA-NME with rigid bonds to hydrogen: 22 atoms, 3 residues, 12 constraints."""
    residues = {
        "ACE": ("HH31", "CH3", "HH32", "HH33", "C", "O"),
        "ALA": ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O"),
        "NME": ("N", "H", "CH3", "HH31", "HH32", "HH33"),
    }
    names = [name for atoms in residues.values() for name in atoms]
    heavy = [(1, 4), (4, 5), (4, 6), (6, 8), (8, 10), (8, 14), (14, 15), (14, 16), (16, 18)]
    with_hydrogen = [(1, 0), (1, 2), (1, 3), (6, 7), (8, 9), (10, 11), (10, 12), (10, 13), (16, 17)]
    with_hydrogen += [(18, 19), (18, 20), (18, 21)]
    masses = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999}
    first = len(names) * np.arange(n_molecules)[:, None, None]

    def repeated(pairs):
        return (first + np.array(pairs)).reshape(-1, 2)

    type_names = tuple(dict.fromkeys(names))
    sizes = [len(atoms) for atoms in residues.values()]
    return Topology(
        names=tuple(names) * n_molecules,
        types=np.tile([type_names.index(name) for name in names], n_molecules),
        type_names=type_names,
        elements=tuple(name[0] for name in names) * n_molecules if elements else None,
        masses=np.tile([masses[name[0]] for name in names], n_molecules),
        molecule_index=np.repeat(np.arange(n_molecules), len(names)),
        residue_index=np.repeat(np.arange(3 * n_molecules), sizes * n_molecules),
        residue_names=tuple(residues) * n_molecules,
        bonds=repeated(heavy + with_hydrogen),
        angles=np.zeros((0, 3), dtype=np.int64),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=repeated(with_hydrogen),
    )


def make_reference(topology, *, n_frames=12, seed=0, cell=None, spread=0.05):
    """Return whole molecules of random shape at random places, with random forces and everything else a frame has."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0.0, 3.0, size=(n_frames, topology.n_molecules, 3))
    shapes = generator.normal(scale=spread, size=(n_frames, topology.n_sites, 3))
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0, density=450.0),
        positions=(centres[:, topology.molecule_index] + shapes).astype(np.float32),
        forces=generator.normal(scale=500.0, size=shapes.shape).astype(np.float32),
        velocities=generator.normal(scale=0.4, size=shapes.shape).astype(np.float32),
        times=0.2 * np.arange(1, n_frames + 1),
        cell=None if cell is None else np.broadcast_to(cell, (n_frames, 3, 3)).astype(np.float32),
        energy=generator.normal(size=n_frames),
        virial=generator.normal(size=(n_frames, 3, 3)),
        segment=np.arange(n_frames) // 6,
    )


def sample_harmonic_molecule(stiffness, n_samples, seed=0):
    """Return positions and forces (samples, atoms, 3) of u = x·H·x/2 in each component, drawn from exp(-u/kT)."""
    generator = np.random.default_rng(seed)
    covariance = KT * np.linalg.inv(stiffness)
    positions = np.linalg.cholesky(covariance) @ generator.normal(size=(3, len(stiffness), n_samples))
    forces = -stiffness @ positions
    return positions.transpose(2, 1, 0), forces.transpose(2, 1, 0)
