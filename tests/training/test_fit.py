"""The verb `train`: files, losses, errors, and a kill that changes nothing."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.force_field import load_force_field
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.io.records import hash_file
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.fit import PriorSettings
from beadsmith.simulation.start import join_topologies
from beadsmith.training.correction_run import CorrectionRunSettings
from beadsmith.training.data import split_by_use
from beadsmith.training.fit import train
from beadsmith.training.loss import force_field_losses
from beadsmith.training.settings import TrainingSettings
from beadsmith.training.slow_coordinates import CorrectionSettings
from example_force_matching import DensityNetwork, make_labelled_liquid
from example_slow_chain import ALPHA, DEFINITIONS, draw_frames

NETWORK = HipnnSettings(n_features=4, n_sensitivities=5, n_atom_layers=1, cutoff=0.6, soft_min=0.24, soft_max=0.5)
PRIOR = PriorSettings(cutoff=0.6, n_intervals=6, n_blocks=3)
SETTINGS = TrainingSettings(epochs=3, learning_rate=0.01, averaging=0.9)


def write_mapped(folder: Path, seed: int = 0, name: str = "mapped.h5", **options) -> Path:
    """Write a labelled liquid as a mapped trajectory."""
    trajectory = make_labelled_liquid(seed, truth=DensityNetwork(-8.0, 1.5), noise=20.0, **{"n_frames": 30, **options})
    write_trajectory(folder / name, trajectory, {"aggregation": "optimal"})
    return folder / name


def run(folder: Path, mapped: Path | tuple[Path, ...], settings=SETTINGS, network=NETWORK, prior=PRIOR, **options):
    """Train in a folder."""
    files = (mapped,) if isinstance(mapped, Path) else mapped
    options = {"seed": 3, "identity": "a", **options}
    return train(
        settings, network, prior, files, folder / "force_field", baseline_output=folder / "pair_spline", **options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return folder and summary of one finished training."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run(folder, write_mapped(folder))


def test_train_writes_force_fields_log_and_summary(trained):
    folder, summary = trained
    assert json.loads((folder / "training.json").read_text())["losses"] == summary["losses"]
    assert len((folder / "training.csv").read_text().splitlines()) == 4
    assert not (folder / "training.checkpoint").exists()
    force_field, baseline = load_force_field(folder / "force_field"), load_force_field(folder / "pair_spline")
    assert force_field.network is not None
    assert baseline.network is None
    for part in (force_field, baseline):
        assert part.record.mapping_summary == {"aggregation": "optimal"}
        assert part.record.metadata["seed"] == 3
        assert part.record.shortest_distances["bead-bead"] > 0.0
        assert part.record.templates[0].n_sites == 1


def test_summary_puts_all_models_on_the_same_frames(trained):
    _, summary = trained
    assert summary["n_frames"] == {"train": 21, "validation": 3, "test": 6}
    assert set(summary["losses"]) == {"zero_force", "prior", "pair_spline", "network"}
    for model in summary["losses"].values():
        assert all(np.isfinite(use["value"]) and np.isfinite(use["error"]) for use in model.values())
    difference = summary["losses"]["pair_spline"]["test"]["value"] - summary["losses"]["network"]["test"]["value"]
    assert summary["improvement"]["value"] == pytest.approx(difference)
    assert summary["network"]["epochs"] == 3
    assert summary["prior"]["n_frames"] == 21


def test_noise_floor_has_three_sizes_and_both_bounds(trained):
    floor = trained[1]["noise_floor"]
    assert [point["n_frames"] for point in floor["points"]] == [5, 10, 21]
    assert {"value", "error", "slope", "loss"} <= set(floor["upper_bound"])
    # 0.3 of the cost of the main fit each
    assert [point["epochs"] for point in floor["points"]] == [4, 2, 3]


def test_fits_of_the_noise_floor_are_the_same_bits_side_by_side_and_in_turn(tmp_path, monkeypatch):
    mapped = write_mapped(tmp_path)
    floors = []
    for n_cores in (1, 2):
        monkeypatch.setattr("beadsmith.training.side_by_side.count_cores", lambda n_cores=n_cores: n_cores)
        floors.append(run(tmp_path / f"{n_cores}", mapped)["noise_floor"])
    assert floors[0] == floors[1]


@pytest.mark.parametrize(
    "network",
    [
        SchnetSettings(cutoff=0.6, n_features=8, n_filters=8, n_radial=6, n_knots=64, pair_classes=True),
        MaceSettings(cutoff=0.6, n_features=4, l_max_hidden=0, radial_widths=(8,), n_knots=64, pair_classes=True),
    ],
    ids=lambda network: network.kind,
)
def test_other_networks_train_into_a_new_folder_and_come_back_from_their_files(tmp_path, network):
    settings = replace(SETTINGS, epochs=2, noise_floor_fractions=())
    folder = tmp_path / "not" / "there"
    summary = run(folder, write_mapped(tmp_path), settings, network)
    losses = summary["losses"]
    assert losses["network"]["train"]["value"] < losses["prior"]["train"]["value"]
    force_field = load_force_field(folder / "force_field")
    assert force_field.network.settings == network
    # the stored weights give the loss that was reported
    trajectory = read_trajectory(tmp_path / "mapped.h5")
    rows = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2).test
    found = force_field_losses(force_field, (trajectory,), rows, cutoff=force_field.cutoff, dtype=torch.float32)
    assert found.mean() == pytest.approx(losses["network"]["test"]["value"], rel=1e-6)


def test_spline_alone_is_a_force_field(tmp_path):
    summary = run(tmp_path, write_mapped(tmp_path), network=None)
    assert load_force_field(tmp_path / "force_field").network is None
    assert summary["network"] is None
    assert summary["improvement"] is None
    assert set(summary["losses"]) == {"zero_force", "pair_spline"}


def test_two_state_points_with_different_sizes_train_together(tmp_path):
    first = write_mapped(tmp_path)
    second = write_mapped(tmp_path, seed=1, name="second.h5", n_beads=20, segment=np.repeat([0, 1], 15))
    settings = replace(SETTINGS, epochs=1, noise_floor_fractions=())
    summary = run(tmp_path, (first, second), settings)
    assert summary["n_sites"] == [27, 20]
    assert summary["n_frames"]["test"] == 12
    assert summary["noise_floor"] is None


def test_continued_training_starts_where_the_force_field_stood(tmp_path, trained):
    folder, before = trained
    settings = replace(SETTINGS, epochs=2, learning_rate=1e-6)
    after = run(tmp_path, folder / "mapped.h5", settings, start=folder / "force_field")
    # 42 steps of AdamW move no weight by more than 42 rates
    assert after["losses"]["network"]["test"]["value"] == pytest.approx(
        before["losses"]["network"]["test"]["value"], rel=2e-3
    )
    assert after["losses"]["prior"] == before["losses"]["prior"]


def test_continuing_another_network_is_refused(tmp_path, trained):
    folder, _ = trained
    with pytest.raises(InputError, match="network settings of the force field"):
        run(tmp_path, folder / "mapped.h5", network=replace(NETWORK, n_features=5), start=folder / "force_field")
    with pytest.raises(InputError, match="only a force field with a network"):
        run(tmp_path, folder / "mapped.h5", start=folder / "pair_spline")


def test_continuing_with_other_bead_types_is_refused(tmp_path, trained):
    mapped = write_mapped(tmp_path, type_names=("other",))
    with pytest.raises(InputError, match="bead types"):
        run(tmp_path, mapped, start=trained[0] / "force_field")


def test_missing_forces_name_the_file(tmp_path):
    trajectory = replace(make_labelled_liquid(0), forces=None)
    write_trajectory(tmp_path / "bare.h5", trajectory)
    with pytest.raises(InputError, match=r"no forces.*bare\.h5"):
        run(tmp_path, tmp_path / "bare.h5")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_missing_cuda_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no CUDA device"):
        run(tmp_path, tmp_path / "mapped.h5", replace(SETTINGS, device="cuda"))


def test_threads_are_given_back(tmp_path):
    before = torch.get_num_threads()
    run(tmp_path, write_mapped(tmp_path), replace(SETTINGS, threads=before + 1), network=None)
    assert torch.get_num_threads() == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_fit import SETTINGS, replace, run
calls = 0
def kill_at_call(done, total, note=""):
    global calls
    calls += note.startswith({stage!r})
    if calls > {n_calls}:
        os.kill(os.getpid(), signal.SIGKILL)
settings = replace(SETTINGS, checkpoint_interval=0.0)
run(Path({folder!r}), Path({mapped!r}), settings, progress=kill_at_call)
"""


@pytest.mark.parametrize(("stage", "n_calls"), [("main", 44), ("noise-floor-2", 8)])
def test_killed_training_ends_bit_equal(tmp_path, trained, stage, n_calls):
    """The main fit reports 63 times, a fit of the noise floor 20 times: kills fall inside a fit."""
    folder, summary = trained
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    script = KILLED.format(
        path=path, stage=stage, n_calls=n_calls, folder=str(tmp_path), mapped=str(folder / "mapped.h5")
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert (tmp_path / "training.checkpoint" / f"{stage}.safetensors").exists()
    assert not (tmp_path / "force_field").exists()
    resumed = run(tmp_path, folder / "mapped.h5")
    for name in ("force_field", "pair_spline"):
        assert hash_file(tmp_path / name / "weights.safetensors") == hash_file(folder / name / "weights.safetensors")
    for part in ("losses", "explained_variance", "improvement", "gap", "noise_floor"):
        assert resumed[part] == summary[part], part


def write_chains(folder):
    """Write frames of a chain whose dihedrals a small network cannot learn in two epochs."""
    path = folder / "mapped.h5"
    write_trajectory(path, draw_frames(160, seed=2, noise=20.0))
    return path


CORRECTED = replace(
    SETTINGS,
    epochs=1,
    noise_floor_fractions=(),
    correction=CorrectionSettings(definitions=DEFINITIONS, basins=(ALPHA,), order=2, n_blocks=10),
)


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """Return folder and summary of a training whose prior knows nothing of dihedrals."""
    folder = tmp_path_factory.mktemp("corrected")
    return folder, run(folder, write_chains(folder), CORRECTED, prior=replace(PRIOR, dihedrals="none"))


def test_correction_is_a_term_of_the_force_field_and_lowers_the_loss_of_test_frames(corrected):
    folder, summary = corrected
    (molecule,) = summary["correction"]["molecules"]
    assert molecule["order"] > 0
    force_field = load_force_field(folder / "force_field")
    assert [term.kind for term in force_field.prior][-1] == "coordinate_series"
    losses = summary["losses"]
    assert losses["corrected"]["test"]["value"] < losses["network"]["test"]["value"]
    trajectory = read_trajectory(folder / "mapped.h5")
    rows = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2).test
    found = force_field_losses(force_field, (trajectory,), rows, cutoff=force_field.cutoff)
    assert found.mean() == pytest.approx(losses["corrected"]["test"]["value"], rel=1e-6)


def test_no_epochs_keep_the_network_and_fit_the_correction_anew(tmp_path, corrected):
    folder, before = corrected
    settings = replace(CORRECTED, epochs=0)
    after = run(tmp_path, folder / "mapped.h5", settings, start=folder / "force_field")
    # network and prior are the same, and a correction is not fitted beside an earlier one
    assert after["network"]["steps"] == 0
    assert after["losses"]["network"] == before["losses"]["network"]
    assert after["losses"]["corrected"] == before["losses"]["corrected"]
    weights = [hash_file(path / "force_field" / "weights.safetensors") for path in (folder, tmp_path)]
    assert weights[0] == weights[1]


def test_no_epochs_without_a_start_are_refused(tmp_path):
    with pytest.raises(InputError, match="no force field to start from"):
        run(tmp_path, tmp_path / "mapped.h5", replace(SETTINGS, epochs=0))


def test_an_unknown_slow_coordinate_is_refused_before_the_network_is_trained(tmp_path):
    settings = replace(CORRECTED, correction=CorrectionSettings(coordinates=("omega",)))
    with pytest.raises(InputError, match="no molecule has the slow coordinates omega"):
        run(tmp_path, write_chains(tmp_path), settings)
    assert not (tmp_path / "training.csv").exists()


SIMULATED = replace(
    CORRECTED,
    epochs=0,
    correction=replace(
        CORRECTED.correction,
        method="simulation",
        simulation=CorrectionRunSettings(
            replicas=20, timestep=0.002, equilibration=0.4, duration=1.6, save_interval=0.04
        ),
    ),
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, corrected):
    folder = tmp_path_factory.mktemp("simulated")
    return folder, run(folder, corrected[0] / "mapped.h5", SIMULATED, start=corrected[0] / "force_field")


def test_a_correction_from_a_simulation_replaces_that_of_the_labels(corrected, simulated):
    folder, summary = simulated
    (molecule,) = summary["correction"]["molecules"]
    assert molecule["method"] == "simulation"
    assert molecule["order"] > 0
    assert molecule["simulation"]["n_samples"] == 20 * 40
    assert summary["losses"]["network"] == corrected[1]["losses"]["network"]
    kinds = [term.kind for term in load_force_field(folder / "force_field").prior]
    assert kinds.count("coordinate_series") == 1
    assert not (folder / "training.checkpoint").exists()
    assert json.loads((folder / "training.json").read_text())["correction"]["molecules"][0]["basins"]


def test_a_correction_killed_in_its_simulation_ends_bit_equal(tmp_path, corrected, simulated):
    def kill(done, total, note=""):
        if note.startswith("correction: ") and done > 0.5 * total:
            raise KeyboardInterrupt

    settings, mapped = replace(SIMULATED, checkpoint_interval=0.0), corrected[0] / "mapped.h5"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, mapped, settings, start=corrected[0] / "force_field", progress=kill)
    parts = list((tmp_path / "training.checkpoint").glob("correction-0.h5.parts/part-*.h5"))
    assert len(parts) > 5
    resumed = run(tmp_path, mapped, settings, start=corrected[0] / "force_field")
    assert resumed["correction"]["molecules"] == simulated[1]["correction"]["molecules"]
    weights = [hash_file(path / "force_field" / "weights.safetensors") for path in (tmp_path, simulated[0])]
    assert weights[0] == weights[1]


def test_a_simulation_of_several_molecules_is_refused_before_the_network_is_trained(tmp_path):
    settings = replace(SETTINGS, correction=replace(SIMULATED.correction, coordinates=("phi",)))
    path = write_chains(tmp_path)
    chain = read_trajectory(path)
    topology = join_topologies([chain.topology] * 2)
    doubled = {
        name: np.concatenate([getattr(chain, name), getattr(chain, name) + shift], axis=1)
        for name, shift in (("positions", np.float32(2.0)), ("forces", np.float32(0.0)))
    }
    write_trajectory(path, replace(chain, topology=topology, **doubled))
    with pytest.raises(InputError, match="single molecules"):
        run(tmp_path, path, settings)
    assert not (tmp_path / "training.csv").exists()
