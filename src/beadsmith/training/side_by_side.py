"""Independent fits at the same time, each on a thread of its own.

A fit of a few hundred beads waits for Python and small tensor operations most of its time, which a second one can use.
Each runs with one thread of arithmetic, so its result is the same bits as when it runs alone.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import TypeVar

import torch

from beadsmith.machine import count_cores
from beadsmith.progress import Progress

Result = TypeVar("Result")


class _StoppedError(Exception):
    """Another job failed, or the user interrupted."""


def run_side_by_side(jobs: Sequence[Callable[[Progress], Result]], progress: Progress) -> list[Result]:
    """Return what the jobs return, in their order; one after the other where there is one core.

    The first job that fails, or an interruption, stops the others when they next report their progress.

    Parameters
    ----------
    jobs : Functions of the receiver of their own progress, which share nothing that they change.
    progress : Receives the sum of what all jobs have done and of their totals.
    """
    parts, totals = [0.0] * len(jobs), [0.0] * len(jobs)
    stop, lock = Event(), Lock()

    def run(number: int) -> Result:
        def report(done: float, total: float, note: str = "") -> None:
            if stop.is_set():
                raise _StoppedError
            with lock:
                parts[number], totals[number] = done, total
                progress(sum(parts), sum(totals), note)

        try:
            return jobs[number](report)
        except BaseException:
            stop.set()
            raise

    n_threads = min(len(jobs), count_cores())
    if n_threads < 2 or torch.get_num_threads() > 1:
        return [run(number) for number in range(len(jobs))]
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(run, number) for number in range(len(jobs))]
        try:
            wait(futures)
        except BaseException:
            # an interruption reaches this thread only
            stop.set()
            raise
    failures = [future.exception() for future in futures]
    for failure in sorted(filter(None, failures), key=lambda failure: isinstance(failure, _StoppedError)):
        raise failure
    return [future.result() for future in futures]
