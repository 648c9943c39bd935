"""Constants of bonded terms from sampled coordinates: by variance, or by Boltzmann inversion with Jacobians.

Both see the distribution of a coordinate in the whole molecule, so what other terms do to it is counted in: a prior,
not the answer. Errors take frames as independent unless they come from blocks.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from beadsmith.errors import InputError, PhysicsError
from beadsmith.priors.bonded_survey import BondedSurvey
from beadsmith.statistics import leave_one_out_error

Estimator = Literal["variance", "boltzmann"]

LARGEST_IMPROPER_DEVIATION = 0.6
"""Standard deviation of an improper [rad] above which it has more than one state, and is no harmonic oscillator."""

SMALLEST_DEVIATION = {"bond": 1e-4, "angle": 1e-3, "improper": 1e-3}
"""Standard deviation [nm or rad] below which a coordinate is rigid: the noise of float32 files, not a temperature."""

_BINS_PER_DEVIATION = 10.0
_FOURIER_BINS = 120
_FEWEST_EXPECTED = 5.0
"""Expected count of a bin that enters chi²: below, the count is not normally distributed."""

# An empty bin counts as half a sample: the barrier is then as high as the data can tell, and no higher
_PSEUDO_COUNT = 0.5

_MOST_ITERATIONS = 100
_CURVE_BINS = 60


@dataclass(frozen=True, kw_only=True)
class BondedFit:
    """The constants of one type tuple and what they rest on."""

    name: str
    """Types of the sites joined by ``-``."""
    parameters: dict[str, float]
    """Constants by name: centre and stiffness, or cosine and sine coefficients."""
    errors: dict[str, float]
    """Standard errors of the constants."""
    n_samples: int
    """Number of values."""
    n_effective: float
    """Number of equally weighted values that are worth as much."""
    mean: float
    """Mean of the values (circular for dihedrals) [nm or rad]."""
    deviation: float
    """Standard deviation of the values [nm or rad]."""
    reduced_chi_square: float
    """Chi² of the histogram against the Boltzmann distribution of the term, over degrees of freedom; frames taken as
    independent."""
    curve: dict[str, list[float]]
    """Histogram density and that of the term, for the report."""

    def to_json(self) -> dict[str, Any]:
        """Return the fit as a JSON-ready dictionary."""
        return asdict(self)


def fit_harmonic(survey: BondedSurvey, estimator: Estimator, *, min_samples: int) -> tuple[BondedFit, ...]:
    """Return centre x0 and stiffness k of E = ½ k (x − x0)² for every type tuple.

    "variance": x0 = Σ w x/kT / Σ w/kT and 1/k = Σ w (x − x0)²/kT / Σ w, the mean and kT over the variance where there
    is one temperature; the Jacobian is left out. "boltzmann": maximum-likelihood fit of p(x) ∝ J(x) exp(−E/kT) to the
    histogram of each temperature by iterated weighted least squares, J = r² for bonds, sin θ for angles, 1 else.

    Parameters
    ----------
    survey : Statistics of the coordinate.
    estimator : Which of the two.
    min_samples : Smallest effective number of values of a type tuple.

    Raises
    ------
    InputError : too few values of a type tuple, or an improper with several states.
    PhysicsError : a constant is not positive and finite.
    """
    check_coverage(survey, min_samples)
    return tuple(_fit_one_harmonic(survey, number, estimator) for number in range(len(survey.type_tuples)))


def fit_fourier(survey: BondedSurvey, *, order: int, min_samples: int, has_sines: bool = True) -> tuple[BondedFit, ...]:
    """Return the coefficients of E = Σ_n a_n cos nφ + b_n sin nφ for every type tuple by Boltzmann inversion.

    p(φ) ∝ exp(−E/kT) is fitted to the histogram of each temperature with maximum likelihood. Without sines that is the
    histogram made symmetric under reflection.

    Raises
    ------
    InputError : too few values of a type tuple.
    """
    check_coverage(survey, min_samples)
    n = np.arange(1, order + 1)
    names = [f"cos_{k}" for k in n] + [f"sin_{k}" for k in n if has_sines]
    fits = []
    for number in range(len(survey.type_tuples)):
        angles, counts = _join_bins(survey, number, _FOURIER_BINS)
        functions = np.cos(angles[:, None] * n)
        if has_sines:
            functions = np.concatenate([functions, np.sin(angles[:, None] * n)], axis=1)
        solution = _fit_density(counts + _PSEUDO_COUNT, functions, np.zeros_like(angles), survey.thermal_energies)
        fits.append(
            _describe(
                survey,
                number,
                angles,
                counts,
                solution,
                dict(zip(names, solution.coefficients, strict=True)),
                dict(zip(names, solution.errors, strict=True)),
            )
        )
    return tuple(fits)


def check_coverage(survey: BondedSurvey, min_samples: int) -> None:
    """Refuse type tuples with too few values.

    Raises
    ------
    InputError : a type tuple has fewer than `min_samples` effective values.
    """
    for number, found in enumerate(survey.n_effective):
        if found < min_samples:
            kind = survey.coordinate
            raise InputError(
                f"the {kind} '{survey.name(number)}' has {found:.0f} effective samples, expected at least "
                f"{min_samples} to fit its term of the prior",
                fix=f"Use more frames, give rare beads the type of a common one, set 'prior: {{{kind}s: none}}', or "
                "lower 'min_samples'.",
            )


@dataclass(frozen=True, kw_only=True)
class _DensityFit:
    coefficients: Float[np.ndarray, "functions"]
    errors: Float[np.ndarray, "functions"]
    expected: Float[np.ndarray, "temperatures bins"]


def _fit_one_harmonic(survey: BondedSurvey, number: int, estimator: Estimator) -> BondedFit:
    deviation = survey.measure_moments(number)[1]
    if survey.coordinate == "improper" and deviation > LARGEST_IMPROPER_DEVIATION:
        raise InputError(
            f"the improper '{survey.name(number)}' has a standard deviation of {deviation:.2f} rad, expected below "
            f"{LARGEST_IMPROPER_DEVIATION} for a harmonic term: it has more than one state",
            fix="Set 'prior: {impropers: fourier}' or 'none'.",
        )
    if not deviation >= SMALLEST_DEVIATION[survey.coordinate]:
        raise PhysicsError(
            f"the {survey.coordinate} '{survey.name(number)}' has a standard deviation of {deviation:.2g} "
            f"{survey.unit}, expected at least {SMALLEST_DEVIATION[survey.coordinate]:g}: it is rigid, and its "
            "stiffness would be that of rounding",
            fix=f"Join rigidly bound atoms in one bead, or set 'prior: {{{survey.coordinate}s: none}}'.",
        )
    (mean, stiffness), errors = _fit_variance(survey, number)
    # about the mean: in raw values x and x² are nearly the same function
    n_bins = (survey.edges[-1] - survey.edges[0]) * _BINS_PER_DEVIATION / max(deviation, 1e-12)
    values, counts = _join_bins(survey, number, n_bins)
    x = _wrap(values - mean, survey.is_periodic)
    used = np.abs(x) < 12.0 * deviation
    x, counts = x[used], counts[:, used]
    jacobian = _log_jacobian(survey.coordinate, values[used])
    if estimator == "boltzmann":
        scale = max(deviation, 1e-12)
        solution = _fit_density(
            counts, np.stack([x / scale, (x / scale) ** 2], axis=1), jacobian, survey.thermal_energies
        )
        slope, curvature = solution.coefficients
        stiffness = 2.0 * curvature / scale**2
        mean += -0.5 * scale * slope / curvature if curvature > 0.0 else 0.0
        # x0 = −s b/2a to first order in the errors of a and b, which hardly correlate about the mean
        relative = solution.errors[1] / abs(curvature)
        errors = (0.5 * scale * solution.errors[0] / abs(curvature), abs(stiffness) * relative)
    else:
        energy = (0.5 * stiffness * x**2)[:, None]
        solution = _fit_density(counts, energy, jacobian, survey.thermal_energies, fixed=np.ones(1))
    if not (np.isfinite(stiffness) and stiffness > 0.0):
        raise PhysicsError(
            f"the stiffness of the {survey.coordinate} '{survey.name(number)}' is {stiffness}, expected positive and "
            "finite",
            fix=f"Set 'prior: {{estimator: variance}}', or 'prior: {{{survey.coordinate}s: none}}'.",
        )
    return _describe(
        survey,
        number,
        values[used],
        counts,
        solution,
        {"centre": mean, "stiffness": stiffness},
        {"centre": errors[0], "stiffness": errors[1]},
    )


def _fit_variance(survey: BondedSurvey, number: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return centre and stiffness, and their errors: of leave-one-block-out values where there are several blocks."""
    sums, kT = survey.sums[:, number], survey.block_thermal_energies[:, None]
    filled = sums[:, 0] > 0.0
    sums, kT = sums[filled], kT[filled]

    def solve(chosen: np.ndarray) -> np.ndarray:
        scaled = (sums[chosen] / kT[chosen]).sum(axis=0)
        centre = scaled[1] / scaled[0]
        width = (scaled[2] - scaled[0] * centre**2) / sums[chosen, 0].sum()
        return np.array([centre, 1.0 / width if width > 0.0 else np.inf])

    everything = np.arange(len(sums))
    centre, stiffness = solve(everything)
    if len(sums) > 1:
        replicates = np.array([solve(everything[everything != block]) for block in everything])
        errors = leave_one_out_error(replicates)
    else:
        n = survey.n_effective[number]
        errors = np.array([np.sqrt(kT[0, 0] / stiffness / n), stiffness * np.sqrt(2.0 / n)])
    value = float(_wrap(np.array(survey.shifts[number] + centre), survey.is_periodic))
    return (value, float(stiffness)), (float(errors[0]), float(errors[1]))


def _fit_density(
    counts: np.ndarray,
    functions: np.ndarray,
    log_jacobian: np.ndarray,
    thermal_energies: np.ndarray,
    *,
    fixed: np.ndarray | None = None,
) -> _DensityFit:
    """Return c of p(x) ∝ J exp(−Σ c_k f_k(x)/kT) from Poisson counts (temperatures, bins), one total each temperature.

    Each step of Fisher scoring is a weighted least-squares fit of ln p, with the expected counts as weights.
    Source: P. McCullagh and J. A. Nelder, Generalized Linear Models, 2nd ed., Chapman and Hall (1989), section 2.5.
    """
    totals = counts.sum(axis=1, keepdims=True)
    coefficients = np.zeros(functions.shape[1]) if fixed is None else fixed
    covariance = np.zeros((functions.shape[1], functions.shape[1]))

    def expect(c: np.ndarray) -> tuple[np.ndarray, float]:
        exponent = log_jacobian - functions @ c / thermal_energies[:, None]
        exponent -= exponent.max(axis=1, keepdims=True)
        weight = np.exp(exponent)
        norm = weight.sum(axis=1, keepdims=True)
        return totals * weight / norm, float((counts * (exponent - np.log(norm))).sum())

    expected, likelihood = expect(coefficients)
    for _ in range(_MOST_ITERATIONS if fixed is None else 0):
        gradient, hessian = np.zeros(len(coefficients)), np.zeros_like(covariance)
        for k, kT in enumerate(thermal_energies):
            if totals[k, 0] > 0.0:
                centred = (functions - expected[k] @ functions / totals[k, 0]) / kT
                gradient -= (counts[k] - expected[k]) @ centred
                hessian += (centred * expected[k][:, None]).T @ centred
        covariance[:] = np.linalg.pinv(hessian)
        step = covariance @ gradient
        for _ in range(30):
            trial, new = expect(coefficients + step)
            if new >= likelihood:
                break
            step = 0.5 * step
        coefficients, gain = coefficients + step, new - likelihood
        expected, likelihood = trial, new
        if gain < 1e-9 * max(1.0, abs(likelihood)) and np.all(np.abs(step) <= 1e-8 * (1e-3 + np.abs(coefficients))):
            break
    return _DensityFit(coefficients=coefficients, errors=np.sqrt(np.diagonal(covariance)), expected=expected)


def _describe(
    survey: BondedSurvey,
    number: int,
    values: np.ndarray,
    counts: np.ndarray,
    solution: _DensityFit,
    parameters: dict[str, float],
    errors: dict[str, float],
) -> BondedFit:
    mean, deviation = survey.measure_moments(number)
    expected = solution.expected
    used = expected >= _FEWEST_EXPECTED
    n_free = max(1, int(used.sum()) - len(parameters) - len(expected))
    chi_square = float((((counts - expected) ** 2)[used] / expected[used]).sum()) / n_free
    width = abs(values[1] - values[0]) if len(values) > 1 else 1.0
    near = np.flatnonzero(expected.sum(axis=0) + counts.sum(axis=0) > 0.5)
    shown = near[:: max(1, len(near) // _CURVE_BINS)]
    total = counts.sum() * width
    return BondedFit(
        name=survey.name(number),
        parameters={name: float(value) for name, value in parameters.items()},
        errors={name: float(value) for name, value in errors.items()},
        n_samples=int(survey.n_samples[number]),
        n_effective=float(survey.n_effective[number]),
        mean=mean,
        deviation=deviation,
        reduced_chi_square=chi_square,
        curve={
            "value": values[shown].tolist(),
            "density": (counts.sum(axis=0)[shown] / total).tolist(),
            "fitted_density": (expected.sum(axis=0)[shown] / total).tolist(),
        },
    )


def _join_bins(survey: BondedSurvey, number: int, n_wanted: float) -> tuple[np.ndarray, np.ndarray]:
    """Return middles and counts (temperatures, bins) of about that many bins, scaled to effective samples."""
    counts = survey.counts[:, number]
    factor = max(1, int(counts.shape[1] / n_wanted))
    while counts.shape[1] % factor:
        factor -= 1
    joined = counts.reshape(len(counts), -1, factor).sum(axis=2)
    middles = survey.centres.reshape(-1, factor).mean(axis=1)
    return middles, joined * (survey.n_effective[number] / joined.sum())


def _log_jacobian(coordinate: str, values: np.ndarray) -> np.ndarray:
    if coordinate == "bond":
        return 2.0 * np.log(values)
    return np.log(np.sin(values)) if coordinate == "angle" else np.zeros_like(values)


def _wrap(values: np.ndarray, is_periodic: bool) -> np.ndarray:
    return values - 2.0 * np.pi * np.round(values / (2.0 * np.pi)) if is_periodic else values
