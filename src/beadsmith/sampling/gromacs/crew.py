"""Does the stretches of the replicas with GROMACS; forces, energy and virial of each saved frame come from OpenMM.

Each stretch is a run of `gmx mdrun` in a folder of its own, from the state of the last stretch to a state that is
saved together with the frames. So a kill loses one stretch, and a resumed run does what an uninterrupted one does.
"""

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from jaxtyping import Float

from beadsmith.errors import InterruptedRunError
from beadsmith.io.gromacs_files import TrrFile
from beadsmith.io.records import describe_os_error
from beadsmith.machine import count_cores
from beadsmith.sampling.crew import Crew, Report, work_side_by_side
from beadsmith.sampling.engine import PER_THREAD, take_snapshot
from beadsmith.sampling.gromacs.inputs import Span, format_parameters, format_structure
from beadsmith.sampling.gromacs.program import (
    CHECKPOINT,
    NEXT_CHECKPOINT,
    PARAMETERS,
    STRUCTURE,
    TOPOLOGY,
    Gromacs,
    prepare_run,
    run_dynamics,
)
from beadsmith.sampling.gromacs.topology import format_topology
from beadsmith.sampling.gromacs.unwrap import Unwrapper
from beadsmith.sampling.replicas import (
    Arrays,
    Outcome,
    Plan,
    SavedFrame,
    Task,
    describe_divergence,
    describe_platform,
    engine_seeds,
    keep_frame,
    stack_frames,
    start_,
)
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.virial import VirialEngine, build_virial_engine

_WATCH_INTERVAL = 0.1
"""Time between looks at a growing trajectory [s]."""

_FRAME_HEADER = 120
"""Bytes of a TRR frame in single precision beside 24 for each atom."""


def find_scratch(output: Path) -> Path:
    """Return the folder in which GROMACS works for a trajectory."""
    return output.with_name(output.name + ".gromacs")


def share_cores(settings: SamplingSettings, system: openmm.System, n_replicas: int) -> tuple[int, int]:
    """Return the threads of each replica, and how many replicas run side by side.

    One-thread runs side by side do more than one run of several threads. Without a number of threads a replica gets as
    many as its size keeps busy.
    """
    budget = settings.threads or count_cores()
    side_by_side = min(n_replicas, budget)
    threads = budget // side_by_side
    if settings.threads is None:
        threads = max(1, min(threads, system.getNumParticles() // PER_THREAD))
    return threads, side_by_side


@contextmanager
def hire_gromacs(plan: Plan, gromacs: Gromacs, n_workers: int, *, threads: int, folder: Path) -> Iterator[Crew]:
    """Give a crew that works with GROMACS; its programs end with the block, whatever ends that.

    Parameters
    ----------
    plan : What all replicas have in common; its platform computes the labels.
    gromacs : The program.
    n_workers : Number of replicas side by side.
    threads : Threads of each `gmx mdrun`.
    folder : Where GROMACS works: emptied first, deleted at the end, kept for its logs after an error.

    Raises
    ------
    InputError : the folder cannot be made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise describe_os_error(error, folder) from error
    crew = _GromacsCrew(plan, gromacs, n_workers, threads=threads, folder=folder)
    try:
        yield crew
    finally:
        crew.dismiss()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What a stretch goes on from."""

    positions: Float[np.ndarray, "atoms 3"]
    velocities: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"]
    seed: int
    checkpoint: bytes | None
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """OpenMM's view of the replicas of one worker."""

    context: openmm.Context
    virials: VirialEngine | None


class _GromacsCrew:
    """Threads that each wait for a program, one after the other of their share."""

    def __init__(self, plan: Plan, gromacs: Gromacs, n_workers: int, *, threads: int, folder: Path) -> None:
        self._plan, self._gromacs, self._threads, self._folder = plan, gromacs, threads, folder
        self._topology_text = format_topology(plan.system, plan.topology)
        self._labels: dict[int, _Labels] = {}
        self._n_workers = n_workers
        self._is_dismissed = threading.Event()

    def advance(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        n_done = [0] * len(tasks)
        outcomes: dict[int, Outcome] = {}

        def work(share: int) -> None:
            for place in range(share, len(tasks), self._n_workers):

                def count(done: int, place: int = place) -> None:
                    n_done[place] = done

                outcomes[place] = self._do(tasks[place], share, count)

        work_side_by_side(work, self._n_workers, lambda: report(sum(n_done)), dismiss=self.dismiss)
        return [outcomes[place] for place in range(len(tasks))]

    def dismiss(self) -> None:
        """End all programs at once: what they have not handed over is computed again."""
        self._is_dismissed.set()

    def _do(self, task: Task, share: int, count: Callable[[int], None]) -> Outcome:
        """Do one stretch; an interval counts half when GROMACS has done it and half when it has its labels."""
        if share not in self._labels:
            self._labels[share] = self._create_labels()
        labels = self._labels[share]
        started = time.perf_counter()
        begin = self._begin(task, labels)
        # a folder of its own: after a kill, a program that still runs there writes into nothing of this run
        folder = Path(tempfile.mkdtemp(prefix=f"replica-{task.number}-", dir=self._folder))
        self._prepare(folder, task, begin)
        file = TrrFile(self._run(folder, task, begin, count))
        dynamics_ended = time.perf_counter()
        frames, state = self._read(file, task, begin, labels, count)
        state["checkpoint"] = np.frombuffer((folder / NEXT_CHECKPOINT).read_bytes(), dtype=np.uint8)
        shutil.rmtree(folder, ignore_errors=True)
        return Outcome(
            frames=stack_frames(self._plan, frames),
            state=state,
            is_exact=begin.is_exact,
            seconds=dynamics_ended - started,
            seconds_virial=time.perf_counter() - dynamics_ended,
            platform=describe_platform(labels.context),
        )

    def _run(self, folder: Path, task: Task, begin: _Start, count: Callable[[int], None]) -> Path:
        """Do the dynamics of a prepared folder and return the trajectory."""
        n_intervals, n_unlabelled = self._count_intervals(task)
        bytes_per_frame = _FRAME_HEADER + 24 * self._plan.topology.n_sites

        def watch(process: "subprocess.Popen[bytes]") -> None:
            while True:
                try:
                    process.wait(timeout=_WATCH_INTERVAL)
                except subprocess.TimeoutExpired:
                    if self._is_dismissed.is_set():
                        process.kill()
                    n_bytes = sum(path.stat().st_size for path in folder.glob("*.trr"))
                    n_written = min(n_bytes // bytes_per_frame, n_intervals)
                    count((n_written + min(n_written, n_unlabelled)) // 2)
                else:
                    return

        has_checkpoint = begin.checkpoint is not None
        try:
            return run_dynamics(
                self._gromacs, folder, threads=self._threads, has_checkpoint=has_checkpoint, watch=watch
            )
        finally:
            self._refuse_dismissed()

    def _read(
        self, file: TrrFile, task: Task, begin: _Start, labels: _Labels, count: Callable[[int], None]
    ) -> tuple[list[SavedFrame], Arrays]:
        """Return the frames to save and the state after the last one, but for the checkpoint."""
        n_intervals, n_unlabelled = self._count_intervals(task)
        n_before, _ = self._plan.settings.n_intervals
        unwrapper = Unwrapper(self._plan.topology, begin.positions, begin.cell)
        frames: list[SavedFrame] = []
        state: Arrays = {"engine": _encode(self._gromacs.version), "seed": np.asarray(begin.seed)}
        for place, done in enumerate(range(task.first, task.last + 1)):
            self._refuse_dismissed()
            # the first frame of a stretch is the last one of the stretch before
            number = file.n_frames - n_intervals + place
            block = file.read(number, number + 1)
            assert block.positions is not None
            assert block.velocities is not None
            assert block.cell is not None
            positions = unwrapper.unwrap(block.positions[0], block.cell[0])
            if done > n_before:
                frames.append(self._label(labels, positions, block.cell[0], task, done))
            state |= {"positions": positions, "velocities": block.velocities[0], "cell": block.cell[0]}
            count((n_intervals + max(place + 1, n_unlabelled)) // 2)
        return frames, state

    def _count_intervals(self, task: Task) -> tuple[int, int]:
        """Return the number of save intervals of a stretch, and of those in the equilibration, which get no labels."""
        n_before, _ = self._plan.settings.n_intervals
        n_intervals = task.last - task.first + 1
        return n_intervals, min(max(n_before - task.first + 1, 0), n_intervals)

    def _create_labels(self) -> _Labels:
        plan = self._plan
        return _Labels(
            context=plan.platform.create_context(
                openmm.XmlSerializer.clone(plan.system), openmm.VerletIntegrator(plan.settings.timestep)
            ),
            virials=build_virial_engine(plan.system, plan.topology, plan.platform),
        )

    def _begin(self, task: Task, labels: _Labels) -> _Start:
        """Return the start of a stretch: relaxed at the beginning of the run, a checkpoint of this version later.

        A checkpoint of another engine or version is not used: positions and velocities then go on with fresh random
        numbers, which samples the same ensemble.
        """
        if task.state is None:
            labels.context.setPeriodicBoxVectors(*self._plan.system.getDefaultPeriodicBoxVectors())
            start_(labels.context, task, n_iterations=100)
            state = labels.context.getState(positions=True, velocities=True)
            return _Start(
                positions=state.getPositions(asNumpy=True)._value,
                velocities=state.getVelocities(asNumpy=True)._value,
                cell=np.asarray(state.getPeriodicBoxVectors(asNumpy=True)._value),
                seed=engine_seeds(task.seed)[1],
                checkpoint=None,
                is_exact=True,
            )
        is_exact = np.array_equal(task.state["engine"], _encode(self._gromacs.version))
        return _Start(
            positions=task.state["positions"],
            velocities=task.state["velocities"],
            cell=task.state["cell"].astype(np.float64),
            seed=int(task.state["seed"]) if is_exact else engine_seeds(task.seed)[1],
            checkpoint=task.state["checkpoint"].tobytes() if is_exact else None,
            is_exact=is_exact,
        )

    def _prepare(self, folder: Path, task: Task, begin: _Start) -> None:
        settings, topology = self._plan.settings, self._plan.topology
        # a checkpoint knows its step
        first = 0 if begin.checkpoint is not None else (task.first - 1) * settings.steps_per_frame
        span = Span(
            first=first,
            n_steps=task.last * settings.steps_per_frame - first,
            temperature=task.temperature,
            pressure=self._plan.pressure,
            seed=begin.seed,
        )
        (folder / TOPOLOGY).write_text(self._topology_text)
        (folder / PARAMETERS).write_text(format_parameters(settings, span))
        (folder / STRUCTURE).write_text(format_structure(topology, begin.positions, begin.velocities, begin.cell))
        if begin.checkpoint is not None:
            (folder / CHECKPOINT).write_bytes(begin.checkpoint)
        prepare_run(self._gromacs, folder)

    def _label(self, labels: _Labels, positions: np.ndarray, cell: np.ndarray, task: Task, done: int) -> SavedFrame:
        """Return a frame with what the OpenMM System says of it."""
        settings = self._plan.settings
        labels.context.setPeriodicBoxVectors(*cell.astype(np.float64))
        labels.context.setPositions(positions)
        step = done * settings.steps_per_frame
        try:
            snapshot = take_snapshot(labels.context)
        except openmm.OpenMMException as error:
            if "NaN" not in str(error):
                raise
            raise describe_divergence(task, step) from error
        if not np.isfinite(snapshot.energy):
            raise describe_divergence(task, step)
        moment = (done - settings.n_intervals[0]) * settings.save_interval
        return keep_frame(self._plan, labels.virials, snapshot, moment)

    def _refuse_dismissed(self) -> None:
        if self._is_dismissed.is_set():
            raise InterruptedRunError("the run was ended while GROMACS worked")


def _encode(version: str) -> np.ndarray:
    return np.frombuffer(f"GROMACS {version}".encode(), dtype=np.uint8)
