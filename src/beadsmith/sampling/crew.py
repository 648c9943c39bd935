"""Who does the stretches of the replicas: this process, one after the other, or several processes side by side.

Processes, not threads: the contexts of OpenMM's Reference platform share their random numbers within a process.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from beadsmith.errors import BeadsmithError, PhysicsError
from beadsmith.sampling.messages import receive, send
from beadsmith.sampling.replicas import Engine, Outcome, Plan, Task
from beadsmith.sampling.worker import decode_outcome, encode_plan, encode_task

Report = Callable[[int], None]
"""Receives the number of save intervals done by all replicas since the last checkpoint."""

_REPORT_INTERVAL = 0.2
"""Time between reports of replicas that run side by side [s]."""


class Crew(Protocol):
    """Does a stretch of every replica."""

    def advance(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        """Return what each stretch gave, in the order of the tasks.

        Raises
        ------
        PhysicsError : a replica diverged, or its box shrank below twice the cutoff.
        """
        ...


@contextmanager
def hire_crew(plan: Plan, n_workers: int) -> Iterator[Crew]:
    """Give a crew of some size; its processes end with the block, whatever ends that."""
    if n_workers == 1:
        yield _Alone(plan)
        return
    crew = _SideBySide(plan, n_workers)
    try:
        yield crew
    finally:
        crew.dismiss()


class _Alone:
    """This process."""

    def __init__(self, plan: Plan) -> None:
        self._engine = Engine(plan)

    def advance(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        outcomes, n_done = [], 0

        def count() -> None:
            nonlocal n_done
            n_done += 1
            report(n_done)

        for task in tasks:
            outcomes.append(self._engine.advance(task, count))
        return outcomes


class _SideBySide:
    """Several processes, each with its share of the replicas."""

    def __init__(self, plan: Plan, n_workers: int) -> None:
        self._workers = [_start_worker() for _ in range(n_workers)]
        self._is_dismissed = threading.Event()
        for worker in self._workers:
            assert worker.stdin is not None
            send(worker.stdin, encode_plan(plan))

    def advance(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        n_done = [0] * len(tasks)
        outcomes: dict[int, Outcome] = {}

        def work(share: int) -> None:
            for place in range(share, len(tasks), len(self._workers)):
                outcomes[place] = _delegate(self._workers[share], tasks[place], n_done, place)

        work_side_by_side(work, len(self._workers), lambda: report(sum(n_done)), dismiss=self.dismiss)
        return [outcomes[place] for place in range(len(tasks))]

    def dismiss(self) -> None:
        """End all processes at once: what they have not handed over is computed again."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.wait()
            for stream in (worker.stdin, worker.stdout):
                with suppress(OSError):
                    assert stream is not None
                    stream.close()


def work_side_by_side(
    work: Callable[[int], None], n_workers: int, report: Callable[[], None], *, dismiss: Callable[[], None]
) -> None:
    """Let some threads do their shares of the work, and report five times a second in this one.

    Parameters
    ----------
    work : Does the share of a worker, numbered from 0; it waits for a process.
    n_workers : Number of threads.
    report : Tells how far they are.
    dismiss : Ends the processes at the first error and at an interruption, whatever they do.
    """
    with ThreadPoolExecutor(n_workers) as pool:
        pending: set[Future[None]] = {pool.submit(work, share) for share in range(n_workers)}
        try:
            while pending:
                done, pending = wait(pending, timeout=_REPORT_INTERVAL, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                report()
        except BaseException:
            # the threads wait for processes, which would otherwise finish their stretches first
            dismiss()
            raise


def _start_worker() -> "subprocess.Popen[bytes]":
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "beadsmith.sampling.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        # an interruption from the keyboard is for the run alone, which then ends its workers
        start_new_session=True,
    )


def _delegate(worker: "subprocess.Popen[bytes]", task: Task, n_done: list[int], place: int) -> Outcome:
    assert worker.stdin is not None
    assert worker.stdout is not None
    header, arrays = encode_task(task)
    with suppress(BrokenPipeError):
        send(worker.stdin, header, arrays)
    while (message := receive(worker.stdout)) is not None:
        header, arrays = message
        kind = header.pop("kind")
        if kind == "progress":
            n_done[place] = header["n_done"]
        elif kind == "error":
            raise PhysicsError(header["what"], where=header["where"], fix=header["fix"])
        else:
            n_done[place] = task.last - task.first + 1
            return decode_outcome(header, arrays)
    raise BeadsmithError(
        f"the process that samples replica {task.number} ended with exit code {worker.wait()}",
        fix="Repeat the command: it goes on from the last checkpoint. If memory ran out, use fewer 'threads'.",
    )
