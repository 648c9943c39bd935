"""Force fields of capped alanine with small networks of random weights, for probes of what they can tell apart."""

import torch

from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.trajectory import StatePoint
from example_molecules import make_six_topology

MACE = {
    "n_features": 4,
    "l_max_hidden": 1,
    "l_max": 2,
    "radial_widths": (8,),
    "n_readout": 4,
    "cutoff": 0.6,
    "average_neighbors": 5.0,
    "n_knots": 64,
}


def make_network_force_field(*terms, topology=None, settings=None, n_channels=1, thermal_form=None, seed=0, **mace):
    """Return a force field of a topology (capped alanine as six beads) whose network has random weights."""
    topology = make_six_topology() if topology is None else topology
    settings = MaceSettings(**(MACE | mace)) if settings is None else settings
    generator = torch.Generator().manual_seed(seed)
    network = build_network(settings, topology.type_names, generator, n_channels=n_channels)
    record = ForceFieldRecord(templates=(topology,), state_points=(StatePoint(temperature=300.0),))
    return ForceField(list(terms), network.requires_grad_(False), record, thermal_form)


def make_hipnn_settings():
    """Return the settings of a small network of distances."""
    return HipnnSettings(n_features=4, n_sensitivities=6, cutoff=0.6, soft_max=0.5)
