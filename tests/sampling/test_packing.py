"""Shapes of single molecules, and lattice starts."""

import numpy as np
import pytest

from beadsmith.sampling.interactions import build_interactions
from beadsmith.sampling.packing import embed_molecule, free_spacing, pack, place_on_lattice


def shape_of(name, seed=0):
    """Return the embedded coordinates of one molecule."""
    system = build_interactions((name,), edge=None, cutoff=1.0, ewald_tolerance=5e-4)
    return embed_molecule(system, np.random.default_rng(seed))


# 0.003 nm: the tolerance that embedding promises
CLOSE = {"abs": 0.003}


def distance(shape, i, j):
    """Return the distance of two atoms."""
    return float(np.linalg.norm(shape[i] - shape[j]))


@pytest.mark.parametrize("seed", range(5))
def test_benzene_comes_out_as_a_closed_planar_hexagon(seed):
    shape = shape_of("benzene", seed)
    for i in range(6):
        assert distance(shape, i, (i + 1) % 6) == pytest.approx(0.140, **CLOSE)
        assert distance(shape, i, i + 6) == pytest.approx(0.108, **CLOSE)
    # opposite carbons of a regular hexagon are two edges apart; out of plane less than a thermal vibration
    assert distance(shape, 0, 3) == pytest.approx(0.280, abs=0.006)
    assert np.linalg.svd(shape - shape.mean(axis=0))[1][2] < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_methanol_has_its_equilibrium_bonds_and_angle(seed):
    shape = shape_of("methanol", seed)
    assert distance(shape, 0, 4) == pytest.approx(0.1410, **CLOSE)
    assert distance(shape, 4, 5) == pytest.approx(0.0945, **CLOSE)
    a, b = 0.1410, 0.0945
    across = np.sqrt(a * a + b * b - 2.0 * a * b * np.cos(np.radians(108.5)))
    assert distance(shape, 0, 5) == pytest.approx(across, **CLOSE)


def test_methane_is_a_tetrahedron():
    shape = shape_of("methane")
    lengths = [distance(shape, i, j) for i in range(1, 5) for j in range(i + 1, 5)]
    # H-H distance at the force field's 107.8 degrees is 0.176 nm, at the tetrahedral angle 0.178 nm
    assert lengths == pytest.approx([0.177] * 6, abs=0.003)


def test_hexane_starts_stretched():
    shape = shape_of("hexane")
    carbons = [0, 4, 7, 10, 13, 16]
    assert distance(shape, carbons[0], carbons[-1]) > 0.55


def test_lattice_keeps_molecules_apart_in_any_orientation():
    shapes = [shape_of("hexane")] * 20
    edge = 3 * free_spacing(shapes)
    placed = place_on_lattice(shapes, edge, np.random.default_rng(1))
    closest = min(np.linalg.norm(a[:, None] - b[None], axis=-1).min() for n, a in enumerate(placed) for b in placed[:n])
    assert closest >= 0.24 - 1e-9


def test_lattice_uses_every_site_at_most_once():
    points = np.concatenate(place_on_lattice([np.zeros((1, 3))] * 27, 3.0, np.random.default_rng(1)))
    assert len(np.unique(np.round(points, 6), axis=0)) == 27


def test_packing_scales_molecules_rigidly_to_the_wanted_edge():
    shapes = [shape_of("methanol")] * 8
    edges = []

    def keep(positions, edge, n_iterations):
        edges.append(edge)
        return positions

    positions = pack(shapes, 0.7, np.random.default_rng(1), relax=keep)
    assert edges == sorted(edges, reverse=True)
    assert edges[-1] == pytest.approx(0.7)
    for molecule in positions.reshape(8, 6, 3):
        assert distance(molecule, 0, 4) == pytest.approx(distance(shapes[0], 0, 4), rel=1e-9)
    centres = positions.reshape(8, 6, 3).mean(axis=1)
    assert np.ptp(centres, axis=0) == pytest.approx([0.35] * 3, abs=1e-9)
