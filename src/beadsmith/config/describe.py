"""Turn settings into what people and editors read: canonical values, YAML text, commented templates, JSON Schema."""

import dataclasses
import functools
import json
import textwrap
from typing import Any

import yaml
from pydantic import TypeAdapter

from beadsmith.config.fields import (
    SettingsField,
    dataclass_members,
    literal_choices,
    may_be_none,
    sequence_type,
    settings_fields,
    unit_of,
)
from beadsmith.config.quantities import NUMBER_PATTERN, familiar_units, format_quantity

_WIDTH = 116


def to_document(settings: Any) -> dict[str, Any]:
    """Return settings as nested plain data, dimensional values as text with their unit.

    Reading the result again gives equal settings; equal settings give equal documents.
    """
    return {
        field.name: _plain(getattr(settings, field.name), field.type)
        for field in settings_fields(type(settings)).values()
    }


def flatten_document(document: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested data as one mapping from dotted names to leaves; list entries are named by number."""
    if isinstance(document, dict) and document:
        entries = document.items()
    elif isinstance(document, list) and document:
        entries = {str(number): entry for number, entry in enumerate(document)}.items()
    else:
        return {prefix: document}
    flat: dict[str, Any] = {}
    for name, entry in entries:
        flat.update(flatten_document(entry, f"{prefix}.{name}" if prefix else str(name)))
    return flat


def write_yaml(settings: Any, header: str = "") -> str:
    """Return all settings as YAML text, after a header of comment lines."""
    comments = "".join(f"# {line}\n" for line in header.splitlines())
    body = yaml.safe_dump(to_document(settings), sort_keys=False, allow_unicode=True, width=_WIDTH)
    return comments + body


def write_commented_yaml(settings: Any, header: str = "") -> str:
    """Return YAML in which every key is explained and every key that has its default value is commented out."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()] + ([""] if header else [])
    lines += _commented_section(settings, settings_fields(type(settings)), indent="", is_active=True)
    return "\n".join(lines) + "\n"


def build_json_schema(kind: type, title: str) -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) of a settings dataclass, for completion and checks in editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_section_schema(kind)}


def _plain(value: Any, kind: Any) -> Any:
    if value is None:
        return "none"
    if dataclasses.is_dataclass(value):
        return to_document(value)
    if isinstance(value, tuple):
        arguments = _arguments(kind)
        kinds = [arguments[0]] * len(value) if arguments[-1:] == (Ellipsis,) else list(arguments)
        return [_plain(entry, entry_kind) for entry, entry_kind in zip(value, kinds, strict=True)]
    unit = unit_of(kind)
    return format_quantity(value, unit) if unit is not None else value


def _arguments(kind: Any) -> tuple[Any, ...]:
    return getattr(sequence_type(kind), "__args__", (Any, Ellipsis))


def _commented_section(settings: Any, fields: dict[str, SettingsField], indent: str, is_active: bool) -> list[str]:
    lines: list[str] = []
    for field in fields.values():
        value = getattr(settings, field.name)
        is_default = not field.is_required and value == field.default
        mark = "" if is_active and not is_default else "# "
        plain = _plain(value, field.type)
        if dataclasses.is_dataclass(value):
            lines += ["", *_comment(field.help, indent), f"{indent}{field.name}:"]
            inner = _commented_section(value, settings_fields(type(value)), indent + "  ", is_active)
            members = dataclass_members(field.type)
            if is_active and len(members) > 1 and type(value) is not members[0]:
                # without its kind the section would be read as the first of several classes
                inner = [line.replace("# kind:", "kind:", 1) for line in inner]
            lines += inner
        elif isinstance(plain, list) and plain and isinstance(plain[0], dict):
            lines += [*_comment(field.help, indent), f"{indent}{mark}{field.name}:"]
            lines += [f"{indent}{mark}  - {_inline(entry)}" for entry in plain]
        else:
            lines += [*_comment(_help(field), indent), f"{indent}{mark}{field.name}: {_inline(plain)}"]
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent))]


def _help(field: SettingsField) -> str:
    choices = literal_choices(field.type)
    suffix = f" One of: {', '.join(map(str, choices))}." if len(choices) > 1 else ""
    optional = " 'none' is allowed." if may_be_none(field.type) and "none" not in field.help.lower() else ""
    return field.help + suffix + optional


def _inline(value: Any) -> str:
    """Return a value on one line: `{name: methanol, count: 256}`, `0.9 nm`."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _section_schema(kind: type) -> dict[str, Any]:
    fields = settings_fields(kind)
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in fields.values()},
        "required": [field.name for field in fields.values() if field.is_required],
        "additionalProperties": False,
    }


def _field_schema(field: SettingsField) -> dict[str, Any]:
    schema = _type_schema(field.type)
    schema["description"] = field.help
    if not field.is_required:
        schema["default"] = _plain(field.default, field.type)
    return schema


def _type_schema(kind: Any) -> dict[str, Any]:
    if (members := dataclass_members(kind)) or sequence_type(kind) is not None:
        options = [_section_schema(member) for member in members]
        for option in options[1:]:
            # only the first of several classes may leave out which one it is
            option["required"] = ["kind", *option["required"]]
        if sequence_type(kind) is not None:
            options.append(_sequence_schema(_arguments(kind)))
    elif (unit := unit_of(kind)) is not None:
        units = familiar_units(unit)
        options = [
            {"type": "string", "pattern": rf"^\s*{NUMBER_PATTERN}\s*\S.*$", "examples": [f"1 {u}" for u in units]}
        ]
    else:
        options = [json.loads(_leaf_schema(kind))]
    if may_be_none(kind):
        options.append({"const": "none"})
    return options[0] if len(options) == 1 else {"anyOf": options}


def _sequence_schema(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments[-1:] == (Ellipsis,):
        return {"type": "array", "items": _type_schema(arguments[0])}
    entries = [_type_schema(argument) for argument in arguments]
    return {"type": "array", "prefixItems": entries, "minItems": len(entries), "maxItems": len(entries)}


@functools.lru_cache(maxsize=256)
def _leaf_schema(kind: Any) -> str:
    return json.dumps(TypeAdapter(kind).json_schema())
