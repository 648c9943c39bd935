"""The trajectory store: round trips, damage, and parts that survive a kill."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.io.h5md import open_trajectory, read_trajectory, write_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory, frame_fields


def make_trajectory(n_frames=7, n_sites=4, seed=0, segment=None, start=0.0):
    rng = np.random.default_rng(seed)
    topology = build_bead_topology(
        type_names=("methanol", "benzene"), types=np.arange(n_sites) % 2, masses=np.array([32.04, 78.11])
    )
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0, density=450.0),
        positions=rng.random((n_frames, n_sites, 3), dtype=np.float32),
        times=start + 0.2 * np.arange(n_frames),
        forces=rng.standard_normal((n_frames, n_sites, 3)).astype(np.float32),
        cell=np.tile(np.diag([2.0, 2.0, 2.5]).astype(np.float32), (n_frames, 1, 1)),
        energy=rng.standard_normal(n_frames),
        virial=rng.standard_normal((n_frames, 3, 3)),
        segment=np.zeros(n_frames, dtype=np.int64) if segment is None else segment,
    )


def assert_equal(a, b):
    assert a.state_point == b.state_point
    assert a.topology.names == b.topology.names
    np.testing.assert_array_equal(a.topology.masses, b.topology.masses)
    for name in frame_fields():
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None), name
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)


def test_a_written_trajectory_reads_back_bit_for_bit(tmp_path):
    trajectory = make_trajectory()
    write_trajectory(tmp_path / "t.h5", trajectory, {"engine": "test", "loss": np.float64(np.nan)})
    assert_equal(read_trajectory(tmp_path / "t.h5"), trajectory)
    with open_trajectory(tmp_path / "t.h5") as stored:
        assert stored.metadata == {"engine": "test", "loss": None}


def test_chunks_and_chosen_frames_equal_the_whole(tmp_path):
    trajectory = make_trajectory(n_frames=11)
    write_trajectory(tmp_path / "t.h5", trajectory)
    with open_trajectory(tmp_path / "t.h5") as stored:
        parts = list(stored.iterate(4))
        assert [part.n_frames for part in parts] == [4, 4, 3]
        np.testing.assert_array_equal(np.concatenate([p.forces for p in parts]), trajectory.forces)
        frames = np.array([9, 2, 2, 5])
        assert_equal(stored.read(frames), trajectory.select(frames))


def test_the_file_is_h5md_that_mdanalysis_understands(tmp_path):
    mda = pytest.importorskip("MDAnalysis", reason="MDAnalysis is not installed")
    trajectory = make_trajectory()
    write_trajectory(tmp_path / "t.h5", trajectory)
    universe = mda.Universe.empty(4, trajectory=False)
    universe.load_new(str(tmp_path / "t.h5"), format="H5MD", convert_units=False)
    assert universe.trajectory.n_frames == 7
    universe.trajectory[3]
    np.testing.assert_allclose(universe.trajectory.ts.positions, trajectory.positions[3], rtol=1e-6)
    np.testing.assert_allclose(universe.trajectory.ts.forces, trajectory.forces[3], rtol=1e-6)


def test_a_truncated_file_is_named(tmp_path):
    write_trajectory(tmp_path / "t.h5", make_trajectory())
    content = (tmp_path / "t.h5").read_bytes()
    (tmp_path / "t.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"t\.h5.*truncated"), open_trajectory(tmp_path / "t.h5"):
        pass


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"), open_trajectory(tmp_path / "none.h5"):
        pass


def test_a_foreign_hdf5_file_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="not a beadsmith trajectory"), open_trajectory(tmp_path / "t.h5"):
        pass


def test_nan_is_found_with_its_frame_and_field(tmp_path):
    trajectory = make_trajectory()
    trajectory.forces[5, 1, 2] = np.nan
    write_trajectory(tmp_path / "t.h5", trajectory)
    with pytest.raises(InputError, match=r"'forces' .* frame 5 of"):
        read_trajectory(tmp_path / "t.h5")


def test_parts_continue_where_the_last_one_ended(tmp_path):
    whole = make_trajectory(n_frames=9)
    first = PartStore(tmp_path / "t.h5", "a")
    assert first.last_state is None
    first.append(whole.select(slice(0, 0)), {"step": np.array(3)})
    first.append(whole.select(slice(0, 4)), {"step": np.array(40)})
    second = PartStore(tmp_path / "t.h5", "a")
    assert second.n_frames == 4
    assert second.last_state["step"] == 40
    second.append(whole.select(slice(4, 9)), {"step": np.array(90)})
    second.finish({"done": True})
    assert_equal(read_trajectory(tmp_path / "t.h5"), whole)
    assert not (tmp_path / "t.h5.parts").exists()


def test_parts_of_another_identity_are_dropped(tmp_path):
    PartStore(tmp_path / "t.h5", "a").append(make_trajectory(), {"step": np.array(1)})
    assert PartStore(tmp_path / "t.h5", "b").last_state is None
    assert PartStore(tmp_path / "t.h5", "b").n_frames == 0


def test_finished_frames_are_sorted_by_segment(tmp_path):
    store = PartStore(tmp_path / "t.h5", "a")
    for k in range(3):
        store.append(make_trajectory(n_frames=2, seed=k, segment=np.array([1, 0]), start=float(k)), {})
    store.finish({})
    joined = read_trajectory(tmp_path / "t.h5")
    assert joined.segment.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(joined.times, [0.2, 1.2, 2.2, 0.0, 1.0, 2.0])


def test_a_full_disk_is_reported_and_the_old_file_is_kept(tmp_path, monkeypatch):
    import errno

    write_trajectory(tmp_path / "t.h5", make_trajectory(seed=1))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("beadsmith.io.records.os.fsync", full)
    with pytest.raises(InputError, match="disk is full"):
        write_trajectory(tmp_path / "t.h5", make_trajectory(seed=2))
    assert_equal(read_trajectory(tmp_path / "t.h5"), make_trajectory(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["t.h5"]
