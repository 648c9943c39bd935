"""What a force field remembers of its training data: molecules, state points and the shortest distances."""

from typing import Any

import numpy as np

from beadsmith.batch import build_batch
from beadsmith.force_field import ForceFieldRecord
from beadsmith.neighbors import find_pairs, pair_vectors
from beadsmith.priors.pair_terms import NONBONDED, name_type_pairs, number_type_pairs
from beadsmith.topology import Topology, group_equal_molecules
from beadsmith.training.data import group_rows
from beadsmith.trajectory import Trajectory

_TERMS = ("bonds", "angles", "dihedrals", "impropers", "constraints")


def describe_data(
    trajectories: tuple[Trajectory, ...],
    *,
    search_cutoff: float,
    mapping_summary: dict[str, Any],
    metadata: dict[str, Any],
) -> ForceFieldRecord:
    """Return the record of a force field that is fitted to these trajectories.

    Parameters
    ----------
    trajectories : The whole mapped data set; all share one list of bead types.
    search_cutoff : Distance up to which the shortest distances are looked for [nm].
    mapping_summary : How atoms became beads.
    metadata : Provenance.
    """
    templates: dict[str, Topology] = {}
    for trajectory in trajectories:
        for kind in group_equal_molecules(trajectory.topology):
            templates.setdefault(kind.name, cut_molecule(trajectory.topology, kind.sites[0]))
    return ForceFieldRecord(
        templates=tuple(templates.values()),
        state_points=tuple(dict.fromkeys(trajectory.state_point for trajectory in trajectories)),
        shortest_distances=find_shortest_distances(trajectories, search_cutoff),
        mapping_summary=mapping_summary,
        metadata=metadata,
    )


def cut_molecule(topology: Topology, sites: np.ndarray) -> Topology:
    """Return one molecule of a topology as a topology of its own; all type names are kept."""
    start = int(sites[0])
    residues = topology.residue_index[sites] - topology.residue_index[start]
    terms = {name: getattr(topology, name) for name in _TERMS}
    return Topology(
        names=tuple(topology.names[site] for site in sites.tolist()),
        types=topology.types[sites],
        type_names=topology.type_names,
        elements=None if topology.elements is None else tuple(topology.elements[site] for site in sites.tolist()),
        masses=topology.masses[sites],
        molecule_index=np.zeros(len(sites), dtype=np.int64),
        residue_index=residues,
        residue_names=topology.residue_names[topology.residue_index[start] :][: int(residues.max()) + 1],
        **{name: rows[np.isin(rows[:, 0], sites)] - start for name, rows in terms.items()},
    )


def find_shortest_distances(trajectories: tuple[Trajectory, ...], search_cutoff: float) -> dict[str, float]:
    """Return the smallest non-bonded distance of each unordered type pair that comes that close [nm]."""
    type_names = trajectories[0].topology.type_names
    table, names = number_type_pairs(len(type_names)), name_type_pairs(type_names)
    shortest = np.full(len(names), np.inf)
    for trajectory in trajectories:
        rows = np.stack([np.zeros(trajectory.n_frames, dtype=np.int64), np.arange(trajectory.n_frames)], axis=1)
        for frames in group_rows((trajectory,), rows):
            batch = build_batch(trajectory, frames)
            types = batch.types.numpy()
            pairs = find_pairs(batch, search_cutoff)
            kept = pairs.half[np.isin(pairs.bond_class[pairs.half].numpy(), NONBONDED)]
            vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)[kept]
            first, second = pairs.index[:, kept].numpy()
            np.minimum.at(shortest, table[types[first], types[second]], vectors.double().norm(dim=1).numpy())
    return {name: float(r) for name, r in zip(names, shortest.tolist(), strict=True) if np.isfinite(r)}
