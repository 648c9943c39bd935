"""Series in named coordinates: forces against the plain twin and finite differences, and molecules that are found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, ForceFieldRecord, load_force_field, save_force_field
from beadsmith.neighbors import find_pairs
from beadsmith.priors.coordinate_series import CoordinateSeries, SeriesCoordinate
from beadsmith.trajectory import StatePoint
from example_chains import break_across, build_chain, make_random_chains

COORDINATES = (
    SeriesCoordinate(name="one", kind="dihedral", beads=(0, 1, 2, 3)),
    SeriesCoordinate(name="two", kind="dihedral", beads=(1, 2, 3, 4)),
    SeriesCoordinate(name="bend", kind="angle", beads=(0, 1, 2), limits=(1.0, 2.4)),
    SeriesCoordinate(name="reach", kind="distance", beads=(0, 4), limits=(0.2, 0.5)),
)
NAMES = ("A", "B", "C", "D", "E")


def build_series(coordinates=COORDINATES, groups=((0, 1), (2, 3)), *, order=3, seed=0, molecule=NAMES, names=NAMES):
    """Return a series with random coefficients of a few kJ/mol."""
    term = CoordinateSeries(names, molecule, coordinates, groups, order=order)
    values = np.random.default_rng(seed).normal(0.0, 3.0, len(term.coefficients))
    return term.with_coefficients(values)


def predict(term, trajectory, **options):
    batch = build_batch(trajectory, np.arange(trajectory.n_frames), **options)
    pairs = find_pairs(batch, 0.1)
    return term.predict(batch, pairs), AbstractEnergyTerm.predict(term, batch, pairs)


def test_compiled_sweep_equals_its_plain_twin():
    frames = make_random_chains(50)
    compiled, plain = predict(build_series(), frames, dtype=torch.float64)
    # 1e-12 of forces of some 1000 kJ/mol/nm
    torch.testing.assert_close(compiled.energy, plain.energy, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(compiled.forces, plain.forces, rtol=1e-10, atol=1e-8)
    # the twin's sums of pulls and their arms cancel to rounding
    torch.testing.assert_close(compiled.virial, plain.virial, rtol=0.0, atol=1e-9)


def test_forces_are_minus_the_slope_of_the_energy():
    frames, term, step = make_random_chains(1), build_series(), 1e-6
    found = predict(term, frames, dtype=torch.float64)[0].forces.numpy()
    batch = build_batch(frames, np.array([0]), dtype=torch.float64)
    pairs = find_pairs(batch, 0.1)
    for site in range(5):
        for axis in range(3):
            energies = []
            for sign in (1.0, -1.0):
                positions = batch.positions.clone()
                positions[site, axis] += sign * step
                energies.append(float(term.predict(replace(batch, positions=positions), pairs).energy[0]))
            # central difference: rounding 1e-13 / 1e-6 and third derivative 1e-12 times some 1e6
            assert found[site, axis] == pytest.approx(-(energies[0] - energies[1]) / (2.0 * step), abs=1e-4)


def test_functions_of_two_dihedrals_are_the_fourier_series_of_total_degree():
    term = build_series(COORDINATES[:2], ((0, 1),), order=3)
    # cos and sin of nφ + mψ for |n| + |m| <= 3: 24 functions; 4 of them of degree 1, 8 of degree 2
    np.testing.assert_array_equal(np.bincount(term.degrees), [0, 4, 8, 12])
    angles = np.random.default_rng(1).uniform(-np.pi, np.pi, (200, 2))
    values, slopes = term.evaluate_basis(angles)
    waves = [(n, m) for n in range(-3, 4) for m in range(-3, 4) if 1 <= abs(n) + abs(m) <= 3]
    series = np.array([f(n * angles[:, 0] + m * angles[:, 1]) for n, m in waves for f in (np.cos, np.sin)]).T
    assert np.linalg.matrix_rank(values) == np.linalg.matrix_rank(series) == 24
    assert np.linalg.matrix_rank(np.hstack([values, series])) == 24
    moved = term.evaluate_basis(angles + [0.0, 1e-6])[0]
    np.testing.assert_allclose((moved - values) / 1e-6, slopes[:, :, 1], atol=1e-4)


def test_distances_and_angles_beyond_their_limits_feel_nothing_and_the_force_has_no_step():
    reach = (SeriesCoordinate(name="reach", kind="distance", beads=(0, 1), limits=(0.12, 0.18)),)
    term = build_series(reach, ((0,),))
    distances = np.linspace(0.10, 0.20, 2001)
    positions = np.zeros((len(distances), 5, 3))
    positions[:, 1, 0] = distances
    positions[:, 2:, 1] = [0.1, 0.2, 0.3]
    frames = replace(make_random_chains(1), positions=positions, times=np.arange(2001.0))
    forces = predict(term, frames, dtype=torch.float64)[0].forces.numpy().reshape(-1, 5, 3)[:, 1, 0]
    assert np.all(forces[(distances < 0.12) | (distances > 0.18)] == 0.0)
    assert np.abs(forces).max() > 100.0
    # a step of 5e-5 nm changes a smooth force by less than its slope, some (3π/0.06)² times 5 kJ/mol, times the step
    assert np.abs(np.diff(forces)).max() < 12.0


def test_only_molecules_of_the_named_beads_feel_the_term():
    frames = make_random_chains(3)
    other = build_series(molecule=NAMES[::-1])
    assert float(predict(other, frames)[0].forces.abs().max()) == 0.0
    two = make_random_chains(1, 5, n_molecules=1)
    topology = build_chain(5, n_molecules=2)
    pair = replace(two, topology=topology, positions=np.concatenate([frames.positions[:1], frames.positions[1:2]], 1))
    alone = predict(build_series(), frames, dtype=torch.float64)[0]
    both = predict(build_series(), pair, dtype=torch.float64)[0]
    assert float(both.energy[0]) == pytest.approx(float(alone.energy[:2].sum()), rel=1e-12)
    torch.testing.assert_close(both.forces, alone.forces[:10])


def test_molecules_broken_across_the_cell_feel_the_same():
    frames = make_random_chains(20)
    broken = break_across(frames, 2.0)
    whole, across = (predict(build_series(COORDINATES[:3], ((0, 1), (2,))), t)[0] for t in (frames, broken))
    # float32 positions up to 4 nm carry 2e-7 nm, and forces change by 1e5 kJ/mol/nm²
    torch.testing.assert_close(whole.forces, across.forces, rtol=1e-3, atol=0.1)


def test_series_comes_back_from_a_force_field_folder(tmp_path):
    frames, term = make_random_chains(5), build_series()
    record = ForceFieldRecord(templates=(frames.topology,), state_points=(StatePoint(temperature=300.0),))
    save_force_field(ForceField([term], None, record), tmp_path)
    (loaded,) = load_force_field(tmp_path).prior
    torch.testing.assert_close(predict(loaded, frames)[0].forces, predict(term, frames)[0].forces, rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": ((0, 1), (2,))}, "do not hold each of 4 coordinates once"),
        ({"order": 0}, "expected at least 1"),
        ({"molecule": ("A", "X")}, "none of A, B, C, D, E"),
        ({"molecule": ("A", "B", "C")}, "outside the molecule"),
    ],
)
def test_series_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        build_series(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beads": (0, 1, 2)}, "has 3 beads, expected 4"),
        ({"limits": (0.0, 1.0)}, "only dihedrals have none"),
        ({"kind": "distance", "beads": (0, 1)}, "only dihedrals have none"),
        ({"kind": "distance", "beads": (0, 1), "limits": (0.2, 0.1)}, "expected lower and upper"),
    ],
)
def test_coordinates_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        SeriesCoordinate(**{"name": "one", "kind": "dihedral", "beads": (0, 1, 2, 3), **changes})
