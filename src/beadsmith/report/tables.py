"""The tables of the report, as rows of text."""

from dataclasses import dataclass
from typing import Any

from beadsmith.mapping.coverage import shorten_name
from beadsmith.report.contents import RunContents
from beadsmith.report.figures.style import NAMES
from beadsmith.report.numbers import (
    MISSING,
    format_duration,
    format_measurement,
    format_number,
    format_percent,
    typeset_kind,
)

_N_LISTED = 24
"""Atoms, beads and weights of a molecule in one cell of a table."""

_LOSS_ROWS = (
    ("zero_force", "no force at all"),
    ("prior", "prior alone"),
    ("pair_spline", "pair spline"),
    ("network", "network"),
    ("corrected", "with correction in slow coordinates"),
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table; the first column names the row."""

    caption: str
    """What it shows and in which unit."""
    header: tuple[str, ...]
    """Column titles."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, one tuple a row."""


_FLOOR_ROWS = (
    ("upper_bound", "noise floor, upper bound"),
    ("lower_bound", "noise floor, lower bound"),
    ("estimate", "noise floor, pooled"),
)


def tabulate_losses(training: dict[str, Any]) -> Table:
    """Return the losses of all models on the same frames, and the bracket of the noise floor."""
    rows = []
    for model, title in _LOSS_ROWS:
        losses = training.get("losses", {}).get(model)
        if losses is not None:
            explained = training.get("explained_variance", {}).get(model, {})
            cells = (format_measurement(losses.get(use)) for use in ("train", "validation", "test"))
            rows.append((title, *cells, format_percent(explained.get("test"))))
    floor = training.get("noise_floor")
    if floor:
        for bound, title in _FLOOR_ROWS:
            limit = floor[bound]
            loss = {"value": limit["loss"], "error": limit["loss_error"]}
            explained = {"value": 1.0 - limit["value"], "error": limit["error"]}
            rows.append((title, MISSING, MISSING, format_measurement(loss), format_percent(explained)))
    frames = training.get("n_frames", {})
    counts = [frames.get(use, MISSING) for use in ("train", "validation", "test")]
    header = (
        "model",
        f"training, {counts[0]} frames",
        f"validation, {counts[1]} frames",
        f"test, {counts[2]} frames",
        "explained variance, test",
    )
    return Table(
        caption="Mean squared force error per component [(kJ/mol/nm)²] ± one block standard error.",
        header=header,
        rows=tuple(rows),
    )


def tabulate_files(training: dict[str, Any]) -> Table | None:
    """Return the losses of each file of the data set on its own; None where there is only one."""
    files = training.get("files") or []
    if len(files) < 2:
        return None
    models = [(model, title) for model, title in _LOSS_ROWS if model in training["losses"]]
    rows = []
    for number, entry in enumerate(files, 1):
        temperatures = ", ".join(f"{format_number(value)} K" for value in entry["temperatures"])
        kind = "averages" if entry["is_averaged"] else "frames"
        losses = [format_measurement((entry["test"] or {}).get(model)) for model, _ in models]
        floor = {name: value for name, value in (entry["noise_floor"] or {}).items() if name != "unit"}
        noise = (format_number(entry["label_noise"]), format_measurement(floor or None))
        rows.append((f"{number}: {temperatures}, {entry['n_frames']['train']} {kind}", *losses, *noise))
    return Table(
        caption="Losses on the test frames of each file of the data set alone [(kJ/mol/nm)²]. Averaged labels are "
        "nearly free of noise: what is left after their own noise is the error of a model. The noise floor is the "
        "variance of the forces of frames at fixed beads, measured where labels were averaged.",
        header=("file, training", *(title for _, title in models), "noise of the labels", "noise floor of frames"),
        rows=tuple(rows),
    )


_VIRIAL_ROWS = (
    ("pair_spline", "pair spline"),
    ("pair_spline_with_volume_term", "pair spline and term of the volume"),
    ("network", "network"),
    ("corrected", "corrected"),
    ("network_with_volume_term", "network and term of the volume"),
    ("corrected_with_volume_term", "corrected and term of the volume"),
)


def tabulate_virials(training: dict[str, Any]) -> Table | None:
    """Return how far every force field is off the virials of the test frames; None where these have none."""
    found = training.get("virials")
    if not found:
        return None
    rows = [
        (
            title,
            format_measurement(entry["pressure_error"]),
            format_percent(entry["explained"]),
            format_measurement(entry["noise"]),
        )
        for name, title in _VIRIAL_ROWS
        if (entry := found["models"].get(name))
    ]
    return Table(
        caption=f"Virials on {found['n_frames']} test frames. The pressure error is the mean of model minus label on "
        "the same frames; what is left of single frames is an upper bound of the labels' own noise. "
        + _describe_virial_labels(training.get("labels") or []),
        header=("model", "pressure error", "explained variance", "left of one frame's pressure"),
        rows=tuple(rows),
    )


def _describe_virial_labels(files: list[dict[str, Any]]) -> str:
    """Return the noise and the weight of the virials of every file that has such labels."""
    found = [(number, labels) for number, entry in enumerate(files, 1) if (labels := entry["labels"].get("virials"))]
    if not found:
        return "Virials were not among the labels."
    parts = []
    for number, labels in found:
        which = f" (file {number})" if len(files) > 1 else ""
        weight = labels.get("mean_weight")
        more = "" if weight is None else f", weight {format_number(weight)} /nm²"
        parts.append(f"noise of {format_number(labels['noise'])} kJ/mol{more}{which}")
    return f"Virials were among the labels; of each component: {'; '.join(parts)}."


def tabulate_distances(evaluation: dict[str, Any]) -> Table:
    """Return all structural distances of the simulations to the reference."""
    comparisons = evaluation["comparisons"]
    window = f"{evaluation['settings']['window_start']:g}–{evaluation['settings']['window_end']:g} nm"
    rows = []
    for key, measure, title in (
        ("rdf", "mean_difference", f"mean |Δg|, {window}"),
        ("adf", "mean_difference", "mean |ΔADF|"),
        ("rdf", "peak_shift", "first peak, shift"),
        ("rdf", "peak_height_ratio", "first peak, height ratio"),
    ):
        for kind, name in _name_rows(title, [entry[key] for entry in comparisons.values()]):
            rows.append((name, *_distance_cells(comparisons, key, kind, measure)))
    return Table(
        caption="Distance to the reference ± one standard error, beside what chance alone would make of two perfect "
        "runs of these lengths and the reference's own error.",
        header=("quantity", *(NAMES[name] for name in comparisons), "by chance", "reference's own error"),
        rows=tuple(rows),
    )


def _name_rows(title: str, entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return every kind with the title of its row, which names the kind only where there are several."""
    kinds = dict.fromkeys(kind for entry in entries for kind in entry)
    return [(kind, f"{title}, {typeset_kind(kind)}" if len(kinds) > 1 else title) for kind in kinds]


def _distance_cells(comparisons: dict[str, Any], key: str, kind: str, measure: str) -> list[str]:
    entries = [entry[key].get(kind, {}) for entry in comparisons.values()]
    cells = [format_measurement(entry.get(measure)) for entry in entries]
    if measure != "mean_difference":
        return [*cells, MISSING, MISSING]
    first = next(entry for entry in entries if entry)
    return [*cells, format_measurement(first["expected_by_chance"]), format_measurement(first["reference_error"])]


def tabulate_state(evaluation: dict[str, Any]) -> Table:
    """Return temperature, pressure, diffusion and closest pairs of every run."""
    systems = evaluation["systems"]
    rows = [
        ("frames", *(format_number(float(s["n_used"])) for s in systems.values())),
        ("time", *(f"{format_number(s['length']['value'])} ps" for s in systems.values())),
        ("runs or replicas", *(str(s["n_segments"]) for s in systems.values())),
        ("kinetic temperature", *(format_measurement(s["kinetic_temperature"]) for s in systems.values())),
        ("pressure", *(format_measurement(s["pressure"]) for s in systems.values())),
    ]
    titles = {
        "density": "density",
        "compressibility": "isothermal compressibility",
        "heat_capacity": "heat capacity without kinetic part, of one molecule",
        "mean_energy": "mean potential energy of one molecule",
        "bead_energy": "mean U(R) of one molecule, zero of the network",
        "bead_entropy": "mean S(R) of one molecule, zero of the network",
    }
    for name, title in titles.items():
        entries = [s.get(name) for s in systems.values()]
        if any(entries):
            rows.append((title, *(format_measurement(entry) for entry in entries)))
    for kind, title in _name_rows("closest pair ever", [s["closest_pair"] for s in systems.values()]):
        rows.append((title, *(format_measurement(s["closest_pair"].get(kind)) for s in systems.values())))
    for kind, title in _name_rows("diffusion coefficient", [s["diffusion"] for s in systems.values()]):
        rows.append((title, *(format_measurement(s["diffusion"].get(kind)) for s in systems.values())))
    speed_ups = [entry["speed_up"] for entry in evaluation["comparisons"].values()]
    for kind, title in _name_rows("dynamical speed-up", speed_ups):
        rows.append((title, "1", *(format_measurement(entry.get(kind)) for entry in speed_ups)))
    return Table(
        caption="Every run ± one block standard error. The compressibility is read from volumes where they change, "
        "else from numbers of molecules in parts of the cell, which asks for a large one. A heat capacity needs "
        "energies: those of a coarse-grained run are free energies, and only a force field that depends on temperature "
        "knows its energy. The speed-up is the ratio of the diffusion "
        "coefficients." + _describe_zero(evaluation),
        header=("quantity", *(NAMES[name] for name in systems)),
        rows=tuple(rows),
    )


def _describe_zero(evaluation: dict[str, Any]) -> str:
    """Return what energies and entropies of beads are counted from; nothing where no force field knows them apart."""
    if "bead_energy" not in evaluation["systems"]["reference"]:
        return ""
    text = (
        " U(R) and S(R) are those of the network, on frames of the reference and of its own simulation: their zeros "
        "are the network's, only differences mean anything."
    )
    comparison = next(entry for entry in evaluation["comparisons"].values() if "energy_difference" in entry)
    if comparison["energy_difference"] is None:
        return f"{text} U(R) is not compared with the energy of the atoms: {comparison['no_energy_difference']}."
    values = comparison["energy_difference"]["training_temperatures"]["values"]
    at = ", ".join(format_number(value) for value in values)
    line = "their mean" if len(values) == 1 else "a straight line in temperature"
    return (
        f"{text} The mean potential energy of the network is that of U(R) plus the energy that no bead feels, "
        f"{line} through the mean difference of atomistic energy and U(R) on the training frames at {at} K; network "
        f"minus reference is {format_measurement(comparison['energy_difference'])}."
    )


def tabulate_speed(contents: RunContents) -> Table:
    """Return how fast each part of the run was on this machine."""
    atomistic = contents.sampling.get("ns_per_day")
    mapped = contents.stage_summary("mapped.h5").get("frames_per_second")
    network = (contents.training or {}).get("network") or {}
    rows: list[tuple[str, ...]] = [
        ("atomistic sampling", MISSING, _with_unit(atomistic, "ns/day"), "1", _describe_engine(contents.sampling)),
        ("mapping", _with_unit(mapped, "frames/s"), MISSING, MISSING, "two passes over the atomistic frames"),
        ("training", _with_unit(network.get("sites_per_second"), "sites/s"), MISSING, MISSING, _describe_fit(network)),
    ]
    for name, path in contents.simulation_files.items():
        rows += _describe_simulation(NAMES[name], contents.stage_summary(path), atomistic)
    return Table(
        caption="Speed of the parts of this run on this machine; one measurement each, as busy as the machine was.",
        header=("part", "speed", "simulated time", "over atomistic", "of what"),
        rows=tuple(rows),
    )


def _describe_simulation(title: str, summary: dict[str, Any], atomistic: float | None) -> list[tuple[str, ...]]:
    """Return the speed of one replica and, where there are several, of all together."""
    speed = summary.get("speed") or {}
    each, together = speed.get("ns_per_day"), speed.get("ns_per_day_all_replicas")
    beads = f"{summary.get('n_beads', MISSING)} beads"
    steps = _with_unit(speed.get("steps_per_second"), "steps/s")
    rows: list[tuple[str, ...]] = [
        (f"CG, {title}", steps, _with_unit(each, "ns/day"), _ratio(each, atomistic), f"one replica of {beads}")
    ]
    n_replicas = summary.get("n_replicas", 1)
    if n_replicas > 1:
        what = f"{n_replicas} replicas side by side"
        rows.append((f"CG, {title}", steps, _with_unit(together, "ns/day"), _ratio(together, atomistic), what))
    return rows


def tabulate_molecules(mapping: dict[str, Any]) -> Table:
    """Return which atoms became which beads."""
    rows = []
    for molecule in mapping.get("molecules", []):
        beads = [
            f"{name} ({format_number(mass, 5)} u)"
            for name, mass in zip(molecule["bead_names"], molecule["bead_masses"], strict=True)
        ]
        rows.append(
            (
                shorten_name(molecule),
                str(molecule["count"]),
                _join_first(molecule["atom_names"], " "),
                _join_first(beads, ", "),
                _join_first([f"{weight:.3f}" for weight in molecule["force_weights"][0]], ", "),
            )
        )
    return Table(
        caption="Every molecule kind, its atoms, its beads, and the weights with which the atoms' forces enter the "
        "force on its first bead.",
        header=("molecule", "copies", "atoms", "beads", "force weights"),
        rows=tuple(rows),
    )


def _join_first(words: list[str], separator: str) -> str:
    """Return a list as far as it can be read."""
    more = f"{separator}… ({len(words)})" if len(words) > _N_LISTED else ""
    return separator.join(words[:_N_LISTED]) + more


_MAPS = {
    "optimal": "optimal: least noise of all unbiased linear maps",
    "sum": "sum over the atoms of each bead",
    "uniform": "uniform: atoms that carry the position, and those rigidly joined",
    "slice": "slice: atoms that carry the position alone",
}


def tabulate_force_maps(mapping: dict[str, Any], explained: float | None) -> Table:
    """Return what every force map leaves of noise, and how many frames one frame of the optimal map is worth.

    Parameters
    ----------
    mapping : Summary of the mapping.
    explained : What a force field has been seen to explain of the squared forces [(kJ/mol/nm)²], or None.
    """
    squares, biased = mapping["force_mean_square"], mapping.get("biased_maps", {})
    known, rows = explained or 0.0, []
    for name, title in _MAPS.items():
        if name in biased:
            square = biased[name]["force_mean_square"]
            rows.append((title, format_number(square, 4), MISSING, f"biased, refused: {biased[name]['reason']}"))
        elif name in squares:
            left = squares["optimal"] - known
            gain = format_number((squares[name] - known) / left) if left > 0.0 else MISSING
            used = "used for these beads" if name == mapping.get("forces") else ""
            rows.append((title, format_number(squares[name], 4), gain, used))
    origin = (
        "nothing is subtracted for the mean force, which nobody knows"
        if explained is None
        else f"{format_number(explained, 4)} (kJ/mol/nm)², which the force field explains on test frames, is "
        "subtracted for the mean force"
    )
    return Table(
        caption="Mean squared force on a bead [(kJ/mol/nm)² per component] under every force map, on frames that it "
        "was not fitted to, and how many frames of it are worth one frame of the optimal map: the ratio of their "
        f"noise, a lower bound. Here {origin}.",
        header=("force map", "mean squared force", "worth of an optimal frame, at least", ""),
        rows=tuple(rows),
    )


def tabulate_stages(record: dict[str, Any]) -> Table:
    """Return the stages of the run with their wall times and the hashes of what they wrote."""
    rows = []
    for name, stage in record.get("stages", {}).items():
        hashes = ", ".join(f"{path} {digest[:12]}" for path, digest in stage.get("outputs", {}).items())
        wall_time = format_duration(float(stage.get("wall_time") or 0.0))
        rows.append((name.replace("_", " "), str(stage.get("status", MISSING)), wall_time, hashes or MISSING))
    return Table(
        caption="Stages, wall times, and the first digits of the SHA-256 of what they wrote.",
        header=("stage", "status", "wall time", "outputs"),
        rows=tuple(rows),
    )


def _describe_engine(sampling: dict[str, Any]) -> str:
    if not sampling:
        return "no atomistic run of ours"
    engine = [str(sampling[key]) for key in ("engine", "platform") if key in sampling]
    atoms = f"{sampling['n_atoms']} atoms" if "n_atoms" in sampling else ""
    return ", ".join(part for part in (*engine, atoms) if part)


def _describe_fit(network: dict[str, Any]) -> str:
    if not network:
        return "no network was trained"
    return f"{network.get('n_parameters', MISSING)} parameters, {network.get('epochs', MISSING)} epochs"


def _with_unit(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{format_number(value)} {unit}"


def _ratio(first: float | None, second: float | None) -> str:
    return MISSING if not first or not second else f"{format_number(first / second)} ×"
