"""Starts that are far apart in shape, so that a run shows whether replicas from everywhere end up with one answer."""

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.internal import superposed_rmsd


def choose_dispersed(positions: Float[np.ndarray, "frames sites 3"], n_chosen: int) -> Int[np.ndarray, "chosen"]:
    """Return frames such that each is as far as possible from all before it, beginning with the last frame.

    Farthest-point traversal: its first n points cover the frames within at most twice the radius of the best n points.
    Distance is the RMSD after superposition, which vibrations of bonds hardly enter and for which a mirror image is
    another shape. When no frame is left that differs from those chosen, the traversal begins anew.
    Source: T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985), DOI 10.1016/0304-3975(85)90224-5.

    Parameters
    ----------
    positions : Whole molecules [nm].
    n_chosen : Number of frames to return.
    """
    chosen = [len(positions) - 1]
    nearest = _measure(positions, positions[-1])
    owner = np.zeros(len(positions), dtype=np.int64)
    while len(chosen) < n_chosen:
        farthest = int(nearest.argmax())
        # float32 coordinates: equal frames differ by about 1e-7 nm after superposition
        if nearest[farthest] < 1e-6:
            repeats = -(-n_chosen // len(chosen))
            return np.tile(chosen, repeats)[:n_chosen].astype(np.int64)
        # RMSD is a metric: a frame closer to its owner than half the owner's distance from the new one keeps the owner
        apart = _measure(positions[chosen], positions[farthest])
        rows = np.flatnonzero(nearest > 0.5 * apart[owner])
        found = _measure(positions[rows], positions[farthest])
        is_nearer = found < nearest[rows]
        nearest[rows[is_nearer]] = found[is_nearer]
        owner[rows[is_nearer]] = len(chosen)
        chosen.append(farthest)
    return np.array(chosen[:n_chosen])


def _measure(
    positions: Float[np.ndarray, "frames sites 3"], structure: Float[np.ndarray, "sites 3"]
) -> Float[np.ndarray, "frames"]:
    return superposed_rmsd(positions[:, None], structure)[:, 0]
