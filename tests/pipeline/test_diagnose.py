"""The diagnosis as a stage and as a command: it warns before training, joins the checks, and stands in no one's way."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import beadsmith
from beadsmith.cli import app
from beadsmith.errors import InputError
from beadsmith.pipeline.listener import SilentListener
from beadsmith.pipeline.standalone import diagnose_file
from small_run import finished_run, small_run  # noqa: F401

ALANINE_YAML = """\
name: alanine
seed: 2
system: {kind: peptide, sequence: ACE-ALA-NME, solvent: vacuum}
state: {temperature: 300 K}
sampling: {timestep: 2 fs, equilibration: 0.2 ps, duration: 4 ps, save_interval: 0.02 ps, threads: 1}
mapping: {beads: backbone}
prior: {bonds: none, angles: none, dihedrals: none}
network: {kind: schnet}
"""
"""Five beads without their side chain, and nothing that knows their hand: the diagnosis must fail."""

BEFORE_TRAINING = ("sample", "map", "diagnose")


class Alarms(SilentListener):
    """Note what was computed and what was alarmed, in order."""

    def __init__(self):
        self.events, self.alarms = [], []

    def stage_finished(self, stage, wall_time):
        self.events.append(stage)

    def stage_alarmed(self, stage, alarms):
        self.events.append(f"{stage}!")
        self.alarms += alarms


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Return a folder with the run of capped alanine up to its diagnosis, and the events on the way."""
    folder = tmp_path_factory.mktemp("alanine")
    (folder / "alanine.yaml").write_text(ALANINE_YAML)
    events = Alarms()
    beadsmith.run(folder / "alanine.yaml", output=folder / "run", verbs=BEFORE_TRAINING, listener=events)
    return folder, events


@pytest.fixture
def alanine(sampled, tmp_path):
    """Return a copy of that folder that a test may change."""
    shutil.copytree(sampled[0], tmp_path / "copy")
    return tmp_path / "copy"


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def diagnose_again(folder: Path, *overrides: str, **options) -> Alarms:
    events = Alarms()
    beadsmith.run(folder / "alanine.yaml", overrides, output=folder / "run", listener=events, **options)
    return events


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    checks = json.loads((folder / "run" / "diagnosis.json").read_text())["checks"]
    return {entry["name"]: (entry["map_alone"], entry["status"]) for entry in checks}


def test_a_map_that_cannot_be_learned_is_alarmed_before_training(sampled):
    folder, events = sampled
    assert events.events == ["sample", "map", "diagnose", "diagnose!"]
    (alarm,) = events.alarms
    assert "hand of the molecules" in alarm
    assert "prior.dihedrals: fourier" in alarm
    assert verdicts(folder)["hand of the molecules"] == ("fail", "fail")
    summary = json.loads((folder / "run" / "record.json").read_text())["stages"]["diagnose"]["summary"]
    assert (summary["map_alone"], summary["with_model"]) == ("fail", "fail")


def test_the_alarm_is_repeated_when_the_run_goes_on(alanine):
    events = diagnose_again(alanine, verbs=BEFORE_TRAINING)
    assert events.events == ["diagnose!"]


def test_a_cure_in_the_configuration_is_seen_after_a_restart_from_training(alanine):
    cured = "network={kind: mace, symmetry: SO(3), l_max_hidden: 2, n_layers: 3}"
    with pytest.raises(InputError, match="--restart-from train"):
        diagnose_again(alanine, cured, verbs=BEFORE_TRAINING)
    with pytest.raises(InputError, match=r"'training\.epochs' is 0"):
        diagnose_again(alanine, cured, "training.epochs=0", verbs=("train",), restart_from="train")
    assert (alanine / "run" / "diagnosis.json").exists(), "a refused configuration costs nothing"
    events = diagnose_again(alanine, cured, verbs=("diagnose",), restart_from="diagnose")
    assert events.events == ["diagnose"]
    assert verdicts(alanine)["hand of the molecules"] == ("fail", "pass")


def test_the_command_shows_both_verdicts_and_ends_with_the_code_of_a_failed_check(alanine):
    result = invoke("diagnose", alanine / "run")
    assert result.exit_code == 3
    assert "map alone: FAIL; with this model: FAIL" in result.output
    assert "hand of the molecules" in result.output
    assert "The run goes on" in result.output


def test_remedies_can_be_tried_on_the_mapped_file(alanine, tmp_path):
    mapped, output = alanine / "run" / "mapped.h5", tmp_path / "cured.json"
    network = "network={kind: mace, symmetry: SO(3), l_max_hidden: 2, n_layers: 3}"
    result = invoke("diagnose", mapped, "--set", network, "--output", output)
    assert result.exit_code == 0
    assert "cured by network: {kind: mace, symmetry: SO(3), l_max_hidden: 2" in result.output
    # 200 frames are few
    assert json.loads(output.read_text())["summary"] == {"map_alone": "fail", "with_model": "warn"}
    again = invoke("diagnose", mapped, "--output", output)
    assert again.exit_code == 2
    assert "exists already" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["network.cutof=1 nm"], "Did you mean 'cutoff'"),
        (["mapping.types=graph"], "network, prior"),
        (["prior.bonds=rigid"], "'prior.bonds' is 'rigid'"),
    ],
)
def test_wrong_options_for_a_file_are_named(sampled, options, message):
    with pytest.raises(InputError) as caught:
        diagnose_file(sampled[0] / "run" / "mapped.h5", options)
    assert message in str(caught.value)


def test_a_missing_file_and_misplaced_options_are_refused(tmp_path):
    assert invoke("diagnose", tmp_path / "none.h5").exit_code == 2
    result = invoke("diagnose", tmp_path / "none.h5", "--restart-from", "map")
    assert result.exit_code == 2
    assert "belong to run folders" in result.output


def test_verdicts_join_the_checks_of_a_run(small_run):  # noqa: F811
    run = small_run / "run"
    checks = [entry["name"] for entry in json.loads((run / "checks.json").read_text())["checks"]]
    found = [entry["name"] for entry in json.loads((run / "diagnosis.json").read_text())["checks"]]
    assert found == ["bead distance", "label noise", "short-range coverage"]
    assert checks[: len(found)] == found
    assert len(set(checks)) == len(checks)


def test_a_run_without_a_diagnosis_is_evaluated_without_its_checks(small_run):  # noqa: F811
    (small_run / "run" / "diagnosis.json").unlink()
    record = json.loads((small_run / "run" / "record.json").read_text())
    del record["stages"]["diagnose"]
    (small_run / "run" / "record.json").write_text(json.dumps(record))
    beadsmith.run(small_run / "small.yaml", output=small_run / "run", verbs=("evaluate",))
    checks = [entry["name"] for entry in json.loads((small_run / "run" / "checks.json").read_text())["checks"]]
    assert "bead distance" not in checks
    assert "reference frames" in checks


def test_training_drops_a_diagnosis_of_other_settings(small_run):  # noqa: F811
    config, run = small_run / "small.yaml", small_run / "run"
    changed = ("network.n_features=5", "training.epochs=1")
    beadsmith.run(config, changed, output=run, verbs=("train",), restart_from="train")
    assert not (run / "diagnosis.json").exists()
    events = Alarms()
    beadsmith.run(config, changed, output=run, verbs=("diagnose",), listener=events)
    assert events.events == ["diagnose"]
