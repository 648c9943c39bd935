"""Read the file of a study: a base configuration and the axes along which its runs differ."""

import re
from pathlib import Path

from beadsmith.config.build import build_settings
from beadsmith.config.document import Node, read_document
from beadsmith.errors import InputError
from beadsmith.study.mapping_axes import MAPPING_KEYS, plan_mapping_runs
from beadsmith.study.overlays import find_value, replace_value
from beadsmith.study.record import STUDIES, STUDY_FILE, StabilitySettings, Study
from beadsmith.study.sections import read_section, read_word, refuse_unknown
from beadsmith.study.transfer_grid import TRANSFER_KEYS, plan_transfer_runs

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_COMMON = ("kind", "name", "base", "replicas", "stability")
_KINDS = {"mapping": (MAPPING_KEYS, plan_mapping_runs), "transfer": (TRANSFER_KEYS, plan_transfer_runs)}


def read_study(path: Path, output: Path | None = None) -> Study:
    """Return the study that a file, or a study folder, describes.

    Parameters
    ----------
    path : YAML file, or a study folder.
    output : Study folder; ``studies/<name>`` if not given.

    Raises
    ------
    InputError : the file cannot be used, or the configuration of one of its runs; the message names file and line.
    """
    file = path / STUDY_FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise InputError(
            f"'{path}' is a folder without '{STUDY_FILE}', so it is no study folder", fix="Give a YAML file."
        )
    entries = read_section(read_document(file), "the study")
    kind = _read_kind(entries, file)
    keys, plan_runs = _KINDS[kind]
    refuse_unknown(entries, (*_COMMON, *keys), f"the {kind} study")
    base = _read_base(entries, file)
    name = _read_name(entries, base, kind)
    folder = output or (path if path.is_dir() else STUDIES / name)
    axes, runs = plan_runs(_set_common(base, entries), entries, folder)
    return Study(
        name=name,
        kind="mapping" if kind == "mapping" else "transfer",
        folder=folder,
        axes=axes,
        runs=runs,
        stability=build_settings(StabilitySettings, entries["stability"], path="stability")
        if "stability" in entries
        else StabilitySettings(),
    )


def _read_kind(entries: dict[str, Node], file: Path) -> str:
    kind = entries.get("kind")
    if kind is None or kind.value not in _KINDS:
        found = "missing" if kind is None else f"'{kind.value}'"
        raise InputError(
            f"'kind' is {found}, expected {' or '.join(_KINDS)}", where=str(file) if kind is None else kind.where
        )
    return str(kind.value)


def _read_base(entries: dict[str, Node], file: Path) -> Node:
    """Return the configuration that all runs begin from: a section, or the file that is named."""
    node = entries.get("base")
    if node is None:
        raise InputError(
            "the study has no 'base'",
            where=str(file),
            fix="Add 'base: FILE.yaml', or 'base:' and the keys of a configuration below it.",
        )
    if isinstance(node.value, dict):
        return node
    path = Path(read_word(node, "base"))
    if not path.is_file():
        raise InputError(f"'{path}' does not exist", where=node.where, fix="The path starts from the working folder.")
    return read_document(path)


def _read_name(entries: dict[str, Node], base: Node, kind: str) -> str:
    """Return the name of the study, which must do as a folder's."""
    if "name" not in entries:
        node = find_value(base, "name")
        return kind if node is None else f"{read_word(node, 'base.name')}_{kind}"
    node = entries["name"]
    name = read_word(node, "name")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'name' is '{name}', expected a plain folder name: letters, digits, '.', '_' or '-', no '/'",
            where=node.where,
            fix="Use '--output' to put the study folder elsewhere.",
        )
    return name


def _set_common(base: Node, entries: dict[str, Node]) -> Node:
    """Return the base with what all runs of a study have in common.

    The pair spline is a column of its own, and that all replicas of a run stop is a result like any other.
    """
    where = entries["base"].where
    document = replace_value(base, "baseline", Node(value=False, where=where))
    document = replace_value(document, "simulation.all_stopped", Node(value="keep", where=where))
    if "replicas" in entries:
        document = replace_value(document, "simulation.replicas", entries["replicas"])
    return document
