"""Starting coordinates: the shape of one molecule from its force field, and a box of many without overlap."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import openmm
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.transform import Rotation

from beadsmith.errors import InputError

_CONTACT = 0.12
"""Half of a typical distance between atoms of two molecules in contact [nm]; only sets how far apart packing starts."""

_SHRINK = 0.93
"""Factor on all molecule centres in one step of the compression: less than half a contact distance for neighbours."""

_NOT_BONDED = 0.22
"""Smallest distance of two atoms more than two bonds apart in a starting molecule [nm]."""


def embed_molecule(system: openmm.System, generator: np.random.Generator) -> Float[np.ndarray, "atoms 3"]:
    """Return coordinates of one molecule with the bond lengths and angles of its force field, centred at the origin.

    Classical scaling of the shortest-path distances gives a stretched start, whose distances between atoms one and
    two bonds apart are then refined to the equilibrium values. Rings come out closed and planar centres planar.
    Source: G. M. Crippen, T. F. Havel, Distance Geometry and Molecular Conformation (1988).

    Parameters
    ----------
    system : OpenMM System of this molecule alone.
    generator : Breaks symmetric starts.

    Raises
    ------
    InputError : the bonds and angles cannot all be met in three dimensions.
    """
    pairs, lengths = _equilibrium_distances(system)
    n_atoms = system.getNumParticles()
    if n_atoms == 1:
        return np.zeros((1, 3))
    first, second = np.triu_indices(n_atoms, 1)
    target = np.zeros((n_atoms, n_atoms))
    target[pairs[:, 0], pairs[:, 1]] = target[pairs[:, 1], pairs[:, 0]] = lengths
    is_fixed = target[first, second] > 0.0
    wanted = np.where(is_fixed, target[first, second], _NOT_BONDED)
    start = _scale_classically(shortest_path(csr_array(target), directed=False))

    def stress(flat: np.ndarray) -> tuple[float, np.ndarray]:
        points = flat.reshape(-1, 3)
        vectors = points[first] - points[second]
        distances = np.linalg.norm(vectors, axis=1)
        error = distances - wanted
        error[~is_fixed & (error > 0.0)] = 0.0
        gradient = np.zeros_like(points)
        pull = (2.0 * error / distances)[:, None] * vectors
        np.add.at(gradient, first, pull)
        np.add.at(gradient, second, -pull)
        return float(error @ error), gradient.ravel()

    for _ in range(20):
        noisy = start + generator.normal(scale=0.03, size=start.shape)
        result = minimize(
            stress,
            noisy.ravel(),
            jac=True,
            method="L-BFGS-B",
            # atoms leave a plane at hardly any cost: only a tight minimisation flattens a ring
            options={"maxiter": 5000, "maxfun": 50000, "ftol": 1e-17, "gtol": 1e-9},
        )
        points = result.x.reshape(-1, 3)
        distances = np.linalg.norm(points[first] - points[second], axis=1)
        # 0.003 nm: angles around one atom need not be compatible to the last digit; minimisation does the rest
        if np.all(np.abs(distances - wanted)[is_fixed] < 0.003):
            return points - points.mean(axis=0)
    raise InputError(
        f"no geometry meets the bond lengths and angles of a molecule of {n_atoms} atoms",
        fix="Check its bonds and angles in the force-field file.",
    )


def place_on_lattice(
    shapes: list[Float[np.ndarray, "_ 3"]], edge: float, generator: np.random.Generator
) -> list[Float[np.ndarray, "_ 3"]]:
    """Return molecules with random orientations on random sites of a simple cubic lattice.

    Parameters
    ----------
    shapes : Coordinates of each molecule around the origin [nm].
    edge : Edge of the cube that holds the lattice [nm].
    generator : Chooses sites and orientations.
    """
    per_side = int(np.ceil(len(shapes) ** (1.0 / 3.0) - 1e-9))
    sites = generator.permutation(per_side**3)[: len(shapes)]
    centres = (np.stack(np.unravel_index(sites, (per_side,) * 3), axis=1) + 0.5) * (edge / per_side)
    return [Rotation.random(rng=generator).apply(shape) + centre for shape, centre in zip(shapes, centres, strict=True)]


def free_spacing(shapes: list[Float[np.ndarray, "_ 3"]]) -> float:
    """Return the distance of centres [nm] at which no two of the molecules can overlap in any orientation."""
    return 2.0 * (max(float(np.linalg.norm(shape, axis=1).max()) for shape in shapes) + _CONTACT)


def pack(
    shapes: list[Float[np.ndarray, "_ 3"]],
    edge: float,
    generator: np.random.Generator,
    *,
    relax: Callable[[Float[np.ndarray, "atoms 3"], float, int], Float[np.ndarray, "atoms 3"]],
) -> Float[np.ndarray, "atoms 3"]:
    """Return positions of all atoms in a cubic box [nm], molecules whole and without overlap.

    Molecules start on a lattice so wide that none can overlap, and the box shrinks to the wanted edge in steps of a
    few per cent: molecule centres are scaled rigidly and the overlaps of each step are relaxed.

    Parameters
    ----------
    shapes : Coordinates of each molecule around the origin [nm].
    edge : Final edge of the box [nm].
    generator : Chooses lattice sites and orientations.
    relax : Returns positions of lower energy in a box of the given edge after at most the given iterations.
    """
    per_side = int(np.ceil(len(shapes) ** (1.0 / 3.0) - 1e-9))
    start = max(edge, per_side * free_spacing(shapes))
    n_steps = int(np.ceil(np.log(start / edge) / -np.log(_SHRINK)))
    edges = np.geomspace(start, edge, n_steps + 1)
    molecule_index = np.repeat(np.arange(len(shapes)), [len(shape) for shape in shapes])
    positions = np.concatenate(place_on_lattice(shapes, start, generator))
    for wider, narrower in pairwise(edges.tolist()):
        centres = _centres(positions, molecule_index)
        positions = relax(positions + ((narrower / wider - 1.0) * centres)[molecule_index], narrower, 20)
    return relax(positions, edge, 100)


def _centres(positions: Float[np.ndarray, "atoms 3"], molecule_index: Int[np.ndarray, "atoms"]) -> np.ndarray:
    counts = np.bincount(molecule_index)[:, None]
    return np.stack([np.bincount(molecule_index, positions[:, k]) for k in range(3)], axis=1) / counts


def _equilibrium_distances(system: openmm.System) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of atoms one or two bonds apart and their distances at equilibrium [nm]."""
    known: dict[tuple[int, int], float] = {}
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        known[min(i, j), max(i, j)] = length._value
    angles = []
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, _ = force.getBondParameters(k)
                known[min(i, j), max(i, j)] = length._value
        elif isinstance(force, openmm.HarmonicAngleForce):
            angles += [force.getAngleParameters(k)[:4] for k in range(force.getNumAngles())]
    arms = dict(known)
    for i, j, k, angle in angles:
        a, b = arms[min(i, j), max(i, j)], arms[min(j, k), max(j, k)]
        known.setdefault((min(i, k), max(i, k)), float(np.sqrt(a * a + b * b - 2.0 * a * b * np.cos(angle._value))))
    return np.array(list(known), dtype=np.int64).reshape(-1, 2), np.array(list(known.values()))


def _scale_classically(distances: Float[np.ndarray, "atoms atoms"]) -> Float[np.ndarray, "atoms 3"]:
    """Return the three-dimensional points whose distances are closest to the given ones (metric scaling)."""
    n_atoms = len(distances)
    centring = np.eye(n_atoms) - 1.0 / n_atoms
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    chosen = np.argsort(values)[::-1][:3]
    points = vectors[:, chosen] * np.sqrt(np.clip(values[chosen], 0.0, None))
    return np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
