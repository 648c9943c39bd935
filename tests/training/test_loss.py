"""Losses by frame, their errors, and the table that compares force fields."""

import numpy as np
import pytest
import torch

from beadsmith.force_field import ForceField
from beadsmith.training.data import prepare_frames
from beadsmith.training.describe import describe_data
from beadsmith.training.loss import (
    block_means,
    estimate_explained,
    estimate_loss,
    force_field_losses,
    residual_losses,
    zero_force_losses,
)
from beadsmith.training.table import compare_with_baseline, measure_gap, tabulate_losses
from example_force_matching import CUTOFF, DensityNetwork, make_labelled_liquid, make_wall

ROWS = np.array([[0, 4], [0, 0], [0, 3]])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_residual_loss_equals_the_loss_of_prior_and_network_on_the_labels(dtype, tolerance):
    """Tolerances: labels and float32 positions carry 1e-7; the small residual amplifies it."""
    trajectory = make_labelled_liquid(0, n_frames=5, noise=30.0)
    network, prior = DensityNetwork(-3.0, 0.4).to(dtype), make_wall()
    frames = prepare_frames((trajectory,), [prior], cutoff=CUTOFF, memory_limit=1.0, dtype=dtype)
    record = describe_data((trajectory,), search_cutoff=CUTOFF, mapping_summary={}, metadata={})
    whole = force_field_losses(ForceField([prior], network, record), (trajectory,), ROWS, cutoff=CUTOFF, dtype=dtype)
    np.testing.assert_allclose(residual_losses(network, frames, ROWS, max_sites=54), whole, rtol=tolerance)


def test_true_force_field_leaves_exactly_the_noise():
    """The mean square of 40 frames x 81 Gaussian components has a relative error of sqrt(2/3240) = 2.5 %: 4 sigma."""
    truth = DensityNetwork(-3.0, 0.4)
    trajectory = make_labelled_liquid(1, noise=20.0, truth=truth)
    frames = prepare_frames((trajectory,), [make_wall()], cutoff=CUTOFF, memory_limit=1.0, dtype=torch.float64)
    losses = residual_losses(truth, frames, np.array([[0, f] for f in range(40)]))
    assert losses.mean() == pytest.approx(400.0, rel=0.1)


def test_zero_force_loss_is_the_mean_square_of_the_labels():
    trajectory = make_labelled_liquid(2, n_frames=5)
    expected = (trajectory.forces.astype(np.float64) ** 2).mean(axis=(1, 2))[ROWS[:, 1]]
    np.testing.assert_allclose(zero_force_losses((trajectory,), ROWS), expected, rtol=1e-12)


def test_errors_are_those_of_five_block_means():
    losses = np.random.default_rng(0).normal(100.0, 5.0, 50)
    estimate = estimate_loss(losses, np.zeros(50, dtype=np.int64))
    means = losses.reshape(5, 10).mean(axis=1)
    assert estimate.value == pytest.approx(losses.mean())
    assert estimate.error == pytest.approx(means.std(ddof=1) / np.sqrt(5))


def test_blocks_never_cross_segments():
    losses = np.arange(20.0)
    np.testing.assert_array_equal(block_means(losses, np.repeat([3, 1], [4, 16]))[0], losses[:4].mean())


def test_explained_fraction_is_free_of_noise_that_both_losses_share():
    shared = np.random.default_rng(1).normal(1000.0, 100.0, 50)
    estimate = estimate_explained(0.75 * shared, shared, np.zeros(50, dtype=np.int64))
    assert estimate.value == pytest.approx(0.25)
    assert estimate.error == pytest.approx(0.0, abs=1e-12)


def make_losses():
    """Return losses of 50 frames of each use: noise that all models share, and a network 10 better than the spline."""
    generator = np.random.default_rng(2)
    shared = {use: generator.normal(400.0, 20.0, 50) for use in ("train", "validation", "test")}
    spline = {use: 0.8 * loss + generator.normal(0.0, 2.0, 50) for use, loss in shared.items()}
    network = {use: loss - 10.0 for use, loss in spline.items()}
    network["train"] = network["train"] - 4.0
    labels = {use: np.zeros(50, dtype=np.int64) for use in shared}
    return {"zero_force": shared, "prior": shared, "pair_spline": spline, "network": network}, labels


def test_comparison_is_paired_frame_by_frame():
    losses, labels = make_losses()
    comparison = compare_with_baseline(losses, labels)
    assert comparison["value"] == pytest.approx(10.0)
    assert comparison["fraction"] == pytest.approx(10.0 / losses["pair_spline"]["test"].mean())
    assert comparison["error"] == pytest.approx(0.0, abs=1e-9)
    assert comparison["n_blocks"] == 5


def test_gap_is_the_explained_fraction_lost_on_new_frames():
    losses, labels = make_losses()
    gap = measure_gap(losses, labels)
    # 4 of 400 by construction; the spline's own scatter of 2/sqrt(50)/400 = 0.0007 on each side is the error
    assert gap["value"] == pytest.approx(0.01, abs=0.004)
    assert 0.0 < gap["error"] < 0.004


def test_table_names_every_model_and_use():
    losses, labels = make_losses()
    table = tabulate_losses(losses, labels)
    assert set(table["losses"]) == {"zero_force", "prior", "pair_spline", "network"}
    assert set(table["explained_variance"]["network"]) == {"train", "validation", "test"}
    assert table["explained_variance"]["prior"]["test"]["value"] == pytest.approx(0.0)
