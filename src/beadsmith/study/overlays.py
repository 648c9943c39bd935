"""Named changes of a configuration, and all their combinations.

An option of an axis is a few keys of the configuration with other values: ``network.cutoff: 0.7 nm`` sets one key,
``network: {kind: mace}`` replaces the whole section, so that nothing of another network's section is left in it.
"""

import difflib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from beadsmith.config.document import Node
from beadsmith.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """One option of an axis."""

    axis: str
    """The axis."""
    name: str
    """Name of the option on it."""
    values: dict[str, Node]
    """New value of each dotted key."""
    needs: tuple[str, str] | None = None
    """Key and value that the configuration must have already for the option to apply: ``("network.kind", "mace")``."""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One point of all axes."""

    options: dict[str, str]
    """Name of the option on each axis that applies."""
    document: Node
    """The configuration."""


def check_name(name: str, where: str) -> str:
    """Return a name that can be part of a folder's.

    Raises
    ------
    InputError : it has other characters.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the name '{name}' has other characters than letters, digits, '_' and '.'", where=where,
            fix="Names of options become names of folders, with '-' between them.",
        )  # fmt: skip
    return name


def replace_value(root: Node, key: str, value: Node) -> Node:
    """Return a document with the value of one dotted key replaced.

    Raises
    ------
    InputError : a part of the key is no section.
    """
    head, _, rest = key.partition(".")
    if not rest:
        return replace(root, value={**_entries(root, value.where), head: value})
    entries = _entries(root, value.where)
    inner = entries.get(head, Node(value={}, where=value.where))
    return replace(root, value={**entries, head: replace_value(inner, rest, value)})


def find_value(root: Node, key: str) -> Node | None:
    """Return the value of a dotted key, or None where there is none."""
    node: Node | None = root
    for part in key.split("."):
        node = node.value.get(part) if node is not None and isinstance(node.value, dict) else None
    return node


def combine(base: Node, axes: Sequence[Sequence[Overlay]], skipped: Sequence[dict[str, str]] = ()) -> list[Combination]:
    """Return the configurations of all combinations of options, each once.

    Where an option does not apply (a correlation order to a network that has none), it does not multiply the runs.

    Parameters
    ----------
    base : The configuration that all begin from.
    axes : Options of each axis, in order.
    skipped : Combinations to leave out, each the options that they have in common.
    """
    found: dict[tuple[tuple[str, str], ...], Combination] = {}
    for chosen in itertools.product(*axes):
        document, options = base, {}
        for overlay in chosen:
            if not _applies(overlay, document):
                continue
            options[overlay.axis] = overlay.name
            for key, value in overlay.values.items():
                document = replace_value(document, key, value)
        if not any(entry.items() <= options.items() for entry in skipped):
            found.setdefault(tuple(options.items()), Combination(options=options, document=document))
    return list(found.values())


def check_skipped(entries: Sequence[dict[str, Node]], axes: Sequence[Sequence[Overlay]]) -> list[dict[str, str]]:
    """Return combinations to leave out by the names of their options.

    Raises
    ------
    InputError : one names an axis or an option that is not there.
    """
    known = {options[0].axis: [overlay.name for overlay in options] for options in axes}
    for entry in entries:
        for axis, node in entry.items():
            if axis not in known:
                raise InputError(f"'skip' names the axis '{axis}'", where=node.where, fix=f"Axes: {', '.join(known)}.")
            if str(node.value) not in known[axis]:
                close = difflib.get_close_matches(str(node.value), known[axis], n=1)
                raise InputError(
                    f"'skip' names '{node.value}', expected one of the options of {axis}: {', '.join(known[axis])}",
                    where=node.where,
                    fix=f"Did you mean '{close[0]}'?" if close else None,
                )
    return [{axis: str(node.value) for axis, node in entry.items()} for entry in entries]


def _applies(overlay: Overlay, document: Node) -> bool:
    if overlay.needs is None:
        return True
    key, wanted = overlay.needs
    network = find_value(document, "network")
    if network is not None and not isinstance(network.value, dict):
        return False
    found = find_value(document, key)
    # hipnn is what a network without a kind is
    value = "hipnn" if found is None and key == "network.kind" else None if found is None else str(found.value)
    return wanted in ("", value)


def _entries(node: Node, where: str) -> dict[str, Node]:
    if isinstance(node.value, dict):
        return node.value
    if node.value in (None, ""):
        return {}
    raise InputError(f"a key is set inside '{node.value}', which is no section", where=where)
