"""Do the molecules of the simulation move through the same shapes as those of the reference? Checks of free energies.

Where there are several surfaces, basins or coordinates, one check speaks for all and shows the worst of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beadsmith.check import Check, Status

SURFACE_DIVERGENCE = (0.03, 0.06)
"""Jensen-Shannon divergence of a free-energy surface that passes, and that fails [nats]; a network on dense labels
reaches 0.006-0.03 for capped alanine, its prior alone 0.46."""

BASIN_DIFFERENCE = (0.05, 0.15)
"""Difference of a basin's population that passes, and that fails; few labels scatter it by 0.1-0.2."""

CURVE_DIVERGENCE = (0.03, 0.12)
"""Divergence of one coordinate that passes, and that fails: a Gaussian that is shifted by half its width, and by all
of it."""

REFERENCE_HALVES = 0.05
"""Divergence of the two halves of the reference's own surface [nats] above which it can judge little."""

CHANCE = 2.0
"""A divergence below this multiple of what two perfect runs would show by chance is never held against a model."""

_REMEDY = (
    "Train on more labels (save forces every 0.1 to 0.2 ps), compare several seeds, and simulate longer: the loss "
    "hardly sees slow coordinates."
)


def check_molecules(evaluation: dict[str, Any], name: str, *, baseline: str | None) -> list[Check]:
    """Return the checks of the molecules of one simulation; none where molecules have one bead.

    Parameters
    ----------
    evaluation : What `evaluate` returned.
    name : Simulation to judge.
    baseline : Simulation that it must beat; skipped where there is none.
    """
    molecules = evaluation["comparisons"][name]["molecules"]
    if not molecules:
        return []
    checks = [*_check_reference(molecules), *_check_surfaces(molecules), *_check_basins(molecules)]
    checks += _check_mirror(molecules)
    checks += _check_curves(molecules, "bonded", "bonds, angles, dihedrals", "the bonded terms of the prior")
    checks += _check_curves(molecules, "coordinates", "molecular coordinates", "the shape of the molecule")
    if baseline in evaluation["comparisons"] and baseline != name:
        checks += _check_against_baseline(molecules, evaluation["comparisons"][baseline]["molecules"])
    return checks


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """One value, the value that passes and the value that fails."""

    label: str
    value: float
    limit: float
    worst: float

    @property
    def status(self) -> Status:
        if abs(self.value) <= self.limit:
            return "pass"
        return "warn" if abs(self.value) <= self.worst else "fail"


def _drawn(surface: dict[str, Any]) -> dict[str, Any]:
    """Return the divergences of a surface in the bins that are drawn, the first."""
    first: dict[str, Any] = next(iter(surface.values()))
    return first


def _surfaces(molecules: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, entry in molecules.items():
        for label, surface in entry["surfaces"].items():
            yield f"{kind}: {label}" if len(molecules) > 1 else label, _drawn(surface)


def _judge(label: str, entry: dict[str, Any], limits: tuple[float, float]) -> _Finding:
    divergence = entry["jensen_shannon"]
    chance = (divergence["expected_by_chance"] or {}).get("value") or 0.0
    limit = max(limits[0], CHANCE * chance)
    return _Finding(label=label, value=divergence["value"], limit=limit, worst=max(limits[1], 2.0 * limit))


def _worst(findings: list[_Finding]) -> tuple[_Finding, str]:
    """Return the finding that is largest against its limit, and a sentence that names it."""
    worst = max(findings, key=lambda finding: abs(finding.value) / finding.limit)
    return worst, f" The worst of {len(findings)} is {worst.label}." if len(findings) > 1 else f" It is {worst.label}."


def _check_reference(molecules: dict[str, Any]) -> list[Check]:
    halves = [entry["jensen_shannon"]["halves"]["reference"] for _, entry in _surfaces(molecules)]
    known = [entry["value"] for entry in halves if entry is not None]
    if not known:
        return []
    value = max(known)
    return [
        Check(
            name="reference free energy",
            status="pass" if value <= REFERENCE_HALVES else "warn",
            value=value,
            unit="nat",
            threshold=f"<= {REFERENCE_HALVES:g}",
            meaning="Jensen-Shannon divergence of the free-energy surfaces of the two halves of the reference: what "
            "the reference does not know itself cannot be held against a simulation.",
            remedy="Sample longer, until the slowest transition has happened many times in each half.",
        )
    ]


def _check_surfaces(molecules: dict[str, Any]) -> list[Check]:
    findings = [_judge(label, entry, SURFACE_DIVERGENCE) for label, entry in _surfaces(molecules)]
    if not findings:
        return []
    worst, which = _worst(findings)
    return [
        Check(
            name="free-energy surface",
            status=worst.status,
            value=worst.value,
            unit="nat",
            threshold=f"<= {worst.limit:.3g}",
            meaning="Jensen-Shannon divergence of the simulation from the reference over two coordinates; it is weak "
            "on the weights of basins, so read it beside their populations." + which,
            remedy=_REMEDY,
        )
    ]


def _check_basins(molecules: dict[str, Any]) -> list[Check]:
    findings = []
    for kind, entry in molecules.items():
        for name, difference in entry["basins"].items():
            limit = max(BASIN_DIFFERENCE[0], 3.0 * (difference["standard_error"] or 0.0))
            label = f"{kind}: {name}" if len(molecules) > 1 else name
            findings.append(
                _Finding(
                    label=label, value=difference["value"], limit=limit, worst=max(BASIN_DIFFERENCE[1], 2.0 * limit)
                )
            )
    if not findings:
        return []
    worst, which = _worst(findings)
    return [
        Check(
            name="basin populations",
            status=worst.status,
            value=worst.value,
            unit="1",
            threshold=f"within ±{worst.limit:.3g}",
            meaning="Population of a basin in the simulation minus that in the reference." + which,
            remedy=_REMEDY,
        )
    ]


def _check_mirror(molecules: dict[str, Any]) -> list[Check]:
    judged = [entry["mirror"] for entry in molecules.values() if entry["mirror"] is not None]
    if not judged:
        return []
    symmetric = [entry for entry in judged if entry["is_symmetric"]]
    worst = max(symmetric or judged, key=lambda entry: entry["positive"]["simulation"]["value"])
    shares = {which: 100.0 * entry["value"] for which, entry in worst["positive"].items()}
    scored = [entry["symmetrised"] for _, entry in _surfaces(molecules) if entry["symmetrised"]]
    fair = max((entry["jensen_shannon"]["value"] for entry in scored), default=None)
    beside = f" Without their hand the surfaces differ by {fair:.3g} nats." if symmetric and fair is not None else ""
    return [
        Check(
            name="mirror image",
            status="fail" if symmetric else "pass",
            value=worst["positive"]["simulation"]["value"],
            unit="1",
            threshold="not mirror-symmetric",
            meaning=f"Share of {worst['coordinate']} > 0, {shares['simulation']:.3g} % against "
            f"{shares['reference']:.3g} % in the reference: an energy of distances alone cannot tell a molecule from "
            "its mirror image." + beside,
            remedy="Give the prior dihedral or improper terms, or map to beads whose distances fix the hand, such as "
            "C-beta.",
        )
    ]


def _check_curves(molecules: dict[str, Any], key: str, name: str, what: str) -> list[Check]:
    findings = [
        _judge(f"{kind}: {label}" if len(molecules) > 1 else label, curve, CURVE_DIVERGENCE)
        for kind, entry in molecules.items()
        for label, curve in entry[key].items()
    ]
    if not findings:
        return []
    worst, which = _worst(findings)
    return [
        Check(
            name=name,
            status=worst.status,
            value=worst.value,
            unit="nat",
            threshold=f"<= {worst.limit:.3g}",
            meaning=f"Jensen-Shannon divergence of distributions of one coordinate: {what}." + which,
            remedy=_REMEDY if key == "coordinates" else "Look at the fit of the prior; take a shorter timestep.",
        )
    ]


def _check_against_baseline(molecules: dict[str, Any], baseline: dict[str, Any]) -> list[Check]:
    ours, theirs = dict(_surfaces(molecules)), dict(_surfaces(baseline))
    shared = [label for label in ours if label in theirs]
    if not shared:
        return []
    value, limit = (
        sum(entries[label]["jensen_shannon"]["value"] for label in shared) / len(shared) for entries in (ours, theirs)
    )
    return [
        Check(
            name="free-energy surface against pair spline",
            status="pass" if value < limit else "warn",
            value=value,
            unit="nat",
            threshold=f"< {limit:.3g}",
            meaning="The free-energy surface should be closer to the reference than without the network.",
            remedy="Train longer or on more frames; if it stays so, the network adds nothing.",
        )
    ]
