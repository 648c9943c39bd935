"""The optimal force map is the constrained least-squares optimum, and stays valid in every degenerate case."""

import numpy as np
import pytest
from scipy.optimize import minimize

from beadsmith.errors import InputError
from beadsmith.mapping.aggregation import (
    blurred_weights,
    find_bias,
    optimal_weights,
    slice_weights,
    sum_weights,
    uniform_weights,
)
from beadsmith.mapping.constraints import group_indicator
from example_references import KT

# b and C are of order 1, solved in float64 with condition numbers up to 1e4
ROUNDING = 1e-11


def random_case(seed, *, n_atoms=9, n_beads=2, n_groups=6):
    """Return group force products, position weights of disjoint beads, and groups that may cut through beads."""
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(n_groups, 3 * n_groups)) * generator.uniform(1.0, 30.0, size=(n_groups, 1))
    owner = np.arange(n_atoms) * n_beads // n_atoms
    weights = generator.uniform(0.1, 1.0, size=n_atoms) * (owner == np.arange(n_beads)[:, None])
    groups = np.concatenate([np.arange(n_groups), generator.integers(0, n_groups, n_atoms - n_groups)])
    return factor @ factor.T, weights / weights.sum(axis=1, keepdims=True), groups


def test_sum_map_has_unit_weight_on_the_atoms_of_a_bead():
    members = np.array([[True, True, False], [False, False, True]])
    np.testing.assert_array_equal(sum_weights(members, np.arange(3)), [[1, 1, 0], [0, 0, 1]])


def test_slice_takes_the_carriers_alone_and_uniform_what_is_joined_to_them():
    c = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    groups = np.array([0, 1, 1, 2])
    np.testing.assert_array_equal(slice_weights(c), [[1, 1, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(uniform_weights(c, groups), [[1, 1, 1, 0], [0, 0, 0, 1]])
    assert find_bias(uniform_weights(c, groups), c, groups) is None
    reason = find_bias(slice_weights(c), c, groups)
    assert reason.startswith("atoms #2 and #3 are rigidly joined but enter bead 0 with the weights 1 and 0")


def test_sum_over_shared_atoms_is_found_to_be_biased():
    c = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    reason = find_bias(sum_weights(c != 0.0, np.arange(3)), c, np.arange(3))
    assert reason.startswith("the force on bead 0 answers to a move of bead 1 by +0.5 too much")


def test_weights_that_are_no_numbers_are_found_to_be_biased():
    assert find_bias(np.array([[np.nan]]), np.array([[1.0]]), np.array([0])) is not None


@pytest.mark.parametrize("seed", range(3))
def test_blurred_weights_equal_the_unconstrained_optimum(seed):
    # B = κ C' (P + κ C'ᵀC')⁻¹ on the rigid groups, by a plain inverse
    products, c, groups = random_case(seed)
    optimal = optimal_weights(products, c, groups, regularization=0.0)
    indicator = group_indicator(groups)
    of_groups = optimal @ indicator / indicator.sum(axis=0)
    width, a = 0.05, c @ indicator
    stiffness = (KT / width) ** 2
    expected = stiffness * a @ np.linalg.inv(products + stiffness * a.T @ a) @ indicator.T
    found = blurred_weights(optimal, of_groups @ products @ of_groups.T, noise_width=width, kT=KT)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_single_atom_bead_takes_the_force_on_its_atom():
    weights = optimal_weights(np.array([[7.0]]), np.array([[1.0]]), np.array([0]), regularization=1e-6)
    np.testing.assert_allclose(weights, [[1.0]], atol=ROUNDING)


@pytest.mark.parametrize(("noise", "force"), [(1.0, 1.0), (30.0, 1.0), (0.5, 4.0)])
def test_diatomic_with_opposite_bond_forces_has_the_closed_form_optimum(noise, force):
    # f_1 = n, f_2 = F - n with <nF> = 0; b = (1 + c2 t, 1 - c1 t) gives B f = t n + (1 - c1 t) F,
    # whose mean square t² <n²> + (1 - c1 t)² <F²> is least at t = c1 <F²> / (<n²> + c1² <F²>)
    c1, c2 = 0.75, 0.25
    products = np.array([[noise**2, -(noise**2)], [-(noise**2), force**2 + noise**2]])
    t = c1 * force**2 / (noise**2 + c1**2 * force**2)
    found = optimal_weights(products, np.array([[c1, c2]]), np.array([0, 1]), regularization=0.0)
    np.testing.assert_allclose(found, [[1 + c2 * t, 1 - c1 * t]], atol=ROUNDING)


def test_symmetric_diatomic_takes_the_sum():
    # equal atoms, equal masses: f = F/2 ± n
    products = np.array([[26.0, -24.0], [-24.0, 26.0]])
    found = optimal_weights(products, np.array([[0.5, 0.5]]), np.array([0, 1]), regularization=0.0)
    np.testing.assert_allclose(found, [[1.0, 1.0]], atol=ROUNDING)


def test_stiff_bond_forces_the_sum():
    products = 1e8 * np.array([[1.0, -1.0], [-1.0, 1.0]]) + np.diag([1.0, 3.0])
    found = optimal_weights(products, np.array([[0.9, 0.1]]), np.array([0, 1]), regularization=0.0)
    np.testing.assert_allclose(found, [[1.0, 1.0]], atol=1e-7)


def test_harmonic_molecule_is_mapped_without_noise():
    # u = x·H·x/2: <f fᵀ> = kT H, and the optimum's mean square is the squared mean force kT² / <R²> = kT / (c·H⁻¹·c)
    generator = np.random.default_rng(3)
    factor = generator.normal(size=(5, 5))
    stiffness = factor @ factor.T + np.eye(5)
    c = generator.uniform(0.1, 1.0, size=5)
    c /= c.sum()
    found = optimal_weights(KT * stiffness, c[None], np.arange(5), regularization=0.0)
    expected = KT / (c @ np.linalg.solve(stiffness, c))
    np.testing.assert_allclose(found @ (KT * stiffness) @ found.T, [[expected]], rtol=1e-10)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_beads", [1, 2])
def test_optimal_map_equals_constrained_least_squares_by_scipy(seed, n_beads):
    products, c, groups = random_case(seed, n_beads=n_beads)
    found = optimal_weights(products, c, groups, regularization=0.0)
    indicator = group_indicator(groups)
    a, scale = c @ indicator, np.trace(products)
    for bead in range(n_beads):
        target = np.eye(n_beads)[bead]
        result = minimize(
            lambda b: b @ products @ b / scale,
            np.zeros(len(products)),
            jac=lambda b: 2.0 * products @ b / scale,
            constraints={"type": "eq", "fun": lambda b, t=target: a @ b - t, "jac": lambda b: a},
            method="SLSQP",
            options={"ftol": 1e-16, "maxiter": 500},
        )
        assert result.success
        # SLSQP ends with steps below 1e-8 in the objective, so with weights good to about 1e-7
        np.testing.assert_allclose(found[bead], indicator @ result.x, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_null_space_solution_equals_the_closed_form(seed):
    products, c, groups = random_case(seed, n_beads=2)
    indicator = group_indicator(groups)
    a = c @ indicator
    ridge = 1e-3 * np.trace(products) / len(groups) * indicator.T @ indicator
    inverse = np.linalg.inv(products + ridge)
    closed_form = (inverse @ a.T @ np.linalg.inv(a @ inverse @ a.T)).T @ indicator.T
    found = optimal_weights(products, c, groups, regularization=1e-3)
    np.testing.assert_allclose(found, closed_form, atol=ROUNDING)


@pytest.mark.parametrize("seed", range(4))
def test_map_is_unbiased_and_constant_over_rigid_groups(seed):
    products, c, groups = random_case(seed, n_beads=2)
    found = optimal_weights(products, c, groups, regularization=1e-6)
    np.testing.assert_allclose(found @ c.T, np.eye(2), atol=ROUNDING)
    for group in range(groups.max() + 1):
        assert np.ptp(found[:, groups == group], axis=1).max() == 0.0


def test_rigid_molecule_takes_the_sum_whatever_its_forces():
    products = np.array([[3.0]])
    found = optimal_weights(products, np.array([[0.5, 0.3, 0.2]]), np.zeros(3, dtype=np.int64), regularization=1e-6)
    np.testing.assert_allclose(found, [[1.0, 1.0, 1.0]], atol=ROUNDING)


@pytest.mark.parametrize("regularization", [0.0, 1e-6])
def test_molecule_without_surroundings_has_a_vanishing_bead_force(regularization):
    # internal forces only: the sum over all atoms is zero in every frame, the matrix of products is singular
    generator = np.random.default_rng(5)
    forces = generator.normal(size=(6, 300))
    forces -= forces.mean(axis=0)
    c = np.full((1, 6), 1 / 6)
    found = optimal_weights(forces @ forces.T / 300, c, np.arange(6), regularization=regularization)
    np.testing.assert_allclose(found, np.ones((1, 6)), atol=1e-9)


def test_without_any_force_the_map_is_still_unbiased():
    c = np.array([[0.5, 0.3, 0.2]])
    found = optimal_weights(np.zeros((3, 3)), c, np.arange(3), regularization=1e-6)
    np.testing.assert_allclose(found @ c.T, [[1.0]], atol=ROUNDING)


def test_fewer_frames_than_groups_give_finite_weights():
    forces = np.random.default_rng(6).normal(size=(40, 3))
    c = np.full((1, 40), 1 / 40)
    found = optimal_weights(forces @ forces.T / 3, c, np.arange(40), regularization=1e-6)
    assert np.abs(found).max() < 40.0
    np.testing.assert_allclose(found @ c.T, [[1.0]], atol=ROUNDING)


def test_weights_do_not_depend_on_the_unit_of_force():
    products, c, groups = random_case(7)
    found = optimal_weights(products, c, groups, regularization=1e-3)
    scaled = optimal_weights(41.84**2 * products, c, groups, regularization=1e-3)
    np.testing.assert_allclose(found, scaled, atol=ROUNDING)


def test_beads_that_share_one_rigid_group_are_refused():
    c = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    with pytest.raises(InputError, match="no unbiased force map exists"):
        optimal_weights(np.array([[1.0]]), c, np.zeros(3, dtype=np.int64), regularization=1e-6)
