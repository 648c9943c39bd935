"""The page of a study, made of its ``study.json`` alone."""

from collections import Counter
from pathlib import Path
from typing import Any

from beadsmith.io.records import write_bytes
from beadsmith.report.page import render_page
from beadsmith.report.sections import Section
from beadsmith.report.study_mapping import compose_mapping_study, judge_mapping_study
from beadsmith.report.study_tables import tabulate_jobs
from beadsmith.report.study_transfer import compose_transfer_study, draw_cells, judge_transfer_study

PAGE = "study.html"


def build_study_page(results: dict[str, Any], folder: Path) -> Path:
    """Write ``study.html`` into the study folder and return its path.

    Parameters
    ----------
    results : What `beadsmith.study.collect.collect_study` returned, read back from JSON.
    folder : The study folder.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    is_transfer = results["kind"] == "transfer"
    sections = compose_transfer_study(results) if is_transfer else compose_mapping_study(results)
    if results["jobs"]["failed"]:
        title = "Jobs that ended badly"
        sections.append(Section(anchor="failures", title=title, items=[tabulate_jobs(results)]))
    page = render_page(
        "study.html",
        name=results["name"],
        kind=results["kind"],
        extent=_describe_extent(results),
        headline=_write_headline(results),
        verdicts=judge_transfer_study(results) if is_transfer else judge_mapping_study(results),
        sections=sections,
        cells=draw_cells(results) if is_transfer else {},
        runs=[{"name": name, **run} for name, run in results["runs"].items()],
    )
    path = folder / PAGE
    write_bytes(path, page)
    return path


def _describe_extent(results: dict[str, Any]) -> str:
    axes = [f"{len(options)} × {axis}" for axis, options in results["axes"].items()]
    return f"{len(results['runs'])} runs · {' · '.join(axes)}"


def _write_headline(results: dict[str, Any]) -> str:
    jobs = results["jobs"]
    if jobs["n_done"] + len(jobs["failed"]) < jobs["n_jobs"]:
        return f"{jobs['n_done']} of {jobs['n_jobs']} jobs are done"
    verdicts = Counter(run["verdict"] or "failed" for run in results["runs"].values())
    words = {"pass": "pass all checks", "warn": "pass with warnings", "fail": "fail a check", "failed": "did not end"}
    parts = [f"{verdicts[key]} {word}" for key, word in words.items() if verdicts[key]]
    return f"Of {len(results['runs'])} runs {', '.join(parts)}"
