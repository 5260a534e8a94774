"""Whatever is asked, claimed and counted: no minute has more than the limit, and no lie pays."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pyworker.engine.core.key_limits import KeyLimitReached, KeyLimits, KeyUse

SMALL = st.floats(0.0, 50.0)
STEPS = st.lists(st.tuples(st.floats(0.0, 20.0), SMALL, SMALL), max_size=80)  # pause, expected, counted


def told_to_wait_s(use: KeyUse, workload: float, now_s: float) -> float:
    try:
        use.require(workload, now_s)
    except KeyLimitReached as error:
        return error.retry_after_s or 0.0
    return 0.0


def begun(use: KeyUse, idx: int, workload: float, now_s: float) -> bool:
    if told_to_wait_s(use, workload, now_s):
        return False
    use.begin(idx, workload, now_s)
    return True


@given(limit=st.integers(1, 20), pauses=st.lists(st.floats(0.0, 20.0), max_size=80))
def test_no_minute_has_more_requests_than_the_limit(limit: int, pauses: list[float]) -> None:
    use, now_s, times = KeyUse(KeyLimits(requests_per_minute=limit)), 0.0, list[float]()
    for idx, pause_s in enumerate(pauses, 1):
        now_s += pause_s
        if begun(use, idx, 1.0, now_s):
            times.append(now_s)
    for end_s in times:
        assert sum(end_s - 60.0 < time_s <= end_s for time_s in times) <= limit


@given(limit=st.floats(50.0, 200.0), steps=STEPS)
def test_honest_claims_never_use_more_workload_in_a_minute_than_the_limit(
    limit: float, steps: list[tuple[float, float, float]]
) -> None:
    use, now_s, used = KeyUse(KeyLimits(workload_per_minute=limit)), 0.0, list[tuple[float, float]]()
    for idx, (pause_s, expected, _) in enumerate(steps, 1):
        now_s += pause_s
        if begun(use, idx, expected, now_s):
            use.count(idx, expected, now_s)
            used.append((now_s, expected))
    for end_s, _ in used:
        assert sum(work for time_s, work in used if end_s - 60.0 < time_s <= end_s) <= limit * (1 + 1e-9)


@given(limit=st.floats(1.0, 200.0), steps=STEPS)
def test_who_claims_too_little_gets_the_limit_on_the_average(
    limit: float, steps: list[tuple[float, float, float]]
) -> None:
    """In all that time no more than the limit's rate, a minute's worth, and one request's lie at a time."""
    use, now_s, total, largest = KeyUse(KeyLimits(workload_per_minute=limit)), 0.0, 0.0, 0.0
    for idx, (pause_s, expected, counted) in enumerate(steps, 1):
        now_s += pause_s
        if begun(use, idx, expected, now_s):
            use.count(idx, counted, now_s)
            total += counted
            largest = max(largest, counted)
    assert total <= (limit * (now_s / 60.0 + 1.0) + largest) * (1 + 1e-9) + 1e-6


@given(most=st.integers(1, 5), steps=st.lists(st.tuples(st.integers(1, 10), st.booleans()), max_size=60))
def test_no_more_are_under_way_than_the_limit(most: int, steps: list[tuple[int, bool]]) -> None:
    use, under_way = KeyUse(KeyLimits(concurrent=most)), set[int]()
    for now_s, (idx, begins) in enumerate(steps):
        if not begins:
            use.end(idx)
            under_way.discard(idx)
        elif idx not in under_way and begun(use, idx, 1.0, float(now_s)):
            under_way.add(idx)
        assert len(under_way) <= most


@given(limit=st.floats(1.0, 100.0), steps=STEPS, more=SMALL)
def test_who_comes_back_when_told_is_let_in(limit: float, steps: list[tuple[float, float, float]], more: float) -> None:
    use, now_s = KeyUse(KeyLimits(workload_per_minute=limit)), 0.0
    for idx, (pause_s, expected, counted) in enumerate(steps, 1):
        now_s += pause_s
        if begun(use, idx, expected, now_s):
            use.count(idx, counted, now_s)
    wait_s = told_to_wait_s(use, more, now_s)
    if wait_s < 3600:  # no answer says more
        assert told_to_wait_s(use, more, now_s + wait_s) == 0


@given(steps=STEPS)
def test_nothing_is_kept_of_what_is_long_ago(steps: list[tuple[float, float, float]]) -> None:
    use, now_s = KeyUse(KeyLimits(workload_per_minute=10.0)), 0.0
    for idx, (pause_s, expected, counted) in enumerate(steps, 1):
        now_s += pause_s
        if begun(use, idx, expected, now_s):
            use.count(idx, counted, now_s)
            use.forget(idx)
    assert use.is_over(math.inf)
