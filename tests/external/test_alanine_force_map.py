"""Constraint-aware force maps of capped alanine against the numbers known for this data set.

Data: ClementiGroup/proteka, ala2_all_atom.npz: 2000 frames of 22 atoms [Å, kcal/mol/Å] with rigid bonds to hydrogen;
beads are the five backbone atoms. Maps are fitted to the first half and scored on the second.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components

from beadsmith.mapping.aggregation import optimal_weights, slice_weights
from beadsmith.mapping.constraints import group_indicator

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
# C (ACE), N, CA, C (ALA), N (NME), counted from 0 in the PDB file of the set
BACKBONE = (4, 6, 8, 14, 16)
N_ATOMS = 22


@pytest.fixture(scope="module")
def frames():
    path = DATA / "alanine-aa-proteka" / "ala2_all_atom.npz"
    if not path.is_file():
        pytest.skip(f"no external data at '{path}' (set BEADSMITH_DATA)")
    with np.load(path, allow_pickle=False) as data:
        return data["coords"].astype(np.float64), data["forces"].astype(np.float64)


@pytest.fixture(scope="module")
def rigid_pairs(frames):
    positions, _ = frames
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    # rigid pairs vary by 1e-5 Å (float32), the stiffest others by 0.024 Å
    return np.argwhere(np.triu(distances.std(axis=0) < 5e-3, k=1))


@pytest.fixture(scope="module")
def groups(rigid_pairs):
    graph = sparse.coo_array((np.ones(len(rigid_pairs)), rigid_pairs.T), shape=(N_ATOMS, N_ATOMS))
    return connected_components(graph, directed=False)[1]


def slice_map():
    return (np.array(BACKBONE)[:, None] == np.arange(N_ATOMS)).astype(np.float64)


def held_out_mean_square(weights, forces):
    return np.mean(np.einsum("ba,fax->fbx", weights, forces[1000:]) ** 2)


def fit_optimal(forces, groups):
    totals = np.einsum("ag,fax->gfx", group_indicator(groups), forces[:1000]).reshape(groups.max() + 1, -1)
    return optimal_weights(totals @ totals.T / totals.shape[1], slice_map(), groups, regularization=1e-6)


def test_twelve_rigid_bonds_make_ten_groups(rigid_pairs, groups):
    assert len(rigid_pairs) == 12
    assert groups.max() + 1 == 10


def test_mean_square_of_the_slice_map(frames):
    # published to 0.1, as the two below
    assert held_out_mean_square(slice_weights(slice_map()), frames[1]) == pytest.approx(741.1, abs=0.1)


def test_mean_square_of_the_map_that_adds_hydrogens(frames, groups):
    added = (groups[list(BACKBONE)][:, None] == groups).astype(np.float64)
    assert held_out_mean_square(added, frames[1]) == pytest.approx(691.5, abs=0.1)


def test_mean_square_of_the_optimal_map(frames, groups):
    assert held_out_mean_square(fit_optimal(frames[1], groups), frames[1]) == pytest.approx(429.6, abs=0.15)


def test_optimal_map_ignoring_constraints_would_score_better_and_break_the_rule(frames, groups):
    found = fit_optimal(frames[1], np.arange(N_ATOMS))
    assert held_out_mean_square(found, frames[1]) == pytest.approx(428.5, abs=0.15)
    assert max(np.ptp(found[:, groups == group], axis=1).max() for group in range(10)) > 0.3
