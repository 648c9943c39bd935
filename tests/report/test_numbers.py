"""Numbers as they read in the report."""

import pytest

from beadsmith.report.numbers import (
    format_duration,
    format_measurement,
    format_number,
    format_percent,
    typeset_condition,
    typeset_kind,
    typeset_unit,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (-0.0326, "−0.0326"),
        (500.0, "500"),
        (12291.24, "12\u202f291"),
        (3614.2, "3\u202f614"),
        (0.0, "0"),
        (1.23e-7, "1.23e−07"),
        (None, "–"),
        (float("nan"), "–"),
        ("none", "none"),
    ],
)
def test_numbers_have_three_digits_true_signs_and_thin_spaces(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "error", "unit", "text"),
    [
        (0.01213, 0.00083, "1", "0.0121 ± 0.0008"),
        (0.01213, 0.00123, "1", "0.0121 ± 0.0012"),
        (301.98, 1.93, "K", "302.0 ± 1.9 K"),
        (3614.2, 34.0, "bar", "3\u202f614 ± 34 bar"),
        (0.283, None, "nm", "0.283 nm"),
        (2.5, float("nan"), "1", "2.50"),
        (10.4, 0.3, "1e-5 cm^2/s", "10.4 ± 0.3 10⁻⁵ cm²/s"),
    ],
)
def test_a_measurement_is_rounded_to_its_error(value, error, unit, text):
    entry = {"value": value, "standard_error": error, "unit": unit}
    assert format_measurement(entry).replace("\u00a0", " ") == text


def test_a_missing_measurement_is_a_dash():
    assert format_measurement(None) == "–"
    assert format_measurement({"value": None, "standard_error": None, "unit": "K"}) == "–"
    assert format_percent(None) == "–"


def test_a_fraction_reads_as_percent():
    assert format_percent({"value": 0.2394, "error": 0.0041}).replace("\u00a0", " ") == "23.9 ± 0.4 %"


def test_small_typography():
    assert typeset_condition(">= 0.27 and <= 1") == "≥ 0.27 and ≤ 1"
    assert typeset_kind("a-b") == "a–b"
    assert typeset_unit("1") == ""
    assert [format_duration(seconds) for seconds in (5.0, 300.0, 9000.0)] == ["5 s", "5 min", "2.5 h"]
