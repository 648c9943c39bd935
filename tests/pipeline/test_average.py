"""Averaged labels as a stage: computed where asked for, trained on with the frames, and taken along by other runs."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import beadsmith
from beadsmith.cli import app
from beadsmith.errors import InputError
from beadsmith.force_field import load_force_field
from beadsmith.io.h5md import read_trajectory
from beadsmith.pipeline.training_inputs import find_mapped
from beadsmith.report.tables import tabulate_files

ALANINE_YAML = """\
name: alanine
seed: 2
system: {kind: peptide, sequence: ACE-ALA-NME, solvent: vacuum}
state: {temperature: 300 K}
sampling: {timestep: 2 fs, equilibration: 0.2 ps, duration: 2 ps, save_interval: 0.02 ps, threads: 1}
mapping: {beads: backbone_cb}
mean_force: {frames: 20, equilibration: 0 ps, duration: 0.2 ps, sample_interval: 0.01 ps}
prior: {bonds: none, angles: none, dihedrals: none, n_blocks: 3}
network: {kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_knots: 64}
training: {epochs: 2, batch_size: 10, noise_floor_fractions: [], thermal: linear}
"""
"""Six beads whose forces at one temperature, and their responses, give a potential for all temperatures."""

UP_TO_TRAINING = ("sample", "map", "average", "train")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alanine")
    (folder / "alanine.yaml").write_text(ALANINE_YAML)
    result = beadsmith.run(folder / "alanine.yaml", output=folder / "run", verbs=UP_TO_TRAINING)
    return folder, result


@pytest.fixture
def alanine(trained, tmp_path):
    """Return a copy of that folder that a test may change."""
    shutil.copytree(trained[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_averaged_labels_are_written_and_recorded(trained):
    folder, result = trained
    labels = read_trajectory(folder / "run" / "mean_force.h5")
    assert labels.n_frames == 20
    assert labels.response_forces is not None
    assert result.record.stages["average"].summary["noise_floor"]["value"] > 0.0


def test_training_uses_frames_and_averages_by_their_noise(trained):
    folder, _ = trained
    summary = json.loads((folder / "run" / "training.json").read_text())
    plain, averaged = summary["labels"]
    assert [plain["is_averaged"], averaged["is_averaged"]] == [False, True]
    assert set(plain["labels"]) == {"forces"}
    assert set(averaged["labels"]) == {"forces", "response_forces"}
    assert averaged["labels"]["forces"]["mean_weight"] > plain["labels"]["forces"]["mean_weight"]
    assert summary["n_frames"]["train"] == 70 + 14
    force_field = load_force_field(folder / "run" / "force_field")
    assert force_field.thermal_form.kind == "linear"
    assert force_field.network.n_channels == 2


def test_losses_stand_beside_the_measured_noise(trained):
    folder, result = trained
    plain, averaged = json.loads((folder / "run" / "training.json").read_text())["files"]
    assert averaged["noise_floor"] == result.record.stages["average"].summary["noise_floor"]
    assert plain["noise_floor"] is None
    assert plain["label_noise"] is None
    labels = read_trajectory(folder / "run" / "mean_force.h5").force_noise.astype(float)
    assert averaged["label_noise"] == pytest.approx(np.mean(labels[-4:] ** 2))
    assert averaged["n_frames"] == {"train": 14, "validation": 2, "test": 4}
    assert averaged["test"]["network"]["value"] > 0.0
    assert set(averaged["test"]) == set(plain["test"])
    table = tabulate_files(json.loads((folder / "run" / "training.json").read_text()))
    assert [row[0] for row in table.rows] == ["1: 300 K, 70 frames", "2: 300 K, 14 averages"]
    assert len(table.header) == len(table.rows[0])


def test_a_repeated_run_computes_nothing(alanine):
    before = (alanine / "run" / "mean_force.h5").stat().st_mtime_ns
    beadsmith.run(alanine / "alanine.yaml", output=alanine / "run", verbs=UP_TO_TRAINING)
    assert (alanine / "run" / "mean_force.h5").stat().st_mtime_ns == before


def test_other_averages_mean_other_training_and_the_same_frames(alanine):
    mapped = (alanine / "run" / "mapped.h5").stat().st_mtime_ns
    changed = ["mean_force.frames=16"]
    with pytest.raises(InputError, match=r"mean_force\.frames"):
        beadsmith.run(alanine / "alanine.yaml", changed, output=alanine / "run", verbs=UP_TO_TRAINING)
    beadsmith.run(alanine / "alanine.yaml", changed, output=alanine / "run", verbs=("average",), restart_from="average")
    assert read_trajectory(alanine / "run" / "mean_force.h5").n_frames == 16
    assert (alanine / "run" / "mapped.h5").stat().st_mtime_ns == mapped
    assert not (alanine / "run" / "force_field").exists()


def test_a_run_lends_its_averages_with_its_frames(trained):
    folder, _ = trained
    names = [path.name for path in find_mapped(str(folder / "run"))]
    assert names == ["mapped.h5", "mean_force.h5"]
    assert [path.name for path in find_mapped(str(folder / "run" / "mapped.h5"))] == ["mapped.h5"]


def test_the_force_field_is_simulated_at_a_temperature_it_was_not_trained_at(trained, tmp_path):
    folder, _ = trained
    outcome = CliRunner().invoke(
        app,
        ["simulate", str(folder / "run" / "force_field"), "--from", str(folder / "run" / "mapped.h5"),
         "--temperature", "350 K", "--output", str(tmp_path / "s.h5"), "--set", "timestep=1 fs",
         "--set", "equilibration=0 ps", "--set", "duration=0.02 ps", "--set", "save_interval=0.01 ps",
         "--set", "max_displacement=1 nm", "--set", "max_temperature_ratio=1e6"],
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    frames = read_trajectory(tmp_path / "s.h5")
    assert frames.state_point.temperature == 350.0
    assert np.isfinite(frames.energy).all()


def test_averaging_without_being_told_how_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(ALANINE_YAML.replace("mean_force:", "# mean_force:").replace("linear", "none"))
    outcome = CliRunner().invoke(app, ["average", str(tmp_path / "a.yaml"), "--output", str(tmp_path / "run")])
    assert outcome.exit_code == 2
    assert "no section 'mean_force'" in outcome.output


BAD_SECTIONS = [
    ("mapping: {beads: backbone_cb}", "mapping: {beads: backbone_cb, noise_width: 0.005 nm}", "noise on them"),
    ("solvent: vacuum", "solvent: tip3p", "'system.save' is solute"),
    ("duration: 0.2 ps", "duration: 0.1 ps", "gives 10 samples, expected at least 20"),
    ("frames: 20", "frames: twenty", "'mean_force.frames' is 'twenty', expected a whole number"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD_SECTIONS)
def test_sections_that_cannot_be_averaged_are_refused_before_anything_is_computed(tmp_path, old, new, message):
    (tmp_path / "a.yaml").write_text(ALANINE_YAML.replace(old, new))
    with pytest.raises(InputError, match=message):
        beadsmith.run(tmp_path / "a.yaml", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_potential_that_depends_on_temperature_needs_more_than_one(tmp_path):
    (tmp_path / "a.yaml").write_text(ALANINE_YAML.replace("mean_force:", "# mean_force:"))
    with pytest.raises(InputError, match=r"all forces are at 300 K.*train_with"):
        beadsmith.run(tmp_path / "a.yaml", output=tmp_path / "run")
