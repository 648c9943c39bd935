"""How numbers read in the report: rounded to their error bar, with a typeset unit."""

import math
from typing import Any

_TYPESET = {
    "1": "",
    "nm^2": "nm²",
    "nm^3": "nm³",
    "1e-5 cm^2/s": "10⁻⁵ cm²/s",
    "(kJ/mol/nm)^2": "(kJ/mol/nm)²",
    "nm^2/ps": "nm²/ps",
}

MISSING = "–"

_NO_BREAK = "\u00a0"


def typeset_unit(unit: str) -> str:
    """Return a unit as it reads on the page; a pure number has none."""
    return _TYPESET.get(unit, unit)


def typeset_kind(kind: str) -> str:
    """Return a kind of pair or triplet as it reads on the page: ``"a–b"``."""
    return kind.replace("-", "–")


def format_number(value: float | str | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, a true minus sign and thin spaces between thousands."""
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return MISSING
    if float(value).is_integer() and abs(value) < 1e7:
        return _group(value, 0)
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 7:
        return f"{value:.{max(0, digits - 1)}e}".replace("-", "−")
    return _group(value, max(0, digits - 1 - magnitude))


def typeset_condition(text: str) -> str:
    """Return a condition with true signs of comparison."""
    return text.replace(">=", "≥").replace("<=", "≤")


def format_measurement(entry: dict[str, Any] | None, *, unit: bool = True) -> str:
    """Return ``"0.0121 ± 0.0008 nm"``: the error to two digits if it begins with 1, else to one."""
    if entry is None or entry.get("value") is None:
        return MISSING
    error = entry.get("standard_error", entry.get("error"))
    name = typeset_unit(entry["unit"]) if unit and "unit" in entry else ""
    suffix = f"{_NO_BREAK}{name}" if name else ""
    if error is None or not math.isfinite(error) or error == 0.0:
        return format_number(entry["value"]) + suffix
    first = math.floor(math.log10(error))
    decimals = max(0, -first + (1 if error / 10.0**first < 2.0 else 0))
    return f"{_group(entry['value'], decimals)}{_NO_BREAK}±{_NO_BREAK}{_group(error, decimals)}{suffix}"


def format_percent(entry: dict[str, Any] | None) -> str:
    """Return a fraction and its error as percent."""
    if entry is None or entry.get("value") is None:
        return MISSING
    error = entry.get("standard_error", entry.get("error"))
    scaled = {
        "value": 100.0 * entry["value"],
        "error": None if error is None else 100.0 * error,
        "unit": "%",
    }
    return format_measurement(scaled)


def format_duration(seconds: float) -> str:
    """Return a time span: seconds, minutes or hours."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h"


def _group(value: float, decimals: int) -> str:
    # the thin space keeps thousands readable and never breaks a line
    return f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "−")
