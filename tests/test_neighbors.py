"""Neighbour pairs against a brute-force search over explicit images."""

import itertools

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError
from beadsmith.neighbors import find_pairs, find_vectors, pair_vectors, pairs_within
from example_systems import CELLS, make_batch


def brute_force(positions, cell, cutoff):
    """Return the sorted directed pairs (i, j, shift) by looking at every image within reach."""
    heights = np.linalg.det(cell) / np.linalg.norm(np.cross(np.roll(cell, -1, 0), np.roll(cell, -2, 0)), axis=1)
    spread = np.abs(np.linalg.solve(cell.T, (positions.max(0) - positions.min(0)))).max()
    reach = [int(np.ceil(cutoff / h + spread + 1)) for h in heights]
    found = []
    for shift in itertools.product(*(range(-r, r + 1) for r in reach)):
        vectors = positions[None] + np.array(shift) @ cell - positions[:, None]
        for i, j in zip(*np.nonzero(np.linalg.norm(vectors, axis=2) < cutoff), strict=True):
            if i != j or any(shift):
                found.append((int(i), int(j), *shift))
    return sorted(found)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("cutoff", [0.6, 1.7])
def test_pairs_equal_brute_force_also_beyond_half_the_cell(name, cutoff):
    cell = CELLS[name]
    positions = np.random.default_rng(1).random((12, 3)) @ cell * 1.3 - 0.2
    pairs = find_pairs(make_batch(positions, cell), cutoff)
    rows = np.concatenate([pairs.index.numpy().T, pairs.shifts.numpy().astype(int)], axis=1)
    assert [tuple(row) for row in rows.tolist()] == brute_force(positions, cell, cutoff)


def test_half_list_holds_each_unordered_pair_once():
    cell = CELLS["triclinic"]
    positions = np.random.default_rng(2).random((10, 3)) @ cell
    pairs = find_pairs(make_batch(positions, cell), 2.1)
    assert len(pairs.half) * 2 == pairs.n_pairs
    rows = np.concatenate([pairs.index.numpy().T, pairs.shifts.numpy()], axis=1)
    kept = {tuple(row) for row in rows[pairs.half.numpy()].tolist()}
    reverse = {(j, i, -a, -b, -c) for i, j, a, b, c in kept}
    assert not kept & reverse
    assert kept | reverse == {tuple(row) for row in rows.tolist()}


def test_row_offsets_point_at_the_pairs_of_each_site():
    positions = np.array([[0.0, 0, 0], [0.5, 0, 0], [9.0, 0, 0], [0.0, 0.5, 0]])
    pairs = find_pairs(make_batch(positions), 1.0)
    assert pairs.row_offsets.tolist() == [0, 2, 4, 4, 6]
    assert pairs.index[1].tolist() == [1, 3, 0, 3, 0, 1]


def test_systems_of_a_batch_do_not_see_each_other():
    rng = np.random.default_rng(3)
    cell = CELLS["cubic"]
    positions = rng.random((2, 8, 3)) @ cell
    joint = find_pairs(make_batch(positions.reshape(-1, 3), cell, n_systems=2), 0.9)
    singles = [find_pairs(make_batch(p, cell), 0.9) for p in positions]
    assert torch.equal(joint.index[:, : singles[0].n_pairs], singles[0].index)
    assert torch.equal(joint.index[:, singles[0].n_pairs :], singles[1].index + 8)


def test_a_longer_list_cut_back_equals_the_short_list():
    cell = CELLS["triclinic"]
    batch = make_batch(np.random.default_rng(4).random((20, 3)) @ cell, cell)
    long = find_pairs(batch, 1.4)
    vectors = pair_vectors(batch.positions, batch.cell, batch.system_index, long)
    cut, kept = pairs_within(long, vectors, 0.8)
    short = find_pairs(batch, 0.8)
    for field in ("index", "row_offsets", "half", "shifts"):
        assert torch.equal(getattr(cut, field), getattr(short, field)), field
    assert torch.all(vectors[kept].norm(dim=1) < 0.8)


def test_bond_classes_follow_the_bond_graph_of_the_nearest_image():
    cell = np.diag([1.2, 5.0, 5.0])
    chain = np.array([[0.1 + 0.15 * k, 0.2 * (k % 2), 0.0] for k in range(6)])
    positions = np.concatenate([chain, [[0.5, 1.0, 0.0]]])
    bonds = [(k, k + 1) for k in range(5)]
    pairs = find_pairs(make_batch(positions, cell, molecule=[0] * 6 + [1], bonds=bonds), 1.3)
    first, second = pairs.index.tolist()
    classes = pairs.bond_class.tolist()
    expected = {1: 1, 2: 2, 3: 3, 4: 4, 5: 4}
    nearest = {}
    vectors = pair_vectors(torch.tensor(positions), torch.tensor(cell)[None], torch.zeros(7, dtype=torch.int64), pairs)
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        key, distance = (a, b), float(vectors[k].norm())
        if a != b and (key not in nearest or distance < nearest[key][0]):
            nearest[key] = (distance, k)
    intramolecular = {k: expected[abs(a - b)] for (a, b), (_, k) in nearest.items() if a < 6 and b < 6}
    assert {k: c for k, c in enumerate(classes) if c} == intramolecular


def test_a_position_that_is_not_finite_is_refused():
    positions = np.zeros((3, 3))
    positions[1, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        find_pairs(make_batch(positions), 1.0)


def breadth_first_classes(bonds, n_sites):
    """Return the slow twin's classes of all pairs of one molecule, walking from each site."""
    neighbours = [{b for a, b in [*bonds, *((b, a) for a, b in bonds)] if a == site} for site in range(n_sites)]
    classes = np.full((n_sites, n_sites), 4)
    for origin in range(n_sites):
        shell, seen = {origin}, {origin}
        for n_bonds in (1, 2, 3):
            shell = {b for a in shell for b in neighbours[a]} - seen
            seen |= shell
            classes[origin, sorted(shell)] = n_bonds
    return classes


@pytest.mark.parametrize("seed", range(4))
def test_bond_classes_of_replicas_of_a_random_graph_equal_a_breadth_first_search(seed):
    """Trees with extra bonds hold rings of every size, which reach a site along walks of different length."""
    generator = np.random.default_rng(seed)
    n_sites, n_systems = 12, 3
    tree = [(int(generator.integers(k)), k) for k in range(1, n_sites)]
    extra = [tuple(sorted(map(int, generator.choice(n_sites, 2, replace=False)))) for _ in range(4)]
    bonds = sorted(set(tree + extra))
    everywhere = [(a + s * n_sites, b + s * n_sites) for s in range(n_systems) for a, b in bonds]
    positions = generator.random((n_systems * n_sites, 3))
    molecule = np.repeat(np.arange(n_systems), n_sites).tolist()
    pairs = find_pairs(make_batch(positions, None, molecule=molecule, bonds=everywhere, n_systems=n_systems), 5.0)
    assert pairs.n_pairs == n_systems * n_sites * (n_sites - 1)
    first, second = pairs.index.numpy() % n_sites
    assert pairs.bond_class.numpy().tolist() == breadth_first_classes(bonds, n_sites)[first, second].tolist()


@pytest.mark.parametrize("n_sites", [14, 60])
def test_open_systems_with_and_without_cells_equal_brute_force(n_sites):
    positions = 1.5 * np.random.default_rng(7).random((5, n_sites, 3))
    pairs = find_pairs(make_batch(positions.reshape(-1, 3), None, n_systems=5), 0.5)
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=3)
    is_near = (distances < 0.5) & ~np.eye(n_sites, dtype=bool)
    system, first, second = np.nonzero(is_near)
    assert pairs.index.tolist() == [(first + n_sites * system).tolist(), (second + n_sites * system).tolist()]
    assert not pairs.shifts.any()


def test_many_cells_and_a_thin_box_equal_brute_force():
    """A box longer than many cells along one vector and thinner than the cutoff along another."""
    cell = np.array([[6.0, 0.0, 0.0], [1.0, 0.7, 0.0], [0.3, 0.2, 2.0]])
    positions = np.random.default_rng(8).random((90, 3)) @ cell * 1.2 - 0.3
    pairs = find_pairs(make_batch(positions, cell), 0.8)
    rows = np.concatenate([pairs.index.numpy().T, pairs.shifts.numpy().astype(int)], axis=1)
    assert [tuple(row) for row in rows.tolist()] == brute_force(positions, cell, 0.8)
    squares = find_vectors(make_batch(positions, cell), pairs).norm(dim=1)
    assert float(squares.max()) < 0.8


def test_a_system_far_out_of_its_cell_has_the_same_pairs():
    cell = CELLS["triclinic"]
    positions = np.random.default_rng(9).random((30, 3)) @ cell
    away = np.random.default_rng(10).integers(-5, 6, size=(30, 3))
    near, far = find_pairs(make_batch(positions, cell), 0.9), find_pairs(make_batch(positions + away @ cell, cell), 0.9)
    # rows may be sorted by other shifts only where two images of one site are neighbours
    assert torch.equal(near.index, far.index)
    first, second = far.index.numpy()
    assert np.array_equal(far.shifts.numpy() + away[second] - away[first], near.shifts.numpy())
