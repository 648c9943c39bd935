"""Compose the sections of the report from what the run folder holds; what is missing becomes a sentence."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beadsmith.diagnostics.pressure import is_pressure_trained
from beadsmith.geometry import wrap
from beadsmith.mapping.coverage import shorten_name, summarize_left_out
from beadsmith.report.contents import NETWORK, PAIR_SPLINE, RunContents
from beadsmith.report.curves import PairCurve, scan_pair, type_pairs
from beadsmith.report.diagnosis import compose_diagnosis
from beadsmith.report.ensemble import compose_ensemble
from beadsmith.report.figures.motion import draw_displacement, draw_series
from beadsmith.report.figures.structure import draw_angular, draw_beads, draw_radial
from beadsmith.report.figures.style import NAMES, Figure
from beadsmith.report.figures.training import draw_noise_floor, draw_pair_curves, draw_training
from beadsmith.report.molecules import compose_molecules, has_molecules
from beadsmith.report.numbers import format_measurement, format_number, format_percent
from beadsmith.report.symmetry import compose_symmetry, has_symmetry
from beadsmith.report.tables import (
    Table,
    tabulate_distances,
    tabulate_files,
    tabulate_force_maps,
    tabulate_losses,
    tabulate_molecules,
    tabulate_speed,
    tabulate_stages,
    tabulate_state,
    tabulate_virials,
)

_N_DISTANCES = 240
_NOT_EVALUATED = "No simulation has been evaluated in this run folder: run 'beadsmith evaluate'."


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page."""

    anchor: str
    """Target of the links to it."""
    title: str
    """Heading."""
    items: list[str | Table | list[Figure]]
    """Paragraphs, tables, and rows of figures, in order."""


def compose_sections(contents: RunContents) -> list[Section]:
    """Return all sections in order."""
    return [
        *_compose_matter(contents),
        Section(anchor="dynamics", title="Motion, temperature and pressure", items=_compose_dynamics(contents)),
        Section(anchor="learning", title="What the forces teach", items=_compose_training(contents)),
        Section(anchor="pairs", title="Forces between pairs", items=_compose_pairs(contents)),
        Section(anchor="mapping", title="From atoms to beads", items=_compose_mapping(contents)),
        *_compose_uncertainty(contents),
        *_compose_verdicts(contents),
        Section(anchor="speed", title="Speed", items=_compose_speed(contents)),
        Section(anchor="beads", title="The beads", items=_compose_beads(contents)),
        Section(anchor="provenance", title="Provenance", items=_compose_provenance(contents)),
    ]


def _compose_matter(contents: RunContents) -> list[Section]:
    """Return the sections on molecules and on the structure between them, as far as there are such."""
    evaluation = contents.evaluation
    sections = []
    if evaluation is not None and has_molecules(evaluation):
        items = compose_molecules(evaluation)
        sections.append(Section(anchor="molecules", title="Shapes and free energies of molecules", items=items))
    if evaluation is not None and has_symmetry(evaluation):
        items = compose_symmetry(evaluation)
        sections.append(Section(anchor="identity", title="Bonds, hands and mirror images", items=items))
    if evaluation is None or evaluation["systems"]["reference"]["n_molecules"] > 1:
        sections.append(Section(anchor="structure", title="Structure", items=_compose_structure(contents)))
    return sections


def _compose_verdicts(contents: RunContents) -> list[Section]:
    """Return the section on what the map is worth, if it was diagnosed."""
    if contents.diagnosis is None:
        return []
    items = compose_diagnosis(contents.diagnosis)
    return [Section(anchor="diagnosis", title="Is the map sound?", items=items)]


def _compose_uncertainty(contents: RunContents) -> list[Section]:
    """Return the section on the ensemble, if there is one."""
    if contents.evaluation is None or "ensemble" not in contents.evaluation:
        return []
    items = compose_ensemble(contents.evaluation, contents.training)
    return [Section(anchor="uncertainty", title="How sure are the networks?", items=items)]


def _compose_structure(contents: RunContents) -> list[str | Table | list[Figure]]:
    evaluation = contents.evaluation
    if evaluation is None:
        return [_NOT_EVALUATED]
    items: list[str | Table | list[Figure]] = [
        "The reference is the atomistic run at bead resolution. Where the reference's own error is as large as a "
        "difference, the difference means nothing."
    ]
    radial, angular = draw_radial(evaluation), draw_angular(evaluation)
    if not radial:
        items.append("There is no periodic cell, so there is no radial distribution function.")
    items += [figures for figures in (radial, angular) if figures]
    if evaluation["comparisons"]:
        items.append(tabulate_distances(evaluation))
    if PAIR_SPLINE not in evaluation["comparisons"]:
        items.append("The pair spline was not simulated, so there is no baseline to compare with.")
    return items


def _compose_dynamics(contents: RunContents) -> list[str | Table | list[Figure]]:
    evaluation = contents.evaluation
    if evaluation is None:
        return [_NOT_EVALUATED]
    items: list[str | Table | list[Figure]] = [tabulate_state(evaluation)]
    figures = [figure for figure in (draw_series(evaluation), draw_displacement(evaluation)) if figure is not None]
    if figures:
        items.append(figures)
    reasons = {system["no_diffusion"] for system in evaluation["systems"].values()} - {None}
    items += [f"A diffusion coefficient is missing: {reason}." for reason in sorted(reasons)]
    reference = evaluation["systems"]["reference"]
    if reference["volume"] is None and reference["n_molecules"] == 1:
        return items
    items.append(
        "Diffusion coefficients are those of the runs as they were made: they include the friction of the thermostats "
        "and are not corrected for the finite box, which slows all runs of one box size alike. Coarse-grained dynamics "
        "is faster because the friction of the removed atoms is gone: divide its times by the speed-up."
    )
    return [*items, _describe_pressure(evaluation, knows_pressure=is_pressure_trained(contents.training or {}))]


def _describe_pressure(evaluation: dict[str, Any], *, knows_pressure: bool) -> str:
    values = [
        f"{NAMES[name]} {format_measurement(system['pressure'])}"
        for name, system in evaluation["systems"].items()
        if system["pressure"]
    ]
    if len(values) < 2:
        return "The pressure cannot be compared: not every run stored virials."
    if knows_pressure:
        return (
            f"Pressure: {', '.join(values)}. Virials were used in the training, so it should agree at the densities of "
            "the training frames; only there may the model be used at constant pressure."
        )
    return (
        f"Pressure: {', '.join(values)}. Forces at one density do not determine the pressure of a coarse-grained "
        "model: trained on forces alone it is commonly thousands of bar off, whatever the structure looks like. Only "
        "virial labels ('labels: {virials: 1}') fix it. Use such a model at constant volume, never at constant "
        "pressure."
    )


def _compose_training(contents: RunContents) -> list[str | Table | list[Figure]]:
    training = contents.training
    if training is None:
        return ["Nothing was trained in this run folder."]
    items: list[str | Table | list[Figure]] = [
        "Mapped forces are noisy: they fluctuate although the beads stand still, because the removed atoms move. That "
        "noise is most of the loss of every model, so losses are only compared on the same frames. The explained "
        "variance is the part of the zero-force loss that a model removes. Nothing was chosen by the test frames.",
        tabulate_losses(training),
    ]
    if training.get("improvement"):
        items.append(_describe_improvement(training))
    if (files := tabulate_files(training)) is not None:
        items.append(files)
    if (virials := tabulate_virials(training)) is not None:
        items.append(virials)
    if training.get("network") is None:
        items.append("No network was trained: the pair spline is the force field.")
    figures = [draw_training(contents.training_log, training), draw_noise_floor(training)]
    drawn = [figure for figure in figures if figure is not None]
    return [*items, drawn] if drawn else items


def _describe_improvement(training: dict[str, Any]) -> str:
    gain, gap = training["improvement"], training.get("gap")
    text = (
        f"On the test frames the network's loss is {format_number(100.0 * gain['fraction'], 2)} % below the pair "
        f"spline's: {format_measurement(gain)}, {format_number(gain.get('n_standard_errors'), 2)} standard errors from "
        f"{gain['n_blocks']} blocks. That is what many-body terms are worth here."
    )
    if gap:
        text += f" It explains {format_percent(gap)} more on training than on test frames; a large gap is overfitting."
    return text


def _compose_pairs(contents: RunContents) -> list[str | Table | list[Figure]]:
    force_fields = contents.force_fields
    if not force_fields:
        return ["There is no force field in this run folder."]
    main = force_fields.get(NETWORK) or force_fields[PAIR_SPLINE]
    pairs = type_pairs(main)
    if not pairs:
        return ["The molecules have several beads each, so two beads alone say nothing about their interaction."]
    fitted = {entry["type_pair"]: entry for entry in (contents.training or {}).get("prior", {}).get("curves", [])}
    closest = main.record.shortest_distances
    figures = []
    for kind, pair in pairs.items():
        start = 0.8 * closest.get(kind, 0.3)
        distances = np.linspace(start, main.cutoff, _N_DISTANCES)
        curves: dict[str, PairCurve] = {}
        if NETWORK in force_fields and any(True for _ in main.prior):
            curves["prior"] = scan_pair(main, distances, pair, prior_only=True)
        for name, force_field in force_fields.items():
            curves[name] = scan_pair(force_field, distances, pair)
        others = [scan_pair(member, distances, pair) for member in contents.members] if NETWORK in curves else []
        ensemble = (contents.evaluation or {}).get("ensemble")
        figures.append(
            draw_pair_curves(
                kind, curves, fitted=fitted.get(kind), closest=closest.get(kind), others=others, ensemble=ensemble
            )
        )
    return [[figure] for figure in figures]


def _compose_mapping(contents: RunContents) -> list[str | Table | list[Figure]]:
    mapping = contents.mapping
    if not mapping:
        return ["There is no mapped trajectory in this run folder."]
    items: list[str | Table | list[Figure]] = []
    if mapping.get("molecules"):
        items.append(tabulate_molecules(mapping))
    coverage = mapping.get("coverage")
    if coverage:
        items.append(_describe_coverage(coverage))
    if "optimal" in mapping.get("force_mean_square", {}):
        items.append(tabulate_force_maps(mapping, _find_explained(contents.training)))
    if mapping.get("noise_width"):
        items.append(
            f"Noise of {format_number(mapping['noise_width'])} nm was added to the positions of the beads, so the "
            "force field is that of the blurred density; its labels have a mean squared force of "
            f"{format_number(mapping['blurred_force_mean_square'], 4)} (kJ/mol/nm)² per component."
        )
    removed = mapping.get("noise_removed")
    if removed:
        optimal, plain = (mapping["force_mean_square"][key] for key in ("optimal", "sum"))
        amount = {"value": removed["mean_square"], "standard_error": removed["standard_error"]}
        items.append(
            f"The {mapping.get('forces', 'optimal')} force map was used. On frames that it was not fitted to, the "
            f"optimal map has a mean squared force of {format_number(optimal, 4)} (kJ/mol/nm)² per component, the "
            f"plain sum {format_number(plain, 4)}: it removes {format_measurement(amount)} (kJ/mol/nm)² of noise, at "
            f"least {format_number(100.0 * removed['fraction_lower_bound'], 2)} % of it. Every valid map has the same "
            "mean force, so less is better and nothing is lost."
        )
    return items or ["The mapped trajectory does not say how it was made."]


def _describe_coverage(coverage: dict[str, Any]) -> str:
    """Return a sentence for the atoms that no bead takes, named as far as it can be read."""
    parts = [
        f"{shorten_name(molecule)}: {summarize_left_out(molecule)}"
        for molecule in coverage["molecules"]
        if molecule["in_no_bead"]
    ]
    if not parts:
        return "Every atom is in a bead."
    share = format_percent({"value": coverage["mass_fraction"]})
    return f"{share} of the mass is in beads. In no bead are, of {'; of '.join(parts)}."


def _find_explained(training: dict[str, Any] | None) -> float | None:
    """Return by how much the best model lowers the loss of no force at all on test frames."""
    losses = {name: entry.get("test") for name, entry in (training or {}).get("losses", {}).items()}
    values = {name: entry["value"] for name, entry in losses.items() if entry and entry.get("value") is not None}
    if "zero_force" not in values or len(values) < 2:
        return None
    return max(values["zero_force"] - min(values.values()), 0.0)


def _compose_speed(contents: RunContents) -> list[str | Table | list[Figure]]:
    return [
        tabulate_speed(contents),
        "The ratio of ns/day counts simulated time as it stands. Multiplied by the dynamical speed-up, it is the gain "
        "in sampled motion.",
    ]


def _compose_beads(contents: RunContents) -> list[str | Table | list[Figure]]:
    name = next((name for name in (NETWORK, PAIR_SPLINE, "reference") if name in contents.last_frames), None)
    if name is None:
        return ["There are no frames to show."]
    frame = contents.last_frames[name]
    frame = replace(frame, positions=wrap(frame.positions, frame.cell).astype(np.float32))
    source = "mapped reference" if name == "reference" else f"{NAMES[name]} simulation"
    return [[draw_beads(frame, source)]]


def _compose_provenance(contents: RunContents) -> list[str | Table | list[Figure]]:
    record = contents.record
    if not record:
        return ["There is no record.json: these results were not made by one 'beadsmith run'."]
    facts = [
        ("run folder", contents.folder.name),
        ("started", str(record.get("created", ""))),
        ("command", str(record.get("command", ""))),
        ("seed", str(record.get("seed", ""))),
        *((key, str(value)) for key, value in record.get("machine", {}).items()),
        *_collect_versions(record).items(),
    ]
    items: list[str | Table | list[Figure]] = [
        Table(
            caption="How this run was made. The same configuration, seed and versions repeat it; with several "
            "sampling threads, up to chance.",
            header=("item", "value"),
            rows=tuple((key, value) for key, value in facts if value),
        )
    ]
    if record.get("stages"):
        items.append(tabulate_stages(record))
    if record.get("configuration"):
        rows = tuple(_flatten(record["configuration"]))
        items.append(Table(caption="All settings, defaults included.", header=("setting", "value"), rows=rows))
    return items


def _collect_versions(record: dict[str, Any]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for stage in record.get("stages", {}).values():
        versions |= {f"{name} version": str(version) for name, version in stage.get("versions", {}).items()}
    return versions


def _flatten(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _describe_value(value)))
    return rows


def _describe_value(value: Any) -> str:
    """Return a setting as text: lists with semicolons, their entries as ``name methanol, count 256``."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return "; ".join(_describe_value(entry) for entry in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return str(value)
