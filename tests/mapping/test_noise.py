"""Force statistics are exact, and noise figures carry no optimism of the fit."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.aggregation import optimal_weights, sum_weights
from beadsmith.mapping.beads import center_of_mass
from beadsmith.mapping.noise import N_BLOCKS, NoiseComparison, compare_noise, mean_square, sum_force_products
from beadsmith.topology import group_equal_molecules
from example_references import ALCOHOL, DIMER, KT, build_topology, make_reference, sample_harmonic_molecule

STIFFNESS = np.array([[3000.0, -2500.0, 0.0], [-2500.0, 5000.0, -900.0], [0.0, -900.0, 1500.0]])
COMPARISON = NoiseComparison(mean_squares={"sum": 10.0, "optimal": 6.0}, removed=4.0, removed_error=0.1, n_blocks=10)


def chunks_of(trajectory, chunk_frames):
    return (trajectory.select(slice(i, i + chunk_frames)) for i in range(0, trajectory.n_frames, chunk_frames))


def test_streamed_products_equal_the_whole_sum():
    topology = build_topology(DIMER, ALCOHOL, DIMER, ALCOHOL, ALCOHOL)
    reference = make_reference(topology, n_frames=23)
    templates = center_of_mass(topology)
    streamed = sum_force_products(chunks_of(reference, 4), templates, n_frames=23)
    for kind, products in zip(group_equal_molecules(topology), streamed, strict=True):
        forces = reference.forces[:, kind.sites].astype(np.float64)
        if kind.name == "alcohol":
            forces = np.stack([forces[:, :, 0], forces[:, :, 1] + forces[:, :, 2]], axis=2)
        expected = np.einsum("fmax,fmbx->ab", forces, forces) / (23 * kind.n_molecules * 3)
        # float64 sums in another order
        np.testing.assert_allclose(products.mean(), expected, rtol=1e-12)
        assert products.sums.shape[0] == N_BLOCKS
        assert products.n_samples.sum() == 23 * kind.n_molecules * 3


def test_frame_weights_count_frames_several_times():
    topology = build_topology(DIMER)
    reference = make_reference(topology, n_frames=6)
    weighted = replace(reference, weight=np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0]))
    repeated = reference.select(np.array([0, 1, 1, 3, 4, 5, 5, 5]))
    templates = center_of_mass(topology)
    found, expected = (sum_force_products([t], templates, n_frames=t.n_frames)[0] for t in (weighted, repeated))
    np.testing.assert_allclose(found.mean(), expected.mean(), rtol=1e-12)


def test_mean_square_equals_that_of_the_mapped_forces():
    topology = build_topology(ALCOHOL, ALCOHOL)
    reference = make_reference(topology)
    (template,) = center_of_mass(topology)
    (products,) = sum_force_products([reference], (template,), n_frames=reference.n_frames)
    weights = np.array([[1.2, 0.9, 0.9]])
    mapped = np.einsum("ba,fmax->fmbx", weights, reference.forces.reshape(-1, 2, 3, 3).astype(np.float64))
    found = mean_square(weights, products.mean(), template.rigid_groups)
    np.testing.assert_allclose(found, np.mean(mapped**2), rtol=1e-12)


def harmonic_reference(n_frames, seed=0):
    molecule = ("chain", ("A", "B", "C"), (12.0, 4.0, 20.0), ((0, 1), (1, 2)), ())
    positions, forces = sample_harmonic_molecule(STIFFNESS, n_frames, seed)
    reference = make_reference(build_topology(molecule), n_frames=n_frames)
    return replace(reference, positions=positions.astype(np.float32), forces=forces.astype(np.float32))


def test_noise_of_a_harmonic_molecule_is_removed_whole():
    # the optimal map of a harmonic molecule has no noise: its mean square is the squared mean force kT / (c·H⁻¹·c)
    reference = harmonic_reference(4000)
    templates = center_of_mass(reference.topology)
    products = sum_force_products([reference], templates, n_frames=4000)
    comparison = compare_noise(products, templates, regularization=1e-9)
    c = templates[0].position_weights[0]
    explained = KT / (c @ np.linalg.solve(STIFFNESS, c))
    sum_variance = KT * STIFFNESS.sum()
    # 12,000 independent Gaussian samples: a mean square is good to sqrt(2 / 12000) = 1.3 % at one sigma
    np.testing.assert_allclose(comparison.mean_squares["optimal"], explained, rtol=4 * 0.013)
    np.testing.assert_allclose(comparison.mean_squares["sum"], sum_variance, rtol=4 * 0.013)
    assert comparison.removed_fraction() > 0.5 * (1 - explained / sum_variance)
    assert comparison.removed_fraction(explained) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("forces", ["sum", "optimal"])
def test_explained_part_is_the_same_for_every_valid_map(forces):
    # <F · R> = -kT per component for every unbiased map (the mean force is -kT R / <R²>)
    reference = harmonic_reference(20000, seed=1)
    (template,) = center_of_mass(reference.topology)
    (products,) = sum_force_products([reference], (template,), n_frames=20000)
    c = template.position_weights
    weights = (
        sum_weights(template.members, template.rigid_groups)
        if forces == "sum"
        else optimal_weights(products.mean(), c, template.rigid_groups, regularization=1e-6)
    )
    bead_positions = np.einsum("ba,fax->fbx", c, reference.positions.astype(np.float64))
    bead_forces = np.einsum("ba,fax->fbx", weights, reference.forces.astype(np.float64))
    virial = (bead_positions * bead_forces).ravel()
    # independent samples: within 4 standard errors
    assert abs(virial.mean() + KT) < 4 * virial.std() / np.sqrt(virial.size)


def test_scores_are_held_out_so_that_pure_noise_gains_nothing():
    # equal independent forces on equal masses: the sum is optimal, and a fit to 90 frames of 30 atoms only overfits
    atoms = tuple(f"X{i}" for i in range(30))
    chain = ("chain", atoms, (10.0,) * 30, tuple((i, i + 1) for i in range(29)), ())
    topology = build_topology(chain)
    reference = make_reference(topology, n_frames=100)
    templates = center_of_mass(topology)
    products = sum_force_products([reference], templates, n_frames=100)
    comparison = compare_noise(products, templates, regularization=1e-6)
    fitted = optimal_weights(
        products[0].mean(), templates[0].position_weights, templates[0].rigid_groups, regularization=1e-6
    )
    in_sample = mean_square(fitted, products[0].mean(), templates[0].rigid_groups)
    assert in_sample < comparison.mean_squares["sum"] < comparison.mean_squares["optimal"]
    assert comparison.removed < 0.0


def test_one_frame_is_scored_on_itself_without_an_error_bar():
    topology = build_topology(DIMER)
    reference = make_reference(topology, n_frames=1)
    templates = center_of_mass(topology)
    products = sum_force_products([reference], templates, n_frames=1)
    comparison = compare_noise(products, templates, regularization=1e-6)
    assert comparison.n_blocks == 1
    assert np.isnan(comparison.removed_error)
    assert comparison.removed >= 0.0


def test_fraction_grows_with_the_part_that_is_known_to_be_explained():
    assert COMPARISON.removed_fraction() == pytest.approx(0.4)
    assert COMPARISON.removed_fraction(5.0) == pytest.approx(0.8)


def test_frames_without_forces_are_refused():
    reference = replace(make_reference(build_topology(DIMER)), forces=None)
    with pytest.raises(InputError, match="no forces"):
        sum_force_products([reference], center_of_mass(reference.topology), n_frames=12)
