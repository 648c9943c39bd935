"""The command `study`: what it shows, its exit codes, and options that mean nothing together."""

import pytest
import yaml
from typer.testing import CliRunner

from beadsmith.cli import app
from example_studies import SPLINE_AND_NETWORK, describe_base, write_study
from small_run import finished_run  # noqa: F401


def invoke(*words: object):
    return CliRunner().invoke(app, ["study", *map(str, words)], env={"COLUMNS": "200"})


def test_a_dry_run_shows_every_job_with_its_costs_and_writes_nothing(tmp_path):
    path = write_study(tmp_path, networks={"spline": "none"})
    result = invoke(path, "--output", tmp_path / "toy", "--dry-run")
    assert result.exit_code == 0, result.output
    for word in ("sample-spline", "train-spline", "pair spline only", "time", "memory", "disk", "6 of 6 left"):
        assert word in result.output
    assert not (tmp_path / "toy").exists()


def test_a_study_ends_with_its_report_and_a_stopped_one_with_exit_code_4(finished_run, tmp_path):  # noqa: F811
    path = write_study(tmp_path, networks={"spline": "none"})
    words = (path, "--output", tmp_path / "toy", "--reuse", finished_run / "run")
    stopped = invoke(*words, "--stop-after", "1 ms")
    assert stopped.exit_code == 4, stopped.output
    assert "Go on with: beadsmith study" in stopped.stderr
    assert "--reuse" in stopped.stderr
    done = invoke(*words)
    assert done.exit_code == 0, done.output
    assert "6 of 6 jobs done" in done.output
    assert (tmp_path / "toy" / "study.html").is_file()
    again = invoke(tmp_path / "toy", "--report")
    assert again.exit_code == 0, again.output
    single = invoke(tmp_path / "toy", "--job", "train-spline")
    assert "done before" in single.output


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--profile", "slurm"), ("'--profile' goes with '--snakemake'",)),
        (("--stop-after", "2"), ("without a unit",)),
        (("--stop-after", "2 nm"), ("unit of length",)),
        (("--job", "train-hipn"), ("no job 'train-hipn'", "'train-hipnn'")),
        (("--job", "train-hipnn"), ("needs 'map", "not done")),
        (("--reuse", "nowhere"), ("no run folder",)),
    ],
)
def test_options_that_cannot_be_meant_are_refused(words, parts, tmp_path):
    path = write_study(tmp_path, networks=SPLINE_AND_NETWORK)
    result = invoke(path, "--output", tmp_path / "toy", *words)
    assert result.exit_code == 2, result.output
    for part in parts:
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_of_a_single_run_is_no_study(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(describe_base()))
    result = invoke(tmp_path / "run.yaml")
    assert result.exit_code == 2
    assert "'kind' is missing" in result.stderr
