"""Averaged labels of a run: its system, its mapping and its frames put together for `sampling.constrained`."""

from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory
from beadsmith.mapping.apply import build_mapping, find_templates
from beadsmith.progress import Progress
from beadsmith.sampling.constrained import average_forces
from beadsmith.sampling.starts import build_starts


def average_labels(
    settings: RunSettings, reference: Path, mapped: Path, output: Path, *, identity: str, progress: Progress
) -> dict[str, Any]:
    """Hold the beads of some mapped frames fixed and write their averaged labels; an interrupted call is resumed.

    Atoms, constraints and force map are those of the reference and of its mapping.

    Parameters
    ----------
    settings : Configuration, with a section `mean_force` and a system to sample.
    reference, mapped : Frames of atoms, and the same as beads.
    output : Bead trajectory to write.
    identity : Hash of everything the result depends on.
    progress : Receives picoseconds done.

    Returns
    -------
    See `beadsmith.sampling.constrained.average_forces`.

    Raises
    ------
    InputError : the files do not fit the system, or the beads cannot be held.
    PhysicsError : a run diverged.
    """
    assert settings.system is not None
    assert settings.mean_force is not None
    starts = build_starts(
        settings.sampling, settings.system, settings.state.to_state_point(), n_replicas=1, seed=settings.seed
    )
    with open_trajectory(mapped) as stored:
        described, topology = stored.metadata["molecules"], starts.atoms.topology
    templates = find_templates(topology, settings.mapping)
    if [template.molecules.name for template in templates] != [entry["name"] for entry in described]:
        raise InputError(
            "the mapped trajectory has other molecules than the system", where=f"file '{mapped}'",
            fix="Repeat 'beadsmith map'.",
        )  # fmt: skip
    weights = tuple(np.array(entry["force_weights"]) for entry in described)
    mapping = build_mapping(topology, templates, weights, settings.mapping)
    return average_forces(
        settings.mean_force,
        starts.atoms.system,
        reference,
        mapped,
        output,
        position_map=mapping.position_map,
        force_map=mapping.force_map,
        reference_timestep=settings.sampling.timestep,
        seed=settings.seed,
        identity=identity,
        progress=progress,
    )
