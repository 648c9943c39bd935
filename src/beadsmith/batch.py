"""Torch records of the energy half: one batch of systems, its pairs, and what a force field predicts for it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.errors import InputError
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Several systems (frames or replicas) side by side; sites of one system are contiguous."""

    positions: Float[Tensor, "sites 3"]
    """Site positions [nm]."""
    types: Int[Tensor, "sites"]
    """Type index of each site."""
    masses: Float[Tensor, "sites"]
    """Mass of each site [u]."""
    system_index: Int[Tensor, "sites"]
    """System of each site, non-decreasing."""
    molecule_index: Int[Tensor, "sites"]
    """Molecule of each site, numbered through all systems."""
    cell: Float[Tensor, "systems 3 3"] | None
    """Cell vectors of each system as rows [nm], or None for open systems."""
    temperature: Float[Tensor, "systems"]
    """Temperature of each system [K]."""
    bonds: Int[Tensor, "bonds 2"]
    """Bonded site pairs, numbered through all systems."""
    angles: Int[Tensor, "angles 3"]
    """Site triples."""
    dihedrals: Int[Tensor, "dihedrals 4"]
    """Proper dihedrals."""
    impropers: Int[Tensor, "impropers 4"]
    """Improper dihedrals."""

    @property
    def n_sites(self) -> int:
        """Number of sites in all systems."""
        return int(self.positions.shape[0])

    @property
    def n_systems(self) -> int:
        """Number of systems."""
        return int(self.temperature.shape[0])


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Directed neighbour pairs, both directions, sorted by first index.

    The pair vector points from first to second site: ``r_j + shift · cell − r_i``.
    """

    index: Int[Tensor, "2 pairs"]
    """First and second site of each directed pair."""
    row_offsets: Int[Tensor, "rows"]
    """Start of each site's pairs; has n_sites + 1 entries."""
    half: Int[Tensor, "half_pairs"]
    """Positions in `index` that pick each unordered pair once."""
    shifts: Float[Tensor, "pairs 3"]
    """Integer cell shifts of the second site, in units of the cell vectors."""
    bond_class: Int[Tensor, "pairs"]
    """Relation of the two sites: 0 other molecule, 1 1-2, 2 1-3, 3 1-4, 4 same molecule beyond 1-4."""
    cutoff: float
    """Largest distance in the list [nm]."""

    @property
    def n_pairs(self) -> int:
        """Number of directed pairs."""
        return int(self.index.shape[1])


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a force field says about a batch."""

    energy: Float[Tensor, "systems"]
    """Potential energy of each system [kJ/mol]."""
    forces: Float[Tensor, "sites 3"]
    """Force on each site [kJ/mol/nm]."""
    virial: Float[Tensor, "systems 3 3"]
    """Molecular virial of each system [kJ/mol]."""


def build_batch(
    trajectory: Trajectory,
    frames: np.ndarray,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Return the given frames of a trajectory as one batch, one system a frame.

    Parameters
    ----------
    trajectory : Source of positions, cells and topology.
    frames : Frame indices, shape (n_systems,).
    device, dtype : Where and in which precision the tensors live.

    Raises
    ------
    InputError : no frame is asked for.
    """
    frames = np.asarray(frames, dtype=np.int64)
    n_systems, topology = len(frames), trajectory.topology
    if n_systems == 0:
        raise InputError("a batch needs at least one frame")
    n_sites = topology.n_sites

    temperature = np.full(n_systems, trajectory.state_point.temperature)
    if trajectory.temperature is not None:
        temperature = trajectory.temperature[frames]

    def integer(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.int64, device=device)

    def real(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=device).to(dtype)

    def repeated(terms: np.ndarray, stride: int) -> Tensor:
        offsets = stride * np.arange(n_systems).reshape((-1,) + (1,) * terms.ndim)
        return integer((terms[None] + offsets).reshape((-1,) + terms.shape[1:]))

    return Batch(
        positions=real(trajectory.positions[frames].reshape(-1, 3)),
        types=integer(np.tile(topology.types, n_systems)),
        masses=real(np.tile(topology.masses, n_systems)),
        system_index=integer(np.repeat(np.arange(n_systems), n_sites)),
        molecule_index=repeated(topology.molecule_index, topology.n_molecules),
        cell=None if trajectory.cell is None else real(trajectory.cell[frames]),
        temperature=real(temperature),
        bonds=repeated(topology.bonds, n_sites),
        angles=repeated(topology.angles, n_sites),
        dihedrals=repeated(topology.dihedrals, n_sites),
        impropers=repeated(topology.impropers, n_sites),
    )
