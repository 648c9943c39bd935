"""The training loop: what it learns, when it stops, and that an interruption changes nothing."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError, PhysicsError
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import prepare_frames, split_by_use
from beadsmith.training.loop import LOG_FIELDS, average_weights_, fit_network
from beadsmith.training.settings import TrainingSettings
from example_force_matching import CUTOFF, DensityNetwork, make_labelled_liquid, make_wall

QUICK = TrainingSettings(epochs=2, batch_size=2, learning_rate=0.05, averaging=0.9)


def fit(folder, network, trajectory, settings, *, seed=0, progress=lambda done, total, note="": None, frames=None):
    """Fit a network to a trajectory labelled with the wall and something else."""
    if frames is None:
        frames = prepare(trajectory)
    split = split_by_use((trajectory,), validation_fraction=0.1, test_fraction=0.2)
    return fit_network(
        network,
        frames,
        train_rows=split.train,
        validation_rows=split.validation,
        settings=settings,
        files=FitFiles(checkpoint=folder / "fit.safetensors", identity="a", log=folder / "training.csv"),
        seed=seed,
        progress=progress,
    )


def prepare(trajectory, dtype=torch.float64):
    """Return the frames of one trajectory with the wall's forces taken off."""
    return prepare_frames((trajectory,), [make_wall()], cutoff=CUTOFF, memory_limit=1.0, dtype=dtype)


def test_force_matching_recovers_pair_and_many_body_truth(tmp_path):
    """The loss is a parabola, so only the optimiser's last steps (about 1e-4 here) limit the agreement."""
    trajectory = make_labelled_liquid(0, n_frames=25, truth=DensityNetwork(-8.0, 1.5))
    settings = TrainingSettings(epochs=15, learning_rate=0.5, weight_decay=0.0, averaging=0.8, plateau_patience=1)
    network = fit(tmp_path, DensityNetwork(), trajectory, settings).network
    np.testing.assert_allclose(network.coefficients.numpy(), [-8.0, 1.5], rtol=1e-3)


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(("interval", "n_calls"), [(0.0, 1), (0.0, 8), (0.0, 9), (0.0, 15), (1e9, 15)])
def test_interrupted_fit_ends_bit_equal_to_an_uninterrupted_one(tmp_path, interval, n_calls):
    """9 batches an epoch: the interruptions fall into an epoch, on its end and into the next one."""
    trajectory = make_labelled_liquid(2, noise=20.0, n_frames=25)
    frames, settings = prepare(trajectory), dataclasses.replace(QUICK, checkpoint_interval=interval)
    calls = iter(range(10**6))

    def interrupt(done, total, note=""):
        if next(calls) == n_calls:
            raise Interrupted

    (tmp_path / "cut").mkdir()
    with pytest.raises(Interrupted):
        fit(tmp_path / "cut", DensityNetwork(), trajectory, settings, progress=interrupt, frames=frames)
    after = fit(tmp_path / "cut", DensityNetwork(), trajectory, settings, frames=frames)
    straight = fit(tmp_path, DensityNetwork(), trajectory, settings, frames=frames)
    assert torch.equal(after.network.coefficients, straight.network.coefficients)
    assert torch.equal(after.last.coefficients, straight.last.coefficients)
    for name in ("step", "rate", "best_loss", "best_epoch", "stop_reason"):
        assert getattr(after.counters, name) == getattr(straight.counters, name), name
    assert without_times(after.counters.log) == without_times(straight.counters.log)


def without_times(log):
    """Return log entries without the wall time."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in log]


def test_interrupted_fit_repeats_no_saved_step(tmp_path):
    trajectory, calls = make_labelled_liquid(2, noise=20.0, n_frames=25), []
    settings = dataclasses.replace(QUICK, checkpoint_interval=0.0)

    def interrupt(done, total, note=""):
        calls.append(done)
        if len(calls) == 12:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(tmp_path, DensityNetwork(), trajectory, settings, progress=interrupt)
    fit(tmp_path, DensityNetwork(), trajectory, settings, progress=lambda done, total, note="": calls.append(done))
    # 18 steps in all; only the step whose checkpoint was not yet written is taken twice
    assert len(calls) == 19


def test_finished_fit_is_not_repeated(tmp_path):
    trajectory, calls = make_labelled_liquid(2), []
    first = fit(tmp_path, DensityNetwork(), trajectory, QUICK)
    second = fit(tmp_path, DensityNetwork(), trajectory, QUICK, progress=lambda *args: calls.append(args))
    assert torch.equal(first.network.coefficients, second.network.coefficients)
    assert not calls


def test_another_seed_gives_another_order(tmp_path):
    trajectory = make_labelled_liquid(3, noise=20.0)
    results = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        results.append(fit(tmp_path / str(seed), DensityNetwork(), trajectory, QUICK, seed=seed).network.coefficients)
    assert not torch.equal(results[0], results[1])


class BrokenOnce(DensityNetwork):
    """Return NaN at one call."""

    calls = 0

    def forward(self, *args):
        BrokenOnce.calls += 1
        return super().forward(*args) * (math.nan if BrokenOnce.calls == 25 else 1.0)


def test_a_nan_costs_half_the_rate_and_no_result(tmp_path):
    BrokenOnce.calls = 0
    trajectory = make_labelled_liquid(4, n_frames=30, truth=DensityNetwork(-8.0, 1.5))
    result = fit(tmp_path, BrokenOnce(), trajectory, dataclasses.replace(QUICK, epochs=20))
    network, counters = result.network, result.counters
    assert counters.restarts == 1
    assert counters.rate <= 0.5 * QUICK.learning_rate
    assert torch.isfinite(network.coefficients).all()
    assert counters.best_loss < 0.1 * counters.log[0]["train_loss"]


def test_repeated_nan_is_a_physics_error(tmp_path):
    trajectory = make_labelled_liquid(4)
    frames = prepare(trajectory)
    frames.targets[0][5] = math.nan
    with pytest.raises(PhysicsError, match="non-finite 4 times"):
        fit(tmp_path, DensityNetwork(), trajectory, dataclasses.replace(QUICK, epochs=30), frames=frames)


def test_training_on_noise_stops_early_and_keeps_the_best_weights(tmp_path):
    trajectory = make_labelled_liquid(5, n_frames=30, noise=50.0)
    settings = dataclasses.replace(QUICK, epochs=50, early_stop_patience=3)
    counters = fit(tmp_path, DensityNetwork(), trajectory, settings).counters
    assert counters.epoch < 50
    assert "no better validation loss" in counters.stop_reason
    assert counters.best_loss == min([entry["validation_loss"] for entry in counters.log] + [counters.best_loss])


def test_rate_is_halved_on_a_plateau(tmp_path):
    trajectory = make_labelled_liquid(5, n_frames=30, noise=50.0)
    settings = dataclasses.replace(QUICK, epochs=50, plateau_patience=1, early_stop_patience=5)
    counters = fit(tmp_path, DensityNetwork(), trajectory, settings).counters
    rates = [entry["learning_rate"] for entry in counters.log]
    assert rates[0] == settings.learning_rate
    assert min(rates) <= 0.25 * rates[0]


def test_max_time_ends_a_fit_with_its_best_weights(tmp_path):
    trajectory = make_labelled_liquid(6, truth=DensityNetwork(-8.0, 1.5))
    settings = dataclasses.replace(QUICK, epochs=10_000, max_time=0.3)
    counters = fit(tmp_path, DensityNetwork(), trajectory, settings).counters
    assert "max_time" in counters.stop_reason


def test_averaged_weights_follow_their_closed_form():
    """m_n = decay^n m_0 + (1 - decay) Σ decay^(n-k) w_k."""
    values, decay = [3.0, -1.0, 2.0], 0.8
    average, network = DensityNetwork(1.0), DensityNetwork()
    for value in values:
        network.coefficients.data[0] = value
        average_weights_([average.coefficients], [network.coefficients], decay)
    expected = decay**3 + 0.2 * sum(decay ** (2 - k) * value for k, value in enumerate(values))
    assert average.coefficients[0].item() == pytest.approx(expected)


def test_log_has_one_line_per_epoch(tmp_path):
    fit(tmp_path, DensityNetwork(), make_labelled_liquid(7), QUICK)
    lines = (tmp_path / "training.csv").read_text().splitlines()
    assert lines[0] == ",".join(LOG_FIELDS)
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


def test_the_given_network_is_not_changed(tmp_path):
    network = DensityNetwork(0.5, 0.5)
    fit(tmp_path, network, make_labelled_liquid(8), QUICK)
    assert network.coefficients.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": -1},
        {"learning_rate": -1.0},
        {"learning_rate": math.nan},
        {"test_fraction": 1.5},
        {"validation_fraction": 0.5, "test_fraction": 0.45},
        {"averaging": 1.0},
        {"noise_floor_fractions": (1.0,)},
        {"threads": 0},
        {"max_time": 0.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(values):
    with pytest.raises(InputError, match=next(iter(values))):
        TrainingSettings(**values)
