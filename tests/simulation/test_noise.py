"""Counted random numbers: functions of seed, stream, replica and step alone."""

import numpy as np

from beadsmith.simulation.noise import NOISE, VELOCITIES, draw_block, draw_normals, is_block_of


def test_numbers_do_not_depend_on_the_other_replicas():
    all_three = draw_block(5, [0, 1, 2], step=0, n_sites=7).values
    only_last = draw_block(5, [2], step=0, n_sites=7).values
    assert (all_three[:, 2] == only_last[:, 0]).all()


def test_a_block_can_be_entered_at_any_step():
    first = draw_block(5, [0], step=0, n_sites=7)
    length = len(first.values)
    assert all(is_block_of(first, step) for step in range(length))
    assert not is_block_of(first, length)
    late = draw_block(5, [0], step=length - 1, n_sites=7)
    assert late.index == first.index
    assert (late.values == first.values).all()
    assert (draw_block(5, [0], step=length, n_sites=7).values != first.values).all()


def test_seed_stream_replica_and_index_each_change_the_numbers():
    base = {"seed": 1, "stream": NOISE, "replica": 0, "index": 0, "shape": (100,)}
    drawn = [draw_normals(**base)]
    for change in ({"seed": 2}, {"stream": VELOCITIES}, {"replica": 1}, {"index": 1}):
        drawn.append(draw_normals(**{**base, **change}))
    for a in range(len(drawn)):
        for b in range(a):
            assert not np.any(drawn[a] == drawn[b])


def test_blocks_of_large_systems_stay_small():
    assert draw_block(1, [0], step=0, n_sites=30000).values.shape == (1, 1, 30000, 3)
