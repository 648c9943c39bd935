"""The verb `fit_prior`: excluded volume for the network, and the pair-spline force field that the network must beat."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float

from beadsmith.energy import AbstractEnergyTerm, predict_prior
from beadsmith.errors import InputError
from beadsmith.priors.frames import FrameBlocks, split_frames, stream_frames
from beadsmith.priors.linear_fit import LinearSolution, accumulate_normal_equations, solve_normal_equations
from beadsmith.priors.pair_terms import compute_pair_curve
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.survey import PairSurvey, survey_pairs
from beadsmith.priors.walls import build_repulsion, fit_published_walls, fit_tangent_walls
from beadsmith.progress import Progress, silent
from beadsmith.trajectory import Trajectory
from beadsmith.units import Unit

# Doubles in the force design of one chunk (16 MB); a chunk holds at least one frame.
_DESIGN_SIZE = 2_000_000

# A pair list needs some cutoff even where no term asks for pairs [nm].
_SMALLEST_CUTOFF = 0.1

_CURVE_STEP = 0.002


@dataclass(frozen=True, kw_only=True)
class PriorSettings:
    """How the fixed part of the force field and the pair-spline baseline are fitted."""

    repulsion: Literal["tangent", "published", "none"] = "tangent"
    """Excluded volume of the network: `tangent` continues the pair mean force inwards from the edge of the data;
    `published` is the HIP-NN-TS paper's rule, which leaves a false well in liquid methanol; `none` trains without."""
    cutoff: Annotated[float, Unit("nm")] = 1.0
    """Where the pair splines end."""
    n_intervals: int = 36
    """Knot intervals of each pair spline; the explained force variance of liquids saturates at about 30."""
    ridge: float = 1e-9
    """Weight of the roughness penalty of the linear fit, relative to the mean diagonal of its normal matrix."""
    n_blocks: int = 10
    """Contiguous blocks of frames from which standard errors and held-out losses are taken."""
    force_tolerance: float = 0.03
    """Largest relative standard error of the mean force where the repulsion joins it; up to six times it if need be."""
    decay_tolerance: float = 0.05
    """Largest relative standard error of the decay of the mean force there; up to six times it if need be."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        InputError : a value is out of range.
        """
        if self.repulsion not in ("tangent", "published", "none"):
            raise InputError(f"prior repulsion is '{self.repulsion}', expected 'tangent', 'published' or 'none'")
        if not (np.isfinite(self.cutoff) and self.cutoff > 0.0):
            raise InputError(f"prior cutoff is {self.cutoff} nm, expected > 0")
        if self.n_intervals < 4:
            raise InputError(f"prior n_intervals is {self.n_intervals}, expected at least 4")
        if not (np.isfinite(self.ridge) and self.ridge >= 0.0):
            raise InputError(f"prior ridge is {self.ridge}, expected a finite number >= 0")
        if self.n_blocks < 2:
            raise InputError(f"prior n_blocks is {self.n_blocks}, expected at least 2")
        for name in ("force_tolerance", "decay_tolerance"):
            if not 0.0 < getattr(self, name) <= 0.1:
                raise InputError(f"prior {name} is {getattr(self, name)}, expected above 0 and at most 0.1")


@dataclass(frozen=True, kw_only=True)
class PriorFit:
    """What `fit_prior` found."""

    terms: list[AbstractEnergyTerm]
    """Prior of the network: the repulsion, or nothing."""
    baseline: list[AbstractEnergyTerm]
    """The MS-CG force field: tangent repulsion and pair spline. It is repulsive at all distances below the data."""
    summary: dict[str, Any]
    """Losses, walls and curves, JSON-ready."""


def fit_prior(
    trajectories: tuple[Trajectory, ...],
    settings: PriorSettings,
    *,
    frames: tuple[np.ndarray, ...] | None = None,
    progress: Progress = silent,
) -> PriorFit:
    """Fit the repulsion and the pair-spline force field to the mapped forces, in three passes over the frames.

    1. Survey of pair distances. 2. Force matching with free-ended pair splines: the pair mean force, to which the
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
    InputError : no frames, no forces, different bead types, or no pair within the cutoff.
    PhysicsError : a constant of the repulsion came out non-positive or not finite.

    Source: S. Izvekov and G. A. Voth, J. Phys. Chem. B 109, 2469 (2005).
    """
    blocks = split_frames(trajectories, frames, n_blocks=settings.n_blocks)
    survey = survey_pairs(blocks, cutoff=settings.cutoff, progress=_count_pass(progress, 0, "pair distances"))
    free, free_fit = _match_forces(
        blocks, _start_knots(survey), settings, progress=_count_pass(progress, 1, "pair mean force")
    )
    tolerances = {"force_tolerance": settings.force_tolerance, "decay_tolerance": settings.decay_tolerance}
    walls = fit_tangent_walls(free, free_fit, survey, **tolerances)
    repulsion = build_repulsion(survey.type_names, walls, largest_cutoff=settings.cutoff)
    spline, spline_fit = _match_forces(
        blocks,
        tuple(wall.joining_distance for wall in walls),
        settings,
        repulsion=repulsion,
        progress=_count_pass(progress, 2, "pair spline"),
    )
    terms: list[AbstractEnergyTerm] = [] if settings.repulsion == "none" else [repulsion]
    if settings.repulsion == "published":
        walls = fit_published_walls(survey)
        terms = [build_repulsion(survey.type_names, walls, largest_cutoff=settings.cutoff)]
    summary = {
        "settings": asdict(settings),
        "n_frames": blocks.n_frames,
        "n_blocks": blocks.n_blocks,
        "shortest_distances": dict(zip(survey.type_pairs, _nan_if_unseen(survey.closest), strict=True)),
        "walls": [] if settings.repulsion == "none" else [wall.to_json() for wall in walls],
        "repulsion_cutoff": repulsion.cutoff,
        "spline": _summarise_spline(spline, spline_fit),
        "losses": _summarise_losses(free_fit, spline_fit),
        "curves": [_tabulate_curves(free, free_fit, repulsion, spline, n) for n in range(len(survey.type_pairs))],
    }
    return PriorFit(terms=terms, baseline=[repulsion, spline], summary=summary)


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


def _match_forces(
    blocks: FrameBlocks,
    inner_distances: tuple[float, ...],
    settings: PriorSettings,
    *,
    repulsion: ExponentialRepulsion | None = None,
    progress: Progress,
) -> tuple[PairSpline, LinearSolution]:
    """Fit pair splines: free at the inner end without a repulsion, flat there beside one."""
    spline = PairSpline(
        blocks.type_names,
        inner_distances=inner_distances,
        cutoff=settings.cutoff,
        n_intervals=settings.n_intervals,
        inner_end="free" if repulsion is None else "flat",
    )
    chunks = stream_frames(
        blocks,
        cutoff=settings.cutoff,
        max_sites=min(1024, max(1, _DESIGN_SIZE // (3 * spline.n_coefficients))),
        progress=progress,
    )
    equations = accumulate_normal_equations(
        [spline], chunks, n_blocks=blocks.n_blocks, fixed_terms=[] if repulsion is None else [repulsion]
    )
    solution = solve_normal_equations([spline], equations, ridge=settings.ridge)
    return spline.with_coefficients(solution.coefficients), solution


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


def _summarise_losses(free: LinearSolution, spline: LinearSolution) -> dict[str, float]:
    """Return losses [(kJ/mol/nm)²] on the training frames; held-out ones leave one block out in turn."""
    return {
        "zero": free.zero_loss,
        "repulsion": spline.zero_loss,
        "spline": spline.loss,
        "spline_held_out": spline.held_out_loss,
        "free_spline": free.loss,
        "free_spline_held_out": free.held_out_loss,
        "explained_variance": 1.0 - spline.loss / free.zero_loss,
        "explained_variance_held_out": 1.0 - spline.held_out_loss / free.zero_loss,
    }


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
