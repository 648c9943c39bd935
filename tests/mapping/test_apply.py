"""Mapping a file: right beads through broken molecules, bounded memory, and an interruption changes no bit."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.geometry import minimum_image
from beadsmith.io.h5md import open_trajectory, read_trajectory, write_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.mapping import apply
from beadsmith.mapping.apply import map_reference
from beadsmith.mapping.frames import build_molecule_tree
from beadsmith.mapping.settings import MappingSettings
from beadsmith.trajectory import Trajectory, frame_fields
from example_references import ALCOHOL, DIMER, build_capped_alanine, build_topology, make_reference
from example_systems import CELLS

MIXTURE = build_topology(DIMER, ALCOHOL, DIMER, ALCOHOL, ALCOHOL)
# stored float32 positions of a few nm
FLOAT32 = 1e-6


def run(tmp_path, reference, *, name="mapped.h5", identity="one", progress=None, **settings):
    """Write the reference, map it, and return the beads and the summary."""
    write_trajectory(tmp_path / "reference.h5", reference)
    options = {} if progress is None else {"progress": progress}
    summary = map_reference(
        tmp_path / "reference.h5", tmp_path / name, MappingSettings(**settings), identity=identity, **options
    )
    return read_trajectory(tmp_path / name), summary


def assert_same_frames(first, second):
    for field in frame_fields():
        a, b = getattr(first, field), getattr(second, field)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b, err_msg=field)


def average_by_molecule(topology, vectors, weights):
    sums = np.zeros((len(vectors), topology.n_molecules, 3))
    np.add.at(sums, (slice(None), topology.molecule_index), vectors * weights[:, None])
    return sums


def test_open_system_maps_to_centres_of_mass_and_summed_forces(tmp_path):
    reference = make_reference(MIXTURE)
    mapped, _ = run(tmp_path, reference, forces="sum")
    fractions = MIXTURE.masses / np.bincount(MIXTURE.molecule_index, MIXTURE.masses)[MIXTURE.molecule_index]
    centres = average_by_molecule(MIXTURE, reference.positions, fractions)
    np.testing.assert_allclose(mapped.positions, centres, atol=FLOAT32)
    velocities = average_by_molecule(MIXTURE, reference.velocities, fractions)
    np.testing.assert_allclose(mapped.velocities, velocities, atol=FLOAT32)
    # float32 forces of about 1,000 kJ/mol/nm
    forces = average_by_molecule(MIXTURE, reference.forces, np.ones(MIXTURE.n_sites))
    np.testing.assert_allclose(mapped.forces, forces, atol=1e-3)
    assert mapped.topology.names == ("dimer", "alcohol", "dimer", "alcohol", "alcohol")


def test_energy_virial_times_segments_weights_and_state_carry_over(tmp_path):
    reference = make_reference(MIXTURE, cell=3.0 * np.eye(3))
    reference = replace(reference, weight=np.linspace(0.5, 1.5, 12))
    mapped, _ = run(tmp_path, reference, chunk_frames=5)
    for field in ("energy", "virial", "times", "segment", "weight", "cell"):
        np.testing.assert_array_equal(getattr(mapped, field), getattr(reference, field), err_msg=field)
    assert mapped.state_point == reference.state_point


@pytest.mark.parametrize("name", CELLS)
def test_broken_molecules_map_like_whole_ones(tmp_path, name):
    cell = CELLS[name]
    whole = make_reference(MIXTURE, cell=cell, spread=0.03)
    shifts = np.random.default_rng(1).integers(-2, 3, size=whole.positions.shape) @ cell
    broken = replace(whole, positions=(whole.positions + shifts).astype(np.float32))
    expected, _ = run(tmp_path, whole, name="whole.h5")
    found, _ = run(tmp_path, broken, name="broken.h5")
    # float32 positions several cells away from the origin
    difference = minimum_image(found.positions - expected.positions, found.cell)
    np.testing.assert_allclose(difference, 0.0, atol=5e-6)
    np.testing.assert_array_equal(found.forces, expected.forces)


def test_beads_lie_in_the_cell(tmp_path):
    cell = CELLS["triclinic"]
    mapped, _ = run(tmp_path, make_reference(MIXTURE, cell=cell, spread=0.03))
    fractions = mapped.positions @ np.linalg.inv(cell)
    assert fractions.min() >= -FLOAT32
    assert fractions.max() <= 1.0 + FLOAT32


def test_chunks_do_not_change_the_result(tmp_path):
    reference = make_reference(MIXTURE, cell=3.0 * np.eye(3), n_frames=23)
    whole, _ = run(tmp_path, reference, name="a.h5")
    chunked, _ = run(tmp_path, reference, name="b.h5", chunk_frames=4)
    np.testing.assert_array_equal(chunked.positions, whole.positions)
    # the force map is fitted to sums in another order: float32 rounding of forces of about 1,000
    np.testing.assert_allclose(chunked.forces, whole.forces, atol=1e-3)


def test_noise_on_positions_does_not_depend_on_chunks_and_changes_with_its_seed(tmp_path):
    reference = make_reference(MIXTURE, n_frames=23)
    whole, _ = run(tmp_path, reference, name="a.h5", forces="sum", noise_width=0.01)
    chunked, _ = run(tmp_path, reference, name="b.h5", forces="sum", noise_width=0.01, chunk_frames=4)
    assert_same_frames(chunked, whole)
    other, _ = run(tmp_path, reference, name="c.h5", forces="sum", noise_width=0.01, noise_seed=2)
    # differences of two normal numbers of 0.01 nm: 345 of them are good to 4 % at one sigma
    spread = (other.positions - whole.positions).std()
    assert spread == pytest.approx(0.01 * np.sqrt(2), rel=0.16)


def test_optimal_forces_have_a_smaller_mean_square_than_the_sum(tmp_path):
    reference = make_reference(MIXTURE)
    optimal, summary = run(tmp_path, reference, name="optimal.h5", forces="optimal")
    summed, _ = run(tmp_path, reference, name="sum.h5", forces="sum")
    assert np.mean(optimal.forces**2) < np.mean(summed.forces**2)
    assert summary["forces"] == "optimal"


def test_summary_holds_the_force_map_and_is_stored_with_the_frames(tmp_path):
    reference = make_reference(MIXTURE)
    mapped, summary = run(tmp_path, reference)
    dimer, alcohol = summary["molecules"]
    assert (dimer["name"], dimer["count"], alcohol["count"]) == ("dimer", 2, 3)
    assert alcohol["atom_names"] == ["C", "O", "H"]
    (weights,) = alcohol["force_weights"]
    assert weights[1] == weights[2] != weights[0]
    forces = np.einsum("a,fax->fx", weights, reference.forces[:, 2:5])
    np.testing.assert_allclose(mapped.forces[:, 1], forces, atol=1e-3)
    assert summary.pop("frames_per_second") > 0.0
    with open_trajectory(tmp_path / "mapped.h5") as stored:
        assert stored.metadata == {**summary, "identity": "one"}


def test_summed_mean_square_is_that_of_the_stored_forces(tmp_path):
    mapped, summary = run(tmp_path, make_reference(MIXTURE, n_frames=30), forces="sum")
    # equal blocks of 3 frames; float32 storage
    found = summary["force_mean_square"]["sum"]
    assert found == pytest.approx(float(np.mean(mapped.forces.astype(np.float64) ** 2)), rel=1e-5)


@pytest.mark.parametrize("n_saved", [0, 1, 3, 6])
def test_interrupted_mapping_ends_bit_equal(tmp_path, monkeypatch, n_saved):
    reference = make_reference(MIXTURE, cell=3.0 * np.eye(3), n_frames=23)
    expected, _ = run(tmp_path, reference, name="straight.h5", chunk_frames=4)
    append, calls = PartStore.append, itertools.count()

    def append_or_die(store, trajectory, state):
        if next(calls) == n_saved:
            raise KeyboardInterrupt
        append(store, trajectory, state)

    monkeypatch.setattr(PartStore, "append", append_or_die)
    write_trajectory(tmp_path / "reference.h5", reference)
    settings = MappingSettings(chunk_frames=4)
    if n_saved < 6:
        with pytest.raises(KeyboardInterrupt):
            map_reference(tmp_path / "reference.h5", tmp_path / "resumed.h5", settings, identity="one")
        assert not (tmp_path / "resumed.h5").exists()
    map_reference(tmp_path / "reference.h5", tmp_path / "resumed.h5", settings, identity="one")
    assert_same_frames(read_trajectory(tmp_path / "resumed.h5"), expected)
    assert (tmp_path / "resumed.h5").read_bytes() == (tmp_path / "straight.h5").read_bytes()


def test_resumed_frames_are_not_mapped_again(tmp_path, monkeypatch):
    write_trajectory(tmp_path / "reference.h5", make_reference(MIXTURE, n_frames=8))
    settings = MappingSettings(chunk_frames=2)
    original, first_times = apply.map_trajectory, []

    def record_or_die(trajectory, *rest, **options):
        first_times.append(trajectory.times[0])
        if len(first_times) == 3:
            raise KeyboardInterrupt
        return original(trajectory, *rest, **options)

    monkeypatch.setattr(apply, "map_trajectory", record_or_die)
    with pytest.raises(KeyboardInterrupt):
        map_reference(tmp_path / "reference.h5", tmp_path / "mapped.h5", settings, identity="one")
    map_reference(tmp_path / "reference.h5", tmp_path / "mapped.h5", settings, identity="one")
    # killed while mapping the third chunk, which starts at 1.0 ps; the two before it are kept
    np.testing.assert_allclose(first_times, [0.2, 0.6, 1.0, 1.0, 1.4])


def test_frames_of_other_inputs_are_not_reused(tmp_path):
    reference = make_reference(MIXTURE, n_frames=8)
    other = make_reference(MIXTURE, n_frames=8, seed=1)
    first, _ = run(tmp_path, other, name="first.h5", identity="other")
    store = PartStore(tmp_path / "mapped.h5", "one")
    store.append(first.select(slice(0, 3)), {"force_weights_0": np.ones((1, 2)), "force_weights_1": np.ones((1, 3))})
    mapped, _ = run(tmp_path, reference, identity="two")
    expected, _ = run(tmp_path, reference, name="expected.h5")
    assert_same_frames(mapped, expected)


def test_memory_does_not_grow_with_the_length(tmp_path):
    topology = build_topology(*[ALCOHOL] * 200)

    def peak_and_size(n_frames):
        """Return the peak memory of mapping, and the bytes that the positions and forces of the frames take."""
        reference = replace(make_reference(topology, n_frames=n_frames), segment=None)
        write_trajectory(tmp_path / "reference.h5", reference)
        size = reference.positions.nbytes + reference.forces.nbytes
        del reference
        tracemalloc.start()
        map_reference(
            tmp_path / "reference.h5", tmp_path / "mapped.h5", MappingSettings(chunk_frames=10), identity=str(n_frames)
        )
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes, size

    peak_and_size(20)  # imports and caches
    short, size_of_short = peak_and_size(50)
    long, size_of_long = peak_and_size(400)
    # handles of HDF5 that wait for the garbage collector make up 0.1 MB either way; the added frames hold 5 MB
    assert size_of_long - size_of_short > 4_000_000
    assert long - short < 0.1 * (size_of_long - size_of_short)


def test_progress_ends_at_its_total(tmp_path):
    seen = []
    run(
        tmp_path,
        make_reference(MIXTURE),
        chunk_frames=5,
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert seen[-1] == (24, 24)
    assert seen == sorted(seen)


def test_reference_without_forces_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no forces") as error:
        run(tmp_path, replace(make_reference(MIXTURE), forces=None))
    assert "reference.h5" in str(error.value)


def test_empty_reference_is_refused(tmp_path):
    with pytest.raises(InputError, match="empty"):
        run(tmp_path, make_reference(MIXTURE).select(slice(0, 0)))


def test_nan_in_the_forces_is_refused_with_its_frame(tmp_path):
    reference = make_reference(MIXTURE)
    reference.forces[7, 3, 1] = np.nan
    with pytest.raises(InputError, match=r"'forces' holds a value that is not finite .* in frame 7"):
        run(tmp_path, reference, chunk_frames=2)
    assert not (tmp_path / "mapped.h5").exists()


def test_forces_for_another_number_of_atoms_are_refused(tmp_path):
    reference = make_reference(MIXTURE)
    with pytest.raises(InputError, match=r"expected \(12, 13, 3\)"):
        replace(reference, forces=reference.forces[:, :-1])


def test_averaged_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="averaged labels"):
        run(tmp_path, replace(make_reference(MIXTURE), n_averaged=np.full(12, 100)))


def test_bead_wider_than_half_the_box_is_refused(tmp_path):
    stretched = make_reference(MIXTURE, cell=1.0 * np.eye(3), spread=0.02)
    stretched.positions[5, 2:5, 0] = [0.0, 0.3, 0.6]
    with pytest.raises(InputError, match=r"bead 1 \('alcohol' of 'alcohol'\) reaches across 0.60 of the cell"):
        run(tmp_path, stretched)


def test_molecule_without_bonds_is_refused_in_a_periodic_cell(tmp_path):
    loose = build_topology(("loose", ("A", "B"), (1.0, 1.0), (), ()))
    with pytest.raises(InputError, match=r"not connected .*molecule 'loose'"):
        run(tmp_path, make_reference(loose, cell=np.eye(3)))


def test_rigid_molecule_without_bonds_is_joined_by_its_constraints():
    rigid = ("rigid", ("A", "B"), (1.0, 1.0), (), ((0, 1),))
    (edges,) = build_molecule_tree(build_topology(rigid, rigid))
    np.testing.assert_array_equal(edges, [[0, 1], [2, 3]])


def test_broken_rule_of_rigid_groups_stops_the_mapping(tmp_path, monkeypatch):
    monkeypatch.setattr(apply, "fit_weights", lambda *_, **__: np.array([[1.0, 1.1, 0.4]]))
    with pytest.raises(InputError, match="biased"):
        run(tmp_path, make_reference(build_topology(ALCOHOL)))


@pytest.mark.parametrize(
    "wrong", [{"beads": "atom"}, {"forces": "net"}, {"noise_width": 0.2}, {"regularization": -1.0}, {"chunk_frames": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        MappingSettings(**wrong)


def test_mapped_frames_are_a_trajectory_of_float32(tmp_path):
    mapped, _ = run(tmp_path, make_reference(MIXTURE))
    assert isinstance(mapped, Trajectory)
    assert mapped.positions.dtype == mapped.forces.dtype == np.float32


def test_the_file_says_which_atoms_its_beads_are_made_of(tmp_path):
    topology = build_capped_alanine(n_molecules=2)
    _, summary = run(tmp_path, make_reference(topology), beads="backbone_cb")
    with open_trajectory(tmp_path / "mapped.h5") as stored:
        (molecule,) = stored.metadata["molecules"]
    assert molecule["atoms"] == summary["molecules"][0]["atoms"]
    assert molecule["atoms"]["members"] == [[4], [6], [8], [10], [14], [16]]
    assert [molecule["atoms"]["names"][k] for k in (4, 8, 16)] == ["1:ACE:C", "2:ALA:CA", "3:NME:N"]
    assert molecule["atoms"]["elements"][:3] == ["H", "C", "H"]
    assert molecule["atoms"]["bonds"] == topology.bonds[(topology.bonds < 22).all(axis=1)].tolist()


def test_masses_stand_for_elements_that_are_not_known(tmp_path):
    topology = build_capped_alanine(elements=False)
    _, summary = run(tmp_path, make_reference(topology), beads="backbone")
    assert summary["molecules"][0]["atoms"]["elements"][:2] == ["1.01 u", "12.01 u"]
