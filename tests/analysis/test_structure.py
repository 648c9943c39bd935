"""Radial and angular distributions against closed forms, lattices and a slow twin."""

import itertools

import numpy as np
import pytest

from beadsmith.analysis.distribution import build_distribution
from beadsmith.analysis.structure import (
    StructureBins,
    add_counts,
    angular_distributions,
    choose_bins,
    closest_pairs,
    count_blocks,
    count_structure,
    find_first_peak,
    radial_distributions,
)
from beadsmith.errors import InputError
from beadsmith.statistics import block_edges
from example_systems import CELLS
from example_trajectories import make_ideal_gas, make_trajectory


def make_bins(*, largest=1.0, width=0.01, arm_cutoff=0.45, n_angles=36):
    return StructureBins(
        distance_edges=width * np.arange(round(largest / width) + 1),
        angle_edges=np.linspace(0.0, 180.0, n_angles + 1),
        arm_cutoff=arm_cutoff,
    )


def count_slowly(trajectory, edges):
    """Return the pair histogram of all images within two cells in each direction, one pair after the other."""
    histogram = np.zeros(len(edges) - 1)
    for positions, cell in zip(trajectory.positions, trajectory.cell, strict=True):
        shifts = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ cell.astype(np.float64)
        fractional = positions.astype(np.float64) @ np.linalg.inv(cell.astype(np.float64))
        wrapped = (fractional % 1.0) @ cell.astype(np.float64)
        for i, j in itertools.combinations(range(len(wrapped)), 2):
            distances = np.linalg.norm(wrapped[j] - wrapped[i] + shifts, axis=1)
            histogram += np.histogram(distances, edges)[0]
    return histogram


@pytest.mark.parametrize("name", CELLS)
def test_pair_counts_equal_a_slow_count_over_all_images_in_any_cell_and_unwrapped(name):
    generator = np.random.default_rng(1)
    trajectory = make_ideal_gas(generator, n_frames=2, n_beads=12, cell=CELLS[name])
    unwrapped = trajectory.positions + np.float32(1.0) * (
        generator.integers(-3, 4, trajectory.positions.shape).astype(np.float32) @ trajectory.cell[0]
    )
    moved = make_trajectory(unwrapped, cell=CELLS[name])
    # beyond half the cell too, where a bead sees several images of one other
    bins = make_bins(largest=1.5, width=0.05)
    counts = count_structure(moved, bins)
    volume = abs(np.linalg.det(CELLS[name]))
    np.testing.assert_allclose(counts.radial[0] / volume, count_slowly(moved, bins.distance_edges), atol=1e-4)


@pytest.mark.parametrize("name", CELLS)
def test_ideal_gas_has_g_of_one_within_3_standard_errors(name):
    trajectory = make_ideal_gas(np.random.default_rng(2), n_frames=200, n_beads=40, cell=CELLS[name])
    bins = choose_bins(trajectory, bin_width=0.05)
    curve = radial_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead"]
    filled = curve.centres > 0.2
    sigma = (curve.density - 1.0)[filled] / curve.standard_error[filled]
    # mean of about 15 Student-t values with 9 degrees of freedom, each of unit scale
    assert abs(curve.density[filled].mean() - 1.0) < 3.0 * np.sqrt(np.mean(curve.standard_error[filled] ** 2))
    assert np.abs(sigma).max() < 5.0


def test_error_bars_of_g_are_calibrated():
    # z of independent bins follows Student's t with 9 degrees of freedom: variance 9/7 = 1.29
    sigmas = []
    for seed in range(12):
        trajectory = make_ideal_gas(np.random.default_rng(seed), n_frames=60, n_beads=40)
        bins = choose_bins(trajectory, bin_width=0.1)
        curve = radial_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead"]
        sigmas.extend(((curve.density - 1.0) / curve.standard_error)[2:])
    # 96 values: standard deviation of their mean square about 0.26 (kurtosis of t with 9 degrees of freedom)
    assert 9.0 / 7.0 - 0.8 < np.mean(np.square(sigmas)) < 9.0 / 7.0 + 0.8


def test_a_mixture_of_ideal_gases_has_g_of_one_for_every_pair_of_types():
    types = np.array([0] * 30 + [1] * 10)
    trajectory = make_ideal_gas(
        np.random.default_rng(3), n_frames=300, n_beads=40, types=types, type_names=("methanol", "benzene")
    )
    bins = make_bins(largest=1.0, width=0.25)
    curves = radial_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)
    assert list(curves) == ["methanol-methanol", "methanol-benzene", "benzene-benzene"]
    for curve in curves.values():
        np.testing.assert_array_less(np.abs(curve.density - 1.0)[1:], 4.0 * curve.standard_error[1:])


def test_a_cubic_lattice_has_its_exact_coordination_numbers():
    side, spacing = 6, 0.4
    grid = np.array(list(itertools.product(range(side), repeat=3))) * spacing
    trajectory = make_trajectory(grid[None], cell=np.eye(3) * side * spacing)
    bins = make_bins(largest=1.1, width=0.01)
    curve = radial_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead"]
    shells = 4.0 / 3.0 * np.pi * np.diff(curve.edges**3)
    # per-pair normalisation: the mean density seen by one bead is that of the other N - 1
    neighbours = curve.density * shells * (side**3 - 1) / (side * spacing) ** 3
    expected = {1: 6, 2: 12, 3: 8, 4: 6, 5: 24, 6: 24}
    for square, count in expected.items():
        near = np.abs(curve.centres - spacing * np.sqrt(square)) < 0.011
        assert neighbours[near].sum() == pytest.approx(count, abs=1e-4)
    assert neighbours.sum() == pytest.approx(sum(expected.values()), abs=1e-3)
    assert closest_pairs(count_blocks(trajectory, bins), trajectory.topology)["bead-bead"] == pytest.approx(
        0.4, abs=1e-6
    )


def test_sites_of_one_molecule_are_no_pairs():
    trajectory = make_trajectory(np.array([[[0.0, 0, 0], [0.1, 0, 0], [0.7, 0, 0]]]), cell=np.eye(3) * 4.0)
    molecule = np.array([0, 0, 1])
    topology = type(trajectory.topology)(**{**vars(trajectory.topology), "molecule_index": molecule})
    bonded = type(trajectory)(**{**vars(trajectory), "topology": topology})
    assert closest_pairs(count_blocks(bonded, make_bins()), topology)["bead-bead"] == pytest.approx(0.6, abs=1e-6)


def test_closest_pair_is_found_in_a_frame_of_weight_zero():
    positions = np.array([[[0.0, 0, 0], [0.5, 0, 0]], [[0.0, 0, 0], [0.21, 0, 0]]])
    trajectory = make_trajectory(positions, cell=np.eye(3) * 4.0)
    counts = count_structure(trajectory, make_bins(), np.array([1.0, 0.0]))
    assert counts.closest[0] == pytest.approx(0.21, abs=1e-6)
    assert counts.radial[0].sum() == pytest.approx(64.0)


def test_chunks_add_up_to_the_whole():
    trajectory = make_ideal_gas(np.random.default_rng(4), n_frames=12, n_beads=20)
    bins = make_bins(arm_cutoff=0.6)
    whole = count_structure(trajectory, bins)
    parts = [count_structure(trajectory.select(block), bins) for block in block_edges(12, 5)]
    total = parts[0]
    for part in parts[1:]:
        total = add_counts(total, part)
    np.testing.assert_allclose(total.radial, whole.radial, rtol=1e-12)
    np.testing.assert_array_equal(total.angular, whole.angular)
    np.testing.assert_array_equal(total.closest, whole.closest)


def test_random_triplets_follow_the_sine_because_it_is_not_divided_out():
    trajectory = make_ideal_gas(np.random.default_rng(5), n_frames=150, n_beads=60)
    bins = make_bins(largest=1.0, arm_cutoff=0.7, n_angles=18)
    curve = angular_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead-bead"]
    radians = np.radians(curve.edges)
    exact = np.pi / 2.0 * -np.diff(np.cos(radians)) / np.diff(radians)
    assert curve.density.mean() == pytest.approx(1.0)
    # 18 values of Student's t with 9 degrees of freedom: above 5 once in 1,500 for each
    assert np.abs((curve.density - exact) / curve.standard_error).max() < 5.0


def test_water_like_triplets_fall_into_the_bin_of_their_angle_and_kind():
    angle = np.radians(104.5)
    arms = 0.3 * np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
    positions = np.array([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0] + arms[0], [1.0, 1.0, 1.0] + arms[1]]])
    trajectory = make_trajectory(positions, cell=np.eye(3) * 4.0, types=[0, 1, 1], type_names=("O", "H"))
    bins = make_bins(arm_cutoff=0.45)
    curves = angular_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)
    # H-H is 0.474 nm, beyond the arm cutoff: only the triplet centred on O counts
    assert list(curves) == ["H-O-H"]
    assert curves["H-O-H"].density[20] == pytest.approx(36.0)
    assert curves["H-O-H"].density.sum() == pytest.approx(36.0)


def test_angles_of_a_cubic_lattice_are_right_or_straight():
    grid = np.array(list(itertools.product(range(4), repeat=3))) * 0.4
    trajectory = make_trajectory(grid[None], cell=np.eye(3) * 1.6)
    bins = make_bins(largest=0.8, arm_cutoff=0.45, n_angles=35)
    curve = angular_distributions(count_blocks(trajectory, bins), bins, trajectory.topology)["bead-bead-bead"]
    # 6 neighbours: 12 pairs at 90 degrees (middle of the 18th of 35 bins), 3 at 180
    share = curve.density / curve.density.sum()
    assert share[17] == pytest.approx(12 / 15)
    assert share[34] == pytest.approx(3 / 15)


def test_first_peak_of_a_parabola_is_exact():
    edges = 0.01 * np.arange(61)
    centres = 0.5 * (edges[1:] + edges[:-1])
    density = np.maximum(1.62 - 900.0 * (centres - 0.3427) ** 2, 0.0) + np.where(centres > 0.45, 1.39, 0.0)
    curve = build_distribution(np.array([density] * 4), np.ones(4), label="a", unit="nm", edges=edges)
    position, height = find_first_peak(curve)
    assert position.value == pytest.approx(0.3427, abs=1e-9)
    assert height.value == pytest.approx(1.62, abs=1e-9)
    assert position.standard_error == pytest.approx(0.0, abs=1e-9)


def test_first_peak_error_matches_its_spread_over_repetitions():
    edges = 0.01 * np.arange(61)
    centres = 0.5 * (edges[1:] + edges[:-1])
    shape = 1.0 + 0.6 * np.exp(-0.5 * ((centres - 0.342) / 0.03) ** 2) - np.exp(-((centres / 0.3) ** 8))
    generator = np.random.default_rng(6)
    found = []
    for _ in range(200):
        blocks = shape + generator.normal(0.0, 0.03, (10, len(shape)))
        curve = build_distribution(blocks, np.ones(10), label="a", unit="nm", edges=edges)
        position, _ = find_first_peak(curve)
        found.append((position.value, position.standard_error))
    values, errors = np.array(found).T
    # standard deviation of 200 values is known to 5 %, the mean error bar of 10 blocks is 3 % low
    assert np.std(values) == pytest.approx(errors.mean(), rel=0.2)
    exact = build_distribution(np.array([shape]), np.ones(1), label="a", unit="nm", edges=edges)
    # the vertex is a ratio, so its noise bias is of second order, far below one error bar
    assert np.mean(values) == pytest.approx(find_first_peak(exact)[0].value, abs=0.3 * errors.mean())


def test_a_curve_that_only_rises_has_no_first_peak():
    edges = 0.01 * np.arange(31)
    curve = build_distribution(np.linspace(0, 1, 30)[None], np.ones(1), label="a", unit="nm", edges=edges)
    assert find_first_peak(curve) is None


def test_bins_end_at_half_the_smallest_height_of_a_triclinic_cell():
    cell = CELLS["triclinic"]
    volume = abs(np.linalg.det(cell))
    heights = [volume / np.linalg.norm(np.cross(cell[a], cell[b])) for a, b in ((1, 2), (2, 0), (0, 1))]
    trajectory = make_ideal_gas(np.random.default_rng(7), n_frames=1, cell=cell)
    edges = choose_bins(trajectory, bin_width=0.01).distance_edges
    assert edges[-1] <= 0.5 * min(heights) < edges[-1] + 0.01


def test_a_box_smaller_than_one_bin_is_refused():
    trajectory = make_ideal_gas(np.random.default_rng(8), n_frames=1, cell=np.eye(3))
    with pytest.raises(InputError, match="do not hold one bin"):
        choose_bins(trajectory, bin_width=0.9)
