"""Every set of the third-party data reads with the frames, atoms and units that its README states.

That units are right is not taken from the README but from the numbers: the forces of a canonical ensemble obey an
identity with the positions (`beadsmith.importing.unit_check`), and a slip of units is a factor of at least 4.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.geometry import minimum_image
from beadsmith.importing.run import import_reference, survey_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.io.h5md import read_trajectory
from beadsmith.io.topology_files import read_topology_file
from beadsmith.trajectory import StatePoint

pytestmark = pytest.mark.external

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
STATE = StatePoint(temperature=300.0)
REAL = FileUnitSettings(style="real")
DEEPMD_SETS = ("data_0/set.000", "data_1/set.000", "data_1/set.001", "data_2/set.000", "data_3/set.000")


def at(*names):
    """Return the paths of files of the data folder, or skip."""
    for name in names:
        if not (DATA / name).is_file():
            pytest.skip(f"no external data at '{DATA / name}' (set BEADSMITH_DATA)")
    return tuple(str(DATA / name) for name in names)


def propane():
    (trajectory, topology) = at("propane-aa-votca/traj.trr", "propane-aa-votca/topol.top")
    return ReferenceSettings(files=(trajectory,), topology=topology, periodic=False)


def propane_from_gro():
    (trajectory, topology) = at("propane-aa-votca/traj.trr", "propane-aa-votca/conf.gro")
    return ReferenceSettings(files=(trajectory,), topology=topology)


def methanol_trr():
    bead = MoleculeSites(name="MeOH", count=1000, names=("MeOH",), masses=(32.04,))
    return ReferenceSettings(files=at("methanol-reweight-mscg/example_32.trr"), molecules=(bead,))


def methanol_dump():
    return ReferenceSettings(files=at("methanol-cg-mscg/MeOH_example.dat"), format="lammps", units=REAL)


def two_beads():
    beads = MoleculeSites(name="AA", names=("A", "A"), masses=(10.0, 10.0), bonds=((1, 2),))
    files = at("bond-cg-mscg/bond_example.dat")
    return ReferenceSettings(files=files, format="lammps", units=REAL, molecules=(beads,))


def spce():
    water = MoleculeSites(name="SOL", count=216, names=("OW", "HW1", "HW2"), bonds=((1, 2), (1, 3)))
    return ReferenceSettings(files=at("spce-aa-votca/frame.dump"), units=REAL, molecules=(water,))


def image_flags():
    (dump, data) = at("lammpsdump-mdanalysis/image_vf.lammpstrj", "lammpsdump-mdanalysis/image_vf.data")
    units = FileUnitSettings(style="lj", lj_length=0.34, lj_energy=0.996, lj_mass=39.95)
    return ReferenceSettings(files=(dump,), topology=data, units=units, constraints="none")


def acetyl_in_water():
    (trajectory, topology) = at("netcdf-aa-mdanalysis/ace_tip3p.nc", "netcdf-aa-mdanalysis/ace_tip3p.parm7")
    return ReferenceSettings(files=(trajectory,), topology=topology)


def peptide():
    (trajectory, topology) = at("netcdf-aa-mdanalysis/posfor.ncdf", "netcdf-aa-mdanalysis/posfor.top")
    return ReferenceSettings(files=(trajectory,), topology=topology, constraints="h_bonds")


def alanine():
    (arrays, topology) = at("alanine-aa-proteka/ala2_all_atom.npz", "alanine-aa-proteka/ala2_all_atom.pdb")
    return ReferenceSettings(files=(arrays,), topology=topology, units=REAL)


def alanine_beads():
    (positions, forces) = at("alanine-cg-cgnet/ala2_coordinates.npy", "alanine-cg-cgnet/ala2_forces.npy")
    bonds = ((1, 2), (2, 3), (3, 4), (4, 5))
    beads = MoleculeSites(name="ALA", names=("C", "N", "CA", "C", "N"), bonds=bonds)
    return ReferenceSettings(files=(positions,), forces=(forces,), units=REAL, molecules=(beads,))


def water_dimer():
    water = MoleculeSites(name="HOH", count=2, names=("O", "H", "H"), bonds=((1, 2), (1, 3)))
    units = FileUnitSettings(style="gromacs")
    return ReferenceSettings(files=at("waterdimer-aggforce/waterdimer.npz"), units=units, molecules=(water,))


def deepmd_water():
    def all_of(name):
        return at(*(f"water-aa-deepmd/{part}/{name}.npy" for part in DEEPMD_SETS))

    return ReferenceSettings(
        files=all_of("coord"),
        forces=all_of("force"),
        cells=all_of("box"),
        topology=at("water-aa-deepmd/data_0/type.raw")[0],
        units=FileUnitSettings(style="metal"),
    )


# settings, frames, atoms, molecules, bonds, constraints, edges of the first cell [nm]
SETS = {
    "propane": (propane, 1001, 11, 1, 10, 0, None),
    "propane_from_gro": (propane_from_gro, 1001, 11, 1, 10, 0, (5.0, 5.0, 5.0)),
    "methanol_trr": (methanol_trr, 32, 1000, 1000, 0, 0, (4.13834,) * 3),
    "methanol_dump": (methanol_dump, 20, 1000, 1000, 0, 0, (4.13834,) * 3),
    "two_beads": (two_beads, 1001, 2, 1, 1, 0, (1.0,) * 3),
    "spce": (spce, 1, 648, 216, 432, 648, (1.86206,) * 3),
    "image_flags": (image_flags, 3, 7, 6, 1, 0, (3.4,) * 3),
    # parm7 bonds the hydrogens of each water; of the acetyl all three C-H are rigid
    "acetyl_in_water": (acetyl_in_water, 10, 1398, 465, 1397, 1395, (2.88188, 2.82788, 2.77262)),
    "peptide": (peptide, 2, 442, 1, 444, 220, None),
    "alanine": (alanine, 2000, 22, 1, 21, 12, None),
    "alanine_beads": (alanine_beads, 10000, 5, 1, 4, 0, None),
    "water_dimer": (water_dimer, 500, 6, 2, 4, 0, None),
    "deepmd_water": (deepmd_water, 400, 192, 64, 128, 0, (1.2444661,) * 3),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_reads_with_the_frames_shapes_and_cell_of_its_readme(tmp_path, name):
    make, n_frames, n_atoms, n_molecules, n_bonds, n_constraints, edges = SETS[name]
    summary = import_reference(make(), STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    assert (reference.n_frames, reference.n_sites) == (n_frames, n_atoms)
    assert (summary["n_molecules"], summary["n_bonds"]) == (n_molecules, n_bonds)
    assert summary["n_constraints"] == n_constraints
    if edges is None:
        assert reference.cell is None
    else:
        np.testing.assert_allclose(np.diag(reference.cell[0]), edges, rtol=2e-5)


# of the others: one frame, two frames, three frames, a constant-energy run, and stiff bonds over too few frames
JUDGED = ("propane", "methanol_trr", "methanol_dump", "acetyl_in_water", "alanine", "deepmd_water")


@pytest.mark.parametrize("name", JUDGED)
def test_forces_are_in_the_units_of_the_readme(name):
    survey = survey_reference(SETS[name][0](), STATE)
    (verdict,) = [verdict for verdict in survey.verdicts if verdict.quantity == "forces"]
    # temperatures of three sets are not stated, and sets are short: within 20 % and three standard errors of 1
    assert abs(verdict.ratio - 1.0) < 0.2 + 3.0 * verdict.error
    assert verdict.error < 0.2


@pytest.mark.parametrize(
    ("name", "units", "cause"),
    [
        ("methanol_dump", FileUnitSettings(style="metal"), "kcal/mol were taken for eV"),
        (
            "methanol_dump",
            FileUnitSettings(length="angstrom", force="kJ/mol/angstrom"),
            "kcal/mol were taken for kJ/mol",
        ),
        (
            "methanol_dump",
            FileUnitSettings(length="angstrom", force="kcal/mol/nm"),
            "per angstrom were taken for forces",
        ),
        ("deepmd_water", FileUnitSettings(style="real"), "eV were taken for kcal/mol"),
        ("alanine", FileUnitSettings(style="gromacs"), "angstrom, but were taken for nm"),
    ],
)
def test_wrong_units_are_refused_with_the_cause(name, units, cause):
    with pytest.raises(InputError, match=cause):
        survey_reference(replace(SETS[name][0](), units=units), STATE)


def test_the_two_methanol_sets_have_the_same_forces(tmp_path):
    sizes = []
    for name in ("methanol_trr", "methanol_dump"):
        import_reference(SETS[name][0](), STATE, tmp_path / f"{name}.h5", identity="a")
        sizes.append(float(np.sqrt(np.mean(read_trajectory(tmp_path / f"{name}.h5").forces ** 2))))
    # the same system sampled twice, 32,000 and 20,000 sites: the README says that they match after conversion
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("name", ["spce", "deepmd_water", "acetyl_in_water"])
def test_molecules_are_whole(tmp_path, name):
    import_reference(SETS[name][0](), STATE, tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    first, second = reference.topology.bonds.T
    direct = reference.positions[:, first] - reference.positions[:, second]
    np.testing.assert_allclose(direct, minimum_image(direct, reference.cell), atol=1e-5)


def test_velocities_of_amber_give_the_temperature():
    survey = survey_reference(acetyl_in_water(), STATE)
    (verdict,) = [verdict for verdict in survey.verdicts if verdict.quantity == "velocities"]
    # "about 300 K, first frame still warming up"
    assert verdict.ratio == pytest.approx(1.0, abs=0.05)


def test_image_flags_unwrap_and_rows_are_sorted(tmp_path):
    import_reference(image_flags(), StatePoint(temperature=120.0), tmp_path / "reference.h5", identity="a")
    reference = read_trajectory(tmp_path / "reference.h5")
    # the bond of this set has length 1 in its units; k = 1000 kT keeps it within 10 %
    bond = reference.positions[:, 0] - reference.positions[:, 1]
    np.testing.assert_allclose(np.linalg.norm(bond, axis=1) / 0.34, 1.0, atol=0.1)


def test_nothing_was_written_into_the_data_folder():
    assert not [path for path in DATA.rglob(".*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "n_atoms", "n_bonds", "n_residues"),
    [
        ("hexane-aa-votca/conf.gro", 20000, None, 6000),
        ("methanol-aa-votca/conf.gro", 6000, None, 1000),
        ("methanol-aa-votca/methanol_opls.itp", 6, 5, 1),
        ("propane-aa-votca/topol.top", 11, 10, 1),
        ("alanine-aa-proteka/ala2_all_atom.pdb", 22, None, 3),
        ("netcdf-aa-mdanalysis/ace_tip3p.parm7", 1398, 1397, 465),
        ("netcdf-aa-mdanalysis/posfor.top", 442, 444, 29),
        ("lammpsdump-mdanalysis/image_vf.data", 7, 1, None),
        ("water-aa-deepmd/data_0/type.raw", 192, None, None),
    ],
)
def test_a_topology_reads_with_the_atoms_of_its_readme(name, n_atoms, n_bonds, n_residues):
    sites = read_topology_file(Path(at(name)[0]))
    assert sites.n_sites == n_atoms
    assert n_bonds == (None if sites.bonds is None else len(sites.bonds))
    assert n_residues == (None if sites.residue_names is None else len(sites.residue_names))


def test_mapped_frames_without_forces_are_refused():
    settings = replace(spce(), files=at("spce-aa-votca/frame_cg.dump"))
    with pytest.raises(InputError, match="holds no forces in any of its 1 frames"):
        survey_reference(settings, STATE)
