"""Find covalent bonds from the distances of one frame, where no topology states them."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from beadsmith.geometry import fractional_coordinates, wrap
from beadsmith.importing.elements import covalent_radii

_STRETCH = 1.25
"""A pair is bonded up to this factor times the sum of its covalent radii. Thermal motion stretches bonds by less than
15 %; the closest pairs without a bond, 1-3 neighbours and hydrogen bonds, lie beyond a factor of 1.6."""


def guess_bonds(
    positions: Float[np.ndarray, "sites 3"], cell: Float[np.ndarray, "3 3"] | None, elements: tuple[str, ...]
) -> Int[np.ndarray, "_bonds 2"]:
    """Return all pairs of atoms that are close enough for a covalent bond; a hydrogen keeps only its closest.

    Parameters
    ----------
    positions : Positions [nm], atoms in any periodic image.
    cell : Cell vectors as rows [nm], or None.
    elements : Element of each atom.
    """
    radii = covalent_radii(elements)
    bonding = np.flatnonzero(np.isfinite(radii))
    if len(bonding) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    reach = 2.0 * _STRETCH * float(radii[bonding].max())
    points, origin = _with_images(positions[bonding], cell, reach)
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    # of two images of a pair one is enough: at least one atom lies in the cell itself
    pairs = pairs[(pairs < len(bonding)).any(axis=1)]
    distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    first, second = bonding[origin[pairs[:, 0]]], bonding[origin[pairs[:, 1]]]
    ratio = distances / (radii[first] + radii[second])
    order = np.argsort(ratio, kind="stable")
    order = order[(ratio[order] < _STRETCH) & (first[order] != second[order])]
    is_hydrogen = np.array([element in ("H", "D") for element in elements])
    taken = np.zeros(len(elements), dtype=bool)
    found: set[tuple[int, int]] = set()
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if (min(i, j), max(i, j)) in found or (is_hydrogen[i] and taken[i]) or (is_hydrogen[j] and taken[j]):
            continue
        found.add((min(i, j), max(i, j)))
        taken[i] = taken[j] = True
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def nearest_distances(
    positions: Float[np.ndarray, "sites 3"], cell: Float[np.ndarray, "3 3"] | None
) -> Float[np.ndarray, "sites"]:
    """Return the distance of each site to the one closest to it inside the cell [nm]: no images are searched."""
    wrapped = positions if cell is None else wrap(positions[None], cell[None])[0]
    return np.asarray(cKDTree(wrapped).query(wrapped, k=2)[0])[:, 1]


def _with_images(
    positions: np.ndarray, cell: np.ndarray | None, reach: float
) -> tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, "points"]]:
    """Return the sites in the cell followed by the images within `reach` of its faces, and the site of each point."""
    index = np.arange(len(positions))
    if cell is None:
        return positions, index
    inside = wrap(positions[None], cell[None])[0]
    points, origin = inside, index
    widths = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    for axis in range(3):
        margin = min(reach / widths[axis], 0.5)
        fractions = fractional_coordinates(points[None], cell[None])[0, :, axis]
        low, high = fractions < margin, fractions > 1.0 - margin
        points = np.concatenate([points, points[low] + cell[axis], points[high] - cell[axis]])
        origin = np.concatenate([origin, origin[low], origin[high]])
    return points, origin
