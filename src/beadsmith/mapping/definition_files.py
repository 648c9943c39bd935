"""Definitions of beads in a YAML file of their own: what stands under 'mapping.definitions', to be shared by runs."""

import math
from dataclasses import fields
from typing import Any

from beadsmith.errors import InputError
from beadsmith.mapping.settings import BeadDefinition, MoleculeBeads


def read_definitions(document: dict[str, Any]) -> list[MoleculeBeads]:
    """Return the definitions in a document whose only key is ``definitions``.

    Raises
    ------
    InputError : a key is unknown, a value is of the wrong kind, or a definition cannot be one.
    """
    _refuse_unknown(document, ("definitions",), "the file")
    return [_read_molecule(entry) for entry in _as_list(document["definitions"], "'definitions'")]


def _read_molecule(entry: Any) -> MoleculeBeads:
    where = _name_entry(entry, "a definition")
    _refuse_unknown(entry, [field.name for field in fields(MoleculeBeads)], where)
    values: dict[str, Any] = {"name": _as_text(entry["name"], f"'name' of {where}")}
    values["beads"] = tuple(_read_bead(bead, where) for bead in _as_list(entry.get("beads"), f"'beads' of {where}"))
    for key in ("bonds", "impropers"):
        if key in entry:
            terms = [_as_list(term, f"'{key}' of {where}") for term in _as_list(entry[key], f"'{key}' of {where}")]
            values[key] = tuple(tuple(_as_text(name, f"'{key}' of {where}") for name in term) for term in terms)
            width = {"bonds": 2, "impropers": 4}[key]
            wrong = [term for term in values[key] if len(term) != width]
            if wrong:
                raise InputError(f"'{key}' of {where} hold {list(wrong[0])}, expected {width} beads each")
    return MoleculeBeads(**values)


def _read_bead(entry: Any, owner: str) -> BeadDefinition:
    where = f"{_name_entry(entry, 'a bead')} of {owner}"
    _refuse_unknown(entry, [field.name for field in fields(BeadDefinition)], where)
    values: dict[str, Any] = {}
    for key, value in entry.items():
        what = f"'{key}' of {where}"
        if key == "atoms":
            values[key] = tuple(_as_text(atom, what) for atom in _as_list(value, what))
        elif key == "factors":
            values[key] = tuple(_as_number(factor, what) for factor in _as_list(value, what))
        elif key == "weights":
            values[key] = _as_choice(value, ("mass", "geometry", "atom"), what)
        elif key == "mass":
            values[key] = _as_mass(value, what)
        else:
            values[key] = _as_text(value, what)
    if "atoms" not in values:
        raise InputError(f"'atoms' of {where} are missing")
    return BeadDefinition(**values)


def _name_entry(entry: Any, what: str) -> str:
    if not isinstance(entry, dict) or "name" not in entry:
        raise InputError(f"{what} is {entry!r}, expected a section of keys with a 'name'")
    return f"'{entry['name']}'"


def _refuse_unknown(section: dict[str, Any], known: Any, where: str) -> None:
    unknown = [key for key in section if key not in known]
    if unknown:
        raise InputError(f"{where} has the key '{unknown[0]}', expected {', '.join(known)}")


def _as_list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{what} is {value!r}, expected a list")
    return value


def _as_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} is {value!r}, expected text", fix=f"Write it in quotes: '{value}'.")
    return value


def _as_number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{what} is {value!r}, expected numbers")
    return float(value)


def _as_choice(value: Any, choices: tuple[str, ...], what: str) -> str:
    if value not in choices:
        raise InputError(f"{what} is {value!r}, expected {', '.join(choices)}")
    return str(value)


def _as_mass(value: Any, what: str) -> float:
    words = str(value).split()
    try:
        number = float(words[0]) if len(words) == 2 and words[1] == "u" else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} is {value!r}, expected a number with its unit, for example 15.035 u")
    return number
