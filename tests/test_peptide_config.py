"""Peptides in the configuration: kinds of systems, templates, what is refused before anything runs, and costs."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import beadsmith
from beadsmith.cli import app
from beadsmith.config.describe import to_document
from beadsmith.config.load import load_config
from beadsmith.config.templates import write_template
from beadsmith.errors import InputError
from beadsmith.pipeline.estimate import estimate_costs
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.starts import measure_system
from beadsmith.sampling.systems import SystemSettings
from small_run import SMALL_YAML

PEPTIDE_YAML = """\
name: peptide
system:
  kind: peptide
  sequence: ACE-ALA-NME
state:
  temperature: 300 K
sampling:
  replicas: 3
  duration: 20 ps
  save_interval: 0.1 ps
mapping:
  beads: backbone_cb
"""


def load(folder, text=PEPTIDE_YAML, *overrides):
    path = folder / "peptide.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_a_system_without_kind_is_the_liquid_it_always_was(tmp_path):
    assert isinstance(load(tmp_path, SMALL_YAML).system, SystemSettings)


def test_a_system_of_kind_peptide_is_a_peptide(tmp_path):
    settings = load(tmp_path)
    assert settings.system == PeptideSettings(sequence="ACE-ALA-NME")
    assert settings.sampling.n_frames == 600


def test_settings_of_a_peptide_survive_writing_and_reading(tmp_path):
    overrides = ("system.solvent=tip3p", "system.padding=12 angstrom", "sampling.temperatures=[300 K, 350 K]")
    settings = load(tmp_path, PEPTIDE_YAML, *overrides)
    again = load(tmp_path, yaml.safe_dump(to_document(settings)))
    assert again == settings
    assert again.system.padding == pytest.approx(1.2)
    assert again.sampling.temperatures == (300.0, 350.0)


def test_the_template_of_a_peptide_is_valid_and_names_its_kind(tmp_path):
    name, text = write_template("alanine")
    settings = load(tmp_path, text)
    assert settings.name == name == "alanine"
    assert settings.system == PeptideSettings(sequence="ACE-ALA-NME")
    assert settings.mapping.beads == "backbone_cb"
    assert "# kind: peptide" not in text


def test_init_lists_and_writes_the_peptide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "alanine" in CliRunner().invoke(app, ["init"]).output
    assert CliRunner().invoke(app, ["init", "alanine"]).exit_code == 0
    checked = CliRunner().invoke(app, ["check", "alanine.yaml"])
    assert checked.exit_code == 0, checked.stderr
    assert "beads each: 6" in checked.output


BAD = {
    "kind forgotten": (("  kind: peptide\n", ""), r"no 'kind', which makes it liquid.*peptide\.yaml:3.*kind: peptide"),
    "unknown kind": (("kind: peptide", "kind: peptid"), r"'system\.kind' is 'peptid'.*Did you mean 'peptide'"),
    "unknown residue": (("ACE-ALA-NME", "GXG"), r"'system\.sequence'.*unknown residue 'X' at place 2.*peptide\.yaml:4"),
    "density": (("300 K", "300 K\n  density: 1 g/cm^3"), r"'state\.density' is given.*has no box.*peptide\.yaml:7"),
    "pressure": (("300 K", "300 K\n  pressure: 1 bar"), r"'state\.pressure' is given.*peptide\.yaml:7.*tip3p"),
    "temperatures": (
        ("replicas: 3", "temperatures: [310 K]"),
        r"'sampling\.temperatures' are 310 K, without the 300 K of the state.*peptide\.yaml:8",
    ),
    "temperature twice": (("replicas: 3", "temperatures: [300 K, 300 K]"), r"hold 300 K, expected different"),
    "temperature far off": (("replicas: 3", "temperatures: [300 K, 1 K]"), r"'sampling\.temperatures' is 1 K.*10 to"),
    "no replicas": (("replicas: 3", "replicas: 0"), r"'sampling\.replicas' is 0, expected at least 1"),
    "few frames": (("duration: 20 ps", "duration: 0.5 ps"), r"'sampling\.duration' gives 15 frames, expected at least"),
    "loose hydrogens": (
        ("sequence: ACE", "constraints: none\n  sequence: ACE"),
        r"'sampling\.timestep' is 4 fs, but without constraints",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_bad_peptide_is_refused_with_line_and_remedy(change, message, tmp_path):
    assert change[0] in PEPTIDE_YAML
    with pytest.raises(InputError, match=message):
        load(tmp_path, PEPTIDE_YAML.replace(*change, 1))


def test_beads_that_do_not_fit_the_peptide_are_refused_by_the_check(tmp_path):
    settings = load(tmp_path, PEPTIDE_YAML, "mapping.omit=[HOH]")
    with pytest.raises(InputError, match=r"mapping\.omit name 'HOH'"):
        estimate_costs(settings)


def test_costs_follow_atoms_beads_replicas_and_temperatures(tmp_path):
    settings = load(tmp_path, PEPTIDE_YAML, "sampling.temperatures=[300 K, 350 K]", "network=none")
    costs = {entry.stage: entry for entry in estimate_costs(settings)}
    assert costs["sample"].work == "6 x 10000 steps of 22 atoms"
    # positions and forces in single precision of 2 x 600 frames
    assert costs["sample"].disk == 24 * 1200 * 22
    assert costs["map"].work == "600 frames"
    assert costs["map"].disk == 24 * 600 * 6
    assert costs["simulate_pair_spline" if "simulate_pair_spline" in costs else "simulate"].work.endswith("x 6 beads")


def test_the_water_of_a_peptide_is_counted_before_it_is_built():
    system = PeptideSettings(sequence="GYDPETGTWG", solvent="tip3p", padding=0.8, start="extended")
    size = measure_system(system)
    built = build_peptide(system, n_starts=1, seed=0, cutoff=0.9)
    assert size.topology.n_sites == built.atoms.topology.n_sites == 147
    # the box follows from the start, the number of waters from their density to a few percent
    assert size.n_simulated == pytest.approx(built.atoms.system.getNumParticles(), rel=0.05)


# glycine between its caps, heavy atoms alone
GLYCINE = """\
ATOM      1  CH3 ACE A   1      -1.522   0.000   0.000  1.00  0.00           C
ATOM      2  C   ACE A   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      3  O   ACE A   1       0.622   1.060   0.000  1.00  0.00           O
ATOM      4  N   GLY A   2       0.591  -1.190   0.000  1.00  0.00           N
ATOM      5  CA  GLY A   2       2.040  -1.351   0.000  1.00  0.00           C
ATOM      6  C   GLY A   2       2.741   0.003   0.000  1.00  0.00           C
ATOM      7  O   GLY A   2       2.093   1.050   0.000  1.00  0.00           O
ATOM      8  N   NME A   3       4.070  -0.019   0.000  1.00  0.00           N
ATOM      9  C   NME A   3       4.841   1.208   0.000  1.00  0.00           C
END
"""


def test_a_pdb_file_is_an_input_of_the_run_and_may_not_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("glycine.pdb").write_text(GLYCINE)
    Path("run.yaml").write_text(PEPTIDE_YAML.replace("sequence: ACE-ALA-NME", "pdb: glycine.pdb"))
    overrides = ("sampling.equilibration=1 ps", "sampling.duration=3 ps", "mapping.beads=backbone")
    first = beadsmith.run("run.yaml", overrides, verbs=("sample",)).record.stages["sample"]
    assert list(first.summary["external"]) == ["glycine.pdb"]
    assert beadsmith.run("run.yaml", overrides, verbs=("sample",)).record.stages["sample"] == first
    Path("glycine.pdb").write_text(GLYCINE.replace("4.841   1.208", "4.841   1.209"))
    second = beadsmith.run("run.yaml", overrides, verbs=("sample",)).record.stages["sample"]
    assert second.outputs != first.outputs


def test_a_missing_pdb_file_is_named_by_the_check_and_by_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(PEPTIDE_YAML.replace("sequence: ACE-ALA-NME", "pdb: missing.pdb"))
    for command in ("check", "sample"):
        result = CliRunner().invoke(app, [command, "run.yaml"])
        assert result.exit_code == 2
        assert "missing.pdb" in result.stderr
