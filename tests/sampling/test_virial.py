"""The molecular virial against closed forms: pair sums, lattices, the tail, and the pressure of two soft spheres."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from scipy.integrate import quad, simpson
from scipy.spatial.transform import Rotation

from beadsmith.sampling.engine import Platform
from beadsmith.sampling.systems import MoleculeCount, SystemSettings, build_system
from beadsmith.sampling.virial import build_virial_engine, compute_virial
from beadsmith.topology import build_bead_topology
from beadsmith.units import COULOMB_CONSTANT, GRAM_PER_CUBIC_CENTIMETRE, thermal_energy

REFERENCE = Platform(name="Reference", threads=1)
NO_CELL = np.eye(3)


def soft_spheres(n_sites, power, *, edge, cutoff, tail=True):
    """Return the virial engine of a fluid of u(r) = r^-power in a cubic cell."""
    system = openmm.System()
    force = openmm.CustomNonbondedForce(f"r^-{power}")
    for _ in range(n_sites):
        system.addParticle(1.0)
        force.addParticle([])
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(cutoff)
    force.setUseLongRangeCorrection(tail)
    system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*(edge * np.eye(3)))
    topology = build_bead_topology(type_names=("S",), types=np.zeros(n_sites, dtype=np.int64), masses=np.array([1.0]))
    return build_virial_engine(system, topology, REFERENCE)


def pair_sum(positions, cell, power, cutoff):
    """Return minus the strain derivative of sum r^-power, pair by pair: sum of power r^-(power + 2) r⊗r."""
    images = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]) @ cell
    virial = np.zeros((3, 3))
    for i in range(len(positions)):
        for j in range(i):
            for vector in positions[i] - positions[j] + images:
                if (r := np.linalg.norm(vector)) < cutoff:
                    virial += power * r ** -(power + 2) * np.outer(vector, vector)
    return virial


def tail_energy(n_sites, power, *, volume, cutoff):
    """Return 2 pi N²/V times the integral of r^(2 - power) from the cutoff on."""
    return 2.0 * np.pi * n_sites**2 / volume * cutoff ** (3 - power) / (power - 3)


CELLS = {
    "cubic": 3.0 * np.eye(3),
    "triclinic": np.array([[3.0, 0.0, 0.0], [0.9, 2.8, 0.0], [-0.7, 0.6, 2.9]]),
    # b_x = a_x/2: the edge of OpenMM's reduced form, which a shear crosses
    "hexagonal": np.array([[3.0, 0.0, 0.0], [1.5, 2.6, 0.0], [0.0, 0.0, 3.0]]),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_virial_of_soft_spheres_equals_the_pair_sum_with_all_components(cell):
    # r^-12 with cutoff 1.2: a pair that crosses the cutoff changes the virial by 1e-1 of 1e4
    positions = np.random.default_rng(1).uniform(size=(12, 3)) @ cell
    engine = soft_spheres(12, 12, edge=3.0, cutoff=1.2, tail=False)
    expected = pair_sum(positions, cell, 12, 1.2)
    found = compute_virial(engine, positions, cell, strain=1e-4)
    assert np.abs(expected - np.diag(np.diag(expected))).max() > 0.01 * np.abs(expected).max()
    # central differences: strain²/6 times (12 · 13 · 14) / 12
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_virial_of_an_inverse_power_lattice_is_the_power_times_its_energy_tail_included():
    # simple cubic lattice of constant 1; shells at sqrt(8) = 2.83 and 3: no pair crosses the cutoff 2.9
    power, n_side, cutoff = 9, 6, 2.9
    positions = np.stack(np.meshgrid(*[np.arange(n_side) + 0.25] * 3), axis=-1).reshape(-1, 3).astype(float)
    n_sites, edge = len(positions), float(n_side)
    engine = soft_spheres(n_sites, power, edge=edge, cutoff=cutoff)
    shells = np.array([(a, b, c) for a in range(-3, 4) for b in range(-3, 4) for c in range(-3, 4)], dtype=float)
    r = np.linalg.norm(shells, axis=1)
    pairs = 0.5 * n_sites * np.sum(r[(r > 0) & (r < cutoff)] ** -float(power))
    tail = tail_energy(n_sites, power, volume=edge**3, cutoff=cutoff)
    found = compute_virial(engine, positions, edge * np.eye(3), strain=1e-4)
    # each diagonal element: a third of n U of the pairs, and -dU/d(ln V) = U for the tail, which goes as 1/V
    np.testing.assert_allclose(found, (power * pairs / 3.0 + tail) * np.eye(3), rtol=1e-6, atol=1e-6 * pairs)


def test_virial_of_the_long_range_correction_is_its_energy_on_the_diagonal():
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    found = compute_virial(soft_spheres(2, 6, edge=4.0, cutoff=1.0), positions, 4.0 * np.eye(3))
    expected = tail_energy(2, 6, volume=64.0, cutoff=1.0)
    # truncation of the central difference: strain² = 4e-6
    np.testing.assert_allclose(found, expected * np.eye(3), rtol=1e-5, atol=1e-9)


def two_methanols(seed=1):
    """Return an open system of two methanols 0.4 nm apart and its virial engine."""
    settings = SystemSettings(molecules=(MoleculeCount(name="methanol", count=2),))
    atoms = build_system(settings, density=None, cutoff=1.0, seed=seed)
    first = atoms.positions[:6] - atoms.positions[:6].mean(axis=0)
    second = atoms.positions[6:] - atoms.positions[6:].mean(axis=0) + [0.3, 0.25, -0.1]
    return replace(atoms, positions=np.concatenate([first, second]))


def methanol_pair_virial(positions, masses):
    """Return the symmetric part of F⊗R of two methanols from published charges and Lennard-Jones parameters."""
    charges = np.array([0.145, 0.04, 0.04, 0.04, -0.683, 0.418])
    sigma = np.array([0.35, 0.25, 0.25, 0.25, 0.312, 0.0])
    epsilon = np.array([0.276144, 0.12552, 0.12552, 0.12552, 0.71128, 0.0])
    vectors = positions[:6, None] - positions[None, 6:]
    r = np.linalg.norm(vectors, axis=-1)
    sixth = (np.sqrt(np.outer(sigma, sigma)) / r) ** 6
    slope = 24.0 * np.sqrt(np.outer(epsilon, epsilon)) * (2.0 * sixth**2 - sixth) / r
    slope += COULOMB_CONSTANT * np.outer(charges, charges) / r**2
    force = ((slope / r)[..., None] * vectors).sum(axis=(0, 1))
    weights = masses[:6] / masses[:6].sum()
    virial = np.outer(force, weights @ positions[:6] - weights @ positions[6:])
    return 0.5 * (virial + virial.T)


def test_molecular_virial_of_two_methanols_is_their_force_times_distance_of_mass_centres():
    atoms = two_methanols()
    engine = build_virial_engine(atoms.system, atoms.topology, REFERENCE)
    found = compute_virial(engine, atoms.positions, NO_CELL, strain=1e-4)
    expected = methanol_pair_virial(atoms.positions, atoms.topology.masses)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_molecular_virial_turns_with_the_cluster():
    atoms = two_methanols()
    engine = build_virial_engine(atoms.system, atoms.topology, REFERENCE)
    rotation = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    plain = compute_virial(engine, atoms.positions, NO_CELL, strain=1e-4)
    turned = compute_virial(engine, atoms.positions @ rotation.T, NO_CELL, strain=1e-4)
    # the truncation error, about 1e-6 of the largest element, does not turn with the cluster
    np.testing.assert_allclose(turned, rotation @ plain @ rotation.T, atol=1e-5 * np.abs(plain).max())


def test_molecular_virial_does_not_depend_on_heavy_hydrogens():
    atoms = two_methanols()
    for i in (1, 2, 3, 5):
        atoms.system.setParticleMass(i, 3.0)
    engine = build_virial_engine(atoms.system, atoms.topology, REFERENCE)
    expected = methanol_pair_virial(atoms.positions, atoms.topology.masses)
    found = compute_virial(engine, atoms.positions, NO_CELL, strain=1e-4)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_molecular_virial_of_a_periodic_liquid_ignores_which_images_molecules_are_in():
    settings = SystemSettings(molecules=(MoleculeCount(name="methanol", count=30),))
    atoms = build_system(settings, density=0.5 * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.7, seed=1)
    engine = build_virial_engine(atoms.system, atoms.topology, Platform(name="CPU", threads=1))
    cell = atoms.edge * np.eye(3)
    shifts = np.random.default_rng(1).integers(-2, 3, size=(30, 3)) @ cell
    plain = compute_virial(engine, atoms.positions, cell)
    shifted = compute_virial(engine, atoms.positions + shifts[atoms.topology.molecule_index], cell)
    # single precision: 1e-3 kJ/mol of energy over twice the strain; elements are of the order of 100 kJ/mol
    np.testing.assert_allclose(shifted, plain, atol=0.5)


def test_two_threads_give_the_virial_of_one():
    settings = SystemSettings(molecules=(MoleculeCount(name="methanol", count=30),))
    atoms = build_system(settings, density=0.5 * GRAM_PER_CUBIC_CENTIMETRE, cutoff=0.7, seed=1)
    cell = atoms.edge * np.eye(3)
    one, two = (
        compute_virial(
            build_virial_engine(atoms.system, atoms.topology, Platform(name="CPU", threads=n)), atoms.positions, cell
        )
        for n in (1, 2)
    )
    # each context builds its own neighbour list, whose order changes single-precision sums
    np.testing.assert_allclose(two, one, atol=0.5)


def test_mean_virial_pressure_of_two_soft_spheres_is_kt_times_the_volume_derivative_of_ln_z():
    # Z = V (V + f), f = 4 pi integral of (exp(-u/kT) - 1) r² dr, so P V = kT (1 + V/(V + f))
    edge, temperature = 6.0, 300.0
    kt, volume = thermal_energy(temperature), edge**3
    f = 4.0 * np.pi * quad(lambda r: np.expm1(-(r**-12.0) / kt) * r * r, 1e-6, edge / 2.0)[0]
    exact_excess = kt * (volume / (volume + f) - 1.0) / volume
    # u(2.9) = 3e-6 kJ/mol: the cutoff plays no role
    engine = soft_spheres(2, 12, edge=edge, cutoff=2.9, tail=False)
    direction = np.array([0.36, 0.48, 0.80])
    distances = np.linspace(0.6, 2.8, 221)
    traces = [
        np.trace(compute_virial(engine, np.stack([np.zeros(3), r * direction]), edge * np.eye(3), strain=1e-4))
        for r in distances
    ]
    integral = simpson(4.0 * np.pi * distances**2 * np.exp(-(distances**-12.0) / kt) * traces, x=distances)
    excess = integral / (volume + f) / (3.0 * volume)
    # what is left is Simpson's rule on 0.01 nm
    assert excess == pytest.approx(exact_excess, rel=1e-4)
