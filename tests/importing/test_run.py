"""From files of other programs to a reference: equal frames, whole molecules, and clear refusals."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import example_files as files
from beadsmith.errors import InputError
from beadsmith.geometry import minimum_image
from beadsmith.importing import run
from beadsmith.importing.run import import_reference, survey_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.topology import group_equal_molecules
from beadsmith.trajectory import StatePoint

STATE = StatePoint(temperature=files.TEMPERATURE)
FRAMES = files.spring_waters(n_frames=60)
WATER = MoleculeSites(name="HOH", count=8, names=("O", "H", "H"), bonds=((1, 2), (1, 3)))
GROMACS = FileUnitSettings(style="gromacs")
BONDS = [[3 * m, 3 * m + k] for m in range(8) for k in (1, 2)]


def settings_for(folder, name):
    """Write the files of one case and return its settings."""
    path = folder / name
    match name:
        case "gro.trr" | "pdb.trr" | "top.trr" | "psf.trr":
            kind = name[:3]
            files.write_trr(path, FRAMES)
            getattr(files, f"write_{kind}")(folder / f"topology.{kind}", FRAMES)
            return ReferenceSettings(files=(str(path),), topology=str(folder / f"topology.{kind}"))
        case "waters.dump":
            files.write_lammps(path, FRAMES)
            files.write_lammps_data(folder / "waters.data", FRAMES)
            return ReferenceSettings(files=(str(path),), topology=str(folder / "waters.data"))
        case "waters.nc":
            files.write_amber(path, FRAMES)
            return ReferenceSettings(files=(str(path),), molecules=(WATER,))
        case "waters.h5":
            files.write_h5md(path, FRAMES)
            return ReferenceSettings(files=(str(path),), molecules=(WATER,))
        case "waters.xyz":
            files.write_extxyz(path, FRAMES)
            return ReferenceSettings(files=(str(path),))
        case "waters.npz":
            files.write_npz(path, FRAMES)
            return ReferenceSettings(files=(str(path),), molecules=(WATER,), units=GROMACS)
        case "waters.dcd" | "waters.xtc":
            if name.endswith("dcd"):
                files.write_dcd(path, 10.0 * FRAMES.positions, cell=10.0 * FRAMES.cell)
            else:
                files.write_xtc(path, FRAMES)
            np.save(folder / "forces.npy", FRAMES.forces)
            units = FileUnitSettings(force="kJ/mol/nm")
            return ReferenceSettings(
                files=(str(path),), forces=(str(folder / "forces.npy"),), molecules=(WATER,), units=units
            )
    raise AssertionError(name)


CASES = (
    "gro.trr", "pdb.trr", "top.trr", "psf.trr", "waters.dump", "waters.nc", "waters.h5", "waters.xyz", "waters.npz",
    "waters.dcd", "waters.xtc",
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_format_gives_the_same_reference(tmp_path, name):
    settings = settings_for(tmp_path, name)
    summary = import_reference(settings, STATE, tmp_path / "out" / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "out" / "reference.h5")
    assert (summary["n_frames"], summary["n_atoms"], summary["n_molecules"]) == (60, 24, 8)
    # a TRR frame is in single precision; XTC here rounds to 1e-4 nm
    rounding = 6e-5 if name == "waters.xtc" else 2e-6
    # LAMMPS has its box about the origin: positions agree up to one shift
    shift = 0.5 if name == "waters.dump" else 0.0
    differences = minimum_image(reference.positions - FRAMES.whole + shift, FRAMES.cell)
    np.testing.assert_allclose(differences, 0.0, atol=rounding)
    np.testing.assert_allclose(reference.forces, FRAMES.forces, atol=2e-3)
    np.testing.assert_allclose(reference.cell, FRAMES.cell, rtol=1e-6)
    assert reference.topology.bonds.tolist() == BONDS
    assert reference.topology.elements == ("O", "H", "H") * 8
    assert len(reference.topology.constraints) == 0
    np.testing.assert_allclose(reference.topology.masses, np.tile(files.MASSES, 8), atol=1e-3)
    assert [kind.n_molecules for kind in group_equal_molecules(reference.topology)] == [8]


@pytest.mark.parametrize("name", CASES)
def test_molecules_are_whole_and_begin_in_the_cell(tmp_path, name):
    import_reference(settings_for(tmp_path, name), STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    positions, edge = reference.positions.reshape(60, 8, 3, 3), FRAMES.cell[0, 0, 0]
    # no atom of a water is farther than 0.2 nm from another, in a cell of 1 nm
    assert np.ptp(positions, axis=2).max() < 0.2
    assert positions[:, :, 0].min() > -1e-5
    assert positions[:, :, 0].max() < edge + 1e-5
    # in the files some are cut
    assert np.ptp(FRAMES.positions.reshape(60, 8, 3, 3), axis=2).max() > 0.5


@pytest.mark.parametrize("name", ["gro.trr", "waters.xtc"])
def test_nothing_is_written_beside_the_files(tmp_path, name):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    settings = settings_for(source, name)
    before = sorted(entry.name for entry in source.iterdir())
    import_reference(settings, STATE, target / "reference.h5", identity="a")
    assert sorted(entry.name for entry in source.iterdir()) == before
    assert [entry.name for entry in target.iterdir()] == ["reference.h5"]


def test_times_and_velocities_are_kept(tmp_path):
    import_reference(settings_for(tmp_path, "gro.trr"), STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    np.testing.assert_allclose(reference.times, FRAMES.times, atol=1e-5)
    np.testing.assert_allclose(reference.velocities, FRAMES.velocities, atol=1e-5)


def test_times_that_go_back_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_SITES_PER_BLOCK", 24 * 60)
    settings = settings_for(tmp_path, "gro.trr")
    single = import_reference(settings, STATE, tmp_path / "single.h5", identity="a")
    path = tmp_path / "gro.trr"
    path.write_bytes(path.read_bytes() * 2)
    twice = import_reference(settings, STATE, tmp_path / "twice.h5", identity="b")
    assert not any("do not increase" in notice for notice in single["notices"])
    assert any("0 ps follows 11.8 ps" in notice for notice in twice["notices"])


def test_files_become_segments_and_frames_can_be_thinned(tmp_path):
    settings = settings_for(tmp_path, "gro.trr")
    twice = replace(settings, files=settings.files * 2, discard=10, stride=3, frame_interval=0.5)
    import_reference(twice, STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    frames = np.arange(10, 60, 3)
    assert reference.segment.tolist() == [0] * len(frames) + [1] * len(frames)
    np.testing.assert_allclose(reference.times, np.tile(0.5 * frames, 2))
    np.testing.assert_allclose(reference.forces[: len(frames)], FRAMES.forces[frames], atol=2e-3)


def test_atoms_of_a_molecule_that_lie_apart_in_the_file_are_brought_together(tmp_path):
    order = np.arange(24).reshape(8, 3).T.ravel()
    for name, values in (("coord", FRAMES.positions), ("force", FRAMES.forces), ("box", FRAMES.cell)):
        values = values[:, order] if name != "box" else values
        np.save(tmp_path / f"{name}.npy", values.reshape(60, -1))
    (tmp_path / "type.raw").write_text("0\n" * 8 + "1\n" * 16)
    (tmp_path / "type_map.raw").write_text("O H\n")
    settings = ReferenceSettings(
        files=(str(tmp_path / "coord.npy"),),
        forces=(str(tmp_path / "force.npy"),),
        cells=(str(tmp_path / "box.npy"),),
        topology=str(tmp_path / "type.raw"),
        units=GROMACS,
    )
    import_reference(settings, STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    np.testing.assert_allclose(reference.forces, FRAMES.forces, atol=2e-3)
    assert reference.topology.bonds.tolist() == BONDS
    assert set(reference.topology.residue_names) == {"H2O"}


@pytest.mark.parametrize("force", [0.0, 1.0])
def test_virtual_sites_are_left_out_if_they_carry_no_force(tmp_path, force):
    def with_site(values, filling):
        waters = values.reshape(60, 8, 3, 3)
        fourth = waters[:, :, :1] + 0.01 if filling is None else np.full((60, 8, 1, 3), filling)
        return np.concatenate([waters, fourth], axis=2).reshape(60, 32, 3)

    np.savez(
        tmp_path / "four.npz",
        positions=with_site(FRAMES.positions, None),
        forces=with_site(FRAMES.forces, force),
        cell=FRAMES.cell,
    )
    water = MoleculeSites(
        name="HOH", count=8, names=("O", "H", "H", "M"), masses=(15.999, 1.008, 1.008, 0.0), bonds=((1, 2), (1, 3))
    )
    settings = ReferenceSettings(files=(str(tmp_path / "four.npz"),), molecules=(water,), units=GROMACS)
    if force:
        with pytest.raises(InputError, match="sites without mass carry forces"):
            survey_reference(settings, STATE)
        return
    import_reference(settings, STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    np.testing.assert_allclose(reference.forces, FRAMES.forces, atol=2e-3)
    assert reference.topology.bonds.tolist() == BONDS


def test_rigid_waters_get_their_constraints_from_the_data(tmp_path):
    files.write_trr(tmp_path / "rigid.trr", files.spring_waters(n_frames=60, is_rigid=True))
    settings = ReferenceSettings(files=(str(tmp_path / "rigid.trr"),), molecules=(WATER,))
    survey = survey_reference(settings, STATE)
    assert survey.topology.constraints.tolist() == [
        [3 * m + i, 3 * m + j] for m in range(8) for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert any("24 distances do not vary" in notice for notice in survey.notices)
    stated = survey_reference(replace(settings, constraints="h_bonds"), STATE)
    assert stated.topology.constraints.tolist() == survey.topology.constraints.tolist()


def test_a_reference_of_our_own_can_be_imported_again(tmp_path):
    import_reference(settings_for(tmp_path, "gro.trr"), STATE, tmp_path / "first.h5", identity="a")
    import_reference(
        ReferenceSettings(files=(str(tmp_path / "first.h5"),)), STATE, tmp_path / "second.h5", identity="b"
    )
    first, second = read_trajectory(tmp_path / "first.h5"), read_trajectory(tmp_path / "second.h5")
    np.testing.assert_allclose(second.positions, first.positions, atol=1e-6)
    assert second.topology.names == first.topology.names


def test_an_interrupted_import_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_SITES_PER_BLOCK", 24 * 7)
    settings = settings_for(tmp_path, "gro.trr")
    import_reference(settings, STATE, tmp_path / "whole.h5", identity="a")

    def interrupt(done, total, note=""):
        if done == 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_reference(settings, STATE, tmp_path / "reference.h5", identity="a", progress=interrupt)
    done = []
    import_reference(
        settings, STATE, tmp_path / "reference.h5", identity="a", progress=lambda n, total, note="": done.append(n)
    )
    assert done[0] == 28
    whole, resumed = read_trajectory(tmp_path / "whole.h5"), read_trajectory(tmp_path / "reference.h5")
    np.testing.assert_array_equal(resumed.positions, whole.positions)
    np.testing.assert_array_equal(resumed.times, whole.times)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_SITES_PER_BLOCK", 24 * 20)
    monkeypatch.setattr(run, "_MOST_SAMPLED", 20)
    peaks = []
    for n_frames in (200, 1600):
        files.write_trr(tmp_path / "traj.trr", files.spring_waters(n_frames=n_frames))
        settings = ReferenceSettings(files=(str(tmp_path / "traj.trr"),), molecules=(WATER,), constraints="none")
        tracemalloc.start()
        import_reference(settings, STATE, tmp_path / f"{n_frames}.h5", identity="a")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # offsets, times and the like: less than 200 bytes a frame, where a frame itself has 864
    assert peaks[1] - peaks[0] < 200 * 1400


def test_a_truncated_file_is_refused_or_used_as_far_as_it_goes(tmp_path):
    settings = settings_for(tmp_path, "gro.trr")
    path = tmp_path / "gro.trr"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="59 complete frames, and then: frame 59 is truncated"):
        survey_reference(settings, STATE)
    survey = survey_reference(replace(settings, damaged_end="skip"), STATE)
    assert survey.n_frames == 59
    assert any("frame 59 is truncated" in notice for notice in survey.notices)


def test_frames_without_forces_are_named_and_refused_or_left_out(tmp_path):
    settings = settings_for(tmp_path, "gro.trr")
    files.write_trr(tmp_path / "gro.trr", FRAMES, forces_every=2)
    with pytest.raises(InputError, match=r"30 of 60 frames of .* hold no forces: frames 1, 3, 5, 7, 9 and 25 more"):
        survey_reference(settings, STATE)
    import_reference(replace(settings, incomplete_frames="skip"), STATE, tmp_path / "reference.h5", identity="a")
    np.testing.assert_allclose(read_trajectory(tmp_path / "reference.h5").forces, FRAMES.forces[::2], atol=2e-3)


def test_a_file_without_any_forces_is_refused(tmp_path):
    settings = settings_for(tmp_path, "gro.trr")
    files.write_trr(tmp_path / "gro.trr", FRAMES, forces=False)
    with pytest.raises(InputError, match=r"no forces in any of its 60 frames.*nstfout"):
        survey_reference(settings, STATE)


def test_a_topology_of_other_atoms_is_refused(tmp_path):
    settings = settings_for(tmp_path, "gro.trr")
    files.write_gro(tmp_path / "topology.gro", files.spring_waters(n_molecules=5, n_frames=1))
    with pytest.raises(InputError, match=r"topology has 15 atoms, the frames of .* have 24"):
        survey_reference(settings, STATE)


def test_a_topology_of_the_same_atoms_in_another_order_is_refused(tmp_path):
    settings = settings_for(tmp_path, "waters.dump")
    text = (tmp_path / "waters.data").read_text().replace("\n4 2 1 0.0", "\n4 2 2 0.0")
    (tmp_path / "waters.data").write_text(text)
    with pytest.raises(InputError, match="atom 4 has type '2' in the topology and '1' in"):
        survey_reference(settings, STATE)


def test_forces_of_another_length_are_refused(tmp_path):
    settings = settings_for(tmp_path, "waters.xtc")
    np.save(tmp_path / "forces.npy", FRAMES.forces[:-1])
    with pytest.raises(InputError, match=r"holds 59 frames of 24 atoms, .* holds 60"):
        survey_reference(settings, STATE)


def test_a_value_that_is_not_finite_is_named(tmp_path):
    settings = settings_for(tmp_path, "waters.npz")
    broken = replace(FRAMES, forces=FRAMES.forces.copy())
    broken.forces[37, 2, 1] = np.nan
    files.write_npz(tmp_path / "waters.npz", broken)
    with pytest.raises(InputError, match=r"'forces' holds a value that is not finite .* in frame 37"):
        survey_reference(settings, STATE)


def test_units_that_the_format_fixes_cannot_be_stated_otherwise(tmp_path):
    settings = replace(settings_for(tmp_path, "gro.trr"), units=FileUnitSettings(style="real"))
    with pytest.raises(InputError, match=r"unit of length .* is nm, kJ/mol/nm, ps .* the settings say angstrom"):
        survey_reference(settings, STATE)


@pytest.mark.parametrize(
    ("units", "cause"),
    [
        (FileUnitSettings(length="nm", force="kcal/mol/nm"), "kJ/mol were taken for kcal/mol"),
        (FileUnitSettings(length="nm", force="kJ/mol/angstrom"), "forces per nm were taken for forces per angstrom"),
        (FileUnitSettings(length="nm", force="kcal/mol/angstrom"), "kJ/mol/nm were taken for kcal/mol/angstrom"),
        (FileUnitSettings(length="angstrom", force="kJ/mol/nm"), "nm, but were taken for angstrom"),
    ],
)
def test_a_wrong_unit_is_refused_with_its_likely_cause_or_warned_of(tmp_path, units, cause):
    settings = settings_for(tmp_path, "waters.npz")
    frames = files.spring_waters(n_frames=1500)
    files.write_npz(tmp_path / "waters.npz", frames)
    wrong = replace(settings, units=units)
    with pytest.raises(InputError, match=cause):
        survey_reference(wrong, STATE)
    if units.length == "nm":
        assert any(cause in notice for notice in survey_reference(replace(wrong, unit_check="warn"), STATE).notices)


def test_files_that_do_not_say_what_their_atoms_are_are_refused(tmp_path):
    settings = replace(settings_for(tmp_path, "gro.trr"), topology=None)
    with pytest.raises(InputError, match="does not say what its atoms are"):
        survey_reference(settings, STATE)


def test_beads_without_bonds_and_elements_are_refused_or_single(tmp_path):
    files.write_lammps(tmp_path / "beads.dump", FRAMES, columns="id type x y z fx fy fz")
    files.write_lammps_data(tmp_path / "beads.data", FRAMES)
    text = (tmp_path / "beads.data").read_text().replace("1 15.999", "1 72.5").replace("2 1.008", "2 54.3")
    (tmp_path / "beads.data").write_text(text.partition("\nBonds")[0].replace("16 bonds", "0 bonds"))
    settings = ReferenceSettings(
        files=(str(tmp_path / "beads.dump"),), topology=str(tmp_path / "beads.data"), unit_check="warn"
    )
    with pytest.raises(InputError, match="bonds are not known"):
        survey_reference(settings, STATE)
    survey = survey_reference(replace(settings, bonds="none"), STATE)
    assert survey.topology.n_molecules == 24
    assert survey.topology.elements is None


def test_a_vacuum_run_can_ignore_the_cell_of_its_file(tmp_path):
    files.write_trr(tmp_path / "one.trr", files.spring_waters(n_molecules=1, n_frames=60))
    water = replace(WATER, count=1)
    settings = ReferenceSettings(files=(str(tmp_path / "one.trr"),), molecules=(water,), periodic=False)
    # cut by the cell of its file, it cannot be put together without it
    with pytest.raises(InputError, match="units of lengths cannot be right"):
        survey_reference(settings, STATE)
    files.write_trr(tmp_path / "one.trr", replace(FRAMES, positions=FRAMES.whole))
    settings = replace(settings, molecules=(WATER,))
    import_reference(settings, STATE, tmp_path / "reference.h5", identity="a")
    with open_trajectory(tmp_path / "reference.h5") as stored:
        assert "cell" not in stored.fields


@pytest.mark.parametrize("text", ["Atoms", "Atoms # sphere"])
def test_a_data_file_of_unknown_atom_style_is_refused(tmp_path, text):
    settings = settings_for(tmp_path, "waters.dump")
    content = (tmp_path / "waters.data").read_text().replace("Atoms # full", text)
    content = content if "#" in text else content.replace(" 0.0 ", " ")
    (tmp_path / "waters.data").write_text(content)
    with pytest.raises(InputError, match="atom style"):
        survey_reference(settings, STATE)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.gro", "nonsense\nhere\n", "damaged or of another format"),
        ("a.tpr", "nonsense\n", "damaged or of another format"),
        ("a.foo", "nonsense\n", "format of the topology"),
        ("a.gro", "", "is empty"),
    ],
)
def test_a_topology_that_is_none_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    settings = replace(settings_for(tmp_path, "gro.trr"), topology=str(tmp_path / name))
    with pytest.raises(InputError, match=message):
        survey_reference(settings, STATE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"files": ()}, "files is empty"),
        ({"files": ("a", "b"), "forces": ("c",)}, "forces has 1 entries for 2"),
        ({"files": ("a",), "stride": 0}, "stride 0"),
        ({"files": ("a",), "topology": "b", "molecules": (WATER,)}, "both given"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        ReferenceSettings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "neither is given"),
        ({"style": "real", "length": "nm"}, "both are given"),
        ({"style": "lj"}, "no units of its own"),
        ({"style": "real", "lj_mass": 1.0}, "style lj alone"),
    ],
)
def test_units_that_do_not_fit_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        FileUnitSettings(**values)
