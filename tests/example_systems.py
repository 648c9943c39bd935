"""Small systems that several test modules share."""

import numpy as np
import torch

from beadsmith.batch import Batch

CELLS = {
    "cubic": np.diag([2.0, 2.0, 2.0]),
    "orthorhombic": np.diag([1.5, 2.2, 3.1]),
    "triclinic": np.array([[2.0, 0.0, 0.0], [0.7, 1.9, 0.0], [-0.6, 0.5, 1.8]]),
}


def make_batch(positions, cell=None, molecule=None, bonds=(), n_systems=1):
    """Return a batch of equal systems from positions (n_systems * n_sites, 3)."""
    n_sites = len(positions)
    molecule = np.arange(n_sites) if molecule is None else np.asarray(molecule)
    return Batch(
        positions=torch.tensor(positions, dtype=torch.float64),
        types=torch.zeros(n_sites, dtype=torch.int64),
        masses=torch.ones(n_sites, dtype=torch.float64),
        system_index=torch.arange(n_systems).repeat_interleave(n_sites // n_systems),
        molecule_index=torch.tensor(molecule),
        cell=None if cell is None else torch.tensor(np.stack([cell] * n_systems)),
        temperature=torch.full((n_systems,), 300.0, dtype=torch.float64),
        bonds=torch.tensor(np.array(bonds, dtype=np.int64).reshape(-1, 2)),
        angles=torch.zeros((0, 3), dtype=torch.int64),
        dihedrals=torch.zeros((0, 4), dtype=torch.int64),
        impropers=torch.zeros((0, 4), dtype=torch.int64),
    )
