"""Synthetic molecules with known distributions: capped amino acids of any phi and psi, and chains of alpha carbons."""

from dataclasses import replace

import numpy as np

from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import GAS_CONSTANT

TEMPERATURE = 300.0
NAMES = ("C", "N", "CA", "C", "N")
RESIDUES = (0, 1, 1, 1, 2)


def place_next(a, b, c, length, angle, dihedral):
    """Return d with |d − c| = length, angle b-c-d and dihedral a-b-c-d [degrees], for many frames at once."""
    angle, dihedral = np.radians(angle), np.radians(dihedral)
    along = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # clockwise seen along b-c is positive, so this side is the left one
    side = np.cross(normal, along)
    local = np.stack(
        [-np.cos(angle) * np.ones_like(dihedral), np.sin(angle) * np.cos(dihedral), np.sin(angle) * np.sin(dihedral)]
    )
    return c + length * (local[0, :, None] * along + local[1, :, None] * side + local[2, :, None] * normal)


def make_backbone(phi, psi, *, bond=0.145, angle=112.0):
    """Return positions (n_frames, 5, 3) of C N CA C N with the given dihedrals [degrees]."""
    phi, psi = np.asarray(phi, dtype=float), np.asarray(psi, dtype=float)
    n_frames = len(phi)
    first = np.zeros((n_frames, 3))
    second = np.tile([bond, 0.0, 0.0], (n_frames, 1))
    theta = np.radians(angle)
    third = second + bond * np.array([-np.cos(theta), np.sin(theta), 0.0])
    fourth = place_next(first, second, third, bond, angle, phi)
    fifth = place_next(second, third, fourth, bond, angle, psi)
    return np.stack([first, second, third, fourth, fifth], axis=1)


def make_topology(names=NAMES, residues=RESIDUES, residue_names=("ACE", "ALA", "NME"), *, copies=1):
    """Return the topology of linear molecules with bonds, angles and dihedrals along the chain."""
    n_beads, n_residues = len(names), len(residue_names)
    type_names = tuple(dict.fromkeys(names))
    chain = np.arange(n_beads)

    def terms(width):
        rows = np.array([chain[k : k + width] for k in range(n_beads - width + 1)], dtype=np.int64)
        rows = rows.reshape(-1, width)
        return np.concatenate([rows + copy * n_beads for copy in range(copies)])

    return Topology(
        names=names * copies,
        types=np.array([type_names.index(name) for name in names] * copies),
        type_names=type_names,
        masses=np.array([14.0 if name == "N" else 12.0 for name in names] * copies),
        molecule_index=np.repeat(np.arange(copies), n_beads),
        residue_index=np.concatenate([np.array(residues) + copy * n_residues for copy in range(copies)]),
        residue_names=residue_names * copies,
        bonds=terms(2),
        angles=terms(3),
        dihedrals=terms(4),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=np.zeros((0, 2), dtype=np.int64),
    )


def make_molecule(positions, topology=None, *, segment=None, spacing=1.0, velocities=None, **fields):
    """Return an open trajectory of molecules from positions (n_frames, n_sites, 3) [nm]."""
    n_frames = len(positions)
    times = spacing * np.arange(n_frames)
    if segment is not None:
        segment = np.asarray(segment)
        starts = np.array([np.flatnonzero(segment == label)[0] for label in segment])
        times = spacing * (np.arange(n_frames) - starts)
    return Trajectory(
        topology=make_topology() if topology is None else topology,
        state_point=StatePoint(temperature=TEMPERATURE),
        positions=np.asarray(positions, dtype=np.float32),
        times=times,
        segment=segment,
        velocities=velocities,
        **fields,
    )


def make_dipeptide(generator, *, n_frames, helix=0.3, kappa=20.0, mirrored=0.0, segment=None, in_helix=None, **options):
    """Return capped alanine whose phi and psi are von Mises about two basins, independent from frame to frame.

    `helix` is the population of αR (−70, −40), the rest is PII (−75, 145); `mirrored` is the fraction of mirror
    images; `kappa` the concentration of both dihedrals; `in_helix` says frame by frame what is in αR instead.
    """
    in_helix = generator.random(n_frames) < helix if in_helix is None else np.asarray(in_helix, dtype=bool)
    phi = np.where(in_helix, -70.0, -75.0) + np.degrees(generator.vonmises(0.0, kappa, n_frames))
    psi = np.where(in_helix, -40.0, 145.0) + np.degrees(generator.vonmises(0.0, kappa, n_frames))
    sign = np.where(generator.random(n_frames) < mirrored, -1.0, 1.0)
    positions = make_backbone(sign * phi, sign * psi) + generator.normal(0.0, 0.002, (n_frames, 5, 3))
    speed = np.sqrt(GAS_CONSTANT * TEMPERATURE / np.array([12.0, 14.0, 12.0, 12.0, 14.0]))
    velocities = (generator.normal(0.0, 1.0, positions.shape) * speed[:, None]).astype(np.float32)
    energy = generator.normal(0.0, 5.0, n_frames)
    return make_molecule(positions, segment=segment, velocities=velocities, energy=energy, **options)


def make_two_states(generator, *, n_frames, leave, starts=None):
    """Return runs (n_runs, n_frames) of a two-state Markov chain with leaving probabilities (0→1, 1→0) a frame."""
    leave = np.asarray(leave)
    equilibrium = leave[0] / leave.sum()
    state = (generator.random(1) < equilibrium).astype(int) if starts is None else np.asarray(starts)
    states = np.empty((len(state), n_frames), dtype=int)
    for frame in range(n_frames):
        states[:, frame] = state
        state = np.where(generator.random(len(state)) < leave[state], 1 - state, state)
    return states


SIX_NAMES = ("C", "N", "CA", "CB", "C", "N")
SIX_BONDS = ((0, 1), (1, 2), (2, 3), (2, 4), (4, 5))


def make_six_beads(phi, psi, *, hand=1.0, noise=0.0, seed=0):
    """Return positions (n_frames, 6, 3) of C N CA CB C N; `hand` 1 puts CB where an L residue has it, −1 the D one."""
    chain = make_backbone(phi, psi)
    n, ca, c = chain[:, 1], chain[:, 2], chain[:, 3]
    to_n, to_c = ((end - ca) / np.linalg.norm(end - ca, axis=1, keepdims=True) for end in (n, c))
    outwards = to_n + to_c
    outwards /= -np.linalg.norm(outwards, axis=1, keepdims=True)
    upwards = np.cross(to_n, to_c)
    upwards /= np.linalg.norm(upwards, axis=1, keepdims=True)
    side = np.broadcast_to(np.asarray(hand, dtype=float), (len(chain),))[:, None]
    beta = ca + 0.153 * (0.577 * outwards + 0.816 * side * upwards)
    positions = np.stack([chain[:, 0], n, ca, beta, c, chain[:, 4]], axis=1)
    return positions + np.random.default_rng(seed).normal(0.0, noise, positions.shape)


def make_six_topology(type_names=None, *, copies=1):
    """Return the topology of capped alanine as six beads; a type is a name where none are given, else one for each."""
    names = SIX_NAMES if type_names is None else type_names
    chain = make_topology(SIX_NAMES, (0, 1, 1, 1, 1, 2), copies=copies)
    used = tuple(dict.fromkeys(names))
    bonds = np.concatenate([np.array(SIX_BONDS, dtype=np.int64) + 6 * copy for copy in range(copies)])
    nothing = {name: np.zeros((0, width), dtype=np.int64) for name, width in (("angles", 3), ("dihedrals", 4))}
    types = np.array([used.index(name) for name in names] * copies)
    return replace(chain, types=types, type_names=used, bonds=bonds, **nothing)
