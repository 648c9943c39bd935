"""Force fields whose dependence on temperature is known: a dimer of springs, and small networks with random weights."""

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
