"""The fit of a term of the volume: what pressure it restores, with which error, and when it is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.neighbors import find_pairs
from beadsmith.priors.volume import VolumeTerm
from beadsmith.training.data import segment_labels
from beadsmith.training.virial_labels import predict_virials
from beadsmith.training.volume_fit import (
    MissingPressure,
    check_volume_term,
    find_missing_pressure,
    fit_volume_term,
)
from beadsmith.training.volume_settings import VolumeTermSettings
from beadsmith.units import BAR
from example_force_fields import SoftPair, make_force_field, make_liquid

MODEL = make_force_field(SoftPair(height=200.0)).double()


def make_labelled(spacing, *, term=None, noise=0.0, n_frames=60, seed=0):
    """Return frames with virials of the pair potential, of a term of the volume, and noise [kJ/mol] on the trace."""
    frames = make_liquid(spacing=spacing, n_frames=n_frames, seed=seed)
    truth = ForceField([*MODEL.prior, *([] if term is None else [term])], None, MODEL.record)
    virials = predict_virials(truth, frames, np.arange(n_frames), cutoff=0.5, dtype=torch.float64)
    drawn = np.random.default_rng(seed + 1).normal(0.0, noise, n_frames)
    return replace(frames, virial=virials + drawn[:, None, None] * np.eye(3))


def fit(order, *trajectories):
    rows = np.concatenate(
        [np.stack([np.full(t.n_frames, k), np.arange(t.n_frames)], axis=1) for k, t in enumerate(trajectories)]
    )
    labels = segment_labels(trajectories, rows)
    check_volume_term(VolumeTermSettings(order=order), trajectories)
    missing = find_missing_pressure(MODEL, trajectories, rows, labels, cutoff=0.5, dtype=torch.float64)
    return fit_volume_term(MODEL, missing, order=order)


def mean_pressure(force_field, trajectory):
    """Return the mean virial pressure [bar]."""
    batch = build_batch(trajectory, np.arange(trajectory.n_frames), dtype=torch.float64)
    virials = predict(force_field, batch, find_pairs(batch, 0.5)).virial.numpy()
    return float(np.mean(np.trace(virials, axis1=1, axis2=2) / (3.0 * trajectory.volumes()))) / BAR


def test_the_mean_pressure_on_the_frames_becomes_that_of_their_labels():
    trajectory = make_labelled(0.35, term=VolumeTerm((9.0,), reference_volume=0.04), noise=30.0)
    corrected, summary = fit(1, trajectory)
    labels = np.mean(np.trace(trajectory.virial, axis1=1, axis2=2) / (3.0 * trajectory.volumes())) / BAR
    assert mean_pressure(corrected, trajectory) == pytest.approx(labels, abs=1e-6)
    assert summary["pressure"]["value"] == pytest.approx(labels - mean_pressure(MODEL, trajectory), abs=1e-6)
    assert summary["n_points"] == 60


def test_the_error_of_the_pressure_is_that_of_the_mean_of_its_noise():
    found = [fit(1, make_labelled(0.35, noise=30.0, n_frames=40, seed=seed))[1]["pressure"] for seed in range(12)]
    errors = np.array([entry["error"] for entry in found])
    volume = float(make_liquid(spacing=0.35).volumes()[0])
    expected = 30.0 / volume / BAR / np.sqrt(40)
    assert errors.mean() == pytest.approx(expected, rel=0.3)
    # nothing is missing, so the values are noise: 12 of them, mean square 1 known to 0.4
    assert np.mean((np.array([entry["value"] for entry in found]) / expected) ** 2) < 2.3


def test_two_densities_give_back_a_quadratic_term_within_3_standard_errors():
    truth = VolumeTerm((9.0, 60.0), reference_volume=0.045)
    trajectories = [make_labelled(s, term=truth, noise=10.0, seed=k) for k, s in enumerate((0.345, 0.365))]
    corrected, summary = fit(2, *trajectories)
    term = corrected.prior[-1]
    volumes = torch.tensor([0.041, 0.0445, 0.0485], dtype=torch.float64)
    # P is linear in V: the polynomial may be written about any volume
    difference = (term.pressure(volumes) - truth.pressure(volumes)).numpy() / BAR
    error = 10.0 / float(trajectories[0].volumes()[0]) / BAR / np.sqrt(60)
    assert np.abs(difference).max() < 3.0 * error
    assert [entry["unit"] for entry in summary["coefficients"]] == ["kJ/mol"] * 2


def test_forces_do_not_change():
    trajectory = make_labelled(0.35, noise=30.0)
    corrected, _ = fit(1, trajectory)
    batch = build_batch(trajectory, np.array([0]), dtype=torch.float64)
    pairs = find_pairs(batch, 0.5)
    assert torch.equal(predict(corrected, batch, pairs).forces, predict(MODEL, batch, pairs).forces)


def test_runs_of_known_variance_give_back_a_quadratic_term_with_its_errors():
    """Three volumes, two coefficients: errors are those of weighted least squares."""
    truth = VolumeTerm((9.0, 60.0), reference_volume=0.045)
    volumes, sigma = np.array([0.042, 0.045, 0.05]), np.array([1.0, 0.5, 2.0])
    exact = truth.pressure(torch.from_numpy(volumes)).numpy()
    generator, found = np.random.default_rng(2), []
    for _ in range(200):
        noisy = exact + sigma * generator.normal(size=3)
        missing = MissingPressure(volume=volumes, pressure=noisy, variance=sigma**2)
        corrected, summary = fit_volume_term(MODEL, missing, order=2)
        at_reference = torch.tensor([summary["reference_volume"]["value"]], dtype=torch.float64)
        wrong = float(corrected.prior[-1].pressure(at_reference)[0] - truth.pressure(at_reference)[0])
        found.append(wrong / (summary["pressure"]["error"] * BAR))
    # 200 normal values of variance 1: their mean square is known to 0.1
    assert np.mean(np.square(found)) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("values", "name"), [({"order": 0}, "order"), ({"order": 3}, "order"), ({"method": "a"}, "method")]
)
def test_settings_that_fit_nothing_are_refused(values, name):
    with pytest.raises(InputError, match=f"'{name}'"):
        VolumeTermSettings(**values)


def test_one_density_determines_no_slope():
    with pytest.raises(InputError, match=r"order' is 2, but the volumes of the data differ by .* only"):
        fit(2, make_labelled(0.35))


def test_files_without_virials_say_nothing_about_the_term():
    labelled = make_labelled(0.35, term=VolumeTerm((9.0,), reference_volume=0.04), noise=30.0)
    averaged = replace(make_labelled(0.4, seed=7), virial=None)
    (_, alone), (_, beside) = fit(1, labelled), fit(1, averaged, labelled)
    assert beside == alone
    with pytest.raises(InputError, match="volumes of the data differ"):
        fit(2, averaged, labelled)


@pytest.mark.parametrize("missing", ["virial", "cell"])
def test_data_without_virials_or_cell_are_refused(missing):
    trajectory = replace(make_labelled(0.35), **{missing: None})
    with pytest.raises(InputError, match="no mapped trajectory has virials and a periodic cell"):
        fit(1, trajectory)
    check_volume_term(None, (trajectory,))
