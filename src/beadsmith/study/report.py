"""Write the report of a study: one page, one JSON file and two tables, from whatever its runs have left so far."""

from pathlib import Path

from beadsmith.io.records import read_json, write_json
from beadsmith.report.study import build_study_page
from beadsmith.study.collect import collect_study
from beadsmith.study.jobs import plan_jobs
from beadsmith.study.record import Study
from beadsmith.study.tables import write_tables
from beadsmith.study.work import read_finished

RESULTS = "study.json"


def build_study_report(study: Study) -> Path:
    """Write ``study.json``, ``runs.csv``, ``curves.csv`` and ``study.html`` into the study folder; return the page.

    Raises
    ------
    InputError : a file is damaged, or the folder cannot be written to.
    """
    jobs = plan_jobs(study)
    write_json(study.folder / RESULTS, collect_study(study, jobs, read_finished(study, jobs)))
    # as it lies on the disk, so that page and tables can be made again from it
    results = read_json(study.folder / RESULTS)
    write_tables(results, study.folder)
    return build_study_page(results, study.folder)
