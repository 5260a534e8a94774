"""Estimates against answers: the ratio that requests to come are booked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.worker.core.estimates import Estimates
from pyworker.worker.core.ledger import valid_workload

AMOUNTS = st.floats(0, 1e12)


def test_before_an_answer_the_estimate_is_what_is_booked() -> None:
    assert Estimates().booked(250.0) == 250.0


def test_answers_that_are_shorter_than_allowed_make_the_next_estimate_smaller() -> None:
    estimates = Estimates()
    estimates.add(4000.0, 100.0)
    assert estimates.booked(4000.0) == pytest.approx(100.0)


def test_large_requests_weigh_more_than_small_ones() -> None:
    estimates = Estimates()
    estimates.add(1000.0, 500.0)
    estimates.add(1.0, 10.0)
    assert estimates.ratio == pytest.approx(0.5, rel=0.05)


def test_what_was_long_ago_is_forgotten() -> None:
    estimates = Estimates()
    for _ in range(50):
        estimates.add(100.0, 1.0)
    for _ in range(100):
        estimates.add(100.0, 200.0)
    assert estimates.ratio == pytest.approx(2.0, rel=0.01)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=50), AMOUNTS)
def test_what_comes_out_can_always_be_booked(answers: list[tuple[float, float]], estimate: float) -> None:
    estimates = Estimates()
    for estimated, answered in answers:
        estimates.add(estimated, answered)
        assert 0.001 <= estimates.ratio <= 1000.0
    assert valid_workload(estimates.booked(estimate))
