"""The verb `diagnose`: measure a mapped reference, judge its map, and keep verdicts and pictures as JSON."""

from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.analysis.distance_survey import SEPARATIONS, ContactSurvey, DistanceSurvey
from beadsmith.diagnostics.mapping.bonds import check_bonds
from beadsmith.diagnostics.mapping.coverage import check_coverage
from beadsmith.diagnostics.mapping.hands import check_hands
from beadsmith.diagnostics.mapping.knowledge import ModelSettings, describe_model
from beadsmith.diagnostics.mapping.labels import check_labels, find_depth
from beadsmith.diagnostics.mapping.molecules import MoleculeSurvey
from beadsmith.diagnostics.mapping.survey import survey_mapping
from beadsmith.diagnostics.mapping.verdict import MappingVerdict, summarize_verdicts
from beadsmith.io.records import write_json
from beadsmith.progress import Progress, silent
from beadsmith.training.slow_coordinates import CorrectionSettings

_MOST_PAIRS = 12
_MOST_EXCHANGES = 12
_MOST_ASYMMETRIES = 6
_DRAWN_BINS = 150


def diagnose(
    mapped: Path,
    model: ModelSettings,
    *,
    correction: CorrectionSettings | None = None,
    output: Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Judge whether a force field can learn what the beads of a mapped reference do, before any is trained.

    Every check is judged twice: for the map alone, with a network of types and distances and no prior, and for the
    configured force field.

    Parameters
    ----------
    mapped : Mapped trajectory.
    model : Network and prior.
    correction : Correction in slow coordinates, if there will be one.
    output : File for the result, or None.
    progress : Receives the work done.

    Returns
    -------
    Verdicts (`checks`), their summary, and everything that was measured, JSON-ready.

    Raises
    ------
    InputError : the file is missing or damaged, or has no frames or no forces.

    Source: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035, for the failures
    of maps; the measures and thresholds are our own (docs/decisions).
    """
    survey = survey_mapping(mapped, progress)
    knowledge = describe_model(model, correction)
    verdicts = [
        *check_bonds(survey.distances, knowledge),
        *check_labels(survey.molecules, knowledge),
        *check_hands(survey.molecules, knowledge),
        *check_coverage(survey, knowledge),
    ]
    diagnosis = {
        "summary": summarize_verdicts(verdicts),
        "checks": [verdict.to_json() for verdict in verdicts],
        "model": knowledge.to_json(),
        "n_frames": survey.n_frames,
        "n_used": survey.n_used,
        "bonds": _describe_bonds(survey.distances),
        "molecules": [_describe_molecule(entry) for entry in survey.molecules],
        "samples": survey.samples,
        "coverage": {entry.label: entry.to_json() for entry in survey.coverage},
        "contacts": [_describe_contact(entry) for entry in survey.distances.contacts],
    }
    if output is not None:
        write_json(output, diagnosis)
    return diagnosis


def list_alarms(verdicts: list[MappingVerdict]) -> list[str]:
    """Return one paragraph for every check that the configured force field fails: what, how much, and what to do."""
    return [
        f"{entry.check.name} is {_show(entry.check.value)} ({entry.check.threshold}). {entry.check.meaning} "
        f"{entry.check.remedy}"
        for entry in verdicts
        if entry.check.status == "fail"
    ]


def _show(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _describe_contact(contact: ContactSurvey) -> dict[str, Any]:
    return {
        "kind": contact.kind,
        "is_inside": contact.is_inside,
        "closest": {"value": contact.closest, "unit": "nm"},
        "n_edge": contact.n_edge,
    }


def _describe_bonds(distances: DistanceSurvey) -> dict[str, Any]:
    """Return overlaps, gaps and histograms of the kinds of bonds, those that overlap most first."""
    if not distances.kinds:
        return {"recovery": None, "kinds": []}
    entries = [_describe_kind(distances, kind) for kind in range(len(distances.kinds))]
    entries.sort(key=lambda entry: max((other["overlap"]["value"] for other in entry["others"]), default=0.0))
    entries.reverse()
    for entry in entries[_MOST_PAIRS:]:
        for part in (entry, *entry["others"]):
            part.pop("density")
        entry.pop("edges")
    return {"recovery": distances.measure_recovery().to_json(), "kinds": entries}


def _describe_kind(distances: DistanceSurvey, kind: int) -> dict[str, Any]:
    bonded = distances.bonded[:, kind].sum(axis=0)
    shown = _DrawnBins(distances, kind)
    others = []
    for separation, title in enumerate(SEPARATIONS):
        n_asked = float(distances.asked[separation, :, kind].sum())
        if n_asked > 0.0:
            gap, is_bound = distances.measure_gap(separation, kind)
            nearest = distances.nearest[separation, :, kind].sum(axis=0)
            others.append(
                {
                    "separation": title,
                    "overlap": distances.measure_overlap(separation, kind).to_json(),
                    "gap": {"value": gap, "unit": "1", "is_lower_bound": is_bound},
                    "density": shown.density(nearest, n_asked),
                }
            )
    return {
        "kind": distances.kinds[kind],
        "edges": shown.edges.tolist(),
        "unit": "nm",
        "density": shown.density(bonded, float(bonded.sum())),
        "others": others,
    }


class _DrawnBins:
    """The bins of a picture: from the shortest bond to the reach of the survey, about 150 of them."""

    def __init__(self, distances: DistanceSurvey, kind: int) -> None:
        visited = np.flatnonzero(distances.bonded[:, kind].sum(axis=0) + distances.nearest[:, :, kind].sum(axis=(0, 1)))
        first, last = int(visited[0]), int(visited[-1]) + 1
        step = max(1, -(-(last - first) // _DRAWN_BINS))
        self._starts = np.arange(first, last, step)
        self._last = last
        self.edges = distances.edges[np.append(self._starts, last)]

    def density(self, counts: np.ndarray, total: float) -> list[float]:
        """Return the probability density of counts, of which `total` were asked for [1/nm]."""
        joined = np.add.reduceat(counts[: self._last], self._starts)
        return [float(value) for value in joined / np.diff(self.edges) / max(total, 1.0)]


def _describe_molecule(molecule: MoleculeSurvey) -> dict[str, Any]:
    labels = molecule.labels
    described = None
    if labels is not None:
        described = {
            "log10_copies": labels.log_copies,
            "log10_copies_with_bonds": labels.log_copies_with_bonds,
            "needed": list(labels.needed),
            "by_depth": [list(numbers) for numbers in labels.by_depth],
            "depth": find_depth(labels),
            "exchanges": [entry.to_json() for entry in labels.exchanges[:_MOST_EXCHANGES]],
        }
    return {
        "name": molecule.molecules.name,
        "count": molecule.molecules.n_molecules,
        "beads": list(molecule.beads),
        "types": list(molecule.types),
        "bonds": molecule.bonds.tolist(),
        "layout": {"values": molecule.layout.tolist(), "unit": "nm"},
        "labels": described,
        "asymmetries": [entry.to_json() for entry in molecule.asymmetries[:_MOST_ASYMMETRIES]],
        "centres": {name: centre.to_json() for name, centre in molecule.centres.items()},
        "lost_stereocentres": list(molecule.lost),
        "noise": [
            {**noise.to_json(), "n_labels_per_frame": count}
            for noise, count in zip(molecule.noise, molecule.n_labels, strict=True)
        ],
    }
