"""The data of all cases: random liquids with the density of methanol, and replicas of a molecule of ten beads.

A case is a dictionary of arrays, handed to every worker as one npz file: positions [nm], types, system_index,
molecule_index, pair_index (2, pairs; both directions, sorted by first site), shifts (in cells), row_offsets, half,
bond_class, cutoff [nm] and, for a liquid, cell (systems, 3, 3) [nm]. All candidates get the same pairs.
"""

import numpy as np
import torch

from beadsmith.batch import Batch
from beadsmith.neighbors import find_pairs
from beadsmith.testing import build_cluster

DENSITY = 14.1
"""Molecules of liquid methanol in a cubic nanometre."""
BEADS_PER_MOLECULE = 10


def build_liquid(n_sites: int, n_frames: int, cutoff: float) -> dict[str, np.ndarray]:
    """Return frames of a liquid of one bead type: places of a cubic lattice, displaced by up to 15 % of its spacing.

    Where the lattice has more places than there are beads, vacancies are drawn at random.
    """
    length = (n_sites / DENSITY) ** (1.0 / 3.0)
    n_edge = int(np.ceil(n_sites ** (1.0 / 3.0) - 1e-9))
    axis = np.arange(n_edge) * (length / n_edge)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    random = np.random.default_rng(0)
    grid = grid[np.sort(random.permutation(len(grid))[:n_sites])]
    moves = 0.3 * (length / n_edge) * (random.random((n_frames, n_sites, 3)) - 0.5)
    sites = np.arange(n_frames * n_sites)
    return _with_pairs(
        positions=(grid + moves).reshape(-1, 3),
        types=np.zeros(len(sites), dtype=np.int64),
        system_index=sites // n_sites,
        molecule_index=sites,
        cell=np.tile(length * np.eye(3), (n_frames, 1, 1)),
        cutoff=cutoff,
    )


def build_replicas(n_replicas: int, n_types: int, cutoff: float) -> dict[str, np.ndarray]:
    """Return replicas of a compact molecule of ten beads in open space, each bead moved by about 0.02 nm."""
    molecule = build_cluster(BEADS_PER_MOLECULE, n_types, seed=0)
    random = np.random.default_rng(0)
    positions = molecule.positions.numpy() + 0.02 * random.standard_normal((n_replicas, BEADS_PER_MOLECULE, 3))
    replica = np.arange(n_replicas * BEADS_PER_MOLECULE) // BEADS_PER_MOLECULE
    return _with_pairs(
        positions=positions.reshape(-1, 3),
        types=np.tile(molecule.types.numpy(), n_replicas),
        system_index=replica,
        molecule_index=replica,
        cell=None,
        cutoff=cutoff,
    )


def _with_pairs(*, cutoff: float, cell: np.ndarray | None, **sites: np.ndarray) -> dict[str, np.ndarray]:
    positions = sites["positions"].astype(np.float32)
    n_sites, n_systems = len(positions), int(sites["system_index"][-1]) + 1
    # find_pairs looks at positions, cells and molecules; bond classes do not matter to the networks measured here
    batch = Batch(
        positions=torch.from_numpy(positions),
        types=torch.from_numpy(sites["types"]),
        masses=torch.ones(n_sites),
        system_index=torch.from_numpy(sites["system_index"]),
        molecule_index=torch.arange(n_sites),
        cell=None if cell is None else torch.from_numpy(cell.astype(np.float32)),
        temperature=torch.full((n_systems,), 300.0),
        bonds=torch.zeros(0, 2, dtype=torch.int64),
        angles=torch.zeros(0, 3, dtype=torch.int64),
        dihedrals=torch.zeros(0, 4, dtype=torch.int64),
        impropers=torch.zeros(0, 4, dtype=torch.int64),
    )
    pairs = find_pairs(batch, cutoff)
    frames = sites | {
        "positions": positions,
        "pair_index": pairs.index.numpy(),
        "shifts": pairs.shifts.numpy(),
        "row_offsets": pairs.row_offsets.numpy(),
        "half": pairs.half.numpy(),
        "bond_class": pairs.bond_class.numpy(),
        "cutoff": np.float64(cutoff),
    }
    return frames if batch.cell is None else frames | {"cell": batch.cell.numpy()}
