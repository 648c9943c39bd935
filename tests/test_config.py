"""The configuration reader: units, lines, nearest names, round trips."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest

from beadsmith.config.build import build_settings, locate
from beadsmith.config.describe import (
    build_json_schema,
    flatten_document,
    to_document,
    write_commented_yaml,
    write_yaml,
)
from beadsmith.config.document import parse_document, read_document, set_value
from beadsmith.config.quantities import format_quantity, parse_quantity
from beadsmith.errors import InputError
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE, Unit


@dataclass(frozen=True, kw_only=True)
class Part:
    """A list entry."""

    name: str
    """What it is."""
    count: int
    """How many."""


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A section."""

    kind: Literal["red", "green"] = "red"
    """Colour."""
    cutoff: Annotated[float, Unit("nm")] = 0.9
    """Where interactions end,
    in two lines."""
    timestep: Annotated[float, Unit("ps")] = 0.002
    """Step."""
    pressure: Annotated[float, Unit("kJ/mol/nm**3")] | None = None
    """Pressure, or none."""
    rate: float = 1e-3
    """A pure number."""
    sizes: tuple[int, ...] = (1, 2)
    """Several numbers."""
    lengths: tuple[Annotated[float, Unit("nm")], ...] = (0.5,)
    """Several lengths."""

    def __post_init__(self) -> None:
        if self.cutoff <= 0.0:
            raise InputError(f"cutoff is {self.cutoff} nm, expected > 0")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """The whole."""

    name: str
    """Name."""
    seed: int = 1
    """Seed."""
    is_fast: bool = False
    """Speed."""
    parts: tuple[Part, ...] = ()
    """Things."""
    inner: Inner = field(default_factory=Inner)
    """Section."""
    extra: Inner | None = field(default_factory=Inner)
    """Optional section."""


def build(text: str) -> Outer:
    node = parse_document(text, name="x.yaml")
    assert node is not None
    return build_settings(Outer, node)


def message(text: str) -> str:
    with pytest.raises(InputError) as caught:
        build(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "symbol", "expected"),
    [
        ("0.9 nm", "nm", 0.9),
        ("9 angstrom", "nm", 0.9),
        ("9Å", "nm", 0.9),
        ("2 fs", "ps", 0.002),
        ("1e-3 ns", "ps", 1.0),
        ("300 K", "K", 300.0),
        ("25 degC", "K", 298.15),
        ("0.76 g/cm^3", "u/nm**3", 0.76 * GRAM_PER_CUBIC_CENTIMETRE),
        ("1 bar", "kJ/mol/nm**3", BAR),
        ("1 kcal/mol", "kJ/mol", 4.184),
        ("5 /ps", "1/ps", 5.0),
        ("5 ps^-1", "1/ps", 5.0),
    ],
)
def test_quantities_convert_to_internal_units(text: str, symbol: str, expected: float) -> None:
    # 12 digits are kept
    assert parse_quantity(text, symbol, name="a.b", where="x") == pytest.approx(expected, rel=1e-11)


def test_equal_lengths_in_other_units_are_the_same_number() -> None:
    assert parse_quantity("9 angstrom", "nm", name="a", where="x") == parse_quantity(
        "0.9 nm", "nm", name="a", where="x"
    )


@pytest.mark.parametrize(
    ("value", "symbol"), [(0.1 + 0.2, "nm"), (0.002, "ps"), (200.0, "ps"), (451.66, "u/nm**3"), (BAR, "kJ/mol/nm**3")]
)
def test_formatted_quantities_read_back_to_12_digits(value: float, symbol: str) -> None:
    assert parse_quantity(format_quantity(value, symbol), symbol, name="a", where="x") == pytest.approx(
        value, rel=1e-11
    )


def test_bar_of_energy_is_not_taken_for_energy_per_mole() -> None:
    with pytest.raises(InputError, match="unit of energy; expected a unit of energy per mole"):
        parse_quantity("3 kJ", "kJ/mol", name="a", where="x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9 A", "Did you mean 'angstrom'"),
        ("300 k", "Did you mean 'K'"),
        ("2 Fs", "Did you mean 'fs'"),
        ("1 nm + 2 nm", "expected a number with a unit"),
        ("__import__('os')", "expected a number with a unit"),
        ("1 __import__", "unknown unit"),
        ("1e400 nm", "finite"),
        ("nan nm", "expected a number with a unit"),
        ("5", "without a unit"),
        ("1 " + "m" * 99, "99 characters"),
        ("1 m/0", "unknown unit"),
    ],
)
def test_odd_quantities_are_refused_with_a_hint(text: str, expected: str) -> None:
    symbol = {"300 k": "K", "2 Fs": "ps"}.get(text, "nm")
    with pytest.raises(InputError, match=r"a\.b") as caught:
        parse_quantity(text, symbol, name="a.b", where="x")
    assert expected in str(caught.value)


def test_a_bare_number_names_the_unit_that_brings_it_closest_to_the_default() -> None:
    assert "You probably meant 'cutoff: 9 angstrom'" in message("name: a\ninner:\n  cutoff: 9\n")
    assert "You probably meant 'cutoff: 0.9 nm'" in message("name: a\ninner:\n  cutoff: 0.9\n")
    assert "You probably meant 'timestep: 2 fs'" in message("name: a\ninner:\n  timestep: 2\n")


def test_settings_read_scalars_the_way_they_look() -> None:
    settings = build(
        "name: no\nseed: 7\nis_fast: true\ninner: {rate: 1e-4, sizes: [3], pressure: 1 bar}\nextra: none\n"
    )
    assert settings.name == "no"
    assert settings.inner.rate == 1e-4
    assert settings.inner.sizes == (3,)
    assert settings.inner.pressure == pytest.approx(BAR)
    assert settings.extra is None


def test_an_empty_section_means_its_defaults_and_not_none() -> None:
    assert build("name: a\ninner:\nextra:\n") == Outer(name="a")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: a\nsed: 3\n", ("x.yaml:2", "unknown key 'sed'", "Did you mean 'seed'")),
        ("name: a\ninner:\n  rate: 1\n  cutof: 1 nm\n", ("x.yaml:4", "unknown key 'cutof' in 'inner'", "'cutoff'")),
        ("seed: 3\n", ("has no 'name'", "Add a line 'name: ...'")),
        ("name: a\nseed: 1.5\n", ("x.yaml:2", "'seed' is '1.5'", "a whole number")),
        ("name: a\nseed: true\n", ("'seed' is 'True'", "a whole number")),
        ("name: 3\n", ("'name' is '3'", "expected text")),
        ("name: a\nseed:\n", ("x.yaml:2", "'seed' has no value")),
        ("name: a\ninner: 3\n", ("'inner' is '3'", "a section of keys")),
        ("name: a\ninner: none\n", ("'inner' is 'none'", "a section of keys")),
        ("name: a\ninner:\n  kind: gren\n", ("x.yaml:3", "red, green", "Did you mean 'green'")),
        ("name: a\ninner:\n  cutoff: -1 nm\n", ("x.yaml:3", "'inner.cutoff' is -1.0 nm, expected > 0")),
        ("name: a\ninner:\n  cutoff: [1]\n", ("'inner.cutoff' is a list", "a number with a unit")),
        ("name: a\ninner:\n  rate: .nan\n", ("'inner.rate'", "a finite number")),
        ("name: a\nparts: 3\n", ("'parts' is '3', expected a list",)),
        ("name: a\nparts:\n - name: b\n   count: 1\n - name: c\n", ("x.yaml:5", "'parts.1' has no 'count'")),
        ("name: a\nname: b\n", ("x.yaml:2", "key 'name' appears twice (first at x.yaml:1)")),
        ("name: a\n\tseed: 3\n", ("x.yaml:2", "tab")),
        ("name: [a\n", ("x.yaml:2", "not valid YAML")),
        ("name: !!python/object/apply:os.system [ls]\n", ("x.yaml:1", "tag 'python/object/apply:os.system'")),
        ("name: &a b\nseed: *a\n", ("x.yaml:2", "aliases")),
        ("name: a\n---\nname: b\n", ("not valid YAML", "another document")),
        ("? [a, b]\n: c\n", ("a key must be a single word",)),
        ("name: !secret x\n", ("tag '!secret' is not allowed",)),
        ("name: a\nextra: {cutoff: 1 ps}\n", ("'ps' is a unit of time; expected a unit of length", "extra.cutoff")),
        ("name: a\ninner: {lengths: [1 nm, 2]}\n", ("'inner.lengths.1' is 2 without a unit",)),
    ],
)
def test_every_mistake_names_line_and_remedy(text: str, parts: tuple[str, ...]) -> None:
    found = message(text)
    for part in parts:
        assert part in found


def test_a_document_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        parse_document("[" * 100_000, name="x.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a\n", "mapping"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a" * 1_000_001, "bytes"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_document(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be used"):
        read_document(tmp_path)


def test_an_option_replaces_one_value_and_names_itself_in_errors() -> None:
    root = parse_document("name: a\nparts: [{name: b, count: 1}]\nextra: none\n", name="x.yaml")
    assert root is not None
    changed = set_value(set_value(root, "parts.0.count=5"), "extra.cutoff=1 nm")
    settings = build_settings(Outer, changed)
    assert settings.parts[0].count == 5
    assert settings.extra == Inner(cutoff=1.0)
    with pytest.raises(InputError, match=r"unknown key 'sed'.*option '--set sed=3'"):
        build_settings(Outer, set_value(root, "sed=3"))


@pytest.mark.parametrize("option", ["seed", "=3", "a..b=3", ".=1", "parts.7.count=1", "parts.x=1", "seed=[1", "seed="])
def test_malformed_options_are_refused(option: str) -> None:
    root = parse_document("name: a\nparts: [{name: b, count: 1}]\n", name="x.yaml")
    assert root is not None
    with pytest.raises(InputError, match="option '--set"):
        build_settings(Outer, set_value(root, option))


def test_lines_of_nested_values_are_found() -> None:
    root = parse_document("name: a\nparts:\n  - name: b\n    count: 1\ninner:\n  cutoff: 1 nm\n", name="x.yaml")
    assert root is not None
    assert [locate(root, key) for key in ("parts.0.count", "inner.cutoff", "inner.rate", "seed")] == [
        "x.yaml:4",
        "x.yaml:6",
        "x.yaml:5",
        "x.yaml:1",
    ]


SETTINGS = Outer(
    name="a",
    parts=(Part(name="b", count=2),),
    inner=Inner(cutoff=1.25, pressure=3.0 * BAR, timestep=0.005, sizes=(), lengths=(0.1, 0.2)),
    extra=None,
)


@pytest.mark.parametrize("write", [write_yaml, write_commented_yaml])
def test_written_settings_read_back_equal(write) -> None:
    read = build(write(SETTINGS, "a header\nof two lines"))
    # the pressure passes through bar and keeps 12 digits
    assert read == replace(SETTINGS, inner=replace(SETTINGS.inner, pressure=read.inner.pressure))
    assert read.inner.pressure == pytest.approx(SETTINGS.inner.pressure, rel=1e-11)


def test_the_commented_template_explains_every_key_and_comments_out_defaults() -> None:
    text = write_commented_yaml(SETTINGS)
    assert "  # Where interactions end, in two lines.\n  cutoff: 1.25 nm\n" in text
    assert "  # Colour. One of: red, green.\n  # kind: red\n" in text
    assert "parts:\n  - {name: b, count: 2}\n" in text


def test_flat_names_reach_every_leaf() -> None:
    flat = flatten_document(to_document(SETTINGS))
    assert flat["parts.0.count"] == 2
    assert flat["inner.cutoff"] == "1.25 nm"
    assert flat["extra"] == "none"


def test_the_schema_asks_for_units_and_forbids_unknown_keys() -> None:
    schema = build_json_schema(Outer, "outer")
    inner = schema["properties"]["inner"]
    assert inner["additionalProperties"] is False
    assert inner["properties"]["cutoff"]["type"] == "string"
    assert inner["properties"]["cutoff"]["default"] == "0.9 nm"
    assert inner["properties"]["kind"]["enum"] == ["red", "green"]
    assert schema["required"] == ["name"]
    assert {"const": "none"} in schema["properties"]["extra"]["anyOf"]
