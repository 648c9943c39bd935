"""Starts: dispersed frames, replication, molecules at a density; and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.errors import InputError, PhysicsError
from beadsmith.force_field import adopt_topology
from beadsmith.io.h5md import write_trajectory
from beadsmith.simulation.relax import relax
from beadsmith.simulation.start import CountStart, FileStart, build_start, choose_start_frames, replicate
from beadsmith.simulation.state import closest_distances, init_state
from example_force_fields import SoftPair, make_force_field, make_frames, make_liquid

FORCE_FIELD = make_force_field(SoftPair(), type_names=("methanol", "benzene"), masses=(32.0, 78.0))


def numbered_frames(n_frames=10, **options):
    """Return frames whose first coordinate is the frame's number."""
    positions = np.zeros((n_frames, 4, 3)) + np.arange(n_frames)[:, None, None]
    options = {"type_names": ("methanol", "benzene"), "masses": (32.0, 78.0), "cell": 20.0 * np.eye(3)} | options
    return make_frames(positions, types=np.array([0, 1, 1, 0]), **options)


def build(start, n_replicas=1, temperature=300.0, force_field=FORCE_FIELD):
    return build_start(start, force_field, temperature=temperature, n_replicas=n_replicas, seed=3)


@pytest.mark.parametrize(("n_replicas", "expected"), [(1, [9]), (2, [4, 9]), (3, [3, 6, 9]), (10, list(range(10)))])
def test_replicas_start_from_frames_spread_over_the_file(tmp_path, n_replicas, expected):
    write_trajectory(tmp_path / "m.h5", numbered_frames())
    frames = build(FileStart(path=tmp_path / "m.h5"), n_replicas)
    assert frames.positions[:, 0, 0].tolist() == expected


def test_more_replicas_than_frames_use_frames_again(tmp_path):
    assert build(numbered_frames(2), 5).positions[:, 0, 0].tolist() == [0, 0, 1, 1, 1]


def test_a_named_frame_starts_all_replicas(tmp_path):
    write_trajectory(tmp_path / "m.h5", numbered_frames())
    for frame, expected in ((3, 3.0), (-2, 8.0)):
        frames = build(FileStart(path=tmp_path / "m.h5", frame=frame), 2)
        assert frames.positions[:, 0, 0].tolist() == [expected, expected]


def write_chain(path, n_frames=10):
    """Write frames of one molecule of three beads, whose middle one moves by the frame's number."""
    positions = np.zeros((n_frames, 3, 3))
    positions[:, 1, 0], positions[:, 2, 0] = 0.3, 0.6
    positions[:, 1, 1] = 0.02 * np.arange(n_frames)
    frames = make_frames(positions)
    molecule = replace(frames.topology, molecule_index=np.zeros(3, dtype=np.int64), bonds=np.array([[0, 1], [1, 2]]))
    frames = replace(frames, topology=molecule)
    write_trajectory(path, frames)
    return frames


def test_dispersed_starts_are_extremes_first_and_every_frame_in_the_end(tmp_path):
    write_chain(tmp_path / "m.h5")
    chosen = choose_start_frames(FileStart(path=tmp_path / "m.h5"), n_replicas=10, choice="dispersed")
    assert chosen[:2].tolist() == [9, 0]
    assert sorted(chosen.tolist()) == list(range(10))


def test_dispersed_starts_of_a_trajectory_in_memory_are_those_of_its_file(tmp_path):
    frames = write_chain(tmp_path / "m.h5")
    from_file = choose_start_frames(FileStart(path=tmp_path / "m.h5"), n_replicas=4, choice="dispersed")
    assert choose_start_frames(frames, n_replicas=4, choice="dispersed").tolist() == from_file.tolist()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (CountStart(counts={"methanol": 3}, density=450.0), "molecules are to be placed"),
        (numbered_frames(), "the start has 4 molecules of 4 beads together"),
    ],
)
def test_dispersed_starts_of_anything_but_one_molecule_are_refused(start, message):
    with pytest.raises(InputError, match=message):
        choose_start_frames(start, n_replicas=4, choice="dispersed")


def test_a_named_frame_cannot_be_dispersed(tmp_path):
    write_chain(tmp_path / "m.h5")
    with pytest.raises(InputError, match="frame 3 is asked for"):
        choose_start_frames(FileStart(path=tmp_path / "m.h5", frame=3), n_replicas=4, choice="dispersed")


@pytest.mark.parametrize("frame", [10, -11])
def test_a_frame_that_does_not_exist_is_refused(tmp_path, frame):
    write_trajectory(tmp_path / "m.h5", numbered_frames())
    with pytest.raises(InputError, match="has 10 frames"):
        build(FileStart(path=tmp_path / "m.h5", frame=frame))


def test_velocities_are_drawn_unless_those_of_the_file_are_wanted(tmp_path):
    frames = numbered_frames()
    frames = replace(frames, velocities=np.ones_like(frames.positions))
    write_trajectory(tmp_path / "m.h5", frames)
    assert build(FileStart(path=tmp_path / "m.h5")).velocities is None
    assert np.all(build(FileStart(path=tmp_path / "m.h5", velocities="file")).velocities == 1.0)
    write_trajectory(tmp_path / "n.h5", numbered_frames())
    with pytest.raises(InputError, match="no velocities"):
        build(FileStart(path=tmp_path / "n.h5", velocities="file"))


def test_a_replicated_frame_has_the_same_surroundings_everywhere():
    liquid = make_liquid(3, n_frames=2)
    large = replicate(liquid, (2, 1, 3))
    assert large.n_sites == 6 * liquid.n_sites
    assert large.topology.n_molecules == 6 * liquid.topology.n_molecules
    np.testing.assert_allclose(large.volumes(), 6.0 * liquid.volumes(), rtol=1e-6)
    force_field = make_force_field(SoftPair()).double()
    states = [
        init_state(force_field, frames, cutoff=0.5, skin=0.1, max_displacement=1.0, seed=1, dtype=torch.float64)
        for frames in (liquid, large)
    ]
    np.testing.assert_allclose(states[1].energy, 6.0 * states[0].energy, rtol=1e-5)
    # float32 positions at 3 nm: 2e-7 nm times a curvature of 1e4
    np.testing.assert_allclose(states[1].forces, np.tile(states[0].forces, (1, 6, 1)), atol=2e-2)


def test_an_open_system_cannot_be_replicated():
    with pytest.raises(InputError, match="no periodic cell"):
        replicate(numbered_frames(cell=None), (2, 1, 1))


def test_repeats_below_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="'repeats'"):
        FileStart(path=tmp_path / "m.h5", repeats=(0, 1, 1))


def test_bead_types_are_matched_by_name_and_masses_come_from_the_force_field():
    swapped = numbered_frames(type_names=("benzene", "methanol"), masses=(70.0, 30.0))
    topology = adopt_topology(swapped.topology, FORCE_FIELD)
    assert topology.types.tolist() == [1, 0, 0, 1]
    assert topology.masses.tolist() == [78.0, 32.0, 32.0, 78.0]


def test_an_unknown_bead_type_is_refused_by_name():
    frames = numbered_frames(type_names=("methanol", "water"))
    with pytest.raises(InputError, match="'water' is not in the force field, which knows methanol, benzene"):
        build(frames)


def test_a_molecule_without_a_template_is_refused():
    frames = numbered_frames()
    joined = replace(frames.topology, molecule_index=np.zeros(4, dtype=np.int64))
    with pytest.raises(InputError, match="no molecule template"):
        build(replace(frames, topology=joined))


def test_counts_fill_a_cubic_cell_at_the_density_in_random_order():
    start = CountStart(counts={"methanol": 100, "benzene": 20}, density=450.0)
    frames = build(start, n_replicas=2)
    assert frames.topology.types.tolist() == [0] * 100 + [1] * 20
    assert frames.topology.n_molecules == 120
    np.testing.assert_allclose(frames.topology.total_mass / frames.volumes(), 450.0, rtol=1e-5)
    assert not np.allclose(frames.positions[0], frames.positions[1])
    # kinds are mixed: the mean position of the rare kind is near the centre
    length = float(frames.cell[0, 0, 0])
    rare = frames.positions[:, 100:].mean(axis=1)
    assert np.all(np.abs(rare - 0.45 * length) < 5.0 * length / np.sqrt(12.0 * 20.0))


@pytest.mark.parametrize("n_molecules", [1, 2, 31, 32, 54, 256, 257])
def test_molecules_placed_at_a_density_are_never_close(n_molecules):
    frames = build(CountStart(counts={"methanol": n_molecules}, density=451.7))
    spacing = (32.0 / 451.7) ** (1.0 / 3.0)
    separation = frames.positions[0][None] - frames.positions[0][:, None]
    length = float(frames.cell[0, 0, 0])
    separation -= length * np.round(separation / length)
    distance = np.linalg.norm(separation, axis=2) + 10.0 * np.eye(n_molecules)
    assert distance.min() > 0.6 * spacing


@pytest.mark.parametrize(
    ("counts", "density", "message"),
    [
        ({"methanol": 0}, 450.0, "at least one molecule"),
        ({"methanol": -3, "benzene": 5}, 450.0, "'counts'"),
        ({"methanol": 3}, 0.0, "'density'"),
        ({"methanol": 3}, float("nan"), "'density'"),
    ],
)
def test_counts_and_densities_that_make_no_liquid_are_refused(counts, density, message):
    with pytest.raises(InputError, match=message):
        CountStart(counts=counts, density=density)


def test_a_molecule_the_force_field_does_not_know_is_refused():
    with pytest.raises(InputError, match="no molecule 'water'; it knows methanol, benzene"):
        build(CountStart(counts={"water": 3}, density=450.0))


def relaxed(positions, **options):
    force_field = make_force_field(SoftPair(height=2000.0)).double()
    frames = make_frames(positions, cell=2.0 * np.eye(3))
    state = init_state(force_field, frames, cutoff=0.5, skin=0.1, max_displacement=0.05, seed=1, dtype=torch.float64)
    return state, relax(state, force_field, **options)


def test_relaxing_pushes_overlapping_beads_apart_and_lowers_the_energy():
    positions = np.random.default_rng(4).random((2, 60, 3)) * 2.0
    positions[:, 1] = positions[:, 0] + 0.01
    before, after = relaxed(positions)
    assert float(before.forces.norm(dim=2).max()) > 1500.0
    assert float(after.forces.norm(dim=2).max()) <= 1500.0
    assert (after.energy < before.energy).all()
    assert (closest_distances(after) > closest_distances(before)).all()
    assert after.step == 0


def test_relaxing_leaves_an_equilibrated_frame_as_it_is():
    state, same = relaxed(make_liquid(4).positions[:, :50])
    assert torch.equal(same.positions, state.positions)


def test_a_start_that_cannot_be_relaxed_is_an_error():
    positions = np.random.default_rng(4).random((1, 60, 3)) * 2.0
    with pytest.raises(PhysicsError, match="cannot be relaxed"):
        relaxed(positions, largest_force=1e-6, n_steps=5)
