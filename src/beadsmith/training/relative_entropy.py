"""Relative-entropy minimisation of a linear energy by reweighting: which −Σ u f turns one distribution into another?

An energy Σ_k c_k f_k(q) multiplies a density by e^(−Σ u f) with u = c/kT and leaves everything at given q as it is. The
relative entropy of the reference to the result is, up to a constant, a convex function of u,

    D(u) = ln ⟨e^(−u·f)⟩_model + u·⟨f⟩_reference,

and where it is smallest, all ⟨f⟩ agree. It is in nats for each frame: −D is what u gains in mean log-likelihood.
Source: M. S. Shell, J. Chem. Phys. 129, 144108 (2008), DOI 10.1063/1.2992060, eqs. 7 and 13.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from beadsmith.errors import InputError
from beadsmith.statistics import mean_and_error

_MOST_STEPS = 100
_SMALLEST_DECREASE = 1e-12
"""Decrease of D that the next Newton step would bring [nats]: far below any sampling error."""

_LARGEST_CHANGE = 5.0
"""Largest change of the energy of one sample relative to another in a step [kT]."""

_SUFFICIENT = 0.1
"""Part of the decrease that the slope promises with which a step is taken (Armijo's rule)."""

_LARGEST_CONDITION = 1e10
"""Condition number of the scaled Hessian beyond which two functions are one and the same in these samples."""


@dataclass(frozen=True, kw_only=True)
class ReweightingFit:
    """Coefficients of one set of functions, their scatter, and what they are worth on data they were not fitted to."""

    coefficients: Float[np.ndarray, "functions"]
    """u = c/kT from all samples."""
    replicates: Float[np.ndarray, "groups functions"]
    """With one group of model and reference left out each."""
    gain: float
    """Mean decrease of D, taken on each group with the coefficients found without it [nats]."""
    gain_error: float
    """Standard error of `gain` over the groups."""


def compute_relative_entropy(
    functions: Float[np.ndarray, "samples functions"],
    coefficients: Float[np.ndarray, "functions"],
    target: Float[np.ndarray, "functions"],
) -> float:
    """Return D(u) [nats]; zero without coefficients.

    Parameters
    ----------
    functions : Of each sample of the model.
    coefficients : u = c/kT.
    target : Mean functions of the reference.
    """
    return _log_mean(functions, coefficients)[0] + float(coefficients @ target)


def minimise_relative_entropy(
    functions: Float[np.ndarray, "samples functions"],
    target: Float[np.ndarray, "functions"],
    *,
    penalty: Float[np.ndarray, "functions"],
    start: Float[np.ndarray, "functions"] | None = None,
) -> Float[np.ndarray, "functions"]:
    """Return the coefficients u that minimise D(u) + ½ Σ_k p_k u_k².

    Newton's method with a backtracking line search: gradient ⟨f⟩_reference − ⟨f⟩_u + p u, Hessian Cov_u(f) + p.

    Parameters
    ----------
    functions : Of each sample of the model.
    target : Mean functions of the reference.
    penalty : p, not negative.
    start : First guess; zero if None.

    Raises
    ------
    InputError : the functions depend on each other, or the target is out of reach of any weights of these samples; a
        positive penalty rules out both.
    """
    u = np.zeros(functions.shape[1]) if start is None else start
    log_mean, share = _log_mean(functions, u)
    for _ in range(_MOST_STEPS):
        mean = share @ functions
        gradient = target - mean + penalty * u
        hessian = functions.T @ (share[:, None] * functions) - np.outer(mean, mean) + np.diag(penalty)
        step = -_solve(hessian, gradient)
        # far from the minimum nearly all weight is on one sample, and the curvature there says nothing
        change = functions @ step
        step *= min(1.0, _LARGEST_CHANGE / max(float(change.max() - change.min()), 1e-300))
        slope = float(gradient @ step)
        if -slope < _SMALLEST_DECREASE:
            return u + step
        value = log_mean + u @ target + 0.5 * u @ (penalty * u)
        length = 1.0
        while True:
            trial = u + length * step
            log_mean, share = _log_mean(functions, trial)
            if log_mean + trial @ target + 0.5 * trial @ (penalty * trial) <= value + _SUFFICIENT * length * slope:
                break
            length *= 0.5
            if length < 1e-10:
                if -slope > 1e-8:
                    raise _unreachable()
                # rounding hides any further decrease
                return u
        u = trial
    raise _unreachable()


def _unreachable() -> InputError:
    return InputError(
        "no weights of the simulation's samples give the averages of the reference: the relative entropy still falls",
        where="training.correction",
        fix="Raise 'ridge', lower 'order', or lengthen 'simulation'.",
    )


def fit_left_out(
    functions: Float[np.ndarray, "samples functions"],
    group: Int[np.ndarray, "samples"],
    targets: Float[np.ndarray, "groups functions"],
    shares: Float[np.ndarray, "groups"],
    *,
    penalty: Float[np.ndarray, "functions"],
) -> ReweightingFit:
    """Fit to all samples, and with each group of samples and the block of the reference of that number left out.

    Model and reference are independent, so leaving out a part of either at once carries the sampling errors of both.

    Parameters
    ----------
    functions : Of each sample of the model.
    group : Group of each sample, 0 to groups − 1.
    targets : Mean functions of each block of the reference.
    shares : Weight of each block.
    penalty : See `minimise_relative_entropy`.

    Raises
    ------
    InputError : see `minimise_relative_entropy`.
    """
    total = shares @ targets / shares.sum()
    best = minimise_relative_entropy(functions, total, penalty=penalty)
    replicates, gains = [], []
    for number in range(len(targets)):
        is_kept: Bool[np.ndarray, samples] = group != number
        rest = np.where(np.arange(len(targets)) == number, 0.0, shares)
        u = minimise_relative_entropy(functions[is_kept], rest @ targets / rest.sum(), penalty=penalty, start=best)
        replicates.append(u)
        gains.append(-compute_relative_entropy(functions[~is_kept], u, targets[number]))
    gain, error = mean_and_error(gains)
    return ReweightingFit(coefficients=best, replicates=np.array(replicates), gain=float(gain), gain_error=float(error))


def effective_fraction(exponents: Float[np.ndarray, "samples"]) -> float:
    """Return (Σ w)² / (n Σ w²) of the weights w = e^exponent: the share of the samples that is left by reweighting.

    Source: L. Kish, Survey Sampling (Wiley, 1965), section 11.2.
    """
    weights = np.exp(exponents - exponents.max())
    return float(weights.sum() ** 2 / (len(weights) * np.sum(weights**2)))


def _log_mean(
    functions: Float[np.ndarray, "samples functions"], u: Float[np.ndarray, "functions"]
) -> tuple[float, Float[np.ndarray, "samples"]]:
    """Return ln ⟨e^(−u·f)⟩, and the weight of each sample, which sum to one."""
    exponents = -(functions @ u)
    largest = exponents.max()
    weights = np.exp(exponents - largest)
    total = weights.sum()
    return float(largest + np.log(total / len(weights))), weights / total


def _solve(hessian: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(hessian), 1e-300))
    scaled = hessian * np.outer(scale, scale)
    condition = np.linalg.cond(scaled)
    if not condition < _LARGEST_CONDITION:
        raise InputError(
            f"the slow coordinates cannot be told apart in the simulation (condition number {condition:.1e}, at most "
            f"{_LARGEST_CONDITION:.0e})",
            where="training.correction",
            fix="Leave out a coordinate that never moves or that follows from the others, or raise 'ridge'.",
        )
    return np.asarray(scale * np.linalg.solve(scaled, scale * gradient))
