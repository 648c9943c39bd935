"""Jobs on threads: order, progress, failure, and the same result as one after the other."""

from threading import Barrier

import pytest
import torch

from beadsmith.training import side_by_side
from beadsmith.training.side_by_side import run_side_by_side


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def cores(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(side_by_side, "count_cores", lambda: request.param)
    yield request.param
    torch.set_num_threads(before)


def count_to(n, result):
    def job(progress):
        for k in range(n):
            progress(k + 1, n)
        return result

    return job


def test_results_come_in_the_order_of_the_jobs_and_progress_adds_up(cores):
    seen = []
    results = run_side_by_side(
        [count_to(2, "a"), count_to(5, "b"), count_to(1, "c")], lambda done, total, note="": seen.append((done, total))
    )
    assert results == ["a", "b", "c"]
    assert seen[-1] == (8, 8)
    assert sorted(done for done, _ in seen) == [done for done, _ in seen]


def test_jobs_run_at_the_same_time_where_there_are_cores(monkeypatch):
    monkeypatch.setattr(side_by_side, "count_cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # each waits for the other: one after the other, they would break the barrier
    barrier = Barrier(2, timeout=20.0)
    try:
        assert sorted(run_side_by_side([lambda _: barrier.wait()] * 2, lambda *_: None)) == [0, 1]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_stops_the_others_and_is_raised(cores, error):
    def fail(progress):
        raise error("no such luck")

    def work_for_ever(progress):
        while True:
            progress(1.0, 2.0)

    jobs = [fail, work_for_ever] if cores == 1 else [work_for_ever, fail]
    with pytest.raises(error, match="no such luck"):
        run_side_by_side(jobs, lambda *_, **__: None)


def test_an_interrupted_receiver_of_progress_stops_all(cores):
    def interrupt(done, total, note=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([count_to(3, 1), count_to(3, 2)], interrupt)
