"""The examples of studies: every file plans its runs, and its command shows what they will cost."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from beadsmith.cli import app
from beadsmith.study.definition import read_study
from beadsmith.study.jobs import plan_jobs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(ROOT.glob("examples/study_*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_samples_each_state_once(example, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(example)
    points = [run.settings.state for run in study.runs]
    states = {(point.temperature, point.density, point.pressure) for point in points}
    assert sum(job.verbs == ("sample",) for job in plan_jobs(study)) == len(states)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_says_what_it_will_cost(example, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, ["study", str(example), "--dry-run"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for word in ("sample", "memory", "disk", "left", "factor of two"):
        assert word in result.output
