"""A whole study of the small run: shared results, resumption, unphysical ends, and the same files with Snakemake."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.pipeline.listener import SilentListener
from beadsmith.study import work
from beadsmith.study.definition import read_study
from beadsmith.study.engine import SilentStudyListener, alarm, do_study
from beadsmith.study.jobs import plan_jobs
from example_studies import MAPPINGS, SPLINE_AND_NETWORK, describe_base, make_study
from small_run import finished_run  # noqa: F401


class Events(SilentStudyListener, SilentListener):
    """Note which jobs were started and which stages computed."""

    def __init__(self):
        self.jobs, self.computed, self.taken = [], [], []

    def job_started(self, job, number, total, left):
        self.jobs.append(job.name)
        return self

    def stage_finished(self, stage, wall_time):
        self.computed.append(stage)

    def stage_taken(self, stage, folder):
        self.taken.append(stage)


def do(study, reuse, **options):
    events = Events()
    source = (study.folder.parent / "study.yaml").read_bytes()
    return do_study(study, source, reuse=(reuse,), listener=events, **options), events


@pytest.fixture(scope="module")
def done_study(finished_run, tmp_path_factory):  # noqa: F811
    """Return a finished study of two mappings with spline and network, and the events of making it."""
    study = make_study(tmp_path_factory.mktemp("study"), mappings=MAPPINGS, networks=SPLINE_AND_NETWORK)
    return do(study, finished_run / "run")


def test_the_reference_is_one_file_for_all_runs_and_is_not_sampled_again(done_study, finished_run):  # noqa: F811
    result, events = done_study
    study = result.study
    assert "sample" not in events.computed
    assert events.computed.count("map") <= 2
    assert events.computed.count("simulate") == 4
    shared = finished_run / "run" / "reference.h5"
    assert all((study.run_folder(run.name) / "reference.h5").samefile(shared) for run in study.runs)
    mapped = [study.run_folder(name) / "mapped.h5" for name in ("oxygen-spline", "oxygen-hipnn")]
    assert mapped[0].samefile(mapped[1])


def test_every_job_is_on_record(done_study):
    result, _ = done_study
    assert [record.status for record in result.records.values()] == ["done"] * len(result.jobs)
    assert not result.refused


def test_a_finished_study_is_not_done_again(done_study, finished_run):  # noqa: F811
    result, _ = done_study
    again, events = do(result.study, finished_run / "run")
    assert (events.jobs, events.computed) == ([], [])
    assert again.records == result.records


def test_results_hold_every_run_with_errors_stability_curves_and_speed(done_study):
    result, _ = done_study
    found = json.loads((result.study.folder / "study.json").read_text())
    assert list(found["runs"]) == ["centre-spline", "centre-hipnn", "oxygen-spline", "oxygen-hipnn"]
    for run in found["runs"].values():
        assert run["errors"]["rdf"]["ratio"] > 0.0
        assert run["stability"]["n_survived"] == 2
        assert [curve["group"] for curve in run["curves"].values()] == ["rdf", "adf"]
        assert run["speed"]["steps_per_second"] > 0.0
        assert run["training"]["explained_variance"]["value"] < 1.0
        assert run["verdict"] in ("pass", "warn", "fail")


def test_tables_repeat_the_numbers_of_the_results(done_study):
    folder = done_study[0].study.folder
    found = json.loads((folder / "study.json").read_text())
    with (folder / "runs.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    with (folder / "curves.csv").open() as file:
        curves = [row for row in csv.DictReader(file) if row["run"] == "oxygen-hipnn"]
    assert list(rows) == list(found["runs"])
    assert float(rows["oxygen-hipnn"]["rdf"]) == found["runs"]["oxygen-hipnn"]["errors"]["rdf"]["value"]
    for label, curve in found["runs"]["oxygen-hipnn"]["curves"].items():
        assert [float(row["mean"]) for row in curves if row["curve"] == label] == curve["mean"]


def test_a_new_column_leaves_the_others_alone(done_study, finished_run, tmp_path):  # noqa: F811
    study = done_study[0].study
    shutil.copytree(study.folder, tmp_path / "toy", copy_function=os.link)
    wider = make_study(tmp_path, mappings={**MAPPINGS, "plain": {"forces": "sum"}}, networks={"spline": "none"})
    result, events = do(wider, finished_run / "run")
    assert {f"{verb}-plain-spline" for verb in ("map", "train", "simulate", "evaluate")} <= set(events.jobs)
    assert all("plain" in name for name in events.jobs)
    assert len(result.records) == len(result.jobs)


def test_changed_settings_of_a_run_are_refused_by_name(done_study, finished_run, tmp_path):  # noqa: F811
    shutil.copytree(done_study[0].study.folder, tmp_path / "toy")
    base = describe_base(training={"epochs": 2})
    study = make_study(tmp_path, base=base, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK)
    with pytest.raises(InputError, match=r"'centre-spline'.*training\.epochs.*--output"):
        do(study, finished_run / "run")


def test_runs_of_a_version_without_a_setting_are_not_refused(done_study, tmp_path):
    folder = shutil.copytree(done_study[0].study.folder, tmp_path / "toy")
    record_file = folder / "runs" / "centre-spline" / "record.json"
    record = json.loads(record_file.read_text())
    del record["configuration"]["prior"]["min_samples"]
    record_file.write_text(json.dumps(record))
    work.refuse_changed_runs(make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK))


def test_time_that_is_up_stops_the_study_and_the_next_call_goes_on(finished_run, tmp_path):  # noqa: F811
    study = make_study(tmp_path, networks={"spline": "none"})
    first, _ = do(study, finished_run / "run", stop_after=1e-3)
    assert first.is_stopped
    assert len(first.records) < len(first.jobs)
    assert first.report.is_file()
    second, later = do(study, finished_run / "run")
    assert not second.is_stopped
    assert len(second.records) == len(second.jobs)
    assert later.jobs == [job.name for job in second.jobs if job.name not in first.records]


def test_the_alarm_interrupts_what_is_running_and_says_that_it_was_the_alarm():
    with alarm(time.monotonic() + 0.02) as rung, pytest.raises(KeyboardInterrupt):
        signal.pause()
    assert rung.is_set()


def test_an_unphysical_end_is_a_result_and_the_other_runs_go_on(finished_run, tmp_path, monkeypatch):  # noqa: F811
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK)
    run = work.run

    def explode(config, **options):
        if options["verbs"] == ("simulate",) and "spline" in str(config):
            raise PhysicsError("all 2 replicas stopped")
        return run(config, **options)

    monkeypatch.setattr(work, "run", explode)
    result, _ = do(study, finished_run / "run")
    assert result.records["simulate-spline"].status == "failed"
    assert result.records["evaluate-spline"].status == "skipped"
    assert result.records["evaluate-hipnn"].status == "done"
    found = json.loads((study.folder / "study.json").read_text())
    assert found["runs"]["spline"]["status"] == "failed"
    assert "replicas stopped" in (study.folder / "study.html").read_text()
    _, events = do(study, finished_run / "run")
    assert events.jobs == []


def test_a_run_whose_replicas_all_stop_at_once_is_a_result(finished_run, tmp_path):  # noqa: F811
    """A step longer than half an oscillation of the closest pairs: every replica stops after a few frames at most."""
    base = describe_base(simulation={"timestep": "0.25 ps", "save_interval": "0.25 ps", "max_displacement": "0.02 nm"})
    study = make_study(tmp_path, base=base, networks={"spline": "none"})
    result, _ = do(study, finished_run / "run")
    assert not result.refused
    assert "failed" in {record.status for record in result.records.values()}
    found = json.loads((study.folder / "study.json").read_text())["runs"]["spline"]
    assert (found["status"], found["stopped"]["n_stopped"]) == ("failed", 2)


def test_a_job_that_cannot_be_done_is_told_and_tried_again(finished_run, tmp_path, monkeypatch):  # noqa: F811
    study = make_study(tmp_path, networks=SPLINE_AND_NETWORK)
    run = work.run

    def refuse(config, **options):
        if options["verbs"] == ("train",) and "hipnn" in str(config):
            raise InputError("the disk is full")
        return run(config, **options)

    monkeypatch.setattr(work, "run", refuse)
    result, _ = do(study, finished_run / "run")
    assert set(result.refused) == {"train-hipnn", "simulate-hipnn", "evaluate-hipnn"}
    assert result.records["evaluate-spline"].status == "done"
    monkeypatch.undo()
    again, _ = do(study, finished_run / "run")
    assert not again.refused
    assert len(again.records) == len(again.jobs)


def test_files_of_others_are_left_alone(finished_run, tmp_path):  # noqa: F811
    study = make_study(tmp_path, networks={"spline": "none"})
    study.folder.mkdir()
    (study.folder / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        do(study, finished_run / "run")


KILLER = """
import os, signal, sys
from pathlib import Path
from beadsmith.pipeline.listener import SilentListener
from beadsmith.study.definition import read_study
from beadsmith.study.engine import SilentStudyListener, do_study

class Killer(SilentStudyListener, SilentListener):
    left = int(sys.argv[3])

    def count(self, done=0.0, total=0.0, note=""):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def job_started(self, job, number, total, left):
        self.job = job.name
        self.count()
        return self

    def stage_started(self, stage):
        self.stage = stage
        self.count()
        return self.count

    def stage_finished(self, stage, wall_time):
        with open(sys.argv[4], "a") as file:
            file.write(f"{self.job} {stage}\\n")
        self.count()

    def stage_taken(self, stage, folder):
        # a result of another run is taken again into each run that needs it: not part of the log
        self.count()

folder = Path(sys.argv[1])
study = read_study(folder / "study.yaml", folder / "toy")
do_study(study, (folder / "study.yaml").read_bytes(), reuse=(Path(sys.argv[2]),), listener=Killer())
"""


@pytest.mark.slow
def test_a_study_killed_five_times_at_random_loses_no_job_and_repeats_none(finished_run, done_study, tmp_path):  # noqa: F811
    study = make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK)
    log, generator, n_killed = tmp_path / "log", random.Random(5), 0
    while n_killed < 5:
        arguments = [str(tmp_path), str(finished_run / "run"), str(generator.randint(3, 60)), str(log)]
        ended = subprocess.run([sys.executable, "-c", KILLER, *arguments], capture_output=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        n_killed += 1
    result, events = do(study, finished_run / "run")
    before = log.read_text().splitlines()
    assert len(before) == len(set(before)), "no stage ended twice"
    assert [record.status for record in result.records.values()] == ["done"] * len(result.jobs)
    # a stage that had ended is not computed again, whatever was killed after it
    assert len(before) + len(events.computed) <= len(done_study[1].computed) + n_killed
    expected = done_study[0].study.folder / "curves.csv"
    assert (study.folder / "curves.csv").read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_snakemake_writes_the_same_results(finished_run, tmp_path):  # noqa: F811
    if shutil.which("snakemake") is None:
        pytest.skip("snakemake is not installed")
    study = make_study(tmp_path, networks={"spline": "none"})
    do(study, finished_run / "run", cores=1)
    other = tmp_path / "other"
    other.mkdir()
    plain = make_study(other, networks={"spline": "none"})
    do(plain, finished_run / "run")
    assert (study.folder / "curves.csv").read_bytes() == (plain.folder / "curves.csv").read_bytes()
    assert {path.name for path in (study.folder / "jobs").iterdir()} == {f"{job.name}.json" for job in plan_jobs(plain)}


def test_a_transfer_study_simulates_every_force_field_at_every_state(finished_run, tmp_path):  # noqa: F811
    grid = {"kind": "transfer", "temperatures": ["300 K", "330 K"], "networks": {"spline": "none"}}
    base = describe_base(sampling={"duration": "2.5 ps", "equilibration": "0.5 ps"})
    study = make_study(tmp_path, base=base, **grid, skip=[{"train": "330K"}])
    result, events = do(study, finished_run / "run")
    assert not result.refused
    assert events.computed.count("sample") == events.computed.count("map") == 2
    found = json.loads((study.folder / "study.json").read_text())
    assert list(found["runs"]) == [
        "spline-300K-at-300K",
        "spline-300K-at-330K",
        "spline-joint-at-300K",
        "spline-joint-at-330K",
    ]
    own, other = (found["runs"][f"spline-300K-at-{state}"]["errors"]["rdf"] for state in ("300K", "330K"))
    assert own["reference_error"] != other["reference_error"], "each state has its own reference"
    joint = json.loads((study.run_folder("train-spline-joint") / "training.json").read_text())
    single = json.loads((study.run_folder("train-spline-300K") / "training.json").read_text())
    assert joint["n_frames"]["train"] == 2 * single["n_frames"]["train"]
    page = (study.folder / "study.html").read_text()
    assert 'data-figure="matrix-0-rdf"' in page
    assert "Where a force field may be used" in page


def test_a_study_folder_is_enough_to_go_on(done_study, monkeypatch):
    study = done_study[0].study
    again = read_study(study.folder)
    assert again.folder == study.folder
    assert plan_jobs(again) == plan_jobs(study)
