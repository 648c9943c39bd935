"""The harness of the speed benchmark: fairness of data, turns and figures; no library is timed here."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.speed.candidates import offset_vectors
from benchmarks.speed.candidates.beadsmith_networks import Candidate, make_network, read_batch, read_pairs
from benchmarks.speed.cases import BATCHES, HIPNN, LIQUID, MOLECULES, NETWORKS, SCHNET, select_cases
from benchmarks.speed.compare import Row, read_rows, write_rows
from benchmarks.speed.frames import build_liquid, build_replicas
from benchmarks.speed.products import N_KNOTS, count_gflop
from benchmarks.speed.scaling import ScalingRow, fit_slope
from benchmarks.speed.table import format_table
from benchmarks.speed.turns import take_turns
from benchmarks.speed.worker import make_force_call, make_training_step
from torch.utils.flop_counter import FlopCounterMode

from beadsmith.neighbors import find_pairs, pair_vectors

ROOT = Path(__file__).resolve().parents[1]


def test_liquid_has_the_density_and_the_neighbours_that_the_tables_state():
    frames = build_liquid(258, 2, 1.0)
    assert len(frames["types"]) == 516
    density = 258 / np.linalg.det(frames["cell"][0].astype(float))
    assert density == pytest.approx(14.1, rel=1e-5)  # float32 cell
    # an even filling has 4/3 π ρ = 59 neighbours within 1 nm; a lattice has a few more or less
    assert 55 < frames["pair_index"].shape[1] / 516 < 65
    distances = pair_distances(frames)
    assert float(distances.min()) > HIPNN[0].describe(LIQUID)["soft_min"]


def test_every_bead_of_a_molecule_sees_all_nine_others_and_no_other_replica():
    frames = build_replicas(3, 4, MOLECULES[0].cutoff)
    first, second = frames["pair_index"]
    assert np.bincount(first).tolist() == [9] * 30
    assert (first // 10 == second // 10).all()
    assert "cell" not in frames


@pytest.mark.parametrize("frames", [build_liquid(258, 2, 1.0), build_replicas(3, 4, 2.0)], ids=["liquid", "molecule"])
def test_all_candidates_get_the_pairs_that_beadsmith_finds(frames):
    batch, pairs = read_batch(frames, frames["positions"]), read_pairs(frames)
    expected = find_pairs(batch, pairs.cutoff)
    assert torch.equal(pairs.index, expected.index)
    assert torch.equal(pairs.half, expected.half)
    assert float(pair_distances(frames).max()) < pairs.cutoff


def pair_distances(frames: dict[str, np.ndarray]) -> torch.Tensor:
    """Return the distance of each pair [nm]."""
    batch = read_batch(frames, frames["positions"])
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, read_pairs(frames))
    return torch.linalg.vector_norm(vectors, dim=1)


def test_offsets_for_peers_give_the_vectors_that_beadsmith_uses():
    frames = build_liquid(258, 2, 1.0)
    batch, pairs = read_batch(frames, frames["positions"]), read_pairs(frames)
    positions = torch.from_numpy(frames["positions"])
    found = positions[pairs.index[1]] - positions[pairs.index[0]] + offset_vectors(frames)
    expected = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-6)  # float32 at 3 nm


def test_force_calls_see_new_positions_each_time():
    candidate = Candidate(HIPNN[0].describe(MOLECULES[0]), "")
    call = make_force_call(candidate, MOLECULES[0].build())
    forces = [call() for _ in range(4)]
    assert not torch.equal(forces[0], forces[1])
    assert torch.equal(forces[0], forces[3])
    assert not any(force.requires_grad for force in forces)


def test_a_training_step_moves_every_parameter_that_forces_depend_on():
    candidate = Candidate(HIPNN[0].describe(MOLECULES[0]), "")
    before = {name: parameter.detach().clone() for name, parameter in candidate.named_parameters()}
    make_training_step(candidate, MOLECULES[0].build())()
    still = [name for name, parameter in candidate.named_parameters() if torch.equal(parameter, before[name])]
    # what only adds a constant to the energy of a site has no part in forces
    assert {name.removeprefix("network.") for name in still} == {
        "type_readout.weight",
        "readouts.0.bias",
        "blocks.0.atom_layers.2.residual.output.bias",
    }


class FakeWorker:
    """Answers with the times it is given and notes when it was asked."""

    def __init__(self, name: str, times: list[float], log: list[str]) -> None:
        self.name, self.times, self.log = name, iter(times), log

    def ask(self, command: str, *, n_calls: int) -> dict[str, float]:
        assert command == "time"
        self.log.append(f"{self.name}{n_calls}")
        return {"ms": next(self.times)}


def test_candidates_take_turns_and_short_calls_are_repeated():
    log: list[str] = []
    workers = [FakeWorker("a", [1.0, 2.0, 3.0, 4.0, 5.0], log), FakeWorker("b", [9.0] * 5, log)]
    ours, peer = take_turns(workers, [1000.0, 15.0], 5)  # type: ignore[arg-type]
    assert log == ["a1", "b10"] * 5
    assert (ours.median, ours.lower, ours.upper) == (3.0, 2.0, 4.0)
    assert peer.median == 9.0


@pytest.mark.parametrize("network", [HIPNN[0], HIPNN[4], HIPNN[5], SCHNET], ids=lambda network: network.name)
def test_hand_count_of_matrix_products_equals_what_the_plain_torch_twin_makes(network):
    n_sites = 1000
    description = network.describe(LIQUID)
    twin = make_network(description).requires_grad_(False)
    pairs = torch.stack([torch.arange(n_sites), torch.arange(n_sites).roll(1)])
    arguments = torch.zeros(n_sites, dtype=torch.int64), pairs, torch.full((n_sites, 3), 0.3), pairs[0] * 0
    with FlopCounterMode(display=False) as counter:
        twin(*arguments)
    tables = N_KNOTS["schnet"] * 3 * 2 * 128 * (50 + 128) if network is SCHNET else 0
    # a force call is twice an energy; biases, one-hot types and the ends of the tables are not counted alike
    assert counter.get_total_flops() - tables == pytest.approx(
        0.5e9 * count_gflop(description, n_sites, "energy and forces"), rel=0.01
    )


def test_hand_count_for_mace_equals_the_number_of_mixing_weights_where_all_are_scalars():
    options = {"kind": "mace", "n_channels": 8, "hidden_l_max": 0, "l_max": 0, "n_interactions": 2, "n_readout": 4}
    options |= {"n_radial": 5, "radial_widths": (3,), "n_types": 1}
    # up, skip, down and out in each layer, then the two readouts
    per_site = 2 * (2 * 4 * 64) + 2 * 8 * (1 + 4)
    assert count_gflop(options, 10, "energy and forces") == pytest.approx(2e-9 * 10 * per_site)


def test_slope_of_a_power_law_is_its_power():
    sizes = [250, 500, 1000, 2000]
    slope, error = fit_slope(sizes, [3.0 * n**1.25 for n in sizes])
    assert slope == pytest.approx(1.25, abs=1e-12)
    assert error < 1e-12


def test_all_cases_contain_what_was_promised_and_quick_ones_are_among_them():
    everything, quick = select_cases("all"), select_cases("quick")
    assert all(case in everything for case in quick)
    assert {case.network.name for case in everything} == {network.name for network in NETWORKS}
    leading = {case.system.name for case in everything if case.network.kind == "mace"}
    assert len(leading) == 8
    assert {(case.network.kind, case.task) for case in select_cases("all", "SchNet training")} == {
        ("schnet", "training step")
    }


def example_row(**changes) -> Row:
    numbers = {"ours_ms": 1.0, "ours_q1": 0.9, "ours_q3": 1.1, "peer_ms": 5.0, "peer_q1": 4.0, "peer_q3": 6.0}
    return Row(
        case=LIQUID.name,
        task="training step",
        network=NETWORKS[0].name,
        peer="hippynn numba",
        threads=2,
        ratio=5.0,
        gemm_fraction=0.1,
        gemm_gflop=0.01,
        ours_parameters=10,
        peer_parameters=10,
        clock="wall",
        rounds=5,
        **(numbers | changes),
    )


def test_table_has_the_columns_that_readers_look_for(tmp_path):
    write_rows([example_row()], tmp_path / "results.csv")
    columns = (tmp_path / "results.csv").read_text().splitlines()[0].split(",")
    wanted = "case task network peer threads ours_ms ours_q1 ours_q3 peer_ms peer_q1 peer_q3 ratio gemm_fraction"
    assert columns[:13] == wanted.split()
    assert {"ours_peak_mb", "peer_peak_mb"} <= set(columns)


def test_a_table_that_was_written_is_read_back(tmp_path):
    rows = [example_row(), example_row(ours_peak_mb=3.0, peer_peak_mb=4.0)]
    write_rows(rows, tmp_path / "results.csv")
    assert read_rows(tmp_path / "results.csv") == rows
    assert read_rows(tmp_path / "missing.csv") == []


@pytest.mark.parametrize("kind", ["speed", "accuracy"])
def test_documentation_shows_the_table_that_the_benchmark_wrote(kind):
    page = (ROOT / "docs" / "explanation" / "choosing-a-network.md").read_text()
    assert (ROOT / "benchmarks" / kind / "results.md").read_text().strip() in page


def test_table_shows_the_fastest_peer_of_each_case():
    fast = replace(example_row(), case=BATCHES[1].name)
    lines = list(format_table([replace(fast, peer="slow", ratio=9.0), fast], 2))
    assert lines[2] == f"| {NETWORKS[0].name} | 1 ms, 5.0 ×, 10 % | – | – | – | – |"
    assert len(lines) == 3


def test_picture_is_drawn_with_and_without_the_growth_with_size(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib (extra 'bench') is not installed")
    from benchmarks.speed.plot import draw

    point = {"network": "a", "threads": 2, "q1": 1.0, "q3": 1.0, "slope": 1.0, "slope_error": 0.0}
    scaling = [ScalingRow(beads=n, ms=n / 250, **point) for n in (250, 500, 1000)]
    for name, points in (("a.png", []), ("b.png", scaling)):
        draw([example_row()], points, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000


def test_a_worker_answers_errors_and_goes_on(tmp_path):
    frames = tmp_path / "frames.npz"
    np.savez(frames, **MOLECULES[0].build())
    load = {"network": HIPNN[0].describe(MOLECULES[0]), "frames": str(frames), "task": "energy and forces"}
    commands = [
        {"do": "load", "network": {"kind": "none"}, "frames": "", "task": "", "variant": ""},
        {"do": "load", "variant": ""} | load,
        {"do": "time", "n_calls": 2},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.worker", "beadsmith_networks", "1"],
        input="\n".join(map(json.dumps, commands)) + "\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    ready, refused, loaded, timed = map(json.loads, done.stdout.splitlines())
    assert ready == {"ready": True}
    assert "KeyError" in refused["error"]
    assert loaded["n_parameters"] > 0
    assert timed["ms"] > 0.0
