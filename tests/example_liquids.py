"""Frames of small pair liquids with known forces, for everything that fits pair potentials."""

from dataclasses import replace

import numpy as np
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.neighbors import find_pairs
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory

CELL = np.array([[1.9, 0.0, 0.0], [0.3, 1.8, 0.0], [-0.2, 0.4, 1.7]])
"""A triclinic cell: half its smallest width is below the cutoffs in use."""


def make_liquid(n_frames, n_of_type, *, seed, closest=0.29, cell=CELL):
    """Return frames without forces: beads inserted one by one, so that closer than 0.4 nm they become rare."""
    rng = np.random.default_rng(seed)
    n_sites = sum(n_of_type)
    positions = np.empty((n_frames, n_sites, 3), dtype=np.float32)
    for frame in range(n_frames):
        placed = np.empty((0, 3))
        while len(placed) < n_sites:
            trial = rng.random(3)
            offsets = placed - trial
            distances = np.linalg.norm((offsets - np.round(offsets)) @ cell, axis=1)
            nearest = distances.min(initial=1.0)
            # a soft edge: acceptance rises from 1 % at the closest distance to 1 at 0.4 nm
            if nearest > closest and rng.random() < 0.01 ** ((0.4 - nearest) / (0.4 - closest)):
                placed = np.vstack([placed, trial])
        positions[frame] = placed @ cell
    types = np.repeat(np.arange(len(n_of_type)), n_of_type)
    names = tuple("ABCD"[: len(n_of_type)])
    return Trajectory(
        topology=build_bead_topology(type_names=names, types=types, masses=np.full(len(names), 32.0)),
        state_point=StatePoint(temperature=300.0),
        positions=positions,
        times=0.2 * np.arange(n_frames),
        cell=np.repeat(cell[None], n_frames, axis=0).astype(np.float32),
    )


def add_forces(trajectory, terms, *, noise=0.0, seed=0):
    """Return the trajectory with the forces of energy terms plus Gaussian noise [kJ/mol/nm]."""
    rng = np.random.default_rng(seed)
    forces = np.empty(trajectory.positions.shape)
    for frame in range(trajectory.n_frames):
        batch = build_batch(trajectory, np.array([frame]), dtype=torch.float64)
        pairs = find_pairs(batch, max(term.cutoff for term in terms))
        forces[frame] = predict_prior(list(terms), batch, pairs).forces.numpy()
    forces += noise * rng.standard_normal(forces.shape)
    return replace(trajectory, forces=forces.astype(np.float32))
