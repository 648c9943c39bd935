"""Fill a page: one HTML file that needs no network, with library, style and data inside it."""

import json
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from beadsmith import __version__
from beadsmith.report.figures.style import Figure, plotly_library
from beadsmith.report.numbers import format_number, typeset_condition, typeset_unit


def render_page(template: str, **values: Any) -> bytes:
    """Return the page of a template of this package, with ``version``, ``style`` and ``plotly`` beside the values."""
    environment = Environment(
        loader=FunctionLoader(_read_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unit"] = typeset_unit
    environment.filters["condition"] = typeset_condition
    environment.filters["number"] = format_number
    environment.filters["embedded"] = _embed_figure
    environment.filters["json"] = _embed_data
    page = environment.get_template(template).render(
        version=__version__, style=Markup(_read_resource("style.css")), plotly=Markup(plotly_library()), **values
    )
    return page.encode("utf-8")


def _embed_figure(figure: Figure) -> Markup:
    return _escape(figure.json)


def _embed_data(data: Any) -> Markup:
    return _escape(json.dumps(data, allow_nan=False))


def _escape(text: str) -> Markup:
    # a script element ends at the first "</", whatever stands around it; "<\/" is the same JSON
    return Markup(text.replace("</", "<\\/").replace("<!--", "<\\u0021--"))


def _read_resource(name: str) -> str:
    return resources.files("beadsmith.report").joinpath(name).read_text(encoding="utf-8")
