"""Turn the sections of this project's docstrings (``name : text`` under a heading) into Sphinx fields."""

import re

_FIELDS = {"Parameters": "param", "Raises": "raises", "Returns": "returns"}
_ENTRY = re.compile(r"([\w, *]+?) : (.*)")


def setup(app):
    """Rewrite every docstring before it is parsed."""
    app.connect("autodoc-process-docstring", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rewrite(app, what, name, obj, options, lines):
    lines[:] = write_fields(lines)


def write_fields(lines):
    """Return docstring lines with sections as field lists.

    An entry is ``name : text``, its continuation is indented. The text of ``Returns`` is one field as it stands.
    """
    result, section, number = [], None, 0
    while number < len(lines):
        line = lines[number]
        underline = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if line in _FIELDS and underline and not underline.strip("-"):
            section, number = line, number + 2
            if section == "Returns":
                result.append(":returns:")
            continue
        if section and not line.strip():
            # a blank line ends a section, except between its entries
            following = lines[number + 1] if number + 1 < len(lines) else ""
            section = section if _is_inside(section, following) else None
            result.append("")
        elif section == "Returns":
            result.append(f"    {line}")
        elif section and (entry := _ENTRY.fullmatch(line)):
            names = entry[1].split(", ") if section == "Parameters" else [entry[1]]
            result += [f":{_FIELDS[section]} {name.lstrip('*')}: {entry[2]}" for name in names]
        else:
            result.append(line)
        number += 1
    return result


def _is_inside(section, line):
    return section == "Parameters" and _ENTRY.fullmatch(line) is not None
