"""The heat capacity of a coarse-grained run, from a force field that knows energy and entropy apart."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from beadsmith.analysis.measure import frames_after, read_chunks
from beadsmith.analysis.state_variables import has_constant_volume
from beadsmith.analysis.thermodynamics import HeatCapacity, measure_heat_capacity
from beadsmith.batch import build_batch
from beadsmith.force_field import ForceField, adopt_topology
from beadsmith.io.h5md import open_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.thermal_parts import predict_parts


def measure_model_heat_capacity(
    force_field: ForceField, simulation: Path, *, n_blocks: int = 10, discard: float = 0.0
) -> HeatCapacity | None:
    """Return the configurational heat capacity that a force field predicts along its own simulation, or None.

    Energies of the simulation are free energies; here U(R) and dU/dT are evaluated on its saved frames, one sum over
    the network for each. None where the force field does not depend on temperature, and at constant pressure, where
    energies fluctuate with the volume.

    Parameters
    ----------
    force_field : What the simulation was made with.
    simulation : Its trajectory file.
    n_blocks : Blocks of frames for the errors.
    discard : Time dropped at the start of every segment [ps].

    Raises
    ------
    InputError : the file cannot be read, or its beads are not the force field's.
    """
    if force_field.network is None or not force_field.thermal_form.depends_on_temperature:
        return None
    model = copy.deepcopy(force_field).eval().requires_grad_(False)
    dtype = next(force_field.network.parameters()).dtype
    energies: list[np.ndarray] = []
    within: list[np.ndarray] = []
    with open_trajectory(simulation) as stored:
        kept, segment = frames_after(stored, discard)
        frames = np.flatnonzero(kept)
        topology = adopt_topology(stored.topology, force_field, where=f"file '{simulation}'")
        if "cell" in stored.fields and not has_constant_volume(stored.read(frames).volumes()):
            return None
        for part in read_chunks(stored, frames):
            batch = build_batch(replace(part, topology=topology), np.arange(part.n_frames), dtype=dtype)
            with torch.no_grad():
                parts = predict_parts(model, batch, find_pairs(batch, force_field.cutoff))
            energies.append(parts.energetic.energy.numpy())
            within.append(parts.heat_capacity.numpy())
        temperature = stored.state_point.temperature
    return measure_heat_capacity(
        np.concatenate(energies),
        np.concatenate(within),
        temperature=temperature,
        n_molecules=topology.n_molecules,
        n_blocks=n_blocks,
        segment=segment[frames],
    )
