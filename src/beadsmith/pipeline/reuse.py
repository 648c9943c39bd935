"""Take a stage's result over from another run folder, where the very same was computed before.

A result belongs to the hash of the settings and files it came from, so a run may use that of any other run with the
same hash. Files are hard links: they take no space, and as results are only ever replaced, never changed in place,
neither run can spoil the other's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beadsmith.errors import InputError
from beadsmith.io.links import link_tree
from beadsmith.pipeline.changes import adopt_new_settings
from beadsmith.pipeline.record import RECORD_FILE, StageRecord, hash_path, read_record


@dataclass(frozen=True, kw_only=True)
class FoundResult:
    """A finished result in another run folder."""

    folder: Path
    """That folder."""
    entry: StageRecord
    """What its record says about the stage."""


def check_donors(donors: Sequence[Path]) -> None:
    """Check that all folders to take results from are run folders.

    Raises
    ------
    InputError : one is not.
    """
    for donor in donors:
        if not (donor / RECORD_FILE).is_file():
            raise InputError(
                f"'{donor}' is no run folder (it has no {RECORD_FILE})",
                where="--reuse",
                fix="Give the folder of a run, for example runs/methanol.",
            )


def find_result(stage: str, identity: str, donors: Sequence[Path]) -> FoundResult | None:
    """Return the first finished and undamaged result of a stage with this hash of its inputs.

    Raises
    ------
    InputError : a record is damaged.
    """
    for donor in donors:
        record = read_record(donor)
        entry = None if record is None else adopt_new_settings(record).stages.get(stage)
        if entry is None or entry.status != "done" or entry.input_hash != identity:
            continue
        if all((donor / name).exists() and hash_path(donor / name) == value for name, value in entry.outputs.items()):
            return FoundResult(folder=donor, entry=entry)
    return None


def link_outputs(found: FoundResult, folder: Path) -> None:
    """Put the files of a result into a run folder, in place of what is there under their names."""
    for name in found.entry.outputs:
        link_tree(found.folder / name, folder / name)
