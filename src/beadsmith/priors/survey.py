"""What the mapped frames hold before anything is fitted: distances of every type pair and the size of the forces."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from beadsmith.priors.frames import FrameBlocks, FrameChunk, stream_frames
from beadsmith.priors.pair_terms import NONBONDED, name_type_pairs, number_type_pairs, select_half_pairs
from beadsmith.progress import Progress, silent

BIN_WIDTH = 0.005
"""Width of the distance bins [nm]: the 0.05 Å of the published rule (Shinkle et al. 2024, released example)."""


@dataclass(frozen=True, kw_only=True)
class PairSurvey:
    """Distances and forces of a data set; rows are unordered type pairs."""

    type_names: tuple[str, ...]
    """Names of the bead types."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the distance bins [nm]."""
    counts: Float[np.ndarray, "type_pairs bins"]
    """Number of pairs in each bin, all frames together."""
    ideal_counts: Float[np.ndarray, "type_pairs bins"]
    """What an ideal gas of the same densities would have (N N / V, N²/2V for like pairs); 0 for open systems."""
    closest: Float[np.ndarray, "type_pairs"]
    """Smallest distance [nm]; infinite if the pair never came within the cutoff."""
    mean_absolute_force: float
    """Mean absolute force component [kJ/mol/nm]."""
    temperature: float
    """Mean temperature of the frames [K]."""

    @property
    def type_pairs(self) -> tuple[str, ...]:
        """Names of the unordered type pairs."""
        return name_type_pairs(self.type_names)


def survey_pairs(
    frames: FrameBlocks, *, cutoff: float, bond_classes: tuple[int, ...] = NONBONDED, progress: Progress = silent
) -> PairSurvey:
    """Return distance histograms, smallest distances and force statistics of non-bonded pairs.

    Parameters
    ----------
    frames : Frames in blocks.
    cutoff : Largest distance [nm].
    bond_classes : Bond classes of the pairs that count as non-bonded.
    progress : Called with the number of frames done.
    """
    n_types = len(frames.type_names)
    table = torch.from_numpy(number_type_pairs(n_types))
    n_bins = int(np.ceil(cutoff / BIN_WIDTH))
    edges = BIN_WIDTH * np.arange(n_bins + 1)
    n_type_pairs = n_types * (n_types + 1) // 2
    counts = np.zeros((n_type_pairs, n_bins))
    ideal = np.zeros_like(counts)
    closest = np.full(n_type_pairs, np.inf)
    absolute = temperature = n_components = 0.0
    nonbonded = torch.tensor(bond_classes)
    for chunk in stream_frames(frames, cutoff=cutoff, progress=progress):
        half = select_half_pairs(chunk.batch, chunk.pairs, table)
        kept = torch.isin(half.bond_class, nonbonded)
        distances, numbers = half.distances[kept].numpy(), half.type_pair[kept].numpy()
        bins = np.minimum((distances / BIN_WIDTH).astype(np.int64), n_bins - 1)
        counts += np.bincount(numbers * n_bins + bins, minlength=counts.size).reshape(counts.shape)
        np.minimum.at(closest, numbers, distances)
        ideal += _count_ideal_pairs(chunk, edges, table.numpy())
        absolute += float(chunk.labels.abs().sum())
        temperature += float(chunk.batch.temperature.sum())
        n_components += chunk.labels.numel()
    return PairSurvey(
        type_names=frames.type_names,
        edges=edges,
        counts=counts,
        ideal_counts=ideal,
        closest=closest,
        mean_absolute_force=absolute / n_components,
        temperature=temperature / frames.n_frames,
    )


def _count_ideal_pairs(chunk: FrameChunk, edges: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the pairs of each type pair and bin that an ideal gas would have in these frames."""
    n_types = len(table)
    ideal = np.zeros((n_types * (n_types + 1) // 2, len(edges) - 1))
    if chunk.batch.cell is None:
        return ideal
    # all frames of a chunk have one topology
    n_of_type = np.bincount(chunk.batch.types.numpy(), minlength=n_types) / chunk.batch.n_systems
    per_volume = float((1.0 / torch.linalg.det(chunk.batch.cell).abs()).sum())
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    for a in range(n_types):
        for b in range(a, n_types):
            n_pairs = n_of_type[a] * n_of_type[b] * (0.5 if a == b else 1.0)
            ideal[table[a, b]] = n_pairs * per_volume * shells
    return ideal
