"""Does a reference tell a molecule from its mirror image? How far its distributions are from their reflections.

An energy of distances and angles is the same for both hands, whatever the data say. Glycine has no hand, and its
distributions are those of its mirror image but for chance.
Source of the question: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.blocks import BlockCounts, FrameBlocks, count_samples
from beadsmith.analysis.coordinates import Coordinate, find_peptide_coordinates, find_shape_coordinates
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.free_energy import find_bins, measure_asymmetry, measure_halves
from beadsmith.analysis.graph_symmetry import refine_until_stable
from beadsmith.analysis.internal import dihedrals
from beadsmith.topology import MoleculeKind, Topology

_FEWEST_COPIES = 8
_SURFACE_BINS = 24
_CURVE_BINS = 36

# The halves of a symmetric data set differ with twice the variance with which the whole differs from its reflection:
# JS = 1/8 Σ (δp)²/p, and each half has half the samples
_CHANCE_OF_HALVES = 0.5


@dataclass(frozen=True, kw_only=True)
class Asymmetry:
    """How far one distribution is from its reflection."""

    names: tuple[str, ...]
    """The coordinates, one or two; a reflection changes the sign of all."""
    unit: str
    """Their unit."""
    divergence: Measurement
    """Jensen-Shannon divergence of the distribution and its reflection [nats]: 0 for molecules without a hand, ln 2
    where the two never meet."""
    chance: float | None
    """What a distribution without a hand would show in a data set of this size [nats]; None if unknown."""
    mean_over_deviation: float | None
    """|mean| over the standard deviation of a single coordinate that is no angle."""
    edges: Float[np.ndarray, "edges"]
    """Edges of the bins, along every axis."""
    counts: BlockCounts
    """Counts of samples."""

    @property
    def label(self) -> str:
        """Name of the distribution: ``"phi, psi"``."""
        return ", ".join(self.names)

    def to_json(self) -> dict[str, Any]:
        """Return the asymmetry with the probabilities of all bins as a JSON-ready dictionary."""
        return {
            "names": list(self.names),
            "unit": self.unit,
            "divergence": self.divergence.to_json(),
            "expected_by_chance": self.chance,
            "mean_over_deviation": self.mean_over_deviation,
            "edges": self.edges.tolist(),
            "probability": self.counts.probability.tolist(),
        }


def measure_asymmetries(
    positions: Float[np.ndarray, "frames sites 3"],
    topology: Topology,
    molecules: MoleculeKind,
    labels: Sequence[Hashable],
    frames: FrameBlocks,
) -> tuple[Asymmetry, ...]:
    """Return the asymmetry of every distribution that knows the hand of a molecule, the largest first.

    For peptides these are φ and ψ of every residue together, or the dihedrals of alpha carbons and the handedness of
    their chain; for others the dihedrals along bonds, equivalent ones together: what reflection does to a molecule
    with a mirror plane is undone by its exchanges.

    Parameters
    ----------
    positions : All sites, molecules whole [nm].
    topology : The sites.
    molecules : The copies.
    labels : What each site of a molecule is chemically.
    frames : Blocks and weights of the frames.
    """
    named = {entry.name: entry for entry in find_peptide_coordinates(topology, molecules) if entry.is_odd}
    found, n_copies = [], molecules.n_molecules
    for name, phi in named.items():
        psi = named.get(name.replace("phi", "psi", 1)) if name.startswith("phi") else None
        if psi is not None:
            found.append(_compare((phi, psi), positions, frames, n_copies))
    found += [
        _compare((entry,), positions, frames, n_copies)
        for name, entry in named.items()
        if name.startswith("CA dihedral")
    ]
    if not found:
        found = [
            _compare((entry,), positions, frames, n_copies) for entry in _pool_dihedrals(topology, molecules, labels)
        ]
    chains = [entry for entry in find_shape_coordinates(topology, molecules) if entry.is_odd]
    found += [_compare((entry,), positions, frames, n_copies) for entry in chains]
    return tuple(sorted(found, key=lambda entry: -entry.divergence.value))


def _pool_dihedrals(topology: Topology, molecules: MoleculeKind, labels: Sequence[Hashable]) -> list[Coordinate]:
    """Return the dihedrals along bonds, those between chemically equal sites as one."""
    first = int(molecules.sites[0, 0])
    place = {site: local for local, site in enumerate(molecules.sites[0].tolist())}
    inside = np.isin(topology.bonds[:, 0], molecules.sites[0])
    colors = refine_until_stable(labels, topology.bonds[inside] - first)
    pooled: dict[tuple[int, ...], list[list[int]]] = {}
    for row in topology.dihedrals.tolist():
        if row[0] in place:
            local = [place[site] for site in row]
            kind = tuple(colors[site] for site in local)
            pooled.setdefault(min(kind, kind[::-1]), []).append(local)
    return [
        _make_dihedral(
            "-".join(topology.names[site] for site in molecules.sites[0, rows[0]]),
            molecules.sites[:, np.array(rows)].reshape(-1, 4),
        )
        for rows in pooled.values()
    ]


def _make_dihedral(sites: str, terms: Int[np.ndarray, "terms 4"]) -> Coordinate:
    return Coordinate(
        name=f"dihedral {sites}",
        unit="degree",
        is_periodic=True,
        is_odd=True,
        limits=(-180.0, 180.0),
        compute=lambda positions: dihedrals(positions, terms),
    )


def _compare(
    coordinates: tuple[Coordinate, ...],
    positions: Float[np.ndarray, "frames sites 3"],
    frames: FrameBlocks,
    n_copies: int,
) -> Asymmetry:
    """Return how far the joint distribution of one or two odd coordinates is from its reflection."""
    n_bins = _SURFACE_BINS if len(coordinates) == 2 else _CURVE_BINS
    low, high = coordinates[0].limits or (0.0, 0.0)
    edges = np.linspace(low, high, n_bins + 1)
    values = [entry.compute(positions) for entry in coordinates if entry.compute is not None]
    flat = np.zeros(values[0].shape, dtype=np.int64)
    for series in values:
        flat = flat * n_bins + find_bins(series, edges)
    shape = (n_bins,) * len(coordinates)
    counts = count_samples(flat, shape, frames)
    is_angle = coordinates[0].is_periodic
    return Asymmetry(
        names=tuple(coordinate.name for coordinate in coordinates),
        unit=coordinates[0].unit,
        divergence=measure_asymmetry(counts, tuple(range(len(shape)))),
        chance=_expect_by_chance(flat, counts, frames, n_copies),
        mean_over_deviation=None if is_angle else float(abs(values[0].mean()) / max(float(values[0].std()), 1e-12)),
        edges=edges,
        counts=counts,
    )


def _expect_by_chance(
    flat: Int[np.ndarray, "frames samples"], counts: BlockCounts, frames: FrameBlocks, n_copies: int
) -> float | None:
    """Return what chance makes of a distribution without a hand: the larger of what time and the copies say.

    In time, from the two halves of the frames. In a run too short for molecules to turn over these are alike, but each
    copy keeps shapes of its own: ⅛ Σ var(p_b − p_b′)/p_b, b′ the reflection of bin b, with the variance of the mean
    from the spread of the copies.
    """
    halves = measure_halves(counts)
    found = [] if halves is None else [_CHANCE_OF_HALVES * halves.value]
    if n_copies >= _FEWEST_COPIES:
        shape = counts.counts.shape[1:]
        n_bins = int(np.prod(shape))
        copy = np.repeat(np.arange(n_copies), flat.shape[1] // n_copies)
        weight = np.broadcast_to(frames.weight[:, None], flat.shape)
        sums = np.bincount((copy * n_bins + flat).ravel(), weights=weight.ravel(), minlength=n_copies * n_bins)
        of_copies = sums.reshape(n_copies, *shape) / (sums.sum() / n_copies)
        axes = tuple(range(1, len(shape) + 1))
        difference = of_copies - np.flip(of_copies, axis=axes)
        mean = of_copies.mean(axis=0)
        both = 0.5 * (mean + np.flip(mean))
        variance = difference.var(axis=0, ddof=1) / n_copies
        found.append(0.125 * float(np.sum(variance[both > 0.0] / both[both > 0.0])))
    return max(found, default=None)
