"""The bonded part of a prior: the terms that the molecules ask for, and the linear terms of the baseline beside them.

Molecules of single beads have no bonds, and so none of this.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from beadsmith.energy import AbstractEnergyTerm
from beadsmith.priors.bonded import COORDINATES, AbstractLinearBondedTerm, Coordinate, TypeTuple, number_tuples
from beadsmith.priors.bonded_fit import BondedFit, Estimator, check_coverage, fit_fourier, fit_harmonic
from beadsmith.priors.bonded_splines import AngleSpline, BondSpline
from beadsmith.priors.bonded_survey import BondedSurvey, survey_bonded
from beadsmith.priors.fourier import AbstractFourierTerm, FourierDihedrals, FourierImpropers
from beadsmith.priors.frames import FrameBlocks
from beadsmith.priors.harmonic import AbstractHarmonicTerm, HarmonicAngles, HarmonicBonds, HarmonicImpropers
from beadsmith.topology import Topology

Form = Literal["harmonic", "fourier", "cosine", "none"]

_HARMONIC: dict[Coordinate, type[AbstractHarmonicTerm]] = {
    "bond": HarmonicBonds,
    "angle": HarmonicAngles,
    "improper": HarmonicImpropers,
}
_FOURIER: dict[Coordinate, type[AbstractFourierTerm]] = {"dihedral": FourierDihedrals, "improper": FourierImpropers}

# Knots where one sample in 500 lies beyond: farther out the harmonic term acts alone, with a constant force added
_OUTSIDE = 0.002

_INTERVALS = 8
"""Knot intervals of each spline of a bond or an angle: half a standard deviation each."""


@dataclass(frozen=True, kw_only=True)
class BondedPrior:
    """What `fit_bonded_prior` found."""

    terms: list[AbstractEnergyTerm]
    """Prior of the network."""
    confining: list[AbstractEnergyTerm]
    """The harmonic ones among them: the baseline keeps them, to confine where its linear terms know nothing."""
    linear: list[AbstractLinearBondedTerm]
    """Terms of the baseline whose coefficients are still to be fitted to forces."""
    summary: list[dict[str, Any]]
    """Constants, errors and histograms of each coordinate, JSON-ready."""


def fit_bonded_prior(
    frames: FrameBlocks, forms: dict[Coordinate, Form], *, estimator: Estimator, min_samples: int, order: int
) -> BondedPrior:
    """Fit the bonded terms to the distributions of bonds, angles and dihedrals.

    Parameters
    ----------
    frames : Frames in blocks.
    forms : Form of the energy of each coordinate; coordinates that no molecule has are passed over.
    estimator : How harmonic constants follow from the distribution, see `beadsmith.priors.bonded_fit`.
    min_samples : Smallest effective number of values of a type tuple.
    order : Largest multiple of the angle in Fourier series.

    Raises
    ------
    InputError : too few values of a type tuple, or an improper with several states.
    PhysicsError : a constant is not positive and finite; the message names the term.
    """
    topologies = tuple(trajectory.topology for trajectory in frames.trajectories)
    terms: list[AbstractEnergyTerm] = []
    confining: list[AbstractEnergyTerm] = []
    linear: list[AbstractLinearBondedTerm] = []
    summary: list[dict[str, Any]] = []
    for coordinate, form in forms.items():
        if form == "none" or not any(len(getattr(t, COORDINATES[coordinate][0])) for t in topologies):
            continue
        survey = survey_bonded(frames, coordinate)
        check_coverage(survey, min_samples)
        shares = np.ones(len(survey.type_tuples))
        if form == "harmonic":
            fits = fit_harmonic(survey, estimator, min_samples=min_samples)
            terms.append(_build_harmonic(frames.type_names, survey, fits))
            confining.append(terms[-1])
        else:
            fits = fit_fourier(survey, order=order, min_samples=min_samples, has_sines=form == "fourier")
            if coordinate == "dihedral":
                shares = _share_bonds(topologies, survey.type_tuples)
            series = _FOURIER[coordinate](
                frames.type_names, survey.type_tuples, order=order, has_sines=form == "fourier"
            )
            terms.append(_fill_fourier(series, fits, shares))
        linear.append(_build_linear(frames.type_names, survey, order, has_sines=form != "cosine"))
        summary.append(
            {
                "coordinate": coordinate,
                "form": form,
                "unit": survey.unit,
                "estimator": estimator if form == "harmonic" else "boltzmann",
                "shares": shares.tolist(),
                "fits": [fit.to_json() for fit in fits],
            }
        )
    return BondedPrior(terms=terms, confining=confining, linear=linear, summary=summary)


def _build_harmonic(
    type_names: tuple[str, ...], survey: BondedSurvey, fits: tuple[BondedFit, ...]
) -> AbstractHarmonicTerm:
    return _HARMONIC[survey.coordinate](
        type_names,
        survey.type_tuples,
        centres=tuple(fit.parameters["centre"] for fit in fits),
        stiffnesses=tuple(fit.parameters["stiffness"] for fit in fits),
    )


def _fill_fourier(
    series: AbstractFourierTerm, fits: tuple[BondedFit, ...], shares: Float[np.ndarray, "tuples"]
) -> AbstractFourierTerm:
    coefficients = np.array([list(fit.parameters.values()) for fit in fits])
    fitted = series.with_coefficients((shares[:, None] * coefficients).reshape(-1))
    assert isinstance(fitted, AbstractFourierTerm)
    fitted.check_finite()
    return fitted


def _build_linear(
    type_names: tuple[str, ...], survey: BondedSurvey, order: int, *, has_sines: bool
) -> AbstractLinearBondedTerm:
    """Return the term that force matching fits: a spline where there is a harmonic term, a Fourier series elsewhere."""
    if survey.coordinate in _FOURIER:
        return _FOURIER[survey.coordinate](type_names, survey.type_tuples, order=order, has_sines=has_sines)
    spline = BondSpline if survey.coordinate == "bond" else AngleSpline
    ranges = tuple(survey.find_range(number, _OUTSIDE) for number in range(len(survey.type_tuples)))
    return spline(type_names, survey.type_tuples, ranges=ranges, n_intervals=_INTERVALS)


def _share_bonds(topologies: tuple[Topology, ...], type_tuples: tuple[TypeTuple, ...]) -> Float[np.ndarray, "tuples"]:
    """Return one over the number of dihedrals about the same bond, as a mean over the dihedrals of each type tuple.

    Dihedrals about one bond turn together, so the distribution of each holds the whole potential of the turn; without
    shares it would be counted once for each of them.
    """
    sums = np.zeros((2, len(type_tuples)))
    for topology in topologies:
        middle = np.sort(topology.dihedrals[:, 1:3], axis=1)
        _, which, counts = np.unique(middle, axis=0, return_inverse=True, return_counts=True)
        n_types = len(topology.type_names)
        rows = np.array([[topology.type_names.index(name) for name in names] for names in type_tuples])
        place = {key: number for number, key in enumerate(number_tuples(rows, n_types).tolist())}
        numbers = [place[key] for key in number_tuples(topology.types[topology.dihedrals], n_types).tolist()]
        np.add.at(sums, (0, numbers), 1.0 / counts[which.reshape(-1)])
        np.add.at(sums, (1, numbers), 1.0)
    return sums[0] / sums[1]
