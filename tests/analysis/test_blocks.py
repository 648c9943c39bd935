"""Blocks of frames: they never cross a segment, and their errors are those that repeated data show."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.analysis.blocks import (
    BlockCounts,
    StateWeights,
    count_samples,
    divide_frames,
    jackknife,
    measure_average,
    split_halves,
)


def count(states, frames, n_bins=2):
    return count_samples(np.asarray(states)[:, None], (n_bins,), frames)


def test_blocks_hold_every_frame_once_and_their_pieces_never_cross_a_segment():
    segment = np.repeat(np.arange(130), 7)
    frames = divide_frames(len(segment), n_blocks=10, segment=segment)
    pieces = [piece for block in frames.pieces for piece in block]
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(len(segment)))
    assert all(len(np.unique(segment[piece])) == 1 for piece in pieces)
    assert frames.n_blocks == 40
    for number, block in enumerate(frames.pieces):
        assert (frames.block[np.concatenate(block)] == number).all()


def test_one_long_run_has_as_many_blocks_as_asked():
    assert divide_frames(1000, n_blocks=10).n_blocks == 10


def test_standard_error_of_a_population_is_the_binomial_one():
    generator = np.random.default_rng(0)
    frames = divide_frames(20_000, n_blocks=40)
    counts = count(generator.random(20_000) < 0.3, frames)
    assert counts.probability[1] == pytest.approx(0.3, abs=4.0 * np.sqrt(0.3 * 0.7 / 20_000))
    # an error from 40 blocks scatters by 11 %: three of these
    assert counts.standard_error[1] == pytest.approx(np.sqrt(0.3 * 0.7 / 20_000), rel=0.34)


def test_standard_error_of_correlated_frames_is_that_of_their_independent_runs():
    # runs of 20 frames with one state each: 50 independent samples, not 1,000
    generator = np.random.default_rng(1)
    segment = np.repeat(np.arange(50), 20)
    frames = divide_frames(1000, n_blocks=10, segment=segment)
    found = [count(np.repeat(generator.random(50) < 0.5, 20), frames).standard_error[0] for _ in range(60)]
    # each error is known to 11 %, their mean to 1.5 %: four of these
    assert np.mean(found) == pytest.approx(0.5 / np.sqrt(50), rel=0.06)


def test_weights_of_frames_enter_counts_means_and_the_effective_number():
    frames = divide_frames(4, n_blocks=2, weight=np.array([1.0, 3.0, 0.0, 0.0]))
    counts = count([0, 1, 1, 1], frames)
    np.testing.assert_allclose(counts.probability, [0.25, 0.75])
    assert counts.n_samples == pytest.approx(16.0 / 10.0)
    # the second block weighs nothing and is no block
    assert counts.n_blocks == 1
    assert np.isnan(counts.standard_error).all()
    mean = measure_average(np.array([[1.0], [2.0], [9.0], [9.0]]), frames, unit="nm")
    assert mean.value == pytest.approx(1.75)
    assert np.isnan(mean.standard_error)


def test_weights_by_state_equal_the_same_weights_by_frame():
    generator = np.random.default_rng(2)
    states, bins = generator.integers(0, 5, 400), generator.integers(0, 7, (400, 1))
    weights = generator.random(5)
    by_frame = divide_frames(400, n_blocks=8, weight=weights[states])
    by_state = divide_frames(400, n_blocks=8).reweighted(
        StateWeights(states=states, weights=weights, left_out=np.tile(weights, (8, 1)))
    )
    one, other = (count_samples(bins, (7,), frames) for frames in (by_frame, by_state))
    np.testing.assert_allclose(one.counts, other.counts)
    np.testing.assert_allclose(one.left_out, other.left_out)
    assert one.n_samples == pytest.approx(other.n_samples)


def test_left_out_weights_of_states_make_the_error_that_they_should():
    # all scatter is in the weights of the two states: leaving out block b makes them w_b and 1 - w_b
    states = np.tile([0, 1], 50)
    left_out = np.random.default_rng(3).normal(0.4, 0.01, 10)
    weights = StateWeights(
        states=states, weights=np.array([0.8, 1.2]), left_out=2.0 * np.stack([left_out, 1.0 - left_out], axis=1)
    )
    counts = count(states, divide_frames(100, n_blocks=10).reweighted(weights))
    assert counts.probability[0] == pytest.approx(0.4)
    assert counts.standard_error[0] == pytest.approx(np.sqrt(9.0 * np.var(left_out)), rel=1e-9)


def test_halves_of_unequal_blocks_are_cut_where_half_the_weight_is_nearest():
    rows = np.diag([1.0, 1.0, 1.0, 3.0])
    first, second = split_halves(BlockCounts(counts=rows, left_out=rows.sum(axis=0) - rows, n_samples=6.0))
    np.testing.assert_array_equal(first, [1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(second, [0.0, 0.0, 0.0, 3.0])


def test_one_block_has_neither_halves_nor_errors():
    blocks = BlockCounts(counts=np.ones((1, 3)), left_out=np.zeros((1, 3)), n_samples=3.0)
    assert split_halves(blocks) is None
    assert np.isnan(jackknife(lambda counts: counts[0] / counts.sum(), blocks))


def test_mirror_and_mean_with_the_mirror_act_on_the_named_axes():
    rows = np.arange(12.0).reshape(2, 2, 3)
    blocks = BlockCounts(counts=rows, left_out=rows.sum(axis=0) - rows, n_samples=1.0)
    np.testing.assert_array_equal(blocks.mirrored((1,)).counts, rows[:, :, ::-1])
    symmetric = blocks.symmetrised((0, 1))
    np.testing.assert_array_equal(symmetric.counts, symmetric.mirrored((0, 1)).counts)
    assert replace(symmetric).total.sum() == rows.sum()
