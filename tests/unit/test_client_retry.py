"""When a client asks again: no clock, no chance of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.client.retry import (
    ASK_AGAIN,
    LONGEST_POLL_S,
    LONGEST_RETRY_S,
    NEVER,
    Retry,
    goes_again,
    poll_after_s,
    read_retry_after,
    retry_after_s,
)
from pyworker.errors import ConfigurationError

CHANCE = st.floats(0, 1, exclude_max=True)


def test_the_first_poll_comes_after_a_second() -> None:
    assert poll_after_s(1, 0.99) == 1.0


@given(st.integers(2, 10_000), CHANCE)
def test_later_polls_come_at_random_up_to_five_seconds(polls: int, chance: float) -> None:
    assert 1.0 <= poll_after_s(polls, chance) <= LONGEST_POLL_S


def test_polls_spread_out() -> None:
    assert poll_after_s(5, 0.1) < poll_after_s(5, 0.9)


@given(st.integers(1, 10_000), CHANCE)
def test_retries_back_off_up_to_a_limit(attempts: int, chance: float) -> None:
    wait_s = retry_after_s(attempts, chance, asked_s=None, left_s=1000.0)
    assert wait_s is not None
    assert 0 < wait_s <= LONGEST_RETRY_S
    later_s = retry_after_s(attempts + 1, chance, asked_s=None, left_s=1000.0)
    assert later_s is not None
    assert later_s >= wait_s


@given(st.integers(1, 20), CHANCE, st.floats(0, 500))
def test_a_worker_is_left_alone_for_as_long_as_it_asked(attempts: int, chance: float, asked_s: float) -> None:
    wait_s = retry_after_s(attempts, chance, asked_s=asked_s, left_s=1000.0)
    assert wait_s is not None
    assert wait_s >= asked_s


@given(st.integers(1, 20), CHANCE, st.none() | st.floats(0, 500), st.floats(-10, 500))
def test_nothing_is_tried_past_the_deadline(attempts: int, chance: float, asked_s: float | None, left_s: float) -> None:
    wait_s = retry_after_s(attempts, chance, asked_s=asked_s, left_s=left_s)
    assert wait_s is None or wait_s < left_s


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("99999999", 3600.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_whole_seconds(header: str | None, asked_s: float | None) -> None:
    assert read_retry_after(header) == asked_s


# --- what goes again ---

FINAL = st.integers(100, 599).filter(lambda status: status not in ASK_AGAIN and status < 500)


@given(st.sampled_from(sorted(ASK_AGAIN)), st.integers(0, 1000), st.integers(0, 5))
def test_what_was_not_begun_always_goes_again(status: int, failures: int, most: int) -> None:
    assert goes_again(status, failures, Retry(failures=most))


@given(FINAL, st.integers(0, 10), st.sets(st.integers(500, 599)))
def test_a_4xx_never_goes_again_nor_a_2xx(status: int, most: int, statuses: set[int]) -> None:
    assert not goes_again(status, 0, Retry(most, frozenset(statuses)))


@given(st.none() | st.integers(500, 599).filter(lambda status: status != 503), st.integers(0, 10))
def test_what_may_have_been_begun_goes_again_a_bounded_number_of_times(status: int | None, most: int) -> None:
    policy = Retry(most, frozenset(range(500, 600)))
    assert [goes_again(status, failures, policy) for failures in range(most + 2)] == [True] * most + [False] * 2


def test_by_default_a_failed_gateway_is_tried_twice_more_and_a_failed_model_is_not() -> None:
    assert [status for status in range(500, 600) if goes_again(status, 1, Retry())] == [502, 503, 504]
    assert goes_again(None, 1, Retry())
    assert not goes_again(502, 2, Retry())
    assert not goes_again(None, 0, NEVER)


@pytest.mark.parametrize("status", [200, 400, 429, 600])
def test_no_other_status_can_be_asked_for(status: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{status} would be the same again"):
        Retry(statuses=frozenset({502, status}))


def test_a_negative_number_of_failures_is_told() -> None:
    with pytest.raises(ConfigurationError, match="0 or more"):
        Retry(failures=-1)
