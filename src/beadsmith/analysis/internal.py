"""Internal coordinates and shapes of molecules: distances, angles, dihedrals, size, superposition, contacts.

Functions of arrays alone, vectorised over frames and over copies of a molecule; float64 throughout. Molecules must be
whole. Source of the dihedral formula: A. Blondel and M. Karplus, J. Comput. Chem. 17, 1132 (1996).
"""

import numpy as np
from jaxtyping import Float, Int


def distances(
    positions: Float[np.ndarray, "frames sites 3"], pairs: Int[np.ndarray, "terms 2"]
) -> Float[np.ndarray, "frames terms"]:
    """Return the distance of each pair of sites [nm]."""
    first, second = _gather(positions, pairs)
    return np.linalg.norm(second - first, axis=-1)


def angles(
    positions: Float[np.ndarray, "frames sites 3"], triples: Int[np.ndarray, "terms 3"]
) -> Float[np.ndarray, "frames terms"]:
    """Return the angle at the middle site of each triple [degrees], 0 to 180.

    θ = atan2(|a × b|, a · b), which keeps its precision near 0 and 180 where the arc cosine loses it.
    """
    first, middle, last = _gather(positions, triples)
    a, b = first - middle, last - middle
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


def dihedrals(
    positions: Float[np.ndarray, "frames sites 3"], quadruples: Int[np.ndarray, "terms 4"]
) -> Float[np.ndarray, "frames terms"]:
    """Return the dihedral of each quadruple [degrees], −180 to 180: 0 for cis, 180 for trans.

    Clockwise rotation of the far bond, seen along the middle one, is positive (IUPAC). A reflection changes its sign.
    """
    i, j, k, m = _gather(positions, quadruples)
    b1, b2, b3 = j - i, k - j, m - k
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    sine = np.linalg.norm(b2, axis=-1) * np.sum(b1 * n2, axis=-1)
    return np.degrees(np.arctan2(sine, np.sum(n1 * n2, axis=-1)))


def radius_of_gyration(
    positions: Float[np.ndarray, "frames copies sites 3"], masses: Float[np.ndarray, "sites"]
) -> Float[np.ndarray, "frames copies"]:
    """Return √(Σ m |r − r_com|² / Σ m) of each copy [nm]."""
    centred = positions - np.average(positions, axis=2, weights=masses)[:, :, None]
    return np.sqrt(np.einsum("fcsx,fcsx,s->fc", centred, centred, masses) / masses.sum())


def superposed_rmsd(
    positions: Float[np.ndarray, "frames copies sites 3"],
    structure: Float[np.ndarray, "sites 3"],
    weights: Float[np.ndarray, "sites"] | None = None,
) -> Float[np.ndarray, "frames copies"]:
    """Return the smallest root-mean-square deviation from a structure over all rotations and translations [nm].

    With the singular values s of the covariance Xᵀ W Y of the centred structures, the minimum over proper rotations
    is Σ w (|x|² + |y|²) − 2 (s₁ + s₂ + s₃ sign det(XᵀWY)), divided by Σ w; a mirror image is never superposed.
    Source: W. Kabsch, Acta Cryst. A32, 922 (1976) and A34, 827 (1978).
    """
    share = np.full(len(structure), 1.0) if weights is None else weights.astype(np.float64)
    share = share / share.sum()
    x = positions.astype(np.float64)
    x = x - np.einsum("fcsx,s->fcx", x, share)[:, :, None]
    y = structure.astype(np.float64) - share @ structure
    covariance = np.einsum("fcsx,s,sy->fcxy", x, share, y)
    singular = np.linalg.svd(covariance, compute_uv=False)
    singular[..., 2] *= np.where(np.linalg.det(covariance) < 0.0, -1.0, 1.0)
    spread = np.einsum("fcsx,fcsx,s->fc", x, x, share) + np.einsum("sy,sy,s->", y, y, share)
    # equal structures: the difference of two equal sums may be -1e-17
    return np.sqrt(np.maximum(spread - 2.0 * singular.sum(axis=-1), 0.0))


def native_contacts(
    distances_now: Float[np.ndarray, "... contacts"],
    native_distances: Float[np.ndarray, "contacts"],
    *,
    steepness: float = 50.0,
    tolerance: float = 1.2,
) -> Float[np.ndarray, "..."]:
    """Return the fraction Q of native contacts: the mean over contacts of 1/(1 + exp(β(r − λ r₀))).

    `steepness` is β [1/nm] and `tolerance` λ. Source: R. B. Best, G. Hummer and W. A. Eaton, PNAS 110, 17874 (2013),
    eq. 1; λ is 1.2 for chains of one bead per residue and 1.8 for all atoms.
    """
    exponent = steepness * (distances_now - tolerance * native_distances)
    # beyond 60 the contact is broken to 1e-26; the exponential itself would overflow at 709
    return (1.0 / (1.0 + np.exp(np.minimum(exponent, 60.0)))).mean(axis=-1)


def _gather(positions: np.ndarray, terms: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the positions of the first, second, ... site of each term."""
    return tuple(positions[:, terms[:, rank]].astype(np.float64) for rank in range(terms.shape[1]))
