"""Results of other run folders: taken over where settings and files are the same, and never otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import beadsmith
from beadsmith.errors import InputError
from beadsmith.pipeline.changes import EXTERNAL, identify_stage
from beadsmith.pipeline.listener import SilentListener
from beadsmith.pipeline.record import read_record, write_record
from beadsmith.pipeline.stages import STAGES
from small_run import finished_run, small_run  # noqa: F401


class Events(SilentListener):
    """Note which stages were computed and which taken over."""

    def __init__(self):
        self.computed, self.taken = [], []

    def stage_finished(self, stage, wall_time):
        self.computed.append(stage)

    def stage_taken(self, stage, folder):
        self.taken.append(stage)


def repeat(folder: Path, donor: Path, *overrides: str, **options) -> Events:
    events = Events()
    beadsmith.run(folder / "small.yaml", overrides, output=folder / "other", reuse=[donor], listener=events, **options)
    return events


def test_what_the_same_settings_gave_is_taken_and_the_rest_computed(small_run):  # noqa: F811
    donor, folder = small_run / "run", small_run / "other"
    events = repeat(small_run, donor, "simulation.duration=1 ps")
    assert events.taken == ["sample", "map", "diagnose", "train"]
    assert events.computed == ["simulate", "simulate_pair_spline", "evaluate", "report"]
    for name in ("reference.h5", "mapped.h5", "force_field/weights.safetensors"):
        assert (folder / name).samefile(donor / name), "a hard link takes no space"
    record = json.loads((folder / "record.json").read_text())
    assert record["stages"]["sample"]["summary"]["taken_from"] == str(donor)
    assert record["stages"]["sample"]["wall_time"] == 0.0


def test_what_was_taken_over_counts_as_the_runs_own(small_run):  # noqa: F811
    donor = small_run / "run"
    repeat(small_run, donor, verbs=("sample", "map"))
    events = repeat(small_run, donor, verbs=("sample", "map"))
    assert (events.taken, events.computed) == ([], [])


def test_a_damaged_result_is_not_taken_over(small_run):  # noqa: F811
    with (small_run / "run" / "mapped.h5").open("ab") as file:
        file.write(b"!")
    events = repeat(small_run, small_run / "run", verbs=("sample", "map"))
    assert (events.taken, events.computed) == (["sample"], ["map"])


def test_nothing_of_other_settings_is_taken_over(small_run):  # noqa: F811
    events = repeat(small_run, small_run / "run", "sampling.duration=3 ps", verbs=("sample",))
    assert (events.taken, events.computed) == ([], ["sample"])


def test_replacing_a_shared_result_leaves_the_other_run_alone(small_run):  # noqa: F811
    donor = small_run / "run"
    before = (donor / "mapped.h5").read_bytes()
    repeat(small_run, donor, verbs=("sample", "map"))
    repeat(small_run, donor, "mapping.forces=sum", verbs=("map",), restart_from="map")
    assert (donor / "mapped.h5").read_bytes() == before


def test_a_folder_without_a_run_is_refused(small_run):  # noqa: F811
    with pytest.raises(InputError, match=r"no run folder.*--reuse"):
        repeat(small_run, small_run)
    assert not (small_run / "other").exists()


def test_a_run_trains_on_frames_of_another_run_beside_its_own(small_run):  # noqa: F811
    donor = small_run / "run"
    events = repeat(small_run, donor, f"train_with=[{donor}]", "training.epochs=1", verbs=("train", "map", "sample"))
    assert events.computed == ["train"]
    alone, both = (
        json.loads((small_run / name / "training.json").read_text())["n_frames"] for name in ("run", "other")
    )
    assert both == {use: 2 * count for use, count in alone.items()}


def test_a_force_field_trained_elsewhere_is_simulated_at_another_state(small_run):  # noqa: F811
    donor = small_run / "run"
    overrides = (f"trained_in={donor}", "baseline=false", "state.temperature=330 K")
    events = repeat(small_run, donor, *overrides)
    assert events.taken == []
    assert "simulate_pair_spline" not in events.computed
    folder = small_run / "other"
    assert (folder / "force_field" / "weights.safetensors").samefile(donor / "force_field" / "weights.safetensors")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert list(evaluation["comparisons"]) == ["network"]
    assert evaluation["systems"]["network"]["temperature_set"]["value"] == 330.0


@pytest.mark.parametrize(
    ("override", "message"), [("trained_in=nowhere", "holds no 'force_field'"), ("train_with=[nowhere]", "nowhere")]
)
def test_a_missing_other_run_is_named(override, message, small_run):  # noqa: F811
    with pytest.raises(InputError, match=message):
        repeat(small_run, small_run / "run", override, verbs=("sample", "map", "train"))


def forget_settings(folder: Path, **settings: str) -> None:
    """Make a run folder one of a version that lacked some settings, each given with its stage."""
    record = read_record(folder)
    configuration = json.loads(json.dumps(record.configuration))
    for key in settings.values():
        *path, last = key.split(".")
        section = configuration
        for name in path:
            section = section[name]
        del section[last]
    before = replace(record, configuration=configuration)
    stages = {
        stage.name: replace(
            record.stages[stage.name],
            input_hash=identify_stage(stage, before, record.stages[stage.name].summary.get(EXTERNAL, {})),
        )
        for stage in STAGES
        if stage.name in record.stages
    }
    assert all(stages[name].input_hash != record.stages[name].input_hash for name in settings)
    write_record(folder, replace(before, stages=stages))


def test_results_of_a_version_without_a_setting_count_for_its_default(small_run):  # noqa: F811
    donor = small_run / "run"
    forget_settings(donor, sample="sampling.barostat_interval", train="training.max_restarts", map="mapping.noise_seed")
    events = repeat(small_run, donor, verbs=("sample", "map", "train"))
    assert (events.taken, events.computed) == (["sample", "map", "train"], [])
    again = Events()
    beadsmith.run(donor, listener=again)
    assert again.computed == []


def test_results_of_a_version_without_a_setting_do_not_count_for_another_value(small_run):  # noqa: F811
    donor = small_run / "run"
    forget_settings(donor, train="training.max_restarts")
    events = repeat(small_run, donor, "training.max_restarts=2", verbs=("sample", "map", "train"))
    assert (events.taken, events.computed) == (["sample", "map"], ["train"])
    with pytest.raises(InputError, match=r"training\.max_restarts: 3 -> 2"):
        beadsmith.run(donor, ("training.max_restarts=2",))


def test_saved_work_of_an_earlier_version_is_not_thrown_away(small_run):  # noqa: F811
    donor = small_run / "run"
    forget_settings(donor, train="training.max_restarts")
    record = read_record(donor)
    entry = replace(record.stages["train"], status="interrupted")
    write_record(donor, replace(record, stages={**record.stages, "train": entry}))
    with pytest.raises(InputError, match=r"training.max_restarts: \(absent\) -> 3"):
        beadsmith.run(donor)
