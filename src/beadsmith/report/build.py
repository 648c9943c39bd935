"""The verb `report`: read the run folder, compose the sections, and fill the page."""

from pathlib import Path

from beadsmith.io.records import write_bytes
from beadsmith.report.contents import read_contents
from beadsmith.report.page import render_page
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
    page = render_page(
        "template.html",
        contents=contents,
        checks=sorted(contents.checks, key=lambda check: ("fail", "warn", "pass").index(check.status)),
        system=describe_system(contents),
        verdict=write_verdict(contents),
        sections=compose_sections(contents),
    )
    path = Path(folder) / REPORT
    write_bytes(path, page)
    return path
