"""Put the reference of the configuration and of the commands, made from the code, where a page has a marker for it.

A marker is a line ``<!-- generated: NAME -->``. Nothing is written to disk, so the pages cannot be out of date.
"""

import re

from typer.main import get_command

from beadsmith.cli import app as command_line
from beadsmith.config.describe import build_json_schema
from beadsmith.config.settings import RunSettings
from beadsmith.config.templates import write_template

_MARKER = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def setup(app):
    """Fill in the markers whenever a page is read."""
    app.connect("source-read", _fill_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_page(app, name, source):
    source[0] = fill_markers(source[0])


def fill_markers(text):
    """Return a page with the generated parts in it."""
    makers = {"settings": list_settings, "template": show_template, "commands": list_commands}
    return _MARKER.sub(lambda match: makers[match[1]](), text)


def list_settings():
    """Return a section with a table of keys for each section of the configuration."""
    keys = build_json_schema(RunSettings, "beadsmith run")["properties"]
    sections = {name: entry for name, entry in keys.items() if _properties(entry)}
    parts = ["## top level", "", *_table({name: entry for name, entry in keys.items() if name not in sections})]
    for name, entry in sections.items():
        parts += ["", f"## {name}", "", entry["description"]]
        choices = [option["properties"] for option in _options(entry) if "properties" in option]
        for keys in choices:
            title = ["", f"### {name} of kind {keys['kind']['const']}"] if len(choices) > 1 else []
            parts += [*title, "", *_table(keys)]
    return "\n".join(parts)


def show_template():
    """Return the commented YAML that ``beadsmith init liquid`` writes."""
    return f"```yaml\n{write_template('liquid')[1]}```"


def list_commands():
    """Return a section for each command: usage, description, arguments and options."""
    parts = []
    for name, command in get_command(command_line).commands.items():
        arguments = [param.metavar for param in command.params if param.param_type_name == "argument"]
        usage = " ".join(
            ["beadsmith", name, *arguments, *(["[OPTIONS]"] if len(command.params) > len(arguments) else [])]
        )
        parts += [f"## {name}", "", "```text", usage, "```", "", *_describe_command(command.help)]
        parts += [line for param in command.params for line in _describe_parameter(param)]
    return "\n".join([*parts, "## Exit codes", "", command_line.info.epilog])


def _options(schema):
    return schema.get("anyOf", [schema])


def _properties(schema):
    """Return the keys of a section, or nothing where the schema is not one."""
    return next((option["properties"] for option in _options(schema) if "properties" in option), {})


def _table(keys):
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name, schema in keys.items():
        rows += _rows(name, schema)
    return rows


def _rows(name, schema):
    """Return the row of a key, and of the keys below it where it is a section or a list of sections."""
    default = f"`{_show(schema['default'])}`" if "default" in schema else "required"
    rows = [f"| `{name}` | {default} | {_explain(schema)} |"]
    for option in _options(schema):
        for key, entry in option.get("properties", {}).items():
            rows += _rows(f"{name}.{key}", entry)
        for key, entry in option.get("items", {}).get("properties", {}).items():
            rows += _rows(f"{name}: - {key}", entry)
    return rows


def _show(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explain(schema):
    notes = [schema["description"]]
    for option in _options(schema):
        if examples := option.get("examples"):
            notes.append(f"Units: {', '.join(example.removeprefix('1 ') for example in examples)}.")
        if len(choices := option.get("enum", [])) > 1:
            notes.append(f"One of: {', '.join(f'`{choice}`' for choice in choices)}.")
        if option.get("const") == "none" and "none" not in schema["description"]:
            notes.append("`none` is allowed.")
    return " ".join(notes).replace("|", "\\|")


def _describe_command(text):
    """Return the help of a command as paragraphs, its examples as code."""
    lines, examples = [], []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        example = re.sub(r"^Examples?: ", "", words)
        if example.startswith("beadsmith "):
            examples.append(example)
        else:
            lines += [words, ""]
    return [*lines, "```bash", *examples, "```", ""] if examples else lines


def _describe_parameter(param):
    """Return an argument or option as an entry of a definition list."""
    name = param.metavar if param.param_type_name == "argument" else " ".join([param.opts[0], param.metavar or ""])
    default = "" if param.default in (None, False) else f" Default: {param.default}."
    return [f"`{name.strip()}`", f": {param.help}{default}", ""]
