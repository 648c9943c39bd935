"""Whole runs: what they write, when they skip, resume and refuse, and that a kill costs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import beadsmith
from beadsmith.errors import InputError, InterruptedRunError
from beadsmith.io.h5md import read_trajectory
from beadsmith.pipeline.listener import SilentListener
from beadsmith.pipeline.lock import locked
from beadsmith.pipeline.record import hash_path
from beadsmith.trajectory import frame_fields
from small_run import SMALL_YAML

TRAJECTORIES = ("reference.h5", "mapped.h5", "simulation.h5", "pair_spline.h5")
STAGES = ["sample", "map", "diagnose", "train", "simulate", "simulate_pair_spline", "evaluate", "report"]


class Events(SilentListener):
    """Note which stages were computed and which skipped."""

    def __init__(self):
        self.computed, self.skipped = [], []

    def stage_finished(self, stage, wall_time):
        self.computed.append(stage)

    def stage_skipped(self, stage):
        self.skipped.append(stage)


def repeat(folder: Path, *overrides: str, **options) -> Events:
    events = Events()
    beadsmith.run(folder / "small.yaml", overrides, output=folder / "run", listener=events, **options)
    return events


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hash_path(path) for path in sorted(folder.iterdir()) if path.name not in ("record.json", ".lock")
    }


def assert_equal_results(folder: Path, expected: Path, files=TRAJECTORIES) -> None:
    for name in files:
        found, wanted = read_trajectory(folder / name), read_trajectory(expected / name)
        for field in frame_fields():
            values = getattr(wanted, field)
            if values is not None:
                np.testing.assert_array_equal(getattr(found, field), values, err_msg=f"{name}: {field}")


def assert_equal_weights(folder: Path, expected: Path) -> None:
    for name in ("force_field", "pair_spline"):
        found = safetensors.numpy.load_file(folder / name / "weights.safetensors")
        for key, values in safetensors.numpy.load_file(expected / name / "weights.safetensors").items():
            np.testing.assert_array_equal(found[key], values, err_msg=f"{name}: {key}")


def test_a_run_writes_every_promised_file(finished_run):
    folder = finished_run / "run"
    files = {"run.yaml", "record.json", *TRAJECTORIES, "training.csv", "training.json", "evaluation.json"}
    assert files | {"force_field", "pair_spline", "checks.json", "report.html"} <= {p.name for p in folder.iterdir()}
    assert not list(folder.glob("*.parts"))
    assert not (folder / "error.log").exists()


def test_the_record_holds_seed_versions_configuration_hashes_and_times(finished_run):
    record = json.loads((finished_run / "run" / "record.json").read_text())
    assert record["seed"] == 3
    assert record["configuration"]["sampling"]["cutoff"] == "0.7 nm"
    assert list(record["stages"]) == STAGES
    for entry in record["stages"].values():
        assert entry["status"] == "done"
        assert entry["wall_time"] > 0.0
        assert entry["versions"]["beadsmith"] == beadsmith.__version__
    expected = hash_path(finished_run / "run" / "mapped.h5")
    assert record["stages"]["map"]["outputs"]["mapped.h5"] == expected


def test_a_finished_run_is_not_computed_again(small_run):
    before = hashes(small_run / "run")
    events = repeat(small_run)
    assert events.computed == []
    assert events.skipped == STAGES
    assert hashes(small_run / "run") == before


def test_the_copied_configuration_resumes_the_run(small_run):
    events = Events()
    result = beadsmith.run(small_run / "run", listener=events)
    assert result.folder == small_run / "run"
    assert events.computed == []


def test_a_changed_configuration_is_refused_with_the_changed_keys(small_run):
    before = hashes(small_run / "run")
    with pytest.raises(InputError) as caught:
        repeat(small_run, "training.epochs=4", "network.cutoff=6.5 angstrom")
    message = str(caught.value)
    assert "training.epochs: 3 -> 4" in message
    assert "network.cutoff: 0.7 nm -> 0.65 nm" in message
    assert "--restart-from train" in message
    after = hashes(small_run / "run")
    assert after.pop("error.log")
    assert after == before


def test_many_changed_keys_are_all_named(small_run):
    changes = {f"evaluation.{key}": value for key, value in {
        "distance_bin": "0.02 nm", "largest_distance": "0.6 nm", "window_start": "0.35 nm", "arm_cutoff": "0.4 nm",
        "n_angle_bins": "18", "n_blocks": "5", "diffusion_start": "0.3 ps", "diffusion_end": "0.9 ps",
    }.items()} | {"training.epochs": "4", "training.batch_size": "3"}  # fmt: skip
    with pytest.raises(InputError) as caught:
        repeat(small_run, *(f"{key}={value}" for key, value in changes.items()))
    assert all(key in str(caught.value) for key in changes)


def test_the_same_length_in_another_unit_is_no_change(small_run):
    assert repeat(small_run, "network.cutoff=7 angstrom", "sampling.save_interval=100 fs").computed == []


def test_a_change_of_threads_is_no_change_of_the_configuration(small_run):
    assert repeat(small_run, "training.threads=1", "simulation.checkpoint_interval=1 s").computed == []


def test_restarting_from_a_stage_takes_the_new_settings_and_keeps_what_came_before(small_run):
    before = hashes(small_run / "run")
    events = repeat(small_run, "simulation.duration=1.5 ps", restart_from="simulate")
    assert events.skipped == ["sample", "map", "diagnose", "train"]
    assert events.computed == ["simulate", "simulate_pair_spline", "evaluate", "report"]
    after = hashes(small_run / "run")
    assert all(after[name] == before[name] for name in ("reference.h5", "mapped.h5", "force_field", "pair_spline"))
    assert read_trajectory(small_run / "run" / "simulation.h5").n_frames == 30


def test_restarting_too_late_for_a_change_is_refused(small_run):
    before = hashes(small_run / "run")
    with pytest.raises(InputError, match=r"training\.epochs: 3 -> 4.*--restart-from train"):
        repeat(small_run, "training.epochs=4", restart_from="simulate")
    assert before.items() <= hashes(small_run / "run").items()


def test_a_deleted_result_is_computed_again_with_equal_values(small_run, finished_run):
    (small_run / "run" / "mapped.h5").unlink()
    events = repeat(small_run)
    assert events.computed[0] == "map"
    assert_equal_results(small_run / "run", finished_run / "run")


def test_a_single_stage_wants_the_results_before_it(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL_YAML)
    with pytest.raises(InputError, match=r"result of 'sample' is missing.*beadsmith sample"):
        repeat(tmp_path, verbs=("train",))
    assert not (tmp_path / "run" / "force_field").exists()


def test_a_second_process_is_kept_out(small_run):
    with locked(small_run / "run"), pytest.raises(InputError, match=f"another process.*process {os.getpid()} on"):
        repeat(small_run)


def test_the_lock_of_a_dead_process_does_not_block(small_run):
    (small_run / "run" / ".lock").write_text("process 999999 on nowhere\n")
    assert repeat(small_run).computed == []


def test_files_of_others_are_never_overwritten(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL_YAML)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty and holds no run"):
        repeat(tmp_path)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_an_interrupt_leaves_a_run_that_the_same_call_finishes(small_run, finished_run):
    class Impatient(SilentListener):
        def stage_started(self, stage):
            def interrupt(done, total, note=""):
                if done > 0.5 * total:
                    raise KeyboardInterrupt

            return interrupt

    with pytest.raises(InterruptedRunError, match=r"stage 'simulate'.*Go on with: beadsmith run"):
        beadsmith.run(small_run / "small.yaml", output=small_run / "run", restart_from="simulate", listener=Impatient())
    record = json.loads((small_run / "run" / "record.json").read_text())
    assert record["stages"]["simulate"]["status"] == "interrupted"
    assert list((small_run / "run").glob("simulation.h5.parts/*"))
    repeat(small_run)
    assert_equal_results(small_run / "run", finished_run / "run")


KILLER = """
import os, signal, sys, time
import beadsmith
from beadsmith.pipeline.listener import SilentListener

class Killer(SilentListener):
    def stage_started(self, stage):
        def kill(done, total, note=""):
            # a fast machine would be done before anything is saved
            time.sleep(0.02 if stage == sys.argv[2] else 0.0)
            if stage == sys.argv[2] and done >= float(sys.argv[3]) * total:
                os.kill(os.getpid(), signal.SIGKILL)
        return kill

beadsmith.run(sys.argv[1] + "/small.yaml", output=sys.argv[1] + "/run", listener=Killer())
"""


def test_a_run_killed_in_every_stage_ends_bit_equal(finished_run, tmp_path):
    """One thread of OpenMM's CPU platform resumes bit for bit, and so do mapping, training and simulation."""
    shutil.copy(finished_run / "small.yaml", tmp_path)
    folder = tmp_path / "run"
    for stage, fraction in [
        ("sample", 0.6),
        ("map", 0.7),
        ("train", 0.5),
        ("simulate", 0.6),
        ("simulate_pair_spline", 0.6),
    ]:
        arguments = [str(tmp_path), stage, str(fraction)]
        killed = subprocess.run([sys.executable, "-c", KILLER, *arguments], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        assert json.loads((folder / "record.json").read_text())["stages"][stage]["status"] == "running"
        saved = [*folder.glob("*.parts/part-*"), *folder.glob("training.checkpoint/*")]
        assert saved, f"nothing was saved when '{stage}' was killed"
    events = repeat(tmp_path, verbs=("sample", "map", "train", "simulate"))
    assert events.computed == ["simulate_pair_spline"]
    assert_equal_results(folder, finished_run / "run")
    assert_equal_weights(folder, finished_run / "run")
    assert not list(folder.glob("*.parts"))


def test_a_kill_between_result_and_record_costs_nothing(small_run):
    """The result is there but the record still says that the stage is running."""
    path = small_run / "run" / "record.json"
    record = json.loads(path.read_text())
    record["stages"]["sample"] |= {"status": "running", "outputs": {}}
    path.write_text(json.dumps(record))
    before = (small_run / "run" / "reference.h5").stat().st_mtime_ns
    assert repeat(small_run).computed == ["sample"]
    assert (small_run / "run" / "reference.h5").stat().st_mtime_ns == before


def test_a_run_without_network_simulates_the_pair_spline_alone(small_run):
    events = repeat(small_run, "network=none", restart_from="train")
    # the map is judged anew, with what the pair spline can tell apart
    assert events.computed == ["diagnose", "train", "simulate", "evaluate", "report"]
    folder = small_run / "run"
    assert hash_path(folder / "force_field" / "weights.safetensors") == hash_path(
        folder / "pair_spline" / "weights.safetensors"
    )
    assert not (folder / "pair_spline.h5").exists()


def test_a_force_field_that_would_be_discarded_cannot_be_the_start(small_run: Path) -> None:
    before = sorted(path.name for path in (small_run / "run" / "force_field").iterdir())
    with pytest.raises(InputError, match="would be discarded"):
        repeat(small_run, f"start_from={small_run / 'run' / 'force_field'}", restart_from="train", verbs=("train",))
    assert sorted(path.name for path in (small_run / "run" / "force_field").iterdir()) == before


@pytest.mark.parametrize(
    ("start", "override", "message"),
    [
        ("nowhere", "training.epochs=4", "does not exist"),
        ("run/pair_spline", "training.epochs=4", "only a force field with a network"),
        ("run/force_field", "network.n_features=6", "n_features"),
    ],
)
def test_nothing_is_discarded_for_a_start_that_training_cannot_use(start, override, message, small_run, finished_run):
    before = hashes(small_run / "run")
    with pytest.raises(InputError, match=message):
        repeat(small_run, f"start_from={finished_run / start}", override, restart_from="train", verbs=("train",))
    assert before.items() <= hashes(small_run / "run").items()


def test_training_continues_from_a_force_field(small_run, finished_run):
    shutil.copytree(small_run / "run" / "force_field", small_run / "old")
    events = repeat(small_run, f"start_from={small_run / 'old'}", restart_from="train", verbs=("train",))
    assert events.computed == ["train"]
    fresh, tuned = (
        json.loads((path / "run" / "training.json").read_text())["losses"]["network"]["train"]["value"]
        for path in (finished_run, small_run)
    )
    assert tuned < fresh


def test_a_mixture_goes_from_molecules_to_a_simulation(tmp_path):
    text = SMALL_YAML.replace(
        "name: methanol, count: 40}", "name: methanol, count: 20}\n    - {name: benzene, count: 12}"
    )
    (tmp_path / "small.yaml").write_text(text.replace("0.75 g/cm^3", "0.8 g/cm^3"))
    events = repeat(tmp_path, "sampling.duration=4 ps", "training.epochs=1")
    assert events.computed == STAGES
    simulated = read_trajectory(tmp_path / "run" / "simulation.h5")
    assert simulated.topology.type_names == ("methanol", "benzene")
    np.testing.assert_array_equal(np.bincount(simulated.topology.types), [20, 12])
    assert np.isfinite(simulated.positions).all()
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert set(evaluation["comparisons"]["network"]["rdf"]) == {
        "methanol-methanol",
        "methanol-benzene",
        "benzene-benzene",
    }
