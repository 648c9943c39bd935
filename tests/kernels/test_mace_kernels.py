"""The compiled sweeps of MACE against their plain-torch twin."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.kernels import mace as kernels
from beadsmith.networks.coupling import coupling, list_paths
from beadsmith.networks.radial_table import RadialTable
from beadsmith.networks.spherical_harmonics import spherical_harmonics
from beadsmith.networks.tensor_sweeps import tensor_messages
from beadsmith.testing import build_box

CUTOFF = 0.8
# rounding of sums of about 30 neighbours, relative to the largest value
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
GRID = RadialTable(64, CUTOFF)
PATHS = {
    "first layer": list_paths(0, 3, natural_parity=True),
    "paper": list_paths(1, 3, natural_parity=True),
    "mirror": list_paths(1, 2, natural_parity=False),
    "tensors": list_paths(2, 3, natural_parity=False),
}


class Case:
    """A box with random tables, features and derivatives."""

    def __init__(self, paths, *, n_channels=5, n_classes=1, dtype=torch.float64, change=lambda box: box):
        self.degrees, self.n_channels, self.dtype = paths, n_channels, dtype
        self.paths = kernels.build_paths(paths, [coupling(*path) for path in paths])
        generator = torch.Generator().manual_seed(3)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.box = change(build_box(n_sites=125, n_types=2, cutoff=CUTOFF, seed=0)).to(dtype)
        self.classes = torch.arange(self.box.pair_index.shape[1]) % n_classes
        columns = len(paths) * n_channels
        tables = [GRID.tabulate(lambda r: draw(len(r), columns), draw(1)) for _ in range(n_classes)]
        self.tables = torch.stack(tables).requires_grad_()
        l_max = max(path[0] for path in paths)
        self.features = draw(125, (l_max + 1) ** 2, n_channels).requires_grad_()
        self.adjoint = draw(125, self.paths.n_results, n_channels).requires_grad_()
        self.direction, self.bar = draw(*self.box.pair_vectors.shape), draw(*self.features.shape)

    def neighbourhoods(self):
        box = self.box
        rows = kernels.build_pair_rows(box.pair_index, box.pair_vectors, n_sites=len(box.types), cutoff=CUTOFF)
        return kernels.build_neighbourhoods(rows, self.classes, self.tables)

    def arguments(self):
        return self.neighbourhoods(), self.paths, self.tables, self.features

    def twin(self, vectors=None):
        vectors = self.box.pair_vectors if vectors is None else vectors
        distances = torch.linalg.vector_norm(vectors, dim=1)
        radial = torch.stack([GRID.interpolate(table, distances) for table in self.tables])
        radial = radial[self.classes, torch.arange(len(distances))].unflatten(1, (-1, self.n_channels))
        harmonics = spherical_harmonics(vectors / distances[:, None], 3)
        return tensor_messages(radial, harmonics, self.box.pair_index, self.features, self.degrees)

    def twin_adjoint(self, **options):
        vectors = self.box.pair_vectors.clone().requires_grad_()
        energy = (self.twin(vectors) * self.adjoint).sum()
        return torch.autograd.grad(energy, (vectors, self.features), **options)


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PATHS)
def test_sums_and_their_gradients_equal_the_twin(name, dtype):
    case = Case(PATHS[name], dtype=dtype)
    found, expected = kernels.sum_tensor_messages(*case.arguments()), case.twin()
    assert_equal(found, expected)
    gradients = [torch.autograd.grad(sums, (case.tables, case.features), case.adjoint) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PATHS)
def test_adjoint_and_its_gradients_equal_the_twin(name, dtype):
    case = Case(PATHS[name], dtype=dtype)
    found = kernels.tensor_message_adjoint(*case.arguments(), case.adjoint)
    expected = case.twin_adjoint(create_graph=True)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)
    inputs, seeds = (case.tables, case.features, case.adjoint), (case.direction, case.bar)
    gradients = [torch.autograd.grad(outputs, inputs, seeds) for outputs in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


def test_gradient_alone_and_its_gradients_equal_the_twin():
    case = Case(PATHS["first layer"])
    found = kernels.tensor_message_gradient(*case.arguments(), case.adjoint)
    expected, _ = case.twin_adjoint(create_graph=True)
    assert_equal(found, expected)
    inputs = (case.tables, case.features, case.adjoint)
    gradients = [torch.autograd.grad(output, inputs, case.direction) for output in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("n_channels", [1, 8, 16, 24, 32])
def test_any_number_of_channels_equals_the_twin(n_channels):
    case = Case(PATHS["paper"], n_channels=n_channels)
    assert_equal(kernels.sum_tensor_messages(*case.arguments()), case.twin())
    found = kernels.tensor_message_adjoint(*case.arguments(), case.adjoint)
    for one, other in zip(found, case.twin_adjoint(), strict=True):
        assert_equal(one, other)


def run_all(case):
    """Return everything the sweeps compute."""
    sums = kernels.sum_tensor_messages(*case.arguments())
    outputs = (sums, *kernels.tensor_message_adjoint(*case.arguments(), case.adjoint))
    inputs, seeds = (case.tables, case.features, case.adjoint), (case.adjoint.detach(), case.direction, case.bar)
    return [*outputs, *torch.autograd.grad(outputs, inputs, seeds)]


def test_each_pair_uses_the_table_of_its_class():
    case = Case(PATHS["paper"], n_classes=3)
    expected = (case.twin(), *case.twin_adjoint(create_graph=True))
    inputs, seeds = (case.tables, case.features, case.adjoint), (case.adjoint.detach(), case.direction, case.bar)
    expected = [*expected, *torch.autograd.grad(expected, inputs, seeds)]
    for one, other in zip(run_all(case), expected, strict=True):
        assert_equal(one, other)


def test_two_threads_give_what_one_gives(monkeypatch):
    case = Case(PATHS["paper"], n_classes=2)
    alone = run_all(case)
    monkeypatch.setattr("beadsmith.kernels.threads._SMALLEST_BLOCK", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert len(case.neighbourhoods().blocks) == 2
    for one, other in zip(run_all(case), alone, strict=True):
        assert_equal(one, other)


def test_pairs_at_and_beyond_the_cutoff_change_nothing():
    def stretch(box):
        # every third pair, and one exactly at the cutoff
        vectors = box.pair_vectors.clone()
        vectors[::3] *= CUTOFF / torch.linalg.vector_norm(vectors[::3], dim=1, keepdim=True) * 1.1
        vectors[0] = torch.tensor([0.0, CUTOFF, 0.0])
        return replace(box, pair_vectors=vectors)

    def remove(box):
        kept = torch.arange(box.pair_index.shape[1]) % 3 != 0
        return replace(box, pair_vectors=box.pair_vectors[kept], pair_index=box.pair_index[:, kept])

    stretched, removed = Case(PATHS["paper"], change=stretch), Case(PATHS["paper"], change=remove)
    kept = torch.arange(stretched.box.pair_index.shape[1]) % 3 != 0
    removed.direction = stretched.direction[kept]
    removed.bar = stretched.bar
    gradient, other_gradient = (run_all(case) for case in (stretched, removed))
    assert torch.equal(gradient[1][kept], other_gradient[1])
    assert torch.all(gradient[1][~kept] == 0.0)
    for a in (0, 2, 3, 4, 5):
        assert torch.equal(gradient[a], other_gradient[a])


def test_sites_without_neighbours_receive_nothing():
    def isolate(box):
        kept = (box.pair_index != 7).all(0) & (box.pair_index != 124).all(0)
        return replace(box, pair_vectors=box.pair_vectors[kept], pair_index=box.pair_index[:, kept])

    case = Case(PATHS["paper"], change=isolate)
    sums = kernels.sum_tensor_messages(*case.arguments())
    assert torch.all(sums[[7, 124]] == 0.0)
    assert_equal(sums, case.twin())


def test_no_pairs_at_all_give_zeros():
    empty = Case(
        PATHS["paper"],
        change=lambda box: replace(
            box, pair_vectors=torch.zeros(0, 3), pair_index=torch.zeros(2, 0, dtype=torch.int64)
        ),
    )
    assert all(torch.all(result == 0.0) for result in run_all(empty))


def test_pairs_closer_than_the_table_see_its_first_value():
    def squeeze(box):
        vectors = box.pair_vectors.clone()
        vectors[::5] *= 0.02 * CUTOFF / torch.linalg.vector_norm(vectors[::5], dim=1, keepdim=True)
        return replace(box, pair_vectors=vectors)

    case = Case(PATHS["paper"], change=squeeze)
    assert_equal(kernels.sum_tensor_messages(*case.arguments()), case.twin())
    found = kernels.tensor_message_adjoint(*case.arguments(), case.adjoint)
    for one, other in zip(found, case.twin_adjoint(), strict=True):
        assert_equal(one, other)


def test_direction_along_each_axis_has_a_finite_gradient():
    def align(box):
        vectors = box.pair_vectors.clone()
        axes = torch.eye(3, dtype=vectors.dtype)
        vectors[:6] = 0.5 * torch.cat([axes, -axes])
        return replace(box, pair_vectors=vectors)

    case = Case(PATHS["tensors"], change=align)
    found = kernels.tensor_message_adjoint(*case.arguments(), case.adjoint)
    for one, other in zip(found, case.twin_adjoint(), strict=True):
        assert_equal(one, other)


def test_a_position_that_is_no_number_reaches_sums_and_gradient():
    def spoil(box):
        vectors = box.pair_vectors.clone()
        vectors[3, 1] = float("nan")
        return replace(box, pair_vectors=vectors)

    case = Case(PATHS["paper"], change=spoil)
    site = int(case.box.pair_index[0, 3])
    assert torch.all(torch.isnan(kernels.sum_tensor_messages(*case.arguments())[site]))
    gradient, on_features = kernels.tensor_message_adjoint(*case.arguments(), case.adjoint)
    assert torch.all(torch.isnan(gradient[3]))
    assert torch.all(torch.isnan(on_features[int(case.box.pair_index[1, 3])]))


def test_unsorted_pairs_are_refused():
    case = Case(PATHS["first layer"], change=lambda box: replace(box, pair_index=box.pair_index.flip(1)))
    with pytest.raises(InputError, match="not sorted"):
        case.neighbourhoods()


def test_class_without_a_table_is_refused():
    case = Case(PATHS["first layer"])
    case.classes = case.classes + 1
    with pytest.raises(InputError, match="radial tables"):
        case.neighbourhoods()


def test_coefficients_of_the_wrong_shape_are_refused():
    with pytest.raises(InputError, match="coefficients of shape"):
        kernels.build_paths([(1, 1, 2)], [np.zeros((3, 3, 3))])
