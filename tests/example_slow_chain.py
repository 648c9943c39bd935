"""A chain whose potential of mean force is known: stiff bonds and angles, and two coupled dihedrals with two basins.

Bonds, angles and dihedrals are independent of each other, so exact frames are drawn from their own distributions. Force
labels are the true mean force plus noise of the kind that mapping leaves: it turns with the molecule, differs between
directions and is correlated between beads.
"""

import numpy as np
import torch

from beadsmith.analysis.definitions import BasinDefinition, CoordinateDefinition, CoordinateRange
from beadsmith.batch import build_batch
from beadsmith.energy import predict_prior
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.neighbors import find_pairs
from beadsmith.priors.coordinate_series import CoordinateSeries, SeriesCoordinate
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds
from beadsmith.trajectory import StatePoint
from beadsmith.units import thermal_energy
from example_chains import build_chain, build_positions, make_frames

NAMES = ("A", "B", "C", "D", "E")
KT = thermal_energy(300.0)
BOND, BOND_STIFFNESS, ANGLE, ANGLE_STIFFNESS = 0.14, 20000.0, 1.95, 150.0
TRUTH = {(0, 1): 2.0, (0, -2): 5.0, (1, 0): 2.0, (1, 1): 1.5, (-2, 0): -2.0, (0, 2): 2.0, (-1, -2): 1.0}
"""Coefficient [kJ/mol] of each product: n > 0 is cos nθ, n < 0 is sin |n|θ."""

COUPLING, COUPLED_PSI = 5.5, np.radians(-60.0)
"""Strength [kJ/mol] with which a wrong force field couples its third bond to psi, and the psi where it is strongest."""

ALPHA = BasinDefinition(name="alpha", ranges=(CoordinateRange(coordinate="psi", start=-150.0, end=30.0),))
DEFINITIONS = (
    CoordinateDefinition(name="phi", kind="dihedral", sites=NAMES[:4]),
    CoordinateDefinition(name="psi", kind="dihedral", sites=NAMES[1:]),
)


def build_torsions(coefficients):
    """Return the energy of the dihedrals."""
    dihedrals = tuple(
        SeriesCoordinate(name=name, kind="dihedral", beads=tuple(range(k, k + 4)))
        for k, name in enumerate(("phi", "psi"))
    )
    term = CoordinateSeries(NAMES, NAMES, dihedrals, ((0, 1),), order=3)
    return term.with_coefficients(np.array([coefficients.get(tuple(row), 0.0) for row in term.multiples.tolist()]))


def build_stiff_terms():
    bonds = tuple((NAMES[k], NAMES[k + 1]) for k in range(4))
    angles = tuple(NAMES[k : k + 3] for k in range(3))
    return [
        HarmonicBonds(NAMES, bonds, centres=(BOND,) * 4, stiffnesses=(BOND_STIFFNESS,) * 4),
        HarmonicAngles(NAMES, angles, centres=(ANGLE,) * 3, stiffnesses=(ANGLE_STIFFNESS,) * 3),
    ]


def build_force_field(torsions):
    """Return stiff terms and the given coefficients of the dihedrals."""
    record = ForceFieldRecord(templates=(build_chain(5),), state_points=(StatePoint(temperature=300.0),))
    return ForceField([*build_stiff_terms(), build_torsions(torsions)], None, record)


def build_coupling(strength=COUPLING):
    """Return an energy that pulls the bond C-D where psi is near `COUPLED_PSI`: strength (1 + cos(ψ − ψ0)) cos x(r).

    Around its mean length x(r) is a quarter turn, so that in frames without the coupling the mean energy, and the mean
    force along psi, is zero at every psi. A bond's gradient and that of a dihedral around it are orthogonal.
    """
    centre = mean_bond_length()
    coordinates = (
        SeriesCoordinate(name="psi", kind="dihedral", beads=(1, 2, 3, 4)),
        SeriesCoordinate(name="length", kind="distance", beads=(2, 3), limits=(centre - 0.05, centre + 0.05)),
    )
    term = CoordinateSeries(NAMES, NAMES, coordinates, ((0, 1),), order=2)
    values = {(0, 1): 1.0, (1, 1): np.cos(COUPLED_PSI), (-1, 1): np.sin(COUPLED_PSI)}
    return term.with_coefficients(strength * np.array([values.get(tuple(row), 0.0) for row in term.multiples.tolist()]))


def mean_bond_length():
    """Return the mean of a bond that nothing is coupled to."""
    grid, density = _bond_density()
    return float(grid @ density / density.sum())


def coupled_weights(psi, strength=COUPLING):
    """Return by which factor the coupling changes the density of psi: its integral over the bond, exactly."""
    grid, density = _bond_density()
    term = build_coupling(strength)
    values = np.stack(np.meshgrid(psi, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    energy = (term.evaluate_basis(values)[0] @ term.coefficients.numpy()).reshape(len(psi), len(grid))
    return np.exp(-energy / KT) @ density / density.sum()


def _bond_density():
    # 22 points a standard deviation: sums agree with integrals to 2e-7
    grid = np.linspace(0.08, 0.20, 241)
    return grid, grid**2 * np.exp(-0.5 * BOND_STIFFNESS * (grid - BOND) ** 2 / KT)


def grid_populations(torsions, n=360):
    """Return the exact distribution of the dihedrals on a grid, shape (n, n), and its angles."""
    angles = (np.arange(n) + 0.5) * 2.0 * np.pi / n - np.pi
    phi, psi = (axis.ravel() for axis in np.meshgrid(angles, angles, indexing="ij"))
    term = build_torsions(torsions)
    energy = term.evaluate_basis(np.stack([phi, psi], axis=1))[0] @ term.coefficients.numpy()
    weights = np.exp(-energy / KT).reshape(n, n)
    return weights / weights.sum(), angles


def exact_population(torsions, coupling=0.0):
    """Return the population of `ALPHA`, with a bond coupled to psi if `coupling` is given [kJ/mol]."""
    weights, angles = grid_populations(torsions)
    if coupling:
        weights = weights * coupled_weights(angles, coupling)
    inside = (np.degrees(angles) >= -150.0) & (np.degrees(angles) < 30.0)
    return float(weights[:, inside].sum() / weights.sum())


def draw_dihedrals(rng, weights, angles, n_frames):
    """Return independent φ and ψ of a distribution on a grid, shape (n_frames, 2)."""
    cells = rng.choice(weights.size, n_frames, p=(weights / weights.sum()).ravel())
    inside = rng.uniform(-0.5, 0.5, (n_frames, 2)) * (angles[1] - angles[0])
    return np.stack([angles[cells // len(angles)], angles[cells % len(angles)]], axis=1) + inside


def draw_frames(n_frames, *, seed, noise, coefficients=TRUTH):
    """Return independent frames of the exact distribution with noisy labels of the exact mean force.

    `noise` is the root-mean-square of a noisy force component [kJ/mol/nm].
    """
    rng = np.random.default_rng(seed)
    weights, angles = grid_populations(coefficients)
    dihedrals = draw_dihedrals(rng, weights, angles, n_frames)
    lengths = _draw(rng, np.linspace(0.10, 0.18, 4001), lambda r: r**2, BOND, BOND_STIFFNESS, (n_frames, 4))
    bends = _draw(rng, np.linspace(1.0, 2.9, 4001), np.sin, ANGLE, ANGLE_STIFFNESS, (n_frames, 3))
    frames = make_frames(build_chain(5), build_positions(lengths, bends, dihedrals))
    batch = build_batch(frames, np.arange(n_frames), dtype=torch.float64)
    terms = [*build_stiff_terms(), build_torsions(coefficients)]
    forces = predict_prior(terms, batch, find_pairs(batch, 0.01)).forces.numpy().reshape(n_frames, 5, 3)
    forces = forces + draw_noise(rng, frames.positions, noise)
    return make_frames(build_chain(5), frames.positions, forces=forces.astype(np.float32))


def draw_noise(rng, positions, noise):
    """Return noise without net force: along each bond, and half as strong on beads alone."""
    n_frames = len(positions)
    bonds = np.diff(positions.astype(np.float64), axis=1)
    bonds /= np.linalg.norm(bonds, axis=2, keepdims=True)
    pulls = rng.normal(0.0, 2.0, (n_frames, 4, 1)) * bonds
    forces = rng.normal(0.0, 0.5, (n_frames, 5, 3))
    forces[:, :-1] += pulls
    forces[:, 1:] -= pulls
    forces -= forces.mean(axis=1, keepdims=True)
    return forces * noise / np.sqrt(np.mean(forces**2))


def _draw(rng, grid, volume, centre, stiffness, shape):
    """Return values of the density volume · exp(−½ k (x − x0)²/kT) by inverting its integral."""
    density = volume(grid) * np.exp(-0.5 * stiffness * (grid - centre) ** 2 / KT)
    integral = np.cumsum(density)
    return np.interp(rng.uniform(0.0, 1.0, shape), integral / integral[-1], grid)
