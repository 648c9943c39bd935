"""Rigid groups are the connected components of the constraints, which are found in data by what does not vary."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.mapping.constraints import detect_constraints, find_rigid_groups, group_indicator, groups_in_molecule
from beadsmith.topology import group_equal_molecules
from example_references import ALCOHOL, DIMER, build_topology, make_reference


def test_atoms_without_constraints_are_groups_of_their_own():
    np.testing.assert_array_equal(find_rigid_groups(build_topology(DIMER, DIMER)), [0, 1, 2, 3])


def test_constrained_atoms_share_a_group():
    np.testing.assert_array_equal(find_rigid_groups(build_topology(DIMER, ALCOHOL)), [0, 1, 2, 3, 3])


def test_chained_constraints_make_one_group():
    water = ("water", ("O", "H", "H"), (16.0, 1.0, 1.0), ((0, 1), (0, 2)), ((1, 0), (0, 2)))
    np.testing.assert_array_equal(find_rigid_groups(build_topology(water, water)), [0, 0, 0, 1, 1, 1])


def test_groups_of_a_molecule_are_numbered_from_zero():
    topology = build_topology(DIMER, ALCOHOL, ALCOHOL)
    alcohol = group_equal_molecules(topology)[1]
    np.testing.assert_array_equal(groups_in_molecule(find_rigid_groups(topology), alcohol), [0, 1, 1])


def test_indicator_adds_up_the_atoms_of_each_group():
    forces = np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(forces @ group_indicator(np.array([1, 0, 1])), [10.0, 101.0])


def test_constraint_between_molecules_is_refused():
    topology = replace(build_topology(DIMER, DIMER), constraints=np.array([[1, 2]]))
    with pytest.raises(InputError, match=r"between sites 1 \('B'\) and 2 \('A'\) joins two molecules"):
        find_rigid_groups(topology)


def rigid_alcohols(*, n_molecules=2, n_frames=20, cell=None, jitter=0.0, bonds=True):
    """Return frames of alcohols whose O-H distance is 0.1 nm, up to a jitter."""
    molecule = ("alcohol", ALCOHOL[1], ALCOHOL[2], ALCOHOL[3] if bonds else (), ())
    reference = make_reference(build_topology(*[molecule] * n_molecules), n_frames=n_frames, cell=cell, spread=0.03)
    oxygen = reference.positions[:, 1::3].astype(np.float64)
    vectors = reference.positions[:, 2::3] - oxygen
    generator = np.random.default_rng(1)
    lengths = 0.1 + jitter * generator.normal(size=vectors.shape[:2])
    vectors *= (lengths / np.linalg.norm(vectors, axis=-1))[..., None]
    positions = reference.positions.copy()
    positions[:, 2::3] = oxygen + vectors
    return replace(reference, positions=positions)


@pytest.mark.parametrize("bonds", [True, False])
def test_distance_that_does_not_vary_is_a_constraint(bonds):
    reference = rigid_alcohols(bonds=bonds)
    found = detect_constraints([reference], reference.topology)
    np.testing.assert_array_equal(found.pairs, [[1, 2], [4, 5]])
    # float32 positions against bonds of thermal width
    assert found.largest_rigid < 1e-6 < 1e-3 < found.smallest_flexible


def test_detection_does_not_depend_on_chunks_or_broken_molecules():
    reference = rigid_alcohols(cell=np.diag([3.0, 3.0, 4.0]))
    whole = detect_constraints([reference], reference.topology)
    shifts = np.random.default_rng(2).integers(-1, 2, size=reference.positions.shape) * [3.0, 3.0, 4.0]
    broken = replace(reference, positions=(reference.positions + shifts).astype(np.float32))
    parts = [broken.select(slice(start, start + 7)) for start in range(0, 20, 7)]
    found = detect_constraints(parts, reference.topology)
    np.testing.assert_array_equal(found.pairs, whole.pairs)
    # float32 positions several cells away, squared differences of 1e-7
    assert found.smallest_flexible == pytest.approx(whole.smallest_flexible, rel=1e-4)


def test_candidates_grow_linearly_with_the_atoms():
    # a chain of n atoms has n - 1 bonds and n - 2 pairs over one atom: memory follows them, not the n²/2 pairs
    n_atoms = 3000
    chain = ("chain", ("C",) * n_atoms, (12.0,) * n_atoms, tuple((i, i + 1) for i in range(n_atoms - 1)), ())
    reference = make_reference(build_topology(chain), n_frames=12)
    tracemalloc.start()
    detect_constraints([reference], reference.topology)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 6,000 pairs of 12 frames: about 20 MB with all temporaries; all pairs would take 400 MB for one vector array
    assert peak < 40e6


def test_too_few_frames_to_tell_are_refused():
    reference = rigid_alcohols(n_frames=4)
    with pytest.raises(InputError, match="8 samples of each distance, expected at least 10"):
        detect_constraints([reference], reference.topology)


def test_distances_between_rigid_and_flexible_are_refused():
    # the O-H bond varies by 0.4e-3 nm, just below the threshold, and the C-O bond by just above
    reference = rigid_alcohols(jitter=4e-4, n_frames=200)
    positions = reference.positions.copy()
    direction = np.random.default_rng(3).normal(size=(200, 2, 3))
    direction *= (0.15 + 5.5e-4 * np.random.default_rng(4).normal(size=(200, 2, 1))) / np.linalg.norm(
        direction, axis=-1, keepdims=True
    )
    positions[:, 0::3] = positions[:, 1::3] + direction
    with pytest.raises(InputError, match="cannot be told apart"):
        detect_constraints([replace(reference, positions=positions.astype(np.float32))], reference.topology)
