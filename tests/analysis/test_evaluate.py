"""The verb `evaluate`: one JSON for all, equal to the in-memory functions, whatever the chunks, types and replicas."""

import json
from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis import measure
from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.analysis.structure import StructureBins, count_blocks, radial_distributions
from beadsmith.errors import InputError
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import to_plain
from example_trajectories import TEMPERATURE, make_ideal_gas, make_liquid, make_random_walk, make_trajectory

SETTINGS = EvaluationSettings(discard=0.0, window_end=0.9, diffusion_start=0.4)


@pytest.fixture
def store(tmp_path):
    def write(name, trajectory):
        path = tmp_path / f"{name}.h5"
        write_trajectory(path, trajectory)
        return path

    return write


def test_every_number_carries_unit_error_and_sample_size(store):
    reference = store("mapped", make_liquid(np.random.default_rng(0), n_frames=80))
    simulated = store("simulation", make_liquid(np.random.default_rng(1), n_frames=80))
    result = to_plain(evaluate(reference, {"network": simulated}, SETTINGS))
    json.dumps(result, allow_nan=False)
    seen = 0

    def walk(entry):
        nonlocal seen
        if isinstance(entry, dict):
            if "value" in entry and "standard_error" in entry:
                seen += 1
                assert entry["unit"]
                assert entry["n_samples"] >= 1
            for value in entry.values():
                walk(value)

    walk(result)
    # per system: temperature, pressure, energy, drift, closest, peak x 2, 3 of forces, diffusion; and comparisons
    assert seen >= 25


def test_evaluation_equals_the_in_memory_functions_whatever_the_chunk(store, monkeypatch):
    trajectory = make_liquid(np.random.default_rng(2), n_frames=53)
    path = store("mapped", trajectory)
    monkeypatch.setattr(measure, "_CHUNK_SITES", 4 * 64)
    chunked = evaluate(path, {}, SETTINGS)["systems"]["reference"]
    monkeypatch.setattr(measure, "_CHUNK_SITES", 128 * 64)
    whole = evaluate(path, {}, SETTINGS)["systems"]["reference"]
    bins = StructureBins(
        distance_edges=np.array(whole["rdf"]["bead-bead"]["edges"]),
        angle_edges=np.linspace(0, 180, 37),
        arm_cutoff=0.45,
    )
    direct = radial_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead"]
    for found in (chunked, whole):
        np.testing.assert_allclose(found["rdf"]["bead-bead"]["density"], direct.density, rtol=1e-12)
        np.testing.assert_allclose(found["rdf"]["bead-bead"]["standard_error"], direct.standard_error, rtol=1e-9)
    assert chunked["diffusion"] == whole["diffusion"]
    assert chunked["pressure"] == whole["pressure"]


def test_two_runs_of_one_system_differ_by_what_chance_predicts(store):
    # 60 beads at random, no structure at all: every difference is noise
    reference = store("mapped", make_ideal_gas(np.random.default_rng(3), n_frames=100))
    simulated = store("simulation", make_ideal_gas(np.random.default_rng(4), n_frames=100))
    comparison = evaluate(reference, {"network": simulated}, SETTINGS)["comparisons"]["network"]
    entry = comparison["rdf"]["bead-bead"]
    # about 60 bins: 75 % of the mean |normal| in each, so 10 % together; the errors of 10 blocks add 3 %
    assert entry["mean_difference"]["value"] == pytest.approx(entry["expected_by_chance"]["value"], rel=0.35)
    angles = comparison["adf"]["bead-bead-bead"]
    assert angles["mean_difference"]["value"] == pytest.approx(angles["expected_by_chance"]["value"], rel=0.5)


def test_a_mixture_has_all_kinds_of_pairs_and_triplets(store):
    options = {"types": [0] * 40 + [1] * 24, "type_names": ("methanol", "benzene"), "n_frames": 80}
    reference = store("mapped", make_liquid(np.random.default_rng(5), **options))
    simulated = store("simulation", make_liquid(np.random.default_rng(6), **options))
    result = evaluate(reference, {"network": simulated}, SETTINGS)
    comparison = result["comparisons"]["network"]
    assert set(comparison["rdf"]) == {"methanol-methanol", "methanol-benzene", "benzene-benzene"}
    assert {label.split("-")[1] for label in comparison["adf"]} == {"methanol", "benzene"}
    assert set(result["systems"]["network"]["diffusion"]) == {"methanol", "benzene"}


def test_a_kind_seen_in_one_block_only_is_measured_but_not_compared(store):
    positions = make_liquid(np.random.default_rng(20), n_frames=40).positions.copy()
    # two beads of the rare type beside one of the common type, in one frame
    positions[7, 61:] = positions[7, 0] + np.array([[0.2, 0.0, 0.0], [0.0, 0.2, 0.0], [0.9, 0.9, 0.9]], np.float32)
    others = np.zeros(64, dtype=np.int64)
    others[61:63] = 1
    options = {"cell": np.eye(3) * 1.9, "types": others, "type_names": ("common", "rare")}
    path = store("mapped", make_trajectory(positions, **options))
    result = evaluate(path, {"network": path}, replace(SETTINGS, arm_cutoff=0.25, n_blocks=20))
    assert "rare-common-rare" in result["systems"]["reference"]["adf"]
    assert "rare-common-rare" not in result["comparisons"]["network"]["adf"]


def test_replicas_are_blocks_of_their_own_and_lengths_add_up(store):
    one = make_random_walk(np.random.default_rng(7), diffusion=2e-3, n_frames=100)
    two = make_random_walk(np.random.default_rng(8), diffusion=2e-3, n_frames=100)
    both = make_trajectory(
        np.concatenate([one.positions, two.positions]),
        cell=np.eye(3) * 3.0,
        times=np.tile(one.times, 2),
        segment=np.repeat([0, 1], 100),
    )
    found = evaluate(store("mapped", both), {}, SETTINGS)["systems"]["reference"]
    assert found["n_segments"] == 2
    assert found["length"]["value"] == pytest.approx(40.0)
    diffusion = found["diffusion"]["bead"]
    # 2e-3 nm²/ps = 2 x 1e-5 cm²/s
    assert diffusion["unit"] == "1e-5 cm^2/s"
    assert diffusion["value"] == pytest.approx(2.0, abs=4.0 * diffusion["standard_error"])


def test_discarded_time_leaves_the_curves_but_not_the_closest_pair(store):
    positions = make_liquid(np.random.default_rng(9), n_frames=40).positions.copy()
    positions[1, 0] = positions[1, 1] + np.float32(0.05)
    trajectory = make_trajectory(positions, cell=np.eye(3) * 1.9)
    reference = store("mapped", make_liquid(np.random.default_rng(9), n_frames=40))
    settings = replace(SETTINGS, discard=2.0)
    found = evaluate(reference, {"network": store("simulation", trajectory)}, settings)["systems"]["network"]
    assert found["n_frames"] == 40
    assert found["n_used"] == 30
    assert found["closest_pair"]["bead-bead"]["value"] == pytest.approx(0.05 * np.sqrt(3.0), rel=1e-4)
    assert sum(found["rdf"]["bead-bead"]["density"][:12]) == 0.0


def test_unwrapped_simulation_frames_give_the_same_structure(store):
    trajectory = make_liquid(np.random.default_rng(10), n_frames=20)
    shifted = replace(trajectory, positions=trajectory.positions + np.float32(3 * 1.9))
    result = evaluate(store("mapped", trajectory), {"network": store("simulation", shifted)}, SETTINGS)
    entry = result["comparisons"]["network"]["rdf"]["bead-bead"]
    # float32 positions at 7 nm are good to 5e-7 nm: a few pairs change their bin
    assert entry["mean_difference"]["value"] < 1e-3


def test_reference_without_velocities_virial_or_energy_has_nulls_instead(store):
    result = evaluate(store("mapped", make_random_walk(np.random.default_rng(11), diffusion=1e-3)), {}, SETTINGS)
    system = result["systems"]["reference"]
    assert system["kinetic_temperature"] is None
    assert system["pressure"] is None
    assert system["energy_drift"] is None
    assert system["forces"] == {}


def test_an_open_system_has_angles_but_no_radial_distribution(store):
    positions = make_liquid(np.random.default_rng(12), n_frames=20).positions
    system = evaluate(store("mapped", make_trajectory(positions)), {}, SETTINGS)["systems"]["reference"]
    assert system["rdf"] == {}
    assert system["volume"] is None
    assert "bead-bead-bead" in system["adf"]


def test_moments_of_the_forces_are_those_of_the_wells(store):
    # harmonic wells of width 0.05 nm: rms force kT/0.05 per component, frames independent
    system = evaluate(store("mapped", make_liquid(np.random.default_rng(13), n_frames=100)), {}, SETTINGS)
    forces = system["systems"]["reference"]["forces"]["bead"]
    assert forces["rms_component"]["value"] == pytest.approx(0.00831446 * TEMPERATURE / 0.05, rel=0.02)
    assert abs(forces["frame_correlation"]["value"]) < 4.0 * forces["frame_correlation"]["standard_error"]
    assert abs(forces["mean_component"]["value"]) < 5.0 * forces["mean_component"]["standard_error"]


def test_repeated_frames_show_as_full_correlation(store):
    trajectory = make_liquid(np.random.default_rng(14), n_frames=20)
    repeated = trajectory.select(np.repeat(np.arange(20), 10))
    system = evaluate(store("mapped", repeated), {}, SETTINGS)["systems"]["reference"]
    # 180 of 199 neighbours are equal; pairs across blocks and chunks do not count
    assert system["forces"]["bead"]["frame_correlation"]["value"] == pytest.approx(0.9, abs=0.06)


def test_progress_reaches_the_total_over_all_files(store):
    calls = []
    reference = store("mapped", make_liquid(np.random.default_rng(15), n_frames=30))
    simulated = store("simulation", make_liquid(np.random.default_rng(16), n_frames=20))
    evaluate(
        reference,
        {"network": simulated},
        replace(SETTINGS, discard=1.0),
        progress=lambda done, total, note="": calls.append((done, total)),
    )
    assert calls[-1] == (50, 50)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_another_list_of_site_types_is_refused(store):
    reference = store("mapped", make_liquid(np.random.default_rng(17)))
    simulated = store("simulation", make_liquid(np.random.default_rng(18), type_names=("water",)))
    with pytest.raises(InputError, match="site types"):
        evaluate(reference, {"network": simulated}, SETTINGS)


def test_a_discard_that_leaves_nothing_is_refused_with_the_setting_to_change(store):
    reference = store("mapped", make_liquid(np.random.default_rng(19)))
    with pytest.raises(InputError, match=r"evaluation\.discard"):
        evaluate(reference, {"network": reference}, replace(SETTINGS, discard=1000.0))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distance_bin", 0.0),
        ("discard", -1.0),
        ("window_end", 0.1),
        ("n_angle_bins", 1),
        ("n_blocks", 1),
        ("diffusion_start", 9.0),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(InputError):
        EvaluationSettings(**{field: value})
