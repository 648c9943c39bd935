"""Bad input costs the time to read one paragraph: exit code 2, what, where, how to go on, and nothing is lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from beadsmith.cli import app
from beadsmith.pipeline.record import hash_path
from small_run import SMALL_YAML

WORDS_AT_MOST = 120


def invoke(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refuse(result, *parts: str) -> None:
    """Check exit code and message: one paragraph that holds all parts, and no traceback."""
    assert result.exit_code == 2, result.output + result.stderr
    paragraph = result.stderr.strip()
    assert "\n" not in paragraph
    assert "Traceback" not in paragraph
    assert len(paragraph.split()) < WORDS_AT_MOST
    for part in parts:
        assert part in paragraph, paragraph


def hash_results(folder: Path) -> dict[str, str]:
    """Return the hashes of everything that a refused command must leave alone."""
    ignored = ("error.log", ".lock", "record.json", "run.yaml")
    return {path.name: hash_path(path) for path in sorted(folder.iterdir()) if path.name not in ignored}


# Configurations: name, replacement in the YAML, parts of the message
CONFIGURATIONS = [
    ("unknown key", ("cutoff: 0.7 nm\n  threads", "cutof: 0.7 nm\n  threads"), (":14", "'cutof'", "'cutoff'")),
    ("unknown section", ("training:", "trainig:"), ("unknown key 'trainig'", "'training'")),
    ("duplicate key", ("seed: 3", "seed: 3\nseed: 4"), (":3", "'seed' appears twice", ":2)")),
    ("missing unit", ("density: 0.75 g/cm^3", "density: 0.75"), (":8", "without a unit", "0.75 g/cm^3")),
    ("wrong unit", ("cutoff: 0.7 nm\n  threads", "cutoff: 0.7 ps\n  threads"), (":14", "unit of time", "length")),
    ("unknown unit", ("duration: 6 ps", "duration: 6 parsnips"), (":11", "unknown unit 'parsnips'")),
    ("ampere for angstrom", ("soft_max: 0.6 nm", "soft_max: 6 A"), (":26", "electric current", "angstrom")),
    ("negative temperature", ("300 K", "-300 K"), (":7", "'state.temperature' is -300 K", "> 0")),
    ("absurd temperature", ("300 K", "30000 K"), (":7", "10 to 3000 K")),
    ("negative density", ("0.75 g/cm^3", "-0.75 g/cm^3"), (":8", "density", "> 0")),
    ("density of lead", ("0.75 g/cm^3", "11 g/cm^3"), (":8", "overlap")),
    ("density and pressure", ("0.75 g/cm^3", "0.75 g/cm^3\n  pressure: 1 bar"), (":8", "both are given")),
    ("neither density nor pressure", ("  density: 0.75 g/cm^3\n", ""), (":6", "neither is given")),
    ("unknown molecule", ("methanol, count", "metanol, count"), (":5", "'metanol'", "'methanol'")),
    ("count of zero", ("count: 40", "count: 0"), (":5", "count", "at least 1")),
    ("negative count", ("count: 40", "count: -40"), (":5", "count", "at least 1")),
    ("fractional count", ("count: 40", "count: 40.5"), (":5", "'system.molecules.0.count'", "whole number")),
    ("no molecules", ("\n    - {name: methanol, count: 40}", " []"), (":4", "molecules", "empty")),
    ("molecule twice", ("count: 40}", "count: 40}\n    - {name: methanol, count: 4}"), ("given twice",)),
    ("box too small", ("count: 40", "count: 4"), (":14", "more than half of the box", "counts")),
    ("network cutoff over half the box", ("n_sensitivities: 8\n  cutoff: 0.7", "n_sensitivities: 8\n  cutoff: 0.9"),
     (":25", "'network.cutoff' is 0.9 nm", "more than half of the box")),
    ("prior cutoff over half the box", ("prior:\n  cutoff: 0.7", "prior:\n  cutoff: 0.9"), (":19", "'prior.cutoff'")),
    ("saving between timesteps", ("save_interval: 0.1 ps", "save_interval: 0.101 ps"), (":12", "not a multiple")),
    ("simulation saving between steps", ("save_interval: 0.05 ps", "save_interval: 51.2 fs"), (":34", "whole number")),
    ("run shorter than a frame", ("duration: 2 ps", "duration: 0.01 ps"), (":33", "shorter than one")),
    ("too few frames", ("duration: 6 ps", "duration: 1 ps"), (":11", "10 frames", "at least 20")),
    ("everything discarded", ("discard: 0.5 ps", "discard: 5 ps"), (":33", "frames are left")),
    ("timestep too long", ("threads: 1", "timestep: 20 fs"), (":15", "20 fs", "5 fs")),
    ("word for a number", ("epochs: 3", "epochs: three"), (":28", "'training.epochs' is 'three'", "whole number")),
    ("no epochs", ("epochs: 3", "epochs: 0"), (":28", "epochs", ">= 1")),
    ("fraction over one", ("epochs: 3", "test_fraction: 1.5"), (":28", "test_fraction", "between 0 and 1")),
    ("misspelt choice", ("epochs: 3", "precision: flaot32"), (":28", "float32, float64", "Did you mean 'float32'")),
    ("unknown network", ("n_features: 4", "kind: schnett"), (":22", "'network.kind'", "hipnn")),
    ("tensor rank", ("n_features: 4", "l_max: 3"), (":22", "'network.l_max' is '3'", "0, 1, 2")),
    ("radial functions beyond the cutoff", ("soft_max: 0.6 nm", "soft_max: 0.8 nm"), ("soft_max", "cutoff")),
    ("section given as a value", ("state:\n  temperature: 300 K\n  density: 0.75 g/cm^3", "state: hot"),
     (":6", "section")),
    ("missing section", ("system:\n  molecules:\n    - {name: methanol, count: 40}\n", ""), ("'system' to sample",)),
    ("null where a value is needed", ("seed: 3", "seed: null"), (":2", "'seed' has no value")),
    ("name that leaves the runs folder", ("name: small", "name: ../../small"), (":1", "plain folder name", "--output")),
    ("negative seed", ("seed: 3", "seed: -3"), (":2", "seed", "expected 0 to")),
    ("tab", ("  temperature: 300 K", "\ttemperature: 300 K"), (":7", "tab", "spaces")),
    ("open bracket", ("count: 40}", "count: 40"), ("not valid YAML",)),
    ("Python object", ("name: small", "name: !!python/object/apply:os.system ['touch hacked']"), (":1", "tag")),
    ("alias", ("name: small", "name: &a small\nseed: *a"), (":2", "aliases")),
    ("arithmetic in a quantity", ("6 ps", "2*3 ps"), (":11", "unknown unit '*3 ps'")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "parts"), [c[1:] for c in CONFIGURATIONS], ids=[c[0] for c in CONFIGURATIONS])
def test_a_bad_configuration_is_refused(change, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = change
    assert SMALL_YAML.count(old) >= 1
    Path("bad.yaml").write_text(SMALL_YAML.replace(old, new, 1))
    refuse(invoke("run", "bad.yaml"), "bad.yaml", *parts)
    assert os.listdir() == ["bad.yaml"]


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "empty"), (b"- a\n- b\n", "mapping"), (b"\x80\x81\x82", "UTF-8"), (b"[" * 50_000, "nested too deeply")],
    ids=["empty file", "list", "binary file", "deep nesting"],
)
def test_a_file_that_is_no_configuration_is_refused(content, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_bytes(content)
    refuse(invoke("check", "bad.yaml"), part)
    assert os.listdir() == ["bad.yaml"]


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("epochs", "not of the form 'key=value'"),
        ("training..epochs=3", "not of the form 'key=value'"),
        ("trainig.epochs=3", "Did you mean 'training'"),
        ("training.epochs=many", "a whole number"),
        ("system.molecules.3.count=4", "entries 0 to 0"),
        ("network.cutoff=0.8", "You probably meant 'cutoff: 0.8 nm'"),
        ("state.temperature=", "has no value"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_a_bad_override_is_refused_and_named(option, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(SMALL_YAML)
    refuse(invoke("run", "good.yaml", "--set", option), f"option '--set {option}'", part)
    assert os.listdir() == ["good.yaml"]


def test_a_missing_configuration_is_refused_by_the_program_itself(tmp_path):
    call = [sys.executable, "-m", "beadsmith.cli", "run", "nowhere.yaml"]
    result = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "'nowhere.yaml' does not exist" in result.stderr
    assert not list(tmp_path.iterdir())


# Run folders: name, what happened to the folder, command, parts of the message


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_values(path: Path, dataset: str, value: float) -> None:
    with h5py.File(path, "a") as file:
        file[dataset][3] = value


def forget(folder: Path, *stages: str) -> None:
    """Take stages out of the record, so that their outputs are foreign files and the stages before are not checked."""
    record = json.loads((folder / "record.json").read_text())
    for stage in stages:
        del record["stages"][stage]
    (folder / "record.json").write_text(json.dumps(record))


def adopt(folder: Path, stage: str, name: str) -> None:
    """Make the record believe that a stage wrote the file as it is now, so that the next stage meets it."""
    record = json.loads((folder / "record.json").read_text())
    record["stages"][stage]["outputs"][name] = hash_path(folder / name)
    (folder / "record.json").write_text(json.dumps(record))


def poison(dataset: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        set_values(folder / "reference.h5", dataset, np.nan)
        adopt(folder, "sample", "reference.h5")

    return act


def drop_forces(folder: Path) -> None:
    with h5py.File(folder / "reference.h5", "a") as file:
        del file["particles/all/force"]
    adopt(folder, "sample", "reference.h5")


def drop_an_atom(folder: Path) -> None:
    with h5py.File(folder / "reference.h5", "a") as file:
        for name in ("position", "force"):
            values = file[f"particles/all/{name}/value"][:, :-1]
            del file[f"particles/all/{name}/value"]
            file[f"particles/all/{name}/value"] = values
    adopt(folder, "sample", "reference.h5")


def edit_force_field(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = folder / "force_field" / "force_field.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return act


FOLDERS = [
    ("truncated reference", lambda f: truncate(f / "reference.h5"), ("map",), ("reference.h5", "damaged", "sample")),
    ("truncated mapped", lambda f: truncate(f / "mapped.h5"), ("run",), ("mapped.h5", "damaged", "map")),
    ("NaN positions", poison("particles/all/position/value"), ("map",), ("'positions'", "frame 3", "reference.h5")),
    ("NaN forces", poison("particles/all/force/value"), ("map",), ("'forces'", "frame 3", "reference.h5")),
    ("NaN virial", poison("observables/molecular_virial/value"), ("map",), ("'virial'", "frame 3")),
    ("no forces", drop_forces, ("map",), ("no forces", "reference.h5", "sample")),
    ("wrong atom count", drop_an_atom, ("map",), ("239", "240")),
    ("damaged record", lambda f: (f / "record.json").write_text("{"), ("run",), ("record.json", "not valid JSON")),
    ("record of the future", lambda f: (f / "record.json").write_text('{"format_version": 9}'), ("run",),
     ("format version 9",)),
    ("foreign file", lambda f: forget(f, "report"), ("report",), ("report.html", "did not write it", "--output")),
    ("changed seed", lambda f: None, ("run", "--set", "seed=4"), ("seed: 3 -> 4", "--output", "--restart-from sample")),
    ("changed force map", lambda f: None, ("map", "--set", "mapping.forces=sum"), ("mapping.forces: optimal -> sum",)),
    ("no such stage", lambda f: None, ("run", "--restart-from", "trian"), ("'trian'", "--restart-from", "train")),
    ("restart of another stage", lambda f: None, ("train", "--restart-from", "map"), ("discard", "beadsmith map")),
    ("missing upstream", lambda f: (f / "mapped.h5").unlink(), ("train",), ("'map'", "beadsmith map")),
]  # fmt: skip


@pytest.mark.parametrize(("act", "words", "parts"), [c[1:] for c in FOLDERS], ids=[c[0] for c in FOLDERS])
def test_a_bad_run_folder_is_refused_and_left_alone(act, words, parts, small_run):
    folder = small_run / "run"
    if words[0] == "map" and "--set" not in words:
        # the stage is to be done again, from the file that was spoilt
        record = json.loads((folder / "record.json").read_text())
        record["stages"]["map"]["input_hash"] = "another"
        (folder / "record.json").write_text(json.dumps(record))
    act(folder)
    before = hash_results(folder)
    refuse(invoke(words[0], small_run / "small.yaml", "--output", folder, *words[1:]), *parts)
    assert hash_results(folder) == before


def test_a_run_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL_YAML)
    (tmp_path / "run").write_text("thesis")
    refuse(invoke("run", tmp_path / "small.yaml", "--output", tmp_path / "run"), "is a file", "--output")
    assert (tmp_path / "run").read_text() == "thesis"


def test_a_folder_that_is_no_run_is_refused_as_configuration(tmp_path):
    refuse(invoke("run", tmp_path), "is no run folder", "run.yaml")


def test_a_result_that_links_out_of_the_run_folder_is_not_written_through(small_run):
    target = small_run / "elsewhere"
    shutil.move(small_run / "run" / "force_field", target)
    (small_run / "run" / "force_field").symlink_to(target)
    (small_run / "run" / "training.json").unlink()
    before = hash_path(target)
    refuse(invoke("train", small_run / "run"), "force_field", "link that leads out of the run folder")
    assert hash_path(target) == before


def test_a_run_folder_that_cannot_be_read_is_refused(small_run, monkeypatch):
    """Tests may run as root, whom permissions do not stop: the operating system's answer is emulated."""

    def deny(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", deny)
    refuse(invoke("run", small_run / "run"), "cannot be accessed", "permissions")


@pytest.mark.parametrize("verb", ["sample", "map", "train", "simulate", "evaluate", "report"])
def test_a_full_disk_is_told_and_the_same_command_goes_on_later(verb, small_run, monkeypatch):
    """The disk fills up as soon as the stage begins to write: what was there before stays."""
    folder = small_run / "run"
    if verb == "sample":
        (small_run / "small.yaml").write_text(SMALL_YAML)
    before = hash_results(folder)
    fsync = os.fsync
    written = []

    def fill(descriptor):
        # record.json and run.yaml are still written before the disk is full
        written.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not any(name in written[-1] for name in ("record.json", "run.yaml")):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    command = (verb, folder, "--restart-from", verb)
    monkeypatch.setattr(os, "fsync", fill)
    refuse(invoke(*command), "the disk is full", "repeat the same command")
    monkeypatch.setattr(os, "fsync", fsync)
    kept = {name: value for name, value in hash_results(folder).items() if name in before}
    assert kept.items() <= before.items()
    record = json.loads((folder / "record.json").read_text())
    assert record["stages"][verb]["status"] == "failed"
    if verb in ("map", "evaluate"):
        assert invoke(verb, folder).exit_code in (0, 3)


def test_a_nearly_full_disk_is_noticed_before_hdf5_meets_it(small_run, monkeypatch):
    usage = shutil.disk_usage(small_run)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    refuse(invoke("map", small_run / "run", "--restart-from", "map"), "the disk is full", "part-000000.h5")


# Force fields and starts: what happened, words after the force field, parts


SHORT = ("--set", "duration=1 ps", "--set", "save_interval=0.1 ps")


def rename_bead(data: dict) -> None:
    for template in data["templates"]:
        template["type_names"] = ["water"]


FORCE_FIELDS = [
    ("missing weights", lambda f: (f / "force_field" / "weights.safetensors").unlink(), ("weights.safetensors",)),
    ("torn weights", lambda f: truncate(f / "force_field" / "weights.safetensors"), ("hash differs", "train")),
    ("another format", edit_force_field(lambda d: d.update(format_version=99)), ("format version 99",)),
    ("broken JSON", lambda f: (f / "force_field" / "force_field.json").write_text("{]"), ("not valid JSON",)),
    ("unknown part", edit_force_field(lambda d: d["network"].update(kind="magic")), ("'magic'",)),
    ("missing entry", edit_force_field(lambda d: d.pop("prior")), ("damaged", "prior")),
    ("other beads", edit_force_field(rename_bead), ("bead type", "water")),
]


@pytest.mark.parametrize(("act", "parts"), [c[1:] for c in FORCE_FIELDS], ids=[c[0] for c in FORCE_FIELDS])
def test_a_bad_force_field_is_refused(act, parts, small_run, monkeypatch):
    monkeypatch.chdir(small_run)
    act(small_run / "run")
    refuse(invoke("simulate", "run/force_field", "--from", "run/mapped.h5", *SHORT), *parts)
    assert not Path("simulation.h5").exists()


STARTS = [
    ("no start", (), ("where to start", "--from")),
    ("two starts", ("--from", "run/mapped.h5", "--counts", "methanol=9"), ("not both",)),
    ("missing start file", ("--from", "nowhere.h5"), ("'nowhere.h5' does not exist",)),
    ("start that is no trajectory", ("--from", "small.yaml"), ("'small.yaml'", "HDF5")),
    ("atoms as start", ("--from", "run/reference.h5"), ("bead type", "opls")),
    ("frame that is not there", ("--from", "run/mapped.h5", "--frame", "1000"), ("frame 1000", "60 frames")),
    ("no copies", ("--from", "run/mapped.h5", "--replicate", "0x2x2"), ("'0x2x2'", "2x2x2")),
    ("two numbers of copies", ("--from", "run/mapped.h5", "--replicate", "2x2"), ("'2x2'", "2x2x2")),
    ("unknown molecule", ("--counts", "ethanol=9", "--density", "0.7 g/cm^3"), ("'ethanol'", "methanol")),
    ("malformed counts", ("--counts", "methanol:9", "--density", "0.7 g/cm^3"), ("'methanol:9'", "NAME=NUMBER")),
    ("no molecules", ("--counts", "methanol=0", "--density", "0.7 g/cm^3"), ("at least one molecule",)),
    ("counts without density", ("--counts", "methanol=9"), ("'--density'",)),
    ("density without unit", ("--counts", "methanol=9", "--density", "0.7"), ("without a unit", "g/cm^3")),
    ("temperature without unit", ("--from", "run/mapped.h5", "--temperature", "300"), ("without a unit", "300 K")),
    ("negative temperature", ("--from", "run/mapped.h5", "--temperature", "-3 K"), ("temperature is -3 K",)),
    ("unknown setting", ("--from", "run/mapped.h5", "--set", "timstep=5 fs"), ("'timstep'", "'timestep'")),
    (
        "output of another simulation",
        ("--from", "run/mapped.h5", "--output", "run/simulation.h5"),
        ("another simulation",),
    ),
    ("output is a folder", ("--from", "run/mapped.h5", "--output", "run"), ("is a folder",)),
]


@pytest.mark.parametrize(("words", "parts"), [c[1:] for c in STARTS], ids=[c[0] for c in STARTS])
def test_a_bad_start_is_refused(words, parts, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(finished_run)
    before = hash_results(finished_run / "run")
    output = () if "--output" in words else ("--output", tmp_path / "simulation.h5")
    refuse(invoke("simulate", "run/force_field", *words, *SHORT, *output), *parts)
    assert not (tmp_path / "simulation.h5").exists()
    assert hash_results(finished_run / "run") == before


def test_start_options_without_a_force_field_are_refused(small_run):
    refuse(invoke("simulate", small_run / "run", "--replicate", "2x2x2"), "no force field folder", "'--replicate'")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--to", "gromacs"), ("'gromacs'", "openmm, ase")),
        (("--to", "openmm", "--from", "nowhere.h5"), ("'nowhere.h5' does not exist",)),
        (("--to", "openmm", "--output", "run"), ("not an empty folder",)),
    ],
    ids=["unknown program", "missing start", "folder with files"],
)
def test_a_bad_export_is_refused(words, parts, finished_run, monkeypatch):
    monkeypatch.chdir(finished_run)
    refuse(invoke("export", "run/force_field", *words), *parts)


def test_a_template_that_does_not_exist_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse(invoke("init", "gas"), "'gas'", "liquid, mixture")
    assert not os.listdir()


def test_training_from_a_folder_that_is_no_force_field_is_refused(small_run):
    words = ("train", small_run / "run", "--from", small_run, "--restart-from", "train")
    refuse(invoke(*words), "force_field.json", "does not exist")
