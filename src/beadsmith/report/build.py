"""The verb `report`: read the run folder, compose the sections, and fill the page."""

from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from beadsmith import __version__
from beadsmith.io.records import write_bytes
from beadsmith.report.contents import read_contents
from beadsmith.report.figures.style import Figure, plotly_library
from beadsmith.report.numbers import format_number, typeset_condition, typeset_unit
from beadsmith.report.sections import compose_sections
from beadsmith.report.verdict import describe_system, write_verdict

REPORT = "report.html"


def build_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder, from whatever results lie there, and return its path.

    The page is one file that needs no network: library, style and data are inside it.

    Raises
    ------
    InputError : the folder is missing, holds no result, holds a damaged file, or cannot be written to.
    """
    contents = read_contents(folder)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["unit"] = typeset_unit
    environment.filters["condition"] = typeset_condition
    environment.filters["number"] = format_number
    environment.filters["embedded"] = _embed_json
    page = environment.from_string(_read_resource("template.html")).render(
        version=__version__,
        contents=contents,
        checks=sorted(contents.checks, key=lambda check: ("fail", "warn", "pass").index(check.status)),
        system=describe_system(contents),
        verdict=write_verdict(contents),
        sections=compose_sections(contents),
        style=Markup(_read_resource("style.css")),
        plotly=Markup(plotly_library()),
    )
    path = Path(folder) / REPORT
    write_bytes(path, page.encode("utf-8"))
    return path


def _embed_json(figure: Figure) -> Markup:
    # a script element ends at the first "</", whatever stands around it; "<\/" is the same JSON
    return Markup(figure.json.replace("</", "<\\/").replace("<!--", "<\\u0021--"))


def _read_resource(name: str) -> str:
    return resources.files("beadsmith.report").joinpath(name).read_text(encoding="utf-8")
