"""Labels of several kinds and temperatures: what can be learned from which, and how much each counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.neighbors import find_pairs
from beadsmith.thermal_form import ThermalForm
from beadsmith.thermal_parts import predict_parts
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import check_mappings, load_example, prepare_frames, split_by_use
from beadsmith.training.label_errors import compute_loss, label_losses, measure_offsets
from beadsmith.training.label_noise import note_offsets, weigh_labels
from beadsmith.training.labels import LabelSettings, check_kinds
from beadsmith.training.loop import fit_network
from beadsmith.training.settings import TrainingSettings
from example_thermal import LINEAR, WITH_CAPACITY, SpringChannels, make_oscillator_frames, make_spring_force_field

LENGTHS = (0.5, 0.5)
TRUTH = make_spring_force_field(stiffness=(300.0, 900.0), lengths=LENGTHS)
EVERYTHING = LabelSettings(energies=1.0)
QUICK = TrainingSettings(epochs=3, batch_size=10, learning_rate=10.0, averaging=0.8, checkpoint_interval=0.0)
OFFSETS = {280.0: 40.0, 350.0: -7.0}


def make_data(temperature, *, n_frames=40, averaged=False):
    """Return dimers with the forces, energies (up to a constant) and response forces of the springs."""
    generator = np.random.default_rng(int(temperature))
    distances = generator.uniform(0.4, 0.8, n_frames)
    bare = make_oscillator_frames(distances, np.zeros(n_frames), temperature=temperature)
    batch = build_batch(bare, np.arange(n_frames), dtype=torch.float64)
    parts = predict_parts(TRUTH, batch, find_pairs(batch, 5.0))
    fields = {"forces": parts.free_energy.forces, "response_forces": parts.entropic.forces}
    data = replace(
        bare,
        energy=parts.energetic.energy.numpy() + OFFSETS.get(temperature, 0.0),
        **{name: values.view(-1, 2, 3).float().numpy() for name, values in fields.items()},
    )
    if not averaged:
        return replace(data, response_forces=None)
    noise = np.full((n_frames, 2), 2.0, dtype=np.float32)
    return replace(
        data, n_averaged=np.full(n_frames, 50), force_noise=noise, response_noise=noise,
        energy_noise=np.full(n_frames, 0.5), energy_variance=np.full(n_frames, 12.0),
    )  # fmt: skip


def weigh(trajectories, settings, form=LINEAR, losses=None):
    rows = split_by_use(trajectories, validation_fraction=0.1, test_fraction=0.2).train
    losses = np.ones(len(rows)) if losses is None else losses
    return weigh_labels(
        trajectories, rows, baseline=TRUTH, baseline_losses=losses, cutoff=5.0, form=form, settings=settings
    )


def fit(folder, trajectories, settings, **options):
    frames = prepare_frames(
        trajectories, [], cutoff=5.0, memory_limit=1.0, thermal_form=LINEAR, dtype=torch.float64,
        weights=weigh(trajectories, settings).weights,
    )  # fmt: skip
    split = split_by_use(trajectories, validation_fraction=0.1, test_fraction=0.2)
    return fit_network(
        SpringChannels((240.0, 720.0), LENGTHS), frames, train_rows=split.train, validation_rows=split.validation,
        settings=QUICK, files=FitFiles(checkpoint=folder / "fit", identity="a"), seed=0, **options,
    )  # fmt: skip


COMBINATIONS = {
    "forces at two temperatures": ((make_data(280.0), make_data(350.0)), ("forces",)),
    "forces and response forces": ((make_data(280.0, averaged=True),), ("forces", "response_forces")),
    "forces and energies": ((make_data(280.0, averaged=True),), ("forces", "energies")),
    "all kinds and temperatures": (
        (make_data(280.0), make_data(350.0), make_data(300.0, averaged=True)),
        ("forces", "energies", "response_forces"),
    ),
    "forces at one temperature": ((make_data(280.0),), ("forces",)),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_kind_of_label_is_about_the_same_potential_and_two_kinds_determine_it(name):
    trajectories, kinds = COMBINATIONS[name]
    weights = tuple(
        {kind: w for kind, w in own.items() if kind in kinds} for own in weigh(trajectories, EVERYTHING).weights
    )
    frames = prepare_frames(
        trajectories, [], cutoff=5.0, memory_limit=1.0, thermal_form=LINEAR, weights=weights, dtype=torch.float64
    )
    rows = split_by_use(trajectories, validation_fraction=0.1, test_fraction=0.2).train

    def loss(*stiffness):
        return sum(values.mean() for values in label_losses(SpringChannels(stiffness, LENGTHS), frames, rows).values())

    # labels are float32, so the loss of the truth is not zero
    assert loss(300.0, 900.0) < 1e-9 * loss(0.0, 0.0)
    # forces at 280 K are those of a spring of k0 + (1 - 280/300) k1, and blind to what cancels in it
    blind = loss(300.0 - 0.6, 900.0 + 9.0) / loss(0.0, 0.0)
    assert blind < 1e-9 if name == "forces at one temperature" else blind > 1e-7


class Interrupted(Exception):
    """Stands for a kill."""


def test_a_fit_with_offsets_that_was_killed_ends_with_the_same_bits(tmp_path):
    trajectories = (make_data(280.0), make_data(350.0))
    calls = iter(range(100))

    def interrupt(done, total, note=""):
        if next(calls) == 9:
            raise Interrupted

    for name in ("cut", "straight"):
        (tmp_path / name).mkdir()
    with pytest.raises(Interrupted):
        fit(tmp_path / "cut", trajectories, EVERYTHING, progress=interrupt)
    resumed = fit(tmp_path / "cut", trajectories, EVERYTHING)
    straight = fit(tmp_path / "straight", trajectories, EVERYTHING)
    assert torch.equal(resumed.last.stiffness, straight.last.stiffness)
    assert resumed.counters.offsets == straight.counters.offsets


def test_the_loss_is_the_sum_over_kinds_of_weighted_mean_squares():
    trajectory = make_data(350.0, averaged=True)
    weights = {
        "forces": np.full((40, 2), 2.0), "energies": np.full(40, 3.0), "response_forces": np.full((40, 2), 5.0)
    }  # fmt: skip
    frames = prepare_frames(
        (trajectory,), [], cutoff=5.0, memory_limit=1.0, thermal_form=LINEAR, weights=(weights,), dtype=torch.float64
    )
    network, rows = SpringChannels((0.0, 0.0), LENGTHS), np.array([[0, 3], [0, 7]])
    energies = trajectory.energy[[3, 7]]
    expected = {
        "forces": 2.0 * np.mean(trajectory.forces[[3, 7]].astype(float) ** 2),
        "energies": 3.0 * np.mean((energies - 11.0) ** 2),
        "response_forces": 5.0 * np.mean(trajectory.response_forces[[3, 7]].astype(float) ** 2),
    }
    offsets = [11.0]
    loss = compute_loss(network, LINEAR, load_example(frames, rows), offsets)
    assert float(loss) == pytest.approx(sum(expected.values()), rel=1e-6)
    # the constant goes a hundredth of the way
    assert offsets[0] == pytest.approx(11.0 + 0.01 * (energies.mean() - 11.0))
    found = label_losses(network, frames, rows)
    assert found["forces"].mean() == pytest.approx(expected["forces"], rel=1e-6)
    assert found["response_forces"].mean() == pytest.approx(expected["response_forces"], rel=1e-6)
    assert found["energies"].mean() == pytest.approx(3.0 * np.var(energies), rel=1e-6)
    assert measure_offsets(network, frames, rows) == pytest.approx([energies.mean()])


def test_instantaneous_forces_of_one_run_all_weigh_one():
    weighing = weigh((make_data(300.0),), LabelSettings(), form=ThermalForm())
    assert weighing.weights == ({"forces": None},)
    assert weighing.summary[0]["labels"]["forces"]["mean_weight"] == 1.0


def test_forces_of_two_runs_weigh_inversely_to_their_noise_and_one_on_average():
    trajectories = (make_data(280.0), make_data(350.0))
    losses = np.repeat([100.0, 400.0], 28)
    first, second = (own["forces"] for own in weigh(trajectories, LabelSettings(), losses=losses).weights)
    assert first[0, 0] / second[0, 0] == pytest.approx(4.0)
    assert 0.5 * (first[0, 0] + second[0, 0]) == pytest.approx(1.0)
    noise = [
        entry["labels"]["forces"]["noise"] for entry in weigh(trajectories, LabelSettings(), losses=losses).summary
    ]
    assert noise == pytest.approx([10.0, 20.0])


def test_averaged_forces_weigh_by_their_standard_error_and_no_more_than_the_model_can_follow():
    averaged = make_data(350.0, averaged=True)
    noise = averaged.force_noise.copy()
    noise[0] = 1e-6
    trajectories = (make_data(280.0), replace(averaged, force_noise=noise))
    rows = split_by_use(trajectories, validation_fraction=0.1, test_fraction=0.2).train
    losses = np.where(rows[:, 0] == 0, 400.0, 0.0)
    floor = 0.1**2 * np.mean(averaged.forces.astype(float) ** 2)
    plain, precise = (own["forces"] for own in weigh(trajectories, LabelSettings(), losses=losses).weights)
    assert precise[1, 0] / plain[0, 0] == pytest.approx(400.0 / (4.0 + floor), rel=1e-5)
    assert precise[0, 0] / plain[0, 0] == pytest.approx(400.0 / floor, rel=1e-5)


def test_an_energy_counts_as_one_component_of_the_forces_of_its_frame_would():
    # noise of energies beside a straight line in the baseline's energy, here added by hand: 8 kJ/mol
    data = make_data(280.0, n_frames=2000)
    batch = build_batch(data, np.arange(2000), dtype=torch.float64)
    straight = 3.0 + 1.7 * predict(TRUTH, batch, find_pairs(batch, 5.0)).energy.numpy()
    noisy = replace(data, energy=straight + np.random.default_rng(1).normal(0.0, 8.0, 2000))
    weighing = weigh((noisy,), EVERYTHING, losses=np.full(1400, 100.0))
    own = weighing.summary[0]["labels"]["energies"]
    assert own["noise"] == pytest.approx(8.0, rel=0.1)
    assert own["mean_weight"] == pytest.approx(100.0 / (6 * own["noise"] ** 2))
    doubled = weigh((noisy,), LabelSettings(energies=2.0), losses=np.full(1400, 100.0)).summary[0]["labels"]["energies"]
    assert doubled["mean_weight"] == pytest.approx(2.0 * own["mean_weight"])


def test_offsets_stand_beside_the_noise_of_energies():
    summary = weigh((make_data(280.0), make_data(350.0)), EVERYTHING).summary
    noted = note_offsets(summary, [3.0, 4.0])
    assert [entry["labels"]["energies"]["offset"] for entry in noted] == [3.0, 4.0]
    assert "offset" not in noted[0]["labels"]["forces"]


def test_files_keep_averaged_labels_and_their_errors(tmp_path):
    data = make_data(300.0, averaged=True)
    write_trajectory(tmp_path / "mean_force.h5", data)
    read = read_trajectory(tmp_path / "mean_force.h5")
    for name in ("n_averaged", "force_noise", "response_forces", "response_noise", "energy_noise", "energy_variance"):
        np.testing.assert_array_equal(getattr(read, name), getattr(data, name))


BAD_KINDS = [
    (LINEAR, LabelSettings(), (280.0,), "which has 2 surfaces to learn, but the forces are all at 280 K"),
    (WITH_CAPACITY, LabelSettings(), (280.0, 350.0), "has 3 surfaces to learn, but the forces are all at 280 K, 350 K"),
    (ThermalForm(), EVERYTHING, (280.0, 350.0), "has no energy to learn, only a free energy"),
]


@pytest.mark.parametrize(("form", "settings", "temperatures", "message"), BAD_KINDS)
def test_labels_that_do_not_determine_the_potential_are_refused(form, settings, temperatures, message):
    with pytest.raises(InputError, match=message):
        check_kinds(settings, form, tuple(make_data(temperature) for temperature in temperatures))


def test_energies_that_are_not_there_are_refused():
    bare = tuple(replace(make_data(temperature), energy=None) for temperature in (280.0, 350.0))
    with pytest.raises(InputError, match="no mapped trajectory has energies"):
        check_kinds(EVERYTHING, LINEAR, bare)


def test_replicas_at_several_temperatures_count_as_several():
    data = make_data(300.0)
    check_kinds(LabelSettings(), LINEAR, (replace(data, temperature=np.repeat([300.0, 400.0], 20)),))


@pytest.mark.parametrize(("field", "value"), [("forces", 0.0), ("energies", -1.0), ("model_error", float("nan"))])
def test_weights_that_are_none_are_refused(field, value):
    with pytest.raises(InputError, match=f"'{field}' is"):
        LabelSettings(**{field: value})


def test_runs_with_other_beads_are_refused_together():
    def describe(weights, names=("A", "B"), noise_width=None):
        molecule = {"name": "m", "bead_names": list(names), "position_weights": weights}
        return {"molecules": [molecule], "noise_width": noise_width}

    first = describe([[1.0, 0.0], [0.0, 1.0]])
    check_mappings((first, describe([[1.0, 0.0], [0.0, 1.0 + 1e-9]]), {}), ("a", "b", "c"))
    for other, what in (
        (describe([[0.5, 0.5], [0.0, 1.0]]), "position weights"),
        (describe([[1.0, 0.0]], names=("A",)), "bead names"),
        (describe([[1.0, 0.0], [0.0, 1.0]], noise_width=0.01), "noise width"),
    ):
        with pytest.raises(InputError, match=rf"'m' is mapped with other {what} than in 'a'.*file 'b'"):
            check_mappings((first, other), ("a", "b"))
