"""Energies of many configurations in float64 and plain torch, part by part: what probes of a force field compare."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from beadsmith.batch import Batch, Pairs, build_batch
from beadsmith.energy import hide_excluded
from beadsmith.force_field import ForceField, adopt_topology
from beadsmith.neighbors import build_skin_list, find_vectors, pairs_within
from beadsmith.trajectory import Trajectory

TOTAL, PRIOR, NETWORK = "total", "prior", "network"

_SITES_PER_BATCH = 3000


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A force field made ready for energies in double precision, with the frames it is asked about."""

    force_field: ForceField
    """A copy in float64 that uses no compiled sweep."""
    frames: Trajectory
    """Frames in the force field's own numbers of types; molecules are whole."""

    def compute_energies(self, positions: Float[np.ndarray, "systems sites 3"], frame: np.ndarray) -> "Energies":
        """Return the energies of configurations, each in the cell and at the temperature of one of the frames.

        Parameters
        ----------
        positions : Sites [nm].
        frame : The frame of each system.
        """
        systems = replace(self.frames.select(frame), positions=np.asarray(positions, dtype=np.float64))
        step = max(1, _SITES_PER_BATCH // systems.n_sites)
        chunks = [np.arange(start, min(start + step, len(frame))) for start in range(0, len(frame), step)]
        with torch.no_grad():
            parts = [_compute(self.force_field, build_batch(systems, chunk, dtype=torch.float64)) for chunk in chunks]
        return Energies(parts={name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


@dataclass(frozen=True, kw_only=True)
class Energies:
    """Energy of every system [kJ/mol], by part."""

    parts: dict[str, Float[np.ndarray, "systems"]]
    """``total``, ``prior``, ``network``, and ``channel 1`` and so on where the network has several."""

    @property
    def total(self) -> Float[np.ndarray, "systems"]:
        """The whole energy [kJ/mol]."""
        return self.parts[TOTAL]


def build_probe(force_field: ForceField, frames: Trajectory) -> Probe:
    """Return a force field and frames ready to be probed.

    Raises
    ------
    InputError : the frames hold beads or molecules that the force field does not know.
    """
    model = copy.deepcopy(force_field).cpu().double().eval().requires_grad_(False)
    if model.network is not None:
        model.network.is_fused = False
    return Probe(force_field=model, frames=replace(frames, topology=adopt_topology(frames.topology, force_field)))


def _compute(force_field: ForceField, batch: Batch) -> dict[str, np.ndarray]:
    # the list holds pairs up to a skin beyond the cutoff: what they add is zero
    pairs = build_skin_list(batch, force_field.cutoff, 1e-3).pairs
    prior = torch.zeros(batch.n_sites, dtype=torch.float64)
    for term in force_field.prior:
        prior += term(batch, pairs)
    parts = {PRIOR: prior}
    if force_field.network is not None:
        channels = _compute_channels(force_field, batch, pairs)
        weights = force_field.thermal_form.free_energy_weights(batch.temperature).index_select(0, batch.system_index)
        parts[NETWORK] = (channels * weights).sum(1)
        if channels.shape[1] > 1:
            parts |= {f"channel {number + 1}": channels[:, number] for number in range(channels.shape[1])}
    parts[TOTAL] = prior + parts.get(NETWORK, 0.0)
    empty = torch.zeros(batch.n_systems, dtype=torch.float64)
    return {name: empty.index_add(0, batch.system_index, values).numpy() for name, values in parts.items()}


def _compute_channels(force_field: ForceField, batch: Batch, pairs: Pairs) -> torch.Tensor:
    network = force_field.network
    assert network is not None
    vectors = hide_excluded(network, find_vectors(batch, pairs), pairs.bond_class)
    if pairs.cutoff > network.cutoff:
        pairs, kept = pairs_within(pairs, vectors, network.cutoff)
        vectors = vectors.index_select(0, kept)
    channels: torch.Tensor = network(batch.types, pairs.index, vectors, pairs.bond_class)
    return channels
