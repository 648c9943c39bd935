"""The tables at the end of a run: times, losses and checks."""

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from beadsmith.check import Check
from beadsmith.cli.console import TITLES, format_duration
from beadsmith.io.records import read_json
from beadsmith.mapping.coverage import shorten_name, summarize_left_out
from beadsmith.pipeline.estimate import Estimate
from beadsmith.pipeline.execute import RunResult
from beadsmith.pipeline.tasks import REFERENCE, REPORT, TRAINING

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}

_MAP_VERDICTS = {"map_alone": "map alone", "with_model": "map with this model"}


def show_result(console: Console, result: RunResult, verb: str) -> None:
    """Show what a run is worth: times, and losses and checks where the verb makes them."""
    if verb in ("run", "import") and "import" in result.record.stages:
        show_import(console, result.record.stages["import"].summary)
    if verb in ("run", "map") and "map" in result.record.stages:
        show_mapping(console, result.record.stages["map"].summary)
    if verb == "run":
        show_map_verdict(console, result)
        show_times(console, result)
    if verb in ("run", "train") and "train_ensemble" in result.record.stages:
        show_ensemble(console, result)
    training = result.folder / TRAINING[0]
    if verb in ("run", "train") and training.exists():
        show_losses(console, read_json(training))
    if verb in ("run", "evaluate", "report") and result.checks:
        show_checks(console, result.checks)
    report = result.folder / REPORT
    if verb in ("run", "report") and report.exists():
        console.print(f"report: {report}", markup=False)


def show_map_verdict(console: Console, result: RunResult) -> None:
    """Show in one line what the map is worth, if it was diagnosed."""
    if "diagnose" in result.record.stages:
        summary = result.record.stages["diagnose"].summary
        verdicts = [f"{title}: {summary[key]}" for key, title in _MAP_VERDICTS.items()]
        console.print(f"{', '.join(verdicts)}; all of it: beadsmith diagnose {result.folder}", markup=False)


def show_ensemble(console: Console, result: RunResult) -> None:
    """Show in one line how far the networks of an ensemble can be trusted to know unknown frames."""
    test = result.record.stages["train_ensemble"].summary.get("flagged", {}).get("test")
    if test is not None and result.settings.ensemble is not None:
        share, error = 100.0 * test["value"], 100.0 * (test["standard_error"] or 0.0)
        console.print(
            f"ensemble of {result.settings.ensemble.members} networks ({result.settings.ensemble.kind}): forces spread "
            f"more than on 99 % of the training frames in {share:.2g} ± {error:.1g} % of the test frames",
            markup=False,
        )


def show_import(console: Console, summary: dict[str, Any]) -> None:
    """Show what was found in the files of a reference, whether its units are possible, and what was guessed."""
    for file in summary["files"]:
        apart = "" if file["forces"] == file["file"] else f"; forces from {file['forces']} ({file['force_units']})"
        console.print(
            f"{file['file']}: {file['n_frames']} of {file['n_frames_in_file']} frames; {file['units']}{apart}",
            markup=False,
        )
    console.print(
        f"{summary['n_frames']} frames of {summary['n_atoms']} atoms in {summary['n_molecules']} molecules, "
        f"{summary['n_bonds']} bonds, {summary['n_constraints']} constraints",
        markup=False,
    )
    for verdict in summary["unit_checks"]:
        console.print(f"units of {verdict['quantity']}: {verdict['text']}", markup=False)
    for notice in summary["notices"]:
        console.print(f"note: {notice}", markup=False)


def show_mapping(console: Console, summary: dict[str, Any]) -> None:
    """Show what the beads are, and how much noise every force map leaves on frames that it was not fitted to."""
    show_coverage(console, summary["coverage"])
    if others := summary.get("n_frames_at_other_temperatures"):
        listed = ", ".join(f"{count} at {temperature}" for temperature, count in others.items())
        console.print(f"frames that stay in {REFERENCE}: {listed}", markup=False)
    table = Table("force map", "mean squared force", "worth of an optimal frame", "", title_justify="left")
    table.title = f"Noise of the bead forces, {summary['unit']}"
    for name, square in summary["force_mean_square"].items():
        gain = summary["effective_data_gain"].get(name, {}).get("lower_bound")
        worth = "" if gain is None else f"at least {gain:.3g} frames"
        table.add_row(name, format_value(square), worth, "used" if name == summary["forces"] else "")
    for name, entry in summary.get("biased_maps", {}).items():
        table.add_row(name, format_value(entry["force_mean_square"]), "", "biased")
    if "blurred_force_mean_square" in summary:
        of_noise = f"with noise of {summary['noise_width']:g} nm"
        table.add_row(of_noise, format_value(summary["blurred_force_mean_square"]), "", "of another density")
    console.print(table)


def show_coverage(console: Console, coverage: dict[str, Any]) -> None:
    """Show how many beads each kind of molecule has, and name the atoms that are in none."""
    for molecule in coverage["molecules"]:
        text = f"{molecule['count']} {shorten_name(molecule)}, beads each: {molecule['n_beads']}"
        if molecule["in_no_bead"]:
            text += f"; in no bead: {summarize_left_out(molecule)}"
        console.print(text, markup=False)


def show_simulation(console: Console, output: Path, summary: dict[str, Any]) -> None:
    """Show what a simulation outside a run folder gave."""
    found = summary["kinetic_temperature"]
    console.print(f"wrote {output}: {summary['n_frames']} frames of {summary['n_beads']} beads", markup=False)
    console.print(
        f"kinetic temperature {found['mean']:.2f} ± {found['standard_error'] or math.nan:.2g} K", markup=False
    )
    if "barostat" in summary:
        density, accepted = summary["density"], [rate for rate in summary["barostat"]["acceptance"] if rate is not None]
        console.print(
            f"density {density['mean']:.4f} ± {density['standard_error'] or math.nan:.2g} g/cm³; "
            f"{100.0 * sum(accepted) / max(len(accepted), 1):.0f} % of the volume changes accepted",
            markup=False,
        )
    if math.isfinite(summary["closest_distance"]):
        console.print(f"closest pair {summary['closest_distance']:.3f} nm", markup=False)
    if "tempering" in summary:
        show_tempering(console, summary["tempering"])
    for replica in summary["stopped"]:
        console.print(
            f"warning: replica {replica['replica']} stopped early and its last good frame is kept", markup=False
        )


def show_tempering(console: Console, tempering: dict[str, Any]) -> None:
    """Show the temperatures of parallel tempering, their files, and how well neighbours exchange."""
    table = Table("temperature", "measured", "accepted with the next", "file", title_justify="left")
    table.title = f"Parallel tempering: {tempering['n_ladders']} ladders, {tempering['round_trips']} round trips"
    rows = zip(
        tempering["temperatures"],
        tempering["kinetic_temperature"],
        [*tempering["acceptance"], None],
        tempering["files"],
        strict=True,
    )
    for temperature, found, acceptance, file in rows:
        measured = f"{found['mean']:.2f} ± {found['standard_error'] or math.nan:.2g} K"
        accepted = "" if acceptance is None else f"{acceptance:.2f}"
        table.add_row(f"{temperature:.4g} K", measured, accepted, file or "no frame")
    console.print(table)


def show_times(console: Console, result: RunResult) -> None:
    """Show how long each stage took, earlier attempts included, and how fast it went."""
    table = Table("stage", "what", "time", "speed", title="Stages", title_justify="left")
    stages = result.record.stages
    atomistic = stages["sample"].summary.get("ns_per_day") if "sample" in stages else None
    for name, entry in stages.items():
        speed = _describe_speed(entry.summary, atomistic)
        table.add_row(name, TITLES.get(name, ""), format_duration(entry.wall_time), speed)
    table.add_row("all", "", format_duration(sum(entry.wall_time for entry in stages.values())), "")
    console.print(table)


def _describe_speed(summary: dict[str, Any], atomistic: float | None) -> str:
    """Return a stage's own measure of its speed; coarse-grained ns/day also as a multiple of the atomistic."""
    for key, unit in (("ns_per_day", "ns/day"), ("frames_per_second", "frames/s"), ("sites_per_second", "sites/s")):
        if summary.get(key):
            return f"{_round(summary[key])} {unit}"
    speed = summary.get("speed") or {}
    if not speed.get("ns_per_day"):
        return ""
    ratio = f", {speed['ns_per_day'] / atomistic:.2g} x atomistic" if atomistic else ""
    return f"{_round(speed['steps_per_second'])} steps/s, {_round(speed['ns_per_day'])} ns/day{ratio}"


def _round(value: float) -> str:
    return f"{value:.3g}" if value < 1000.0 else f"{value:.0f}"


def show_checks(console: Console, checks: list[Check]) -> None:
    """Show every verdict; what to do stands below for those that did not pass."""
    table = Table("check", "status", "value", "threshold", "unit", title="Checks", title_justify="left")
    for check in checks:
        status = f"[{_COLOURS[check.status]}]{check.status}[/]"
        table.add_row(check.name, status, format_value(check.value), check.threshold, check.unit)
    console.print(table)
    for check in checks:
        if check.status != "pass" and check.remedy:
            console.print(f"{check.status}: {check.name}: {check.remedy}", markup=False)


def show_diagnosis(console: Console, diagnosis: dict[str, Any]) -> None:
    """Show every verdict on a map; what it means and what to do stands below for those that did not pass."""
    used, total = diagnosis["n_used"], diagnosis["n_frames"]
    frames = f"{total} frames" if used == total else f"{used} of {total} frames"
    table = Table("check", "map alone", "with this model", "value", "threshold", "unit", title_justify="left")
    table.title = f"Is this mapping sound? ({frames})"
    for entry in diagnosis["checks"]:
        table.add_row(
            entry["name"],
            _in_colour(entry["map_alone"]),
            _in_colour(entry["status"]),
            format_value(entry["value"]),
            entry["threshold"],
            entry["unit"],
        )
    console.print(table)
    for entry in diagnosis["checks"]:
        if entry["map_alone"] != "pass" or entry["status"] != "pass":
            console.print(f"{entry['name']}: {entry['meaning']}", markup=False)
            how = "cured" if entry["status"] == "pass" else "eased"
            for cure in entry["cures"]:
                console.print(f"    {how} by {cure}", markup=False)
            if entry["status"] != "pass":
                console.print(f"    remedy: {entry['remedy']}", markup=False)
    summary = diagnosis["summary"]
    console.print(
        f"map alone: {_in_colour(summary['map_alone'])}; with this model: {_in_colour(summary['with_model'])}"
    )


def _in_colour(status: str) -> str:
    return f"[{_COLOURS[status]}]{status.upper()}[/]"


def show_estimates(console: Console, estimates: list[Estimate]) -> None:
    """Show what each stage will cost."""
    table = Table("stage", "work", "time", "memory", "disk", title="Estimate", title_justify="left")
    for entry in estimates:
        table.add_row(
            entry.stage, entry.work, format_duration(entry.time), format_size(entry.memory), format_size(entry.disk)
        )
    total = sum(entry.time for entry in estimates)
    memory, disk = max(entry.memory for entry in estimates), sum(entry.disk for entry in estimates)
    table.add_row("all", "", format_duration(total), format_size(memory), format_size(disk))
    console.print(table)


def format_value(value: Any) -> str:
    """Return a number with four digits, or a text as it is."""
    if isinstance(value, str):
        return value
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def format_size(size: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000.0:
            return f"{size:.0f} {unit}"
        size /= 1000.0
    return f"{size:.1f} GB"


def show_losses(console: Console, training: dict[str, Any]) -> None:
    """Show what a force loss means: every model on every part of the frames, and the noise floor."""
    table = Table("force loss", title=f"Losses {training['unit']}", title_justify="left")
    uses = list(training["n_frames"])
    for use in uses:
        table.add_column(f"{use} ({training['n_frames'][use]} frames)", justify="right")
    table.add_column("explained (test)", justify="right")
    for model in ("zero_force", "prior", "pair_spline", "network", "corrected"):
        if model not in training["losses"]:
            continue
        entries = training["losses"][model]
        explained = training["explained_variance"].get(model, {}).get("test")
        table.add_row(
            model.replace("_", " "),
            *(_with_error(entries[use]) for use in uses),
            "" if explained is None else _with_error(explained, "{:.4f}"),
        )
    console.print(table)
    if floor := training.get("noise_floor"):
        low, high, pooled = floor["lower_bound"], floor["upper_bound"], floor["estimate"]
        console.print(
            f"noise floor, extrapolated: {pooled['loss']:.5g} ± {pooled['loss_error']:.2g}, from "
            f"{low['loss']:.5g} ± {low['loss_error']:.2g} (lower bound, training frames) and "
            f"{high['loss']:.5g} ± {high['loss_error']:.2g} (upper bound, held-out frames)",
            markup=False,
        )


def _with_error(entry: dict[str, Any], form: str = "{:.5g}") -> str:
    error = entry["error"]
    tail = "" if error is None or math.isnan(error) else f" ± {error:.2g}"
    return form.format(entry["value"]) + tail
