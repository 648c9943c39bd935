"""Checks of parallel tempering."""

import pytest

from beadsmith.diagnostics.tempering import check_tempering


def summarise(**change):
    """Return the summary of a healthy ladder, changed."""
    healthy = {"temperatures": [300.0, 350.0, 410.0], "n_ladders": 4, "acceptance": [0.3, 0.25], "round_trips": 40}
    return {**healthy, **change}


def test_a_healthy_ladder_passes():
    assert [(check.name, check.status) for check in check_tempering(summarise())] == [
        ("exchange acceptance", "pass"),
        ("round trips", "pass"),
    ]


@pytest.mark.parametrize(("acceptance", "status"), [(0.1, "pass"), (0.09, "warn"), (0.02, "warn"), (0.01, "fail")])
def test_the_weakest_pair_is_judged_and_named(acceptance, status):
    check = check_tempering(summarise(acceptance=[0.3, acceptance]))[0]
    assert check.status == status
    assert "between 350 K and 410 K" in check.meaning


def test_few_round_trips_are_a_warning():
    assert check_tempering(summarise(round_trips=7))[1].status == "warn"


def test_pairs_that_were_never_tried_are_not_judged():
    assert [check.name for check in check_tempering(summarise(acceptance=[None, None]))] == ["round trips"]


def test_there_is_nothing_to_check_without_tempering():
    assert check_tempering(None) == []
