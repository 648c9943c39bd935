"""A short simulation with the prior alone, before a network is trained on top of it: does it hold molecules together?

The network learns what the prior leaves, but only where there are frames; elsewhere the prior is all there is.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from beadsmith.analysis.free_energy import find_bins, jensen_shannon
from beadsmith.errors import PhysicsError
from beadsmith.force_field import ForceField
from beadsmith.priors.bonded import AbstractBondedTerm, Coordinate
from beadsmith.priors.bonded_survey import BondedSurvey, survey_bonded
from beadsmith.priors.frames import FrameBlocks
from beadsmith.priors.harmonic import HarmonicBonds
from beadsmith.priors.joined import prepare_prior
from beadsmith.progress import Progress, silent
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.start import build_start
from beadsmith.simulation.state import init_state, refresh_neighbours
from beadsmith.trajectory import Trajectory

DURATION, DISCARDED, SAVE_INTERVAL = 12.0, 2.0, 0.1
"""Length of the run, what is left out at its beginning, and the time between saved frames [ps]."""

MOST_REPLICAS, MOST_SITES = 32, 2048
"""Replicas side by side, and sites of all of them together."""

LONGEST_TIMESTEP = 0.002
"""Timestep [ps] unless a bond is too stiff for it."""

_PHASE = 0.5
"""Largest angular frequency of a bond times the timestep: a quarter of what BAOAB still integrates."""

_FRICTION, _SKIN, _MAX_DISPLACEMENT = 5.0, 0.2, 0.05
_MOST_REFERENCE_FRAMES = 20_000
_N_BINS = 36


def simulate_prior(
    force_field: ForceField, trajectories: tuple[Trajectory, ...], *, seed: int, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Run replicas with the prior of a force field, and compare their bonded coordinates with those of the frames.

    One Langevin run for each different set of molecules with bonds, from frames spread over its trajectory. The run
    judges stability and shapes; it is too short for rare transitions of dihedrals.

    Parameters
    ----------
    force_field : Its prior is simulated; its network, if there is one, is left out.
    trajectories : Mapped frames.
    seed : Seed of velocities and noise.
    progress : Called with the steps done.

    Returns
    -------
    A JSON-ready summary of each run: `n_replicas`, `n_stopped` (blown up), `temperature` [K] and, for each type tuple
    that has a term, means and standard deviations of frames and run [nm or rad] and the Jensen-Shannon divergence of
    their histograms [nats].

    Raises
    ------
    PhysicsError : half of the replicas or more blew up.
    """
    runs, seen = [], set()
    for trajectory in trajectories:
        topology = trajectory.topology
        key = (topology.types.tobytes(), topology.bonds.tobytes())
        if len(topology.bonds) and key not in seen:
            seen.add(key)
            runs.append(_simulate_one(force_field, trajectory, seed=seed, progress=progress))
    return runs


def _simulate_one(force_field: ForceField, trajectory: Trajectory, *, seed: int, progress: Progress) -> dict[str, Any]:
    prior = list(force_field.prior)
    bare = ForceField(prepare_prior(prior), None, force_field.record).to(dtype=torch.float32)
    n_replicas = min(MOST_REPLICAS, max(1, MOST_SITES // trajectory.n_sites), trajectory.n_frames)
    temperature = trajectory.state_point.temperature
    start = build_start(trajectory, force_field, temperature=temperature, n_replicas=n_replicas, seed=seed)
    timestep = _choose_timestep(prior, trajectory)
    positions, is_alive, temperatures = _run(bare, start, timestep, seed=seed, progress=progress)
    n_stopped = int((~is_alive).sum())
    if 2 * n_stopped >= n_replicas:
        raise PhysicsError(
            f"{n_stopped} of {n_replicas} replicas blew up in {DURATION:g} ps with the prior alone",
            fix="Look at the constants under 'prior' for a term with few samples; use 'estimator: variance', or leave "
            "the term out.",
        )
    kept = positions[:, is_alive].reshape(-1, *positions.shape[2:])
    simulated = Trajectory(
        topology=start.topology,
        state_point=start.state_point,
        positions=kept.astype(np.float32),
        times=np.arange(float(len(kept))),
        cell=None if start.cell is None else np.tile(start.cell[is_alive], (len(positions), 1, 1)),
    )
    step = -(-trajectory.n_frames // _MOST_REFERENCE_FRAMES)
    reference = replace(trajectory.select(slice(None, None, step)), topology=start.topology)
    return {
        "temperature": temperature,
        "kinetic_temperature": float(np.mean(temperatures[:, is_alive])),
        "timestep": timestep,
        "duration": DURATION,
        "n_replicas": n_replicas,
        "n_stopped": n_stopped,
        "coordinates": [
            entry
            for term in prior
            if isinstance(term, AbstractBondedTerm)
            for entry in _compare(term.coordinate, reference, simulated)
        ],
    }


def _choose_timestep(prior: list[Any], trajectory: Trajectory) -> float:
    """Return the longest timestep that is safe for the stiffest bond."""
    timestep, topology = LONGEST_TIMESTEP, trajectory.topology
    for term in prior:
        if isinstance(term, HarmonicBonds):
            masses = {
                name: float(topology.masses[topology.types == t].min(initial=math.inf))
                for t, name in enumerate(topology.type_names)
            }
            for (a, b), stiffness in zip(term.type_tuples, term.stiffness.tolist(), strict=True):
                reduced = 1.0 / (1.0 / masses[a] + 1.0 / masses[b])
                if math.isfinite(reduced):
                    timestep = min(timestep, _PHASE * math.sqrt(reduced / stiffness))
    return timestep


def _run(
    model: ForceField, start: Trajectory, timestep: float, *, seed: int, progress: Progress
) -> tuple[Float[np.ndarray, "frames replicas sites 3"], np.ndarray, Float[np.ndarray, "frames replicas"]]:
    """Return positions after the discarded part, which replicas lived to the end, and kinetic temperatures."""
    integrator = Langevin(timestep=timestep, friction=_FRICTION)
    cutoff = model.cutoff
    state = init_state(model, start, cutoff=cutoff, skin=_SKIN, max_displacement=_MAX_DISPLACEMENT, seed=seed)
    per_frame = max(1, round(SAVE_INTERVAL / timestep))
    positions, temperatures = [], []
    n_frames = round(DURATION / SAVE_INTERVAL)
    with torch.no_grad():
        for frame in range(n_frames):
            for _ in range(per_frame):
                state, _ = integrator.step(state, model)
            state = refresh_neighbours(state)
            if (frame + 1) * SAVE_INTERVAL > DISCARDED:
                positions.append(state.positions.numpy().copy())
                temperatures.append(integrator.measure_temperature(state).numpy().copy())
            progress(frame + 1, n_frames, "prior alone")
    return np.array(positions), state.is_alive.numpy(), np.array(temperatures)


def _compare(coordinate: Coordinate, reference: Trajectory, simulated: Trajectory) -> Iterator[dict[str, Any]]:
    """Yield what frames and run say about each type tuple of a coordinate."""
    surveys = [_survey(trajectory, coordinate) for trajectory in (reference, simulated)]
    for number in range(len(surveys[0].type_tuples)):
        moments = [survey.measure_moments(number) for survey in surveys]
        mean, deviation = moments[0]
        edges = np.linspace(-np.pi, np.pi, _N_BINS + 1)
        if not surveys[0].is_periodic:
            edges = np.linspace(mean - 5.0 * deviation, mean + 5.0 * deviation, _N_BINS + 1)
        histograms = [
            np.bincount(find_bins(s.centres, edges), weights=s.counts[:, number].sum(axis=0), minlength=_N_BINS)
            for s in surveys
        ]
        yield {
            "coordinate": coordinate,
            "name": surveys[0].name(number),
            "unit": surveys[0].unit,
            "reference": {"mean": mean, "deviation": deviation},
            "prior": {"mean": moments[1][0], "deviation": moments[1][1]},
            "jensen_shannon": jensen_shannon(*histograms),
        }


def _survey(trajectory: Trajectory, coordinate: Coordinate) -> BondedSurvey:
    everything = (0, np.arange(trajectory.n_frames))
    return survey_bonded(FrameBlocks(trajectories=(trajectory,), blocks=(everything,)), coordinate)
