"""Build settings dataclasses from a document, and say file, line and remedy when that fails.

Generic over dataclasses: the stages' own settings are the schema. Quantities are read by pint, every other leaf is
validated by a pydantic TypeAdapter in strict mode.
"""

import dataclasses
import difflib
import functools
import re
import typing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from beadsmith.config.document import Node
from beadsmith.config.fields import (
    alternatives,
    dataclass_members,
    literal_choices,
    may_be_none,
    sequence_type,
    settings_fields,
    unit_of,
)
from beadsmith.config.quantities import bare_number_error, parse_quantity
from beadsmith.errors import InputError

T = TypeVar("T")

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "finite_number": "a finite number",
}


def build_settings(kind: type[T], root: Node, *, path: str = "") -> T:
    """Return the settings object that a mapping describes.

    Parameters
    ----------
    kind : A settings dataclass.
    root : The mapping.
    path : Dotted name of the mapping in the whole document, for messages.

    Raises
    ------
    InputError : a key is unknown or missing, a value has the wrong type or unit, or the settings refuse it.
    """
    section = f"'{path}'" if path else "the configuration"
    if root.value == "":
        root = dataclasses.replace(root, value={})
    if not isinstance(root.value, dict):
        raise InputError(
            f"{section} is {_show(root.value)}, expected a section of keys", where=root.where,
            fix=f"Its keys are: {', '.join(settings_fields(kind))}.",
        )  # fmt: skip
    fields = settings_fields(kind)
    for key, node in root.value.items():
        if key not in fields:
            raise _unknown_key_error(key, tuple(fields), section, node.where)
    values = {}
    for name, field in fields.items():
        child_path = f"{path}.{name}" if path else name
        if name in root.value:
            values[name] = _build_value(field.type, root.value[name], child_path, default=field.default)
        elif field.is_required:
            raise InputError(
                f"{section} has no '{name}', which has no default", where=root.where, fix=f"Add a line '{name}: ...'."
            )
    try:
        return kind(**values)
    except InputError as error:
        raise _located(error, root, tuple(fields), path) from error


def locate(root: Node, path: str) -> str:
    """Return where the value of a dotted name stands, or the closest section around it."""
    node = root
    for part in path.split("."):
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[part]
        elif isinstance(node.value, list) and part.isdecimal() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            break
    return node.where


def _build_value(kind: Any, node: Node, path: str, default: Any) -> Any:
    if may_be_none(kind) and (node.value is None or (isinstance(node.value, str) and node.value.lower() == "none")):
        return None
    if choices := dataclass_members(kind):
        return build_settings(_choose(choices, node, path), node, path=path)
    if node.value is None or node.value == "":
        raise InputError(f"'{path}' has no value", where=node.where, fix="Give one, or delete the line.")
    unit = unit_of(kind)
    if unit is not None and not sequence_type(kind):
        return _build_quantity(node, path, unit, default)
    if sequence := sequence_type(kind):
        return _build_sequence(sequence, node, path)
    return _build_leaf(kind, node, path)


def _build_quantity(node: Node, path: str, unit: str, default: Any) -> float:
    likely = default if isinstance(default, float | int) else None
    if isinstance(node.value, str):
        return parse_quantity(node.value, unit, name=path, where=node.where, default=likely)
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        raise bare_number_error(float(node.value), unit, name=path, where=node.where, default=likely)
    raise InputError(f"'{path}' is {_show(node.value)}, expected a number with a unit", where=node.where)


def _build_sequence(kind: Any, node: Node, path: str) -> tuple[Any, ...]:
    arguments = typing.get_args(kind)
    is_open = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(node.value, list):
        raise InputError(
            f"'{path}' is {_show(node.value)}, expected a list", where=node.where,
            fix="Write one '- entry' per line, or [entry, entry].",
        )  # fmt: skip
    if not is_open and len(node.value) != len(arguments):
        raise InputError(f"'{path}' has {len(node.value)} entries, expected {len(arguments)}", where=node.where)
    kinds = [arguments[0]] * len(node.value) if is_open else list(arguments)
    return tuple(
        _build_value(entry_kind, entry, f"{path}.{number}", default=None)
        for number, (entry_kind, entry) in enumerate(zip(kinds, node.value, strict=True))
    )


def _build_leaf(kind: Any, node: Node, path: str) -> Any:
    try:
        return _adapter(kind).validate_python(node.value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        choices = tuple(str(choice) for choice in literal_choices(kind))
        if choices:
            close = difflib.get_close_matches(str(node.value), choices, n=1)
            raise InputError(
                f"'{path}' is {_show(node.value)}, expected one of: {', '.join(choices)}",
                where=node.where,
                fix=f"Did you mean '{close[0]}'?" if close else None,
            ) from error
        expected = _EXPECTED.get(detail["type"], detail["msg"].replace("Input should be ", ""))
        raise InputError(f"'{path}' is {_show(node.value)}, expected {expected}", where=node.where) from error


@functools.lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    strict = Path not in alternatives(kind)
    return TypeAdapter(kind, config=ConfigDict(strict=strict, allow_inf_nan=False))


def _choose(choices: list[type], node: Node, path: str) -> type:
    """Pick among several settings classes by the key ``kind``."""
    if len(choices) == 1:
        return choices[0]
    by_kind = {str(settings_fields(choice)["kind"].default): choice for choice in choices}
    chosen = node.value.get("kind") if isinstance(node.value, dict) else None
    if chosen is None:
        _refuse_forgotten_kind(by_kind, node, path)
        return choices[0]
    if str(chosen.value) not in by_kind:
        close = difflib.get_close_matches(str(chosen.value), by_kind, n=1)
        raise InputError(
            f"'{path}.kind' is {_show(chosen.value)}, expected one of: {', '.join(by_kind)}",
            where=chosen.where,
            fix=f"Did you mean '{close[0]}'?" if close else None,
        )
    return by_kind[str(chosen.value)]


def _refuse_forgotten_kind(by_kind: dict[str, type], node: Node, path: str) -> None:
    """Refuse a section without a kind that has a key of another than the first kind, and of no third one."""
    names = {kind: set(settings_fields(choice)) for kind, choice in by_kind.items()}
    first, *others = by_kind
    for key, child in node.value.items() if isinstance(node.value, dict) else ():
        owners = [kind for kind in others if key in names[kind]]
        if key not in names[first] and len(owners) == 1:
            raise InputError(
                f"'{path}' has no 'kind', which makes it {first}, and '{key}' is a key of kind {owners[0]}",
                where=child.where,
                fix=f"Add a line 'kind: {owners[0]}'.",
            )


def _located(error: InputError, root: Node, names: tuple[str, ...], path: str) -> InputError:
    """Give an error from a settings object the line of the key it speaks of."""
    found = [(match.start(), name) for name in names if (match := re.search(rf"\b{name}\b", error.what))]
    if not found:
        return InputError(f"{path}: {error.what}" if path else error.what, where=root.where, fix=error.fix)
    start, name = min(found)
    quoted = f"'{path}.{name}'" if path else f"'{name}'"
    before, after = error.what[:start].removesuffix("'"), error.what[start + len(name) :].removeprefix("'")
    if path:
        before = before.removesuffix(f"{path}.").removesuffix(f"{path} ")
    return InputError(before + quoted + after, where=locate(root, name), fix=error.fix)


def _unknown_key_error(key: str, known: tuple[str, ...], section: str, where: str) -> InputError:
    close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return InputError(f"unknown key '{key}' in {section}", where=where, fix=f"{hint}Valid keys: {', '.join(known)}.")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"'{str(value)[:60]}'"
