"""Run atomistic molecular dynamics and write frames with forces and molecular virials.

The verb ``sample``. The run can be killed at any moment: each checkpoint writes the frames of all replicas since the
last one together with the states of the engines as one file, and the same call goes on from there.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from beadsmith.io.parts import PartStore
from beadsmith.machine import count_cores
from beadsmith.progress import Progress, silent
from beadsmith.sampling.crew import Crew, hire_crew
from beadsmith.sampling.engine import SMALL, Platform, choose_platform
from beadsmith.sampling.gromacs.crew import find_scratch, hire_gromacs, share_cores
from beadsmith.sampling.gromacs.program import Gromacs, list_mdrun_arguments, require_gromacs
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.replicas import Outcome, Plan, Task
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.starts import SystemChoice, build_starts, derive_seed
from beadsmith.trajectory import StatePoint, Trajectory


def sample(
    settings: SamplingSettings,
    system: SystemChoice,
    state_point: StatePoint,
    output: Path,
    *,
    seed: int,
    identity: str,
    progress: Progress = silent,
) -> None:
    """Sample a canonical or isothermal-isobaric ensemble and write frames with forces and virials.

    Langevin dynamics (leapfrog middle scheme), at constant pressure with a Monte Carlo barostat; with GROMACS its `sd`
    and stochastic cell rescaling. Replicas are segments
    of one trajectory, those at the state's temperature first; on processors small systems run side
    by side, each in a process of its own. The same
    call resumes a killed run: bit-equal on the Reference platform and on one thread of the CPU platform; else it goes
    on in the same ensemble. Frames of a peptide carry no virial and are centred.
    Source: Z. Zhang et al., J. Phys. Chem. A 123, 6056 (2019) (integrator).

    Parameters
    ----------
    settings : Timestep, lengths, replicas and platform.
    system : A liquid or a peptide.
    state_point : Temperature and either a density (constant volume), a pressure, or neither (open boundaries, or the
        box of a peptide in water as it is built).
    output : Trajectory file to write.
    seed : Fixes starting positions, velocities and random forces.
    identity : Hash of all inputs; unfinished parts of another identity are discarded.
    progress : Receives picoseconds done, of all replicas together.

    Raises
    ------
    InputError : the system cannot be built, has no such state, or the platform or the engine is missing.
    PhysicsError : the dynamics diverged, or the box shrank below twice the cutoff.
    """
    temperatures = settings.list_temperatures(state_point.temperature)
    # before anything is built
    gromacs = require_gromacs() if settings.engine == "gromacs" else None
    starts = build_starts(settings, system, state_point, n_replicas=len(temperatures), seed=seed)
    platform, n_workers = _share_threads(settings, starts.atoms.system, len(temperatures))
    threads = platform.threads
    if gromacs is not None:
        threads, n_workers = share_cores(settings, starts.atoms.system, len(temperatures))
        platform = replace(platform, threads=threads if platform.name == "CPU" else 1)
    plan = Plan(
        settings=settings,
        system=starts.atoms.system,
        topology=starts.atoms.topology,
        platform=platform,
        pressure=state_point.pressure,
        is_liquid=not isinstance(system, PeptideSettings),
    )
    store = PartStore(output, identity)
    saved = store.last_state
    run = _Run(
        plan=plan,
        state_point=state_point,
        temperatures=temperatures,
        starts=starts.positions,
        n_workers=n_workers,
        threads=threads,
        seed=seed,
        store=store,
        gromacs=gromacs,
    )
    with _hire(run) as crew:
        tally, engine = _propagate(run, crew, saved, progress)
    store.finish(_describe_run(run, tally, engine, system))


def _share_threads(settings: SamplingSettings, system: openmm.System, n_replicas: int) -> tuple[Platform, int]:
    """Return the platform of each replica, and how many replicas run side by side."""
    n_particles = system.getNumParticles()
    if any(isinstance(force, openmm.CustomGBForce) for force in system.getForces()):
        # interpreted on the Reference platform: 1.6 ms a step for 22 atoms, compiled to 0.6 ms on the CPU platform
        n_particles = max(n_particles, SMALL)
    platform = choose_platform(settings.platform, threads=settings.threads, n_particles=n_particles)
    if n_replicas == 1 or platform.name not in ("CPU", "Reference"):
        return platform, 1
    budget = settings.threads or count_cores()
    platform = replace(platform, threads=max(1, min(platform.threads, budget // n_replicas)))
    return platform, min(n_replicas, max(1, budget // platform.threads))


def _hire(run: "_Run") -> AbstractContextManager[Crew]:
    """Return the crew of the engine."""
    if run.gromacs is None:
        return hire_crew(run.plan, run.n_workers)
    folder = find_scratch(run.store.path)
    return hire_gromacs(run.plan, run.gromacs, run.n_workers, threads=run.threads, folder=folder)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What stays the same while the run goes on."""

    plan: Plan
    state_point: StatePoint
    temperatures: list[float]
    starts: np.ndarray
    n_workers: int
    threads: int
    seed: int
    store: PartStore
    gromacs: Gromacs | None


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """What a run counts, through all its resumptions."""

    n_intervals: int = 0
    """Save intervals done by each replica, equilibration included."""
    n_resumed: int = 0
    """How often the run was resumed."""
    n_inexact: int = 0
    """How often from positions and velocities instead of an exact checkpoint."""
    seconds: float = 0.0
    """Wall time of the dynamics of all replicas."""
    seconds_virial: float = 0.0
    """Wall time of the virials."""

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> "_Tally":
        """Return the tally of a checkpoint."""
        return cls(**{field.name: state[field.name].item() for field in fields(cls)})

    def to_state(self) -> dict[str, np.ndarray]:
        """Return the tally as arrays."""
        return {name: np.asarray(value) for name, value in asdict(self).items()}


def _propagate(
    run: _Run, crew: Crew, saved: dict[str, np.ndarray] | None, progress: Progress
) -> tuple[_Tally, dict[str, str]]:
    """Do all stretches that are not done yet; return what was counted, and OpenMM's platform."""
    settings, n_replicas = run.plan.settings, len(run.temperatures)
    tally = _Tally() if saved is None else _Tally.from_state(saved)
    states = None if saved is None else [_select_state(saved, number) for number in range(n_replicas)]
    engine: dict[str, str] = {}
    first, is_resumed = tally.n_intervals, saved is not None
    n_before, n_total = settings.n_intervals
    per_checkpoint = settings.intervals_per_checkpoint(run.plan.system.getNumParticles())
    begin = time.perf_counter()

    def report(n_done: int) -> None:
        # `tally` is that of the last checkpoint
        done = n_replicas * tally.n_intervals + n_done
        simulated = (done - n_replicas * first) * settings.save_interval
        speed = 86.4 * simulated / (time.perf_counter() - begin)
        note = f"{speed:.3g} ns/day" + ("" if done > n_replicas * n_before else ", equilibration")
        progress(done * settings.save_interval, n_replicas * n_total * settings.save_interval, note)

    while tally.n_intervals < n_total:
        # checkpoints lie at the same steps whether or not the run was resumed between them
        end = min(n_total, (tally.n_intervals // per_checkpoint + 1) * per_checkpoint)
        tasks = [
            Task(
                number=number,
                temperature=temperature,
                seed=derive_seed(run.seed + first, number),
                first=tally.n_intervals + 1,
                last=end,
                start=run.starts[number] if states is None else None,
                state=None if states is None else states[number],
            )
            for number, temperature in enumerate(run.temperatures)
        ]
        started = time.perf_counter()
        outcomes = crew.advance(tasks, report)
        elapsed = time.perf_counter() - started
        spent = sum(outcome.seconds_virial for outcome in outcomes)
        virial_share = spent / (spent + sum(outcome.seconds for outcome in outcomes))
        is_exact = all(outcome.is_exact for outcome in outcomes)
        tally = replace(
            tally,
            n_intervals=end,
            n_resumed=tally.n_resumed + is_resumed,
            n_inexact=tally.n_inexact + (is_resumed and not is_exact),
            seconds=tally.seconds + (1.0 - virial_share) * elapsed,
            seconds_virial=tally.seconds_virial + virial_share * elapsed,
        )
        is_resumed, engine = False, outcomes[0].platform
        states = [outcome.state for outcome in outcomes]
        run.store.append(_join_frames(run, outcomes), tally.to_state() | _number_states(states))
    return tally, engine


def _number_states(states: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the engine states of all replicas as one mapping."""
    return {f"{name}_{number}": array for number, state in enumerate(states) for name, array in state.items()}


def _select_state(saved: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """Return the engine state of one replica."""
    end = f"_{number}"
    return {name.removesuffix(end): array for name, array in saved.items() if name.endswith(end)}


def _join_frames(run: _Run, outcomes: list[Outcome]) -> Trajectory:
    """Return the frames of all replicas, one segment after the other."""
    counts = [len(outcome.frames["times"]) for outcome in outcomes]
    joined = {name: np.concatenate([outcome.frames[name] for outcome in outcomes]) for name in outcomes[0].frames}
    return Trajectory(
        topology=run.plan.topology,
        state_point=run.state_point,
        segment=np.repeat(np.arange(len(outcomes), dtype=np.int64), counts),
        temperature=np.repeat(run.temperatures, counts) if run.plan.settings.temperatures else None,
        **joined,
    )


def _describe_run(run: _Run, tally: _Tally, engine: dict[str, str], system: SystemChoice) -> dict[str, Any]:
    settings = run.plan.settings
    simulated = len(run.temperatures) * tally.n_intervals * settings.save_interval
    return {
        "stage": "sample",
        **_describe_engine(run),
        "platform": engine.get("name", run.plan.platform.name),
        "platform_properties": {name: value for name, value in engine.items() if name != "name"},
        "ensemble": "NPT" if run.state_point.pressure is not None else "NVT",
        "force_field": f"{system.force_field}, {system.solvent}" if isinstance(system, PeptideSettings) else "OPLS-AA",
        "ns_per_day": 86.4 * simulated / tally.seconds,
        "seconds_dynamics": tally.seconds,
        "seconds_virial": tally.seconds_virial,
        "n_atoms": run.plan.topology.n_sites,
        "n_atoms_simulated": run.plan.system.getNumParticles(),
        "n_constraints": len(run.plan.topology.constraints),
        "n_replicas": len(run.temperatures),
        "n_side_by_side": run.n_workers,
        "temperatures": run.temperatures,
        "n_resumed": tally.n_resumed,
        "n_resumed_from_positions": tally.n_inexact,
        "seed": run.seed,
        "system": asdict(system),
        "settings": asdict(settings),
    }


def _describe_engine(run: _Run) -> dict[str, str]:
    """Return which programs made the frames."""
    labels = f"OpenMM {version('openmm')}"
    if run.gromacs is None:
        return {"engine": labels}
    arguments = list_mdrun_arguments(threads=run.threads, has_checkpoint=True)
    return {
        "engine": f"GROMACS {run.gromacs.version}, labels by {labels}",
        "mdrun": " ".join([run.gromacs.path, *arguments]),
    }
