"""A run with an ensemble: what is added beside the run's own results, and that these stay as they are."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

import beadsmith
from beadsmith.analysis.evaluate import evaluate
from beadsmith.config.load import load_config
from beadsmith.errors import InputError, InterruptedRunError
from beadsmith.io.h5md import read_trajectory
from beadsmith.io.records import read_json
from beadsmith.pipeline.estimate import estimate_costs
from beadsmith.pipeline.listener import SilentListener
from beadsmith.training.ensemble import derive_member_seed, read_ensemble
from beadsmith.training.fit import train
from beadsmith.training.force_spread import force_spread
from small_run import finished_run  # noqa: F401

FOLDS = "ensemble={members: 3, kind: folds}"
SEEDS = "ensemble={members: 2}"


class Events(SilentListener):
    """Note which stages were computed, and interrupt one of them at a part of its work."""

    def __init__(self, stop=None, part=1.0):
        self.computed, self.notes, self.stop, self.part = [], [], stop, part

    def stage_started(self, stage):
        def report(done, total, note=""):
            self.notes.append(note)
            if stage == self.stop and done >= self.part * total:
                raise KeyboardInterrupt

        return report

    def stage_finished(self, stage, wall_time):
        self.computed.append(stage)


@pytest.fixture(scope="module")
def with_folds(finished_run, tmp_path_factory):  # noqa: F811
    """Return a run that took over the finished one and added two networks, the first attempt interrupted."""
    folder, donor = tmp_path_factory.mktemp("ensemble") / "run", finished_run / "run"
    options = {"output": folder, "reuse": [donor]}
    with pytest.raises(InterruptedRunError):
        # in the second of two trainings
        beadsmith.run(finished_run / "small.yaml", [FOLDS], listener=Events("train_ensemble", 0.6), **options)
    events = Events()
    beadsmith.run(finished_run / "small.yaml", [FOLDS], listener=events, **options)
    return folder, events


def test_the_results_of_the_run_itself_are_taken_over(with_folds, finished_run):  # noqa: F811
    folder, events = with_folds
    assert events.computed == ["train_ensemble", "simulate_ensemble", "evaluate", "report"]
    for name in ("force_field/weights.safetensors", "simulation.h5", "pair_spline.h5"):
        assert (folder / name).samefile(finished_run / "run" / name)


def test_a_member_that_was_finished_before_the_interruption_is_not_trained_again(with_folds):
    _, events = with_folds
    assert any("network 3 of 3" in note for note in events.notes)
    assert not any("network 2 of 3" in note for note in events.notes)


def test_members_are_force_fields_beside_the_first_and_nothing_unfinished_is_left(with_folds):
    folder, _ = with_folds
    assert sorted(path.name for path in (folder / "ensemble").iterdir()) == ["1", "2", "ensemble.json"]
    assert sorted(path.name for path in (folder / "ensemble_simulations").iterdir()) == ["1.h5", "2.h5"]
    assert not (folder / "ensemble.checkpoint").exists()
    record = read_json(folder / "ensemble" / "ensemble.json")
    assert [entry["fold"] for entry in record["members"]] == [None, 1, 2]
    assert [entry["seed"] for entry in record["members"]] == [derive_member_seed(3, k) for k in range(3)]


def test_every_value_of_the_network_has_the_standard_deviation_over_the_simulations_of_all(with_folds):
    folder, _ = with_folds
    found = read_json(folder / "evaluation.json")
    settings = load_config(folder / "run.yaml").evaluation
    files = {"network": folder / "simulation.h5"}
    files |= {str(k): folder / "ensemble_simulations" / f"{k}.h5" for k in (1, 2)}
    systems = evaluate(folder / "mapped.h5", files, settings)["systems"]
    for key in ("rdf", "adf"):
        for kind, curve in found["systems"]["network"][key].items():
            expected = np.std([systems[name][key][kind]["density"] for name in files], axis=0, ddof=1)
            np.testing.assert_allclose(np.array(curve["ensemble_spread"], dtype=float), expected, atol=1e-12)
    expected = np.std([systems[name]["pressure"]["value"] for name in files], ddof=1)
    assert found["systems"]["network"]["pressure"]["ensemble_spread"] == pytest.approx(expected)
    assert "ensemble_spread" not in found["systems"]["pair_spline"]["pressure"]
    assert list(found["systems"]) == ["reference", "network", "pair_spline"]


def test_the_check_counts_the_simulated_frames_that_python_flags(with_folds):
    folder, _ = with_folds
    ensemble = read_ensemble(folder / "ensemble", folder / "force_field")
    frames = read_trajectory(folder / "simulation.h5")
    frames = frames.select(frames.times >= 0.5 - 1e-9)
    share = ensemble.scale.flag(force_spread(ensemble.members, frames), frames.topology).mean()
    checks = {check["name"]: check for check in read_json(folder / "checks.json")["checks"]}
    assert checks["force spread"]["value"] == pytest.approx(share)
    flagged = read_json(folder / "evaluation.json")["ensemble"]["flagged"]["simulation"]
    assert flagged["n_samples"] == frames.n_frames


def test_the_report_shows_and_explains_the_spread(with_folds):
    page = (with_folds[0] / "report.html").read_text()
    for text in ("How sure are the networks?", "spread over networks", "errors that all of them share", "Force spread"):
        assert text in page


def test_a_run_without_an_ensemble_says_nothing_of_one(finished_run):  # noqa: F811
    folder = finished_run / "run"
    assert "ensemble" not in read_json(folder / "evaluation.json")
    assert "How sure are the networks?" not in (folder / "report.html").read_text()
    assert not (folder / "ensemble").exists()


def test_a_member_is_what_a_training_with_its_seed_gives_and_another_state_takes_it_over(finished_run, tmp_path):  # noqa: F811
    trained = tmp_path / "trained"
    verbs = ("sample", "map", "diagnose", "train")
    beadsmith.run(finished_run / "small.yaml", [SEEDS], output=trained, reuse=[finished_run / "run"], verbs=verbs)
    settings = load_config(finished_run / "small.yaml")
    train(
        settings.training,
        settings.network,
        settings.prior,
        (trained / "mapped.h5",),
        tmp_path / "alone" / "force_field",
        baseline_output=tmp_path / "alone" / "pair_spline",
        seed=derive_member_seed(3, 1),
        identity="alone",
    )
    alone = safetensors.numpy.load_file(tmp_path / "alone" / "force_field" / "weights.safetensors")
    for name, values in safetensors.numpy.load_file(trained / "ensemble" / "1" / "weights.safetensors").items():
        np.testing.assert_array_equal(alone[name], values)
    main = safetensors.numpy.load_file(trained / "force_field" / "weights.safetensors")
    assert any((alone[name] != values).any() for name, values in main.items())
    taken = [SEEDS, f"trained_in={trained}"]
    options = {"output": tmp_path / "taken", "reuse": [trained], "verbs": verbs}
    beadsmith.run(finished_run / "small.yaml", taken, **options)
    first, second = (folder / "ensemble" / "1" / "weights.safetensors" for folder in (trained, tmp_path / "taken"))
    assert first.read_bytes() == second.read_bytes()
    shutil.rmtree(tmp_path / "taken")
    with pytest.raises(InputError, match=r"'ensemble' asks for 3 networks of kind seeds, .* has 2 of seeds"):
        beadsmith.run(finished_run / "small.yaml", ["ensemble.members=3", taken[1]], **options)


def test_the_estimate_multiplies_training_and_simulation(finished_run):  # noqa: F811
    costs = {entry.stage: entry for entry in estimate_costs(load_config(finished_run / "small.yaml", [FOLDS]))}
    order = list(costs)
    assert order.index("train_ensemble") == order.index("train") + 1
    for stage in ("train", "simulate"):
        assert costs[f"{stage}_ensemble"].time == pytest.approx(2.0 * costs[stage].time)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ensemble.members=1"], r"'ensemble.members' is 1, expected at least 2 for kind seeds \("),
        (["ensemble={members: 2, kind: folds}"], "'ensemble.members' is 2, expected at least 3 for kind folds"),
        (["ensemble.kind=fold"], "'ensemble.kind' is 'fold', expected one of: seeds, folds"),
        ([SEEDS, "network=none"], "'ensemble' is for networks .* pair splines have no seed"),
        ([SEEDS, "start_from=runs/old/force_field"], "all would start from the weights of 'start_from'"),
    ],
)
def test_an_ensemble_without_a_spread_is_refused_before_anything_is_computed(finished_run, overrides, message):  # noqa: F811
    with pytest.raises(InputError, match=message):
        load_config(finished_run / "small.yaml", overrides)


def test_a_run_folder_without_an_ensemble_cannot_lend_one(finished_run, tmp_path):  # noqa: F811
    overrides = [SEEDS, f"trained_in={finished_run / 'run'}"]
    with pytest.raises(InputError, match="holds no 'ensemble'"):
        beadsmith.run(
            finished_run / "small.yaml", overrides, output=tmp_path / "run", reuse=[finished_run / "run"],
            verbs=("sample", "map", "diagnose", "train"),
        )  # fmt: skip


def test_an_ensemble_with_a_damaged_record_is_refused(with_folds, tmp_path):
    shutil.copytree(with_folds[0] / "ensemble", tmp_path / "ensemble")
    (tmp_path / "ensemble" / "ensemble.json").write_text(json.dumps({"members": [{"number": 0}]}))
    with pytest.raises(InputError, match="the record of the ensemble is damaged"):
        read_ensemble(tmp_path / "ensemble", with_folds[0] / "force_field")
