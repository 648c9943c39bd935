"""The command `import` and the section `reference`: what a user types, sees and may get wrong."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import beadsmith
import example_files as files
from beadsmith.cli import app
from beadsmith.config.load import load_config
from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory, read_trajectory
from small_run import SMALL_YAML

FRAMES = files.spring_waters(n_frames=60)
YAML = """\
name: waters
reference:
  files: [waters.trr]
  topology: waters.gro
state:
  temperature: 300 K
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a trajectory, its topology and a configuration, and work in it."""
    monkeypatch.chdir(tmp_path)
    files.write_trr("waters.trr", FRAMES)
    files.write_gro("waters.gro", FRAMES)
    (tmp_path / "waters.yaml").write_text(YAML)
    return tmp_path


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def refuse(result, *parts):
    """Check exit code and message: one paragraph that holds all parts."""
    assert result.exit_code == 2, result.output + result.stderr
    paragraph = result.stderr.strip()
    assert "\n" not in paragraph
    for part in parts:
        assert part in paragraph, paragraph


def test_a_configuration_imports_into_a_run_folder(folder):
    result = invoke("import", "waters.yaml")
    assert result.exit_code == 0, result.output + result.stderr
    assert "60 of 60 frames" in result.output
    assert "60 frames of 24 atoms in 8 molecules, 16 bonds, 0 constraints" in result.output
    assert "note: the 16 bonds were guessed" in result.output
    reference = read_trajectory(folder / "runs" / "waters" / "reference.h5")
    np.testing.assert_allclose(reference.forces, FRAMES.forces, atol=2e-3)
    assert reference.state_point.temperature == 300.0


def test_the_same_command_again_does_nothing_even_when_the_files_are_gone(folder):
    assert invoke("import", "waters.yaml").exit_code == 0
    written = (folder / "runs" / "waters" / "reference.h5").stat().st_mtime_ns
    (folder / "waters.trr").unlink()
    result = invoke("import", "runs/waters")
    assert result.exit_code == 0, result.stderr
    assert (folder / "runs" / "waters" / "reference.h5").stat().st_mtime_ns == written


def test_a_changed_file_is_imported_again(folder):
    assert invoke("import", "waters.yaml").exit_code == 0
    files.write_trr("waters.trr", files.spring_waters(n_frames=50, seed=2))
    assert invoke("import", "waters.yaml").exit_code == 0
    with open_trajectory(folder / "runs" / "waters" / "reference.h5") as stored:
        assert stored.n_frames == 50


def test_files_alone_become_a_reference(folder):
    words = ("waters.trr", "--topology", "waters.gro", "--temperature", "300 K", "--set", "stride=2")
    result = invoke("import", *words)
    assert result.exit_code == 0, result.output + result.stderr
    assert "wrote reference.h5" in result.output
    reference = read_trajectory(folder / "reference.h5")
    np.testing.assert_allclose(reference.forces, FRAMES.forces[::2], atol=2e-3)
    refuse(invoke("import", *words[:-1], "stride=3"), "came from another import")
    assert invoke("import", *words).exit_code == 0


def test_check_opens_the_files(folder):
    result = invoke("check", "waters.yaml")
    assert result.exit_code == 0, result.output + result.stderr
    assert "valid" in result.output
    assert "60 of 60 frames" in result.output
    assert "units of forces" in result.output


def test_the_template_names_every_key_and_loads(folder):
    assert invoke("init", "import").exit_code == 0
    settings = load_config(folder / "imported.yaml")
    assert settings.system is None
    assert settings.reference.files == ("traj.trr",)


# words of the command, what is done to the files before, parts of the message
REFUSALS = {
    "truncated": ((), lambda: _truncate("waters.trr"), ("59 complete frames", "truncated", "damaged_end: skip")),
    "other atoms": ((), lambda: files.write_gro("waters.gro", files.spring_waters(n_molecules=5)), ("15 atoms", "24")),
    "no forces": ((), lambda: files.write_trr("waters.trr", FRAMES, forces=False), ("no forces", "nstfout")),
    "some forces": ((), lambda: files.write_trr("waters.trr", FRAMES, forces_every=2), ("30 of 60", "1, 3, 5")),
    "unknown format": (("--set", "reference.files=[waters.gro]"), None, ("format of 'waters.gro'", "Known endings")),
    "missing": (("--set", "reference.files=[none.trr]"), None, ("'none.trr' does not exist",)),
    "no trajectory": ((), lambda: _write("waters.trr", "nonsense" * 40), ("'waters.trr' is damaged", "1993")),
    "empty": ((), lambda: _write("waters.trr", ""), ("'waters.trr' is empty",)),
    "topology unknown": (("--set", "reference.topology=none"), None, ("what its atoms are", "'topology'")),
    "units missing": (("--set", "reference.files=[waters.dump]"), lambda: _dump(), ("units of", "not stated", "real")),
    "wrong units": (
        ("--set", "reference.files=[waters.npz]", "--set", "reference.units.style=real"),
        lambda: files.write_npz("waters.npz", FRAMES),
        ("lengths cannot be right", "nm, but were taken for angstrom"),
    ),
    "unknown key": (("--set", "reference.topolgy=a"), None, ("'topolgy'", "'topology'")),
    "two origins": (("--set", "system.molecules=[{name: methanol, count: 9}]"), None, ("both are given",)),
    "wrong verb": (("sample",), None, ("no system to sample", "beadsmith import")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_input_costs_one_paragraph(folder, name):
    words, spoil, parts = REFUSALS[name]
    if spoil is not None:
        spoil()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    verb = words[0] if words[:1] == ("sample",) else "import"
    refuse(invoke(verb, "waters.yaml", *(word for word in words if word != "sample")), *parts)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["truncated", "some forces", "empty"])
def test_a_bad_input_leaves_an_earlier_import_as_it_was(folder, name):
    assert invoke("import", "waters.yaml").exit_code == 0
    path = folder / "runs" / "waters" / "reference.h5"
    before = path.read_bytes()
    REFUSALS[name][1]()
    refuse(invoke("import", "waters.yaml"), *REFUSALS[name][2])
    assert path.read_bytes() == before


def test_the_command_without_its_temperature_is_refused(folder):
    refuse(invoke("import", "waters.trr", "--topology", "waters.gro"), "temperature", "--temperature '300 K'")


def test_options_for_files_are_refused_with_a_configuration(folder):
    refuse(invoke("import", "waters.yaml", "--topology", "waters.gro"), "'--topology'")


def test_a_sampled_configuration_cannot_be_imported(folder):
    (folder / "small.yaml").write_text(SMALL_YAML)
    refuse(invoke("import", "small.yaml"), "no reference to import", "beadsmith sample")


def test_a_configuration_needs_a_system_or_a_reference(folder):
    (folder / "none.yaml").write_text("name: none\nstate: {temperature: 300 K}\n")
    with pytest.raises(InputError, match=r"either a 'system' to sample or a 'reference' to import, neither"):
        load_config(folder / "none.yaml")


def test_an_imported_liquid_goes_through_all_stages(finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(finished_run / "run" / "reference.h5", "sampled.h5")
    sampled = read_trajectory(tmp_path / "sampled.h5")
    frames = files.Frames(
        positions=sampled.positions,
        forces=sampled.forces,
        velocities=np.zeros_like(sampled.positions),
        cell=sampled.cell,
        times=sampled.times,
        whole=sampled.positions,
    )
    files.write_trr("liquid.trr", frames)
    head, _, tail = SMALL_YAML.partition("system:")
    _, _, tail = tail.partition("mapping:")
    reference = "reference:\n  files: [liquid.trr]\n  topology: sampled.h5\nstate:\n  temperature: 300 K\nmapping:"
    (tmp_path / "liquid.yaml").write_text(head + reference + tail)
    result = beadsmith.run(tmp_path / "liquid.yaml", output=tmp_path / "run")
    assert list(result.record.stages)[:2] == ["import", "map"]
    imported = read_trajectory(tmp_path / "run" / "reference.h5")
    np.testing.assert_allclose(imported.forces, sampled.forces, rtol=1e-6)
    assert imported.topology.constraints.tolist() == sampled.topology.constraints.tolist()
    mine, theirs = read_trajectory(tmp_path / "run" / "mapped.h5"), read_trajectory(finished_run / "run" / "mapped.h5")
    np.testing.assert_allclose(mine.forces, theirs.forces, atol=1e-2)
    assert (tmp_path / "run" / "report.html").exists()


def _truncate(name):
    with open(name, "rb+") as file:
        file.truncate(file.seek(0, 2) - 100)


def _write(name, text):
    with open(name, "w") as file:
        file.write(text)


def _dump():
    files.write_lammps("waters.dump", replace(FRAMES), units=False)
