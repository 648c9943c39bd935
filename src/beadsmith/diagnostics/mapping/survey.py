"""Everything that is measured on a mapped reference before it is judged: one read of the file, then the measures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.analysis.coordinate_coverage import CoordinateCoverage, survey_coverage
from beadsmith.analysis.distance_survey import DistanceSurvey, survey_distances
from beadsmith.analysis.measure import read_chunks
from beadsmith.analysis.molecule_series import build_molecule_tree
from beadsmith.diagnostics.mapping.molecules import MoleculeSurvey, survey_molecule
from beadsmith.errors import InputError
from beadsmith.geometry import make_whole
from beadsmith.io.h5md import StoredTrajectory, open_trajectory
from beadsmith.progress import Progress, silent
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules
from beadsmith.trajectory import Trajectory, join_trajectories

MOST_SITES = 4_000_000
"""Sites of all frames together that are looked at; of a longer reference, frames at even distances. The rarest event
that counts here happens to one site in ten thousand."""


@dataclass(frozen=True, kw_only=True)
class MappingSurvey:
    """What a mapped reference says about its beads."""

    n_frames: int
    """Frames in the file."""
    n_used: int
    """Frames that were looked at."""
    topology: Topology
    """The beads."""
    distances: DistanceSurvey
    """Bonded, other and closest distances."""
    molecules: tuple[MoleculeSurvey, ...]
    """Each kind of molecule."""
    samples: dict[str, int]
    """Values of each bonded coordinate in the file, by ``"bonds A-B"``."""
    coverage: tuple[CoordinateCoverage, ...]
    """What the frames that were looked at know of each bonded coordinate."""


def survey_mapping(path: Path, progress: Progress = silent) -> MappingSurvey:
    """Return what a mapped trajectory says about its beads.

    Parameters
    ----------
    path : Mapped trajectory with forces.
    progress : Receives the work done.

    Raises
    ------
    InputError : the file is missing or damaged, or has no frames or no forces.
    """
    with open_trajectory(path) as stored:
        _refuse_useless(stored)
        frames, n_frames, metadata = _read_frames(stored), stored.n_frames, stored.metadata
    topology = frames.topology
    kinds = group_equal_molecules(topology)
    n_parts = 1 + len(kinds)
    distances = survey_distances(
        frames, progress=lambda done, total, note="": progress(done / max(total, 1), n_parts, note)
    )
    whole = frames.positions
    if frames.cell is not None:
        whole = make_whole(frames.positions, frames.cell, build_molecule_tree(topology)).astype(np.float32)
    molecules = []
    for number, kind in enumerate(kinds, start=1):
        progress(number, n_parts, kind.name)
        molecules.append(survey_molecule(frames, whole, kind, _find_metadata(metadata, topology, kind)))
    coverage = survey_coverage(whole, topology, frames.segment)
    return MappingSurvey(
        n_frames=n_frames,
        n_used=frames.n_frames,
        topology=topology,
        distances=distances,
        molecules=tuple(molecules),
        samples={entry.label: entry.n_values // frames.n_frames * n_frames for entry in coverage},
        coverage=coverage,
    )


def _refuse_useless(stored: StoredTrajectory) -> None:
    where = f"file '{stored.path}'"
    if stored.n_frames == 0 or stored.topology.n_sites == 0:
        raise InputError("the mapped trajectory is empty", where=where, fix="Sample longer and map again.")
    if "forces" not in stored.fields:
        raise InputError(
            "the trajectory has no forces, which a mapped reference has",
            where=where,
            fix="Give the file that 'beadsmith map' wrote.",
        )


def _read_frames(stored: StoredTrajectory) -> Trajectory:
    """Return all frames, or as many at even distances as there is room for."""
    stride = max(1, -(-stored.n_frames * stored.topology.n_sites // MOST_SITES))
    parts, start = [], 0
    for part in read_chunks(stored, np.arange(stored.n_frames)):
        chosen = part.select(slice(-start % stride, None, stride))
        start += part.n_frames
        if chosen.n_frames:
            parts.append(chosen)
    return join_trajectories(parts)


def _find_metadata(metadata: dict[str, Any], topology: Topology, kind: MoleculeKind) -> dict[str, Any]:
    """Return what the mapping said about a kind of molecule; nothing where it does not say."""
    names = [topology.names[site] for site in kind.sites[0].tolist()]
    entries = metadata.get("molecules", [])
    return next((entry for entry in entries if entry["name"] == kind.name and entry["bead_names"] == names), {})
