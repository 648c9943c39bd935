"""Positions under periodic boundaries: minimum images, wrapping, and molecules made whole along their bonds.

Cells are row vectors, one 3x3 matrix per frame, of any shape; None is an open system. Everything is computed in
float64, because frames may lie many cells away from the origin.
"""

import itertools

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError

_NEIGHBOUR_CELLS = tuple(shift for shift in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(shift))


def fractional_coordinates(
    vectors: Float[np.ndarray, "frames *sites 3"], cell: Float[np.ndarray, "frames 3 3"]
) -> Float[np.ndarray, "frames *sites 3"]:
    """Return s with vectors = s · cell in each frame."""
    return _multiply(vectors, np.linalg.inv(cell.astype(np.float64)))


def cell_widths(cell: Float[np.ndarray, "frames 3 3"]) -> Float[np.ndarray, "frames 3"]:
    """Return the distance between opposite faces of each cell [nm], along its three directions."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell.astype(np.float64)), axis=1)


def minimum_image(
    vectors: Float[np.ndarray, "frames *sites 3"], cell: Float[np.ndarray, "frames 3 3"] | None
) -> Float[np.ndarray, "frames *sites 3"]:
    """Return the shortest periodic image of each vector.

    Limit: exact for every cell whose vectors are reduced (no cell vector gets shorter by adding the others), which
    all engines write; in other cells still exact for images shorter than half the smallest distance between faces.
    """
    if cell is None:
        return vectors.astype(np.float64)
    cell = cell.astype(np.float64)
    nearest = vectors - _multiply(np.round(fractional_coordinates(vectors, cell)), cell)
    # rounding finds every image shorter than half a width; a longer one can be off by one vector of a skewed cell
    widths = cell_widths(cell).min(axis=1).reshape(-1, *(1,) * (vectors.ndim - 2))
    square = np.sum(nearest**2, axis=-1)
    doubtful = np.nonzero(square > (0.5 * widths) ** 2)
    if not np.any(cell[:, ~np.eye(3, dtype=bool)]) or not len(doubtful[0]):
        return nearest
    start, start_cell = nearest[doubtful], cell[doubtful[0]]
    best, best_square = start, square[doubtful]
    for shift in _NEIGHBOUR_CELLS:
        candidate = start + np.einsum("k,nkj->nj", np.asarray(shift), start_cell)
        candidate_square = np.sum(candidate**2, axis=-1)
        shorter = candidate_square < best_square
        best = np.where(shorter[:, None], candidate, best)
        best_square = np.where(shorter, candidate_square, best_square)
    nearest[doubtful] = best
    return nearest


def wrap(
    positions: Float[np.ndarray, "frames *sites 3"], cell: Float[np.ndarray, "frames 3 3"] | None
) -> Float[np.ndarray, "frames *sites 3"]:
    """Return positions moved by whole cell vectors into the cell that starts at the origin."""
    if cell is None:
        return positions.astype(np.float64)
    return positions - _multiply(np.floor(fractional_coordinates(positions, cell)), cell.astype(np.float64))


def build_spanning_tree(n_sites: int, bonds: Int[np.ndarray, "bonds 2"]) -> tuple[Int[np.ndarray, "_edges 2"], ...]:
    """Return bonds that connect all sites of one molecule, walking outwards from site 0.

    Parameters
    ----------
    n_sites : Number of sites of the molecule.
    bonds : Bonded pairs, indices within the molecule.

    Returns
    -------
    One array per generation, each row (parent, child); every site but site 0 is the child of exactly one row.

    Raises
    ------
    InputError : the bonds leave a site unconnected.
    """
    neighbours: list[list[int]] = [[] for _ in range(n_sites)]
    for first, second in bonds.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    reached, generation, tree = {0}, [0], []
    while generation:
        edges = []
        for parent in generation:
            for child in neighbours[parent]:
                if child not in reached:
                    reached.add(child)
                    edges.append((parent, child))
        if edges:
            tree.append(np.array(edges, dtype=np.int64))
        generation = [child for _, child in edges]
    if len(reached) < n_sites:
        missing = min(set(range(n_sites)) - reached)
        raise InputError(
            f"site {missing} of the molecule is not connected to its site 0 by bonds",
            fix="Give the topology its bonds: they are needed to join molecules that are broken across the boundary.",
        )
    return tuple(tree)


def make_whole(
    positions: Float[np.ndarray, "frames sites 3"],
    cell: Float[np.ndarray, "frames 3 3"] | None,
    tree: tuple[Int[np.ndarray, "_edges 2"], ...],
) -> Float[np.ndarray, "frames sites 3"]:
    """Return positions with every bond of the tree unbroken; the root sites (children of no bond) stay where they are.

    Each child is put at the image nearest to its parent, so bonds must be shorter than half the cell.

    Parameters
    ----------
    positions : Site positions [nm], each site in any periodic image.
    cell : Cell vectors [nm], or None: an open system is returned unchanged.
    tree : Generations of (parent, child) site pairs, from `build_spanning_tree`; all copies of a molecule at once.
    """
    whole = positions.astype(np.float64)
    if cell is None:
        return whole
    for edges in tree:
        parents, children = whole[:, edges[:, 0]], whole[:, edges[:, 1]]
        whole[:, edges[:, 1]] = parents + minimum_image(children - parents, cell)
    return whole


def largest_extent(
    whole: Float[np.ndarray, "frames sites 3"],
    cell: Float[np.ndarray, "frames 3 3"],
    first_sites: Int[np.ndarray, "groups"],
) -> Float[np.ndarray, "groups"]:
    """Return how far each group of sites reaches across the cell, as a fraction of the cell: the largest of all frames.

    Parameters
    ----------
    whole : Positions of unbroken molecules [nm].
    cell : Cell vectors [nm].
    first_sites : First site of each group; its other sites follow it.
    """
    fractions = fractional_coordinates(whole, cell)
    upper = np.maximum.reduceat(fractions, first_sites, axis=1)
    lower = np.minimum.reduceat(fractions, first_sites, axis=1)
    return (upper - lower).max(axis=(0, 2))


def _multiply(
    vectors: Float[np.ndarray, "frames *sites 3"], matrices: Float[np.ndarray, "frames 3 3"]
) -> Float[np.ndarray, "frames *sites 3"]:
    """Multiply the row vectors of each frame by that frame's matrix."""
    flat = vectors.reshape(len(vectors), -1, 3).astype(np.float64)
    return (flat @ matrices).reshape(vectors.shape)
