"""Every engine against beadsmith's own energies and forces, and the exported folders as a user runs them."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from beadsmith.errors import InputError
from beadsmith.export.ase import build_ase_atoms, build_ase_calculator, export_ase
from beadsmith.export.evaluator import build_evaluator
from beadsmith.export.openmm import build_openmm_system, export_openmm
from beadsmith.export.single_point import compute_single_point
from beadsmith.force_field import ForceField, ForceFieldRecord, save_force_field
from beadsmith.io.h5md import write_trajectory
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint
from beadsmith.units import ANGSTROM, ELECTRONVOLT
from example_force_fields import make_frames
from example_systems import CELLS

TYPES, MASSES = ("methanol", "benzene"), np.array([32.04, 78.11])


@pytest.fixture(scope="module")
def force_field():
    """Return a prior and a network on two bead types, as a training run would write it."""
    prior = ExponentialRepulsion(
        TYPES, joining_distances=(0.3, 0.35, 0.4), joining_forces=(400.0,) * 3, decays=(50.0,) * 3, cutoff=0.6
    )
    # wider than the fused kernels, which would be compiled for half of the test's time
    settings = HipnnSettings(cutoff=0.7, soft_max=0.6, n_features=65, n_sensitivities=6)
    network = build_network(settings, TYPES, torch.Generator().manual_seed(1))
    templates = tuple(build_bead_topology(type_names=TYPES, types=np.array([t]), masses=MASSES) for t in (0, 1))
    record = ForceFieldRecord(templates=templates, state_points=(StatePoint(temperature=310.0),))
    return ForceField([prior], network, record)


def make_mixture(cell, n_sites=48, seed=3):
    """Return beads on a jittered lattice in any cell, or in open space, some of them outside the cell."""
    rng = np.random.default_rng(seed)
    fractions = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), axis=-1).reshape(-1, 3)[:n_sites]
    positions = (fractions + rng.normal(scale=0.02, size=(n_sites, 3))) @ (np.eye(3) * 1.8 if cell is None else cell)
    return make_frames(positions[None], cell=cell, types=rng.integers(0, 2, n_sites), type_names=TYPES, masses=MASSES)


@pytest.mark.parametrize("cell", [*CELLS, None])
@pytest.mark.parametrize("engine", ["openmm", "ase"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_energy_and_forces_equal_ours(force_field, cell, engine, precision, tolerance):
    frame = make_mixture(None if cell is None else CELLS[cell])
    if engine == "openmm" and cell == "triclinic":
        # OpenMM wants reduced vectors, which this cell has: b_y > 0 and off-diagonal at most half the diagonal
        assert abs(CELLS[cell][1, 0]) <= CELLS[cell][0, 0] / 2
    ours = compute_single_point(force_field, frame, precision=precision)
    theirs = compute_single_point(force_field, frame, engine=engine, precision=precision)
    assert abs(ours.energy) > 1.0
    assert theirs.energy == pytest.approx(ours.energy, rel=tolerance)
    np.testing.assert_allclose(theirs.forces, ours.forces, rtol=0.0, atol=tolerance * np.abs(ours.forces).max())


def test_stress_is_the_strain_derivative_of_the_energy(force_field):
    frame = make_mixture(CELLS["triclinic"])
    atoms = build_ase_atoms(frame)
    atoms.calc = build_ase_calculator(force_field, frame, precision="float64")
    stress = atoms.get_stress(voigt=False)
    step = 1e-6
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]:
        energies = []
        for sign in (1.0, -1.0):
            strain = np.eye(3)
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2.0 * step) / atoms.get_volume()
        # a central difference of 1e-6 in double precision is good to about 1e-7 of the stress
        assert stress[a, b] == pytest.approx(slope, rel=1e-5, abs=1e-9), (a, b)


def test_ase_units_are_electronvolt_and_angstrom(force_field):
    ase_units = pytest.importorskip("ase.units")
    # ASE's constants are of 2014, ours exact: they agree to 1e-7
    assert pytest.approx(ase_units.mol / ase_units.kJ, rel=1e-7) == ELECTRONVOLT
    frame = make_mixture(CELLS["cubic"])
    atoms = build_ase_atoms(frame)
    np.testing.assert_allclose(atoms.positions * ANGSTROM, frame.positions[0], rtol=1e-6)
    np.testing.assert_allclose(atoms.get_masses(), frame.topology.masses)


def test_the_evaluator_follows_sites_that_move_jump_and_change_their_cell(force_field):
    frame = make_mixture(CELLS["triclinic"])
    evaluate = build_evaluator(force_field, frame, precision="float64")
    rng = np.random.default_rng(5)
    positions, cell = frame.positions[0].astype(float), frame.cell[0].astype(float)
    for change in ("start", "small", "small", "far", "image", "cell"):
        if change == "small":
            positions = positions + rng.normal(scale=0.01, size=positions.shape)
        elif change == "far":
            positions = positions + rng.normal(scale=0.05, size=positions.shape)
        elif change == "image":
            positions = positions + rng.integers(-3, 4, size=positions.shape) @ cell
        elif change == "cell":
            positions, cell = 1.01 * positions, 1.01 * cell
        prediction = evaluate(positions, cell)
        fresh = build_evaluator(force_field, frame, precision="float64")(positions, cell)
        # images of a float64 position differ by rounding
        torch.testing.assert_close(prediction.energy, fresh.energy, rtol=1e-10, atol=0.0)
        torch.testing.assert_close(prediction.forces, fresh.forces, rtol=0.0, atol=1e-7)


def test_openmm_conserves_energy_with_our_forces(force_field):
    frame = make_mixture(CELLS["cubic"])
    system, topology = build_openmm_system(force_field, frame, precision="float64")
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.001), platform)
    simulation.context.setPositions(frame.positions[0].astype(float))
    # relaxed first: the random start has energy to lose
    simulation.minimizeEnergy(maxIterations=30)
    simulation.context.setVelocitiesToTemperature(100.0, 1)
    energies = []
    for _ in range(20):
        simulation.step(5)
        state = simulation.context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        energies.append(total.value_in_unit(unit.kilojoule_per_mole))
    # kinetic energy is about 60 kJ/mol; OpenMM's leapfrog kinetic energy fluctuates with the forces
    assert np.std(energies) < 0.05


def test_openmm_topology_holds_names_cell_and_one_chain_a_molecule(force_field):
    frame = make_mixture(CELLS["triclinic"])
    system, topology = build_openmm_system(force_field, frame)
    assert topology.getNumAtoms() == frame.n_sites
    assert topology.getNumChains() == frame.topology.n_molecules
    assert [atom.name for atom in topology.atoms()] == list(frame.topology.names)
    vectors = topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    np.testing.assert_allclose(np.array(vectors), frame.cell[0], rtol=1e-6)
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(frame.n_sites)]
    np.testing.assert_allclose(masses, frame.topology.masses)


def test_no_openmm_system_can_be_written_as_a_pickle(force_field):
    system, _ = build_openmm_system(force_field, make_mixture(CELLS["cubic"]))
    with pytest.raises(Exception, match=r"pickle|serializ"):
        openmm.XmlSerializer.serialize(system)


def test_molecules_of_several_beads_get_no_stress(force_field):
    frame = make_mixture(CELLS["cubic"])
    molecule = np.arange(frame.n_sites) // 2
    topology = replace(frame.topology, molecule_index=molecule, types=np.zeros(frame.n_sites, dtype=np.int64))
    pair = build_bead_topology(type_names=TYPES, types=np.array([0, 0]), masses=MASSES)
    pair = replace(pair, molecule_index=np.array([0, 0]))
    dimers = ForceField(
        list(force_field.prior), None, replace(force_field.record, templates=(*force_field.record.templates, pair))
    )
    calculator = build_ase_calculator(dimers, replace(frame, topology=topology))
    assert "stress" not in calculator.implemented_properties


def test_atoms_of_another_number_or_half_periodic_are_refused(force_field):
    frame = make_mixture(CELLS["cubic"])
    atoms = build_ase_atoms(frame)
    atoms.calc = build_ase_calculator(force_field, frame)
    atoms.pbc = [True, True, False]
    with pytest.raises(InputError, match="periodic in all directions or in none"):
        atoms.get_potential_energy()
    fewer = build_ase_atoms(frame)[:-1]
    fewer.calc = atoms.calc
    with pytest.raises(InputError, match="made for 48 beads, the atoms are 47"):
        fewer.get_potential_energy()


def test_without_ase_the_error_says_how_to_install_it(force_field, monkeypatch):
    monkeypatch.setitem(sys.modules, "ase", None)
    with pytest.raises(InputError, match=r"pip install 'beadsmith\[ase\]'"):
        build_ase_calculator(force_field, make_mixture(CELLS["cubic"]))


def test_an_unknown_engine_is_refused_with_the_known_ones(force_field):
    with pytest.raises(InputError, match="'gromacs', expected one of beadsmith, openmm, ase"):
        compute_single_point(force_field, make_mixture(CELLS["cubic"]), engine="gromacs")


def test_beads_that_the_force_field_does_not_know_are_refused(force_field):
    frame = make_mixture(CELLS["cubic"])
    foreign = replace(frame, topology=replace(frame.topology, type_names=("methanol", "water")))
    with pytest.raises(InputError, match="'water' is not in the force field"):
        build_openmm_system(force_field, foreign)


@pytest.fixture(scope="module")
def sources(force_field, tmp_path_factory):
    """Return a force field folder and a trajectory file."""
    folder = tmp_path_factory.mktemp("sources")
    save_force_field(ForceField(list(force_field.prior), None, force_field.record), folder / "force_field")
    write_trajectory(folder / "mapped.h5", make_mixture(CELLS["triclinic"]))
    return folder / "force_field", folder / "mapped.h5"


@pytest.mark.parametrize(
    ("export", "trajectory", "printed"),
    [(export_openmm, "trajectory.dcd", "Temperature"), (export_ase, "trajectory.traj", "temperature")],
)
def test_an_exported_folder_runs_where_it_is_moved(sources, tmp_path, export, trajectory, printed):
    script = export(*sources, tmp_path / "made")
    (tmp_path / "made").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / script.name
    done = subprocess.run([sys.executable, str(moved), "80"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
    assert (tmp_path / "moved" / trajectory).stat().st_size > 0
    assert "310.0" in moved.read_text()


def test_an_exported_folder_holds_no_pickle(sources, tmp_path):
    export_openmm(*sources, tmp_path / "made")
    for path in (tmp_path / "made").rglob("*"):
        if path.is_file():
            with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)):
                pickle.loads(path.read_bytes())
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert names == {"run_openmm.py", "start.h5", "start.pdb", "force_field"}


def test_the_pdb_start_is_the_frame(sources, tmp_path):
    export_openmm(*sources, tmp_path / "made")
    pdb = app.PDBFile(str(tmp_path / "made" / "start.pdb"))
    positions = np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    # PDB has three decimals in Å
    np.testing.assert_allclose(positions, make_mixture(CELLS["triclinic"]).positions[0], atol=6e-5)


@pytest.mark.parametrize("frame", [1, -2])
def test_a_frame_that_does_not_exist_is_refused(sources, tmp_path, frame):
    with pytest.raises(InputError, match="has 1 frames"):
        export_openmm(*sources, tmp_path / "made", frame=frame)


def test_a_temperature_that_is_not_positive_is_refused(sources, tmp_path):
    with pytest.raises(InputError, match="temperature is -5 K"):
        export_ase(*sources, tmp_path / "made", temperature=-5.0)


def test_an_output_that_is_a_file_is_refused(sources, tmp_path):
    (tmp_path / "made").write_text("")
    with pytest.raises(InputError, match="cannot be used"):
        export_openmm(*sources, tmp_path / "made")
