"""The workflow of a study: one rule a job, tied together by the jobs' records."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from beadsmith.errors import InputError
from beadsmith.pipeline.estimate import Estimate
from beadsmith.pipeline.lock import locked
from beadsmith.study import snakefile
from beadsmith.study.jobs import plan_jobs
from beadsmith.study.slurm_profile import write_slurm_profile
from beadsmith.study.snakefile import run_snakemake, write_snakefile
from example_studies import GRID, MAPPINGS, SPLINE_AND_NETWORK, describe_base, make_study

SHOW = """
import json, os, sys
files = [os.fstat(number).st_ino for number in range(3, 64) if os.path.exists(f"/dev/fd/{number}")]
with open(sys.argv[2] + ".seen", "w") as file:
    json.dump({"words": sys.argv[1:], "path": os.environ["PATH"], "files": files}, file)
"""
"""A program that notes its command line, its path and the files that it has inherited."""


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


def run_shown(tmp_path, monkeypatch, **options):
    """Return what Snakemake would be given, and the number of the lock's file."""
    monkeypatch.setattr(snakefile, "_find_snakemake", lambda: [sys.executable, "-S", "-c", SHOW])
    study, _, path = write(tmp_path, networks={"spline": "none"})
    with locked(study.folder) as lock:
        assert not run_snakemake(study, stop_after=None, lock=lock, **options)
        number = os.fstat(lock).st_ino
    return study, json.loads(path.with_name("Snakefile.seen").read_text()), number


def test_snakemake_does_without_a_lock_of_its_own_which_a_kill_would_leave_behind(tmp_path, monkeypatch):
    study, seen, _ = run_shown(tmp_path, monkeypatch, cores=3, profile="my profile")
    assert seen["words"] == [
        *("--snakefile", str(study.folder / "Snakefile"), "--cores", "3", "--rerun-triggers", "mtime"),
        *("--rerun-incomplete", "--keep-going", "--nolock", "--profile", "my profile"),
    ]
    assert seen["path"].split(os.pathsep)[0] == os.path.dirname(sys.executable)


def test_snakemake_holds_the_lock_of_the_study_should_it_outlive_beadsmith(tmp_path, monkeypatch):
    _, seen, lock = run_shown(tmp_path, monkeypatch, cores=1, profile=None)
    assert "--profile" not in seen["words"]
    assert lock in seen["files"]


def test_a_job_on_a_gpu_asks_for_one(tmp_path):
    base = describe_base(training={"device": "cuda"})
    _, _, path = write(tmp_path, **GRID, networks=SPLINE_AND_NETWORK, base=base)
    rules = dict(re.findall(r"^rule (\w+):\n((?:    .*\n?)+)", path.read_text(), re.MULTILINE))
    assert {name.split("_")[0] for name, rule in rules.items() if "gpu=1" in rule} == {"train"}


def test_the_profile_for_slurm_is_written_once_and_names_a_rule_of_the_study(tmp_path):
    study, jobs, workflow = write(tmp_path, **GRID, networks=SPLINE_AND_NETWORK)
    path = write_slurm_profile(study, jobs)
    assert path == study.folder / "profile" / "config.yaml"
    text = path.read_text()
    assert f"--profile {path.parent}" in text
    found = yaml.safe_load(text)
    assert (found["executor"], found["default-resources"]) == ("slurm", {"mem_mb": 4000, "runtime": 60})
    filled = yaml.safe_load(re.sub(r"^#( *slurm|set-res|  train|    slurm)", r"\1", text, flags=re.MULTILINE))
    assert filled["default-resources"]["slurm_account"] == "mine"
    (rule,) = filled["set-resources"]
    assert f"rule {rule}:" in workflow.read_text()
    path.write_text("executor: local\n")
    write_slurm_profile(study, jobs)
    assert path.read_text() == "executor: local\n"


def test_snakemake_reads_the_profile(tmp_path):
    if (program := shutil.which("snakemake")) is None:
        pytest.skip("snakemake is not installed")
    study, jobs, workflow = write(tmp_path, networks={"spline": "none"})
    path = write_slurm_profile(study, jobs)
    # the executor is a plugin of its own
    path.write_text(path.read_text().replace("executor: slurm", "executor: local"))
    words = ["--snakefile", workflow, "--cores", "1", "--dry-run", "--profile", path.parent]
    planned = subprocess.run([program, *words], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert planned.returncode == 0, planned.stderr
    # the report names no resources: those are the profile's
    assert "runtime=60" in planned.stdout + planned.stderr


def test_without_snakemake_the_option_says_how_to_do_without(tmp_path, monkeypatch):
    monkeypatch.setattr(snakefile.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(snakefile.shutil, "which", lambda name: None)
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK)
    with pytest.raises(InputError, match=r"not installed.*one by one"):
        run_snakemake(study, cores=1, profile=None, stop_after=None, lock=0)
