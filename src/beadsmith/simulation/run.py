"""The verb `simulate`: run replicas of a coarse-grained system, save frames, survive a kill and a blow-up."""

import copy
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import trust_fused
from beadsmith.errors import InputError
from beadsmith.force_field import ForceField, fix_temperature
from beadsmith.io.parts import PartStore
from beadsmith.neighbors import find_pairs
from beadsmith.priors.joined import prepare_prior
from beadsmith.progress import Progress, silent
from beadsmith.simulation.barostat import change_volumes, measure_volumes, start_moves
from beadsmith.simulation.brownian import Brownian
from beadsmith.simulation.captured import CapturedLangevin
from beadsmith.simulation.checkpoint import Standing, pack_standing, unpack_standing
from beadsmith.simulation.finish import finish, nanoseconds_per_day, read_finished
from beadsmith.simulation.guards import StoppedReplica, find_escaped, find_overheated, find_refused_steps
from beadsmith.simulation.integrator import AbstractIntegrator
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.relax import relax
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.simulation.start import CountStart, Start, build_start, choose_start_frames
from beadsmith.simulation.state import State, compute_forces, init_state, keep_replicas, refresh_neighbours
from beadsmith.simulation.static_forces import find_obstacle
from beadsmith.simulation.tally import N_BLOCKS, add_frame, empty_tally
from beadsmith.simulation.tempering import exchange_temperatures, find_ladder, set_temperatures, start_ladders
from beadsmith.simulation.verlet import Verlet
from beadsmith.trajectory import StatePoint, Trajectory, join_trajectories

_LARGEST_BUFFER = 2**28


def build_integrator(settings: SimulationSettings) -> AbstractIntegrator:
    """Return the integrator that the settings name."""
    if settings.integrator == "langevin":
        return Langevin(timestep=settings.timestep, friction=settings.friction)
    if settings.integrator == "brownian":
        return Brownian(timestep=settings.timestep, friction=settings.friction)
    return Verlet(timestep=settings.timestep)


def capture_steps(
    integrator: AbstractIntegrator, model: ForceField, settings: SimulationSettings
) -> AbstractIntegrator:
    """Return the integrator with its steps captured as CUDA graphs, or, with a warning, as it is where that fails."""
    obstacle = find_obstacle(model)
    if isinstance(integrator, Langevin) and obstacle is None:
        return CapturedLangevin(
            integrator,
            first_frame=settings.n_equilibration_steps,
            # all three kinds of stop fall on multiples of it
            stride=math.gcd(
                settings.stride, settings.exchange_stride or settings.stride, settings.volume_stride or settings.stride
            ),
            n_replicas=settings.replicas,
        )
    warnings.warn(
        "each step of the simulation is launched from Python, which a GPU waits for: "
        f"{obstacle or f'only langevin can do without, not {settings.integrator}'}. For a small system 'device: cpu' "
        "may be faster",
        stacklevel=2,
    )
    return integrator


def simulate(
    force_field: ForceField,
    start: Start,
    settings: SimulationSettings,
    output: Path,
    *,
    temperature: float,
    seed: int,
    identity: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run the simulation, or what is left of it, and write its frames as one trajectory, one segment a replica.

    Frames hold continuous positions, velocities (half a step ahead for langevin, see `Langevin.measure_velocities`;
    none for brownian), potential energy, molecular virial and cell; their times start at the end of the
    equilibration. At constant pressure the cells change, and the state point of the frames has the pressure. On a CPU
    an interrupted and repeated run gives the same bits as an uninterrupted one.

    Parameters
    ----------
    force_field : What to simulate with; it is not changed.
    start : Where to start; see `beadsmith.simulation.start`.
    settings : How.
    output : Trajectory file to write; unfinished parts lie in ``<output>.parts``.
    temperature : Temperature of the heat bath and of drawn velocities [K].
    seed : Seed of all random numbers.
    identity : Hash of everything the result depends on; parts of another identity are not continued.
    progress : Receives picoseconds done, and speed.

    Returns
    -------
    The summary: ``n_steps``, ``n_frames``, ``seed`` and ``start_frames`` (one a replica, numbers in the start's own
    trajectory), ``kinetic_temperature`` and ``density`` (mean and block standard error [K], [g/cm³]; no density in open
    space), ``closest_distance`` [nm], ``replicas``, ``stopped`` and ``speed``; under parallel tempering also
    ``tempering``, see `summarise_exchanges`. Then the output holds the frames at the run's own temperature, one segment
    a ladder, and every other temperature has a file of its own beside it. At constant pressure also ``barostat``, see
    `summarise_moves`.

    Raises
    ------
    InputError : the start cannot be used, or the output cannot be written.
    PhysicsError : the start cannot be relaxed, or every replica stopped; frames saved before are kept.
    """
    if (finished := read_finished(output, identity)) is not None:
        return finished
    store, integrator = PartStore(output, identity), build_integrator(settings)
    dtype = getattr(torch, settings.precision)
    is_tempered = settings.tempering is not None
    model = prepare_model(force_field if is_tempered else fix_temperature(force_field, temperature), settings, dtype)
    if torch.device(settings.device).type == "cuda":
        integrator = capture_steps(integrator, model, settings)
    chosen = choose_start_frames(start, n_replicas=settings.replicas, choice=settings.start)
    frames = build_start(
        start, force_field, temperature=temperature, n_replicas=settings.replicas, seed=seed, chosen=chosen
    )
    ladders = volumes = None
    if settings.pressure is not None:
        volumes = start_moves(settings.volume_moves, frames)
        frames = replace(frames, state_point=StatePoint(temperature=temperature, pressure=settings.pressure))
    if settings.tempering is not None:
        ladders = start_ladders(find_ladder(settings.tempering, temperature), settings.replicas)
    with torch.no_grad(), limit_threads(settings.threads):
        if model.network is not None:
            first = build_batch(frames, np.array([0]), device=settings.device, dtype=dtype)
            trust_fused(model.network, first, find_pairs(first, model.network.cutoff))
        state = init_state(
            model,
            frames,
            cutoff=model.cutoff,
            skin=settings.skin,
            max_displacement=settings.max_displacement,
            seed=seed,
            device=settings.device,
            dtype=dtype,
        )
        if (stored := store.last_state) is not None:
            standing = unpack_standing(stored, state)
        else:
            if ladders is not None:
                # with a potential that depends on temperature each replica has its own
                state = compute_forces(set_temperatures(state, ladders.temperatures[ladders.rung]), model)
            state = integrator.init(relax(state, model) if isinstance(start, CountStart) else state)
            tally = empty_tally(settings.replicas)
            standing = Standing(state=state, tally=tally, exchanges=ladders, volumes=volumes)
        standing = _run(standing, integrator, model, settings=settings, frames=frames, store=store, progress=progress)
    origin = {
        "temperature": temperature,
        "seed": seed,
        "start_frames": None if chosen is None else chosen.tolist(),
    }
    return finish(standing, settings, store, origin)


def _run(
    standing: Standing,
    integrator: AbstractIntegrator,
    model: ForceField,
    *,
    settings: SimulationSettings,
    frames: Trajectory,
    store: PartStore,
    progress: Progress,
) -> Standing:
    """Step to the end, or until no replica is left; save, judge and checkpoint at every save interval."""
    state, first_step, first_seconds = standing.state, standing.state.step, standing.seconds
    snapshots = [_take_snapshot(standing, integrator, frames, time=0.0).select(slice(0, 0))]
    mark = saved = time.perf_counter()
    while state.step < settings.n_steps and len(standing.stopped) < settings.replicas:
        state, info = integrator.step(state, model)
        if info.has_stopped:
            state, standing = _take_out(state, standing, find_refused_steps(state, info))
            if len(standing.stopped) == settings.replicas:
                break
        state, standing = _exchange_if_due(state, standing, settings, model)
        state, standing = _change_volumes_if_due(state, standing, settings, model)
        steps_saved = state.step - settings.n_equilibration_steps
        if steps_saved % settings.stride:
            continue
        state, standing = _take_out(state, standing, _find_unphysical(state, standing, integrator, settings))
        if len(standing.stopped) == settings.replicas:
            break
        if steps_saved > 0:
            now = steps_saved * settings.timestep
            snapshots.append(_take_snapshot(replace(standing, state=state), integrator, frames, time=now))
            block = (steps_saved // settings.stride - 1) * N_BLOCKS // settings.n_frames
            measured = integrator.measure_temperature(state).cpu().numpy()
            columns = _find_segments(replace(standing, state=state))
            tally = add_frame(
                standing.tally, state, columns=columns, kinetic_temperature=measured, time=now, block=block
            )
            standing = replace(standing, tally=tally)
        if not integrator.refreshes_neighbours:
            state = refresh_neighbours(state)
        clock = time.perf_counter()
        standing = replace(standing, state=state, seconds=standing.seconds + clock - mark)
        mark = clock
        if clock - saved >= settings.checkpoint_interval or _count_bytes(snapshots) > _LARGEST_BUFFER:
            store.append(join_trajectories(snapshots), pack_standing(standing))
            snapshots, saved = [snapshots[0]], clock
        rate = (state.step - first_step) / (standing.seconds - first_seconds)
        note = f"{rate:.0f} steps/s, {nanoseconds_per_day(rate, settings):.3g} ns/day"
        progress(state.step * settings.timestep, settings.n_steps * settings.timestep, note)
    store.append(join_trajectories(snapshots), pack_standing(standing))
    return standing


def _take_out(state: State, standing: Standing, stopped: list[StoppedReplica]) -> tuple[State, Standing]:
    """Note the replicas that stopped and go on with the others; without any others the state stays as it is."""
    if not stopped:
        return state, standing
    standing = replace(standing, stopped=standing.stopped + tuple(stopped))
    gone = torch.tensor([entry.replica for entry in stopped], device=state.replica.device)
    is_kept = ~torch.isin(state.replica, gone)
    return (keep_replicas(state, is_kept) if bool(is_kept.any()) else state), standing


def _exchange_if_due(
    state: State, standing: Standing, settings: SimulationSettings, model: ForceField
) -> tuple[State, Standing]:
    """Let replicas exchange temperatures, if there is a ladder and this is the step for it."""
    stride = settings.exchange_stride
    if stride is None or standing.exchanges is None or (state.step - settings.n_equilibration_steps) % stride:
        return state, standing
    state, exchanges = exchange_temperatures(
        state, standing.exchanges, model, attempt=state.step // stride, pressure=settings.pressure
    )
    return state, replace(standing, exchanges=exchanges)


def _change_volumes_if_due(
    state: State, standing: Standing, settings: SimulationSettings, model: ForceField
) -> tuple[State, Standing]:
    """Let replicas change their volumes, if there is a pressure and this is the step for it."""
    stride, steps_saved = settings.volume_stride, state.step - settings.n_equilibration_steps
    if stride is None or settings.pressure is None or standing.volumes is None or steps_saved % stride:
        return state, standing
    state, volumes = change_volumes(
        state,
        standing.volumes,
        model,
        pressure=settings.pressure,
        attempt=state.step // stride,
        is_adapting=steps_saved <= 0,
    )
    return state, replace(standing, volumes=volumes)


def _find_unphysical(
    state: State, standing: Standing, integrator: AbstractIntegrator, settings: SimulationSettings
) -> list[StoppedReplica]:
    """Return the replicas that are too hot, broken, or have left the range of volumes."""
    temperature = integrator.measure_temperature(state)
    stopped = find_overheated(state, temperature, max_ratio=settings.max_temperature_ratio)
    if standing.volumes is None:
        return stopped
    start_volume = torch.from_numpy(standing.volumes.start_volume).to(state.replica.device)[state.replica]
    ratio = settings.volume_moves.max_volume_ratio
    escaped = find_escaped(state, measure_volumes(state), start_volume, max_ratio=ratio)
    known = {entry.replica for entry in stopped}
    return stopped + [entry for entry in escaped if entry.replica not in known]


def _find_segments(standing: Standing) -> np.ndarray:
    """Return the segment that a frame of each replica belongs to: the replica, or its ladder at a temperature."""
    replica = standing.state.replica.cpu().numpy()
    return replica if standing.exchanges is None else standing.exchanges.segments[replica]


def _take_snapshot(
    standing: Standing, integrator: AbstractIntegrator, frames: Trajectory, *, time: float
) -> Trajectory:
    """Return one frame of each replica."""
    state = standing.state
    velocities = integrator.measure_velocities(state)
    replica = state.replica.cpu().numpy()
    return Trajectory(
        topology=frames.topology,
        state_point=frames.state_point,
        positions=state.positions.cpu().numpy().astype(np.float32),
        times=np.full(len(replica), time),
        velocities=None if velocities is None else velocities.cpu().numpy().astype(np.float32),
        cell=None if state.system.cell is None else state.system.cell.cpu().numpy().astype(np.float32),
        energy=state.energy.cpu().numpy(),
        virial=state.virial.cpu().numpy(),
        segment=_find_segments(standing),
    )


@contextmanager
def limit_threads(n_threads: int | None) -> Iterator[None]:
    """Run a block with a number of torch threads, and restore the old one."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_model(force_field: ForceField, settings: SimulationSettings, dtype: torch.dtype) -> ForceField:
    """Return a frozen copy on the device, with the prior's pair terms as tables unless it is a CPU in float64."""
    device = _find_device(settings.device)
    model = copy.deepcopy(force_field).eval().requires_grad_(False)
    if device.type != "cpu" or dtype == torch.float32:
        model = ForceField(prepare_prior(model.prior), model.network, model.record, model.thermal_form)
    return model.to(device, dtype)


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{name}' cannot be used ({error})", fix="Use device: cpu.") from error
    return device


def _count_bytes(snapshots: list[Trajectory]) -> int:
    return sum(2 * snapshot.positions.nbytes for snapshot in snapshots)
