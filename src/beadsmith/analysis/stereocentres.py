"""Stereocentres of molecules: where a bead has a hand, whether the reference keeps it, and how often a run loses it.

The signed improper χ of a centre with the substituents a, b, c is the dihedral a–centre–b–c. A reflection changes its
sign; it is planar at 0 and 180 degrees, and an inversion goes through one of these.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.coordinates import Coordinate
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.graph_symmetry import list_neighbours, refine_until_stable
from beadsmith.analysis.internal import dihedrals
from beadsmith.statistics import mean_and_error
from beadsmith.topology import MoleculeKind, Topology

LEAST_DEVIATIONS = 5.0
"""The reference keeps a centre where planarity is further away than this many standard deviations of χ."""

_ORDER = {"N": 0, "CB": 1, "C": 2}
"""Substituents of an alpha carbon in their usual order, so that χ is the dihedral N–CA–CB–C."""


@dataclass(frozen=True, kw_only=True)
class CentreMeasurement:
    """The signed improper of one centre, over the frames and copies of one trajectory."""

    n_flips: int
    """Number of times that χ changed its sign from one frame to the next."""
    first_flip: float | None
    """Time of the first change after the first frame of its segment [ps]; None where there was none."""
    positive: Measurement
    """Fraction of the values above 0."""
    distance: float
    """Mean distance of χ from planarity [degrees]."""
    deviation: float
    """Standard deviation of that distance [degrees]."""

    @property
    def is_locked(self) -> bool:
        """Whether the hand is kept: no sign changed, and none was near to."""
        return self.n_flips == 0 and self.distance > LEAST_DEVIATIONS * self.deviation

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as a JSON-ready dictionary."""
        return {
            "n_flips": self.n_flips,
            "first_flip": {"value": self.first_flip, "unit": "ps"},
            "positive": self.positive.to_json(),
            "planarity_distance": {"mean": self.distance, "deviation": self.deviation, "unit": "degree"},
            "is_locked": self.is_locked,
        }


def find_centres(topology: Topology, molecules: MoleculeKind) -> tuple[Coordinate, ...]:
    """Return the signed improper of every site that has three different substituents, planar or not.

    Substituents differ where the bond graph beyond them does, judged by colours of all sites that are refined until
    they no longer split; colours begin as names and types. The coordinates are called by residue and name, ``2:CA``.
    """
    sites = molecules.sites[0]
    bonds = topology.bonds[np.isin(topology.bonds[:, 0], sites)] - int(sites[0])
    labels = [(topology.names[site], int(topology.types[site])) for site in sites.tolist()]
    colours, neighbours = refine_until_stable(labels, bonds), list_neighbours(len(sites), bonds)
    found = []
    first = int(topology.residue_index[sites[0]])
    for centre, around in enumerate(neighbours):
        chosen: dict[int, int] = {}
        for site in sorted(around, key=lambda site: (_ORDER.get(topology.names[sites[site]].upper(), 3), site)):
            chosen.setdefault(colours[site], site)
        if len(chosen) >= 3:
            a, b, c = list(chosen.values())[:3]
            name = f"{int(topology.residue_index[sites[centre]]) - first + 1}:{topology.names[sites[centre]]}"
            found.append(_make_improper(name, molecules.sites[:, [a, centre, b, c]]))
    return tuple(found)


def measure_centre(
    values: Float[np.ndarray, "frames copies"], times: Float[np.ndarray, "frames"], segment: Int[np.ndarray, "frames"]
) -> CentreMeasurement:
    """Return what the signed improper of one centre did.

    Parameters
    ----------
    values : χ of each copy [degrees].
    times : Time of each frame [ps].
    segment : Run or replica of each frame; no change is counted from one to the next.
    """
    is_positive = values > 0.0
    flips = (is_positive[1:] != is_positive[:-1]) & (segment[1:] == segment[:-1])[:, None]
    later = np.flatnonzero(flips.any(axis=1)) + 1
    starts = {label: float(times[segment == label].min()) for label in np.unique(segment).tolist()}
    elapsed = [float(times[frame]) - starts[int(segment[frame])] for frame in later.tolist()]
    shares = [is_positive[segment == label].mean() for label in starts]
    _, error = mean_and_error(shares)
    distance = np.minimum(np.abs(values), 180.0 - np.abs(values)).astype(np.float64)
    return CentreMeasurement(
        n_flips=int(flips.sum()),
        first_flip=min(elapsed, default=None),
        positive=Measurement(
            value=float(is_positive.mean()), standard_error=float(error), unit="1", n_samples=len(shares)
        ),
        distance=float(distance.mean()),
        deviation=float(distance.std()),
    )


def _make_improper(name: str, terms: Int[np.ndarray, "copies 4"]) -> Coordinate:
    return Coordinate(
        name=name,
        unit="degree",
        is_periodic=True,
        is_odd=True,
        limits=(-180.0, 180.0),
        kind="dihedral",
        sites=terms,
        compute=lambda positions: dihedrals(positions, terms),
    )
