"""Force fields with closed forms for the tests of simulation and export."""

import numpy as np
import torch

from beadsmith.energy import AbstractEnergyTerm
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import pair_vectors
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory


class Well(AbstractEnergyTerm):
    """Σ ½ k x² + ¼ q x⁴ over all Cartesian components: independent one-dimensional wells around the origin."""

    kind = "test_well"
    cutoff = 0.0

    def __init__(self, harmonic=0.0, quartic=0.0):
        super().__init__()
        self.harmonic, self.quartic = harmonic, quartic

    def forward(self, batch, pairs):
        x = batch.positions
        return (0.5 * self.harmonic * x**2 + 0.25 * self.quartic * x**4).sum(1)

    def to_config(self):
        return {"harmonic": self.harmonic, "quartic": self.quartic}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class DoubleWell(AbstractEnergyTerm):
    """h ((x/b)² − 1)² + t x/b along x, and ½ k x² along y and z: two wells at about ±b, a barrier of about h."""

    kind = "test_double_well"
    cutoff = 0.0

    def __init__(self, barrier=25.0, tilt=1.5, half_distance=0.15, stiffness=2000.0):
        super().__init__()
        self.barrier, self.tilt, self.half_distance, self.stiffness = barrier, tilt, half_distance, stiffness

    def forward(self, batch, pairs):
        x, others = batch.positions[:, 0] / self.half_distance, batch.positions[:, 1:]
        return self.barrier * (x**2 - 1.0) ** 2 + self.tilt * x + 0.5 * self.stiffness * (others**2).sum(1)

    def to_config(self):
        return {name: getattr(self, name) for name in ("barrier", "tilt", "half_distance", "stiffness")}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class SoftPair(AbstractEnergyTerm):
    """A (1 − r/R)³ e^(−r/λ) up to its cutoff R: finite everywhere and smooth, so that nothing can blow up."""

    kind = "test_soft_pair"

    def __init__(self, cutoff=0.5, height=60.0, length=0.2):
        super().__init__()
        self.cutoff, self.height, self.length = cutoff, height, length

    def forward(self, batch, pairs):
        half = pairs.half
        distance = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)[half].norm(dim=1)
        reach = (1.0 - distance / self.cutoff).clamp(min=0.0)
        energy = self.height * reach**3 * torch.exp(-distance / self.length)
        return torch.zeros_like(batch.positions[:, 0]).index_add(0, pairs.index[0][half], energy)

    def to_config(self):
        return {"cutoff": self.cutoff, "height": self.height, "length": self.length}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Trap(AbstractEnergyTerm):
    """Nothing until a site of a marked system passes x = edge, then an infinite force: blows one replica up."""

    kind = "test_trap"
    cutoff = 0.0

    def __init__(self, edge):
        super().__init__()
        self.edge = edge

    def forward(self, batch, pairs):
        beyond = (batch.positions[:, 0] - self.edge).clamp(min=0.0)
        return -1e12 * beyond

    def to_config(self):
        return {"edge": self.edge}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def make_force_field(*terms, type_names=("bead",), masses=(20.0,)):
    """Return a force field of single-bead molecules, one template a type."""
    templates = tuple(
        build_bead_topology(type_names=type_names, types=np.array([t]), masses=np.array(masses))
        for t in range(len(type_names))
    )
    record = ForceFieldRecord(templates=templates, state_points=(StatePoint(temperature=300.0),))
    return ForceField(list(terms), None, record)


def make_frames(positions, *, temperature=300.0, cell=None, masses=(20.0,), types=None, type_names=("bead",)):
    """Return a trajectory of single beads from positions (frames, sites, 3)."""
    positions = np.asarray(positions, dtype=np.float32)
    types = np.zeros(positions.shape[1], dtype=np.int64) if types is None else types
    return Trajectory(
        topology=build_bead_topology(type_names=type_names, types=types, masses=np.array(masses)),
        state_point=StatePoint(temperature=temperature),
        positions=positions,
        times=np.arange(len(positions), dtype=np.float64),
        cell=None if cell is None else np.repeat(np.asarray(cell, dtype=np.float32)[None], len(positions), axis=0),
    )


def make_liquid(n_side=4, spacing=0.35, n_frames=1, seed=0):
    """Return frames of n_side³ beads near a cubic lattice in a periodic cell."""
    grid = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * spacing
    noise = np.random.default_rng(seed).normal(scale=0.02, size=(n_frames, n_side**3, 3))
    return make_frames(grid + noise, cell=np.eye(3) * n_side * spacing)
