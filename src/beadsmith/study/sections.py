"""Read the sections of a study file: what they hold must have been meant."""

import difflib
from collections.abc import Collection

from beadsmith.config.document import Node
from beadsmith.errors import InputError


def read_section(node: Node, name: str) -> dict[str, Node]:
    """Return the keys of a section.

    Raises
    ------
    InputError : it is no section, or empty.
    """
    if not isinstance(node.value, dict) or not node.value:
        raise InputError(f"{name} is no section of 'key: value' lines", where=node.where)
    return node.value


def read_list(node: Node, name: str) -> list[Node]:
    """Return the entries of a list.

    Raises
    ------
    InputError : it is no list, or empty.
    """
    if not isinstance(node.value, list) or not node.value:
        raise InputError(f"'{name}' is no list, or empty", where=node.where, fix="Write for example [first, second].")
    return node.value


def read_word(node: Node, name: str) -> str:
    """Return a value that is one word, number or quantity, as text.

    Raises
    ------
    InputError : it is a section, a list or empty.
    """
    if isinstance(node.value, dict | list) or node.value in (None, ""):
        raise InputError(f"'{name}' is no single value", where=node.where)
    return str(node.value)


def refuse_unknown(entries: dict[str, Node], known: Collection[str], section: str) -> None:
    """Check that all keys of a section are known.

    Raises
    ------
    InputError : one is not; the closest known one is named.
    """
    for key, node in entries.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"Did you mean '{close[0]}'? " if close else ""
            raise InputError(
                f"unknown key '{key}' in {section}", where=node.where, fix=f"{hint}Keys: {', '.join(known)}."
            )
