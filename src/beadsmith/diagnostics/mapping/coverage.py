"""Are there enough data where a force field needs them? Verdicts on samples, short distances, overlap and noise."""

from dataclasses import replace

import numpy as np

from beadsmith.analysis.coordinate_coverage import CoordinateCoverage
from beadsmith.check import Check, Status
from beadsmith.diagnostics.mapping.knowledge import REPULSION, ModelKnowledge
from beadsmith.diagnostics.mapping.survey import MappingSurvey
from beadsmith.diagnostics.mapping.verdict import MappingVerdict

FEWEST_SAMPLES = (1000, 50)
"""Values of a bonded coordinate, and contacts at short distance, that pass, and below which bonded terms fail. A
thousand reach 7 kT up a wall, since the rarest of n has a free energy of ln n kT."""

FEWEST_INDEPENDENT = 100
"""Independent values of a bonded coordinate that pass: a hundred know the weights of two equal states to a tenth, their
free energies to 0.1 kT."""

SEEN_ONCE = 0.01
"""Share of the values of a bonded coordinate, where only one tenth of the reference has been, that passes: more of the
range was visited by chance."""

CLOSEST_BEADS = (0.05, 0.01)
"""Distance of any two beads [nm] that passes, and below which they lie on one spot."""

NOISE = 0.03
"""Noise of a bead's force, averaged over all its labels, over the force itself: a thousand labels of pure noise."""


def check_coverage(survey: MappingSurvey, model: ModelKnowledge) -> list[MappingVerdict]:
    """Return the verdicts on the amount and the place of the data."""
    checks = [*_check_samples(survey), *_check_closest(survey), _check_noise(survey)]
    verdicts = [MappingVerdict(check=check, map_alone=check.status) for check in checks]
    return [*verdicts, *_judge_short_range(survey, model)]


def _check_samples(survey: MappingSurvey) -> list[Check]:
    if not survey.samples:
        return []
    worst = min(survey.coverage, key=lambda entry: (_judge_coverage(survey, entry)[0], entry.n_effective))
    n_values, once = survey.samples[worst.label], max(survey.coverage, key=lambda entry: entry.seen_once)
    remedy = "Sample longer, or give beads that are chemically equal one type."
    return [
        Check(
            name="bonded coverage",
            status=_judge_coverage(survey, worst)[1],
            value=worst.n_effective,
            unit="1",
            threshold=f">= {FEWEST_INDEPENDENT} of >= {FEWEST_SAMPLES[0]} values, < {FEWEST_SAMPLES[1]} values fails",
            meaning="Independent values of the bonded coordinate with the fewest of them, by its autocorrelation: "
            f"{worst.label}, {n_values} values from {_describe_range(worst)}: beyond them, bonded terms are "
            "extrapolated.",
            remedy=remedy,
        ),
        Check(
            name="bonded range",
            status="pass" if once.seen_once <= SEEN_ONCE else "warn",
            value=once.seen_once,
            unit="1",
            threshold=f"<= {SEEN_ONCE:g}",
            meaning="Share of the values of a bonded coordinate that lie where only one tenth of the reference has "
            "been: as much of the range may be missing, or has a weight of chance. The largest is that of "
            f"{once.label}, visited from {_describe_range(once)}.",
            remedy=remedy,
        ),
    ]


def _judge_coverage(survey: MappingSurvey, entry: CoordinateCoverage) -> tuple[int, Status]:
    """Return the verdict on one coordinate, behind its place among the verdicts: the worst comes first."""
    n_values = survey.samples[entry.label]
    if n_values < FEWEST_SAMPLES[1]:
        return 0, "fail"
    if n_values < FEWEST_SAMPLES[0] or entry.n_effective < FEWEST_INDEPENDENT:
        return 1, "warn"
    return 2, "pass"


def _describe_range(entry: CoordinateCoverage) -> str:
    return f"{entry.lowest:.3g} to {entry.highest:.3g} {entry.unit}"


def _check_closest(survey: MappingSurvey) -> list[Check]:
    distances, topology = survey.distances, survey.topology
    if distances.closest_sites is None:
        return []
    first, second = (topology.names[site] for site in distances.closest_sites)
    value = distances.closest
    status: Status = "pass" if value >= CLOSEST_BEADS[0] else "warn" if value >= CLOSEST_BEADS[1] else "fail"
    return [
        Check(
            name="bead distance",
            status=status,
            value=value,
            unit="nm",
            threshold=f">= {CLOSEST_BEADS[0]:g} passes, < {CLOSEST_BEADS[1]:g} fails",
            meaning=f"Smallest distance of any two beads in any frame, here of {first} and {second}: beads on one spot "
            "have no direction between them, and forces there have no bound.",
            remedy="Choose beads that do not lie inside each other, in mapping.definitions.",
        )
    ]


def _check_noise(survey: MappingSurvey) -> Check:
    worst, name, force = -1.0, "", 0.0
    for molecule in survey.molecules:
        for bead, noise, count in zip(molecule.beads, molecule.noise, molecule.n_labels, strict=True):
            relative = noise.noise.value / max(noise.rms, 1e-30) / np.sqrt(survey.n_frames * count)
            if relative > worst:
                worst, name, force = float(relative), bead, noise.noise.value
    return Check(
        name="label noise",
        status="pass" if worst <= NOISE else "warn",
        value=worst,
        unit="1",
        threshold=f"<= {NOISE:g}",
        meaning="Noise of the force on a bead that remains in the mean over all labels of its type, relative to the "
        f"force; the largest is that of {name}, whose labels carry at most {force:.4g} kJ/mol/nm of noise.",
        remedy="Sample longer, use mapping.forces: optimal, or give beads that are chemically equal one type.",
    )


def _judge_short_range(survey: MappingSurvey, model: ModelKnowledge) -> list[MappingVerdict]:
    distances = survey.distances
    if not distances.contacts:
        return []
    worst = min(distances.contacts, key=lambda entry: entry.n_edge)
    count = worst.n_edge
    status: Status = "pass" if count >= FEWEST_SAMPLES[0] else "warn"
    check = Check(
        name="short-range coverage",
        status=status,
        value=float(count),
        unit="1",
        threshold=f">= {FEWEST_SAMPLES[0]}",
        meaning=f"Pairs {worst.kind} of {'one molecule' if worst.is_inside else 'two molecules'}, more than two bonds "
        f"apart, within 0.1 nm of their closest distance ever seen, {worst.closest:.3f} nm: what is known of the "
        "repulsive wall of the pair of types that is known the least.",
        remedy=f"Sample longer; below the closest distance only {REPULSION} keeps beads apart.",
    )
    if model.has_repulsion:
        return [MappingVerdict(check=check, map_alone=status)]
    meaning = f"{check.meaning} Below it the network extrapolates, and the prior has no repulsion."
    return [MappingVerdict(check=replace(check, status="warn", meaning=meaning), map_alone=status)]
