"""The verb `fit_prior`: bonded terms and excluded volume for the network, and the linear force field it must beat."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.priors.bonded import AbstractLinearBondedTerm
from beadsmith.priors.bonded_prior import BondedPrior, fit_bonded_prior
from beadsmith.priors.frames import FrameBlocks, split_frames, stream_frames
from beadsmith.priors.linear_fit import (
    LinearSolution,
    LinearTerm,
    accumulate_normal_equations,
    solve_normal_equations,
)
from beadsmith.priors.pair_terms import compute_pair_curve
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.settings import PriorSettings
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.survey import PairSurvey, survey_pairs
from beadsmith.priors.walls import WallConstants, build_repulsion, fit_published_walls, fit_tangent_walls
from beadsmith.progress import Progress, silent
from beadsmith.trajectory import Trajectory

# Doubles in the force design of one chunk (16 MB); a chunk holds at least one frame.
_DESIGN_SIZE = 2_000_000

# A pair list needs some cutoff even where no term asks for pairs [nm].
_SMALLEST_CUTOFF = 0.1

_CURVE_STEP = 0.002

# Labels per coefficient beyond which the linear fit leaves frames out: least squares then learns 0.1 % of the noise
_LABELS = 1000


@dataclass(frozen=True, kw_only=True)
class PriorFit:
    """What `fit_prior` found."""

    terms: list[AbstractEnergyTerm]
    """Prior of the network: bonded terms and repulsion, or nothing."""
    baseline: list[AbstractEnergyTerm]
    """The MS-CG force field: tangent repulsion and pair spline, harmonic terms and linear bonded terms. It is repulsive
    at all distances below the data."""
    summary: dict[str, Any]
    """Losses, constants, walls and curves, JSON-ready."""


def fit_prior(
    trajectories: tuple[Trajectory, ...],
    settings: PriorSettings,
    *,
    frames: tuple[np.ndarray, ...] | None = None,
    progress: Progress = silent,
) -> PriorFit:
    """Fit bonded terms, repulsion and the linear force field to the mapped frames, in three passes over them.

    1. Survey of pair distances and bonded coordinates, from which the bonded terms follow. 2. Force matching with
    free-ended pair splines (and linear bonded terms, beside the harmonic ones): the pair mean force, to which the
    repulsion is made tangent. 3. Force matching of labels minus repulsion with splines that are flat inside the joining
    distances, so that below them the repulsion acts alone.

    Parameters
    ----------
    trajectories : Mapped trajectories with forces; they share one list of bead types.
    settings : What to fit.
    frames : Training frames of each trajectory; all if None.
    progress : Called with the work done.

    Raises
    ------
    InputError : no frames, no forces, different bead types, too few values of a bonded coordinate, or nothing to fit.
    PhysicsError : a constant came out non-positive or not finite.

    Source: S. Izvekov and G. A. Voth, J. Phys. Chem. B 109, 2469 (2005).
    """
    blocks = split_frames(trajectories, frames, n_blocks=settings.n_blocks)
    bonded = fit_bonded_prior(
        blocks,
        settings.forms,
        estimator=settings.estimator,
        min_samples=settings.min_samples,
        order=settings.fourier_order,
    )
    survey = survey_pairs(
        blocks,
        cutoff=settings.cutoff,
        bond_classes=settings.bond_classes,
        progress=_count_pass(progress, 0, "pair distances"),
    )
    has_pairs = np.isfinite(survey.closest).any()
    matched = _choose_frames(blocks, settings, bonded, survey) if bonded.linear else blocks
    if bonded.linear and not has_pairs:
        fit = _fit_without_pairs(matched, settings, bonded, progress=_count_pass(progress, 2, "bonded terms"))
    else:
        fit = _fit_with_pairs(matched, settings, bonded, survey, progress)
    summary = {
        "settings": asdict(settings),
        "n_frames": blocks.n_frames,
        "n_matched_frames": matched.n_frames,
        "n_blocks": blocks.n_blocks,
        "bonded": bonded.summary,
        "shortest_distances": dict(zip(survey.type_pairs, _nan_if_unseen(survey.closest), strict=True)),
        **fit.summary,
    }
    return replace(fit, summary=summary)


def compute_frame_losses(
    terms: Sequence[AbstractEnergyTerm], trajectory: Trajectory, frames: np.ndarray | None = None
) -> Float[np.ndarray, "frames"]:
    """Return the mean squared force error per component of each frame [(kJ/mol/nm)²].

    Models are to be compared frame by frame: the label noise is the same for all of them.

    Parameters
    ----------
    terms : Prior terms, for example `PriorFit.baseline`; none gives the loss of a zero force.
    trajectory : Mapped frames with forces.
    frames : Frame indices; all if None.

    Raises
    ------
    InputError : no frames or no forces.
    """
    blocks = split_frames((trajectory,), None if frames is None else (frames,), n_blocks=1)
    cutoff = max((term.cutoff for term in terms), default=0.0)
    losses = []
    for chunk in stream_frames(blocks, cutoff=max(cutoff, _SMALLEST_CUTOFF)):
        error = chunk.labels - predict_prior(list(terms), chunk.batch, chunk.pairs).forces.reshape(-1)
        losses.append((error**2).reshape(chunk.batch.n_systems, -1).mean(dim=1).numpy())
    return np.concatenate(losses)


def _choose_frames(
    blocks: FrameBlocks, settings: PriorSettings, bonded: BondedPrior, survey: PairSurvey
) -> FrameBlocks:
    """Return as many frames as the linear fit needs: molecules are saved often, and its cost grows with them."""
    n_coefficients = sum(term.n_coefficients for term in bonded.linear)
    n_coefficients += int(np.isfinite(survey.closest).sum()) * settings.n_intervals
    sites = sum(len(indices) * blocks.trajectories[number].n_sites for number, indices in blocks.blocks)
    return blocks.thin(-(-_LABELS * n_coefficients * blocks.n_frames // (3 * sites)))


def _fit_without_pairs(
    blocks: FrameBlocks, settings: PriorSettings, bonded: BondedPrior, *, progress: Progress
) -> PriorFit:
    """Fit small molecules, in which all beads are joined by bonded terms."""
    fit = _match_forces(blocks, None, settings, bonded, progress=progress)
    losses = _summarise_losses(blocks.measure_mean_square_force(), None, fit.solution)
    return PriorFit(
        terms=bonded.terms,
        baseline=[*bonded.confining, *fit.bonded],
        summary={"walls": [], "losses": losses, "curves": []},
    )


def _fit_with_pairs(
    blocks: FrameBlocks, settings: PriorSettings, bonded: BondedPrior, survey: PairSurvey, progress: Progress
) -> PriorFit:
    """Do the second and the third pass."""
    free = _match_forces(
        blocks, _start_knots(survey), settings, bonded, progress=_count_pass(progress, 1, "pair mean force")
    )
    walls = fit_tangent_walls(
        *free.pairs, survey, force_tolerance=settings.force_tolerance, decay_tolerance=settings.decay_tolerance
    )

    def build(walls: tuple[WallConstants, ...]) -> ExponentialRepulsion:
        return build_repulsion(
            survey.type_names, walls, largest_cutoff=settings.cutoff, bond_classes=settings.bond_classes
        )

    repulsion = build(walls)
    fit = _match_forces(
        blocks,
        tuple(wall.joining_distance for wall in walls),
        settings,
        bonded,
        repulsion=repulsion,
        progress=_count_pass(progress, 2, "pair spline"),
    )
    terms: list[AbstractEnergyTerm] = [] if settings.repulsion == "none" else [repulsion]
    if settings.repulsion == "published":
        walls = fit_published_walls(survey)
        terms = [build(walls)]
    # bonded molecules may have few of all type pairs: the others are of no interest
    shown = [n for n, closest in enumerate(survey.closest) if np.isfinite(closest) or not bonded.terms]
    spline = fit.pairs[0]
    return PriorFit(
        terms=[*bonded.terms, *terms],
        baseline=[*bonded.confining, repulsion, *fit.bonded, spline],
        summary={
            "walls": [] if settings.repulsion == "none" else [walls[n].to_json() for n in shown],
            "repulsion_cutoff": repulsion.cutoff,
            "spline": _summarise_spline(spline, fit.solution),
            "losses": _summarise_losses(blocks.measure_mean_square_force(), free.solution, fit.solution),
            "curves": [_tabulate_curves(*free.pairs, repulsion, spline, n) for n in shown],
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A linear fit to forces."""

    solution: LinearSolution
    """Of all coefficients: those of the pair spline, if there is one, come first."""
    spline: PairSpline | None
    bonded: list[AbstractLinearBondedTerm]

    @property
    def pairs(self) -> tuple[PairSpline, LinearSolution]:
        """The pair spline and the solution of its coefficients."""
        assert self.spline is not None
        return self.spline, self.solution.select(slice(0, self.spline.n_coefficients))


def _match_forces(
    blocks: FrameBlocks,
    inner_distances: tuple[float, ...] | None,
    settings: PriorSettings,
    bonded: BondedPrior,
    *,
    repulsion: ExponentialRepulsion | None = None,
    progress: Progress,
) -> _Match:
    """Fit pair splines, free at the inner end without a repulsion, flat there beside one; and linear bonded terms."""
    splines: list[PairSpline] = []
    if inner_distances is not None:
        spline = PairSpline(
            blocks.type_names,
            inner_distances=inner_distances,
            cutoff=settings.cutoff,
            n_intervals=settings.n_intervals,
            inner_end="free" if repulsion is None else "flat",
            bond_classes=settings.bond_classes,
        )
        splines.append(spline)
    terms: list[LinearTerm] = [*splines, *bonded.linear]
    n_coefficients = [term.n_coefficients for term in terms]
    chunks = stream_frames(
        blocks,
        cutoff=settings.cutoff if splines else _SMALLEST_CUTOFF,
        max_sites=min(1024, max(1, _DESIGN_SIZE // (3 * sum(n_coefficients)))),
        progress=progress,
    )
    fixed = [*bonded.confining, *([] if repulsion is None else [repulsion])]
    equations = accumulate_normal_equations(terms, chunks, n_blocks=blocks.n_blocks, fixed_terms=fixed)
    solution = solve_normal_equations(terms, equations, ridge=settings.ridge)
    parts = np.split(solution.coefficients, np.cumsum(n_coefficients)[:-1])
    return _Match(
        solution=solution,
        spline=splines[0].with_coefficients(parts[0]) if splines else None,
        bonded=[term.with_coefficients(part) for term, part in zip(bonded.linear, parts[len(splines) :], strict=True)],
    )


def _start_knots(survey: PairSurvey) -> tuple[float, ...]:
    """Return the smallest distance of each type pair, or the smallest of all for a pair never seen."""
    smallest = float(survey.closest.min())
    if not np.isfinite(smallest):
        raise InputError(
            "no two beads ever came within the cutoff of the prior, so it cannot be fitted",
            fix="Raise the cutoff of the prior, or look at the units of the positions.",
        )
    return tuple(np.where(np.isfinite(survey.closest), survey.closest, smallest).tolist())


def _nan_if_unseen(closest: np.ndarray) -> list[float]:
    return np.where(np.isfinite(closest), closest, np.nan).tolist()


def _summarise_spline(spline: PairSpline, solution: LinearSolution) -> dict[str, Any]:
    return {
        "n_coefficients": spline.n_coefficients,
        "n_unvisited": solution.n_unvisited,
        "rank": solution.rank,
        "inner_distances": list(spline.inner_distances),
    }


def _summarise_losses(zero_loss: float, free: LinearSolution | None, fit: LinearSolution) -> dict[str, float]:
    """Return losses [(kJ/mol/nm)²] on the training frames; held-out ones leave one block out in turn.

    "repulsion" is the loss of what is fixed in the baseline: repulsion and harmonic terms.
    """
    losses = {
        "zero": zero_loss,
        "repulsion": fit.zero_loss,
        "spline": fit.loss,
        "spline_held_out": fit.held_out_loss,
        "explained_variance": 1.0 - fit.loss / zero_loss,
        "explained_variance_held_out": 1.0 - fit.held_out_loss / zero_loss,
    }
    if free is not None:
        losses |= {"free_spline": free.loss, "free_spline_held_out": free.held_out_loss}
    return losses


def _tabulate_curves(
    free: PairSpline, free_fit: LinearSolution, repulsion: ExponentialRepulsion, spline: PairSpline, number: int
) -> dict[str, Any]:
    """Return the curves of one type pair for the report: lists over r [nm], forces [kJ/mol/nm], energy [kJ/mol]."""
    inner = free.inner_distances[number]
    distances = np.arange(0.8 * min(inner, spline.inner_distances[number]), free.cutoff, _CURVE_STEP)
    inside = distances >= inner
    to_force = -free.evaluate_basis(distances, number, 1)
    wall, rest = (compute_pair_curve(term, distances, number) for term in (repulsion, spline))
    return {
        "type_pair": free.type_pairs[number],
        "r": distances.tolist(),
        "mean_force": np.where(inside, to_force @ free_fit.coefficients, np.nan).tolist(),
        "mean_force_error": np.where(inside, free_fit.estimate_error(to_force), np.nan).tolist(),
        "repulsion_force": wall.force.tolist(),
        "force": (wall.force + rest.force).tolist(),
        "energy": (wall.energy + rest.energy).tolist(),
    }


def _count_pass(progress: Progress, number: int, note: str) -> Progress:
    """Return a progress for one of the three passes over the frames."""

    def report_pass(done: float, total: float, note: str = note) -> None:
        progress(number * total + done, 3.0 * total, note)

    return report_pass
