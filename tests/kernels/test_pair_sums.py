"""Pair vectors, forces and virials against their readable twins."""

import numpy as np
import pytest
import torch

from beadsmith.kernels.pair_sums import sum_forces, sum_virial
from beadsmith.neighbors import find_pairs, find_vectors, pair_vectors
from example_systems import CELLS, make_batch


def twin_forces(index, gradient, n_sites):
    forces = gradient.new_zeros(n_sites, 3)
    return forces.index_add(0, index[0], gradient).index_add(0, index[1], -gradient)


@pytest.mark.parametrize("name", [None, *CELLS])
def test_pair_vectors_of_several_systems_equal_the_twin(name):
    cell = None if name is None else CELLS[name]
    positions = 1.2 * np.random.default_rng(0).random((3 * 9, 3))
    batch = make_batch(positions, cell, n_systems=3)
    pairs = find_pairs(batch, 1.1)
    assert pairs.n_pairs > 50
    expected = pair_vectors(batch.positions, batch.cell, batch.system_index, pairs)
    # two or three roundings in another order
    torch.testing.assert_close(find_vectors(batch, pairs), expected, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forces_and_their_gradient_equal_the_twin(dtype):
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, 20, (2, 300), generator=generator)
    # small whole numbers: sums are exact in any order
    gradient = torch.randint(-8, 9, (300, 3), generator=generator).to(dtype).requires_grad_()
    weights = torch.randint(-8, 9, (20, 3), generator=generator).to(dtype)
    found, expected = sum_forces(index, gradient, 20), twin_forces(index, gradient, 20)
    assert torch.equal(found, expected)
    by_found, by_expected = (torch.autograd.grad((f * weights).sum(), gradient)[0] for f in (found, expected))
    assert torch.equal(by_found, by_expected)


def test_no_pairs_are_no_forces_and_a_gradient_that_is_no_number_is_no_force():
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert torch.equal(sum_forces(none, torch.zeros(0, 3), 4), torch.zeros(4, 3))
    forces = sum_forces(torch.tensor([[0], [1]]), torch.full((1, 3), torch.nan), 3)
    assert torch.isnan(forces[:2]).all()
    assert torch.equal(forces[2], torch.zeros(3))


@pytest.mark.parametrize("has_offsets", [False, True])
def test_virial_is_the_outer_product_of_centre_vectors_and_pair_gradients(has_offsets):
    generator = torch.Generator().manual_seed(1)
    system_index = torch.tensor([0] * 4 + [1] * 6)
    index = torch.tensor([[0, 1, 3, 4, 9, 5], [1, 0, 2, 5, 4, 8]])
    vectors, gradient, offsets = (
        torch.randint(-8, 9, (n, 3), generator=generator).to(torch.float32) for n in (6, 6, 10)
    )
    found = sum_virial(vectors, gradient, index, offsets if has_offsets else None, system_index, 2)
    expected = np.zeros((2, 3, 3))
    for p, (i, j) in enumerate(index.T.tolist()):
        centres = vectors[p] + (offsets[j] - offsets[i] if has_offsets else 0.0)
        expected[int(system_index[i])] -= np.outer(centres.numpy(), gradient[p].numpy())
    assert found.dtype == torch.float64
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("has_offsets", [False, True])
def test_the_gradient_of_the_virial_equals_that_of_the_twin(dtype, has_offsets):
    generator = torch.Generator().manual_seed(2)
    system_index = torch.tensor([0] * 4 + [1] * 6)
    index = torch.tensor([[0, 1, 3, 4, 9, 5], [1, 0, 2, 5, 4, 8]])
    # small whole numbers: sums are exact in any order
    vectors, gradient, offsets = (torch.randint(-8, 9, (n, 3), generator=generator).to(dtype) for n in (6, 6, 10))
    weights = torch.randint(-8, 9, (2, 3, 3), generator=generator).double()
    centres = vectors + (offsets[index[1]] - offsets[index[0]] if has_offsets else 0.0)
    gradient.requires_grad_()
    expected = torch.zeros(2, 3, 3, dtype=torch.float64).index_add(
        0, system_index[index[0]], -centres.double()[:, :, None] * gradient.double()[:, None]
    )
    found = sum_virial(vectors, gradient, index, offsets if has_offsets else None, system_index, 2)
    assert torch.equal(found, expected)
    by_found, by_expected = (torch.autograd.grad((v * weights).sum(), gradient)[0] for v in (found, expected))
    assert by_found.dtype == dtype
    assert torch.equal(by_found, by_expected)
