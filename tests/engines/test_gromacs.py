"""Equality with GROMACS: energies term by term and forces of one frame, and runs with GROMACS as the engine."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.gromacs_files import TrrFile
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.sampling.gromacs.inputs import Span, format_parameters, format_structure
from beadsmith.sampling.gromacs.program import (
    PARAMETERS,
    STRUCTURE,
    TOPOLOGY,
    prepare_run,
    require_gromacs,
    run_dynamics,
)
from beadsmith.sampling.gromacs.topology import format_topology
from beadsmith.sampling.run import sample
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.statistics import block_mean_and_error
from beadsmith.trajectory import StatePoint
from beadsmith.units import BAR, GAS_CONSTANT, GRAM_PER_CUBIC_CENTIMETRE
from example_kills import KilledError, kill_at

pytestmark = pytest.mark.skipif(shutil.which("gmx") is None, reason="GROMACS is not installed: no 'gmx' on the path")

# molecules, density [g/cm^3], cutoff [nm]: the cutoff and its buffer fit into half the box
LIQUIDS = {
    "methanol": ({"methanol": 64}, 0.785, 0.7),
    "hexane and benzene": ({"hexane": 10, "benzene": 10}, 0.75, 0.6),
    "water and methane": ({"water": 80, "methane": 4}, 0.9, 0.6),
}
METHANOL = SystemSettings(molecules=(MoleculeCount(name="methanol", count=64),))
STATE = StatePoint(temperature=300.0, density=0.785 * GRAM_PER_CUBIC_CENTIMETRE)
SHORT = SamplingSettings(
    engine="gromacs",
    equilibration=0.08,
    duration=0.32,
    save_interval=0.04,
    checkpoint_interval=0.16,
    cutoff=0.7,
    threads=1,
    platform="CPU",
)


def run_to(path, *, settings=SHORT, state=STATE, system=METHANOL, seed=1, **options):
    """Sample into a file and return it."""
    sample(settings, system, state, path, seed=seed, identity="test", **options)
    return path


def write_run(folder, settings, atoms, positions, span, **changes):
    """Write the files of a run, with some parameters changed, and let grompp read them."""
    cell = atoms.edge * np.eye(3)
    parameters = format_parameters(settings, span)
    for name, value in changes.items():
        name = name.replace("_", "-")
        kept = [line for line in parameters.splitlines() if not line.startswith(f"{name} =")]
        parameters = "\n".join([*kept, f"{name} = {value}", ""])
    (folder / PARAMETERS).write_text(parameters)
    (folder / TOPOLOGY).write_text(format_topology(atoms.system, atoms.topology))
    (folder / STRUCTURE).write_text(format_structure(atoms.topology, positions, np.zeros_like(positions), cell))
    prepare_run(require_gromacs(), folder)


def read_energies(log):
    """Return the terms of the first block of energies in a log [kJ/mol]; columns are 15 characters wide."""
    lines = log.read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.strip() == "Energies (kJ/mol)") + 1
    energies = {}
    while lines[first].strip():
        for column in range(0, len(lines[first]), 15):
            energies[lines[first][column : column + 15].strip()] = float(lines[first + 1][column : column + 15])
        first += 2
    return energies


def engine_energies(atoms, positions):
    """Return the energy of each force [kJ/mol] and the forces [kJ/mol/nm] of a configuration, in double precision.

    The tail of Lennard-Jones is an entry of its own.
    """
    system = openmm.XmlSerializer.clone(atoms.system)
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(positions)
    energies = {
        force.getName(): context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(system.getForces())
    }
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    lennard_jones = next(force for force in system.getForces() if isinstance(force, openmm.CustomNonbondedForce))
    lennard_jones.setUseLongRangeCorrection(False)
    context.reinitialize(preserveState=True)
    groups = {lennard_jones.getForceGroup()}
    truncated = context.getState(energy=True, groups=groups).getPotentialEnergy()._value
    energies["tail"] = energies["LennardJones"] - truncated
    return energies | {"LennardJones": truncated}, forces


def relax(atoms):
    """Return relaxed positions, rounded as GROMACS reads them; the packed start has no hydrogen bonds."""
    context = openmm.Context(
        atoms.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"}
    )
    context.setPositions(atoms.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 300)
    return np.round(context.getState(positions=True).getPositions(asNumpy=True)._value, 7)


@pytest.fixture(scope="module", params=LIQUIDS.values(), ids=LIQUIDS)
def both(request, tmp_path_factory):
    """Return energies and forces of one frame, from GROMACS and from OpenMM."""
    counts, density, cutoff = request.param
    system = SystemSettings(molecules=tuple(MoleculeCount(name=name, count=n) for name, n in counts.items()))
    # tight sums, so that the two meshes agree
    settings = SamplingSettings(cutoff=cutoff, ewald_tolerance=1e-5)
    atoms = build_system(
        system,
        density=density * GRAM_PER_CUBIC_CENTIMETRE,
        cutoff=cutoff,
        seed=1,
        ewald_tolerance=settings.ewald_tolerance,
        hydrogen_mass=3.0,
    )
    positions = relax(atoms)
    folder = tmp_path_factory.mktemp("gromacs")
    span = Span(first=0, n_steps=0, temperature=300.0, pressure=None, seed=1)
    write_run(folder, settings, atoms, positions, span, continuation="yes", nstfout=1, nstlog=1, nstenergy=1)
    path = run_dynamics(
        require_gromacs(), folder, threads=1, has_checkpoint=False, watch=lambda process: process.wait()
    )
    block = TrrFile(path).read(0, 1)
    energies, forces = engine_energies(atoms, positions)
    tails = {name: mean_tail(atoms, cutoff, has_excluded=name == "OpenMM") for name in ("OpenMM", "GROMACS")}
    return read_energies(folder / "md.log"), block.forces[0], energies, forces, tails


def mean_tail(atoms, cutoff, *, has_excluded):
    """Return the Lennard-Jones energy beyond the cutoff [kJ/mol] from pair averages of the coefficients.

    OpenMM averages over all pairs, each atom with itself among them; GROMACS leaves out excluded pairs and self pairs.
    """
    force = next(force for force in atoms.system.getForces() if isinstance(force, openmm.CustomNonbondedForce))
    n = force.getNumParticles()
    roots = np.array([force.getParticleParameters(i) for i in range(n)])
    counted = np.triu(np.ones((n, n), dtype=bool), k=0 if has_excluded else 1)
    if not has_excluded:
        for k in range(force.getNumExclusions()):
            counted[tuple(sorted(force.getExclusionParticles(k)))] = False
    repulsion, attraction = (np.outer(root, root)[counted].mean() for root in roots.T)
    integral = repulsion / (9.0 * cutoff**9) - attraction / (3.0 * cutoff**3)
    return 2.0 * np.pi * n**2 / atoms.edge**3 * integral


def test_potential_energy_of_a_frame_equals_openmms_within_a_ten_thousandth(both):
    gromacs, _, openmm_energies, _, _ = both
    # without the tail, which is the same for all frames of a box
    expected = sum(openmm_energies.values()) - openmm_energies["tail"]
    assert gromacs["Potential"] - gromacs["Disper. corr."] == pytest.approx(expected, rel=1e-4)


def test_each_engine_has_the_tail_of_its_own_pair_average(both):
    gromacs, _, openmm_energies, _, tails = both
    assert openmm_energies["tail"] == pytest.approx(tails["OpenMM"], rel=1e-5)
    assert gromacs["Disper. corr."] == pytest.approx(tails["GROMACS"], rel=1e-4)


@pytest.mark.parametrize(
    ("terms", "force"),
    [
        (("Bond",), "HarmonicBondForce"),
        (("Angle",), "HarmonicAngleForce"),
        (("Ryckaert-Bell.",), "RBTorsionForce"),
        (("Per. Imp. Dih.",), "PeriodicTorsionForce"),
        (("LJ (SR)",), "LennardJones"),
        (("LJ-14", "Coulomb-14", "Coulomb (SR)", "Coul. recip."), "NonbondedForce"),
    ],
)
def test_each_term_of_the_energy_equals_openmms_within_a_ten_thousandth(both, terms, force):
    gromacs, _, openmm_energies, _, _ = both
    # a hundred-thousandth of the sum of all sizes, for terms that are nearly zero
    scale = sum(abs(value) for value in openmm_energies.values())
    found = sum(gromacs.get(term, 0.0) for term in terms)
    assert found == pytest.approx(openmm_energies.get(force, 0.0), rel=1e-4, abs=1e-5 * scale)


def test_forces_of_a_frame_equal_openmms_and_hold_no_constraint_forces(both):
    _, gromacs, _, forces, _ = both
    assert np.sqrt(np.mean(forces**2)) > 15.0
    # positions in single precision, 1.2e-7 nm beyond 1 nm, on bonds of 4e5 kJ/mol/nm^2: 0.1; constraint forces balance
    # forces along bonds, and would be as large as these
    np.testing.assert_allclose(gromacs, forces, atol=0.1, rtol=1e-4)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the file of a run that nothing interrupted."""
    return run_to(tmp_path_factory.mktemp("sampling") / "reference.h5")


def test_labels_of_saved_frames_are_those_of_the_openmm_system(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    assert trajectory.positions.shape == trajectory.forces.shape == (8, 384, 3)
    np.testing.assert_allclose(trajectory.times, 0.04 * np.arange(1, 9))
    atoms = build_system(METHANOL, density=STATE.density, cutoff=0.7, seed=1)
    energies, forces = engine_energies(atoms, trajectory.positions[-1].astype(float))
    # positions are stored in float32, up to 1e-7 nm on bonds of 3e5 kJ/mol/nm^2
    np.testing.assert_allclose(trajectory.forces[-1], forces, atol=0.5)
    assert trajectory.energy[-1] == pytest.approx(sum(energies.values()), abs=0.05)
    np.testing.assert_allclose(trajectory.virial, np.transpose(trajectory.virial, (0, 2, 1)))


def test_molecules_are_whole_and_move_without_jumps(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    i, j = trajectory.topology.bonds.T
    lengths = np.linalg.norm(trajectory.positions[:, i] - trajectory.positions[:, j], axis=-1)
    assert lengths.max() < 0.17
    # 0.04 ps at five times the thermal speed of a hydrogen of 3 u (0.9 nm/ps)
    assert np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=-1).max() < 0.2


def test_constrained_bonds_keep_their_length(uninterrupted):
    trajectory = read_trajectory(uninterrupted)
    i, j = trajectory.topology.constraints.T
    lengths = np.linalg.norm(trajectory.positions[:, i] - trajectory.positions[:, j], axis=-1)
    # LINCS in single precision
    assert np.ptp(lengths, axis=0).max() < 1e-5


def test_metadata_name_the_version_and_the_command_and_nothing_else_is_left(uninterrupted):
    with open_trajectory(uninterrupted) as stored:
        metadata = stored.metadata
    assert metadata["engine"].startswith(f"GROMACS {require_gromacs().version}, labels by OpenMM")
    assert "mdrun -s run.tpr" in metadata["mdrun"]
    assert [path.name for path in uninterrupted.parent.iterdir()] == ["reference.h5"]


def test_a_killed_run_resumes_bit_equal_on_one_thread(uninterrupted, tmp_path):
    path = tmp_path / "reference.h5"
    for time in (0.01, 0.2):  # in the first stretch, and in the second
        with pytest.raises(KilledError):
            run_to(path, progress=kill_at(time))
        assert not path.exists()
    run_to(path)
    one, two = read_trajectory(path), read_trajectory(uninterrupted)
    for field in ("times", "positions", "forces", "cell", "energy", "virial"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field), err_msg=field)
    with open_trajectory(path) as stored:
        assert stored.metadata["n_resumed_from_positions"] == 0


def test_a_run_begun_with_openmm_goes_on_from_its_positions(tmp_path):
    path = tmp_path / "reference.h5"
    with pytest.raises(KilledError):
        run_to(path, settings=replace(SHORT, engine="openmm"), progress=kill_at(0.2))
    run_to(path)
    trajectory = read_trajectory(path)
    np.testing.assert_allclose(trajectory.times, 0.04 * np.arange(1, 9))
    assert np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=-1).max() < 0.2
    with open_trajectory(path) as stored:
        assert stored.metadata["n_resumed_from_positions"] == 1


def test_replicas_are_segments_and_differ(tmp_path):
    settings = replace(SHORT, replicas=2, temperatures=(300.0, 320.0), duration=0.08, threads=2)
    trajectory = read_trajectory(run_to(tmp_path / "reference.h5", settings=settings))
    np.testing.assert_array_equal(trajectory.segment, np.repeat(np.arange(4), 2))
    np.testing.assert_array_equal(trajectory.temperature, np.repeat([300.0, 300.0, 320.0, 320.0], 2))
    assert len(np.unique(trajectory.energy)) == 8


def test_at_a_pressure_the_volume_changes(tmp_path):
    state = StatePoint(temperature=300.0, pressure=BAR)
    settings = replace(SHORT, initial_density=0.75 * GRAM_PER_CUBIC_CENTIMETRE)
    volumes = read_trajectory(run_to(tmp_path / "reference.h5", settings=settings, state=state)).volumes()
    assert len(np.unique(volumes)) > 1


def test_a_box_that_the_buffered_cutoff_does_not_fit_is_refused_with_gromacss_reason_and_log(tmp_path):
    settings = replace(SHORT, cutoff=0.81)
    with pytest.raises(InputError, match=r"grompp refused the run: .*cut-off.*grompp\.log.*more molecules") as caught:
        run_to(tmp_path / "reference.h5", settings=settings)
    assert Path(caught.value.where).is_relative_to(tmp_path)
    assert Path(caught.value.where).is_file()


def test_a_run_that_diverges_says_so_with_the_log(tmp_path):
    # one molecule on top of another
    settings = SamplingSettings(cutoff=0.7)
    atoms = build_system(METHANOL, density=STATE.density, cutoff=0.7, seed=1)
    span = Span(first=0, n_steps=500, temperature=300.0, pressure=None, seed=1)
    squeezed = atoms.positions.copy()
    squeezed[6:12] = squeezed[:6] + 0.01
    write_run(tmp_path, settings, atoms, squeezed, span)
    with pytest.raises(PhysicsError, match=r"diverged.*gmx mdrun ended.*mdrun\.log.*shorter timestep"):
        run_dynamics(require_gromacs(), tmp_path, threads=1, has_checkpoint=False, watch=lambda process: process.wait())


@pytest.mark.slow
def test_kinetic_temperature_is_that_of_the_state_within_3_standard_errors(tmp_path):
    settings = SamplingSettings(cutoff=0.7, save_interval=0.2)
    atoms = build_system(METHANOL, density=STATE.density, cutoff=0.7, seed=1, hydrogen_mass=3.0)
    span = Span(first=0, n_steps=25_000, temperature=300.0, pressure=None, seed=1)
    write_run(tmp_path, settings, atoms, atoms.positions, span)
    gromacs = require_gromacs()
    path = run_dynamics(gromacs, tmp_path, threads=1, has_checkpoint=False, watch=lambda process: process.wait())
    file = TrrFile(path)
    velocities = file.read(50, file.n_frames).velocities
    masses = np.array([atoms.system.getParticleMass(i)._value for i in range(atoms.topology.n_sites)])
    # two degrees of freedom for each unconstrained coordinate; the centre of mass moves, too
    freedom = 3 * len(masses) - len(atoms.topology.constraints)
    temperature = np.einsum("s,fsx,fsx->f", masses, velocities, velocities) / (freedom * GAS_CONSTANT)
    _, error = block_mean_and_error(temperature, n_blocks=10)
    assert error < 1.5
    assert abs(temperature.mean() - 300.0) < 3.0 * error


@pytest.mark.slow
def test_mean_energy_of_methanol_equals_openmms_within_3_combined_errors(tmp_path):
    settings = replace(SHORT, equilibration=20.0, duration=240.0, save_interval=0.4, checkpoint_interval=20.0)
    results = []
    for engine in ("gromacs", "openmm"):
        path = run_to(tmp_path / f"{engine}.h5", settings=replace(settings, engine=engine))
        energy = read_trajectory(path).energy
        results.append((energy.mean(), block_mean_and_error(energy, n_blocks=10)[1]))
    (first, first_error), (second, second_error) = results
    combined = np.hypot(first_error, second_error)
    # 0.2 kJ/mol a molecule, a two-hundredth of the cohesive energy
    assert combined < 0.2 * 64
    assert abs(first - second) < 3.0 * combined
