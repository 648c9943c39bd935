"""Would a force field know which beads are bonded? Verdicts on overlap, gap and recovery of bonds by distance."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from beadsmith.analysis.distance_survey import SEPARATIONS, DistanceSurvey
from beadsmith.check import Check, Status
from beadsmith.diagnostics.mapping.knowledge import BOND_PRIOR, EXCLUSIONS, PAIR_CLASSES, ModelKnowledge
from beadsmith.diagnostics.mapping.verdict import MappingVerdict

OVERLAP = (1e-3, 1e-2)
"""Overlap of bonded and other distances that passes, and above which it fails."""

GAP = (5.0, 0.0)
"""Gap between bonded and other distances, in standard deviations of the bond, above which it passes, and below which it
fails."""

RECOVERY = (0.999, 0.99)
"""Share of sites whose bonds are known by distance that passes, and below which it fails."""

_REMEDY = (
    f"Set {BOND_PRIOR}, which holds every bond by the numbers of its beads, with {EXCLUSIONS} to keep the well of the "
    f"bond out of the network; or {PAIR_CLASSES}; or choose beads whose bonds are much shorter than their contacts. "
    "Types that tell the two beads apart are no cure in a liquid."
)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One kind of bond and one kind of strangers."""

    kind: int
    separation: int
    label: str


def check_bonds(distances: DistanceSurvey, model: ModelKnowledge) -> list[MappingVerdict]:
    """Return the verdicts on bonds; none where beads have none."""
    if not distances.kinds:
        return []
    pairs = list(_pairs(distances))
    checks = [_check_overlap(distances, pairs), _check_gap(distances, pairs)] if pairs else []
    return [_judge(check, model) for check in [*checks, _check_recovery(distances)]]


def _pairs(distances: DistanceSurvey) -> Iterator[_Pair]:
    for kind, name in enumerate(distances.kinds):
        for separation, title in enumerate(SEPARATIONS):
            if distances.asked[separation, :, kind].sum() > 0.0:
                yield _Pair(kind=kind, separation=separation, label=f"{name} bonds and {title} neighbours")


def _judge(check: Check, model: ModelKnowledge) -> MappingVerdict:
    """Return the verdict on the map alone and, where something knows the bonds, a passed one for the force field."""
    if check.status == "pass" or not model.bond_cures:
        return MappingVerdict(check=check, map_alone=check.status)
    return MappingVerdict(check=replace(check, status="pass"), map_alone=check.status, cures=model.bond_cures)


def _check_overlap(distances: DistanceSurvey, pairs: list[_Pair]) -> Check:
    measured = [distances.measure_overlap(pair.separation, pair.kind).value for pair in pairs]
    worst = int(np.argmax(measured))
    value = measured[worst]
    status: Status = "pass" if value < OVERLAP[0] else "warn" if value <= OVERLAP[1] else "fail"
    return Check(
        name="bond overlap",
        status=status,
        value=value,
        unit="1",
        threshold=f"< {OVERLAP[0]:g} passes, > {OVERLAP[1]:g} fails",
        meaning="Overlap of the distances of bonded beads with those of the nearest beads that are not bonded: where "
        "both come equally close, partners change places and radial distributions hardly notice. The worst are "
        f"{pairs[worst].label}.",
        remedy=_REMEDY,
    )


def _check_gap(distances: DistanceSurvey, pairs: list[_Pair]) -> Check:
    measured = [distances.measure_gap(pair.separation, pair.kind) for pair in pairs]
    worst = min(range(len(pairs)), key=lambda place: measured[place][0])
    value, is_bound = measured[worst]
    status: Status = "pass" if value > GAP[0] else "fail" if value <= GAP[1] else "warn"
    return Check(
        name="bond gap",
        status=status,
        value=value,
        unit="1",
        threshold=f"> {GAP[0]:g} passes, <= {GAP[1]:g} fails",
        meaning="Standard deviations of a bond between the longest bonds (99.9 %) and the closest beads without one "
        f"(0.1 %), {'at least; ' if is_bound else ''}the worst are {pairs[worst].label}.",
        remedy=_REMEDY,
    )


def _check_recovery(distances: DistanceSurvey) -> Check:
    value = distances.measure_recovery().value
    status: Status = "pass" if value >= RECOVERY[0] else "fail" if value < RECOVERY[1] else "warn"
    return Check(
        name="bond recovery",
        status=status,
        value=value,
        unit="1",
        threshold=f">= {RECOVERY[0]:g} passes, < {RECOVERY[1]:g} fails",
        meaning="Share of beads whose nearest beads, as many as they have bonds, are their partners and mutually so: "
        "bonds that distances know without any label.",
        remedy=_REMEDY,
    )
