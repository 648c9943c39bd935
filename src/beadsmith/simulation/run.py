"""The verb `simulate`: run replicas of a coarse-grained system, save frames, survive a kill and a blow-up."""

import copy
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from beadsmith.batch import build_batch
from beadsmith.energy import trust_fused
from beadsmith.errors import InputError, PhysicsError
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.neighbors import find_pairs
from beadsmith.priors.tabulated import tabulate_pair_terms
from beadsmith.progress import Progress, silent
from beadsmith.simulation.brownian import Brownian
from beadsmith.simulation.captured import CapturedLangevin
from beadsmith.simulation.checkpoint import Standing, pack_standing, unpack_standing
from beadsmith.simulation.guards import StoppedReplica, find_overheated, find_refused_steps
from beadsmith.simulation.integrator import AbstractIntegrator
from beadsmith.simulation.langevin import Langevin
from beadsmith.simulation.relax import relax
from beadsmith.simulation.start import CountStart, Start, build_start
from beadsmith.simulation.state import State, init_state, keep_replicas, refresh_neighbours
from beadsmith.simulation.static_forces import find_obstacle
from beadsmith.simulation.tally import N_BLOCKS, add_frame, empty_tally, summarise
from beadsmith.simulation.verlet import Verlet
from beadsmith.trajectory import Trajectory, join_trajectories
from beadsmith.units import Unit

_LARGEST_BUFFER = 2**28
_SECONDS_PER_DAY = 86400.0
_PICOSECONDS_PER_NANOSECOND = 1000.0


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """How a coarse-grained system is simulated."""

    integrator: Literal["langevin", "verlet", "brownian"] = "langevin"
    """Langevin (BAOAB, constant temperature), velocity Verlet (constant energy) or overdamped Brownian dynamics."""
    timestep: Annotated[float, Unit("ps")] = 0.005
    """Timestep."""
    friction: Annotated[float, Unit("1/ps")] = 2.0
    """Collision rate with the heat bath; not used by verlet."""
    equilibration: Annotated[float, Unit("ps")] = 20.0
    """Time before the first saved frame."""
    duration: Annotated[float, Unit("ps")] = 100.0
    """Time over which frames are saved."""
    save_interval: Annotated[float, Unit("ps")] = 0.2
    """Time between saved frames."""
    replicas: int = 1
    """Copies that run side by side, from different frames and with different noise."""
    skin: Annotated[float, Unit("nm")] = 0.2
    """Distance beyond the cutoff up to which neighbours are kept between searches; changes speed only."""
    max_displacement: Annotated[float, Unit("nm")] = 0.05
    """A replica with a bead that moves farther than this in one step is stopped."""
    max_temperature_ratio: float = 10.0
    """A replica whose kinetic temperature exceeds the heat bath's by this factor is stopped."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of energies and forces; positions and velocities are always double."""
    device: str = "cpu"
    """Where to compute: cpu, cuda or cuda:0."""
    threads: int | None = 1
    """Threads on a CPU; none takes all cores, which pays for wide networks and many replicas on an idle machine."""
    checkpoint_interval: Annotated[float, Unit("s")] = 15.0
    """Wall time between checkpoints: what a kill can cost."""

    def __post_init__(self) -> None:
        """Refuse settings that make no run.

        Raises
        ------
        InputError : a value is out of range, or times are not multiples of each other.
        """
        for name in ("timestep", "friction", "duration", "save_interval", "skin", "max_displacement"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"'{name}' is {getattr(self, name)}, expected > 0")
        for name in ("equilibration", "checkpoint_interval"):
            if not getattr(self, name) >= 0.0:
                raise InputError(f"'{name}' is {getattr(self, name)}, expected >= 0")
        if self.replicas < 1:
            raise InputError(f"'replicas' is {self.replicas}, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"'threads' is {self.threads}, expected at least 1")
        if not self.max_temperature_ratio > 1.0:
            raise InputError(f"'max_temperature_ratio' is {self.max_temperature_ratio}, expected > 1")
        if self.duration < self.save_interval * (1.0 - 1e-9):
            raise InputError(
                f"'duration' is {self.duration} ps, shorter than one 'save_interval' ({self.save_interval} ps)"
            )
        steps = self.save_interval / self.timestep
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
            raise InputError(
                f"'save_interval' is {steps:.6g} timesteps, expected a whole number",
                fix=f"Use a save_interval of {max(1, round(steps)) * self.timestep:g} ps.",
            )

    @property
    def stride(self) -> int:
        """Steps between saved frames."""
        return round(self.save_interval / self.timestep)

    @property
    def n_equilibration_steps(self) -> int:
        """Steps before the first saved interval."""
        return round(self.equilibration / self.timestep)

    @property
    def n_frames(self) -> int:
        """Saved frames of each replica."""
        return int(self.duration / self.save_interval * (1.0 + 1e-9))

    @property
    def n_steps(self) -> int:
        """All steps."""
        return self.n_equilibration_steps + self.n_frames * self.stride


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
            integrator, first_frame=settings.n_equilibration_steps, stride=settings.stride, n_replicas=settings.replicas
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
    equilibration. On a CPU an interrupted and repeated run gives the same bits as an uninterrupted one.

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
    The summary: ``n_steps``, ``n_frames``, ``kinetic_temperature`` (mean and block standard error [K]),
    ``closest_distance`` [nm], ``replicas``, ``stopped`` and ``speed``.

    Raises
    ------
    InputError : the start cannot be used, or the output cannot be written.
    PhysicsError : the start cannot be relaxed, or every replica stopped; frames saved before are kept.
    """
    if (finished := _read_finished(output, identity)) is not None:
        return finished
    store, integrator = PartStore(output, identity), build_integrator(settings)
    dtype = getattr(torch, settings.precision)
    model = _prepare_model(force_field, settings, dtype)
    if torch.device(settings.device).type == "cuda":
        integrator = capture_steps(integrator, model, settings)
    frames = build_start(start, force_field, temperature=temperature, n_replicas=settings.replicas, seed=seed)
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
            state = integrator.init(relax(state, model) if isinstance(start, CountStart) else state)
            standing = Standing(state=state, tally=empty_tally(settings.replicas))
        standing = _run(standing, integrator, model, settings=settings, frames=frames, store=store, progress=progress)
    return _finish(standing, settings, store)


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
    snapshots = [_take_snapshot(state, integrator, frames, time=0.0).select(slice(0, 0))]
    mark = saved = time.perf_counter()
    while state.step < settings.n_steps and len(standing.stopped) < settings.replicas:
        state, info = integrator.step(state, model)
        if info.has_stopped:
            state, standing = _take_out(state, standing, find_refused_steps(state, info))
            if len(standing.stopped) == settings.replicas:
                break
        steps_saved = state.step - settings.n_equilibration_steps
        if steps_saved % settings.stride:
            continue
        temperature = integrator.measure_temperature(state)
        hot = find_overheated(state, temperature, max_ratio=settings.max_temperature_ratio)
        state, standing = _take_out(state, standing, hot)
        if len(standing.stopped) == settings.replicas:
            break
        if steps_saved > 0:
            now = steps_saved * settings.timestep
            snapshots.append(_take_snapshot(state, integrator, frames, time=now))
            block = (steps_saved // settings.stride - 1) * N_BLOCKS // settings.n_frames
            measured = integrator.measure_temperature(state).cpu().numpy()
            tally = add_frame(standing.tally, state, kinetic_temperature=measured, time=now, block=block)
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
        note = f"{rate:.0f} steps/s, {_nanoseconds_per_day(rate, settings):.3g} ns/day"
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


def _take_snapshot(state: State, integrator: AbstractIntegrator, frames: Trajectory, *, time: float) -> Trajectory:
    """Return one frame of each replica."""
    velocities = integrator.measure_velocities(state)
    replica = state.replica.cpu().numpy()
    return Trajectory(
        topology=frames.topology,
        state_point=frames.state_point,
        positions=state.positions.cpu().numpy().astype(np.float32),
        times=np.full(len(replica), time),
        velocities=None if velocities is None else velocities.cpu().numpy().astype(np.float32),
        cell=None if frames.cell is None else frames.cell[replica],
        energy=state.energy.cpu().numpy(),
        virial=state.virial.cpu().numpy(),
        segment=replica,
    )


def _finish(standing: Standing, settings: SimulationSettings, store: PartStore) -> dict[str, Any]:
    """Join the parts and return the summary.

    Raises
    ------
    PhysicsError : every replica stopped.
    """
    summary = {
        "n_steps": standing.state.step,
        "n_replicas": settings.replicas,
        "n_beads": standing.state.n_sites,
        "n_frames": store.n_frames,
        **summarise(standing.tally, conserves_energy=settings.integrator == "verlet"),
        "stopped": [asdict(entry) for entry in standing.stopped],
    }
    if store.n_frames:
        store.finish({"identity": store.identity, "settings": asdict(settings), "summary": summary})
    if len(standing.stopped) == settings.replicas:
        raise PhysicsError(
            f"all {settings.replicas} replicas stopped; the first was {standing.stopped[0].describe()}",
            where=str(store.path),
            fix="Use a shorter timestep (or, for brownian, more friction); if that does not help, the force field has "
            "no wall at short distances.",
        )
    rate = standing.state.step / standing.seconds
    return summary | {"speed": _describe_speed(rate, settings, n_running=standing.state.n_replicas)}


def _describe_speed(rate: float, settings: SimulationSettings, *, n_running: int) -> dict[str, float]:
    """Return steps/s and ns/day of one replica, and ns/day of all that run side by side."""
    each = _nanoseconds_per_day(rate, settings)
    return {"steps_per_second": rate, "ns_per_day": each, "ns_per_day_all_replicas": each * n_running}


def _nanoseconds_per_day(rate: float, settings: SimulationSettings) -> float:
    return rate * settings.timestep * _SECONDS_PER_DAY / _PICOSECONDS_PER_NANOSECOND


def _read_finished(output: Path, identity: str) -> dict[str, Any] | None:
    """Return the summary in a finished file of the same identity: a kill may come after the file, before its record."""
    if not Path(output).is_file():
        return None
    try:
        with open_trajectory(output) as stored:
            metadata = stored.metadata
    except InputError:
        return None
    if metadata.get("identity") != identity:
        return None
    summary: dict[str, Any] = metadata["summary"]
    if len(summary["stopped"]) == summary["n_replicas"]:
        return None
    return summary | {"speed": dict.fromkeys(("steps_per_second", "ns_per_day", "ns_per_day_all_replicas"))}


@contextmanager
def limit_threads(n_threads: int | None) -> Iterator[None]:
    """Run a block with a number of torch threads, and restore the old one."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prepare_model(force_field: ForceField, settings: SimulationSettings, dtype: torch.dtype) -> ForceField:
    """Return a frozen copy on the device, with the prior's pair terms as tables unless it is a CPU in float64."""
    device = _find_device(settings.device)
    model = copy.deepcopy(force_field).eval().requires_grad_(False)
    if device.type != "cpu" or dtype == torch.float32:
        model = ForceField(tabulate_pair_terms(model.prior), model.network, model.record)
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
