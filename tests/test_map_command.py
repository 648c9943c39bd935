"""The command `map` with beads of one's own: what a user types, sees and may get wrong."""

import numpy as np
import pytest
from typer.testing import CliRunner

import example_files as files
from beadsmith.cli import app
from beadsmith.io.h5md import read_trajectory

FRAMES = files.spring_waters(n_frames=60)
YAML = """\
name: waters
reference:
  files: [waters.trr]
  topology: waters.gro
state:
  temperature: 300 K
mapping:
  files: [water.xml]
"""
WATER = """<cg_molecule>
  <name>W</name> <ident>water</ident>
  <topology><cg_beads>
    <cg_bead><name>W</name><type>W</type><mapping>A</mapping><beads> 1:SOL:OW 1:SOL:HW1 </beads></cg_bead>
  </cg_beads></topology>
  <maps><map><name>A</name><weights> 3 1 </weights></map></maps>
</cg_molecule>
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a trajectory, a mapping file and a configuration, and work in it."""
    monkeypatch.chdir(tmp_path)
    files.write_trr("waters.trr", FRAMES)
    files.write_gro("waters.gro", FRAMES)
    (tmp_path / "waters.yaml").write_text(YAML)
    (tmp_path / "water.xml").write_text(WATER)
    return tmp_path


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_beads_of_a_mapping_file_are_made_and_their_worth_is_shown(folder):
    for verb in ("import", "map"):
        result = invoke(verb, "waters.yaml")
        assert result.exit_code == 0, result.output + result.stderr
    assert "8 SOL, beads each: 1; in no bead: 1:SOL:HW2" in result.output
    assert "Noise of the bead forces, (kJ/mol/nm)^2 per component" in result.output
    rows = {line.split("│")[1].strip(): line for line in result.output.splitlines() if line.startswith("│")}
    assert "used" in rows["optimal"]
    assert "at least" in rows["sum"]
    assert "of another density" not in result.output
    beads = read_trajectory(folder / "runs" / "waters" / "mapped.h5")
    assert beads.topology.type_names == ("W",)
    expected = 0.75 * FRAMES.whole[:, 0::3] + 0.25 * FRAMES.whole[:, 1::3]
    difference = beads.positions - expected
    edges = np.diagonal(beads.cell, axis1=1, axis2=2)[:, None]
    # TRR holds float32
    np.testing.assert_allclose(difference - edges * np.round(difference / edges), 0.0, atol=1e-5)


def test_noise_on_positions_has_a_row_of_its_own(folder):
    (folder / "waters.yaml").write_text(YAML + "  noise_width: 0.005 nm\n")
    for verb in ("import", "map"):
        result = invoke(verb, "waters.yaml")
        assert result.exit_code == 0, result.output + result.stderr
    assert "with noise of 0.005 nm" in result.output


def test_changed_mapping_file_makes_the_beads_anew(folder):
    for verb in ("import", "map"):
        assert invoke(verb, "waters.yaml").exit_code == 0
    content = (folder / "water.xml").read_text()
    (folder / "water.xml").write_text(content.replace("> 3 1 <", "> 1 1 <"))
    first = read_trajectory(folder / "runs" / "waters" / "mapped.h5").positions
    result = invoke("map", "waters.yaml")
    assert result.exit_code == 0, result.output + result.stderr
    assert np.abs(read_trajectory(folder / "runs" / "waters" / "mapped.h5").positions - first).max() > 0.01


def test_check_holds_the_beads_against_the_atoms(folder):
    result = invoke("check", "waters.yaml", "--set", "network=none")
    assert result.exit_code == 0, result.output + result.stderr
    assert "8 SOL, beads each: 1; in no bead: 1:SOL:HW2" in result.output
    (folder / "water.xml").write_text((folder / "water.xml").read_text().replace("1:SOL:", "1:TIP:"))
    result = invoke("check", "waters.yaml", "--set", "network=none")
    assert result.exit_code == 2
    assert "the file gives beads to TIP" in result.stderr
    assert "water.xml" in result.stderr


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("forces: slise", ("'mapping.forces' is 'slise'", "Did you mean 'slice'?", "waters.yaml:8")),
        ("definitions: [{name: SOL, beads: [{name: W, atoms: [OW], mas: 1 u}]}]", ("unknown key 'mas'", "mass")),
        ("definitions: [{name: SOL, beads: [{name: W, atoms: [OW], mass: 18}]}]", ("'mass: 18 u'", "waters.yaml:8")),
        ("definitions: [{name: SOL, beads: [{name: W, atoms: []}]}]", ("at least one entry in", "waters.yaml:8")),
        ("noise_width: 5 nm", ("noise_width", "less than 0.1 nm")),
    ],
)
def test_wrong_beads_are_refused_with_their_line(folder, line, parts):
    (folder / "waters.yaml").write_text(YAML.replace("files: [water.xml]", line))
    result = invoke("check", "waters.yaml")
    assert result.exit_code == 2
    assert "\n" not in result.stderr.strip()
    for part in parts:
        assert part in result.stderr
