"""The records refuse what does not fit, where it enters."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.check import Check, worst_status
from beadsmith.errors import BeadsmithError, InputError, InterruptedRunError, PhysicsError
from beadsmith.io.records import topology_from_json, topology_to_json
from beadsmith.linear_map import LinearMap
from beadsmith.topology import Topology, build_bead_topology, group_equal_molecules
from beadsmith.trajectory import StatePoint, Trajectory, join_trajectories
from beadsmith.units import BAR, COULOMB_CONSTANT, GAS_CONSTANT, GRAM_PER_CUBIC_CENTIMETRE


def diatomics_and_single_atoms() -> Topology:
    """Return A-B, C, A-B, C, C: two kinds of molecules, interleaved."""
    return Topology(
        names=("A", "B", "C", "A", "B", "C", "C"),
        types=np.array([0, 1, 2, 0, 1, 2, 2]),
        type_names=("a", "b", "c"),
        masses=np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 3.0]),
        molecule_index=np.array([0, 0, 1, 2, 2, 3, 4]),
        residue_index=np.array([0, 0, 1, 2, 2, 3, 4]),
        residue_names=("dimer", "atom", "dimer", "atom", "atom"),
        bonds=np.array([[0, 1], [3, 4]]),
        angles=np.zeros((0, 3), dtype=np.int64),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        impropers=np.zeros((0, 4), dtype=np.int64),
        constraints=np.zeros((0, 2), dtype=np.int64),
    )


def test_equal_molecules_are_grouped_in_order_of_appearance():
    dimers, atoms = group_equal_molecules(diatomics_and_single_atoms())
    assert (dimers.name, atoms.name) == ("dimer", "atom")
    assert dimers.sites.tolist() == [[0, 1], [3, 4]]
    assert atoms.sites.tolist() == [[2], [5], [6]]


def test_a_missing_bond_makes_another_kind():
    topology = replace(diatomics_and_single_atoms(), bonds=np.array([[0, 1]]))
    assert [kind.n_molecules for kind in group_equal_molecules(topology)] == [1, 3, 1]


def test_topology_survives_json():
    topology = diatomics_and_single_atoms()
    back = topology_from_json(topology_to_json(topology))
    assert topology_to_json(back) == topology_to_json(topology)
    assert back.bonds.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masses": np.array([1.0, 2.0, 3.0, 1.0, 0.0, 3.0, 3.0])}, "mass 0.0 u"),
        ({"types": np.array([0, 1, 2, 0, 1, 2, 3])}, "site type 3 has no name"),
        ({"bonds": np.array([[0, 7]])}, "names site 7"),
        ({"molecule_index": np.array([0, 0, 1, 1, 0, 2, 3])}, "molecule_index"),
        ({"residue_names": ("dimer",)}, "residue 4 has no name"),
    ],
)
def test_a_topology_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(diatomics_and_single_atoms(), **changes)


def frames(n_frames: int, n_sites: int = 3) -> Trajectory:
    """Return zero frames of single beads."""
    topology = build_bead_topology(type_names=("x",), types=np.zeros(n_sites, dtype=np.int64), masses=np.array([10.0]))
    return Trajectory(
        topology=topology,
        state_point=StatePoint(temperature=300.0),
        positions=np.zeros((n_frames, n_sites, 3), dtype=np.float32),
        times=np.arange(n_frames, dtype=np.float64),
    )


def test_forces_of_another_atom_count_are_refused():
    with pytest.raises(InputError, match=r"'forces' has shape \(2, 4, 3\), expected \(2, 3, 3\)"):
        replace(frames(2), forces=np.zeros((2, 4, 3), dtype=np.float32))


@pytest.mark.parametrize("temperature", [0.0, -300.0, np.nan, np.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(InputError, match="temperature"):
        StatePoint(temperature=temperature)


def test_selected_frames_keep_their_fields():
    trajectory = replace(frames(5), energy=np.arange(5.0))
    assert trajectory.select(np.array([3, 1])).energy.tolist() == [3.0, 1.0]


def test_joined_trajectories_keep_the_fields_that_all_have():
    joined = join_trajectories([replace(frames(2), energy=np.ones(2)), frames(3)])
    assert joined.n_frames == 5
    assert joined.energy is None


def test_trajectories_of_different_state_points_are_not_joined():
    with pytest.raises(InputError, match="one state point"):
        join_trajectories([frames(1), replace(frames(1), state_point=StatePoint(temperature=310.0))])


def test_volume_of_a_triclinic_cell_is_its_determinant():
    cell = np.array([[[2.0, 0, 0], [0.5, 3.0, 0], [0.1, 0.2, 4.0]]], dtype=np.float32)
    assert replace(frames(1), cell=cell).volumes() == pytest.approx([24.0], rel=1e-6)


def test_linear_map_applies_the_same_matrix_to_each_component():
    import scipy.sparse as sparse

    rng = np.random.default_rng(3)
    matrix = rng.random((2, 5))
    vectors = rng.random((4, 5, 3)).astype(np.float32)
    mapped = LinearMap(matrix=sparse.csr_array(matrix)).apply(vectors)
    np.testing.assert_allclose(mapped, np.einsum("ba,fac->fbc", matrix, vectors), rtol=1e-12)


def test_exit_codes_are_the_documented_ones():
    codes = [error("x").exit_code for error in (BeadsmithError, InputError, PhysicsError, InterruptedRunError)]
    assert codes == [1, 2, 3, 4]


def test_a_message_is_one_paragraph_with_place_and_remedy():
    error = InputError("timestep is -2 fs, expected > 0", where="run.yaml:7", fix="Write a positive time.")
    assert str(error) == "timestep is -2 fs, expected > 0 (run.yaml:7). Write a positive time."


def test_the_worst_status_decides():
    def check(status):
        return Check(name="x", status=status, value=1.0, unit="1", threshold="> 0", meaning="", remedy="")

    assert worst_status([]) == "pass"
    assert worst_status([check("pass"), check("warn")]) == "warn"
    assert worst_status([check("fail"), check("warn")]) == "fail"


def test_unit_factors_agree_with_pint():
    import pint

    units = pint.UnitRegistry()
    avogadro = units.Quantity(1, "avogadro_number")
    assert (1 * units.bar * avogadro).to("kJ/nm**3").magnitude == pytest.approx(BAR, rel=1e-9)
    density = units.Quantity(1, "g/cm**3").to("u/nm**3").magnitude
    assert density == pytest.approx(GRAM_PER_CUBIC_CENTIMETRE, rel=1e-8)
    assert units.Quantity(1, "molar_gas_constant").to("kJ/mol/K").magnitude == pytest.approx(GAS_CONSTANT, rel=1e-12)
    coulomb = (units.elementary_charge**2 / (4 * np.pi * units.vacuum_permittivity) * avogadro).to("kJ*nm").magnitude
    assert coulomb == pytest.approx(COULOMB_CONSTANT, rel=1e-9)
