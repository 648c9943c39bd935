"""The report in a real browser: every figure is drawn and the console stays free of errors."""

import re
import shutil
import subprocess

import pytest

from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose
from beadsmith.report.build import build_report
from beadsmith.report.study import build_study_page
from example_maps import describe_alanine, make_capped, write_map
from example_molecule_run import write_molecule_run
from example_run import write_run
from example_study_results import make_results

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(BROWSERS)})")
    return found


def write_study_page(kind):
    def write(folder):
        folder.mkdir()
        return build_study_page(make_results(kind), folder)

    return write


def write_diagnosed_map(folder):
    folder.mkdir()
    path = write_map(folder / "mapped.h5", make_capped("core_beta"), describe_alanine(6))
    diagnose(path, ModelSettings(), output=folder / "diagnosis.json")
    return build_report(folder)


@pytest.mark.parametrize(
    ("write", "n_figures"),
    [
        (lambda folder: build_report(write_run(folder)), 7),
        (lambda folder: build_report(write_molecule_run(folder)), 7),
        (write_diagnosed_map, 5),
        (write_study_page("mapping"), 3),
        (write_study_page("transfer"), 4),
    ],
    ids=["liquid", "molecule", "diagnosed map", "mapping study", "transfer study"],
)
def test_a_browser_draws_all_figures_without_an_error(browser, tmp_path, write, n_figures):
    page = write(tmp_path / "run")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-unsafe-swiftshader",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=15000",
        "--window-size=1400,9000",
        f"--screenshot={tmp_path / 'report.png'}",
        "--dump-dom",
        *QUIET,
        page.as_uri(),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=170, check=True)
    figures = re.findall(r'data-figure="[^"]+"', page.read_text(encoding="utf-8"))
    assert len(figures) >= n_figures
    drawn = re.findall(r'class="plot js-plotly-plot"', result.stdout)
    assert len(drawn) == len(figures)
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if re.search(r"Uncaught|Error|Refused|violates|Failed to load", line)]
    # a blank page of this size compresses to about 30 kB
    assert (tmp_path / "report.png").stat().st_size > 200_000
