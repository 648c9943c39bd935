"""Replicas of one system in one process: how each starts, goes on from a saved state, and the frames it gives.

A stretch of a replica begins with its whole state and ends with its whole state. So it does not matter which process
does it or what that did before, and a resumed run does what an uninterrupted one does. It must be so: all contexts of
OpenMM's Reference platform in a process draw from one stream of random numbers, which only a checkpoint sets.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from jaxtyping import Float

from beadsmith.errors import PhysicsError
from beadsmith.sampling.engine import Platform, Snapshot, renew_, restore_state_, save_state, take_snapshot
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.virial import VirialEngine, build_virial_engine, compute_virial
from beadsmith.topology import Topology
from beadsmith.units import BAR

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all replicas have in common."""

    settings: SamplingSettings
    """Timestep and lengths."""
    system: openmm.System
    """Interactions of all atoms."""
    topology: Topology
    """The atoms that are saved, the first of the system."""
    platform: Platform
    """Where a replica is computed."""
    pressure: float | None
    """Pressure [kJ/mol/nm³], or None."""
    is_liquid: bool
    """Whether frames carry a molecular virial and stay where they are; others are centred."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stretch of one replica, from one checkpoint to the next."""

    number: int
    """The replica: its segment in the trajectory."""
    temperature: float
    """Its temperature [K]."""
    seed: int
    """Fixes its velocities at the start and its random forces."""
    first: int
    """First save interval, counted from 1 at the beginning of the run."""
    last: int
    """Last save interval."""
    start: Float[np.ndarray, "atoms 3"] | None
    """Positions to begin with [nm], at the beginning of the run."""
    state: Arrays | None
    """State to go on from, later."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a stretch gave."""

    frames: Arrays
    """Fields of the saved frames: positions, forces, energy, cell, virial, times."""
    state: Arrays
    """State to go on from."""
    is_exact: bool
    """Whether it began exactly with the state it was given, random numbers included."""
    seconds: float
    """Wall time of the dynamics."""
    seconds_virial: float
    """Wall time of the virials."""
    platform: dict[str, str]
    """Name and properties of OpenMM's platform."""


@dataclass(frozen=True, kw_only=True)
class SavedFrame:
    """One frame of a reference."""

    snapshot: Snapshot
    """The saved atoms."""
    virial: Float[np.ndarray, "3 3"]
    """Molecular virial [kJ/mol]; zero where frames carry none."""
    time: float
    """Time since the end of the equilibration [ps]."""


@dataclass(frozen=True, kw_only=True)
class _Replica:
    context: openmm.Context
    virials: VirialEngine | None


class Engine:
    """The contexts of the replicas that this process works on."""

    def __init__(self, plan: Plan) -> None:
        """Begin without any context; each is made when it is first needed."""
        self.plan = plan
        self._replicas: dict[int, _Replica] = {}

    def advance(self, task: Task, report: Callable[[], None]) -> Outcome:
        """Do one stretch.

        Parameters
        ----------
        task : Which replica, from where and how far.
        report : Called after every save interval.

        Raises
        ------
        PhysicsError : the dynamics diverged, or the box shrank below twice the cutoff.
        """
        if task.number not in self._replicas:
            self._replicas[task.number] = self._create(task)
        replica, settings = self._replicas[task.number], self.plan.settings
        is_exact = True
        if task.start is not None:
            # packed liquids are relaxed already
            start_(replica.context, task, n_iterations=100 if self.plan.is_liquid else 1000)
        elif task.state is not None:
            is_exact = restore_state_(replica.context, task.state)
        n_before, _ = settings.n_intervals
        frames, seconds, seconds_virial = [], 0.0, 0.0
        for done in range(task.first, task.last + 1):
            started = time.perf_counter()
            snapshot = _take_interval_(replica.context, settings, task, done)
            dynamics_ended = time.perf_counter()
            if done > n_before:
                moment = (done - n_before) * settings.save_interval
                frames.append(keep_frame(self.plan, replica.virials, snapshot, moment))
            seconds += dynamics_ended - started
            seconds_virial += time.perf_counter() - dynamics_ended
            report()
        outcome = Outcome(
            frames=stack_frames(self.plan, frames),
            state=save_state(replica.context),
            is_exact=is_exact,
            seconds=seconds,
            seconds_virial=seconds_virial,
            platform=describe_platform(replica.context),
        )
        for context in (replica.context, *(() if replica.virials is None else replica.virials.contexts)):
            renew_(context)
        return outcome

    def _create(self, task: Task) -> _Replica:
        plan, settings = self.plan, self.plan.settings
        integrator_seed, barostat_seed = engine_seeds(task.seed)
        integrator = openmm.LangevinMiddleIntegrator(task.temperature, settings.friction, settings.timestep)
        integrator.setRandomNumberSeed(integrator_seed)
        copy = openmm.XmlSerializer.clone(plan.system)
        if plan.pressure is not None:
            interval = max(1, round(settings.barostat_interval / settings.timestep))
            barostat = openmm.MonteCarloBarostat(plan.pressure / BAR, task.temperature, interval)
            barostat.setRandomNumberSeed(barostat_seed)
            copy.addForce(barostat)
        return _Replica(
            context=plan.platform.create_context(copy, integrator),
            virials=build_virial_engine(plan.system, plan.topology, plan.platform) if plan.is_liquid else None,
        )


def keep_frame(plan: Plan, virials: VirialEngine | None, snapshot: Snapshot, moment: float) -> SavedFrame:
    """Return a configuration as it is saved: with its virial, or only the saved atoms about their centre of mass.

    Parameters
    ----------
    plan : What is saved.
    virials : Energy evaluations of a liquid, or None.
    snapshot : All atoms.
    moment : Time since the end of the equilibration [ps].
    """
    if virials is not None:
        virial = compute_virial(virials, snapshot.positions, snapshot.cell)
        return SavedFrame(snapshot=snapshot, virial=virial, time=moment)
    # about the centre of mass: far from the origin float32 would lose digits
    masses, n_saved = plan.topology.masses, plan.topology.n_sites
    positions = snapshot.positions[:n_saved]
    cut = Snapshot(
        positions=positions - masses @ positions / masses.sum(),
        forces=snapshot.forces[:n_saved],
        energy=snapshot.energy,
        cell=snapshot.cell,
    )
    return SavedFrame(snapshot=cut, virial=np.zeros((3, 3)), time=moment)


def stack_frames(plan: Plan, frames: Sequence[SavedFrame]) -> Arrays:
    """Return the fields of a trajectory, by name, that some frames fill."""
    n_frames, n_sites = len(frames), plan.topology.n_sites
    snapshots = [frame.snapshot for frame in frames]

    def stack(arrays: list[np.ndarray], width: int, dtype: type = np.float32) -> np.ndarray:
        return np.array(arrays, dtype=dtype).reshape(n_frames, width, 3)

    stacked = {
        "positions": stack([snapshot.positions for snapshot in snapshots], n_sites),
        "forces": stack([snapshot.forces for snapshot in snapshots], n_sites),
        "energy": np.array([snapshot.energy for snapshot in snapshots], dtype=np.float64),
        "times": np.array([frame.time for frame in frames], dtype=np.float64),
    }
    if plan.is_liquid:
        stacked["virial"] = stack([frame.virial for frame in frames], 3, np.float64)
    # without its water a peptide is in no box
    if plan.system.usesPeriodicBoundaryConditions() and n_sites == plan.system.getNumParticles():
        stacked["cell"] = stack([snapshot.cell for snapshot in snapshots], 3)
    return stacked


def engine_seeds(seed: int) -> tuple[int, int]:
    """Return two independent seeds for OpenMM, which takes 0 for a random one."""
    first, second = np.random.SeedSequence(seed).generate_state(2)
    return int(first % (2**31 - 1)) + 1, int(second % (2**31 - 1)) + 1


def start_(context: openmm.Context, task: Task, *, n_iterations: int) -> None:
    """Relax the starting positions and draw velocities."""
    context.setPositions(task.start)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, n_iterations)
    context.setVelocitiesToTemperature(task.temperature, engine_seeds(task.seed)[0])


def _take_interval_(context: openmm.Context, settings: SamplingSettings, task: Task, done: int) -> Snapshot:
    step = done * settings.steps_per_frame
    try:
        context.getIntegrator().step(settings.steps_per_frame)
        snapshot = take_snapshot(context)
    except openmm.OpenMMException as error:
        if "twice the nonbonded cutoff" in str(error):
            raise PhysicsError(
                f"the box shrank below twice the cutoff of {settings.cutoff:g} nm at step {step}",
                fix="Use more molecules, more padding around a peptide, or a shorter cutoff.",
            ) from error
        if "NaN" not in str(error):
            raise
        raise describe_divergence(task, step) from error
    if not np.isfinite(snapshot.energy):
        raise describe_divergence(task, step)
    return snapshot


def describe_divergence(task: Task, step: int) -> PhysicsError:
    """Return the error for a run whose energy is not a number."""
    return PhysicsError(
        f"the atomistic run diverged before step {step}: its energy is not a number (replica {task.number}, "
        f"{task.temperature:g} K)",
        fix="Use a shorter timestep, and check that the density is that of the liquid.",
    )


def describe_platform(context: openmm.Context) -> dict[str, str]:
    """Return the name and the properties of a context's platform."""
    platform = context.getPlatform()
    properties = {name: platform.getPropertyValue(context, name) for name in platform.getPropertyNames()}
    return {"name": platform.getName(), **properties}
