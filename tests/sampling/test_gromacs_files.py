"""The files written for GROMACS, what its errors become, and what is refused: none of it needs GROMACS."""

import math
import os
import re
import stat
from dataclasses import replace

import numpy as np
import openmm
import pytest

from beadsmith.errors import InputError, PhysicsError
from beadsmith.sampling.gromacs import program
from beadsmith.sampling.gromacs.crew import share_cores
from beadsmith.sampling.gromacs.inputs import Span, format_parameters, format_structure
from beadsmith.sampling.gromacs.program import Gromacs, describe_engine, explain, find_gromacs, prepare_run
from beadsmith.sampling.gromacs.topology import format_topology
from beadsmith.sampling.gromacs.unwrap import Unwrapper
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.run import sample
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.starts import check_state
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.trajectory import StatePoint
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE

GROMACS = SamplingSettings(engine="gromacs")
SPAN = Span(first=0, n_steps=100, temperature=300.0, pressure=None, seed=7)
STATE = StatePoint(temperature=300.0, density=0.3 * GRAM_PER_CUBIC_CENTIMETRE)
MIXTURE = SystemSettings(
    molecules=tuple(MoleculeCount(name=name, count=3) for name in ("methanol", "water", "benzene", "hexane"))
)


@pytest.fixture(scope="module")
def mixture():
    """Return a few molecules of four kinds in a box, hydrogens of 3 u."""
    return build_system(MIXTURE, density=STATE.density, cutoff=0.5, seed=1, hydrogen_mass=3.0)


@pytest.fixture(scope="module")
def sections(mixture):
    """Return the lines of each section of the topology of the mixture, a list for each molecule type."""
    found = {}
    for name, body in re.findall(r"\[ (\w+) \]\n((?:[^\[\n].*\n)*)", format_topology(mixture.system, mixture.topology)):
        lines = [line for line in body.splitlines() if line and not line.startswith(";")]
        found.setdefault(name, []).append(lines)
    return found


def test_equal_molecules_share_one_type_and_stand_in_order(sections):
    assert sections["molecules"] == [["metha_1 3", "water_2 3", "benze_3 3", "hexan_4 3"]]
    assert sections["moleculetype"] == [["metha_1 0"], ["water_2 0"], ["benze_3 0"], ["hexan_4 0"]]


def test_lennard_jones_is_that_of_opls_with_geometric_mixing(sections):
    assert sections["defaults"][0][0].split() == ["1", "3", "no", "1.0", "0.5"]
    parameters = {tuple(float(word) for word in line.split()[4:]) for line in sections["atomtypes"][0]}
    # hydroxyl oxygen and hydrogen, methyl carbon and hydrogen, aromatic carbon and hydrogen, water's oxygen
    expected = {
        (0.312, 0.71128), (0.0, 0.0), (0.35, 0.276144), (0.25, 0.12552),
        (0.355, 0.29288), (0.242, 0.12552), (0.316557, 0.650194),
    }  # fmt: skip
    assert len(parameters) == len(expected)
    for found, wanted in zip(sorted(parameters), sorted(expected), strict=True):
        assert found == pytest.approx(wanted, rel=1e-9)


def test_masses_are_those_of_the_dynamics_and_molecules_are_neutral(mixture, sections):
    found = [float(line.split()[7]) for line in sections["atoms"][0]]
    assert found == pytest.approx([mixture.system.getParticleMass(i)._value for i in range(6)])
    assert min(found) == 3.0
    assert 3.0 * sum(float(line.split()[7]) for lines in sections["atoms"] for line in lines) == pytest.approx(
        mixture.topology.total_mass
    )
    for lines in sections["atoms"]:
        assert sum(float(line.split()[6]) for line in lines) == pytest.approx(0.0, abs=1e-9)


def test_methanol_has_the_terms_that_its_bonds_give_it(sections):
    counts = {name: len(lists[0]) for name, lists in sections.items()}
    # C-O is the only bond that is not constrained; 4 + 6 excluded 1-2 and 1-3 pairs, 3 pairs H-C-O-H
    assert (counts["bonds"], counts["constraints"], counts["angles"], counts["dihedrals"]) == (1, 4, 7, 3)
    assert (counts["exclusions"], counts["pairs"]) == (15, 3)


def test_water_is_a_settle_triangle(sections):
    (settle,) = sections["settles"]
    first, kind, leg, base = settle[0].split()
    assert (first, kind) == ("1", "1")
    assert float(leg) == pytest.approx(0.1)
    assert float(base) == pytest.approx(0.2 * math.sqrt(2.0 / 3.0), rel=1e-6)  # the tetrahedral angle


def test_benzene_has_improper_torsions_of_type_4_and_all_exclusions(sections):
    kinds = [line.split()[4] for line in sections["dihedrals"][1]]
    assert kinds.count("4") == 6
    assert kinds.count("3") == 24
    assert len({frozenset(line.split()) for line in sections["exclusions"][2]}) == 12 + 18 + 21


def test_a_force_without_a_counterpart_is_refused(mixture):
    system = openmm.XmlSerializer.clone(mixture.system)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(InputError, match=r"'CustomExternalForce' has no counterpart.*engine: openmm"):
        format_topology(system, mixture.topology)


def test_1_4_charges_with_two_scale_factors_are_refused(mixture):
    system = openmm.XmlSerializer.clone(mixture.system)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    scaled = [k for k in range(nonbonded.getNumExceptions()) if nonbonded.getExceptionParameters(k)[2]._value]
    i, j, product, sigma, epsilon = nonbonded.getExceptionParameters(scaled[0])
    nonbonded.setExceptionParameters(scaled[0], i, j, 1.5 * product, sigma, epsilon)
    with pytest.raises(InputError, match=r"scaled by 0\.5 to 0\.75.*engine: openmm"):
        format_topology(system, mixture.topology)


def read_parameters(settings, span=SPAN):
    """Return the parameters of an mdp file by name."""
    return dict(line.split(" = ") for line in format_parameters(settings, span).splitlines())


def test_parameters_are_the_dynamics_and_the_cutoffs_of_the_settings():
    found = read_parameters(SamplingSettings(friction=2.0, cutoff=0.8, save_interval=0.4, timestep=0.004))
    assert (found["integrator"], found["tau-t"], found["ref-t"], found["dt"]) == ("sd", "0.5", "300", "0.004")
    assert found["rcoulomb"] == found["rvdw"] == "0.8"
    assert found["vdw-modifier"] == found["coulomb-modifier"] == "None"
    assert found["nstxout"] == "100"
    assert "pcoupl" not in found


def test_ewald_splitting_and_mesh_are_openmms(mixture):
    found = read_parameters(SamplingSettings(cutoff=0.5, ewald_tolerance=5e-4))
    nonbonded = next(force for force in mixture.system.getForces() if isinstance(force, openmm.NonbondedForce))
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(mixture.system, openmm.VerletIntegrator(0.001), reference)
    alpha, n_points, _, _ = nonbonded.getPMEParametersInContext(context)
    assert math.erfc(alpha * 0.5) == pytest.approx(float(found["ewald-rtol"]), rel=1e-6)
    # OpenMM rounds up to a size that its Fourier transform likes
    assert math.ceil(mixture.edge / float(found["fourierspacing"])) in range(n_points - 3, n_points + 1)


def test_a_pressure_is_coupled_in_bar():
    found = read_parameters(GROMACS, replace(SPAN, pressure=30.0 * BAR))
    assert (found["pcoupl"], found["ref-p"]) == ("C-rescale", "30")


def test_a_structure_holds_positions_to_seven_decimals_with_molecules_in_the_box(mixture):
    cell = mixture.edge * np.eye(3)
    velocities = np.random.default_rng(1).normal(size=mixture.positions.shape)
    lines = format_structure(mixture.topology, mixture.positions - 50.0, velocities, cell).splitlines()
    assert int(lines[1]) == len(lines) - 3 == mixture.topology.n_sites
    numbers = np.array([[float(line[20 + 12 * k : 32 + 12 * k]) for k in range(6)] for line in lines[2:-1]])
    shifts = (numbers[:, :3] - mixture.positions + 50.0) / mixture.edge
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-6)
    molecules = mixture.topology.molecule_index
    for molecule in range(12):
        assert np.ptp(np.round(shifts[molecules == molecule]), axis=0).max() == 0.0
    np.testing.assert_allclose(numbers[:, 3:], velocities, atol=1e-8)


def test_unwrapping_follows_molecules_through_several_boxes_while_the_box_changes(mixture):
    index = mixture.topology.molecule_index
    drift = np.random.default_rng(2).normal(scale=0.2, size=(12, 3))[index]
    firsts = mixture.positions[np.searchsorted(index, index)]
    unwrapper = Unwrapper(mixture.topology, mixture.positions, mixture.edge * np.eye(3))
    for step in range(1, 40):
        edge = mixture.edge * (1.0 + 0.02 * np.sin(step))
        # first atoms move with the box, molecules keep their shape
        true = edge / mixture.edge * (firsts + step * drift) + mixture.positions - firsts
        found = unwrapper.unwrap(true - edge * np.floor(true / edge), edge * np.eye(3))
        np.testing.assert_allclose(found, true, atol=1e-9)
    assert np.abs(found - mixture.positions).max() > 2.0 * mixture.edge


@pytest.mark.parametrize(
    ("threads", "n_replicas", "expected"), [(4, 1, (4, 1)), (4, 2, (2, 2)), (2, 8, (1, 2)), (1, 1, (1, 1))]
)
def test_replicas_run_side_by_side_before_threads_are_added(mixture, threads, n_replicas, expected):
    assert share_cores(replace(GROMACS, threads=threads), mixture.system, n_replicas) == expected


def fake_gmx(folder, script):
    """Write a program that stands for gmx."""
    path = folder / "gmx"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_version_is_read_from_the_program(tmp_path, monkeypatch):
    path = fake_gmx(tmp_path, "echo 'GROMACS version:    2024.3-Test'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_gromacs() == Gromacs(path=str(path), version="2024.3-Test")
    assert "GROMACS 2024.3-Test" in describe_engine(GROMACS)


@pytest.mark.parametrize(
    ("script", "message"),
    [(None, "no program 'gmx' is on the path.*Install GROMACS"), ("exit 1", "does not run.*shows no version")],
)
def test_a_missing_or_broken_program_is_refused_with_what_to_do(tmp_path, monkeypatch, script, message):
    if script is not None:
        fake_gmx(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=message):
        sample(GROMACS, MIXTURE, STATE, tmp_path / "reference.h5", seed=1, identity="test")
    assert describe_engine(GROMACS).startswith("warning: sampling.engine is gromacs")
    assert not (tmp_path / "reference.h5.parts").exists()


PRINTED = """
ERROR 1 [file run.mdp, line 3]:
  The box is
  too small

-------------------------------------------------------
Program:     gmx grompp, version 2022.5

Fatal error:
There was 1 error in input file(s)

For more information and tips for troubleshooting, please check the GROMACS
"""


def test_the_reason_is_gromacss_own_in_one_paragraph():
    assert explain(PRINTED) == "The box is too small There was 1 error in input file(s)"
    assert explain("first\nlast words\n") == "first last words"
    assert len(explain("x " * 5000)) < 410


def test_a_refused_input_names_reason_and_log(tmp_path):
    path = fake_gmx(tmp_path, f"cat <<'END'\n{PRINTED}\nEND\nexit 1")
    with pytest.raises(InputError, match=r"grompp refused the run: The box is too small.*grompp\.log") as caught:
        prepare_run(Gromacs(path=str(path), version="test"), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "kind", "message"),
    [
        ("Too many LINCS warnings (1000)", PhysicsError, "the atomistic run diverged.*shorter timestep"),
        ("One of the box vectors has become shorter than twice the cut-off length", PhysicsError, "the box shrank"),
        ("Disk quota exceeded", InputError, "ended with exit code 1: Disk quota exceeded.*goes on from"),
    ],
)
def test_an_ended_mdrun_becomes_the_error_that_fits(tmp_path, reason, kind, message):
    path = fake_gmx(tmp_path, f"printf 'Fatal error:\\n{reason}\\n\\nFor more information\\n'; exit 1")
    with pytest.raises(kind, match=message) as caught:
        program.run_dynamics(
            Gromacs(path=str(path), version="test"), tmp_path, threads=1, has_checkpoint=False,
            watch=lambda process: process.wait(),
        )  # fmt: skip
    assert caught.value.where == str(tmp_path / "mdrun.log")


def test_peptides_and_open_molecules_are_left_to_openmm():
    with pytest.raises(InputError, match=r"engine is gromacs, but peptides.*engine: openmm"):
        check_state(GROMACS, PeptideSettings(sequence="ACE-ALA-NME"), StatePoint(temperature=300.0))
    with pytest.raises(InputError, match="engine is gromacs, but molecules without a box"):
        check_state(GROMACS, MIXTURE, StatePoint(temperature=300.0))
    check_state(GROMACS, MIXTURE, STATE)


def test_checkpoints_of_gromacs_are_further_apart():
    assert GROMACS.intervals_per_checkpoint(1536) == 125
    assert SamplingSettings().intervals_per_checkpoint(1536) == 25
