"""Read the coordinates of all molecules from a stored trajectory, in one pass of chunks.

Kept in memory are float32 numbers, a few dozen a frame and copy; positions are not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.blocks import FrameBlocks, divide_frames
from beadsmith.analysis.measure import frames_after, read_chunks
from beadsmith.analysis.molecule_plan import MoleculePlan, large_molecules
from beadsmith.errors import InputError
from beadsmith.geometry import build_spanning_tree, make_whole
from beadsmith.io.h5md import StoredTrajectory
from beadsmith.topology import MoleculeKind, Topology


@dataclass(frozen=True, kw_only=True)
class MoleculeSeries:
    """The coordinates of one kind of molecule over the frames of one trajectory."""

    values: dict[str, Float[np.ndarray, "frames samples"]]
    """Values of each coordinate, one sample a copy."""
    bonded: dict[str, Float[np.ndarray, "frames samples"]]
    """Values of each bonded coordinate, one sample a term and copy."""
    centres: dict[str, Float[np.ndarray, "frames samples"]]
    """Signed improper of each stereocentre, one sample a copy."""
    features: Float[np.ndarray, "frames features"] | None
    """Features of slow components, or None."""
    frames: FrameBlocks
    """Blocks and weights of the frames."""
    times: Float[np.ndarray, "frames"]
    """Time of each frame [ps]."""
    segment: Int[np.ndarray, "frames"]
    """Run or replica of each frame."""
    temperature: float
    """Temperature of the state point [K]."""


def read_series(
    stored: StoredTrajectory,
    plans: dict[str, MoleculePlan],
    *,
    n_blocks: int,
    discard: float,
) -> dict[str, MoleculeSeries]:
    """Return the coordinates of each kind of molecule.

    Parameters
    ----------
    stored : The open file.
    plans : What to compute, by name of the molecule.
    n_blocks : Number of blocks for the errors.
    discard : Time dropped at the start of every segment [ps].

    Raises
    ------
    InputError : a frame is damaged.
    """
    kept, segment = frames_after(stored, discard)
    chosen = np.flatnonzero(kept)
    tree = _molecule_tree(stored)
    values: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in plans}
    bonded: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in plans}
    centres: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in plans}
    features: dict[str, list[np.ndarray]] = {name: [] for name in plans}
    weights = []
    for part in read_chunks(stored, chosen):
        positions = make_whole(part.positions, part.cell, tree)
        for name, plan in plans.items():
            groups = ((values, plan.coordinates), (bonded, plan.bonded), (centres, plan.centres))
            for collected, coordinates in groups:
                for entry in coordinates:
                    if entry.compute is not None:
                        series = entry.compute(positions).astype(np.float32)
                        collected[name].setdefault(entry.name, []).append(series)
            if plan.features is not None:
                features[name].append(plan.features(positions))
        weights.append(np.ones(part.n_frames) if part.weight is None else part.weight)
    frames = divide_frames(
        len(chosen), n_blocks=n_blocks, segment=segment[chosen], weight=np.concatenate(weights).astype(np.float64)
    )
    return {
        name: MoleculeSeries(
            values={key: np.concatenate(parts) for key, parts in values[name].items()},
            bonded={key: np.concatenate(parts) for key, parts in bonded[name].items()},
            centres={key: np.concatenate(parts) for key, parts in centres[name].items()},
            features=np.concatenate(features[name]) if features[name] else None,
            frames=frames,
            times=stored.times[chosen],
            segment=segment[chosen],
            temperature=stored.state_point.temperature,
        )
        for name in plans
    }


def read_structures(stored: StoredTrajectory, frame: int) -> dict[str, Float[np.ndarray, "sites 3"]]:
    """Return the whole structure of every molecule that has one copy, in one frame [nm]."""
    part = stored.read(slice(frame, frame + 1))
    whole = make_whole(part.positions, part.cell, _molecule_tree(stored))[0]
    return {kind.name: whole[kind.sites[0]] for kind in large_molecules(stored.topology) if kind.n_molecules == 1}


def build_molecule_tree(topology: Topology) -> tuple[Int[np.ndarray, "_edges 2"], ...]:
    """Return the bonds that make all molecules of several sites whole, outwards from the first site of each."""
    generations: list[list[np.ndarray]] = []
    for kind in large_molecules(topology):
        for depth, edges in enumerate(_copy_tree(topology, kind)):
            generations += [[]] if depth == len(generations) else []
            generations[depth].append(kind.sites[:, edges].reshape(-1, 2))
    return tuple(np.concatenate(edges) for edges in generations)


def _molecule_tree(stored: StoredTrajectory) -> tuple[Int[np.ndarray, "_edges 2"], ...]:
    """Return the same for a file; an open system is whole already."""
    return build_molecule_tree(stored.topology) if "cell" in stored.fields else ()


def _copy_tree(topology: Topology, kind: MoleculeKind) -> tuple[Int[np.ndarray, "_edges 2"], ...]:
    """Return the tree of one copy along its bonds; where they do not connect it, along successive sites as well."""
    n_sites = kind.sites.shape[1]
    bonds = topology.bonds[np.isin(topology.bonds[:, 0], kind.sites[0])] - kind.sites[0, 0]
    try:
        return build_spanning_tree(n_sites, bonds)
    except InputError:
        chain = np.stack([np.arange(n_sites - 1), np.arange(1, n_sites)], axis=1)
        return build_spanning_tree(n_sites, np.concatenate([bonds, chain]))
