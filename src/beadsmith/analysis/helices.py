"""Helices of chains of alpha carbons: how much of one there is, and of which hand.

Neither number tells a helix alone: helicity is blind to the hand, and a polyproline II strand has the handedness of a
left-handed α helix. Read the pair.
Source of both: F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), DOI 10.1021/acs.jcim.5c03035; there the width
of the helicity is 0.02 nm², which is the variance s² and not the square of s.
"""

import numpy as np
from jaxtyping import Float

FEWEST_RESIDUES = 5
"""Alpha carbons of a chain that has room for two (i, i+3) pairs: less is a turn, not a helix."""

IS_HELICAL = 0.5
"""Helicity above which a frame is called helical."""

_DISTANCE = 0.5
_VARIANCE = 0.02


def helicity(alpha_carbons: Float[np.ndarray, "... residues 3"]) -> Float[np.ndarray, "..."]:
    """Return Q, the mean over all pairs (i, i+3) of exp(−(d − 0.5 nm)²/(2 · 0.02 nm²)), of each chain.

    It is 0.999 for an α helix of either hand, 0.78 for a 3-10 helix, 0.01 for polyproline II, 0 for a flat strand.

    Parameters
    ----------
    alpha_carbons : Positions of successive alpha carbons [nm], at least four, for example (frames, residues, 3).
    """
    separation = np.linalg.norm(alpha_carbons[..., 3:, :] - alpha_carbons[..., :-3, :], axis=-1)
    return np.asarray(np.exp(-((separation - _DISTANCE) ** 2) / (2.0 * _VARIANCE)).mean(axis=-1))


def handedness(alpha_carbons: Float[np.ndarray, "... residues 3"]) -> Float[np.ndarray, "..."]:
    """Return ξ, the mean over i of v_i · (v_{i+1} × v_{i+2}) of successive alpha-carbon vectors [nm³], of each chain.

    A reflection changes its sign: 0.043 for a right-handed α helix, −0.043 for a left-handed one, 0.056 for a 3-10
    helix, −0.038 for polyproline II, 0 for a flat strand.

    Parameters
    ----------
    alpha_carbons : Positions of successive alpha carbons [nm], at least four, for example (frames, residues, 3).
    """
    steps = np.diff(alpha_carbons, axis=-2)
    triple = np.sum(steps[..., :-2, :] * np.cross(steps[..., 1:-1, :], steps[..., 2:, :]), axis=-1)
    return np.asarray(triple.mean(axis=-1))
