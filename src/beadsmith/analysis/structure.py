"""Structure of a liquid: radial distribution functions, angles of triplets, closest pairs and the first peak.

Everything is counted in one pass over chunks of frames. `count_structure` turns a chunk into sums, sums add up
(`add_counts`), and blocks of sums become curves with error bars (`radial_distributions`, `angular_distributions`).
Only sites of different molecules count as pairs: distances inside a molecule belong to its bonded terms.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.analysis.distribution import Distribution, Measurement, build_distribution, jackknife_error
from beadsmith.errors import InputError
from beadsmith.geometry import cell_widths
from beadsmith.statistics import block_edges
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class StructureBins:
    """What is counted and how finely."""

    distance_edges: Float[np.ndarray, "distances"]
    """Edges of equal distance bins, from 0 [nm]."""
    angle_edges: Float[np.ndarray, "angles"]
    """Edges of equal angle bins from 0 to 180 degrees."""
    arm_cutoff: float
    """Both neighbours of a triplet's centre are closer than this [nm]."""

    @property
    def reach(self) -> float:
        """Distance up to which pairs are needed [nm]."""
        return max(float(self.distance_edges[-1]), self.arm_cutoff)


@dataclass(frozen=True, kw_only=True)
class StructureCounts:
    """Sums over frames; those of several chunks add up."""

    radial: Float[np.ndarray, "pair_kinds distance_bins"]
    """Sum over frames of weight × volume × pair count [nm³]."""
    angular: Float[np.ndarray, "triplet_kinds angle_bins"]
    """Sum over frames of weight × triplet count."""
    closest: Float[np.ndarray, "pair_kinds"]
    """Smallest distance in any frame, whatever its weight [nm]; infinite when no pair was within reach."""
    weight: float
    """Sum of the frame weights."""


def choose_bins(
    trajectory: Trajectory,
    *,
    bin_width: float = 0.01,
    largest_distance: float | None = None,
    arm_cutoff: float = 0.45,
    n_angle_bins: int = 36,
) -> StructureBins:
    """Return bins up to half the smallest height of the cell, or to `largest_distance` [nm] if that is smaller."""
    reach = np.inf if largest_distance is None else largest_distance
    if trajectory.cell is not None:
        reach = min(reach, 0.5 * float(cell_widths(trajectory.cell).min()))
    if not np.isfinite(reach):
        raise InputError("an open system has no largest distance", fix="Pass largest_distance.")
    # the small number keeps 1.3/0.01 from becoming 129 bins
    n_bins = int(reach / bin_width + 1e-9)
    if n_bins < 1:
        raise InputError(f"distances up to {reach:.3g} nm do not hold one bin of {bin_width:g} nm")
    return StructureBins(
        distance_edges=bin_width * np.arange(n_bins + 1, dtype=np.float64),
        angle_edges=np.linspace(0.0, 180.0, n_angle_bins + 1),
        arm_cutoff=arm_cutoff,
    )


def pair_kinds(topology: Topology) -> tuple[tuple[int, int], ...]:
    """Return all unordered pairs of site types, the smaller index first."""
    return tuple(combinations_with_replacement(range(len(topology.type_names)), 2))


def triplet_kinds(topology: Topology) -> tuple[tuple[int, int, int], ...]:
    """Return all (end, centre, end) types of triplets, the smaller end first."""
    n_types = len(topology.type_names)
    return tuple((a, centre, b) for centre in range(n_types) for a, b in pair_kinds(topology))


def kind_label(topology: Topology, kind: tuple[int, ...]) -> str:
    """Return the type names of a kind, for example ``"methanol-benzene"``."""
    return "-".join(topology.type_names[index] for index in kind)


def count_structure(
    trajectory: Trajectory, bins: StructureBins, weights: Float[np.ndarray, "frames"] | None = None
) -> StructureCounts:
    """Return the structure sums of the frames of one chunk.

    Parameters
    ----------
    trajectory : Frames, periodic with any cell or open; positions need not be wrapped.
    bins : What to count.
    weights : Weight of each frame (1 if None); a frame of weight 0 counts for the closest pair only.
    """
    topology = trajectory.topology
    pair_table, triplet_table = _kind_tables(len(topology.type_names))
    n_bins, n_angle_bins = len(bins.distance_edges) - 1, len(bins.angle_edges) - 1
    radial = np.zeros((len(pair_kinds(topology)), n_bins))
    angular = np.zeros((len(triplet_kinds(topology)), n_angle_bins))
    closest = np.full(len(radial), np.inf)
    volumes = np.ones(trajectory.n_frames) if trajectory.cell is None else trajectory.volumes()
    weights = np.ones(trajectory.n_frames) if weights is None else weights
    if topology.n_molecules < 2:
        # a molecule alone has no pairs of different molecules
        return StructureCounts(radial=radial, angular=angular, closest=closest, weight=float(weights.sum()))
    search = PairSearch(trajectory, bins.reach)
    for frame in range(trajectory.n_frames):
        pairs = _between_molecules(search.find(frame), topology)
        kinds = pair_table[topology.types[pairs.first], topology.types[pairs.second]]
        np.minimum.at(closest, kinds, pairs.distances)
        if weights[frame] == 0.0:
            continue
        bin_index = (pairs.distances / bins.distance_edges[1]).astype(np.int64)
        inside = bin_index < n_bins
        flat = np.bincount(kinds[inside] * n_bins + bin_index[inside], minlength=radial.size)
        radial += weights[frame] * volumes[frame] * flat.reshape(radial.shape)
        angular += weights[frame] * _count_angles(pairs, bins, topology, triplet_table)
    return StructureCounts(radial=radial, angular=angular, closest=closest, weight=float(weights.sum()))


def add_counts(first: StructureCounts, second: StructureCounts) -> StructureCounts:
    """Return the sums of two chunks together."""
    return StructureCounts(
        radial=first.radial + second.radial,
        angular=first.angular + second.angular,
        closest=np.minimum(first.closest, second.closest),
        weight=first.weight + second.weight,
    )


def count_blocks(trajectory: Trajectory, bins: StructureBins, *, n_blocks: int = 10) -> list[StructureCounts]:
    """Return the structure sums of contiguous blocks of a trajectory in memory."""
    frames = block_edges(trajectory.n_frames, min(n_blocks, trajectory.n_frames), trajectory.segment)
    parts = [trajectory.select(block) for block in frames]
    return [count_structure(part, bins, part.weight) for part in parts]


def radial_distributions(
    blocks: list[StructureCounts], bins: StructureBins, topology: Topology
) -> dict[str, Distribution]:
    """Return g(r) of every pair of types, keyed by label.

    g(r) = <V n(r)> / (n_pairs 4π/3 (r₊³ − r₋³)) with n(r) the pairs in the bin from r₋ to r₊ and n_pairs the number
    of pairs of different molecules: N(N−1)/2 for equal types of one-site molecules (so that an ideal gas gives
    exactly 1 at every N), N_a N_b for two types. The normalisation is the whole cell's density, not the density
    inside a sphere.
    """
    edges = bins.distance_edges
    shells = 4.0 * np.pi / 3.0 * np.diff(edges**3)
    weights = np.array([block.weight for block in blocks])
    divisor = np.where(weights > 0.0, weights, 1.0)[:, None]
    curves = {}
    for row, (kind, n_pairs) in enumerate(_count_pairs_of_molecules(topology).items()):
        if n_pairs == 0:
            continue
        label = kind_label(topology, kind)
        density = np.array([block.radial[row] for block in blocks]) / divisor / (n_pairs * shells)
        curves[label] = build_distribution(density, weights, label=label, unit="nm", edges=edges)
    return curves


def angular_distributions(
    blocks: list[StructureCounts], bins: StructureBins, topology: Topology
) -> dict[str, Distribution]:
    """Return the distribution of the angle end-centre-end of every kind of triplet seen, keyed by label.

    Both arms are shorter than ``bins.arm_cutoff``. The histogram is not divided by sin θ and is scaled to mean 1
    over its bins: independent neighbours give (π/2) sin θ.
    """
    curves = {}
    for row, kind in enumerate(triplet_kinds(topology)):
        counts = np.array([block.angular[row] for block in blocks])
        totals = counts.sum(axis=1)
        if totals.sum() == 0.0:
            continue
        density = counts / np.where(totals > 0.0, totals / counts.shape[1], 1.0)[:, None]
        label = kind_label(topology, kind)
        curves[label] = build_distribution(density, totals, label=label, unit="degree", edges=bins.angle_edges)
    return curves


def closest_pairs(blocks: list[StructureCounts], topology: Topology) -> dict[str, float]:
    """Return the smallest distance ever seen [nm] of every pair of types; a kind never within reach is left out."""
    closest = np.min([block.closest for block in blocks], axis=0)
    return {
        kind_label(topology, kind): float(value)
        for kind, value in zip(pair_kinds(topology), closest, strict=True)
        if np.isfinite(value)
    }


def find_first_peak(distribution: Distribution) -> tuple[Measurement, Measurement] | None:
    """Return position and height of the first peak of g(r), or None if there is none.

    The first bin that is the highest within 0.03 nm and above half the global maximum is taken; a least-squares
    parabola through it and the two bins on either side gives the vertex. The errors come from the jackknife over
    blocks with the five bins kept.
    """
    density, centres = distribution.density, distribution.centres
    width = float(distribution.edges[1] - distribution.edges[0])
    middle = _first_local_maximum(density, reach=max(2, round(0.03 / width)))
    if middle is None:
        return None
    window = slice(middle - 2, middle + 3)

    def position(curve: np.ndarray) -> float:
        return _fit_vertex(centres[window], curve[window])[0]

    def height(curve: np.ndarray) -> float:
        return _fit_vertex(centres[window], curve[window])[1]

    blocks = distribution.blocks
    return (
        Measurement(
            value=position(density), standard_error=jackknife_error(position, blocks), unit="nm", n_samples=len(blocks)
        ),
        Measurement(
            value=height(density), standard_error=jackknife_error(height, blocks), unit="1", n_samples=len(blocks)
        ),
    )


def _fit_vertex(centres: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the vertex of the least-squares parabola, held inside the bins; the middle where it opens upwards."""
    middle, reach = float(centres.mean()), 0.5 * float(centres[-1] - centres[0])
    a, b, c = np.polyfit((centres - middle) / reach, values, 2)
    shift = float(np.clip(-b / (2.0 * a), -1.0, 1.0)) if a < 0.0 else 0.0
    return middle + reach * shift, float(c + shift * (b + a * shift))


def _first_local_maximum(density: np.ndarray, *, reach: int) -> int | None:
    for middle in range(2, len(density) - 2):
        neighbourhood = density[max(0, middle - reach) : middle + reach + 1]
        if density[middle] == neighbourhood.max() and density[middle] > 0.5 * np.nanmax(density):
            return middle
    return None


@dataclass(frozen=True, kw_only=True)
class FramePairs:
    """Pairs of one frame, each once."""

    first: Int[np.ndarray, "pairs"]
    """First site."""
    second: Int[np.ndarray, "pairs"]
    """Second site."""
    distances: Float[np.ndarray, "pairs"]
    """Distance [nm]."""
    vectors: Float[np.ndarray, "pairs 3"]
    """Vector from the first to the second site [nm]."""


class PairSearch:
    """Finds the pairs of one frame after the other with a cell list (vesin); all periodic images count."""

    def __init__(self, trajectory: Trajectory, cutoff: float) -> None:
        """Prepare the search of the frames of a chunk for pairs closer than a cutoff [nm]."""
        # vesin loads torch where torch is installed, so it is imported only when pairs are wanted
        from vesin import NeighborList

        self._trajectory = trajectory
        self._search = NeighborList(cutoff=cutoff, full_list=False)

    def find(self, frame: int) -> FramePairs:
        """Return the pairs of one frame, those within a molecule too."""
        cell = self._trajectory.cell
        box = np.zeros((3, 3)) if cell is None else cell[frame].astype(np.float64)
        points = self._trajectory.positions[frame].astype(np.float64)
        first, second, distances, vectors = self._search.compute(points, box, cell is not None, "ijdD")
        return FramePairs(
            first=first.astype(np.int64), second=second.astype(np.int64), distances=distances, vectors=vectors
        )


def _between_molecules(pairs: FramePairs, topology: Topology) -> FramePairs:
    """Return the pairs of sites of different molecules."""
    other: Bool[np.ndarray, pairs] = topology.molecule_index[pairs.first] != topology.molecule_index[pairs.second]
    return FramePairs(
        first=pairs.first[other],
        second=pairs.second[other],
        distances=pairs.distances[other],
        vectors=pairs.vectors[other],
    )


def _kind_tables(n_types: int) -> tuple[Int[np.ndarray, "types types"], Int[np.ndarray, "types types types"]]:
    """Return the row of each pair of types, and of each (end, centre, end) of types."""
    pair_table = np.zeros((n_types, n_types), dtype=np.int64)
    kinds = list(combinations_with_replacement(range(n_types), 2))
    for row, (a, b) in enumerate(kinds):
        pair_table[a, b] = pair_table[b, a] = row
    triplet_table = pair_table[:, None, :] + len(kinds) * np.arange(n_types)[None, :, None]
    return pair_table, triplet_table


def _count_pairs_of_molecules(topology: Topology) -> dict[tuple[int, int], int]:
    """Return the number of site pairs of different molecules of each kind."""
    n_types = len(topology.type_names)
    per_molecule = np.zeros((topology.n_molecules, n_types), dtype=np.int64)
    np.add.at(per_molecule, (topology.molecule_index, topology.types), 1)
    totals, same = per_molecule.sum(axis=0), per_molecule.T @ per_molecule
    return {(a, b): int(totals[a] * totals[b] - same[a, b]) // (2 if a == b else 1) for a, b in pair_kinds(topology)}


def _count_angles(
    pairs: FramePairs, bins: StructureBins, topology: Topology, triplet_table: np.ndarray
) -> Float[np.ndarray, "triplet_kinds angle_bins"]:
    """Count the angles of one frame by gathering each centre's neighbours into a padded row."""
    n_kinds, n_bins = len(triplet_kinds(topology)), len(bins.angle_edges) - 1
    near = pairs.distances < bins.arm_cutoff
    # two sites on one spot have no direction; the closest-pair check reports them
    unit = pairs.vectors[near] / np.maximum(pairs.distances[near, None], 1e-12)
    centre = np.concatenate([pairs.first[near], pairs.second[near]])
    neighbour = np.concatenate([pairs.second[near], pairs.first[near]])
    order = np.argsort(centre, kind="stable")
    centre, neighbour, arms = centre[order], neighbour[order], np.concatenate([unit, -unit])[order]
    n_neighbours = np.bincount(centre, minlength=topology.n_sites)
    width = int(n_neighbours.max(initial=0))
    slot = np.arange(len(centre)) - np.repeat(np.cumsum(n_neighbours) - n_neighbours, n_neighbours)
    padded = np.zeros((topology.n_sites, width, 3))
    padded[centre, slot] = arms
    end_types = np.zeros((topology.n_sites, width), dtype=np.int64)
    end_types[centre, slot] = topology.types[neighbour]
    a, b = np.triu_indices(width, 1)
    site, pair = np.nonzero(b[None, :] < n_neighbours[:, None])
    a, b = a[pair], b[pair]
    cosine = np.einsum("ij,ij->i", padded[site, a], padded[site, b])
    angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    bin_index = np.minimum((angle / bins.angle_edges[1]).astype(np.int64), n_bins - 1)
    kinds = triplet_table[end_types[site, a], topology.types[site], end_types[site, b]]
    return np.bincount(kinds * n_bins + bin_index, minlength=n_kinds * n_bins).reshape(n_kinds, n_bins).astype(float)
