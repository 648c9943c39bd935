"""SchNet's sweeps in Triton against their plain-torch twin: on a GPU, or on a CPU in Triton's interpreter."""

import pytest
import torch

from beadsmith.networks.radial_table import RadialTable
from beadsmith.testing import build_cluster

pytest.importorskip("triton", reason="the wheel of triton (286 MB) is installed by 'make test-triton' only")
from beadsmith.kernels.triton import filters

CUTOFF, N_SITES = 0.6, 9
# rounding of sums of about 4 neighbours; in float32 the place in an interval is known to 1e-5
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}


@pytest.fixture(autouse=True)
def several_blocks_a_row(monkeypatch):
    """Let a program take its pairs in two turns, and columns have two programs, the last of each incomplete."""
    monkeypatch.setattr(filters, "_PAIRS_AT_ONCE", 2)
    monkeypatch.setattr(filters, "_MOST_COLUMNS", 4)


class Case:
    """A cluster whose list reaches beyond the cutoff, with self-pairs far away as padding; tables of 32 intervals."""

    def __init__(self, device, dtype, n_classes=1):
        pairs = build_cluster(N_SITES, 1, seed=0).pairs(1.3 * CUTOFF).to(dtype)
        assert 3 * N_SITES < int((pairs.pair_vectors.norm(dim=1) < CUTOFF).sum()) < len(pairs.pair_vectors)
        sites = torch.arange(N_SITES)
        index = torch.cat([pairs.pair_index, torch.stack([sites, sites])], dim=1)
        vectors = torch.cat([pairs.pair_vectors, pairs.pair_vectors.new_tensor([9.0, 0.0, 0.0]).expand(N_SITES, 3)])
        order = torch.argsort(index[0], stable=True)
        self.index, self.vectors = index[:, order].to(device), vectors[order].to(device)
        # the same class in both directions
        self.classes = self.index.sum(0) % n_classes
        self.grid = RadialTable(32, CUTOFF)
        generator = torch.Generator().manual_seed(1)
        shapes = (n_classes * self.grid.n_rows, N_SITES, N_SITES)
        inputs = [torch.randn(n, 5, generator=generator, dtype=dtype).to(device) for n in shapes]
        self.table, self.features, self.adjoint = (tensor.requires_grad_() for tensor in inputs)
        self.rows = filters.build_filter_rows(
            self.index,
            self.vectors,
            self.classes if n_classes > 1 else None,
            n_sites=N_SITES,
            n_intervals=32,
            cutoff=CUTOFF,
        )

    def sum_plainly(self, vectors):
        distances = torch.linalg.vector_norm(vectors, dim=1)
        weights = self.grid.interpolate(self.table, distances, self.classes * self.grid.n_rows)
        messages = weights * self.features.index_select(0, self.index[1])
        return torch.zeros_like(self.features).index_add(0, self.index[0], messages)


def assert_equal(found, expected):
    """Compare relative to the largest value."""
    tolerance = TOLERANCE[expected.dtype] * float(expected.detach().abs().max())
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_filtered_sums_and_their_gradients_equal_the_twin(device, dtype, n_classes):
    case = Case(device, dtype, n_classes)
    found = filters.sum_filtered(case.rows, case.table, case.features)
    expected = case.sum_plainly(case.vectors)
    assert_equal(found, expected)
    inputs = (case.table, case.features)
    gradients = [torch.autograd.grad((sums * case.adjoint).sum(), inputs) for sums in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("with_features", [True, False])
def test_adjoint_sweeps_and_their_gradients_equal_the_twin(device, dtype, n_classes, with_features):
    case = Case(device, dtype, n_classes)
    inputs = (case.table, case.features, case.adjoint)
    vectors = case.vectors.clone().requires_grad_()
    energy = (case.sum_plainly(vectors) * case.adjoint).sum()
    expected = torch.autograd.grad(energy, (case.features, vectors), create_graph=True)
    if with_features:
        on_features, slopes = filters.filter_adjoint(case.rows, *inputs)
        found = on_features, filters.spread_slopes(case.rows, slopes)
    else:
        expected = expected[1:]
        found = (filters.spread_slopes(case.rows, filters.filter_slopes(case.rows, *inputs)),)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(part.shape, generator=generator, dtype=dtype).to(device) for part in expected]
    gradients = [
        torch.autograd.grad(sum((part * d).sum() for part, d in zip(parts, directions, strict=True)), inputs)
        for parts in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        assert_equal(one, other)


def test_below_the_table_the_filter_is_constant_and_a_pair_of_no_length_pushes_nowhere(device):
    case = Case(device, torch.float64)
    case.vectors[:2] = case.vectors.new_tensor([[0.0, 0.0, 0.0], [0.0, 0.02, 0.0]])
    rows = filters.build_filter_rows(case.index, case.vectors, None, n_sites=N_SITES, n_intervals=32, cutoff=CUTOFF)
    slopes = filters.filter_slopes(rows, case.table, case.features, case.adjoint)
    assert not slopes[:2].any()
    assert not filters.spread_slopes(rows, slopes)[:2].any()
    # a norm of exactly zero has no gradient in the twin, but a value
    assert_equal(filters.sum_filtered(rows, case.table, case.features), case.sum_plainly(case.vectors))


def test_a_distance_that_is_not_a_number_reaches_the_sums_of_its_site_only(device):
    case = Case(device, torch.float64)
    case.vectors[0, 1] = torch.nan
    rows = filters.build_filter_rows(case.index, case.vectors, None, n_sites=N_SITES, n_intervals=32, cutoff=CUTOFF)
    is_broken = torch.isnan(filters.sum_filtered(rows, case.table, case.features)).any(1)
    assert torch.nonzero(is_broken).flatten().tolist() == [int(case.index[0, 0])]
