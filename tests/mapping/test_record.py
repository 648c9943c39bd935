"""A biased map cannot be built."""

import numpy as np
import pytest
import scipy.sparse as sparse

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.mapping.record import Mapping
from beadsmith.topology import build_bead_topology

POSITION_WEIGHTS = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]])
NO_CONSTRAINTS = np.zeros((0, 2), dtype=np.int64)


def build(position_weights, force_weights, constraints=NO_CONSTRAINTS, noise_width=None):
    return Mapping(
        position_map=LinearMap(matrix=sparse.csr_array(np.asarray(position_weights))),
        force_map=LinearMap(matrix=sparse.csr_array(np.asarray(force_weights))),
        topology=build_bead_topology(type_names=("X",), types=np.zeros(2), masses=np.array([16.0])),
        constraints=np.asarray(constraints),
        noise_width=noise_width,
    )


def test_sum_map_is_accepted():
    assert build(POSITION_WEIGHTS, [[1, 1, 1, 0], [0, 0, 0, 1.0]]).noise_width is None


def test_unequal_weights_that_meet_the_condition_are_accepted():
    # 0.5 · 1.3 + 0.3 · 0.5 + 0.2 · 1 = 1
    build(POSITION_WEIGHTS, [[1.3, 0.5, 1.0, 0], [0, 0, 0, 1.0]])


def test_position_weights_that_do_not_sum_to_one_are_refused():
    with pytest.raises(InputError, match=r"position weights of bead 0 \('X'\) sum to 0.9"):
        build([[0.9], [1.0]] * POSITION_WEIGHTS, [[1, 1, 1, 0], [0, 0, 0, 1.0]])


def test_slice_of_one_atom_is_refused_as_biased():
    with pytest.raises(InputError, match=r"biased: \(B Cᵀ\) of beads 0 and 0 is off by -0.5"):
        build(POSITION_WEIGHTS, [[1.0, 0, 0, 0], [0, 0, 0, 1.0]])


def test_force_taken_from_another_bead_is_refused():
    with pytest.raises(InputError, match=r"beads 0 and 1 is off by 0.1"):
        build(POSITION_WEIGHTS, [[1, 1, 1, 0.1], [0, 0, 0, 1.0]])


def test_map_with_nan_is_refused():
    with pytest.raises(InputError, match="biased"):
        build(POSITION_WEIGHTS, [[1, 1, np.nan, 0], [0, 0, 0, 1.0]])


def test_unequal_weights_in_a_rigid_group_are_refused():
    with pytest.raises(InputError, match=r"rigidly joined atoms 1 and 0 enter bead 0 .* differ by 0.8"):
        build(POSITION_WEIGHTS, [[1.3, 0.5, 1.0, 0], [0, 0, 0, 1.0]], constraints=[[1, 0]])


def test_equal_weights_in_a_rigid_group_are_accepted():
    build(POSITION_WEIGHTS, [[1.3, 0.7, 0.7, 0], [0, 0, 0, 1.0]], constraints=[[1, 2]])


def test_maps_of_different_molecules_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        build(POSITION_WEIGHTS, np.ones((2, 3)))


def test_score_of_noise_takes_what_the_force_map_leaves_to_one():
    mapping = build(POSITION_WEIGHTS, [[0.8, 0.8, 0.8, 0], [0, 0, 0, 1.0]], noise_width=0.01)
    np.testing.assert_allclose(mapping.score_map.matrix.toarray(), [[0.2, 0.0], [0.0, 0.0]], atol=1e-15)


def test_noise_does_not_excuse_unequal_weights_in_a_rigid_group():
    with pytest.raises(InputError, match="rigidly joined atoms"):
        build(POSITION_WEIGHTS, [[0.8, 0.8, 0.7, 0], [0, 0, 0, 1.0]], constraints=[[1, 2]], noise_width=0.01)


def test_noise_without_width_is_refused():
    with pytest.raises(InputError, match=r"noise width is 0.0 nm"):
        build(POSITION_WEIGHTS, [[1, 1, 1, 0], [0, 0, 0, 1.0]], noise_width=0.0)
