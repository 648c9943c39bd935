"""Run atomistic molecular dynamics with OpenMM and write frames with forces and molecular virials.

The verb ``sample``. The run can be killed at any moment: each checkpoint writes the frames of all replicas since the
last one together with the states of the engines as one file, and the same call goes on from there.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from beadsmith.io.parts import PartStore
from beadsmith.progress import Progress, silent
from beadsmith.sampling.engine import SMALL, Platform, choose_platform, renew_, restore_state_, save_state
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.replicas import Replica, Stretch, advance_, create_context, start_
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.starts import SystemChoice, build_starts, derive_seed
from beadsmith.sampling.virial import build_virial_engine
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory

_REPORT_INTERVAL = 0.2
"""Time between reports of replicas that run side by side [s]."""


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

    Langevin dynamics (leapfrog middle scheme), at constant pressure with a Monte Carlo barostat. Replicas are segments
    of one trajectory, those at the state's temperature first; small systems run side by side, one thread each. The same
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
    InputError : the system cannot be built, has no such state, or the platform is missing.
    PhysicsError : the dynamics diverged, or the box shrank below twice the cutoff.
    """
    temperatures = settings.list_temperatures(state_point.temperature)
    starts = build_starts(settings, system, state_point, n_replicas=len(temperatures), seed=seed)
    platform, n_workers = _share_threads(settings, starts.atoms.system, len(temperatures))
    store = PartStore(output, identity)
    saved = store.last_state
    tally = _Tally() if saved is None else _Tally.from_state(saved)
    has_virial = not isinstance(system, PeptideSettings)
    replicas = tuple(
        Replica(
            number=number,
            temperature=temperature,
            context=create_context(
                settings,
                starts.atoms.system,
                platform,
                temperature=temperature,
                pressure=state_point.pressure,
                seed=derive_seed(seed + tally.n_intervals, number),
            ),
            virials=build_virial_engine(starts.atoms.system, starts.atoms.topology, platform) if has_virial else None,
        )
        for number, temperature in enumerate(temperatures)
    )
    is_exact = True
    for replica in replicas:
        if saved is None:
            # packed liquids are relaxed already
            n_iterations = 100 if has_virial else 1000
            positions = starts.positions[replica.number]
            start_(replica, positions, n_iterations=n_iterations, seed=derive_seed(seed, replica.number))
        else:
            is_exact &= restore_state_(replica.context, _select_state(saved, replica.number))
    if saved is not None:
        tally = replace(tally, n_resumed=tally.n_resumed + 1, n_inexact=tally.n_inexact + (not is_exact))
    run = _Run(
        settings=settings,
        state_point=state_point,
        topology=starts.atoms.topology,
        replicas=replicas,
        n_workers=n_workers,
        # without its solvent a peptide is in no box
        has_cell=starts.atoms.edge is not None and starts.atoms.system.getNumParticles() == starts.atoms.topology.n_sites,
        store=store,
    )
    tally = _propagate(run, tally, progress)
    store.finish(_describe_run(run, tally, system, seed))


def _share_threads(settings: SamplingSettings, system: openmm.System, n_replicas: int) -> tuple[Platform, int]:
    """Return the platform of each replica, and how many replicas run side by side."""
    n_particles = system.getNumParticles()
    if any(isinstance(force, openmm.CustomGBForce) for force in system.getForces()):
        # interpreted on the Reference platform: 1.6 ms a step for 22 atoms, compiled to 0.6 ms on the CPU platform
        n_particles = max(n_particles, SMALL)
    platform = choose_platform(settings.platform, threads=settings.threads, n_particles=n_particles)
    budget = settings.threads or count_cores()
    if n_replicas > 1:
        platform = replace(platform, threads=max(1, min(platform.threads, budget // n_replicas)))
    return platform, min(n_replicas, max(1, budget // platform.threads))


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What stays the same while the run goes on."""

    settings: SamplingSettings
    state_point: StatePoint
    topology: Topology
    replicas: tuple[Replica, ...]
    n_workers: int
    has_cell: bool
    store: PartStore


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
    settings, first = run.settings, tally.n_intervals
    n_before, n_total = settings.n_intervals
    per_checkpoint = settings.intervals_per_checkpoint(run.replicas[0].context.getSystem().getNumParticles())
    begin = time.perf_counter()

    def report(stretches: list[Stretch]) -> None:
        # of all replicas together; `tally` is that of the last checkpoint
        done = len(stretches) * tally.n_intervals + sum(stretch.n_intervals for stretch in stretches)
        simulated = (done - len(stretches) * first) * settings.save_interval
        speed = 86.4 * simulated / (time.perf_counter() - begin)
        note = f"{speed:.3g} ns/day" + ("" if done > len(stretches) * n_before else ", equilibration")
        progress(done * settings.save_interval, len(stretches) * n_total * settings.save_interval, note)

    while tally.n_intervals < n_total:
        # checkpoints lie at the same steps whether or not a run was resumed between them
        end = min(n_total, (tally.n_intervals // per_checkpoint + 1) * per_checkpoint)
        stretches = [Stretch() for _ in run.replicas]
        advance = _advance_in_turn_ if run.n_workers == 1 else _advance_side_by_side_
        advance(run, stretches, range(tally.n_intervals + 1, end + 1), lambda: report(stretches))
        tally = replace(
            tally,
            n_intervals=end,
            seconds=tally.seconds + sum(stretch.seconds for stretch in stretches) / run.n_workers,
            seconds_virial=tally.seconds_virial + sum(stretch.seconds_virial for stretch in stretches) / run.n_workers,
        )
        state = tally.to_state()
        for replica in run.replicas:
            state |= {f"{name}_{replica.number}": value for name, value in save_state(replica.context).items()}
        run.store.append(_join_frames(run, stretches), state)
        for replica in run.replicas:
            for context in replica.contexts:
                renew_(context)
    return tally
