"""Small mapped references whose verdicts are known: capped amino acids under several maps, and two kinds of hexane."""

from dataclasses import replace

import numpy as np

from beadsmith.io.h5md import write_trajectory
from beadsmith.mapping.bonds import derive_angles, derive_dihedrals
from example_chains import build_chain
from example_molecules import make_backbone, make_molecule, place_next
from example_references import build_capped_alanine

MAPS = {
    "core": ("C", "N", "C", "C", "N"),
    "core_map2": ("C_ace", "N", "CA", "C", "N_nme"),
    "core_beta": ("C", "N", "C", "C", "C", "N"),
    "core_beta_map2": ("C_ace", "N", "CA", "CB", "C", "N_nme"),
}
"""Types of C of ACE; N, CA, CB if there, and C of the amino acid; N of NME."""

_ALANINE = build_capped_alanine()
_ATOMS = {5: (4, 6, 8, 14, 16), 6: (4, 6, 8, 10, 14, 16)}
_BONDS = {5: [(0, 1), (1, 2), (2, 3), (3, 4)], 6: [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5)]}
_LENGTHS = {"C_ace": 0.1335, "N": 0.145, "C": 0.1525, "N_nme": 0.1335}


def describe_alanine(n_beads, *, is_glycine=False):
    """Return what a mapping says about capped alanine, or glycine, under core or core with CB."""
    elements, bonds = list(_ALANINE.elements), _ALANINE.bonds.tolist()
    if is_glycine:
        # the methyl group becomes a hydrogen, and its three hydrogens hang on nothing
        elements[10] = "H"
        bonds = [pair for pair in bonds if not {11, 12, 13} & set(pair)]
    names = ("C", "N", "CA", "CB", "C", "N") if n_beads == 6 else ("C", "N", "CA", "C", "N")
    return {
        "name": "ACE-GLY-NME" if is_glycine else "ACE-ALA-NME",
        "count": 1,
        "bead_names": list(names),
        "bead_masses": [14.007 if name == "N" else 12.011 for name in names],
        "atom_names": list(_ALANINE.names),
        "force_weights": np.eye(22)[list(_ATOMS[n_beads])].tolist(),
        "atoms": {
            "names": [f"{1 + int(_ALANINE.residue_index[k])}:ALA:{name}" for k, name in enumerate(_ALANINE.names)],
            "elements": elements,
            "bonds": bonds,
            "members": [[atom] for atom in _ATOMS[n_beads]],
        },
    }


def make_capped(name, *, n_frames=2000, seed=0, is_glycine=False, is_racemic=False, width=0.003):
    """Return capped alanine, or glycine, of a map: phi and psi about two basins, lengths of bonds as in reality.

    Half of the frames of glycine are mirror images. `is_racemic` makes that of alanine, CB included.
    """
    generator = np.random.default_rng(seed)
    in_helix = generator.random(n_frames) < 0.3
    phi = np.where(in_helix, -70.0, -75.0) + np.degrees(generator.vonmises(0.0, 20.0, n_frames))
    psi = np.where(in_helix, -40.0, 145.0) + np.degrees(generator.vonmises(0.0, 20.0, n_frames))
    core = make_backbone(phi, psi)
    beta = place_next(core[:, 0], core[:, 1], core[:, 2], 0.153, 110.0, phi - 122.5)
    core = _rebuild(core, tuple(_LENGTHS.values()))
    positions = core if len(MAPS[name]) == 5 else np.concatenate([core[:, :3], beta[:, None], core[:, 3:]], axis=1)
    if is_glycine or is_racemic:
        positions[generator.random(n_frames) < 0.5] *= np.array([1.0, 1.0, -1.0])
    positions = positions + generator.normal(0.0, width / np.sqrt(2.0), positions.shape)
    topology = build_capped(name, is_glycine=is_glycine)
    return make_molecule(positions, topology, forces=make_forces(positions, topology.bonds, generator))


def _scale(vectors, length):
    return vectors * length / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _rebuild(core, lengths):
    """Return the backbone with bonds of the given lengths in the same directions, CA where it was."""
    steps = np.diff(core, axis=1)
    steps = np.stack([_scale(steps[:, k], length) for k, length in enumerate(lengths)], axis=1)
    places = np.concatenate([np.zeros((len(core), 1, 3)), np.cumsum(steps, axis=1)], axis=1)
    return places - places[:, 2:3] + core[:, 2:3]


def build_capped(name, *, is_glycine=False):
    """Return the bead topology of a map of capped alanine."""
    types = MAPS[name]
    type_names = tuple(dict.fromkeys(types))
    bonds = np.array(_BONDS[len(types)], dtype=np.int64)
    names = ("C", "N", "CA", "C", "N") if len(types) == 5 else ("C", "N", "CA", "CB", "C", "N")
    return replace(
        build_chain(len(types)),
        names=names,
        types=np.array([type_names.index(kind) for kind in types]),
        type_names=type_names,
        masses=np.array([14.0 if kind.startswith("N") else 12.0 for kind in types]),
        residue_index=np.array([0, *[1] * (len(types) - 2), 2]),
        residue_names=("ACE", "GLY" if is_glycine else "ALA", "NME"),
        molecule_index=np.zeros(len(types), dtype=np.int64),
        bonds=bonds,
        angles=derive_angles(bonds),
        dihedrals=derive_dihedrals(bonds),
    )


def make_forces(positions, bonds, generator, *, noise=100.0):
    """Return the forces of springs on the bonds, with noise."""
    forces = generator.normal(0.0, noise, positions.shape)
    for first, second in bonds.tolist():
        vectors = positions[:, second] - positions[:, first]
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        pull = 2e5 * (lengths - lengths.mean()) * vectors / lengths
        forces[:, first] += pull
        forces[:, second] -= pull
    return forces.astype(np.float32)


def make_liquid(types, *, bond, n_molecules=60, n_frames=20, spacing=0.36, seed=0):
    """Return straight chains of beads of the given types, side by side at a distance, each shifted along its axis.

    Chains lie along x, on a square lattice in y and z, so that beads of neighbours come as close as the lattice lets.
    """
    generator = np.random.default_rng(seed)
    n_beads, per_edge = len(types), int(np.ceil(np.sqrt(n_molecules)))
    edge, length = spacing * per_edge, max(3.0 * bond * len(types), 2.0)
    lattice = spacing * np.stack(np.meshgrid(*[np.arange(per_edge)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    positions = np.zeros((n_frames, n_molecules, n_beads, 3))
    positions[..., 0] = generator.uniform(0.0, length, (n_frames, n_molecules, 1)) + bond * np.arange(n_beads)
    positions[..., 1:] = lattice[:n_molecules, None]
    positions = positions.reshape(n_frames, -1, 3) + generator.normal(0.0, 0.003, (n_frames, n_molecules * n_beads, 3))
    cell = np.repeat(np.diag([length, edge, edge])[None], n_frames, axis=0).astype(np.float32)
    type_names = tuple(dict.fromkeys(types))
    topology = replace(
        build_chain(n_beads, n_molecules=n_molecules, type_names=("A",)),
        types=np.tile([type_names.index(name) for name in types], n_molecules),
        type_names=type_names,
    )
    forces = generator.normal(0.0, 100.0, positions.shape).astype(np.float32)
    return make_molecule(positions, topology, cell=cell, forces=forces)


def write_map(path, trajectory, *molecules):
    """Write a mapped reference with what its mapping says about the molecules, and return its path."""
    write_trajectory(path, trajectory, {"molecules": list(molecules)})
    return path
