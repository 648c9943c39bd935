"""The workflow of a study: one rule a job, tied together by the jobs' records."""

import re
import shutil
import subprocess

import pytest

from beadsmith.errors import InputError
from beadsmith.pipeline.estimate import Estimate
from beadsmith.study import snakefile
from beadsmith.study.jobs import plan_jobs
from beadsmith.study.snakefile import run_snakemake, write_snakefile
from example_studies import GRID, MAPPINGS, SPLINE_AND_NETWORK, make_study


def write(tmp_path, **entries):
    study = make_study(tmp_path, **entries)
    study.folder.mkdir()
    jobs = plan_jobs(study)
    costs = {job.name: Estimate(stage=job.name, work="", time=600.0, memory=1e9, disk=1e6) for job in jobs}
    return study, jobs, write_snakefile(study, jobs, costs, (tmp_path / "my run",))


def test_every_job_is_a_rule_that_waits_for_the_records_of_those_it_needs(tmp_path):
    study, jobs, path = write(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK)
    rules = dict(re.findall(r"^rule (\w+):\n((?:    .*\n?)+)", path.read_text(), re.MULTILINE))
    assert len(rules) == len(jobs) + 2
    for job in jobs:
        rule = rules[re.sub(r"\W", "_", job.name)]
        assert f'output: "{study.job_file(job.name)}"' in rule
        inputs = re.findall(r'^        "(.*)",$', rule, re.MULTILINE)
        assert inputs == [str(study.job_file(name)) for name in job.needs]
        assert f"--job {job.name} --reuse '{tmp_path / 'my run'}'" in rule
        # three times the estimate, and half as much memory again
        assert "mem_mb=1500, runtime=35" in rule


def test_what_a_job_does_stands_above_its_rule(tmp_path):
    study, _, path = write(tmp_path, networks=SPLINE_AND_NETWORK)
    text = path.read_text()
    runs = study.folder / "runs"
    assert (
        f"# beadsmith train {study.folder}/configs/hipnn.yaml --output {runs}/hipnn --reuse {runs}/spline\n"
        "rule train_hipnn:" in text
    )


@pytest.mark.parametrize("entries", [{"networks": SPLINE_AND_NETWORK}, {**GRID, "networks": SPLINE_AND_NETWORK}])
def test_snakemake_reads_the_workflow_and_plans_every_job(entries, tmp_path):
    if (program := shutil.which("snakemake")) is None:
        pytest.skip("snakemake is not installed")
    _, jobs, path = write(tmp_path, **entries)
    planned = subprocess.run(
        [program, "--snakefile", path, "--cores", "1", "--dry-run", "--quiet", "rules"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", planned.stdout + planned.stderr, re.MULTILINE))
    assert int(counts["total"]) == len(jobs) + 2


def test_without_snakemake_the_option_says_how_to_do_without(tmp_path, monkeypatch):
    monkeypatch.setattr(snakefile.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(snakefile.shutil, "which", lambda name: None)
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK)
    with pytest.raises(InputError, match=r"not installed.*one by one"):
        run_snakemake(study, cores=1, profile=None, stop_after=None)
