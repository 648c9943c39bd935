"""The examples of peptides run as they are, with short runs: from a sequence to a report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import beadsmith
from beadsmith.cli import app
from beadsmith.config.describe import to_document
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.io.records import read_json
from beadsmith.sampling.peptides import build_peptide

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHORT = (
    "sampling.replicas=2",
    "sampling.equilibration=2 ps",
    "network.n_features=4",
    "network.n_filters=4",
    "network.n_radial=10",
    "training.epochs=1",
    "simulation.replicas=2",
    "simulation.equilibration=0.2 ps",
    "simulation.duration=2 ps",
    "simulation.save_interval=0.1 ps",
    "evaluation.discard=0.5 ps",
    "evaluation.n_blocks=5",
)
SHORT_CORRECTION = (
    "training.correction.simulation.replicas=40",
    "training.correction.simulation.equilibration=1 ps",
    "training.correction.simulation.duration=4 ps",
)
# example, changes, beads, frames; so few frames of chignolin tell nothing about pairs of single residues
RUNS = {
    "alanine": ("alanine", ("sampling.duration=120 ps", *SHORT_CORRECTION), ("C", "N", "CA", "CB", "C", "N"), 1200),
    "chignolin": (
        "chignolin",
        (
            "sampling.duration=40 ps",
            "mapping.types=name",
            f"system.structures=[{EXAMPLES / 'chignolin_hairpin.pdb'}]",
            "evaluation.molecules.slow_modes.lag=0.4 ps",
        ),
        ("CA",) * 10,
        400,
    ),
}


@pytest.mark.parametrize(("name", "changes", "beads", "n_frames"), RUNS.values(), ids=RUNS)
def test_an_example_runs_to_its_report(name, changes, beads, n_frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = (*SHORT, *changes)
    options = [word for override in overrides for word in ("--set", override)]
    check = CliRunner().invoke(app, ["check", str(EXAMPLES / f"{name}.yaml"), *options])
    assert check.exit_code == 0, check.stderr
    for word in ("valid", "obc2", f"beads each: {len(beads)}", "2 x ", "train", "memory"):
        assert word in check.output
    result = beadsmith.run(EXAMPLES / f"{name}.yaml", overrides)
    assert all(entry.status == "done" for entry in result.record.stages.values())
    assert (result.folder / "report.html").exists()
    mapped = read_trajectory(result.folder / "mapped.h5")
    assert mapped.topology.names == beads
    assert mapped.n_frames == n_frames
    assert mapped.cell is None
    np.testing.assert_array_equal(mapped.segment, np.repeat([0, 1], n_frames // 2))
    with open_trajectory(result.folder / "simulation.h5") as simulated:
        assert simulated.topology.n_sites == len(beads)
    # the optimal map is the least noisy of all, on frames that it was not fitted to
    squares = read_json(result.folder / "record.json")["stages"]["map"]["summary"]["force_mean_square"]
    assert squares["optimal"] == min(squares.values())


@pytest.mark.parametrize(
    ("name", "changes", "n_beads"),
    [("alanine", (), 6), ("alanine", ("mapping.beads=backbone", "name=alanine_5_beads"), 5), ("chignolin", (), 10)],
)
def test_an_example_is_valid_as_it_stands(name, changes, n_beads, monkeypatch):
    # paths in an example start from the folder above
    monkeypatch.chdir(EXAMPLES.parent)
    settings, estimates = beadsmith.check_config(EXAMPLES / f"{name}.yaml", changes)
    work = {entry.stage: entry.work for entry in estimates}
    assert work["simulate"].endswith(f"{settings.simulation.replicas} x {n_beads} beads")
    assert work["map"] == f"{settings.sampling.n_frames} frames"


def test_the_hairpin_of_chignolin_is_a_folded_one():
    settings = beadsmith.load_config(EXAMPLES / "chignolin.yaml").system
    built = build_peptide(replace(settings, structures=(str(EXAMPLES / "chignolin_hairpin.pdb"),)), n_starts=2, seed=1)
    topology = built.atoms.topology
    site = {(r, n): k for k, (r, n) in enumerate(zip(topology.residue_index.tolist(), topology.names, strict=True))}
    # the hydrogen bonds of PDB entries 1UAO and 5AWL, donor and acceptor by residue counted from 1
    pairs = np.array([[site[donor - 1, "N"], site[acceptor - 1, "O"]] for donor, acceptor in ((3, 8), (7, 3), (10, 1))])
    folded, random = np.linalg.norm(built.positions[:, pairs[:, 0]] - built.positions[:, pairs[:, 1]], axis=-1)
    assert np.all(folded < 0.32)
    assert np.any(random > 0.5)


def test_the_d_form_of_fifteen_alanines_is_the_l_form_in_all_but_hand_and_name():
    forms = [
        to_document(beadsmith.load_config(EXAMPLES / "peptides" / f"{name}alanine_15mer.yaml")) for name in ("", "d_")
    ]
    for form, hand in zip(forms, "LD", strict=True):
        assert form["system"].pop("chirality") == hand
        form.pop("name")
    assert forms[0] == forms[1]
