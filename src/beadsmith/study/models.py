"""The axes that every study may have: mappings, networks, correlation orders, cutoffs, and any others by name."""

import re

from beadsmith.config.document import Node
from beadsmith.errors import InputError
from beadsmith.study.overlays import Overlay, check_name
from beadsmith.study.sections import read_list, read_section, read_word

AXIS_KEYS = ("mappings", "networks", "correlations", "cutoffs", "axes", "skip")
"""Keys of a study file that make axes, and combinations to leave out."""

_WHOLE_SECTIONS = {"mappings": "mapping", "networks": "network"}
_SET_BY_THE_STUDY = ("name", "baseline", "train_with", "trained_in")


def read_axes(entries: dict[str, Node]) -> list[list[Overlay]]:
    """Return the options of each axis, in the order mapping, network, correlation, cutoff, others.

    Raises
    ------
    InputError : an entry is malformed, or a key is the study's own.
    """
    axes = [
        [
            Overlay(axis=section, name=check_name(name, node.where), values={section: node})
            for name, node in read_section(entries[key], f"'{key}'").items()
        ]
        for key, section in _WHOLE_SECTIONS.items()
        if key in entries
    ]
    if "correlations" in entries:
        nodes = read_list(entries["correlations"], "correlations")
        axes.append(
            [
                Overlay(
                    axis="correlation",
                    name=check_name(f"nu{read_word(node, 'correlations')}", node.where),
                    values={"network.correlation": node},
                    needs=("network.kind", "mace"),
                )
                for node in nodes
            ]
        )
    if "cutoffs" in entries:
        axes.append(
            [
                Overlay(
                    axis="cutoff",
                    name=name_quantity(read_word(node, "cutoffs"), node.where),
                    values={"network.cutoff": node},
                    needs=("network", ""),
                )
                for node in read_list(entries["cutoffs"], "cutoffs")
            ]
        )
    for axis, node in read_section(entries["axes"], "'axes'").items() if "axes" in entries else ():
        check_name(axis, node.where)
        axes.append([_read_option(axis, name, option) for name, option in read_section(node, f"'axes.{axis}'").items()])
    _refuse_repeated(axes, entries)
    return axes


def read_skipped(entries: dict[str, Node]) -> list[dict[str, Node]]:
    """Return the combinations to leave out, each by axis.

    Raises
    ------
    InputError : the list is malformed.
    """
    if "skip" not in entries:
        return []
    return [read_section(node, "an entry of 'skip'") for node in read_list(entries["skip"], "skip")]


def name_quantity(text: str, where: str) -> str:
    """Return a quantity as part of a folder's name: ``0.55 nm`` becomes ``0.55nm``, ``1 g/cm^3`` ``1g_cm3``."""
    return check_name(re.sub(r"[\s^*]", "", text).replace("/", "_"), where)


def _read_option(axis: str, name: str, node: Node) -> Overlay:
    # an empty option leaves the base as it is
    values = {} if node.value == {} else read_section(node, f"'axes.{axis}.{name}'")
    for key, value in values.items():
        if key in _SET_BY_THE_STUDY:
            raise InputError(f"'{key}' is set by the study itself", where=value.where, fix="Delete this line.")
    # a setting inside a network has no meaning for a column without one
    is_inside = bool(values) and all(key.startswith("network.") for key in values)
    return Overlay(
        axis=axis, name=check_name(name, node.where), values=values, needs=("network", "") if is_inside else None
    )


def _refuse_repeated(axes: list[list[Overlay]], entries: dict[str, Node]) -> None:
    names = [options[0].axis for options in axes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"there are two axes called '{name}'", where=entries["axes"].where)
    for options in axes:
        labels = [overlay.name for overlay in options]
        if len(set(labels)) < len(labels):
            raise InputError(f"the axis '{options[0].axis}' has an option twice: {', '.join(labels)}")
