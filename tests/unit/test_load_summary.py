"""The summary of a load test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.load.summary import Summary, percentile

VALUES = st.lists(st.floats(0, 1e6), min_size=1)


@given(VALUES, st.floats(0, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert sum(value <= found for value in ordered) >= percent / 100 * len(ordered)
    below = [value for value in ordered if value < found]
    assert len(below) <= percent / 100 * len(ordered)


def test_percentiles_of_a_hundred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]


def test_while_requests_wait_it_tells_what_for() -> None:
    summary = Summary()
    summary.sent = 2
    summary.met("no worker is free (1 benchmarking)")
    assert summary.line(30.0) == (
        "30 s: 2 sent, 0 ok, 0 errors, 2 in flight; the last obstacle: no worker is free (1 benchmarking)"
    )
    summary.answered(1.0)
    assert summary.line(31.0) == "31 s: 2 sent, 1 ok, 0 errors, 1 in flight"


def test_it_tells_what_became_of_every_request() -> None:
    summary = Summary()
    summary.sent = 5
    summary.latencies_s += [0.5, 1.5]
    summary.errors["the worker answers 500"] += 2
    text = summary.text(elapsed_s=10.0)
    assert "sent        5 in 10.0 s (0.50/s)" in text
    assert "ok          2" in text
    assert "       2  the worker answers 500" in text
    assert "unfinished  1" in text
    assert "p50 0.500 s  p90 1.500 s" in text


@pytest.mark.parametrize(
    ("sent", "ok", "errors", "all_ok"), [(0, 0, 0, False), (2, 2, 0, True), (2, 1, 1, False), (2, 1, 0, False)]
)
def test_all_is_well_when_there_were_requests_and_each_was_answered(
    sent: int, ok: int, errors: int, all_ok: bool
) -> None:
    summary = Summary()
    summary.sent, summary.latencies_s = sent, [1.0] * ok
    summary.errors["x"] += errors
    assert summary.all_ok is all_ok
