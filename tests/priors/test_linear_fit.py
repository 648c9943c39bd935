"""Streamed force matching: exact recovery, one dense solution, honest errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs
from beadsmith.priors.frames import split_frames, stream_frames
from beadsmith.priors.linear_fit import (
    NormalEquations,
    accumulate_normal_equations,
    solve_normal_equations,
)
from beadsmith.priors.pair_terms import name_type_pairs
from beadsmith.priors.splines import PairSpline
from beadsmith.statistics import leave_one_out_error
from example_liquids import add_forces, make_liquid

CUTOFF = 0.9
NOISE = 300.0


def make_spline(type_names=("A",), n_intervals=12):
    """Return a spline with the shape of a repulsive core and a shallow well, different for each type pair."""
    spline = PairSpline(
        type_names,
        inner_distances=(0.28,) * len(name_type_pairs(type_names)),
        cutoff=CUTOFF,
        n_intervals=n_intervals,
        inner_end="free",
    )
    knots = np.linspace(0.28, CUTOFF, spline.coefficients.shape[1])
    rows = [(1.0 + 0.5 * n) * (40 * np.exp(-(knots - 0.28) / 0.05) - 3) for n in range(len(spline.type_pairs))]
    return spline.with_coefficients(np.concatenate(rows) * (1 - (knots / CUTOFF)[None, :].repeat(len(rows), 0).ravel()))


def fit(spline, trajectories, *, n_blocks=5, ridge=1e-9, max_sites=4096, fixed_terms=()):
    blocks = split_frames(trajectories, n_blocks=n_blocks)
    chunks = stream_frames(blocks, cutoff=spline.cutoff, max_sites=max_sites)
    equations = accumulate_normal_equations([spline], chunks, n_blocks=blocks.n_blocks, fixed_terms=fixed_terms)
    return equations, solve_normal_equations([spline], equations, ridge=ridge)


def assert_same_forces(spline, solution):
    """Compare pair forces wherever pairs are not rare, for all type pairs."""
    for number in range(len(spline.type_pairs)):
        to_force = -spline.evaluate_basis(np.arange(0.34, CUTOFF, 0.01), number, 1)
        expected = to_force @ spline.coefficients.reshape(-1).numpy()
        # labels of 1e3 kJ/mol/nm are float32, and the ridge of 1e-9 acts on knots that 1e-4 of the pairs visit
        np.testing.assert_allclose(to_force @ solution.coefficients, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def liquid():
    return make_liquid(40, (24,), seed=5)


@pytest.mark.parametrize("n_of_type", [(24,), (14, 10)], ids=["one type", "two types"])
def test_known_potentials_are_recovered_from_noise_free_forces(n_of_type):
    frames = make_liquid(20, n_of_type, seed=7)
    spline = make_spline(frames.topology.type_names)
    _, solution = fit(spline, (add_forces(frames, [spline]),))
    assert_same_forces(spline, solution)
    assert solution.explained_variance > 1 - 1e-9
    assert solution.rank == spline.n_coefficients


def test_noisy_forces_give_the_potential_within_3_standard_errors(liquid):
    spline = make_spline()
    _, solution = fit(spline, (add_forces(liquid, [spline], noise=NOISE, seed=1),), n_blocks=20)
    to_force = -spline.evaluate_basis(np.arange(0.32, 0.89, 0.02), 0, 1)
    error = solution.estimate_error(to_force)
    deviation = to_force @ (solution.coefficients - spline.coefficients[0].numpy()) / error
    # 29 correlated values; beyond 3.5 sigma (jackknife of 20 blocks) one is expected in 75 seeds
    assert np.abs(deviation).max() < 3.5
    assert 0.6 < np.sqrt(np.mean(deviation**2)) < 1.5


def test_streamed_solution_equals_one_dense_least_squares(liquid):
    spline = make_spline()
    frames = add_forces(liquid, [spline], noise=NOISE)
    _, solution = fit(spline, (frames,), ridge=0.0, max_sites=60)
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    used, design = (tensor.numpy() for tensor in spline.force_design(batch, find_pairs(batch, CUTOFF)))
    np.testing.assert_array_equal(used, np.arange(spline.n_coefficients))
    labels = frames.forces.astype(np.float64).reshape(-1)
    dense, residual, _, _ = np.linalg.lstsq(design, labels, rcond=None)
    np.testing.assert_allclose(solution.coefficients, dense, rtol=1e-7, atol=1e-7)
    assert solution.loss == pytest.approx(residual[0] / labels.size, rel=1e-10)
    assert solution.zero_loss == pytest.approx(np.mean(labels**2), rel=1e-12)


def test_result_does_not_depend_on_the_chunk_size(liquid):
    spline = make_spline()
    frames = add_forces(liquid, [spline], noise=NOISE)
    one, many = (fit(spline, (frames,), max_sites=size)[1].coefficients for size in (1, 4096))
    np.testing.assert_allclose(one, many, rtol=1e-9, atol=1e-9)


def test_held_out_loss_is_that_of_fits_without_each_block(liquid):
    spline = make_spline()
    frames = add_forces(liquid, [spline], noise=NOISE)
    equations, solution = fit(spline, (frames,), n_blocks=4)
    parts = np.array_split(np.arange(40), 4)
    losses = []
    for block, part in enumerate(parts):
        rest = frames.select(np.setdiff1d(np.arange(40), part))
        _, without = fit(spline, (rest,), n_blocks=3)
        losses.append(equations.compute_losses(without.coefficients)[block])
    # the penalty is scaled by all frames in one case and by three quarters in the other: 1e-9 / 4 at rare knots
    assert solution.held_out_loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert solution.held_out_loss > solution.loss


def test_block_errors_match_the_scatter_over_100_repeats(liquid):
    spline = make_spline()
    equations, _ = fit(spline, (add_forces(liquid, [spline]),), n_blocks=20)
    rng = np.random.default_rng(9)
    factors = [np.linalg.cholesky(gram + 1e-9 * np.eye(len(gram))) for gram in equations.gram]
    to_force = -spline.evaluate_basis(np.arange(0.34, 0.85, 0.05), 0, 1)
    values, errors = [], []
    for _ in range(100):
        # Aᵀ noise has the covariance σ² AᵀA, so labels need not be drawn one by one
        moment = equations.moment + NOISE * np.stack([f @ rng.standard_normal(len(f)) for f in factors])
        noisy = NormalEquations(
            gram=equations.gram,
            moment=moment,
            label_square=equations.label_square,
            n_components=equations.n_components,
        )
        solution = solve_normal_equations([spline], noisy)
        values.append(to_force @ solution.coefficients)
        errors.append(solution.estimate_error(to_force))
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(values, axis=0, ddof=1)
    # the scatter of 100 repeats is known to 7 %; the jackknife is biased upwards by about 1/n_blocks
    assert np.all((ratio > 0.8) & (ratio < 1.3))
    assert 0.93 < ratio.mean() < 1.15


def test_type_pair_that_never_occurs_is_pinned_to_zero():
    # the cutoff is below the distance of the only B to its images
    frames = make_liquid(20, (20, 1), seed=3)
    spline = make_spline(frames.topology.type_names)
    _, solution = fit(spline, (add_forces(frames, [spline]),))
    np.testing.assert_allclose(solution.coefficients.reshape(3, -1)[2], 0.0, atol=1e-12)
    assert solution.n_unvisited >= 12


def test_coefficients_without_data_continue_their_neighbours(liquid):
    spline = make_spline()
    early = PairSpline(("A",), inner_distances=(0.1,), cutoff=CUTOFF, n_intervals=16, inner_end="free")
    _, solution = fit(early, (add_forces(liquid, [spline]),))
    first = solution.coefficients[: solution.n_unvisited + 1]
    assert solution.n_unvisited >= 1
    # linear continuation: second differences vanish
    assert np.abs(np.diff(first, n=2)).max(initial=0.0) < 1e-6 * np.abs(first).max()


def test_forces_of_fixed_terms_are_taken_off_the_labels(liquid):
    spline = make_spline()
    fixed = make_spline(n_intervals=9)
    _, solution = fit(spline, (add_forces(liquid, [spline, fixed]),), fixed_terms=[fixed])
    assert_same_forces(spline, solution)


def test_zero_weight_frames_do_not_count(liquid):
    spline = make_spline()
    frames = add_forces(liquid, [spline], noise=NOISE)
    weight = np.repeat([1.0, 0.0], 20)
    _, weighted = fit(spline, (replace(frames, weight=weight),), n_blocks=4)
    _, first_half = fit(spline, (frames.select(slice(0, 20)),), n_blocks=2)
    np.testing.assert_allclose(weighted.coefficients, first_half.coefficients, rtol=1e-9, atol=1e-9)


def test_trajectories_of_different_topologies_share_one_fit():
    pure, mixture = make_liquid(10, (24, 0), seed=1), make_liquid(12, (10, 14), seed=2)
    spline = make_spline(("A", "B"))
    _, solution = fit(spline, (add_forces(pure, [spline]), add_forces(mixture, [spline])))
    assert_same_forces(spline, solution)


def test_blocks_never_cross_segments_and_hold_every_frame_once(liquid):
    segment = np.repeat([0, 1], [15, 25])
    frames = split_frames((replace(add_forces(liquid, [make_spline()]), segment=segment),), n_blocks=5)
    assert frames.n_blocks == 5
    assert all(len(set(segment[indices])) == 1 for _, indices in frames.blocks)
    np.testing.assert_array_equal(np.concatenate([indices for _, indices in frames.blocks]), np.arange(40))


def test_jackknife_error_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=12)
    means = (values.sum() - values) / 11
    assert leave_one_out_error(means[:, None])[0] == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=1e-12)


def test_missing_forces_are_refused(liquid):
    with pytest.raises(InputError, match="no forces"):
        split_frames((liquid,), n_blocks=5)


def test_different_bead_types_are_refused(liquid):
    other = make_liquid(2, (4, 4), seed=0)
    spline = make_spline(("A", "B"))
    with pytest.raises(InputError, match="bead types"):
        split_frames((add_forces(other, [spline]), add_forces(liquid, [make_spline()])), n_blocks=5)


def test_forces_that_are_not_finite_are_refused(liquid):
    frames = add_forces(liquid, [make_spline()])
    frames.forces[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        fit(make_spline(), (frames,))


@pytest.mark.parametrize("ridge", [-1.0, np.inf, np.nan])
def test_impossible_ridge_is_refused(liquid, ridge):
    with pytest.raises(InputError, match="ridge"):
        fit(make_spline(), (add_forces(liquid.select(slice(0, 5)), [make_spline()]),), ridge=ridge)
