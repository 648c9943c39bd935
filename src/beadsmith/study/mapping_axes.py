"""The runs of a mapping study: every mapping with every network, from one reference."""

from pathlib import Path

from beadsmith.config.document import Node
from beadsmith.errors import InputError
from beadsmith.study.models import AXIS_KEYS, read_axes, read_skipped
from beadsmith.study.overlays import check_skipped, combine
from beadsmith.study.record import PlannedRun, plan_run

MAPPING_KEYS = AXIS_KEYS


def plan_mapping_runs(
    base: Node, entries: dict[str, Node], folder: Path
) -> tuple[dict[str, tuple[str, ...]], tuple[PlannedRun, ...]]:
    """Return the axes and the runs, one a combination.

    Raises
    ------
    InputError : there is no axis, or a combination is no valid configuration.
    """
    axes = read_axes(entries)
    if not axes:
        raise InputError("the study has no axis", fix="Add 'mappings', 'networks', 'cutoffs' or 'axes'.")
    combinations = combine(base, axes, check_skipped(read_skipped(entries), axes))
    runs = [plan_run(found.document, "-".join(found.options.values()), found.options) for found in combinations]
    if not runs:
        raise InputError("'skip' leaves no run of the study", where=entries["skip"].where)
    return {options[0].axis: tuple(entry.name for entry in options) for options in axes}, tuple(runs)
