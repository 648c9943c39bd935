"""Boxes, mixtures and clusters: what is built, and what is refused with which advice."""

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.sampling.residues import read_residues
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, box_edge, build_system, check_box, describe_liquid
from beadsmith.topology import group_equal_molecules
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE


def settings_of(**counts):
    """Return settings from molecule names and counts."""
    return SystemSettings(molecules=tuple(MoleculeCount(name=name, count=count) for name, count in counts.items()))


def closest_contact(atoms):
    """Return the shortest distance between atoms of two molecules [nm], through the periodic boundary."""
    i, j = np.triu_indices(atoms.topology.n_sites, 1)
    is_other = atoms.topology.molecule_index[i] != atoms.topology.molecule_index[j]
    vectors = (atoms.positions[i] - atoms.positions[j])[is_other]
    if atoms.edge is not None:
        vectors -= atoms.edge * np.round(vectors / atoms.edge)
    return np.linalg.norm(vectors, axis=1).min()


MIXTURES = {
    "methanol": ({"methanol": 64}, 0.75),
    "methanol and benzene": ({"methanol": 40, "benzene": 20}, 0.80),
    "hexane": ({"hexane": 40}, 0.655),
    "all four": ({"methane": 10, "hexane": 10, "benzene": 10, "methanol": 10}, 0.60),
}


@pytest.mark.parametrize(("counts", "density"), MIXTURES.values(), ids=MIXTURES)
def test_liquid_at_target_density_has_whole_molecules_and_no_overlap(counts, density):
    atoms = build_system(settings_of(**counts), density=density * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.7, seed=1)
    topology = atoms.topology
    bond_lengths = np.linalg.norm(np.diff(atoms.positions[topology.bonds], axis=1)[:, 0], axis=1)
    # equilibrium lengths are 0.0945-0.153 nm; relaxed, not yet equilibrated
    assert bond_lengths.min() > 0.08
    assert bond_lengths.max() < 0.17
    # uncharged hydroxyl hydrogens come as close as the oxygens they sit on allow
    assert closest_contact(atoms) > 0.1
    assert topology.total_mass / atoms.edge**3 == pytest.approx(density * GRAM_PER_CUBIC_CENTIMETRE)
    assert [(kind.name, kind.n_molecules) for kind in group_equal_molecules(topology)] == list(counts.items())


def test_topology_holds_true_masses_while_the_engine_has_heavy_hydrogens():
    atoms = build_system(
        settings_of(methanol=3), density=0.02 * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.7, seed=1, hydrogen_mass=3.0
    )
    assert atoms.topology.masses.tolist() == list(read_residues()["methanol"].masses) * 3
    engine = [atoms.system.getParticleMass(i)._value for i in range(atoms.topology.n_sites)]
    assert engine[1] == 3.0
    assert sum(engine) == pytest.approx(atoms.topology.total_mass, rel=1e-12)


def test_topology_lists_constrained_bonds_among_the_bonds():
    topology = build_system(settings_of(hexane=1, benzene=1), density=None, cutoff=1.0, seed=1).topology
    bonds = {frozenset(bond) for bond in topology.bonds.tolist()}
    assert len(bonds) == 19 + 12
    assert {frozenset(pair) for pair in topology.constraints.tolist()} < bonds
    # angles and dihedrals by counting: sum over atoms of C(valence, 2); over inner bonds of the product of other ends
    assert (len(topology.angles), len(topology.dihedrals), len(topology.impropers)) == (36 + 18, 45 + 24, 6)


def test_cluster_without_a_box_has_no_overlap():
    atoms = build_system(settings_of(methanol=5), density=None, cutoff=1.0, seed=1)
    assert atoms.edge is None
    assert not atoms.system.usesPeriodicBoundaryConditions()
    assert closest_contact(atoms) > 0.2


def test_same_seed_builds_the_same_cluster_and_another_seed_another():
    first, again, other = (
        build_system(settings_of(methanol=3, hexane=2), density=None, cutoff=1.0, seed=seed).positions
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize(("name", "nearest"), [("methanl", "methanol"), ("Benzene", "benzene"), ("hexan", "hexane")])
def test_unknown_molecule_names_the_nearest_known_one(name, nearest):
    with pytest.raises(InputError, match=f"Did you mean '{nearest}'") as caught:
        MoleculeCount(name=name, count=1)
    assert caught.value.exit_code == 2


def test_unlike_any_molecule_lists_all_known_ones():
    with pytest.raises(InputError, match="Known molecules: methanol, methane, benzene, hexane, water"):
        MoleculeCount(name="xyzzy", count=1)


@pytest.mark.parametrize("count", [0, -5])
def test_count_below_one_is_refused(count):
    with pytest.raises(InputError, match=r"count of 'methanol' is .*expected at least 1"):
        MoleculeCount(name="methanol", count=count)


def test_system_without_molecules_is_refused():
    with pytest.raises(InputError, match="molecules is empty"):
        SystemSettings(molecules=())


def test_molecule_given_twice_is_refused():
    twice = (MoleculeCount(name="methanol", count=1), MoleculeCount(name="methanol", count=2))
    with pytest.raises(InputError, match="'methanol' is given twice"):
        SystemSettings(molecules=twice)


def test_cutoff_over_half_the_box_is_refused_and_the_advice_fits():
    density = 0.75 * GRAM_PER_CUBIC_CENTIMETRE
    with pytest.raises(InputError, match="more than half of the box") as caught:
        check_box(settings_of(methanol=64), density=density, cutoff=0.9)
    cutoff, count = (float(text) for text in (caught.value.fix.split()[6], caught.value.fix.split()[-1].rstrip(".")))
    check_box(settings_of(methanol=64), density=density, cutoff=cutoff)
    check_box(settings_of(methanol=int(count)), density=density, cutoff=0.9)
    with pytest.raises(InputError):
        check_box(settings_of(methanol=int(count) - 1), density=density, cutoff=0.9)


def test_density_in_the_wrong_unit_is_refused_before_anything_is_computed():
    with pytest.raises(InputError, match="overlap at such a density"):
        check_box(settings_of(methanol=64), density=790.0 * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.9)


def test_density_at_which_molecules_overlap_is_refused():
    with pytest.raises(InputError, match="kJ/mol per molecule"):
        build_system(settings_of(methanol=64), density=2.5 * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.5, seed=1)


def test_box_edge_holds_the_mass_at_the_density():
    # 256 molecules of 32.042 u at 0.75 g/cm³
    edge = box_edge(settings_of(methanol=256), 0.75 * GRAM_PER_CUBIC_CENTIMETRE)
    assert edge == pytest.approx((256 * 32.0424 / 451.660557) ** (1 / 3), rel=1e-9)


def test_a_liquid_is_described_once_for_all_runs_of_a_study():
    first, again = (describe_liquid(settings_of(methanol=3)) for _ in range(2))
    assert first is again
    assert describe_liquid(settings_of(methanol=4)).n_molecules == 4
