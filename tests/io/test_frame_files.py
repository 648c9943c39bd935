"""Readers of other programs' files: what goes in comes out, and what is missing is said."""

import struct

import numpy as np
import pytest

import example_files as files
from beadsmith.errors import InputError
from beadsmith.io.file_units import FORCES, LENGTHS, FileUnits, parse_unit, reduced_units, unit_style
from beadsmith.io.open_files import FileHints, open_frame_file

FRAMES = files.spring_waters(n_frames=7)
REAL = FileHints(units=unit_style("real"))
GROMACS = FileHints(units=unit_style("gromacs"))

# name, writer, hints, relative rounding of positions and forces in the file
FORMATS = {
    "traj.trr": (files.write_trr, FileHints(), 1e-6),
    "traj.dump": (files.write_lammps, FileHints(), 1e-8),
    "traj.nc": (files.write_amber, FileHints(), 1e-6),
    "traj.h5": (files.write_h5md, FileHints(), 1e-12),
    "traj.xyz": (files.write_extxyz, FileHints(), 1e-8),
    "traj.npz": (files.write_npz, GROMACS, 1e-12),
}


def write(folder, name):
    writer, hints, rounding = FORMATS[name]
    path = folder / name
    writer(path, FRAMES)
    return path, hints, rounding


@pytest.mark.parametrize("name", FORMATS)
def test_positions_forces_and_cells_of_all_frames_are_read_in_their_units(tmp_path, name):
    path, hints, rounding = write(tmp_path, name)
    file = open_frame_file(path, "positions", hints)
    assert (file.n_frames, file.n_atoms, file.damage) == (7, 24, None)
    assert file.has_positions.all()
    assert file.has_forces.all()
    block = file.read(0, 7)
    shift = 0.5 * FRAMES.cell[0, 0, 0] if name == "traj.dump" else 0.0
    positions = block.positions * file.units.length + shift
    np.testing.assert_allclose(positions, FRAMES.positions, atol=rounding * 3.0)
    np.testing.assert_allclose(block.forces * file.units.force, FRAMES.forces, atol=rounding * 1e4)
    np.testing.assert_allclose(block.cell * file.units.length, FRAMES.cell, rtol=1e-6)
    file.close()


@pytest.mark.parametrize("name", FORMATS)
def test_a_block_in_the_middle_is_that_part_of_the_whole(tmp_path, name):
    path, hints, _ = write(tmp_path, name)
    file = open_frame_file(path, "positions", hints)
    whole, middle, again = file.read(0, 7), file.read(3, 5), file.read(1, 2)
    np.testing.assert_array_equal(middle.positions, whole.positions[3:5])
    np.testing.assert_array_equal(middle.forces, whole.forces[3:5])
    np.testing.assert_array_equal(again.positions, whole.positions[1:2])


@pytest.mark.parametrize("name", FORMATS)
def test_reading_leaves_nothing_beside_the_file(tmp_path, name):
    path, hints, _ = write(tmp_path, name)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    open_frame_file(path, "positions", hints).read(0, 7)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before


# HDF5 and zip files have their index at the end: of a truncated one nothing can be read
@pytest.mark.parametrize("name", ["traj.trr", "traj.dump", "traj.nc", "traj.xyz"])
def test_a_truncated_file_says_so_and_gives_its_complete_frames(tmp_path, name):
    path, hints, _ = write(tmp_path, name)
    complete = open_frame_file(path, "positions", hints).read(0, 6)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 9])
    file = open_frame_file(path, "positions", hints)
    assert file.n_frames == 6
    assert "frame 6 is truncated" in file.damage
    np.testing.assert_array_equal(file.read(0, 6).positions, complete.positions)


@pytest.mark.parametrize("name", ["traj.trr", "traj.dump", "traj.xyz"])
def test_every_length_of_a_truncated_file_gives_an_error_or_fewer_frames_never_wrong_ones(tmp_path, name):
    path, hints, _ = write(tmp_path, name)
    content = path.read_bytes()
    truth = open_frame_file(path, "positions", hints).read(0, 7)
    for length in np.random.default_rng(3).integers(1, len(content) - 1, 60).tolist():
        path.write_bytes(content[:length])
        try:
            file = open_frame_file(path, "positions", hints)
        except InputError:
            continue
        assert file.n_frames < 7
        block = file.read(0, file.n_frames)
        np.testing.assert_array_equal(block.positions, truth.positions[: file.n_frames])
        np.testing.assert_array_equal(block.forces, truth.forces[: file.n_frames])


@pytest.mark.parametrize("name", ["traj.h5", "traj.npz"])
def test_a_truncated_archive_is_refused(tmp_path, name):
    path, hints, _ = write(tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or of another format"):
        open_frame_file(path, "positions", hints)


def test_mdanalysis_reads_the_same_from_an_amber_file(tmp_path):
    from MDAnalysis.coordinates.TRJ import NCDFReader

    path, hints, _ = write(tmp_path, "traj.nc")
    file = open_frame_file(path, "positions", hints)
    block = file.read(0, 7)
    with NCDFReader(str(path), n_atoms=24) as reader:
        assert reader.n_frames == 7
        for frame, step in enumerate(reader):
            np.testing.assert_array_equal(block.positions[frame], step.positions)
            np.testing.assert_allclose(block.velocities[frame], step.velocities, rtol=1e-6)
            # MDAnalysis gives kJ/mol/angstrom
            np.testing.assert_allclose(block.forces[frame] * 4.184, step.forces, rtol=1e-6)


def test_an_amber_file_of_another_program_is_read_in_any_netcdf_form(tmp_path):
    write(tmp_path, "traj.nc")
    content = (tmp_path / "traj.nc").read_bytes()
    # a run that was killed leaves "streaming" instead of the number of records
    (tmp_path / "streaming.nc").write_bytes(content[:4] + b"\xff\xff\xff\xff" + content[8:])
    assert open_frame_file(tmp_path / "streaming.nc", "positions", FileHints()).n_frames == 7


def test_a_trr_file_knows_which_frames_hold_forces(tmp_path):
    files.write_trr(tmp_path / "traj.trr", FRAMES, forces_every=3)
    file = open_frame_file(tmp_path / "traj.trr", "positions", FileHints())
    assert file.has_forces.tolist() == [True, False, False, True, False, False, True]
    assert file.read(3, 4).forces is not None
    assert file.read(3, 5).forces is None


def test_a_trr_frame_of_other_atoms_is_refused(tmp_path):
    files.write_trr(tmp_path / "a.trr", FRAMES)
    files.write_trr(tmp_path / "b.trr", files.spring_waters(n_molecules=5, n_frames=2))
    (tmp_path / "c.trr").write_bytes((tmp_path / "a.trr").read_bytes() + (tmp_path / "b.trr").read_bytes())
    with pytest.raises(InputError, match=r"frame 7 .* has 15 atoms, the first frame has 24"):
        open_frame_file(tmp_path / "c.trr", "positions", FileHints())


def test_a_damaged_frame_inside_a_trr_file_ends_what_is_read(tmp_path):
    path, hints, _ = write(tmp_path, "traj.trr")
    content = bytearray(path.read_bytes())
    content[3 * len(content) // 7 : 3 * len(content) // 7 + 4] = struct.pack(">i", 7)
    path.write_bytes(content)
    file = open_frame_file(path, "positions", hints)
    assert file.n_frames == 3
    assert "frame 3 is damaged" in file.damage


@pytest.mark.parametrize("n_molecules", [2, 8])
def test_an_xtc_file_is_counted_and_read_with_and_without_compression(tmp_path, n_molecules):
    frames = files.spring_waters(n_molecules=n_molecules, n_frames=5)
    files.write_xtc(tmp_path / "traj.xtc", frames)
    file = open_frame_file(tmp_path / "traj.xtc", "positions", FileHints())
    assert (file.n_frames, file.n_atoms, file.has_forces.any()) == (5, 3 * n_molecules, False)
    # half a unit of the last digit of precision 1e4
    np.testing.assert_allclose(file.read(0, 5).positions, frames.positions, atol=6e-5)


def test_forces_in_a_dcd_file_need_a_unit(tmp_path):
    files.write_dcd(tmp_path / "forces.dcd", FRAMES.forces)
    with pytest.raises(InputError, match="unit of the forces"):
        open_frame_file(tmp_path / "forces.dcd", "forces", FileHints())
    file = open_frame_file(tmp_path / "forces.dcd", "forces", GROMACS)
    np.testing.assert_allclose(file.read(0, 7).forces, FRAMES.forces, rtol=1e-6)


def test_a_dcd_file_holds_angstrom_and_a_cell(tmp_path):
    files.write_dcd(tmp_path / "traj.dcd", FRAMES.positions * 10.0, cell=FRAMES.cell * 10.0)
    file = open_frame_file(tmp_path / "traj.dcd", "positions", FileHints())
    block = file.read(2, 4)
    np.testing.assert_allclose(block.positions * file.units.length, FRAMES.positions[2:4], atol=1e-6)
    np.testing.assert_allclose(block.cell * file.units.length, FRAMES.cell[2:4], rtol=1e-6)


def test_a_truncated_dcd_file_says_so(tmp_path):
    files.write_dcd(tmp_path / "traj.dcd", FRAMES.positions)
    content = (tmp_path / "traj.dcd").read_bytes()
    (tmp_path / "traj.dcd").write_bytes(content[:-5])
    file = open_frame_file(tmp_path / "traj.dcd", "positions", FileHints())
    assert file.n_frames == 6
    assert "frame 6 is truncated" in file.damage


@pytest.mark.parametrize("columns", ["id x y z fx fy fz", "fx fy fz xu yu zu id", "id type xs ys zs fx fy fz vx vy vz"])
def test_columns_of_a_dump_may_come_in_any_order(tmp_path, columns):
    text = columns.replace("xu", "x").replace("yu", "y").replace("zu", "z")
    files.write_lammps(tmp_path / "traj.dump", FRAMES, columns=text)
    content = (tmp_path / "traj.dump").read_text().replace(f"ITEM: ATOMS {text}", f"ITEM: ATOMS {columns}")
    (tmp_path / "traj.dump").write_text(content)
    file = open_frame_file(tmp_path / "traj.dump", "positions", FileHints())
    np.testing.assert_allclose(file.read(0, 7).forces * file.units.force, FRAMES.forces, atol=1e-4)


def test_image_flags_unwrap_a_dump_and_a_tilted_cell_is_read(tmp_path):
    (tmp_path / "traj.dump").write_text(
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS xy xz yz pp pp pp\n0 12 2\n0 8 0\n0 6 0\n"
        "ITEM: ATOMS id x y z ix iy iz fx fy fz\n1 1 2 3 1 -1 2 0 0 0\n"
    )
    block = open_frame_file(tmp_path / "traj.dump", "positions", REAL).read(0, 1)
    # bounds are those around the tilted cell: its first edge is 12 - 2
    np.testing.assert_allclose(block.cell[0], [[10.0, 0.0, 0.0], [2.0, 8.0, 0.0], [0.0, 0.0, 6.0]])
    np.testing.assert_allclose(block.positions[0, 0], [1.0 + 10.0 - 2.0, 2.0 - 8.0, 3.0 + 12.0])


def test_a_dump_without_stated_units_is_refused(tmp_path):
    files.write_lammps(tmp_path / "traj.dump", FRAMES, units=False)
    with pytest.raises(InputError, match=r"units of .* are not stated"):
        open_frame_file(tmp_path / "traj.dump", "positions", FileHints())


def test_a_dump_that_states_other_units_is_refused(tmp_path):
    files.write_lammps(tmp_path / "traj.dump", FRAMES)
    with pytest.raises(InputError, match="says that its units are 'real'"):
        open_frame_file(tmp_path / "traj.dump", "positions", FileHints(units=unit_style("metal")))


def test_a_dump_without_atom_ids_is_refused(tmp_path):
    files.write_lammps(tmp_path / "traj.dump", FRAMES, columns="x y z fx fy fz")
    with pytest.raises(InputError, match="no column 'id'"):
        open_frame_file(tmp_path / "traj.dump", "positions", FileHints())


def test_an_h5md_file_without_units_needs_them_stated(tmp_path):
    files.write_h5md(tmp_path / "traj.h5", FRAMES, units=False)
    with pytest.raises(InputError, match="no unit attributes"):
        open_frame_file(tmp_path / "traj.h5", "positions", FileHints())


def test_arrays_without_units_are_refused(tmp_path):
    files.write_npz(tmp_path / "traj.npz", FRAMES)
    with pytest.raises(InputError, match=r"units of .* are not stated"):
        open_frame_file(tmp_path / "traj.npz", "positions", FileHints())


def test_an_array_of_python_objects_is_refused(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickle"):
        open_frame_file(tmp_path / "bad.npy", "positions", GROMACS)


def test_a_truncated_npy_file_says_so(tmp_path):
    np.save(tmp_path / "x.npy", FRAMES.positions)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-1])
    file = open_frame_file(tmp_path / "x.npy", "positions", GROMACS)
    assert file.n_frames == 6
    assert "promises 7" in file.damage


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.trr", b"", "is empty"),
        ("a.trr", b"not a trajectory at all, but long enough for a header " * 4, "starts with 1993"),
        ("a.xtc", b"\0" * 200, "starts with 1995"),
        ("a.dump", b"hello\n", "ITEM: TIMESTEP"),
        ("a.nc", b"hello\n", "NetCDF"),
        ("a.dcd", b"hello\n" * 40, "DCD"),
        ("a.h5", b"hello\n", "damaged"),
        ("a.xyz", b"hello\n", "expected the number of atoms"),
        ("a.npz", b"hello\n", "npz"),
        ("a.foo", b"hello\n", "format of .* is not known"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_frame_file(tmp_path / name, "positions", REAL)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_frame_file(tmp_path / "none.trr", "positions", FileHints())
    (tmp_path / "folder.trr").mkdir()
    with pytest.raises(InputError, match="folder"):
        open_frame_file(tmp_path / "folder.trr", "positions", FileHints())


@pytest.mark.parametrize("text", ["kJ mol-1 nm-1", "kJ/mol/nm", "kilojoule/mole/nanometer"])
def test_a_unit_is_understood_in_its_usual_spellings(text):
    assert parse_unit(text, FORCES, what="force", where="here") == 1.0


def test_an_unknown_unit_is_refused():
    with pytest.raises(InputError, match="unit of force is 'furlong'"):
        parse_unit("furlong", LENGTHS, what="force", where="here")


def test_unit_styles_follow_from_the_definitions():
    real: FileUnits = unit_style("real")
    # 1 kcal/mol/A = 4.184 kJ/mol / 0.1 nm; 1 A/fs = 0.1 nm / 1e-3 ps
    assert (real.length, real.force, real.time, real.velocity) == pytest.approx((0.1, 41.84, 1e-3, 100.0))
    argon = reduced_units(length=0.34, energy=1.0, mass=40.0)
    assert argon.time == pytest.approx(0.34 * 40.0**0.5)
    assert argon.force == pytest.approx(1.0 / 0.34)
