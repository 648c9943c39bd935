"""The command line: help that teaches, templates, schema, exit codes, and simulations outside a run folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import beadsmith
from beadsmith.cli import app
from beadsmith.config.load import load_config
from beadsmith.config.templates import TEMPLATES
from beadsmith.io.h5md import read_trajectory
from small_run import SMALL_YAML

ROOT = Path(__file__).parents[1]
# maps that examples share lie in folders of their own
FILES = sorted([*ROOT.glob("examples/*.yaml"), *ROOT.glob("examples/*/*.yaml")])
EXAMPLES = [path for path in FILES if not path.stem.startswith("study_")]
COMMANDS = [command.name for command in app.registered_commands]


def invoke(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


MAIN = "from beadsmith.cli import main; main()"


def start(*words: object, cwd: Path) -> subprocess.Popen[str]:
    """Start the real program, with the signals of a terminal: a test run in the background ignores SIGINT."""
    call = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);" + MAIN]
    call += map(str, words)
    return subprocess.Popen(call, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_all_promised_commands_are_there():
    assert [
        *("init", "check", "run"),
        *("sample", "import", "map", "diagnose", "average", "train", "simulate", "evaluate", "report"),
        *("study", "export", "schema", "doctor"),
    ] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"beadsmith {command}" in result.output
    assert "Example" in result.output


def test_the_version_is_shown():
    assert invoke("--version").output == f"beadsmith {beadsmith.__version__}\n"


def test_import_and_help_load_no_heavy_library():
    heavy = "[name for name in ('torch', 'openmm', 'numpy', 'pint') if name in sys.modules]"
    code = f"import beadsmith, beadsmith.cli, sys; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_public_name_can_be_imported():
    assert all(callable(getattr(beadsmith, name)) for name in beadsmith.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = beadsmith.runn


def test_init_lists_the_kinds_of_systems():
    output = invoke("init").output
    assert all(kind in output and template.title in output for kind, template in TEMPLATES.items())


@pytest.mark.parametrize("kind", TEMPLATES)
def test_init_writes_a_configuration_that_is_valid_and_explains_every_key(kind, tmp_path):
    path = tmp_path / "new.yaml"
    assert invoke("init", kind, "--output", path).exit_code == 0
    load_config(path)
    lines = path.read_text().splitlines()
    keys = [line for line in lines if line.lstrip("# ").partition(":")[0].isidentifier()]
    assert len(keys) > 50
    assert all(lines[lines.index(line) - 1].lstrip().startswith("#") for line in keys)


def test_init_overwrites_only_when_forced(tmp_path):
    path = tmp_path / "new.yaml"
    path.write_text("mine")
    assert invoke("init", "liquid", "--output", path).exit_code == 2
    assert path.read_text() == "mine"
    assert invoke("init", "liquid", "--output", path, "--force").exit_code == 0
    assert path.read_text() != "mine"


def test_the_schema_knows_every_key_of_the_examples():
    schema = json.loads(invoke("schema").output)

    def assert_known(document, schema, path):
        choices = schema.get("anyOf", [schema])
        if isinstance(document, dict):
            sections = [choice for choice in choices if choice.get("type") == "object"]
            kinds = {choice["properties"].get("kind", {}).get("const"): choice for choice in sections}
            section = kinds.get(document.get("kind"), sections[0])
            for key, value in document.items():
                assert key in section["properties"], f"{path}.{key}"
                assert section["properties"][key]["description"], f"{path}.{key}"
                assert_known(value, section["properties"][key], f"{path}.{key}")

    for example in EXAMPLES:
        assert_known(yaml.safe_load(example.read_text()), schema, example.name)


# those that import need a user's files: tests/importing/test_examples.py has some
@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if not path.stem.startswith("import_")], ids=lambda path: path.stem
)
def test_every_example_is_valid_and_its_cost_is_estimated(example, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = invoke("check", example)
    assert result.exit_code == 0, result.stderr
    for word in ("valid", "sample", "train", "simulate_pair_spline", "memory", "factor of two"):
        assert word in result.output


def test_doctor_tries_every_openmm_platform():
    result = invoke("doctor")
    assert result.exit_code == 0
    assert "OpenMM platform Reference" in result.output
    assert "torch" in result.output


def test_run_shows_folder_seed_and_resume_command_first_and_report_last(small_run):
    config, folder = small_run / "small.yaml", small_run / "run"
    result = invoke("run", config, "--output", folder)
    checks = json.loads((folder / "checks.json").read_text())["checks"]
    # what so short a run gets right differs between processors
    assert result.exit_code == (3 if "fail" in {check["status"] for check in checks} else 0)
    lines = result.output.splitlines()
    assert lines[0].split() == ["run", "folder", str(folder)]
    assert lines[1].split() == ["seed", "3"]
    assert lines[2].endswith(f"beadsmith run {config} --output {folder}")
    assert lines[-1] == f"report: {folder / 'report.html'}"
    for word in ("zero force", "pair spline", "network", "explained", "kinetic temperature", "closest pair"):
        assert word in result.output


def test_a_failed_check_sets_exit_code_3(small_run, monkeypatch):
    import beadsmith.diagnostics.dynamics as dynamics

    # no pair of 40 methanols ever comes that close
    monkeypatch.setattr(dynamics, "CLOSEST_PAIR_SLACK", -1.0)
    result = invoke("evaluate", small_run / "run", "--restart-from", "evaluate")
    assert result.exit_code == 3
    assert "fail" in result.output


def test_options_of_train_are_settings(small_run):
    result = invoke("train", small_run / "run", "--precision", "float64", "--threads", 1)
    assert result.exit_code == 2
    assert "training.precision: float32 -> float64" in result.stderr
    assert "threads" not in result.stderr.partition("Start a new run")[0].partition("changed:")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_exit_code_4_and_the_resume_command(tmp_path, number):
    (tmp_path / "small.yaml").write_text(SMALL_YAML.replace("duration: 6 ps", "duration: 600 ps"))
    process = start("sample", "small.yaml", "--output", "run", cwd=tmp_path)
    deadline = time.monotonic() + 120.0
    while not list((tmp_path / "run").glob("reference.h5.parts/part-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        # polling another process: there is no event to wait for
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert errors.startswith("interrupted: interrupted in stage 'sample'")
    assert "beadsmith sample small.yaml --output run" in errors
    assert json.loads((tmp_path / "run" / "record.json").read_text())["stages"]["sample"]["status"] == "interrupted"


def test_an_unexpected_fault_says_sorry_and_keeps_the_traceback(small_run, monkeypatch):
    monkeypatch.setattr("beadsmith.pipeline.execute.hash_path", lambda path: 1 / 0)
    result = invoke("run", small_run / "run")
    assert result.exit_code == 1
    assert "Sorry, this is a fault in beadsmith (ZeroDivisionError" in result.stderr
    assert "1 / 0" in (small_run / "run" / "error.log").read_text()


SHORT = ("--set", "duration=1 ps", "--set", "equilibration=0.1 ps", "--set", "save_interval=0.1 ps")


def test_a_force_field_is_simulated_from_a_replicated_frame(finished_run, tmp_path):
    run, output = finished_run / "run", tmp_path / "free.h5"
    words = ("--from", run / "mapped.h5", "--replicate", "2x1x1", *SHORT, "--output", output)
    result = invoke("simulate", run / "force_field", *words)
    assert result.exit_code == 0, result.stderr
    trajectory = read_trajectory(output)
    assert trajectory.n_sites == 80
    assert trajectory.n_frames == 10
    again = invoke("simulate", run / "force_field", *words)
    assert again.exit_code == 0


def test_a_force_field_is_simulated_from_counts_at_another_temperature(finished_run, tmp_path):
    output = tmp_path / "free.h5"
    start_words = ("--counts", "methanol=50", "--density", "700 kg/m^3", "--temperature", "47 degC")
    result = invoke("simulate", finished_run / "run" / "force_field", *start_words, *SHORT, "--output", output)
    assert result.exit_code == 0, result.stderr
    trajectory = read_trajectory(output)
    assert trajectory.n_sites == 50
    assert trajectory.state_point.temperature == pytest.approx(320.15)


@pytest.mark.parametrize("program", ["openmm", "ase"])
def test_export_writes_a_folder_that_can_be_run(finished_run, tmp_path, program):
    if program == "ase":
        pytest.importorskip("ase")
    result = invoke("export", finished_run / "run" / "force_field", "--to", program, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / f"run_{program}.py").exists()
    assert (tmp_path / "out" / "force_field" / "weights.safetensors").exists()
