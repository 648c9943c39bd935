"""Where the excluded-volume repulsion joins the pair mean force, and how steep it is there.

A force field must keep beads out of what was never sampled. The tangent rule continues the mean force that pair splines
find, from the smallest distance at which it is still statistically well determined.
"""

from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np

from beadsmith.errors import InputError, PhysicsError
from beadsmith.priors.linear_fit import LinearSolution
from beadsmith.priors.pair_terms import NONBONDED
from beadsmith.priors.repulsion import SWITCH_START, ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.survey import PairSurvey
from beadsmith.statistics import leave_one_out_error
from beadsmith.units import ANGSTROM, thermal_energy

STEEPNESS_RANGE = (5.0, 40.0)
"""Allowed a·r0: the logarithmic slope at r0 of power laws from r⁻⁵ to r⁻⁴⁰. A softer wall lets beads through; a stiffer
one asks for shorter timesteps than any mapped liquid, and exp(a r0) must stay finite in float32."""

TYPICAL_STEEPNESS = 15.0
"""a·r0 where the data say nothing: methanol's 50/nm at 0.30 nm, near the 13 of an r⁻¹² repulsion."""

RELAXATIONS = (1.0, 2.0, 4.0, 6.0)
"""Multiples of the tolerances that are tried in turn: few data give a worse tangent, still better than none."""

PUBLISHED_FRACTION = 0.05
PUBLISHED_DISTANCE = 0.15 * ANGSTROM
PUBLISHED_RDF_ONSET = 0.01
"""perc, dr and g of the published rule. Source: E. Shinkle et al., J. Chem. Theory Comput. 20, 10524 (2024), released
hippynn example of 2024."""

# The wall may be switched off where its force is this fraction of the joining force: far below the label noise.
_NEGLIGIBLE = 1e-4

_STEP = 0.001


@dataclass(frozen=True, kw_only=True)
class WallConstants:
    """The exponential wall of one type pair and where its constants come from."""

    type_pair: str
    """Name of the unordered type pair."""
    joining_distance: float
    """r0 [nm]."""
    joining_force: float
    """F0, the force at r0 [kJ/mol/nm]."""
    decay: float
    """a, the inverse decay length [1/nm]."""
    joining_force_error: float = float("nan")
    """Block standard error of the mean force at r0; NaN where no mean force was used."""
    decay_error: float = float("nan")
    """Block standard error of -F'/F at r0."""
    origin: Literal["tangent", "edge", "combined", "published"]
    """Rule: tangent to the mean force; from the smallest distance seen; from the other pairs; published."""
    is_bounded: bool = False
    """Whether the decay was moved into the allowed range."""

    def to_json(self) -> dict[str, Any]:
        """Return the constants as a JSON-ready dictionary."""
        return asdict(self)


def fit_tangent_walls(
    spline: PairSpline, solution: LinearSolution, survey: PairSurvey, *, force_tolerance: float, decay_tolerance: float
) -> tuple[WallConstants, ...]:
    """Return the walls that are tangent to the pair mean force at the edge of the data.

    r0 is the smallest distance from which on, over half a knot spacing, the mean force F is repulsive and falling and
    the block standard errors of F and of a = -F'/F are within the tolerances; it lies on the inner flank of the first
    peak of the pair density. There F0 = F(r0) and a = -F'(r0)/F(r0), kept within `STEEPNESS_RANGE`.

    Where no distance meets the tolerances, they are relaxed up to sixfold. A pair that was seen but still has no such
    distance gets its wall at the smallest distance r1: its density there says that U(r1) = kT ln n, n the number of
    pairs that an ideal gas would have in that bin. A pair never seen gets r0 = R_a + R_b, with bead radii from the
    other pairs.

    Parameters
    ----------
    spline : Free-ended spline with knots from the smallest distances.
    solution : Its fit.
    survey : Distances in the same frames.
    force_tolerance : Largest relative standard error of F.
    decay_tolerance : Largest relative standard error of a.
    """
    walls: list[WallConstants | None] = []
    for number in range(len(survey.type_pairs)):
        seen = bool(np.isfinite(survey.closest[number]))
        wall = None
        for relaxation in RELAXATIONS if seen else ():
            tolerances = (relaxation * force_tolerance, relaxation * decay_tolerance)
            wall = wall or _find_tangent(spline, solution, survey, number, tolerances)
        walls.append(_estimate_at_edge(survey, number) if seen and wall is None else wall)
    known = [wall for wall in walls if wall is not None]
    return tuple(
        wall if wall is not None else _combine_walls(known, survey, number) for number, wall in enumerate(walls)
    )


def fit_published_walls(survey: PairSurvey) -> tuple[WallConstants, ...]:
    """Return the walls of the published rule, which fails for liquid methanol: beads tunnel into a false well.

    U(r) = (s p / a) exp(a (t - r)) with a = ln(1/p) / dr, p = 0.05, dr = 0.15 Å: t the centre of the first RDF bin
    above 0.01, s the mean absolute force component. The force is 0.05 s at t and s at t - dr.

    Source: E. Shinkle et al., J. Chem. Theory Comput. 20, 10524 (2024).

    Raises
    ------
    InputError : a pair of types never came within the cutoff, or the system has no cell and so no RDF.
    """
    walls = []
    for number, name in enumerate(survey.type_pairs):
        ideal = survey.ideal_counts[number]
        onset = np.flatnonzero(survey.counts[number] > PUBLISHED_RDF_ONSET * ideal)
        if len(onset) == 0 or not ideal.any():
            raise InputError(
                f"the published rule needs an RDF of the pair '{name}', which the frames do not have",
                fix="Use 'repulsion: tangent'.",
            )
        walls.append(
            WallConstants(
                type_pair=name,
                joining_distance=float(survey.edges[onset[0] : onset[0] + 2].mean()),
                joining_force=PUBLISHED_FRACTION * survey.mean_absolute_force,
                decay=float(np.log(1.0 / PUBLISHED_FRACTION) / PUBLISHED_DISTANCE),
                origin="published",
            )
        )
    return tuple(walls)


def build_repulsion(
    type_names: tuple[str, ...],
    walls: tuple[WallConstants, ...],
    *,
    largest_cutoff: float,
    bond_classes: tuple[int, ...] = NONBONDED,
) -> ExponentialRepulsion:
    """Return the repulsion with these walls, cut off where all are negligible (1e-4 of F0) or at the largest cutoff.

    Raises
    ------
    PhysicsError : a constant is not positive and finite, or a wall would reach into its own switch.
    """
    reach = max(wall.joining_distance - np.log(_NEGLIGIBLE) / wall.decay for wall in walls)
    cutoff = float(min(largest_cutoff, reach / SWITCH_START)) if np.isfinite(reach) else largest_cutoff
    for wall in walls:
        if wall.joining_distance > SWITCH_START * cutoff:
            raise PhysicsError(
                f"the exponential_repulsion of the pair '{wall.type_pair}' joins the mean force at "
                f"{wall.joining_distance:.3f} nm, expected below {SWITCH_START * cutoff:.3f} nm",
                fix="Raise the cutoff of the prior.",
            )
    return ExponentialRepulsion(
        type_names,
        joining_distances=tuple(wall.joining_distance for wall in walls),
        joining_forces=tuple(wall.joining_force for wall in walls),
        decays=tuple(wall.decay for wall in walls),
        cutoff=cutoff,
        bond_classes=bond_classes,
    )


def _find_tangent(
    spline: PairSpline, solution: LinearSolution, survey: PairSurvey, number: int, tolerances: tuple[float, float]
) -> WallConstants | None:
    """Return the tangent wall of a type pair, or None where no distance qualifies."""
    distances = np.arange(spline.inner_distances[number], _find_flank(survey, number), _STEP)
    to_force = -spline.evaluate_basis(distances, number, 1)
    to_slope = -spline.evaluate_basis(distances, number, 2)
    force = to_force @ solution.coefficients
    slope = to_slope @ solution.coefficients
    repulsive = (force > 0.0) & (slope < 0.0)
    decay = np.where(repulsive, -slope, np.nan) / np.where(repulsive, force, np.nan)
    force_replicates = solution.replicates @ to_force.T
    force_error = leave_one_out_error(force_replicates)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay_error = leave_one_out_error(-(solution.replicates @ to_slope.T) / force_replicates)
    determined = repulsive & (force_error <= tolerances[0] * force) & (decay_error <= tolerances[1] * decay)
    window = max(1, round(0.5 * (spline.cutoff - spline.inner_distances[number]) / spline.n_intervals / _STEP))
    runs = np.flatnonzero([determined[at : at + window].all() for at in range(len(determined) - window + 1)])
    if len(runs) == 0:
        return None
    at = int(runs[0])
    bounded = _bound_decay(float(decay[at]), float(distances[at]))
    return WallConstants(
        type_pair=survey.type_pairs[number],
        joining_distance=float(distances[at]),
        joining_force=float(force[at]),
        decay=bounded,
        joining_force_error=float(force_error[at]),
        decay_error=float(decay_error[at]),
        origin="tangent",
        is_bounded=bool(bounded != decay[at]),
    )


def _find_flank(survey: PairSurvey, number: int) -> float:
    """Return the distance at which the pair density first reaches half of its maximum."""
    # without this bound a badly sampled pair could join at the repulsive flank between its first and second shell
    density = survey.counts[number] / np.diff(survey.edges**3)
    return float(survey.edges[np.flatnonzero(density >= 0.5 * density.max())[0] + 1])


def _bound_decay(decay: float, distance: float) -> float:
    low, high = (steepness / distance for steepness in STEEPNESS_RANGE)
    return float(np.clip(decay, low, high))


def _estimate_at_edge(survey: PairSurvey, number: int) -> WallConstants:
    """Return a wall through the smallest distance of a type pair."""
    closest = float(survey.closest[number])
    edge = min(int(closest / survey.edges[1]), len(survey.edges) - 2)
    expected = survey.ideal_counts[number, edge] or survey.counts[number].sum()
    decay = TYPICAL_STEEPNESS / closest
    energy = thermal_energy(survey.temperature) * np.log(max(np.e, expected))
    return WallConstants(
        type_pair=survey.type_pairs[number],
        joining_distance=closest,
        joining_force=float(decay * energy),
        decay=decay,
        origin="edge",
    )


def _combine_walls(known: list[WallConstants], survey: PairSurvey, number: int) -> WallConstants:
    """Return the wall of a type pair that was never seen: additive radii, geometric mean of forces, mean steepness."""
    types = list(combinations_with_replacement(range(len(survey.type_names)), 2))
    incidence = np.zeros((len(types), len(survey.type_names)))
    for row, (a, b) in enumerate(types):
        incidence[row, a] += 1.0
        incidence[row, b] += 1.0
    rows = incidence[[survey.type_pairs.index(wall.type_pair) for wall in known]]
    known_distances = np.array([wall.joining_distance for wall in known])
    wanted = incidence[number]
    is_implied = np.linalg.matrix_rank(np.vstack([rows, wanted])) == np.linalg.matrix_rank(rows)
    radii = np.linalg.lstsq(rows, known_distances, rcond=None)[0]
    distance = float(wanted @ radii) if is_implied else 0.0
    if not known_distances.min() / 2.0 < distance < survey.edges[-1]:
        # no radius follows from the other pairs: the largest wall is the safe one
        distance = float(known_distances.max())
    steepness = np.mean([wall.decay * wall.joining_distance for wall in known])
    return WallConstants(
        type_pair=survey.type_pairs[number],
        joining_distance=distance,
        joining_force=float(np.exp(np.mean([np.log(wall.joining_force) for wall in known]))),
        decay=_bound_decay(float(steepness) / distance, distance),
        origin="combined",
    )
