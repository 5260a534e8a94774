"""The summary of a load test, what is asked of a request, and the search for a limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.errors import BadRequest
from pyworker.load.limit import CLOSE_ENOUGH, Search
from pyworker.load.outcome import Objective, Outcome
from pyworker.load.summary import Summary, percentile

VALUES = st.lists(st.floats(0, 1e6), min_size=1)


def answered(due_s: float, first_s: float, end_s: float, tokens: int = 1, worker: str = "") -> Outcome:
    return Outcome(due_s, due_s, first_s, end_s, 200, tokens=tokens, worker=worker)


def summary_of(*found: Outcome, objective: str = "") -> Summary:
    summary = Summary(Objective.of(objective))
    for one in found:
        summary.begin(one)
        if one.error or not math.isnan(one.end_s):
            summary.end(one)
    return summary


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
    first, second = Outcome(0.0), Outcome(0.0)
    summary.begin(first)
    summary.begin(second)
    summary.met("no worker is free (1 benchmarking)")
    assert summary.line(30.0) == (
        "30 s: 2 sent, 0 ok, 0 errors, 2 in flight; the last obstacle: no worker is free (1 benchmarking)"
    )
    first.end_s = 31.0
    summary.end(first)
    assert summary.line(31.0) == "31 s: 2 sent, 1 ok, 0 errors, 1 in flight"


def test_it_tells_what_became_of_every_request() -> None:
    failed = [Outcome(0.0, 0.0, end_s=1.0, status=500, error="the worker answers 500") for _ in range(2)]
    text = summary_of(answered(0.0, 0.2, 0.5), answered(1.0, 1.2, 2.5), *failed, Outcome(3.0)).text(elapsed_s=10.0)
    assert "sent        5 in 10.0 s (0.50/s)" in text
    assert "ok          2" in text
    assert "       2  the worker answers 500" in text
    assert "unfinished  1" in text
    (latency,) = (line for line in text.splitlines() if line.startswith("latency"))
    assert latency.split() == ["latency", "0.500", "s", *["1.500", "s"] * 4]


def test_waiting_for_a_late_generator_counts_as_latency() -> None:
    """Else a server that stalls would stall the measuring of it, too."""
    outcome = Outcome(due_s=1.0, sent_s=4.0, first_s=4.5, end_s=5.0, status=200, tokens=1)
    assert (outcome.latency_s, outcome.first_token_s) == (4.0, 3.5)
    assert summary_of(outcome).lateness().at(100) == 3.0


def test_a_stream_is_counted_in_tokens() -> None:
    summary = summary_of(answered(0.0, 1.0, 3.0, tokens=5), answered(0.0, 1.0, 1.0, tokens=1))
    assert summary.times()["between tokens"].ordered_s == [0.5]
    assert "tokens      6 (1.5/s)" in summary.text(4.0)


def test_workers_are_told_apart_the_busiest_first() -> None:
    summary = summary_of(
        answered(0.0, 0.1, 0.2, worker="http://a"),
        answered(0.0, 0.1, 0.4, worker="http://b"),
        answered(0.0, 0.1, 0.6, worker="http://b"),
    )
    assert [(url, one.ok) for url, one in summary.workers().items()] == [("http://b", 2), ("http://a", 1)]
    assert summary.data(1.0)["workers"]["http://b"]["latency_s"]["max"] == 0.6


def test_good_requests_keep_to_all_that_is_asked() -> None:
    found = [answered(0.0, 0.1, 1.0), answered(0.0, 0.9, 1.0), answered(0.0, 0.1, 5.0)]
    failed = Outcome(0.0, 0.0, 0.1, 0.2, 500, error="the worker answers 500")
    summary = summary_of(*found, failed, objective="ttft=500ms, latency=2s")
    assert summary.good_share == 0.25
    assert "good        25.0%, 0.10/s (ttft within 0.5 s, latency within 2 s)" in summary.text(10.0)


@pytest.mark.parametrize("text", ["fast", "ttft", "ttft=", "ttft=-1", "latency=1h", "ttft=nan", "rate=5"])
def test_an_objective_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadRequest, match="takes ttft, tbt and latency"):
        Objective.of(text)


@given(st.floats(0.02, 1e4), st.floats(0.02, 1e4))
def test_the_search_finds_the_limit_whatever_it_begins_with(limit: float, first: float) -> None:
    search = Search(first)
    while search.next_per_s is not None:
        search.told(met=search.next_per_s <= limit)
        assert len(search.tried) < 60
    assert search.met_per_s <= limit
    assert search.met_per_s * CLOSE_ENOUGH >= limit


def test_the_search_gives_up_where_nothing_is_good() -> None:
    search = Search(1.0)
    while search.next_per_s is not None:
        search.told(met=False)
    assert search.met_per_s == 0.0
    assert search.missed_per_s is not None


@pytest.mark.parametrize(
    ("sent", "ok", "errors", "all_ok"), [(0, 0, 0, False), (2, 2, 0, True), (2, 1, 1, False), (2, 1, 0, False)]
)
def test_all_is_well_when_there_were_requests_and_each_was_answered(
    sent: int, ok: int, errors: int, all_ok: bool
) -> None:
    found = [answered(0.0, 0.1, 0.2) for _ in range(ok)] + [Outcome(0.0, error="x") for _ in range(errors)]
    found += [Outcome(0.0) for _ in range(sent - ok - errors)]
    assert summary_of(*found).all_ok is all_ok
