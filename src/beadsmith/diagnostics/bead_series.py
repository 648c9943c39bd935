"""Energy and entropy of the beads on every frame of a trajectory, from a force field that knows the two apart."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.measure import frames_after, read_chunks
from beadsmith.analysis.state_variables import has_constant_volume
from beadsmith.batch import build_batch
from beadsmith.force_field import ForceField, adopt_topology
from beadsmith.io.h5md import open_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.thermal_parts import predict_parts
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class BeadSeries:
    """W = U - T S along a trajectory, of the whole system."""

    energy: Float[np.ndarray, "frames"]
    """U(R) up to a constant of the state [kJ/mol]."""
    entropy: Float[np.ndarray, "frames"]
    """S(R) up to a constant of the state [kJ/mol/K]."""
    slope: Float[np.ndarray, "frames"]
    """dU/dT at fixed beads up to a constant of the state [kJ/mol/K]."""
    atomistic_energy: Float[np.ndarray, "frames"] | None
    """Potential energy u of the atoms [kJ/mol]; None where the frames are not those of atoms."""
    temperature: Float[np.ndarray, "frames"]
    """Temperature of each frame [K]."""
    segment: Int[np.ndarray, "frames"]
    """Run or replica of each frame."""
    weight: Float[np.ndarray, "frames"]
    """Statistical weight of each frame."""
    state_temperature: float
    """Temperature of the state point [K]."""
    topology: Topology
    """The beads."""
    has_constant_volume: bool
    """Whether all frames have one volume, or none."""


def knows_energy(force_field: ForceField) -> bool:
    """Tell whether a force field knows energy and entropy apart."""
    return force_field.network is not None and force_field.thermal_form.depends_on_temperature


def read_bead_series(
    force_field: ForceField, path: Path, *, discard: float = 0.0, is_atomistic: bool = False, most: int | None = None
) -> BeadSeries:
    """Return what a force field says of every frame of a file.

    Parameters
    ----------
    force_field : One that depends on temperature.
    path : Trajectory at bead resolution.
    discard : Time dropped at the start of every segment [ps].
    is_atomistic : Whether the energies in the file are those of the atoms, not free energies of beads.
    most : Largest number of frames, evenly spread; None for all.

    Raises
    ------
    InputError : the file cannot be read, its beads are not the force field's, or that does not depend on temperature.
    """
    model = copy.deepcopy(force_field).eval().requires_grad_(False)
    with open_trajectory(path) as stored:
        kept, segment = frames_after(stored, discard)
        frames = np.flatnonzero(kept)
        if most is not None and len(frames) > most:
            frames = frames[np.linspace(0, len(frames) - 1, most).astype(np.int64)]
        topology = adopt_topology(stored.topology, force_field, where=f"file '{path}'")
        parts = [_evaluate(model, replace(part, topology=topology)) for part in read_chunks(stored, frames)]
        state_temperature = stored.state_point.temperature
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    volumes = columns.pop("volume", None)
    atomistic = columns.pop("stored_energy", None)
    return BeadSeries(
        **columns,
        atomistic_energy=atomistic if is_atomistic else None,
        segment=segment[frames],
        state_temperature=state_temperature,
        topology=topology,
        has_constant_volume=volumes is None or has_constant_volume(volumes),
    )


def _evaluate(model: ForceField, part: Trajectory) -> dict[str, np.ndarray]:
    """Return the columns of some frames."""
    assert model.network is not None
    dtype = next(model.network.parameters()).dtype
    batch = build_batch(part, np.arange(part.n_frames), dtype=dtype)
    parts = predict_parts(model, batch, find_pairs(batch, model.cutoff))
    temperature = batch.temperature.double().numpy()
    columns = {
        "energy": parts.energetic.energy.numpy(),
        "entropy": -parts.entropic.energy.numpy() / temperature,
        "slope": parts.heat_capacity.numpy(),
        "temperature": temperature,
        "weight": np.ones(part.n_frames) if part.weight is None else part.weight,
    }
    if part.cell is not None:
        columns["volume"] = part.volumes()
    if part.energy is not None:
        columns["stored_energy"] = part.energy
    return columns
