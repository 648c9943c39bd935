"""Numbers with units in text: ``0.9 nm`` or ``9 angstrom`` to plain floats in beadsmith's own units, and back."""

import difflib
import functools
import math
import re
from typing import Any

import pint

from beadsmith.errors import InputError
from beadsmith.units import AVOGADRO

NUMBER_PATTERN = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"^\s*({NUMBER_PATTERN})\s*([^\d\s+\-.][^+]*)?$")
_MAX_UNIT_LENGTH = 40

_FAMILIAR: dict[str, tuple[str, ...]] = {
    "nm": ("nm", "angstrom"),
    "ps": ("ps", "fs", "ns"),
    "1/ps": ("1/ps",),
    "K": ("K",),
    "u": ("u",),
    "u/nm**3": ("g/cm^3", "kg/m^3"),
    "kJ/mol": ("kJ/mol", "kcal/mol"),
    "kJ/mol/nm": ("kJ/mol/nm", "kcal/mol/angstrom"),
    "kJ/mol/nm**3": ("bar", "MPa"),
    "s": ("s", "min", "h"),
    "GB": ("GB", "MB"),
}
"""What people write for each internal unit; the first is used when a value is shown."""

_EXAMPLES = {
    "nm": "0.9 nm",
    "ps": "2 fs",
    "1/ps": "2 /ps",
    "K": "300 K",
    "u/nm**3": "0.76 g/cm^3",
    "kJ/mol/nm**3": "1 bar",
}
"""A value of ordinary size, for messages and to guess the unit of a bare number."""

_DIMENSIONS = {
    "K": "temperature",
    "nm": "length",
    "ps": "time",
    "1/ps": "inverse time",
    "u": "mass",
    "u/nm**3": "density",
    "nm**3": "volume",
    "nm/ps": "velocity",
    "Pa": "pressure",
    "Pa/mol": "pressure",
    "J": "energy",
    "kJ/mol": "energy per mole",
    "kJ/mol/nm": "force per mole",
    "ampere": "electric current",
    "radian": "memory or a pure number",
}
"""What a unit measures, in words."""

_SLIPS = {"A": "angstrom", "k": "K", "C": "degC", "PS": "ps"}
"""Units that pint reads as something else than was meant (ampere, Boltzmann constant, coulomb, petasiemens)."""


@functools.cache
def _registry() -> pint.UnitRegistry:
    registry: pint.UnitRegistry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True, on_redefinition="ignore")
    # as in beadsmith.units: 1 u is 1 g/mol exactly; pint takes the measured atomic mass constant, 1e-9 off
    registry.define(f"unified_atomic_mass_unit = {1e-3 / AVOGADRO} * kilogram = u = amu")
    return registry


def parse_quantity(text: str, symbol: str, *, name: str, where: str, default: float | None = None) -> float:
    """Return the number in internal units that a text such as ``9 angstrom`` stands for.

    Parameters
    ----------
    text : A number and a unit; nothing else is evaluated.
    symbol : Internal unit in pint notation, for example ``"nm"``.
    name : Dotted name of the setting, for messages.
    where : File and line, or option, for messages.
    default : Default of the setting, which messages show as an example.

    Raises
    ------
    InputError : the text is not a number with a unit, or the unit is unknown or of another dimension.
    """
    shown = _example(symbol) if not default else format_quantity(default, symbol)
    example = f"Write for example '{name.rpartition('.')[2]}: {shown}'."
    match = _QUANTITY.match(text)
    if match is None:
        raise InputError(f"'{name}' is '{text[:60]}', expected a number with a unit", where=where, fix=example)
    number, unit_text = float(match[1]), (match[2] or "").strip()
    if not unit_text:
        raise bare_number_error(number, symbol, name=name, where=where, default=default)
    unit = _parse_unit(unit_text, name=name, where=where, example=example)
    value = _convert(number, unit, symbol)
    if value is None:
        hint = f" Did you mean '{_SLIPS[unit_text]}'?" if unit_text in _SLIPS else ""
        raise InputError(
            f"'{name}' is '{text.strip()}', and '{unit_text}' is a unit of {_dimension(unit)}; expected a unit of "
            f"{_dimension(_registry().parse_units(symbol))}, such as {' or '.join(familiar_units(symbol))}",
            where=where,
            fix=example + hint,
        )
    if not math.isfinite(value):
        raise InputError(f"'{name}' is '{text.strip()}', expected a finite number", where=where)
    return value


def bare_number_error(number: float, symbol: str, *, name: str, where: str, default: float | None) -> InputError:
    """Return the error for a number without a unit, naming the unit that was probably meant.

    That is the familiar unit in which the number comes closest (in orders of magnitude) to the default.
    """
    likely = default or _in_internal(_example(symbol), symbol)
    units = familiar_units(symbol)
    if number == 0.0 or not math.isfinite(number):
        guess = units[0]
    else:
        guess = min(
            units, key=lambda unit: abs(math.log(abs(number) * _in_internal(f"1 {unit}", symbol) / abs(likely)))
        )
    leaf = name.rpartition(".")[2]
    return InputError(
        f"'{name}' is {number:g} without a unit, expected a number with a unit",
        where=where,
        fix=f"You probably meant '{leaf}: {number:g} {guess}' (units such as {', '.join(units)} are read).",
    )


def familiar_units(symbol: str) -> tuple[str, ...]:
    """Return units that people write for an internal unit."""
    return _FAMILIAR.get(symbol, (symbol.replace("**", "^"),))


def format_quantity(value: float, symbol: str) -> str:
    """Return a value with the unit that people write: ``0.9 nm``, ``2 fs``, ``1 bar``.

    Parsing the result gives `value` back to 12 digits.
    """
    unit = familiar_units(symbol)[0]
    if symbol == "ps" and 0.0 < abs(value) < 0.1:
        unit = "fs"
    return f"{value / _in_internal(f'1 {unit}', symbol):.12g} {unit.removeprefix('1')}"


def _example(symbol: str) -> str:
    return _EXAMPLES.get(symbol, f"1 {familiar_units(symbol)[0]}")


@functools.cache
def _in_internal(text: str, symbol: str) -> float:
    """Return the internal value of one of this module's own texts."""
    number, unit = text.split(" ")
    value = _convert(float(number), _parse_units(unit), symbol)
    assert value is not None
    return value


def _convert(number: float, unit: Any, symbol: str) -> float | None:
    """Return the number in internal units, or None if the dimensions differ."""
    internal = _registry().parse_units(symbol)
    quantity = _registry().Quantity(number, unit)
    if _is_per_mole_of(internal, unit):
        # bar and MPa count per volume, the internal pressure unit per mole and volume
        quantity = quantity * _registry().Quantity(AVOGADRO, "1/mol")
    if quantity.dimensionality != internal.dimensionality:
        return None
    # 12 digits: 9 angstrom and 0.9 nm must be the same setting
    return float(f"{quantity.to(internal).magnitude:.12g}")


def _parse_units(text: str) -> Any:
    return _registry().parse_units("1" + text if text.startswith("/") else text)


def _parse_unit(text: str, *, name: str, where: str, example: str) -> Any:
    if len(text) > _MAX_UNIT_LENGTH:
        raise InputError(f"'{name}' has a unit of {len(text)} characters", where=where, fix=example)
    try:
        return _parse_units(text)
    except Exception as error:  # pint raises its own, syntax, type and arithmetic errors alike
        known = sorted({unit for units in _FAMILIAR.values() for unit in units})
        close = [unit for unit in known if unit.lower() == text.lower()] or difflib.get_close_matches(text, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise InputError(f"'{name}' has the unknown unit '{text}'", where=where, fix=example + hint) from error


def _is_per_mole_of(internal: Any, unit: Any) -> bool:
    return bool(
        internal.dimensionality == _registry().parse_units("Pa/mol").dimensionality
        and unit.dimensionality == _registry().parse_units("Pa").dimensionality
    )


def _dimension(unit: Any) -> str:
    for symbol, title in _DIMENSIONS.items():
        if unit.dimensionality == _registry().parse_units(symbol).dimensionality:
            return title
    return str(unit.dimensionality)
