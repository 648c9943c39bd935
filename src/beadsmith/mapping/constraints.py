"""Rigid groups: sets of atoms that a simulation with constraints moves as one piece as far as forces are concerned.

A constrained simulation reports forces without the constraint forces. Only sums over whole rigid groups are free of
the missing part, so every atom of a group must enter a bead's force with the same weight.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Int
from scipy.sparse.csgraph import connected_components

from beadsmith.errors import InputError
from beadsmith.geometry import minimum_image
from beadsmith.topology import MoleculeKind, Topology, group_equal_molecules
from beadsmith.trajectory import Trajectory

RIGID_DEVIATION = 5e-4
"""Standard deviation of a distance below which it counts as rigid [nm]. The stiffest flexible bonds (O-H, N-H and
C-H, spring constants up to 5e5 kJ/mol/nm²) vary by sqrt(kT/k) = 2.2e-3 nm at 300 K and 1.3e-3 nm at 100 K; constrained
ones by the tolerance of the constraint and the rounding of the file, 1e-6 nm in float32 and at most 4e-4 nm where
positions are rounded to 1e-3 nm (XTC)."""

MIN_SAMPLES = 10
"""Distances (frames times equal molecules) needed: a flexible bond then looks rigid with a chance below 1e-5."""

_ALL_PAIRS_UP_TO = 64
"""Atoms of a molecule without bonds whose pairs are all looked at: enough for any solvent, and still few pairs."""


@dataclass(frozen=True, kw_only=True)
class DetectedConstraints:
    """Rigid distances found in data."""

    pairs: Int[np.ndarray, "constraints 2"]
    """Site pairs, for `Topology.constraints`."""
    largest_rigid: float
    """Largest standard deviation of a pair that counts as rigid [nm]; 0 if there is none."""
    smallest_flexible: float
    """Smallest standard deviation of the other pairs [nm]; inf if there is none."""


def find_rigid_groups(topology: Topology) -> Int[np.ndarray, "sites"]:
    """Return the rigid group of each site: the connected components of the constraints, numbered by first site.

    Raises
    ------
    InputError : a constraint joins two molecules.
    """
    first, second = topology.constraints.T
    crossing = np.flatnonzero(topology.molecule_index[first] != topology.molecule_index[second])
    if len(crossing):
        i, j = topology.constraints[crossing[0]].tolist()
        raise InputError(
            f"the constraint between sites {i} ('{topology.names[i]}') and {j} ('{topology.names[j]}') "
            "joins two molecules",
            fix="Give both sites the same molecule_index, or remove the constraint.",
        )
    shape = (topology.n_sites, topology.n_sites)
    graph = sparse.coo_array((np.ones(len(first)), (first, second)), shape=shape)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def groups_in_molecule(groups: Int[np.ndarray, "sites"], molecules: MoleculeKind) -> Int[np.ndarray, "atoms"]:
    """Return the rigid groups of one molecule of a kind, renumbered from 0."""
    return np.unique(groups[molecules.sites[0]], return_inverse=True)[1].astype(np.int64)


def group_indicator(groups: Int[np.ndarray, "atoms"]) -> np.ndarray:
    """Return G (atoms, groups) with G_ia = 1 where atom i belongs to group a, else 0."""
    return (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)


def detect_constraints(
    chunks: Iterable[Trajectory], topology: Topology, *, threshold: float = RIGID_DEVIATION
) -> DetectedConstraints:
    """Return the pairs of atoms whose distance does not vary, from one pass over the frames in bounded memory.

    Looks at bonded atoms and at atoms bonded to a common third, or at all pairs of a small molecule without bonds.
    Equal molecules are pooled, so that one frame of a liquid is enough. Time and memory grow linearly with the atoms.

    Parameters
    ----------
    chunks : Frames; molecules may be broken across the boundary.
    topology : The atoms; its own constraints are not looked at.
    threshold : Standard deviation below which a distance is rigid [nm].

    Raises
    ------
    InputError : a molecule kind has too few samples, or deviations lie on both sides of the threshold so close to it
        that rigid and flexible pairs cannot be told apart.
    """
    kinds = group_equal_molecules(topology)
    candidates = [_candidate_pairs(topology, kind) for kind in kinds]
    sums = [np.zeros((2, len(pairs))) for pairs in candidates]
    references: list[np.ndarray | None] = [None] * len(kinds)
    n_frames = 0
    for chunk in chunks:
        n_frames += chunk.n_frames
        for k, (kind, pairs) in enumerate(zip(kinds, candidates, strict=True)):
            if not len(pairs):
                continue
            first, second = kind.sites[:, pairs[:, 0]], kind.sites[:, pairs[:, 1]]
            vectors = minimum_image(chunk.positions[:, second] - chunk.positions[:, first], chunk.cell)
            distances = np.sqrt(np.einsum("fmpx,fmpx->fmp", vectors, vectors))
            reference = references[k]
            if reference is None:
                reference = references[k] = distances[0, 0].copy()
            # about a reference distance: the plain sum of squares would lose the small variance to rounding
            shifted = distances - reference
            sums[k] += [shifted.sum(axis=(0, 1)), np.einsum("fmp,fmp->p", shifted, shifted)]
    found = [np.zeros((0, 2), dtype=np.int64)]
    largest, smallest = 0.0, np.inf
    for kind, pairs, (total, squares) in zip(kinds, candidates, sums, strict=True):
        n_samples = n_frames * kind.n_molecules
        if not len(pairs):
            continue
        if n_samples < MIN_SAMPLES:
            raise InputError(
                f"molecule '{kind.name}' has {n_samples} samples of each distance, expected at least {MIN_SAMPLES} to "
                "tell rigid from flexible",
                fix="Pass more frames, or state the constraints in the topology.",
            )
        deviation = np.sqrt(np.maximum(squares / n_samples - (total / n_samples) ** 2, 0.0))
        rigid = deviation < threshold
        largest = max(largest, float(deviation[rigid].max(initial=0.0)))
        smallest = min(smallest, float(deviation[~rigid].min(initial=np.inf)))
        found.append(kind.sites[:, pairs[rigid]].reshape(-1, 2))
    if smallest < 2.0 * largest:
        raise InputError(
            f"rigid and flexible distances cannot be told apart: one varies by {largest:.2g} nm and another by "
            f"{smallest:.2g} nm, on both sides of {threshold:.2g} nm",
            fix="State the constraints in the topology, or pass frames of higher precision.",
        )
    pairs = np.concatenate(found)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return DetectedConstraints(pairs=pairs[order], largest_rigid=largest, smallest_flexible=smallest)


def _candidate_pairs(topology: Topology, kind: MoleculeKind) -> Int[np.ndarray, "_pairs 2"]:
    """Return bonded and 1-3 pairs of one molecule, counted within it; all pairs of a small one without bonds."""
    sites = kind.sites[0]
    bonds = topology.bonds[np.isin(topology.bonds, sites).all(axis=1)] - sites[0]
    if not len(bonds):
        few = len(sites) if len(sites) <= _ALL_PAIRS_UP_TO else 0
        return np.argwhere(np.triu(np.ones((few, few), dtype=bool), k=1)).astype(np.int64)
    neighbours: dict[int, list[int]] = {}
    for first, second in bonds.tolist():
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    pairs = {(min(pair), max(pair)) for pair in bonds.tolist()}
    for around in neighbours.values():
        pairs |= {(first, second) for first in around for second in around if first < second}
    return np.array(sorted(pairs), dtype=np.int64)
