"""The factors by which lengths, forces and velocities are wrong, found from the numbers themselves."""

from dataclasses import replace

import numpy as np
import pytest

import example_files as files
from beadsmith.importing.bonds import guess_bonds
from beadsmith.importing.run import survey_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.importing.unit_check import judge_bonds, judge_forces, judge_lengths, judge_velocities
from beadsmith.sampling.residues import read_residues
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import thermal_energy

STATE = StatePoint(temperature=files.TEMPERATURE)
WATER = MoleculeSites(name="HOH", count=64, names=("O", "H", "H"), bonds=((1, 2), (1, 3)))


@pytest.fixture(scope="module")
def waters(tmp_path_factory):
    """Return 60 frames of 64 elastic waters as a trajectory of whole molecules."""
    folder = tmp_path_factory.mktemp("waters")
    frames = files.spring_waters(n_molecules=64, n_frames=60)
    files.write_npz(folder / "traj.npz", frames)
    settings = ReferenceSettings(
        files=(str(folder / "traj.npz"),), molecules=(WATER,), units=FileUnitSettings(style="gromacs")
    )
    return Trajectory(
        topology=survey_reference(settings, STATE).topology,
        state_point=STATE,
        positions=frames.whole.astype(np.float32),
        forces=frames.forces.astype(np.float32),
        velocities=frames.velocities.astype(np.float32),
        cell=frames.cell.astype(np.float32),
        times=frames.times,
    )


def test_right_forces_have_a_ratio_of_one_within_three_standard_errors(waters):
    verdict = judge_forces(waters, files.TEMPERATURE)
    assert not verdict.is_wrong
    assert abs(verdict.ratio - 1.0) < 3.0 * verdict.error
    assert verdict.error < 0.2


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (10.0, "forces per nm were taken for forces per angstrom"),
        (0.1, "forces per angstrom were taken for forces per nm"),
        (4.184, "kJ/mol were taken for kcal/mol"),
        (1.0 / 4.184, "kcal/mol were taken for kJ/mol"),
        (41.84, "kJ/mol/nm were taken for kcal/mol/angstrom"),
        (1.0 / 41.84, "kcal/mol/angstrom were taken for kJ/mol/nm"),
        (418.4, "kJ/mol were taken for kcal/mol, and a factor of 10"),
        (1.0 / 418.4, "kcal/mol were taken for kJ/mol, and a factor of 10"),
        (964.85, "kJ/mol/nm were taken for eV/angstrom"),
        (-1.0, "the sign is that of the gradient"),
    ],
)
def test_a_slip_in_the_unit_of_forces_is_named(waters, factor, cause):
    verdict = judge_forces(replace(waters, forces=np.float32(factor) * waters.forces), files.TEMPERATURE)
    assert verdict.is_wrong
    assert cause in verdict.text


def test_forces_of_other_frames_are_noticed(waters):
    verdict = judge_forces(replace(waters, forces=np.roll(waters.forces, 7, axis=0)), files.TEMPERATURE)
    assert verdict.is_wrong
    assert "belong to the same frames" in verdict.text


def test_rigid_molecules_are_judged_by_the_forces_between_them():
    # soft spheres of which the identity is computed, not assumed: Metropolis sampling of U = sum 50 (1 - r/0.4)^2
    frames = _sample_soft_spheres()
    verdict = judge_forces(frames, files.TEMPERATURE)
    assert abs(verdict.ratio - 1.0) < 3.0 * verdict.error
    wrong = judge_forces(replace(frames, forces=np.float32(4.184) * frames.forces), files.TEMPERATURE)
    assert "kJ/mol were taken for kcal/mol" in wrong.text


@pytest.mark.parametrize(
    ("factor", "cause"), [(10.0, "angstrom, but were taken for nm"), (0.1, "nm, but were taken for")]
)
def test_a_slip_in_the_unit_of_length_is_named(waters, factor, cause):
    positions, cell = factor * waters.positions[0].astype(float), factor * waters.cell[0].astype(float)
    verdict = judge_lengths(positions, cell, are_bonded=True)
    assert verdict.is_wrong
    assert cause in verdict.text


def test_bohr_taken_for_angstrom_are_named(waters):
    stretched = replace(waters, positions=np.float32(1.8897) * waters.positions, cell=np.float32(1.8897) * waters.cell)
    verdict = judge_bonds(stretched)
    assert verdict.is_wrong
    assert "bohr, but were taken for angstrom" in verdict.text


def test_right_lengths_pass(waters):
    assert not judge_bonds(waters).is_wrong
    assert not judge_lengths(waters.positions[0].astype(float), waters.cell[0].astype(float), are_bonded=True).is_wrong


@pytest.mark.parametrize(
    ("factor", "cause"),
    [(10.0, "angstrom were taken for nm"), (1.0 / 20.455, "20.455"), (1000.0, "taken for velocities per fs")],
)
def test_a_slip_in_the_unit_of_velocities_is_named(waters, factor, cause):
    verdict = judge_velocities(replace(waters, velocities=np.float32(factor) * waters.velocities), files.TEMPERATURE)
    assert verdict.is_wrong
    assert cause in verdict.text


def test_right_velocities_have_a_ratio_of_one_within_three_standard_errors(waters):
    verdict = judge_velocities(waters, files.TEMPERATURE)
    # the centre of mass moves in this ensemble: three degrees of freedom more than counted, 0.5 % of 576
    assert abs(verdict.ratio - 576.0 / 573.0) < 3.0 * verdict.error


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_bonds_are_found_across_the_boundary_of_any_cell(tilt):
    frames = files.spring_waters(n_molecules=27, n_frames=1)
    cell = frames.cell[0].copy()
    cell[1, 0] = tilt
    fractions = frames.whole[0] @ np.linalg.inv(cell)
    broken = (fractions - np.floor(fractions)) @ cell
    bonds = guess_bonds(broken, cell, ("O", "H", "H") * 27)
    expected = [(3 * m, 3 * m + k) for m in range(27) for k in (1, 2)]
    assert bonds.tolist() == [list(pair) for pair in expected]


def test_bonds_of_known_molecules_are_found():
    from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system

    counts = tuple(MoleculeCount(name=name, count=1) for name in read_residues())
    atoms = build_system(SystemSettings(molecules=counts), density=None, cutoff=1.0, seed=3)
    topology = atoms.topology
    bonds = guess_bonds(atoms.positions, None, topology.elements)
    assert {tuple(pair) for pair in bonds.tolist()} == {tuple(sorted(pair)) for pair in topology.bonds.tolist()}


def _sample_soft_spheres(n_spheres=60, n_frames=40, edge=1.6):
    generator = np.random.default_rng(11)
    kT, range_, strength = thermal_energy(files.TEMPERATURE), 0.4, 50.0

    def vectors_from(i, points):
        vectors = points[i] - points
        vectors -= edge * np.round(vectors / edge)
        return vectors, np.linalg.norm(vectors, axis=1)

    def energy_of(i, points):
        _, distances = vectors_from(i, points)
        distances[i] = np.inf
        return strength * np.sum(np.maximum(1.0 - distances / range_, 0.0) ** 2)

    points = generator.uniform(0.0, edge, (n_spheres, 3))
    positions, forces = [], []
    for sweep in range(100 + 5 * n_frames):
        for i in range(n_spheres):
            old, moved = energy_of(i, points), points.copy()
            moved[i] += generator.uniform(-0.1, 0.1, 3)
            if generator.random() < np.exp(min(0.0, (old - energy_of(i, moved)) / kT)):
                points = moved
        if sweep >= 100 and sweep % 5 == 0:
            force = np.zeros((n_spheres, 3))
            for i in range(n_spheres):
                vectors, distances = vectors_from(i, points)
                distances[i] = np.inf
                slope = 2.0 * strength / range_ * np.maximum(1.0 - distances / range_, 0.0)
                force[i] = (slope / distances) @ vectors
            positions.append(points)
            forces.append(force)
    return Trajectory(
        topology=build_bead_topology(type_names=("A",), types=np.zeros(n_spheres, int), masses=np.array([30.0])),
        state_point=STATE,
        positions=np.array(positions, dtype=np.float32),
        forces=np.array(forces, dtype=np.float32),
        cell=np.tile(edge * np.eye(3, dtype=np.float32), (n_frames, 1, 1)),
        times=np.arange(float(n_frames)),
    )
