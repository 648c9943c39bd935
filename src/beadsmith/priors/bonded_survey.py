"""What the mapped frames say about bonded coordinates: weighted moments by block and fine histograms by temperature."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.kernels.bonded import DIHEDRAL, measure_terms
from beadsmith.priors.bonded import COORDINATES, Coordinate, TypeTuple, find_type_tuples, name_tuple, number_tuples
from beadsmith.priors.frames import FrameBlocks
from beadsmith.topology import Topology
from beadsmith.units import thermal_energy

_BINS: dict[Coordinate, tuple[float, float, int]] = {
    "bond": (0.0, 2.0, 10000),
    "angle": (0.0, np.pi, 1800),
    "dihedral": (-np.pi, np.pi, 3600),
    "improper": (-np.pi, np.pi, 3600),
}
"""First edge, last edge and number of the fine bins: 0.0002 nm and 0.1 degrees; estimators join them."""

# Sites that are measured at once: a few MB
_CHUNK_SITES = 50_000


@dataclass(frozen=True, kw_only=True)
class BondedSurvey:
    """Statistics of one bonded coordinate over a data set; rows are type tuples."""

    coordinate: Coordinate
    """What was measured."""
    type_tuples: tuple[TypeTuple, ...]
    """Types of the sites."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the fine bins [nm or rad]."""
    thermal_energies: Float[np.ndarray, "temperatures"]
    """kT of each temperature in the data [kJ/mol]."""
    counts: Float[np.ndarray, "temperatures tuples bins"]
    """Sum of weights in each bin."""
    block_thermal_energies: Float[np.ndarray, "blocks"]
    """kT of each block of frames [kJ/mol]."""
    sums: Float[np.ndarray, "blocks tuples 3"]
    """Sums over each block of weight, weight · x and weight · x², x the value minus its shift, wrapped if periodic."""
    shifts: Float[np.ndarray, "tuples"]
    """Value of each tuple in the first frame: moments are taken about it."""
    n_samples: Float[np.ndarray, "tuples"]
    """Number of values."""
    square_weights: Float[np.ndarray, "tuples"]
    """Sum of squared weights."""

    @property
    def is_periodic(self) -> bool:
        """Whether −π and π are one value."""
        return COORDINATES[self.coordinate][2] == DIHEDRAL

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return "nm" if self.coordinate == "bond" else "rad"

    @property
    def n_effective(self) -> Float[np.ndarray, "tuples"]:
        """Number of equally weighted samples that are worth as much (Kish); time correlation is not taken off."""
        return self.sums[:, :, 0].sum(axis=0) ** 2 / np.maximum(self.square_weights, 1e-300)

    @property
    def centres(self) -> Float[np.ndarray, "bins"]:
        """Middle of each fine bin."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def name(self, number: int) -> str:
        """Return the name of a type tuple."""
        return name_tuple(self.type_tuples[number])

    def measure_moments(self, number: int) -> tuple[float, float]:
        """Return mean (circular for dihedrals) and standard deviation of the values of a type tuple [nm or rad]."""
        weight, first, second = self.sums[:, number].sum(axis=0)
        mean = first / weight
        value = self.shifts[number] + mean
        if self.is_periodic:
            value -= 2.0 * np.pi * np.round(value / (2.0 * np.pi))
        return float(value), float(np.sqrt(max(second / weight - mean**2, 0.0)))

    def find_range(self, number: int, fraction: float) -> tuple[float, float]:
        """Return the range that leaves out the given fraction of the samples at each end."""
        summed = np.cumsum(self.counts[:, number].sum(axis=0))
        first, last = np.searchsorted(summed, summed[-1] * np.array([fraction, 1.0 - fraction]), side="left")
        return float(self.edges[first]), float(self.edges[min(last, len(self.edges) - 2) + 1])


def survey_bonded(frames: FrameBlocks, coordinate: Coordinate) -> BondedSurvey:
    """Return the statistics of one coordinate; memory does not depend on the number of frames.

    Parameters
    ----------
    frames : Frames in blocks; weights are taken relative to their mean over each trajectory.
    coordinate : What to measure.
    """
    tuples = find_type_tuples(tuple(trajectory.topology for trajectory in frames.trajectories), coordinate)
    first, last, n_bins = _BINS[coordinate]
    energies = np.array([thermal_energy(t.state_point.temperature) for t in frames.trajectories])
    distinct, number_of_energy = np.unique(energies, return_inverse=True)
    counts = np.zeros((len(distinct), len(tuples), n_bins))
    sums = np.zeros((frames.n_blocks, len(tuples), 3))
    n_samples, squares = np.zeros(len(tuples)), np.zeros(len(tuples))
    shifts = np.full(len(tuples), np.nan)
    is_periodic = COORDINATES[coordinate][2] == DIHEDRAL
    for block, (which, indices) in enumerate(frames.blocks):
        trajectory = frames.trajectories[which]
        index, numbers = _number_terms(trajectory.topology, tuples, coordinate)
        if len(index) == 0:
            continue
        for part in np.array_split(indices, -(-len(indices) * trajectory.n_sites // _CHUNK_SITES)):
            values = _measure(
                trajectory.positions[part], None if trajectory.cell is None else trajectory.cell[part], index
            )
            weights = (
                np.ones(len(part)) if trajectory.weight is None else trajectory.weight[part] / trajectory.weight.mean()
            )
            weight = np.broadcast_to(weights[:, None], values.shape).reshape(-1)
            number = np.broadcast_to(numbers, values.shape).reshape(-1)
            for unseen in np.unique(numbers[np.isnan(shifts[numbers])]):
                shifts[unseen] = values[0, np.flatnonzero(numbers == unseen)[0]]
            bins = np.clip(((values.reshape(-1) - first) * (n_bins / (last - first))).astype(np.int64), 0, n_bins - 1)
            flat = np.bincount(number * n_bins + bins, weights=weight, minlength=len(tuples) * n_bins)
            counts[number_of_energy[which]] += flat.reshape(len(tuples), n_bins)
            x = values.reshape(-1) - shifts[number]
            if is_periodic:
                x -= 2.0 * np.pi * np.round(x / (2.0 * np.pi))
            for power in range(3):
                sums[block, :, power] += np.bincount(number, weights=weight * x**power, minlength=len(tuples))
            n_samples += np.bincount(number, minlength=len(tuples))
            squares += np.bincount(number, weights=weight**2, minlength=len(tuples))
    return BondedSurvey(
        coordinate=coordinate,
        type_tuples=tuples,
        edges=np.linspace(first, last, n_bins + 1),
        thermal_energies=distinct,
        counts=counts,
        block_thermal_energies=energies[[which for which, _ in frames.blocks]],
        sums=sums,
        shifts=shifts,
        n_samples=n_samples,
        square_weights=squares,
    )


def _number_terms(
    topology: Topology, tuples: tuple[TypeTuple, ...], coordinate: Coordinate
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sites of each term, and the number of its type tuple."""
    field, width, _ = COORDINATES[coordinate]
    index = getattr(topology, field)
    rows = np.array([[topology.type_names.index(name) for name in names] for names in tuples], dtype=np.int64)
    place = {
        key: row for row, key in enumerate(number_tuples(rows.reshape(-1, width), len(topology.type_names)).tolist())
    }
    keys = number_tuples(topology.types[index], len(topology.type_names))
    return index, np.array([place[key] for key in keys.tolist()], dtype=np.int64)


def _measure(positions: np.ndarray, cell: np.ndarray | None, index: np.ndarray) -> np.ndarray:
    """Return the coordinate (frames, terms) of each term in each frame."""
    n_frames, n_sites, _ = positions.shape
    cells = np.zeros((0, 3, 3)) if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
    everywhere = (np.arange(n_frames)[:, None, None] * n_sites + index).reshape(-1, index.shape[1])
    sites = (np.ascontiguousarray(positions).reshape(-1, 3), np.repeat(np.arange(n_frames), n_sites))
    # the kernel numbers lengths, angles and dihedrals by their sites
    values, _ = measure_terms(sites, (cells, np.linalg.inv(cells)), everywhere, index.shape[1] - 2)
    return values.reshape(n_frames, len(index))
