"""Run atomistic molecular dynamics with OpenMM and write frames with forces and molecular virials.

The verb ``sample``. The run can be killed at any moment: each checkpoint writes the frames since the last one together
with the state of the engine as one file, and the same call goes on from there.
"""

import time
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openmm

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.parts import PartStore
from beadsmith.progress import Progress, silent
from beadsmith.sampling.engine import (
    Platform,
    PlatformName,
    Snapshot,
    choose_platform,
    renew_,
    restore_state_,
    save_state,
    take_snapshot,
)
from beadsmith.sampling.systems import AtomisticSystem, SystemSettings, build_system
from beadsmith.sampling.virial import VirialEngine, build_virial_engine, compute_virial
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE, Unit


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the atomistic reference is sampled."""

    timestep: Annotated[float, Unit("ps")] = 0.004
    """Timestep; up to 2.5 fs with the true hydrogen mass, up to 5 fs with hydrogens of 3 u."""
    equilibration: Annotated[float, Unit("ps")] = 20.0
    """Time before the first saved frame."""
    duration: Annotated[float, Unit("ps")] = 100.0
    """Time over which frames are saved."""
    save_interval: Annotated[float, Unit("ps")] = 0.2
    """Time between saved frames; forces lose their memory within about 0.2 ps."""
    checkpoint_interval: Annotated[float, Unit("ps")] = 5.0
    """Time between checkpoints: a killed run loses at most this much."""
    friction: Annotated[float, Unit("1/ps")] = 1.0
    """Friction of the Langevin thermostat."""
    hydrogen_mass: Annotated[float, Unit("u")] | None = 3.0
    """Mass of each hydrogen in the dynamics, taken from the atom it is bonded to; none for the true mass."""
    cutoff: Annotated[float, Unit("nm")] = 0.9
    """Range of the Lennard-Jones forces (with long-range correction) and of the direct Ewald sum."""
    ewald_tolerance: float = 5e-4
    """Relative error of the Ewald forces."""
    initial_density: Annotated[float, Unit("u/nm**3")] = 0.7 * GRAM_PER_CUBIC_CENTIMETRE
    """Density at the start of a run at constant pressure."""
    barostat_interval: Annotated[float, Unit("ps")] = 0.1
    """Time between attempted volume changes of a run at constant pressure."""
    platform: PlatformName = "auto"
    """OpenMM platform; auto takes a GPU if there is one, else what is fast for the size."""
    threads: int | None = None
    """Threads of the CPU platform; none takes what the size can use. One thread makes runs repeatable bit for bit."""

    def __post_init__(self) -> None:
        """Refuse values that no stable run has, and intervals that do not fit into each other.

        Raises
        ------
        InputError : a value is out of range, or an interval is no multiple of the shorter one.
        """
        positive = ("timestep", "duration", "save_interval", "checkpoint_interval", "friction", "cutoff")
        for field in (*positive, "initial_density", "barostat_interval"):
            if not (np.isfinite(getattr(self, field)) and getattr(self, field) > 0.0):
                raise InputError(f"{field} is {getattr(self, field)}, expected > 0")
        if not (np.isfinite(self.equilibration) and self.equilibration >= 0.0):
            raise InputError(f"equilibration is {self.equilibration} ps, expected >= 0")
        if not 1e-6 <= self.ewald_tolerance <= 1e-2:
            raise InputError(f"ewald_tolerance is {self.ewald_tolerance}, expected between 1e-6 and 1e-2")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}, expected at least 1")
        if self.hydrogen_mass is not None and not 1.008 <= self.hydrogen_mass <= 4.0:
            raise InputError(f"hydrogen_mass is {self.hydrogen_mass} u, expected between 1.008 and 4 u")
        is_heavy = self.hydrogen_mass is not None and self.hydrogen_mass >= 2.5
        limit = 0.005 if is_heavy else 0.0025
        if self.timestep > limit + 1e-9:
            raise InputError(
                f"timestep is {1000.0 * self.timestep:g} fs, but hydrogens of "
                f"{self.hydrogen_mass or 1.008:g} u are stable up to {1000.0 * limit:g} fs",
                fix="Use a shorter timestep" + ("." if is_heavy else ", or hydrogen_mass: 3 u."),
            )
        self._refuse_misfit("save_interval", "timestep")
        for field in ("equilibration", "duration", "checkpoint_interval"):
            self._refuse_misfit(field, "save_interval")

    def _refuse_misfit(self, longer: str, shorter: str) -> None:
        value, step = getattr(self, longer), getattr(self, shorter)
        count = round(value / step)
        if abs(value - count * step) > 1e-6 * step or (count == 0 and longer != "equilibration"):
            raise InputError(
                f"{longer} is {value:g} ps, not a multiple of {shorter} ({step:g} ps)",
                fix=f"The nearest that fits is {max(count, 1) * step:g} ps.",
            )

    @property
    def steps_per_frame(self) -> int:
        """Number of timesteps between saved frames."""
        return round(self.save_interval / self.timestep)

    @property
    def n_intervals(self) -> tuple[int, int]:
        """Number of save intervals before the first saved frame, and in the whole run."""
        before = round(self.equilibration / self.save_interval)
        return before, before + round(self.duration / self.save_interval)


def sample(
    settings: SamplingSettings,
    system: SystemSettings,
    state_point: StatePoint,
    output: Path,
    *,
    seed: int,
    identity: str,
    progress: Progress = silent,
) -> None:
    """Sample a canonical or isothermal-isobaric ensemble and write frames with forces and virials.

    Langevin dynamics (leapfrog middle scheme), at constant pressure with a Monte Carlo barostat. The same call resumes
    a killed run: bit-equal on the Reference platform and on one thread of the CPU platform; else it goes on in the
    same ensemble.
    Source: Z. Zhang et al., J. Phys. Chem. A 123, 6056 (2019) (integrator).

    Parameters
    ----------
    settings : Timestep, lengths and platform.
    system : Molecules.
    state_point : Temperature and either a density (constant volume), a pressure, or neither (open cluster).
    output : Trajectory file to write.
    seed : Fixes starting positions, velocities and random forces.
    identity : Hash of all inputs; unfinished parts of another identity are discarded.
    progress : Receives picoseconds done.

    Raises
    ------
    InputError : the system cannot be built, or the platform is missing.
    PhysicsError : the dynamics diverged, or the box shrank below twice the cutoff.
    """
    platform = choose_platform(settings.platform, threads=settings.threads, n_particles=_count_atoms(system))
    atoms = _build_atoms(settings, system, state_point, seed)
    store = PartStore(output, identity)
    saved = store.last_state
    tally = _Tally() if saved is None else _Tally.from_state(saved)
    context = _create_context(settings, atoms.system, state_point, platform, seed=seed + tally.n_intervals)
    if saved is None:
        _start_(context, atoms, state_point, seed)
    else:
        is_exact = restore_state_(context, saved)
        tally = replace(tally, n_resumed=tally.n_resumed + 1, n_inexact=tally.n_inexact + (not is_exact))
    virials = build_virial_engine(atoms.system, atoms.topology, platform)
    run = _Run(
        settings=settings,
        state_point=state_point,
        topology=atoms.topology,
        context=context,
        virials=virials,
        store=store,
    )
    tally = _propagate(run, tally, progress)
    store.finish(_describe_run(run, tally, system, seed))


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What stays the same while the run goes on."""

    settings: SamplingSettings
    state_point: StatePoint
    topology: Topology
    context: openmm.Context
    virials: VirialEngine
    store: PartStore


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """What a run counts, through all its resumptions."""

    n_intervals: int = 0
    """Save intervals done, equilibration included."""
    n_resumed: int = 0
    """How often the run was resumed."""
    n_inexact: int = 0
    """How often from positions and velocities instead of an exact checkpoint."""
    seconds: float = 0.0
    """Wall time of the dynamics."""
    seconds_virial: float = 0.0
    """Wall time of the virials."""

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> "_Tally":
        """Return the tally of a checkpoint."""
        return cls(**{field.name: state[field.name].item() for field in fields(cls)})

    def to_state(self) -> dict[str, np.ndarray]:
        """Return the tally as arrays."""
        return {name: np.asarray(value) for name, value in asdict(self).items()}


def _propagate(run: _Run, tally: _Tally, progress: Progress) -> _Tally:
    settings = run.settings
    n_before, n_total = settings.n_intervals
    per_checkpoint = round(settings.checkpoint_interval / settings.save_interval)
    frames: list[tuple[Snapshot, np.ndarray, float]] = []
    first = tally.n_intervals
    begin = time.perf_counter()
    for done in range(first + 1, n_total + 1):
        started = time.perf_counter()
        snapshot = _advance_(run, done)
        dynamics_ended = time.perf_counter()
        if done > n_before:
            virial = compute_virial(run.virials, snapshot.positions, snapshot.cell)
            frames.append((snapshot, virial, (done - n_before) * settings.save_interval))
        tally = replace(
            tally,
            n_intervals=done,
            seconds=tally.seconds + dynamics_ended - started,
            seconds_virial=tally.seconds_virial + time.perf_counter() - dynamics_ended,
        )
        if done % per_checkpoint == 0 or done == n_total:
            run.store.append(_join_frames(run, frames), save_state(run.context) | tally.to_state())
            for context in (run.context, *run.virials.contexts):
                renew_(context)
            frames = []
        simulated = (done - first) * settings.save_interval
        speed = 86.4 * simulated / (time.perf_counter() - begin)
        note = f"{speed:.3g} ns/day" + ("" if done > n_before else ", equilibration")
        progress(done * settings.save_interval, n_total * settings.save_interval, note)
    return tally


def _advance_(run: _Run, done: int) -> Snapshot:
    """Take one save interval of steps."""
    step = done * run.settings.steps_per_frame
    try:
        run.context.getIntegrator().step(run.settings.steps_per_frame)
        snapshot = take_snapshot(run.context)
    except openmm.OpenMMException as error:
        if "twice the nonbonded cutoff" in str(error):
            raise PhysicsError(
                f"the box shrank below twice the cutoff of {run.settings.cutoff:g} nm at step {step}",
                fix="Use more molecules or a shorter cutoff.",
            ) from error
        if "NaN" not in str(error):
            raise
        raise _diverged(step) from error
    if not np.isfinite(snapshot.energy):
        raise _diverged(step)
    return snapshot


def _diverged(step: int) -> PhysicsError:
    return PhysicsError(
        f"the atomistic run diverged before step {step}: its energy is not a number",
        fix="Use a shorter timestep, and check that the density is that of the liquid.",
    )


def _count_atoms(system: SystemSettings) -> int:
    return sum(residue.n_atoms for residue in system.list_residues())


def _build_atoms(
    settings: SamplingSettings, system: SystemSettings, state_point: StatePoint, seed: int
) -> AtomisticSystem:
    if state_point.density is not None and state_point.pressure is not None:
        raise InputError("a run has either a density or a pressure, but both are given", fix="Remove one of them.")
    is_isobaric = state_point.pressure is not None
    return build_system(
        system,
        density=settings.initial_density if is_isobaric else state_point.density,
        cutoff=settings.cutoff,
        seed=seed,
        ewald_tolerance=settings.ewald_tolerance,
        hydrogen_mass=settings.hydrogen_mass,
    )


def _create_context(
    settings: SamplingSettings, system: openmm.System, state_point: StatePoint, platform: Platform, *, seed: int
) -> openmm.Context:
    integrator_seed, barostat_seed = _engine_seeds(seed)
    integrator = openmm.LangevinMiddleIntegrator(state_point.temperature, settings.friction, settings.timestep)
    integrator.setRandomNumberSeed(integrator_seed)
    copy = openmm.XmlSerializer.clone(system)
    if state_point.pressure is not None:
        interval = max(1, round(settings.barostat_interval / settings.timestep))
        barostat = openmm.MonteCarloBarostat(state_point.pressure / BAR, state_point.temperature, interval)
        barostat.setRandomNumberSeed(barostat_seed)
        copy.addForce(barostat)
    return platform.create_context(copy, integrator)


def _engine_seeds(seed: int) -> tuple[int, int]:
    """Return two independent seeds for OpenMM, which takes 0 for a random one."""
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return int(first % (2**31 - 1)) + 1, int(second % (2**31 - 1)) + 1


def _start_(context: openmm.Context, atoms: AtomisticSystem, state_point: StatePoint, seed: int) -> None:
    """Relax the starting positions and draw velocities."""
    context.setPositions(atoms.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 100)
    context.setVelocitiesToTemperature(state_point.temperature, _engine_seeds(seed)[0])


def _join_frames(run: _Run, frames: list[tuple[Snapshot, np.ndarray, float]]) -> Trajectory:
    n_frames, n_sites = len(frames), run.topology.n_sites
    snapshots = [frame[0] for frame in frames]
    is_periodic = run.virials.is_periodic

    def stack(arrays: list[np.ndarray], width: int) -> np.ndarray:
        return np.array(arrays, dtype=np.float32).reshape(n_frames, width, 3)

    return Trajectory(
        topology=run.topology,
        state_point=run.state_point,
        positions=stack([snapshot.positions for snapshot in snapshots], n_sites),
        forces=stack([snapshot.forces for snapshot in snapshots], n_sites),
        cell=stack([snapshot.cell for snapshot in snapshots], 3) if is_periodic else None,
        energy=np.array([snapshot.energy for snapshot in snapshots], dtype=np.float64),
        virial=np.array([frame[1] for frame in frames], dtype=np.float64).reshape(n_frames, 3, 3),
        times=np.array([frame[2] for frame in frames], dtype=np.float64),
        segment=np.zeros(n_frames, dtype=np.int64),
    )


def _describe_run(run: _Run, tally: _Tally, system: SystemSettings, seed: int) -> dict[str, Any]:
    settings, platform = run.settings, run.context.getPlatform()
    simulated = tally.n_intervals * settings.save_interval
    return {
        "stage": "sample",
        "engine": f"OpenMM {version('openmm')}",
        "platform": platform.getName(),
        "platform_properties": {
            name: platform.getPropertyValue(run.context, name) for name in platform.getPropertyNames()
        },
        "ensemble": "NPT" if run.state_point.pressure is not None else "NVT",
        "force_field": "OPLS-AA",
        "ns_per_day": 86.4 * simulated / tally.seconds,
        "seconds_dynamics": tally.seconds,
        "seconds_virial": tally.seconds_virial,
        "n_atoms": run.topology.n_sites,
        "n_constraints": len(run.topology.constraints),
        "n_resumed": tally.n_resumed,
        "n_resumed_from_positions": tally.n_inexact,
        "seed": seed,
        "system": asdict(system),
        "settings": asdict(settings),
    }
