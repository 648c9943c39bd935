"""Mapped molecules are whole, their virial is that of the beads, and labels of noisy beads those of blurred ones."""

from dataclasses import replace

import numpy as np
import pytest

from beadsmith.errors import InputError
from beadsmith.geometry import minimum_image
from beadsmith.mapping.apply import build_mapping, fit_force_weights
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.frames import build_molecule_tree, draw_noise, map_trajectory
from beadsmith.mapping.noise import compare_noise, sum_force_products
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from example_references import (
    ALCOHOL,
    DIMER,
    KT,
    build_capped_alanine,
    build_topology,
    make_reference,
    sample_harmonic_molecule,
)
from example_systems import CELLS

# float32 positions of a few nm
FLOAT32 = 1e-6
TWO_BEADS = MoleculeBeads(
    name="alcohol", beads=(BeadDefinition(name="C", atoms=("C",)), BeadDefinition(name="OH", atoms=("O", "H")))
)
ONE_ATOM = MoleculeBeads(name="dimer", beads=(BeadDefinition(name="A", atoms=("A", "B"), weights="atom"),))
MIXTURE = build_topology(DIMER, ALCOHOL, ALCOHOL, DIMER)


def map_all(reference, **options):
    """Return the beads of a trajectory under a sum map."""
    settings = MappingSettings(**{"definitions": (TWO_BEADS, ONE_ATOM), "forces": "sum", **options})
    templates = build_templates(reference.topology, settings)
    products = sum_force_products([reference], templates, n_frames=reference.n_frames)
    weights = fit_force_weights(products, templates, settings, kT=KT)
    mapping = build_mapping(reference.topology, templates, weights, settings)
    return map_trajectory(reference, mapping, build_molecule_tree(reference.topology))


@pytest.mark.parametrize("name", CELLS)
def test_molecules_of_several_beads_stay_whole_and_begin_in_the_cell(name):
    cell = CELLS[name]
    whole = make_reference(MIXTURE, cell=cell, spread=0.02)
    shifts = np.random.default_rng(1).integers(-2, 3, size=whole.positions.shape) @ cell
    beads = map_all(replace(whole, positions=(whole.positions + shifts).astype(np.float32)))
    bonds = beads.topology.bonds
    assert len(bonds) == 2
    vectors = beads.positions[:, bonds[:, 1]] - beads.positions[:, bonds[:, 0]]
    np.testing.assert_allclose(vectors, minimum_image(vectors, beads.cell), atol=5e-6)
    first = np.flatnonzero(np.diff(beads.topology.molecule_index, prepend=-1))
    fractions = beads.positions[:, first] @ np.linalg.inv(cell)
    assert fractions.min() >= -FLOAT32
    assert fractions.max() <= 1.0 + FLOAT32


def test_wide_molecule_of_narrow_beads_is_accepted():
    cell = np.diag([0.5, 3.0, 3.0])
    chain = ("chain", ("A", "B", "C"), (10.0,) * 3, ((0, 1), (1, 2)), ())
    topology = build_topology(chain)
    definition = MoleculeBeads(
        name="chain", beads=tuple(BeadDefinition(name=atom, atoms=(atom,)) for atom in ("A", "B", "C"))
    )
    reference = make_reference(topology, n_frames=3, cell=cell)
    reference.positions[:] = [[0.4, 1.0, 1.0], [0.1, 1.0, 1.0], [0.3, 1.0, 1.0]]
    beads = map_all(reference, definitions=(definition,))
    # 0.4 -> 0.1 is a step of +0.2 across the boundary
    np.testing.assert_allclose(beads.positions[0, :, 0], [0.4, 0.6, 0.8], atol=FLOAT32)


def test_bead_wider_than_half_the_cell_is_refused():
    reference = make_reference(build_topology(ALCOHOL), n_frames=2, cell=np.eye(3), spread=0.02)
    reference.positions[1, :, 0] = [0.0, 0.3, 0.6]
    wide = MoleculeBeads(name="alcohol", beads=(BeadDefinition(name="X", atoms=("C", "O", "H")),))
    with pytest.raises(InputError, match=r"bead 0 \('X' of 'alcohol'\) reaches across 0.60 of the cell"):
        map_all(reference, definitions=(wide,))


def test_virial_is_that_of_the_centres_of_the_beads():
    # without a cell, W = Σ F ⊗ X over molecules, symmetrised, about whatever centre X
    reference = make_reference(MIXTURE)
    molecule, masses = MIXTURE.molecule_index, MIXTURE.masses

    def moments(positions, weights, forces, owner):
        centres, totals = np.zeros((12, 4, 3)), np.zeros((12, 4, 3))
        np.add.at(centres, (slice(None), owner), positions * (weights / np.bincount(owner, weights)[owner])[:, None])
        np.add.at(totals, (slice(None), molecule), forces)
        found = np.einsum("fmx,fmy->fxy", totals, centres)
        return 0.5 * (found + found.transpose(0, 2, 1))

    of_atoms = moments(reference.positions, masses, reference.forces, molecule)
    beads = map_all(replace(reference, virial=of_atoms))
    expected = moments(beads.positions, beads.topology.masses, reference.forces, beads.topology.molecule_index)
    # forces of 1,000 kJ/mol/nm times float32 positions
    np.testing.assert_allclose(beads.virial, expected, atol=0.01)
    assert np.abs(beads.virial - of_atoms).max() > 10.0


def test_virial_is_left_out_where_a_molecule_has_no_bead():
    beads = map_all(make_reference(MIXTURE), omit=("dimer",), definitions=(TWO_BEADS,))
    assert beads.virial is None
    assert beads.topology.names == ("C", "OH", "C", "OH")


def test_noise_of_a_frame_does_not_depend_on_chunks():
    whole = draw_noise(3, 0, (7, 2, 3))
    np.testing.assert_array_equal(draw_noise(3, 4, (3, 2, 3)), whole[4:])
    assert not np.any(draw_noise(4, 0, (7, 2, 3)) == whole)


def test_noise_is_normal():
    noise = draw_noise(1, 0, (4000, 2, 3)).reshape(4000, 6)
    # 24,000 independent numbers: 4 standard errors of mean, variance and correlation between frames
    assert abs(noise.mean()) < 4 / np.sqrt(24_000)
    assert abs(noise.var() - 1.0) < 4 * np.sqrt(2 / 24_000)
    assert abs(np.mean(noise[1:] * noise[:-1])) < 4 / np.sqrt(24_000)


def blurred_chain(*, width, forces="optimal", n_frames=4000):
    """Return beads of a harmonic chain at its two ends, blurred; and the covariance of the ends."""
    stiffness = np.array([[3000.0, -2500.0, 0.0], [-2500.0, 5000.0, -900.0], [0.0, -900.0, 1500.0]])
    positions, atom_forces = sample_harmonic_molecule(stiffness, n_frames)
    chain = ("chain", ("A", "B", "C"), (12.0, 4.0, 20.0), ((0, 1), (1, 2)), ())
    reference = replace(
        make_reference(build_topology(chain), n_frames=n_frames),
        positions=positions.astype(np.float32),
        forces=atom_forces.astype(np.float32),
    )
    ends = MoleculeBeads(
        name="chain", beads=(BeadDefinition(name="A", atoms=("A",)), BeadDefinition(name="C", atoms=("C",)))
    )
    beads = map_all(reference, definitions=(ends,), forces=forces, noise_width=width, regularization=0.0)
    return reference, beads, KT * np.linalg.inv(stiffness)[np.ix_([0, 2], [0, 2])]


def test_optimal_labels_of_a_blurred_harmonic_molecule_are_its_mean_force():
    # R' is normal with covariance S + s², so the mean force is -kT (S + s²)⁻¹ R', and a linear map can reach it
    width = 0.02
    _, beads, covariance = blurred_chain(width=width)
    exact = -KT * np.einsum("bc,fcx->fbx", np.linalg.inv(covariance + width**2 * np.eye(2)), beads.positions)
    # the map is fitted to 12,000 samples: its weights are good to about 1 %
    assert np.mean((beads.forces - exact) ** 2) < 1e-3 * np.mean(exact**2)


@pytest.mark.parametrize("forces", ["slice", "optimal"])
def test_blurred_labels_obey_the_stein_identity(forces):
    # <F · R'> = -kT per component for every unbiased map
    _, beads, _ = blurred_chain(width=0.01, forces=forces, n_frames=20000)
    moment = np.mean(beads.forces.astype(np.float64) * beads.positions, axis=2)
    # independent frames: within 4 standard errors
    error = moment.std(axis=0) / np.sqrt(len(moment))
    np.testing.assert_array_less(np.abs(moment.mean(axis=0) + KT), 4 * error)


def test_narrow_noise_leaves_the_labels_of_the_optimal_map():
    reference, beads, _ = blurred_chain(width=1e-6)
    plain = map_all(
        reference,
        definitions=(
            MoleculeBeads(
                name="chain", beads=(BeadDefinition(name="A", atoms=("A",)), BeadDefinition(name="C", atoms=("C",)))
            ),
        ),
        forces="optimal",
        regularization=0.0,
    )
    # B is off by s² Q / kT² = 1e-10, times a score of kT/s = 2.5e6 kJ/mol/nm
    np.testing.assert_allclose(beads.forces, plain.forces, atol=0.05)


def test_blurred_score_is_the_mean_square_of_the_blurred_labels():
    reference, beads, _ = blurred_chain(width=0.01, n_frames=20000)
    ends = (BeadDefinition(name="A", atoms=("A",)), BeadDefinition(name="C", atoms=("C",)))
    settings = MappingSettings(definitions=(MoleculeBeads(name="chain", beads=ends),))
    templates = build_templates(reference.topology, settings)
    products = sum_force_products([reference], templates, n_frames=reference.n_frames)
    comparison = compare_noise(products, templates, regularization=0.0, noise_width=0.01, kT=KT)
    # 120,000 numbers, two thirds of them independent: a mean square is good to 0.6 %; held-out fits cost less
    assert comparison.blurred == pytest.approx(float(np.mean(beads.forces.astype(np.float64) ** 2)), rel=0.02)
    assert comparison.blurred < comparison.mean_squares["optimal"]
    assert comparison.to_json()["blurred_force_mean_square"] == comparison.blurred


def test_five_beads_of_capped_alanine_take_the_forces_of_their_rigid_groups():
    topology = build_capped_alanine(n_molecules=2)
    reference = make_reference(topology, n_frames=4)
    beads = map_all(reference, beads="backbone", definitions=(), forces="uniform")
    np.testing.assert_allclose(beads.positions[:, :5], reference.positions[:, [4, 6, 8, 14, 16]], atol=FLOAT32)
    nitrogen = reference.forces[:, 6].astype(np.float64) + reference.forces[:, 7]
    np.testing.assert_allclose(beads.forces[:, 1], nitrogen, rtol=1e-5)
