"""A key's own limits, as what is known of its requests: time is an argument."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimitReached, KeyLimits, KeyUse, KeyUses


def refused(use: KeyUse, now_s: float, workload: float = 1.0) -> KeyLimitReached | None:
    try:
        use.require(workload, now_s)
    except KeyLimitReached as error:
        return error
    return None


def begin(use: KeyUse, idx: int, now_s: float, workload: float = 1.0) -> None:
    use.require(workload, now_s)
    use.begin(idx, workload, now_s)


def test_so_many_requests_a_minute_and_then_one_is_told_when_to_come_back() -> None:
    use = KeyUse(KeyLimits(requests_per_minute=2))
    begin(use, 1, 100.0)
    begin(use, 2, 130.0)
    error = refused(use, 140.0)
    assert error is not None
    assert (error.status, error.retry_after_s) == (429, 21)
    assert str(error) == "this key's limit of 2 requests a minute is reached: 2 are used; come back in 21 s"
    assert refused(use, 160.5) is not None
    assert refused(use, 161.0) is None


def test_workload_is_what_was_expected_until_it_is_counted() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 80.0)
    error = refused(use, 1.0, 30.0)
    assert error is not None
    assert "80 is used, and this request is expected to add 30; come back in 60 s" in str(error)
    use.count(1, 20.0, 2.0)
    assert refused(use, 2.0, 80.0) is None
    assert refused(use, 2.0, 81.0) is not None


def test_a_count_that_is_told_twice_counts_once() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 10.0)
    for _ in range(2):
        use.count(1, 60.0, 1.0)
    assert refused(use, 1.0, 40.0) is None
    assert refused(use, 1.0, 41.0) is not None


def test_what_was_more_than_the_limit_is_paid_off_at_its_rate() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=60))
    begin(use, 1, 0.0, 1.0)
    use.count(1, 300.0, 1.0)
    error = refused(use, 61.0)
    assert error is not None
    assert error.retry_after_s == 239
    assert refused(use, 299.9) is not None
    assert refused(use, 300.0) is None


def test_a_lower_limit_does_not_make_a_debt_of_what_was_allowed() -> None:
    uses = KeyUses()
    use = uses.of("me", KeyLimits(requests_per_minute=100))
    assert use is not None
    for idx in range(1, 101):
        begin(use, idx, 0.0)
    assert uses.of("me", KeyLimits(requests_per_minute=10)) is use
    assert refused(use, 60.0) is not None
    assert refused(use, 61.0) is None


def test_what_is_counted_long_after_it_began_counts_as_used_now() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 10.0)
    use.count(1, 110.0, 500.0)
    error = refused(use, 500.0)
    assert error is not None
    assert "100 is used" in str(error)


def test_one_request_that_is_larger_than_the_limit_is_served_when_nothing_else_was() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 500.0)
    assert refused(use, 1.0, 0.0) is not None


def test_a_request_that_claims_nothing_is_refused_once_all_is_used() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 100.0)
    assert refused(use, 1.0, 0.0) is not None


@pytest.mark.parametrize("leave", [KeyUse.end, KeyUse.give_up, KeyUse.forget])
def test_so_many_at_once_until_one_has_ended(leave: Callable[[KeyUse, int], None]) -> None:
    use = KeyUse(KeyLimits(concurrent=2))
    begin(use, 1, 0.0)
    begin(use, 2, 0.0)
    error = refused(use, 0.0)
    assert error is not None
    assert str(error) == (
        "this key's limit of 2 requests at once is reached: 2 are under way; come back when one has ended"
    )
    leave(use, 1)
    assert refused(use, 0.0) is None


def test_one_of_which_nothing_is_heard_any_more_is_not_under_way() -> None:
    use = KeyUse(KeyLimits(concurrent=1))
    begin(use, 1, 0.0)
    use.under_way(1, 90.0)
    assert refused(use, 89.0) is not None
    assert refused(use, 90.0) is None


def test_a_request_that_no_worker_has_had_used_no_workload() -> None:
    use = KeyUse(KeyLimits(workload_per_minute=100))
    begin(use, 1, 0.0, 100.0)
    use.give_up(1)
    assert refused(use, 0.0, 100.0) is None


def test_a_key_without_limits_is_not_counted_and_one_that_rests_is_forgotten() -> None:
    uses = KeyUses()
    assert uses.of("free", NO_LIMITS) is None
    use = uses.of("me", KeyLimits(requests_per_minute=1))
    assert use is not None
    begin(use, 1, 0.0)
    uses.forget(1000.0)
    assert len(uses) == 1, "its request may still end"
    use.forget(1)
    uses.forget(60.0)
    assert len(uses) == 1
    uses.forget(61.0)
    assert len(uses) == 0


def test_who_comes_back_when_told_is_let_in() -> None:
    use = KeyUse(KeyLimits(requests_per_minute=3))
    now_s = 0.7
    for idx in range(1, 20):
        error = refused(use, now_s)
        if error is not None:
            now_s += error.retry_after_s or math.nan
        begin(use, idx, now_s)
