"""The examples of imported references run as they are, on small files in place of a user's and with short runs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import beadsmith
import example_files as files
from beadsmith.cli import app
from beadsmith.io.h5md import open_trajectory

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# 64 waters in a box of 2 nm: the cutoffs of the examples fit
FRAMES = files.spring_waters(n_molecules=64, n_frames=60)
SHORT = (
    "network.n_features=4",
    "network.n_sensitivities=6",
    "network.n_atom_layers=1",
    "training.epochs=1",
    "training.noise_floor_fractions=[]",
    "simulation.equilibration=0.2 ps",
    "simulation.duration=1 ps",
    "simulation.save_interval=0.05 ps",
    "evaluation.discard=0.2 ps",
    "evaluation.window_end=0.8 nm",
)


@pytest.mark.parametrize("name", ["import_gromacs", "import_lammps"])
def test_an_example_runs_to_its_report(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = SHORT
    if name == "import_gromacs":
        files.write_trr("traj.trr", FRAMES)
        files.write_top("topol.top", FRAMES)
        # only GROMACS itself writes a TPR
        overrides = (*SHORT, "reference.topology=topol.top")
    else:
        files.write_lammps("liquid.dump", FRAMES, columns="id type x y z fx fy fz", units=False)
        files.write_lammps_data("liquid.data", FRAMES)
    options = [word for override in overrides for word in ("--set", override)]
    check = CliRunner().invoke(app, ["check", str(EXAMPLES / f"{name}.yaml"), *options])
    assert check.exit_code == 0, check.stderr
    for word in ("valid", "60 of 60 frames", "import", "train", "simulate_pair_spline", "memory", "factor of two"):
        assert word in check.output
    result = beadsmith.run(EXAMPLES / f"{name}.yaml", overrides)
    assert (result.folder / "report.html").exists()
    assert all(entry.status == "done" for entry in result.record.stages.values())
    with open_trajectory(result.folder / "mapped.h5") as mapped:
        assert (mapped.n_frames, mapped.topology.n_sites) == (60, 64)
        expected = 0.1 if name == "import_lammps" else 0.2
        assert mapped.times[1] - mapped.times[0] == pytest.approx(expected, abs=1e-6)
