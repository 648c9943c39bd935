"""Notice that a configuration or a file is not the one of the run folder; say what changed and how to go on."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from beadsmith.config.describe import flatten_document
from beadsmith.config.load import complete_document
from beadsmith.errors import InputError
from beadsmith.pipeline.record import RunRecord, hash_data
from beadsmith.pipeline.stages import EXECUTION_KEYS, STAGES, VERBS, Stage

EXTERNAL = "external"
"""Where the summary of a stage keeps the hashes of what it read from outside the run folder."""

_MAX_SHOWN = 8


def refuse_other_configuration(folder: Path, record: RunRecord, configuration: dict[str, Any]) -> None:
    """Check that a run folder was started with this configuration.

    Raises
    ------
    InputError : a setting that matters to a result differs; the message names all of them.
    """
    changed = changed_keys(record.configuration, configuration)
    if not changed:
        return
    old, new = flatten_document(record.configuration), flatten_document(configuration)
    lines = [f"{key}: {old.get(key, '(absent)')} -> {new.get(key, '(absent)')}" for key in changed[:_MAX_SHOWN]]
    more = f"; and also {', '.join(changed[_MAX_SHOWN:])}" if len(changed) > _MAX_SHOWN else ""
    verb = first_affected(changed, is_imported=new.get("reference") != "none")
    raise InputError(
        f"the configuration is not the one '{folder}' was made with; changed: {'; '.join(lines)}{more}",
        fix=f"Start a new run with '--output NEW_FOLDER', restore the old values, or add '--restart-from "
        f"{verb}' to discard the results that depend on them and compute these again.",
    )


def changed_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the dotted names of the settings that differ and matter to a result."""
    flat_old, flat_new = flatten_document(old), flatten_document(new)
    names = dict.fromkeys([*flat_old, *flat_new])
    return [name for name in names if flat_old.get(name) != flat_new.get(name) and name not in EXECUTION_KEYS]


def first_affected(changed: list[str], *, is_imported: bool) -> str:
    """Return the first verb whose result depends on any of the settings, of a run that imports or samples."""
    for stage in STAGES:
        if stage.verb == ("sample" if is_imported else "import") or stage.is_optional:
            continue
        if any(_is_within(name, key) for name in changed for key in stage.keys):
            return stage.verb
    return VERBS[-1]


def select_configuration(configuration: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings, by dotted name, that lie within the given keys and matter to a result."""
    return {
        name: value
        for name, value in flatten_document(configuration).items()
        if name not in EXECUTION_KEYS and any(_is_within(name, key) for key in keys)
    }


def identify_stage(stage: Stage, record: RunRecord, external: dict[str, str]) -> str:
    """Return the hash of everything the result of a stage depends on.

    Parameters
    ----------
    stage : The stage.
    record : Run whose configuration and results it takes.
    external : Hash of each file outside the run folder that it reads.
    """
    hashes = {name: value for entry in record.stages.values() for name, value in entry.outputs.items()}
    inputs = {name: hashes.get(name) for name in stage.inputs} | external
    settings = select_configuration(record.configuration, stage.keys)
    return hash_data({"stage": stage.name, "settings": settings, "inputs": inputs})


def adopt_new_settings(record: RunRecord) -> RunRecord:
    """Return the record of an earlier version with the settings that it did not know, at their defaults.

    The default of a new setting is what all runs did before it, so it changes no result: what was computed from the
    old settings keeps counting. A record is returned as it is where it cannot be read as it stands, or where a stage is
    unfinished: what that stage saved belongs to the hash of the old settings.
    """
    old = record.configuration
    try:
        configuration = complete_document(old)
    except InputError:
        return record
    known, completed = flatten_document(old), flatten_document(configuration)
    if configuration == old or any(completed.get(name) != value for name, value in known.items()):
        return record
    adopted = replace(record, configuration=configuration)
    stages = dict(record.stages)
    for stage in STAGES:
        entry = stages.get(stage.name)
        if entry is None:
            continue
        if entry.status != "done":
            return record
        external = entry.summary.get(EXTERNAL, {})
        if entry.input_hash == identify_stage(stage, record, external):
            stages[stage.name] = replace(entry, input_hash=identify_stage(stage, adopted, external))
    return replace(adopted, stages=stages)


def discard_results(folder: Path, record: RunRecord, verb: str, changed: list[str]) -> RunRecord:
    """Delete the outputs of a verb and of all later ones, and return the record without them.

    Earlier stages that others can do without go too if they depend on a setting that has changed.
    """
    dropped = [
        stage for stage in STAGES if VERBS.index(stage.verb) >= VERBS.index(verb) or _is_outdated(stage, changed)
    ]
    for stage in dropped:
        for name in (*stage.outputs, *stage.scratch):
            delete(folder / name)
    kept = {name: entry for name, entry in record.stages.items() if name not in {stage.name for stage in dropped}}
    return replace(record, stages=kept)


def refuse_foreign_files(folder: Path, record: RunRecord, stage: Stage) -> None:
    """Check that a stage would overwrite only what it wrote itself, inside the run folder.

    Raises
    ------
    InputError : an output is there but not in the record, or it is a link that leads out of the run folder.
    """
    for name in stage.outputs:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"'{path}' is a link that leads out of the run folder",
                fix="Replace it by a plain file or delete the link.",
            )
        if path.exists() and stage.name not in record.stages:
            raise InputError(
                f"'{path}' exists, but this run did not write it (record.json does not know it)",
                fix=f"Move it away, choose another '--output', or add '--restart-from {stage.verb}' to replace it.",
            )


def _is_outdated(stage: Stage, changed: list[str]) -> bool:
    return stage.is_optional and any(_is_within(name, key) for name in changed for key in stage.keys)


def _is_within(name: str, key: str) -> bool:
    return name == key or name.startswith(key + ".")


def delete(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
