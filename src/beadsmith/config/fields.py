"""What a settings dataclass offers to a user: names, types, units, defaults, and the docstring under each field."""

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from typing import Any, Literal

from beadsmith.units import Unit


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingsField:
    """One key of a settings section."""

    name: str
    """Key in the YAML."""
    type: Any
    """Type with its annotations."""
    default: Any
    """Default value, or `dataclasses.MISSING` if the user must give one."""
    help: str
    """The docstring under the field, without its unit."""

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING


def settings_fields(kind: Any) -> dict[str, SettingsField]:
    """Return the keys of a settings dataclass in order."""
    hints = typing.get_type_hints(kind, include_extras=True)
    docs = field_docstrings(kind)
    return {
        field.name: SettingsField(
            name=field.name,
            type=hints[field.name],
            default=field.default_factory() if callable(field.default_factory) else field.default,
            help=docs.get(field.name, ""),
        )
        for field in dataclasses.fields(kind)
        if field.init
    }


@functools.cache
def field_docstrings(kind: Any) -> dict[str, str]:
    """Return the string literal that follows each annotated field in the source of a class, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    docs: dict[str, str] = {}
    body = getattr(tree, "body", [])
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            docs[statement.target.id] = " ".join(following.value.value.split())
    return docs


def unit_of(kind: Any) -> str | None:
    """Return the internal unit of a dimensional type (also inside ``| None``), or None for any other type."""
    if typing.get_origin(kind) is typing.Annotated:
        units = [extra.symbol for extra in kind.__metadata__ if isinstance(extra, Unit)]
        return units[0] if units else unit_of(kind.__origin__)
    found = [unit_of(member) for member in typing.get_args(kind)] if is_union(kind) else []
    return next((unit for unit in found if unit), None)


def is_union(kind: Any) -> bool:
    """Whether a type is ``A | B``."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the members of ``A | B``, or the type itself."""
    return typing.get_args(kind) if is_union(kind) else (kind,)


def dataclass_members(kind: Any) -> list[type]:
    """Return the settings dataclasses among the alternatives of a type."""
    return [member for member in alternatives(kind) if isinstance(member, type) and dataclasses.is_dataclass(member)]


def may_be_none(kind: Any) -> bool:
    """Whether ``none`` is a value of the type."""
    if typing.get_origin(kind) is typing.Annotated:
        return may_be_none(kind.__origin__)
    return type(None) in alternatives(kind)


def sequence_type(kind: Any) -> Any:
    """Return the ``tuple[...]`` among the alternatives of a type, or None."""
    return next((member for member in alternatives(kind) if typing.get_origin(member) is tuple), None)


def literal_choices(kind: Any) -> tuple[Any, ...]:
    """Return the values of the ``Literal[...]`` among the alternatives of a type."""
    literals = [member for member in alternatives(kind) if typing.get_origin(member) is Literal]
    return tuple(choice for literal in literals for choice in typing.get_args(literal))
