"""Ask a trained force field directly what it can tell apart: mirror images, exchanged beads, hands of stereocentres.

A good loss and a stable run say nothing about that, and a simulation takes long to show it. Energies show it at once.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.analysis.atom_graph import label_beads, read_atom_graph
from beadsmith.analysis.inversion import InversionSettings
from beadsmith.analysis.molecule_plan import large_molecules
from beadsmith.analysis.stereocentres import find_centres
from beadsmith.diagnostics.energies import build_probe
from beadsmith.diagnostics.inversion import measure_inversion_barriers, probe_inversion_path
from beadsmith.diagnostics.parity import probe_parity
from beadsmith.diagnostics.permutation import probe_partners, probe_permutations
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import open_trajectory
from beadsmith.progress import Progress, silent
from beadsmith.topology import MoleculeKind

N_FRAMES = 32
"""Frames of the reference that are probed."""


def probe_force_field(
    force_field: ForceField,
    reference: Path,
    molecules: dict[str, Any],
    *,
    inversion: InversionSettings | None = None,
    temperature: float,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Return all probes of a force field, or None where it has no network or all molecules have one bead.

    Parameters
    ----------
    force_field : The force field.
    reference : Mapped trajectory that frames are taken from.
    molecules : What `evaluate` measured on the molecules of the reference, for its stereocentres.
    inversion : Metadynamics for the barrier of inversion, or None.
    temperature : Temperature of the simulation [K].
    seed : Seed of the metadynamics.
    progress : Receives picoseconds of metadynamics.

    Returns
    -------
    ``parity``; and by molecule and name ``permutation``, ``inversion_path`` and ``inversion_barrier``.

    Raises
    ------
    InputError : the frames do not fit the force field, or a barrier is wanted for more than one molecule.
    PhysicsError : the metadynamics blew up.
    """
    with open_trajectory(reference) as stored:
        kinds = large_molecules(stored.topology)
        if force_field.network is None or not kinds:
            return None
        chosen = np.unique(np.linspace(0, stored.n_frames - 1, N_FRAMES).astype(np.int64))
        frames, metadata = stored.read(chosen), stored.metadata
    probe = build_probe(force_field, frames)
    found: dict[str, Any] = {
        "parity": probe_parity(probe).to_json(),
        "permutation": {},
        "inversion_path": {},
        "inversion_barrier": {},
    }
    for kind in kinds:
        swaps = probe_permutations(probe, kind, _find_labels(metadata, kind))
        between = probe_partners(probe, kind)
        found["permutation"][kind.name] = [
            swap.to_json() for swap in (*swaps, *(() if between is None else (between,)))
        ]
        centres = find_locked_centres(molecules[kind.name])
        if not centres:
            continue
        found["inversion_path"][kind.name] = {
            centre.name: probe_inversion_path(probe, centre).to_json()
            for centre in find_centres(frames.topology, kind)
            if centre.name in centres
        }
        if inversion is not None:
            if frames.topology.n_molecules > 1:
                raise InputError(
                    f"a barrier of inversion is wanted, but there are {frames.topology.n_molecules} molecules",
                    where="evaluation.inversion_barrier",
                    fix="Use 'inversion_barrier: none'; the path of the substituent is looked at anyway.",
                )
            found["inversion_barrier"][kind.name] = measure_inversion_barriers(
                force_field,
                frames,
                centres,
                inversion,
                temperature=temperature,
                seed=seed,
                progress=progress,
            )
    return found


def find_locked_centres(molecule: dict[str, Any]) -> dict[str, float]:
    """Return the sign of the improper of each stereocentre that keeps its hand in the reference.

    Parameters
    ----------
    molecule : What `evaluate` measured on one kind of molecule.
    """
    return {
        name: 1.0 if entry["positive"]["value"] >= 0.5 else -1.0
        for name, entry in molecule["stereocentres"].items()
        if entry["is_locked"]
    }


def _find_labels(metadata: dict[str, Any], kind: MoleculeKind) -> tuple[Hashable, ...] | None:
    """Return what the beads of a molecule are chemically, where the mapping has kept its atoms."""
    for molecule in metadata.get("molecules", []):
        atoms = read_atom_graph(molecule) if molecule["name"] == kind.name else None
        if atoms is not None and len(atoms.members) == kind.sites.shape[1]:
            return label_beads(atoms)
    return None
