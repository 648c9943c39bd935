"""A series in slow coordinates, fitted to the forces that a force field leaves: `method: labels`.

The force loss hardly feels slow coordinates: in capped alanine all of φ and ψ is worth 0.4 % of it, so a network stops
long before it has taken from the labels what they say about populations. A few functions of φ and ψ alone are a linear
problem with one solution. It is solved here on the residual forces, labels minus prior and network, and becomes one
more energy term. The equations stand in ``docs/explanation/slow-coordinates.md``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from beadsmith.batch import Batch, build_batch
from beadsmith.energy import predict
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField
from beadsmith.neighbors import find_pairs
from beadsmith.priors.coordinate_series import CoordinateSeries
from beadsmith.priors.frames import split_frames
from beadsmith.priors.linear_fit import NormalEquations
from beadsmith.progress import Progress, silent
from beadsmith.statistics import mean_and_error
from beadsmith.training.data import N_BLOCKS, SITES_AT_ONCE
from beadsmith.training.noise_weight import LocalFrames, choose_frames, invert_covariance, to_local
from beadsmith.training.populations import predict_energy, predict_populations
from beadsmith.training.slow_coordinates import CorrectionSettings, SlowSeries, find_series
from beadsmith.trajectory import Trajectory

_SMALLEST_CUTOFF = 0.1
"""A pair list needs some cutoff even where no term asks for pairs [nm]."""

_SAMPLES_PER_FUNCTION = 10
"""Fewer frames for each coefficient say nothing about its error."""

_LARGEST_CONDITION = 1e10
"""Condition number of the scaled normal matrix beyond which two functions are one and the same on these frames."""


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Labels minus the forces of a force field, in contiguous blocks of frames."""

    trajectories: tuple[Trajectory, ...]
    """The frames."""
    blocks: tuple[tuple[int, np.ndarray], ...]
    """Trajectory and frames of each block."""
    forces: tuple[np.ndarray, ...]
    """Residual forces of each block, shape (frames, sites, 3) [kJ/mol/nm]."""

    def stream(self) -> Iterator[tuple[int, Batch, np.ndarray]]:
        """Yield block number, some frames in float64 and their residual forces (frames, sites, 3), chunk by chunk."""
        for block, (number, frames) in enumerate(self.blocks):
            trajectory = self.trajectories[number]
            for part in _split(len(frames), trajectory.n_sites):
                batch = build_batch(trajectory, frames[part], dtype=torch.float64)
                yield block, batch, self.forces[block][part].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class _Weight:
    """The inverse noise covariance, in axes that go along with the beads."""

    frames: LocalFrames
    inverse: Float[np.ndarray, "components components"]


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """What one pass over the residual forces of one kind of molecule gives."""

    equations: NormalEquations
    """Normal equations of each block."""
    stiffness: Float[np.ndarray, "coordinates"]
    """Mean weighted square of the gradient of each coordinate."""
    values: Float[np.ndarray, "samples coordinates"]
    """Coordinates of every molecule in every frame [nm or rad]."""
    block: Int[np.ndarray, "samples"]
    """Block of each."""
    temperature: Float[np.ndarray, "samples"]
    """Temperature of each [K]."""


@dataclass(frozen=True, kw_only=True)
class _Solution:
    """Coefficients of one order."""

    coefficients: Float[np.ndarray, "functions"]
    replicates: Float[np.ndarray, "blocks functions"]
    """With one block left out each."""
    gain: float
    """Mean decrease of a block's weighted loss by the solution without it, relative to the loss."""
    gain_error: float


def fit_correction(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: dict[str, Int[np.ndarray, "_ 2"]],
    settings: CorrectionSettings,
    *,
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
) -> tuple[list[CoordinateSeries], dict[str, Any]]:
    """Return the series to add to a force field, and what is known about them as JSON.

    The fit takes training and validation frames; the test frames stay unseen and say what the series is worth.

    Parameters
    ----------
    force_field : Prior and network, without an earlier correction.
    trajectories : Mapped data with forces.
    rows : Training, validation and test frames.
    settings : Coordinates and order.
    dtype : Precision of the network.
    progress : Receives frames done.

    Raises
    ------
    InputError : a coordinate is unknown, there are too few frames, or two coordinates say the same.
    """
    series = find_series(settings, force_field.record.templates)
    fitted_rows = np.concatenate([rows["train"], rows["validation"]])
    fitted = measure_residuals(
        force_field, trajectories, fitted_rows, n_blocks=settings.n_blocks, dtype=dtype, progress=progress
    )
    unseen = measure_residuals(force_field, trajectories, rows["test"], n_blocks=N_BLOCKS, dtype=dtype)
    terms, summaries = [], []
    for entry in series:
        term, summary = _fit_series(entry, fitted, unseen, settings)
        summaries.append(summary)
        if term is not None:
            terms.append(term)
    return terms, {"settings": asdict(settings), "molecules": summaries}


@torch.no_grad()
def measure_residuals(
    force_field: ForceField,
    trajectories: tuple[Trajectory, ...],
    rows: Int[np.ndarray, "rows 2"],
    *,
    n_blocks: int,
    dtype: torch.dtype = torch.float32,
    progress: Progress = silent,
) -> Residuals:
    """Return labels minus forces of the chosen frames, in about `n_blocks` blocks that never cross a segment."""
    chosen = tuple(np.sort(rows[rows[:, 0] == number, 1]) for number in range(len(trajectories)))
    blocks = split_frames(trajectories, chosen, n_blocks=n_blocks).blocks
    cutoff = max(force_field.cutoff, _SMALLEST_CUTOFF)
    forces, done = [], 0
    for number, frames in blocks:
        trajectory = trajectories[number]
        assert trajectory.forces is not None
        residual = trajectory.forces[frames].astype(np.float32)
        for part in _split(len(frames), trajectory.n_sites):
            batch = build_batch(trajectory, frames[part], dtype=dtype)
            found = predict(force_field, batch, find_pairs(batch, cutoff)).forces
            residual[part] -= found.double().numpy().reshape(residual[part].shape).astype(np.float32)
            done += len(residual[part])
            progress(done, len(rows), "residual forces")
        forces.append(residual)
    return Residuals(trajectories=trajectories, blocks=blocks, forces=tuple(forces))


def _fit_series(
    series: SlowSeries, fitted: Residuals, unseen: Residuals, settings: CorrectionSettings
) -> tuple[CoordinateSeries | None, dict[str, Any]]:
    term = series.term.with_limits(_find_limits(series.term, fitted))
    weight = _measure_noise(term, fitted) if settings.weighting == "noise" else None
    sums = _accumulate(term, fitted, weight)
    penalty = settings.ridge * len(sums.values) * _spread_evenly(term, sums.stiffness)
    solutions = [
        _solve(sums.equations, penalty, int(np.sum(term.degrees <= order))) for order in range(1, settings.order + 1)
    ]
    best = max(range(settings.order), key=lambda number: solutions[number].gain)
    is_used = solutions[best].gain > 0.0
    summary: dict[str, Any] = {
        "molecule": series.molecule,
        "coordinates": [entry.name for entry in term.coordinates],
        "order": best + 1 if is_used else 0,
        "method": "labels",
        "weighting": "equal" if weight is None else "noise",
        "n_samples": len(sums.values),
        "n_blocks": len(fitted.blocks),
        "orders": [
            {
                "order": number + 1,
                "n_functions": len(solution.coefficients),
                "gain": solution.gain,
                "gain_error": solution.gain_error,
            }
            for number, solution in enumerate(solutions)
        ],
    }
    if not is_used:
        return None, summary
    chosen, solution = term.with_order(best + 1), solutions[best]
    held_out = _accumulate(chosen, unseen, weight).equations
    gain, error = _compare(held_out, np.tile(solution.coefficients, (len(unseen.blocks), 1)))
    functions, _ = chosen.evaluate_basis(sums.values)
    coefficients = np.vstack([solution.coefficients, solution.replicates])
    summary |= {
        "held_out_gain": gain,
        "held_out_gain_error": error,
        "energy": predict_energy(functions, coefficients),
        "basins": predict_populations(
            chosen,
            series.basins,
            values=sums.values,
            energies=functions @ coefficients.T,
            block=sums.block,
            temperature=sums.temperature,
        ),
    }
    return chosen.with_coefficients(solution.coefficients), summary


def _find_limits(term: CoordinateSeries, residuals: Residuals) -> Float[np.ndarray, "coordinates 2"]:
    """Return the range of each coordinate on all frames."""
    lower = np.full(len(term.coordinates), np.inf)
    upper = -lower
    if any(entry.kind != "dihedral" for entry in term.coordinates):
        for _, batch, _ in residuals.stream():
            values, _ = term.measure(batch)
            lower, upper = np.minimum(lower, values.min(axis=0)), np.maximum(upper, values.max(axis=0))
    return np.stack([lower, upper], axis=1)


def _measure_noise(term: CoordinateSeries, residuals: Residuals) -> _Weight | None:
    """Return the inverse covariance of the residual forces of a molecule; None where there are too few to know it."""
    n_components = 3 * len(term.molecule)
    products, n_terms, frames = np.zeros((n_components, n_components)), 0, None
    for _, batch, forces in residuals.stream():
        positions, cell, local = _gather(term, batch, forces)
        if len(term.molecule) < 3 or len(positions) == 0:
            return None
        frames = choose_frames(positions, cell) if frames is None else frames
        components = to_local(frames.build(positions, cell), local)
        products += components.T @ components
        n_terms += len(components)
    if frames is None or n_terms < _SAMPLES_PER_FUNCTION * n_components:
        return None
    return _Weight(frames=frames, inverse=invert_covariance(products, n_terms))


def _gather(
    term: CoordinateSeries, batch: Batch, forces: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return positions, cells and residual forces, molecule by molecule."""
    molecules = term.find_molecules(batch).numpy()
    systems = batch.system_index.numpy()[molecules[:, 0]]
    cell = None if batch.cell is None else batch.cell.numpy()[systems]
    return batch.positions.numpy()[molecules], cell, forces.reshape(-1, 3)[molecules]


def _accumulate(term: CoordinateSeries, residuals: Residuals, weight: _Weight | None) -> _Sums:
    """Sum the normal equations of −Σ c ∇f against the residual forces, weighted with the inverse covariance."""
    n_blocks, n_functions, n_coordinates = len(residuals.blocks), len(term.multiples), len(term.coordinates)
    gram, moment = np.zeros((n_blocks, n_functions, n_functions)), np.zeros((n_blocks, n_functions))
    label_square, n_components = np.zeros(n_blocks), np.zeros(n_blocks)
    stiffness = np.zeros(n_coordinates)
    values, block_of, temperature = [], [], []
    for block, batch, forces in residuals.stream():
        positions, cell, target = _gather(term, batch, forces)
        found, gradients = term.measure(batch)
        if weight is None:
            target, gradients = target.reshape(len(target), -1), gradients.reshape(*gradients.shape[:2], -1)
            weighted, weighted_target = gradients, target
        else:
            axes = weight.frames.build(positions, cell)
            target, gradients = to_local(axes, target), to_local(axes, gradients)
            weighted, weighted_target = gradients @ weight.inverse, target @ weight.inverse
        metric = np.einsum("tix,tjx->tij", weighted, gradients)
        pull = np.einsum("tix,tx->ti", weighted, target)
        _, slopes = term.evaluate_basis(found)
        gram[block] += np.einsum("tki,tli->kl", slopes @ metric, slopes, optimize=True)
        moment[block] -= np.einsum("tki,ti->k", slopes, pull, optimize=True)
        label_square[block] += float(np.sum(weighted_target * target))
        n_components[block] += target.size
        stiffness += np.einsum("tii->i", metric)
        values.append(found)
        block_of.append(np.full(len(found), block))
        systems = batch.system_index.numpy()[term.find_molecules(batch).numpy()[:, 0]]
        temperature.append(batch.temperature.numpy()[systems])
    n_samples = max(1, sum(map(len, values)))
    return _Sums(
        equations=NormalEquations(gram=gram, moment=moment, label_square=label_square, n_components=n_components),
        stiffness=stiffness / n_samples,
        values=np.concatenate(values),
        block=np.concatenate(block_of),
        temperature=np.concatenate(temperature),
    )


def _spread_evenly(term: CoordinateSeries, stiffness: np.ndarray) -> Float[np.ndarray, "functions"]:
    """Return the diagonal of the normal matrix of one frame, averaged over all values of the coordinates.

    cos² and sin² average to one half for every coordinate that a function depends on.
    """
    widths = [np.pi if entry.limits is None else entry.limits[1] - entry.limits[0] for entry in term.coordinates]
    waves = (term.multiples * np.pi / np.array(widths)) ** 2
    return (waves @ stiffness) * 0.5 ** np.sum(term.multiples != 0, axis=1)


def _solve(equations: NormalEquations, penalty: np.ndarray, n_functions: int) -> _Solution:
    """Solve for the first functions, from all blocks and with each left out.

    Raises
    ------
    InputError : there are too few frames or blocks, or the normal matrix is singular.
    """
    first = slice(0, n_functions)
    equations = NormalEquations(
        gram=equations.gram[:, first, first],
        moment=equations.moment[:, first],
        label_square=equations.label_square,
        n_components=equations.n_components,
    )
    n_blocks = len(equations.gram)
    if n_blocks < 2 or equations.n_components.sum() < _SAMPLES_PER_FUNCTION * n_functions:
        raise InputError(
            f"the correction has {n_functions} coefficients, too many for {n_blocks} blocks of frames",
            where="training.correction",
            fix="Sample more frames, or lower 'order'.",
        )
    gram, moment = equations.gram.sum(axis=0) + np.diag(penalty[first]), equations.moment.sum(axis=0)
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(gram), 1e-300))
    condition = np.linalg.cond(gram * np.outer(scale, scale))
    if not condition < _LARGEST_CONDITION:
        raise InputError(
            f"the slow coordinates cannot be told apart on these frames (condition number {condition:.1e}, at most "
            f"{_LARGEST_CONDITION:.0e})",
            where="training.correction",
            fix="Leave out a coordinate that never moves or that follows from the others, or raise 'ridge'.",
        )
    replicates = np.array(
        [np.linalg.solve(gram - equations.gram[b], moment - equations.moment[b]) for b in range(n_blocks)]
    )
    gain, error = _compare(equations, replicates)
    return _Solution(coefficients=np.linalg.solve(gram, moment), replicates=replicates, gain=gain, gain_error=error)


def _compare(equations: NormalEquations, coefficients: Float[np.ndarray, "blocks functions"]) -> tuple[float, float]:
    """Return by which fraction the weighted loss of each block falls with its coefficients: mean and standard error."""
    before = equations.label_square / equations.n_components
    after = [equations.compute_losses(row)[block] for block, row in enumerate(coefficients)]
    mean, error = mean_and_error((before - np.array(after)) / before.mean())
    return float(mean), float(error)


def _split(n_frames: int, n_sites: int) -> list[slice]:
    size = max(1, SITES_AT_ONCE // n_sites)
    return [slice(start, min(start + size, n_frames)) for start in range(0, n_frames, size)]
