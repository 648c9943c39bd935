"""Map a reference trajectory of atoms to a trajectory of beads, in two passes of bounded memory.

Pass 1 sums the force products that optimal force maps and noise figures are made of; pass 2 maps the frames and saves
them part by part, so that an interrupted run goes on where it was.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.io.h5md import StoredTrajectory, open_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.mapping.aggregation import find_bias
from beadsmith.mapping.beads import BeadTemplate, describe_beads, repeat_weights
from beadsmith.mapping.coverage import describe_coverage, name_atom
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.formats import read_mapping_files
from beadsmith.mapping.frames import build_molecule_tree, map_trajectory
from beadsmith.mapping.noise import (
    ForceProducts,
    blur_weights,
    compare_noise,
    fit_weights,
    plain_weights,
    sum_force_products,
)
from beadsmith.mapping.record import Mapping
from beadsmith.mapping.settings import MappingSettings
from beadsmith.progress import Progress, silent
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory
from beadsmith.units import thermal_energy

# about 12 MB for each float64 array of positions or forces, a handful of which are alive at once
_SITES_PER_CHUNK = 500_000

_AVERAGED_FIELDS = ("n_averaged", "force_noise", "response_forces", "energy_variance")


def map_reference(
    reference: Path, output: Path, settings: MappingSettings, *, identity: str, progress: Progress = silent
) -> dict[str, Any]:
    """Map a file of atomistic frames with forces to a file of bead frames; return what was done and what it is worth.

    Molecules are whole, the first bead of each in the cell. Energy, cell, times, segments and weights are the
    reference's, the molecular virial as well (see `map_trajectory`); velocities are mapped like positions. Of replicas
    at several temperatures those at the temperature of the state are mapped: another one has another mean force.

    Parameters
    ----------
    reference : Trajectory file with forces; molecules may be broken across the boundary.
    output : Trajectory file to write. What an interrupted call with the same identity has saved is used.
    settings : Bead scheme and force map.
    identity : Hash of the inputs.
    progress : Receives frames done of both passes.

    Returns
    -------
    The beads, the atoms in no bead, the weights of the force map, and the noise that every map leaves (these are also
    the metadata of the file), and the speed.

    Raises
    ------
    InputError : the reference has no frames or no forces, holds NaN, or does not fit its topology; the beads do not
        fit its molecules; a bead reaches across half the cell; the force map would be biased.
    """
    with open_trajectory(reference) as stored:
        _refuse_unmappable(stored)
        chunk_frames = settings.chunk_frames or max(1, _SITES_PER_CHUNK // stored.topology.n_sites)
        began = time.perf_counter()
        templates = find_templates(stored.topology, settings)
        kT = thermal_energy(stored.state_point.temperature)
        store = PartStore(output, identity)
        n_saved = store.n_frames
        frames, left_out = _choose_frames(stored)
        chunks = _count(_read_chunks(stored, frames, chunk_frames), progress, 2 * len(frames))
        products = sum_force_products(chunks, templates, n_frames=len(frames))
        weights = _restore_weights(store, templates) or fit_force_weights(products, templates, settings, kT=kT)
        mapping = build_mapping(stored.topology, templates, weights, settings)
        _map_frames(stored, frames, store, templates, mapping, weights, chunk_frames=chunk_frames, progress=progress)
        comparison = compare_noise(
            products, templates, regularization=settings.regularization, noise_width=settings.noise_width, kT=kT
        )
        summary = {
            **_describe(stored.topology, templates, weights, settings),
            **comparison.to_json(),
            "n_frames_at_other_temperatures": left_out,
        }
        store.finish(summary)
        return {**summary, "frames_per_second": (len(frames) - n_saved) / (time.perf_counter() - began)}


def find_templates(topology: Topology, settings: MappingSettings) -> tuple[BeadTemplate, ...]:
    """Return one template per molecule kind that has beads, from the settings and the mapping files they name.

    Raises
    ------
    InputError : a file cannot be used, or the beads do not fit the molecules.
    """
    return build_templates(topology, settings, read_mapping_files(settings.files, topology))


def fit_force_weights(
    products: tuple[ForceProducts, ...],
    templates: tuple[BeadTemplate, ...],
    settings: MappingSettings,
    *,
    kT: float,
) -> tuple[Float[np.ndarray, "_beads _atoms"], ...]:
    """Return the force map of each template that the settings ask for.

    Raises
    ------
    InputError : the map would be biased.
    """
    found = []
    for product, template in zip(products, templates, strict=True):
        if settings.forces == "optimal":
            weights = fit_weights(product, template, regularization=settings.regularization)
        else:
            weights = plain_weights(settings.forces, template)
        reason = find_bias(weights, template.position_weights, template.rigid_groups)
        if reason is not None:
            raise InputError(
                f"mapping.forces is '{settings.forces}', which is biased for molecule "
                f"'{template.molecules.name}': {reason}",
                fix="Use forces: optimal; or uniform, if the beads share no atom and no rigid group.",
            )
        if settings.noise_width is not None and settings.forces == "optimal":
            weights = blur_weights(weights, product, template, noise_width=settings.noise_width, kT=kT)
        found.append(weights)
    return tuple(found)


def build_mapping(
    topology: Topology,
    templates: tuple[BeadTemplate, ...],
    force_weights: tuple[Float[np.ndarray, "_beads _atoms"], ...],
    settings: MappingSettings,
) -> Mapping:
    """Return the mapping of all molecules of a topology.

    Raises
    ------
    InputError : the force map would be biased (see `Mapping`).
    """
    return Mapping(
        position_map=repeat_weights(
            templates, tuple(template.position_weights for template in templates), n_atoms=topology.n_sites
        ),
        force_map=repeat_weights(templates, force_weights, n_atoms=topology.n_sites),
        topology=describe_beads(templates),
        constraints=topology.constraints,
        noise_width=settings.noise_width,
        noise_seed=settings.noise_seed,
    )


def _refuse_unmappable(stored: StoredTrajectory) -> None:
    where = f"file '{stored.path}'"
    if stored.n_frames == 0 or stored.topology.n_sites == 0:
        raise InputError("the reference trajectory is empty", where=where, fix="Sample it with more steps.")
    if "forces" not in stored.fields:
        raise InputError(
            "the reference trajectory has no forces, which force matching needs",
            where=where,
            fix="Repeat 'beadsmith sample', or save forces with the trajectory.",
        )
    averaged = [field for field in _AVERAGED_FIELDS if field in stored.fields]
    if averaged:
        raise InputError(
            f"the reference trajectory holds averaged labels ('{averaged[0]}'), expected instantaneous forces",
            where=where,
            fix="Averaged labels belong to beads already: pass the file to training without mapping it.",
        )


def _choose_frames(stored: StoredTrajectory) -> tuple[Int[np.ndarray, "frames"], dict[str, int]]:
    """Return the frames at the temperature of the state, and the number of others by temperature."""
    temperature = stored.temperature
    if temperature is None:
        return np.arange(stored.n_frames), {}
    is_mapped = temperature == stored.state_point.temperature
    if not is_mapped.any():
        raise InputError(
            f"the reference trajectory has no frame at {stored.state_point.temperature:g} K",
            where=f"file '{stored.path}'",
            fix="Add this temperature to sampling.temperatures and sample again.",
        )
    others, counts = np.unique(temperature[~is_mapped], return_counts=True)
    return np.flatnonzero(is_mapped), {f"{value:g} K": int(n) for value, n in zip(others, counts, strict=True)}


def _read_chunks(
    stored: StoredTrajectory, frames: Int[np.ndarray, "frames"], chunk_frames: int
) -> Iterator[Trajectory]:
    for start in range(0, len(frames), chunk_frames):
        yield stored.read(frames[start : start + chunk_frames])


def _count(chunks: Iterator[Trajectory], progress: Progress, total: int) -> Iterator[Trajectory]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += chunk.n_frames
        progress(done, total, "summing forces")


def _map_frames(
    stored: StoredTrajectory,
    frames: Int[np.ndarray, "frames"],
    store: PartStore,
    templates: tuple[BeadTemplate, ...],
    mapping: Mapping,
    weights: tuple[Float[np.ndarray, "_beads _atoms"], ...],
    *,
    chunk_frames: int,
    progress: Progress,
) -> None:
    """Map all frames that are not saved yet, one part per chunk, with the force weights as the state."""
    mapped = tuple(template.molecules for template in templates)
    tree = build_molecule_tree(stored.topology, mapped) if "cell" in stored.fields else ()
    state = {f"force_weights_{k}": block for k, block in enumerate(weights)}
    while store.n_frames < len(frames):
        chunk = replace(stored.read(frames[store.n_frames : store.n_frames + chunk_frames]), temperature=None)
        store.append(map_trajectory(chunk, mapping, tree, first_frame=store.n_frames), state)
        progress(len(frames) + store.n_frames, 2 * len(frames), "mapping")


def _restore_weights(
    store: PartStore, templates: tuple[BeadTemplate, ...]
) -> tuple[Float[np.ndarray, "_beads _atoms"], ...] | None:
    """Return the force weights of an interrupted call: another number of threads could round them differently."""
    state = store.last_state
    return None if state is None else tuple(state[f"force_weights_{k}"] for k in range(len(templates)))


def _describe(
    topology: Topology,
    templates: tuple[BeadTemplate, ...],
    weights: tuple[Float[np.ndarray, "_beads _atoms"], ...],
    settings: MappingSettings,
) -> dict[str, Any]:
    """Return what the beads are and how forces add up, JSON-ready."""
    return {
        "beads": settings.beads,
        "forces": settings.forces,
        "regularization": settings.regularization,
        "noise_width": settings.noise_width,
        "coverage": describe_coverage(topology, templates),
        "n_beads": sum(template.molecules.n_molecules * template.n_beads for template in templates),
        "molecules": [
            {
                "name": template.molecules.name,
                "count": template.molecules.n_molecules,
                "bead_names": list(template.names),
                "bead_masses": template.masses.tolist(),
                "atom_names": [topology.names[site] for site in template.molecules.sites[0]],
                "rigid_groups": template.rigid_groups.tolist(),
                "position_weights": template.position_weights.tolist(),
                "force_weights": block.tolist(),
                "atoms": _describe_atoms(topology, template),
            }
            for template, block in zip(templates, weights, strict=True)
        ],
    }


def _describe_atoms(topology: Topology, template: BeadTemplate) -> dict[str, Any]:
    """Return the atoms of a molecule, their bonds, and which belong to each bead: what the beads are chemically."""
    sites = template.molecules.sites[0]
    inside = np.isin(topology.bonds, sites).all(axis=1)
    # where no elements are known, masses tell them apart
    elements = [f"{mass:.2f} u" for mass in topology.masses] if topology.elements is None else topology.elements
    return {
        "names": [name_atom(topology, site) for site in sites.tolist()],
        "elements": [elements[site] for site in sites.tolist()],
        "bonds": np.searchsorted(sites, topology.bonds[inside]).tolist(),
        "members": [np.flatnonzero(row).tolist() for row in template.members],
    }
