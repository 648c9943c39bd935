"""The maps in examples/ are those of 'Mapping Still Matters': sites, species, masses and bonds; forces add up."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from beadsmith.config.load import load_config
from beadsmith.mapping.apply import build_mapping, find_templates, fit_force_weights
from beadsmith.mapping.frames import map_trajectory
from beadsmith.mapping.noise import sum_force_products
from beadsmith.mapping.settings import MappingSettings
from beadsmith.sampling.peptides import PeptideSettings, build_peptide
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, box_edge, describe_liquid
from beadsmith.units import thermal_energy
from example_references import make_reference

EXAMPLES = Path(__file__).parents[2] / "examples"
CARBON, NITROGEN, OXYGEN, HYDROGEN = 12.011, 14.007, 15.999, 1.008
CH2, CH3 = CARBON + 2 * HYDROGEN, CARBON + 3 * HYDROGEN

# name: (species, masses, atoms of each bead or None where a bead is a group)
HEXANE = {
    "two_site": ((1, 1), (CH3 + 2 * CH2,) * 2),
    "two_site_map2": ((1, 2), (CH3 + 2 * CH2,) * 2),
    "three_site": ((1, 2, 1), (CH3 + CH2, 2 * CH2, CH3 + CH2)),
    "four_site": ((1, 2, 2, 1), (CARBON,) * 4),
    "six_site": ((2, 1, 1, 1, 1, 2), (CARBON,) * 6),
    "a3": ((1, 2), (CH3 + 3 * CH2, CH3 + CH2)),
    "a4": ((1, 2, 3), (CH3 + 2 * CH2, CH2, CH3 + CH2)),
}
CORE_ATOMS = ("1:C", "2:N", "2:CA", "2:C", "3:N")
BETA_ATOMS = ("1:C", "2:N", "2:CA", "2:CB", "2:C", "3:N")
HEAVY_ATOMS = ("1:CH3", "1:C", "1:O", "2:N", "2:CA", "2:CB", "2:C", "2:O", "3:N", "3:C")
ALANINE = {
    "core": ((1, 2, 1, 1, 2), CORE_ATOMS),
    "core_single": ((1,) * 5, CORE_ATOMS),
    "core_map2": ((1, 2, 3, 4, 5), CORE_ATOMS),
    "core_beta": ((1, 2, 1, 1, 1, 2), BETA_ATOMS),
    "core_beta_map2": ((1, 2, 3, 4, 5, 6), BETA_ATOMS),
    "core_beta_map3": ((1, 2, 3, 3, 2, 1), BETA_ATOMS),
    "core_beta_map4": ((1, 2, 1, 1, 1, 3), BETA_ATOMS),
    "core_beta_map5": ((2, 1, 1, 1, 1, 2), BETA_ATOMS),
    "core_beta_single": ((1,) * 6, BETA_ATOMS),
    "heavy_only": ((1, 1, 2, 3, 1, 1, 1, 2, 3, 1), HEAVY_ATOMS),
    "heavy_only_map2": ((1, 2, 3, 4, 5, 1, 2, 3, 4, 1), HEAVY_ATOMS),
    "united_atom": ((1, 2, 3, 4, 5, 1, 2, 3, 4, 1), HEAVY_ATOMS),
}
# one mass a type: where carbon and nitrogen share one, it is their mean
SHARED_MASS = {"core_single", "core_beta_single", "core_beta_map3", "core_beta_map5"}
ALL_ATOMS = ("two_site", "two_site_map2", "three_site", "a3", "a4", "united_atom", "atomistic")


@cache
def topology_of(sequence):
    """Return the atoms of one hexane, or of a peptide as the sampling names them."""
    if sequence == "hexane":
        return describe_liquid(SystemSettings(molecules=(MoleculeCount(name="hexane", count=1),)))
    settings = PeptideSettings(sequence=sequence, solvent="vacuum", start="extended", constraints="none")
    return build_peptide(settings, n_starts=1, seed=1).atoms.topology


def path_of(name):
    (path,) = EXAMPLES.glob(f"*/maps/{name}.yaml")
    return str(path)


def template_of(name, sequence):
    (template,) = find_templates(topology_of(sequence), MappingSettings(files=(path_of(name),)))
    return template


def number(values):
    """Number things in the order in which they first appear."""
    order = list(dict.fromkeys(values))
    return [order.index(value) for value in values]


def terms(array):
    return [tuple(row) for row in array.tolist()]


@pytest.mark.parametrize("name", HEXANE)
def test_species_and_masses_of_hexane_are_those_of_the_table(name):
    species, masses = HEXANE[name]
    template = template_of(name, "hexane")
    assert number(template.type_names) == number(species)
    np.testing.assert_allclose(template.masses, masses, rtol=1e-12)
    assert terms(template.bonds) == [(k, k + 1) for k in range(len(species) - 1)]


def test_beads_of_hexane_hold_the_carbons_of_the_table():
    carbons = [k for k, name in enumerate(topology_of("hexane").names) if name.startswith("C")]
    members = {
        "two_site": [[0, 1, 2], [3, 4, 5]],
        "three_site": [[0, 1], [2, 3], [4, 5]],
        "four_site": [[1], [2], [3], [4]],
        "six_site": [[0], [1], [2], [3], [4], [5]],
        "a3": [[0, 1, 2, 3], [4, 5]],
        "a4": [[0, 1, 2], [3], [4, 5]],
    }
    for name, expected in members.items():
        found = template_of(name, "hexane").members[:, carbons]
        assert [np.flatnonzero(row).tolist() for row in found] == expected


@pytest.mark.parametrize("name", ALANINE)
def test_sites_and_species_of_alanine_are_those_of_the_table(name):
    species, atoms = ALANINE[name]
    topology, template = topology_of("ACE-ALA-NME"), template_of(name, "ACE-ALA-NME")
    heaviest = np.argmax(template.position_weights, axis=1)
    residues = topology.residue_index[heaviest] + 1
    assert tuple(f"{r}:{topology.names[k]}" for r, k in zip(residues, heaviest, strict=True)) == atoms
    assert number(template.type_names) == number(species)


@pytest.mark.parametrize("name", sorted(set(ALANINE) - SHARED_MASS))
def test_a_site_of_alanine_weighs_what_its_members_do(name):
    topology, template = topology_of("ACE-ALA-NME"), template_of(name, "ACE-ALA-NME")
    np.testing.assert_allclose(template.masses, template.members @ topology.masses, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(SHARED_MASS))
def test_sites_that_share_a_type_share_their_mean_mass(name):
    topology, template = topology_of("ACE-ALA-NME"), template_of(name, "ACE-ALA-NME")
    true = template.members @ topology.masses
    types = np.array(template.type_names)
    for kind in set(types):
        # the files give three decimals
        np.testing.assert_allclose(template.masses[types == kind], true[types == kind].mean(), rtol=0.0, atol=5e-4)


def test_the_atomistic_map_is_every_atom_with_its_element():
    topology, template = topology_of("ACE-ALA-NME"), template_of("atomistic", "ACE-ALA-NME")
    assert template.n_beads == topology.n_sites == 22
    order = np.argmax(template.position_weights, axis=1)
    assert sorted(order.tolist()) == list(range(22))
    assert template.type_names == tuple(topology.elements[k] for k in order)
    assert len(template.bonds) == 21


@pytest.mark.parametrize("residue", ["GLY", "PRO", "THR"])
@pytest.mark.parametrize("name", ["core", "core_map2", "core_beta", "core_beta_map2"])
def test_other_residues_take_the_maps_of_alanine(name, residue):
    template = template_of(name, f"ACE-{residue}-NME")
    expected = template_of(name, "ACE-ALA-NME")
    if residue == "GLY" and "beta" in name:
        expected = template_of(name.replace("_beta", ""), "ACE-ALA-NME")
    assert template.names == expected.names
    assert template.type_names == expected.type_names
    assert len(template.impropers) == ("CB" in template.names)


FIFTEEN = "ACE-" + "ALA-" * 15 + "NME"


@pytest.mark.parametrize(
    ("name", "n_beads", "n_types"),
    [
        ("core", 47, 2),
        ("core_map2", 47, 5),
        ("core_beta", 62, 2),
        ("core_beta_map2", 62, 6),
        ("alpha_carbon", 15, 1),
        ("alpha_carbon_map2", 15, 15),
        ("alpha_carbon_map3", 15, 8),
    ],
)
def test_the_chain_of_fifteen_has_the_sites_and_species_of_the_table(name, n_beads, n_types):
    template = template_of(name, FIFTEEN)
    assert (template.n_beads, len(set(template.type_names))) == (n_beads, n_types)
    assert len(template.bonds) == n_beads - 1


def test_the_palindrome_of_alpha_carbons_runs_up_to_eight_and_back():
    assert [int(name[2:]) for name in template_of("alpha_carbon_map3", FIFTEEN).type_names] == [
        *range(1, 9),
        *range(7, 0, -1),
    ]


@pytest.mark.parametrize("name", ALL_ATOMS)
def test_the_net_force_is_that_of_the_atoms_where_all_atoms_are_in_beads(name):
    topology = topology_of("hexane" if name in HEXANE else "ACE-ALA-NME")
    settings = MappingSettings(files=(path_of(name),), forces="sum")
    templates = find_templates(topology, settings)
    reference = make_reference(topology, n_frames=5)
    products = sum_force_products(iter([reference]), templates, n_frames=5)
    weights = fit_force_weights(products, templates, settings, kT=thermal_energy(300.0))
    mapping = build_mapping(topology, templates, weights, settings)
    mapped = map_trajectory(reference, mapping, ())
    atoms, beads = (trajectory.forces.astype(np.float64).sum(axis=1) for trajectory in (reference, mapped))
    # files hold float32: 6e-8 of the largest force, some tens of which are summed
    np.testing.assert_allclose(beads, atoms, rtol=0.0, atol=1e-6 * np.abs(atoms).max())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/maps/*.yaml")), ids=lambda path: path.stem)
def test_every_map_of_the_examples_is_tested_here(path):
    assert path.stem in {*HEXANE, *ALANINE, "atomistic", "alpha_carbon", "alpha_carbon_map2", "alpha_carbon_map3"}


def test_the_box_of_hexane_has_the_published_edge():
    settings = load_config(EXAMPLES / "hexane" / "hexane.yaml")
    # the density is given to three digits: a third of its relative error
    assert box_edge(settings.system, settings.state.density) == pytest.approx(2.79573, rel=0.3e-3)


def test_one_key_chooses_the_map(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    override = "mapping.files=[examples/hexane/maps/four_site.yaml]"
    settings = load_config(Path("examples/hexane/hexane.yaml"), (override,))
    assert settings.mapping.files == ("examples/hexane/maps/four_site.yaml",)
