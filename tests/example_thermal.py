"""Force fields whose dependence on temperature is known: a dimer of springs, and small networks with random weights."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from beadsmith.energy import AbstractNetwork
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.thermal_form import ThermalForm
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint
from beadsmith.units import thermal_energy
from example_force_fields import make_frames

SETTINGS = {
    "hipnn": HipnnSettings(l_max=1, n_features=6, n_sensitivities=6, cutoff=0.6, soft_max=0.5),
    "hipnn twice": HipnnSettings(l_max=1, n_features=6, n_sensitivities=6, cutoff=0.6, soft_max=0.5, n_interactions=2),
    "schnet": SchnetSettings(n_features=8, n_filters=8, cutoff=0.6, n_knots=64),
    "mace": MaceSettings(n_features=4, cutoff=0.6, n_knots=64, radial_widths=(8,), n_readout=4),
}
LINEAR = ThermalForm(kind="linear", reference_temperature=300.0)
WITH_CAPACITY = ThermalForm(kind="heat_capacity", reference_temperature=320.0)


class SpringChannels(AbstractNetwork):
    """Channel c of a pair at distance r: ½ k_c (r - r_c)²."""

    kind = "test_springs"

    def __init__(self, stiffness, lengths):
        super().__init__()
        self.cutoff, self.n_channels = 5.0, len(stiffness)
        self.stiffness = nn.Parameter(torch.tensor(stiffness, dtype=torch.float64))
        self.lengths = torch.tensor(lengths, dtype=torch.float64)

    def forward(self, types, pair_index, pair_vectors, pair_bond_class):
        distance = torch.linalg.vector_norm(pair_vectors, dim=1)[:, None]
        # half of each pair to either site
        energy = 0.25 * self.stiffness * (distance - self.lengths) ** 2
        return energy.new_zeros(len(types), self.n_channels).index_add(0, pair_index[0], energy)

    def to_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def make_record(temperature=300.0):
    template = build_bead_topology(type_names=("bead",), types=np.array([0]), masses=np.array([20.0]))
    return ForceFieldRecord(templates=(template,), state_points=(StatePoint(temperature=temperature),))


def make_thermal_force_field(form=LINEAR, *, kind="hipnn", prior=(), seed=0, dtype=torch.float64):
    """Return a network with random weights in all channels."""
    generator = torch.Generator().manual_seed(seed)
    network = build_network(SETTINGS[kind], ("bead",), generator, n_channels=form.n_channels)
    force_field = ForceField(list(prior), network, make_record(), form)
    return force_field.to(dtype).eval().requires_grad_(False)


def make_spring_force_field(stiffness=(300.0, 900.0), lengths=(0.5, 0.7), temperature=300.0):
    """Return a dimer whose spring stiffens or softens with temperature, W = e0 + (1 - T/T0) e1."""
    form = ThermalForm(kind="linear", reference_temperature=temperature)
    network = SpringChannels(stiffness, lengths)
    return ForceField([], network, make_record(temperature), form).double().eval().requires_grad_(False)


def make_dimers(n_frames, *, distance=0.6, temperature=300.0):
    """Return frames of two beads along x."""
    positions = np.zeros((n_frames, 2, 3))
    positions[:, 1, 0] = distance
    return make_frames(positions, temperature=temperature, types=np.zeros(2, dtype=np.int64))


class HiddenOscillators:
    """Two beads at distance R and n hidden oscillators, u(R, x) = v(R) + K(R) x²/2: all averages have closed forms.

    W = v + (n kT/2) ln K, F_U = -v', F_S = -(n kT/2) K'/K, Cov(f, u) = -n (kT)² K'/(2K), d²F/db² = -n K'/(b³ K),
    Var(u) = n (kT)²/2. Forces are along R, positive apart.
    """

    def __init__(self, n_hidden=10):
        self.n_hidden = n_hidden

    def potential(self, r):
        return 40.0 * (1.0 - np.exp(-12.0 * (r - 0.45))) ** 2 * 0.25 + 200.0 * (r - 0.5) ** 2

    def slope(self, r):
        decay = np.exp(-12.0 * (r - 0.45))
        return 40.0 * 0.25 * 2.0 * (1.0 - decay) * 12.0 * decay + 400.0 * (r - 0.5)

    def stiffness(self, r):
        return 500.0 * (1.0 + 0.6 * np.tanh((r - 0.5) / 0.08))

    def stiffness_slope(self, r):
        return 500.0 * 0.6 / 0.08 / np.cosh((r - 0.5) / 0.08) ** 2

    def free_energy(self, r, temperature):
        kT = thermal_energy(temperature)
        return self.potential(r) + 0.5 * self.n_hidden * kT * np.log(self.stiffness(r))

    def energetic_force(self, r):
        return -self.slope(r)

    def entropic_force(self, r, temperature):
        kT = thermal_energy(temperature)
        return -0.5 * self.n_hidden * kT * self.stiffness_slope(r) / self.stiffness(r)

    def mean_force(self, r, temperature):
        return self.energetic_force(r) + self.entropic_force(r, temperature)

    def covariance(self, r, temperature):
        return thermal_energy(temperature) * self.entropic_force(r, temperature)

    def second_derivative(self, r, temperature):
        return 2.0 * thermal_energy(temperature) ** 2 * self.entropic_force(r, temperature)

    def draw(self, r, temperature, generator):
        """Return forces and energies of independent configurations at the distances r."""
        r = np.asarray(r, dtype=np.float64)
        width = np.sqrt(thermal_energy(temperature) / self.stiffness(r))
        squares = (generator.normal(size=(*r.shape, self.n_hidden)) ** 2).sum(-1) * width**2
        forces = -self.slope(r) - 0.5 * self.stiffness_slope(r) * squares
        return forces, self.potential(r) + 0.5 * self.stiffness(r) * squares


def make_oscillator_frames(distances, forces, *, temperature, **fields):
    """Return frames of two beads at the given distances along x with the given forces apart."""
    n_frames = len(distances)
    frames = make_frames(np.zeros((n_frames, 2, 3)), temperature=temperature, types=np.zeros(2, dtype=np.int64))
    frames.positions[:, 1, 0] = distances
    labels = np.zeros((n_frames, 2, 3), dtype=np.float32)
    labels[:, 1, 0], labels[:, 0, 0] = forces, -forces
    return replace(frames, forces=labels, **fields)
