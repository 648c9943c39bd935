"""Read YAML into a tree in which every value remembers its file and line.

Safe by construction: only the structure of the text is read (PyYAML's composer), no tag can build an object, aliases
are refused, and scalars follow YAML 1.2, so that ``1e-3`` is a number and ``no`` is a word.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from beadsmith.errors import InputError
from beadsmith.io.records import describe_os_error

_MAX_BYTES = 1_000_000
_SCALAR_TAGS = ("str", "int", "float", "bool", "null")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value of a document and where it stands."""

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    """Mapping, list or scalar; an empty value is the empty string, an explicit ``null`` is None."""
    where: str
    """``file:line`` or the command-line option that set it."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 scalars; only its composer is used."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        """Compose a node; refuse aliases, which could make a small file huge."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=mark)
        return super().compose_node(parent, index)  # type: ignore[arg-type]


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL", "~nN"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_document(path: Path) -> Node:
    """Read a YAML file.

    Raises
    ------
    InputError : the file cannot be read, is not valid YAML, is empty, or is not a mapping at its top.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise describe_os_error(error, path) from error
    if len(content) > _MAX_BYTES:
        raise InputError(
            f"the file has {len(content)} bytes, a configuration has at most {_MAX_BYTES}", where=str(path)
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text", where=str(path), fix="Save it as UTF-8.") from error
    node = parse_document(text, name=str(path))
    if node is None:
        raise InputError("the configuration is empty", where=str(path), fix="'beadsmith init' writes a first one.")
    if not isinstance(node.value, dict):
        raise InputError(
            "the configuration must be a mapping of 'key: value' lines at its top",
            where=node.where,
            fix="'beadsmith init' writes a first one.",
        )
    return node


def parse_document(text: str, *, name: str, is_option: bool = False) -> Node | None:
    """Parse YAML text; return None if it is empty.

    Parameters
    ----------
    text : The YAML text.
    name : File name, or option, that errors are to name.
    is_option : True if the text stands in a command-line option, so that a line number means nothing.

    Raises
    ------
    InputError : the text is not valid YAML, repeats a key, or uses a tag or an alias.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        raise _describe_yaml_error(error, name, is_option) from error
    except RecursionError as error:
        raise InputError("the brackets are nested too deeply", where=name) from error
    finally:
        if loader is not None:
            loader.dispose()
    return None if root is None else _convert(root, name, is_option)


def set_value(root: Node, option: str) -> Node:
    """Return the tree with one value replaced, as ``a.b=c`` says; list entries are named by number (``a.0.b=c``).

    Raises
    ------
    InputError : the option is not of the form ``key=value``, or a list has no such entry.
    """
    where = f"option '--set {option}'"
    key, separator, text = option.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise InputError(
            "the option is not of the form 'key=value'", where=where, fix="Write for example: --set training.epochs=10"
        )
    value = parse_document(text, name=where, is_option=True) or Node(value="", where=where)
    return _replaced(root, parts, value, where)


def _replaced(node: Node, parts: list[str], value: Node, where: str) -> Node:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(node.value, list):
        if not head.isdecimal() or int(head) >= len(node.value):
            raise InputError(f"the list has entries 0 to {len(node.value) - 1}, not '{head}'", where=where)
        entries = list(node.value)
        entries[int(head)] = _replaced(entries[int(head)], rest, value, where)
        return replace(node, value=entries)
    mapping = dict(node.value) if isinstance(node.value, dict) else {}
    mapping[head] = _replaced(mapping.get(head, Node(value=None, where=where)), rest, value, where)
    return Node(value=mapping, where=node.where if isinstance(node.value, dict) else where)


def _convert(node: yaml.Node, name: str, is_option: bool) -> Node:
    where = name if is_option else f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
        mapping: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key_where = name if is_option else f"{name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise InputError("a key must be a single word", where=key_where)
            key = str(key_node.value)
            if key in mapping:
                raise InputError(
                    f"key '{key}' appears twice (first at {mapping[key].where})",
                    where=key_where,
                    fix="Delete one of them.",
                )
            # a section is best found by the line of its key, not of its first entry
            mapping[key] = replace(_convert(value_node, name, is_option), where=key_where)
        return Node(value=mapping, where=where)
    if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
        return Node(value=[_convert(entry, name, is_option) for entry in node.value], where=where)
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if not isinstance(node, yaml.ScalarNode) or kind not in _SCALAR_TAGS:
        raise InputError(
            f"the YAML tag '{kind}' is not allowed in a configuration",
            where=where,
            fix="Write the plain value without '!'.",
        )
    return Node(value=_scalar(kind, node.value, where), where=where)


def _scalar(kind: str, text: str, where: str) -> str | int | float | bool | None:
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise InputError(f"'{text[:40]}' is not a number", where=where) from error
    return text


def _describe_yaml_error(error: yaml.YAMLError, name: str, is_option: bool) -> InputError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    where = name if is_option or mark is None else f"{name}:{mark.line + 1}"
    fix = "Check the indentation, the colons and the quotes around this line."
    if "\\t" in problem:
        problem, fix = "a tab character stands where YAML wants spaces", "Indent with spaces only."
    elif "alias" in problem or "anchor" in problem:
        fix = "Write the value out where it is needed."
    return InputError(f"this is not valid YAML: {problem}", where=where, fix=fix)
