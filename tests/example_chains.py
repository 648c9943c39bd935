"""Small bonded molecules with known terms, for everything that fits or evaluates bonded priors."""

from dataclasses import replace

import numpy as np
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.neighbors import find_pairs
from beadsmith.priors.fourier import FourierDihedrals
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import thermal_energy

NOISE = 50.0
KT = thermal_energy(300.0)
BOND, ANGLE = (0.15, 1e5), (1.9, 300.0)
SERIES = np.array([3.0, -2.0, 1.0, 2.5, 0.5, -1.0])


def build_chain(n_beads=5, *, n_molecules=1, type_names=None, impropers=()):
    """Return the topology of linear chains with all bonds, angles and dihedrals; one type a bead by default."""
    type_names = tuple("ABCDEFGHIJ"[:n_beads]) if type_names is None else type_names
    types = np.arange(n_beads) % len(type_names)
    first = n_beads * np.arange(n_molecules)[:, None, None]

    def terms(rows, width):
        return (first + np.array(rows, dtype=np.int64).reshape(-1, width)).reshape(-1, width)

    return Topology(
        names=tuple(type_names[t] for t in types) * n_molecules,
        types=np.tile(types, n_molecules),
        type_names=type_names,
        masses=np.full(n_beads * n_molecules, 14.0),
        molecule_index=np.repeat(np.arange(n_molecules), n_beads),
        residue_index=np.repeat(np.arange(n_molecules), n_beads),
        residue_names=("chain",) * n_molecules,
        bonds=terms([(i, i + 1) for i in range(n_beads - 1)], 2),
        angles=terms([(i, i + 1, i + 2) for i in range(n_beads - 2)], 3),
        dihedrals=terms([(i, i + 1, i + 2, i + 3) for i in range(n_beads - 3)], 4),
        impropers=terms(impropers, 4),
        constraints=np.zeros((0, 2), dtype=np.int64),
    )


def make_frames(topology, positions, *, temperature=300.0, **fields):
    """Return frames of these positions (frames, sites, 3) [nm]."""
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=temperature),
        positions=np.asarray(positions, dtype=np.float32),
        times=0.2 * np.arange(len(positions)),
        **fields,
    )


def build_positions(lengths, angles, dihedrals):
    """Return positions (frames, beads, 3) of chains with these internal coordinates, each (frames, terms)."""
    lengths, angles, dihedrals = (np.asarray(values, dtype=np.float64) for values in (lengths, angles, dihedrals))
    n_frames, n_bonds = lengths.shape
    positions = np.zeros((n_frames, n_bonds + 1, 3))
    positions[:, 1, 0] = lengths[:, 0]
    if n_bonds > 1:
        along = lengths[:, 1] * np.cos(angles[:, 0])
        positions[:, 2, 0] = lengths[:, 0] - along
        positions[:, 2, 1] = lengths[:, 1] * np.sin(angles[:, 0])
    for k in range(3, n_bonds + 1):
        b1 = positions[:, k - 2] - positions[:, k - 3]
        b2 = positions[:, k - 1] - positions[:, k - 2]
        axis = b2 / np.linalg.norm(b2, axis=1, keepdims=True)
        normal = np.cross(b1, axis)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        inward = np.cross(normal, axis)
        r, theta, phi = (v[:, None] for v in (lengths[:, k - 1], angles[:, k - 2], dihedrals[:, k - 3]))
        step = -np.cos(theta) * axis + np.sin(theta) * (np.cos(phi) * inward + np.sin(phi) * normal)
        positions[:, k] = positions[:, k - 1] + r * step
    return positions


def make_random_chains(n_frames, n_beads=5, *, seed=0, **options):
    """Return frames of chains with all coordinates spread widely but away from straight angles."""
    rng = np.random.default_rng(seed)
    positions = build_positions(
        rng.uniform(0.10, 0.20, (n_frames, n_beads - 1)),
        rng.uniform(0.8, 2.6, (n_frames, n_beads - 2)),
        rng.uniform(-np.pi, np.pi, (n_frames, max(0, n_beads - 3))),
    )
    return make_frames(build_chain(n_beads, **options), positions)


def break_across(trajectory, edge, *, seed=0):
    """Return the frames in a cubic cell with every bead in a random image."""
    images = np.random.default_rng(seed).integers(-1, 2, trajectory.positions.shape)
    cell = np.repeat(edge * np.eye(3, dtype=np.float32)[None], trajectory.n_frames, axis=0)
    return replace(trajectory, positions=(trajectory.positions + edge * images).astype(np.float32), cell=cell)


def make_chains(n_frames, n_beads=5, *, seed=0, noise=NOISE, topology=None):
    """Return chains of one bead type with harmonic bonds and angles, Fourier dihedrals, and noisy forces of these."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(-np.pi, np.pi, 20001)
    n = np.arange(1, 4)
    energy = np.concatenate([np.cos(np.outer(grid, n)), np.sin(np.outer(grid, n))], axis=1) @ SERIES
    weights = np.exp(-energy / KT)
    positions = build_positions(
        rng.normal(BOND[0], (KT / BOND[1]) ** 0.5, (n_frames, n_beads - 1)),
        rng.normal(ANGLE[0], (KT / ANGLE[1]) ** 0.5, (n_frames, n_beads - 2)),
        np.interp(rng.random((n_frames, n_beads - 3)), np.cumsum(weights) / weights.sum(), grid),
    )
    frames = make_frames(topology or build_chain(n_beads, type_names=("A",)), positions)
    batch = build_batch(frames, np.arange(n_frames), dtype=torch.float64)
    forces = predict_prior(make_truth(), batch, find_pairs(batch, 1e-3)).forces.reshape(positions.shape).numpy()
    return replace(frames, forces=(forces + noise * rng.standard_normal(forces.shape)).astype(np.float32))


def make_truth():
    return [
        HarmonicBonds(("A",), (("A", "A"),), centres=BOND[:1], stiffnesses=BOND[1:]),
        HarmonicAngles(("A",), (("A", "A", "A"),), centres=ANGLE[:1], stiffnesses=ANGLE[1:]),
        FourierDihedrals(("A",), (("A",) * 4,), order=3).with_coefficients(SERIES),
    ]
