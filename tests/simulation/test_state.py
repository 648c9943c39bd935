"""The state: forces through the skin list, wrapping, dropping of replicas, independence of replicas."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.energy import predict
from beadsmith.errors import PhysicsError
from beadsmith.neighbors import find_pairs
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.state import (
    closest_distances,
    find_closest_pair,
    init_state,
    keep_replicas,
    move_sites,
    refresh_neighbours,
)
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from example_force_fields import SoftPair, Well, make_force_field, make_frames, make_liquid

CUTOFF = 0.5
LANGEVIN = Langevin(timestep=0.01, friction=2.0)


def begin(frames, *, skin=0.2, seed=1, dtype=torch.float64):
    force_field = make_force_field(SoftPair(cutoff=CUTOFF)).to(dtype)
    state = init_state(force_field, frames, cutoff=CUTOFF, skin=skin, max_displacement=0.05, seed=seed, dtype=dtype)
    return force_field, state


def steps(force_field, state, n_steps):
    infos = []
    for _ in range(n_steps):
        state, info = LANGEVIN.step(state, force_field)
        infos.append(info)
    return state, infos


def test_forces_through_the_skin_list_equal_those_of_a_fresh_list_at_every_step():
    force_field, state = begin(make_liquid(4, n_frames=2))
    rebuilds = 0
    for _ in range(60):
        state, info = LANGEVIN.step(state, force_field)
        rebuilds += info.is_rebuilt
        fresh = predict(force_field, state.system, find_pairs(state.system, CUTOFF))
        # double precision; the long list only adds exact zeros
        torch.testing.assert_close(state.forces.view(-1, 3), fresh.forces, rtol=0.0, atol=1e-11)
        torch.testing.assert_close(state.virial, fresh.virial, rtol=0.0, atol=1e-9)
    assert 2 <= rebuilds <= 30


@pytest.mark.parametrize("skin", [0.05, 0.3])
def test_the_skin_does_not_change_a_single_bit(skin):
    frames = make_liquid(4)
    force_field, state = begin(frames, skin=0.15, dtype=torch.float32)
    _, other = begin(frames, skin=skin, dtype=torch.float32)
    end, _ = steps(force_field, state, 80)
    other_end, _ = steps(force_field, other, 80)
    assert torch.equal(end.positions, other_end.positions)


def test_a_replica_follows_the_same_bits_alone_and_beside_others():
    frames = make_liquid(4, n_frames=3)
    force_field, alone = begin(frames.select(slice(0, 1)), dtype=torch.float32)
    _, together = begin(frames, dtype=torch.float32)
    alone, _ = steps(force_field, alone, 80)
    together, _ = steps(force_field, together, 80)
    assert torch.equal(alone.positions[0], together.positions[0])


def test_replicas_from_one_frame_have_different_noise():
    frames = make_liquid(4)
    force_field, state = begin(frames.select(np.array([0, 0])))
    state, _ = steps(force_field, state, 20)
    assert not torch.allclose(state.positions[0], state.positions[1], atol=1e-3)


def test_dropping_a_replica_leaves_the_others_on_their_path():
    frames = make_liquid(4, n_frames=3)
    force_field, state = begin(frames)
    state, _ = steps(force_field, state, 10)
    kept = keep_replicas(state, torch.tensor([True, False, True]))
    assert kept.replica.tolist() == [0, 2]
    whole, _ = steps(force_field, state, 70)
    rest, _ = steps(force_field, kept, 70)
    assert torch.equal(rest.positions, whole.positions[[0, 2]])


def test_refreshing_wraps_sites_into_the_cell_and_changes_no_physics():
    frames = make_liquid(4)
    shifted = replace(frames, positions=frames.positions + np.float32(7.3))
    _, state = begin(frames)
    _, far = begin(shifted)
    length = float(frames.cell[0, 0, 0])
    wrapped = far.system.positions
    assert float(wrapped.min()) >= -1e-6
    assert float(wrapped.max()) <= length + 1e-6
    # float32 start positions near 8 nm are good to 5e-7 nm, times a curvature of about 1e4 kJ/mol/nm²
    torch.testing.assert_close(far.forces, state.forces, rtol=0.0, atol=2e-2)
    assert torch.equal(refresh_neighbours(far).positions, far.positions)


def make_dimers():
    """Return two dimers in a periodic cell, the second across the boundary, whole."""
    empty = np.zeros((0, 3), dtype=np.int64)
    topology = Topology(
        names=("a",) * 4,
        types=np.zeros(4, dtype=np.int64),
        type_names=("a",),
        masses=np.full(4, 20.0),
        molecule_index=np.array([0, 0, 1, 1]),
        residue_index=np.array([0, 0, 1, 1]),
        residue_names=("dimer", "dimer"),
        bonds=np.array([[0, 1], [2, 3]]),
        angles=empty,
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=np.zeros((0, 2), dtype=np.int64),
    )
    positions = np.array([[[0.5, 0.5, 0.5], [0.7, 0.5, 0.5], [1.9, 1.0, 1.0], [2.1, 1.0, 1.0]]], dtype=np.float32)
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0),
        positions=positions + np.array([4.0, -2.0, 0.0], dtype=np.float32),
        times=np.zeros(1),
        cell=2.0 * np.eye(3, dtype=np.float32)[None],
    )


def test_molecules_stay_whole_when_they_are_wrapped():
    _, state = begin(make_dimers())
    wrapped = state.system.positions
    torch.testing.assert_close(wrapped[0], torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(
        wrapped[3] - wrapped[2], torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64), atol=1e-6, rtol=0.0
    )


def test_the_closest_pair_is_one_of_different_molecules():
    _, state = begin(make_dimers(), skin=0.5)
    distance, a, b = find_closest_pair(state, 0)
    # from bead 3 at (2.1, 1, 1), that is (0.1, 1, 1), to bead 0 at (0.5, 0.5, 0.5)
    assert {a, b} == {0, 3}
    assert distance == pytest.approx(np.sqrt(0.16 + 0.5), abs=1e-6)
    assert float(closest_distances(state)[0]) == pytest.approx(distance)


def test_without_pairs_there_is_no_closest_pair():
    force_field = make_force_field(Well())
    state = init_state(
        force_field, make_frames(np.zeros((1, 2, 3))), cutoff=0.0, skin=0.1, max_displacement=1.0, seed=1
    )
    assert find_closest_pair(state, 0) is None
    assert torch.isinf(closest_distances(state)).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.06])
def test_a_step_that_no_site_makes_is_refused_for_that_replica_alone(bad):
    force_field, state = begin(make_liquid(4, n_frames=2), skin=0.05)
    target = state.positions + 0.001
    target[1, 5, 2] += bad
    moved, info = move_sites(state, force_field, positions=target)
    assert info.has_stopped
    assert moved.is_alive.tolist() == [True, False]
    assert torch.equal(moved.positions[0], target[0])
    assert torch.equal(moved.positions[1], state.positions[1])
    assert torch.isfinite(moved.forces).all()


def test_velocities_of_the_start_are_used_where_it_has_them():
    frames = make_liquid(4)
    velocities = np.random.default_rng(1).normal(size=frames.positions.shape).astype(np.float32)
    _, state = begin(replace(frames, velocities=velocities))
    np.testing.assert_array_equal(state.velocities.numpy(), velocities.astype(float))


def test_a_force_that_is_not_finite_at_the_start_is_reported_with_the_closest_pair():
    frames = make_liquid(4)
    positions = frames.positions.copy()
    positions[0, 1] = positions[0, 0] + 0.001
    force_field = make_force_field(SoftPair(cutoff=CUTOFF, height=np.inf))
    with pytest.raises(PhysicsError, match=r"closest pair is 0\.00\d nm"):
        init_state(
            force_field, replace(frames, positions=positions), cutoff=CUTOFF, skin=0.1, max_displacement=1.0, seed=1
        )
