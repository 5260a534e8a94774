"""Who is logged in to the dashboard, and which calls come from there; how long requests took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.engine.core.logins import LOGIN_S, MOST_LOGINS, PAGE_HEADER, CrossSite, Logins, require_same_site
from pyworker.engine.core.times import MOST, WINDOW_S, AnswerTimes
from pyworker.wire import FinishedRequest


def test_a_login_is_good_for_its_time_and_until_it_is_closed() -> None:
    logins = Logins()
    logins.open("token", b"account", 10.0)
    assert logins.account("token", 10.0 + LOGIN_S - 1) == b"account"
    assert logins.account("token", 10.0 + LOGIN_S) is None
    assert logins.account("another", 11.0) is None
    logins.close("token")
    assert logins.account("token", 11.0) is None


def test_the_oldest_login_makes_room() -> None:
    logins = Logins()
    for number in range(MOST_LOGINS + 1):
        logins.open(str(number), b"account", 0.0)
    assert logins.account("0", 0.0) is None
    assert logins.account("1", 0.0) == b"account"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("GET", {"Sec-Fetch-Site": "same-origin"}),
        ("GET", {"Sec-Fetch-Site": "none"}),
        ("POST", {PAGE_HEADER: "1"}),
        ("PUT", {PAGE_HEADER: "1", "Origin": "https://Engine:8080", "Sec-Fetch-Site": "same-origin"}),
    ],
)
def test_our_own_page_may_call(method: str, headers: dict[str, str]) -> None:
    require_same_site(method, headers, "engine:8080")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("GET", {"Origin": "null"}),
        ("GET", {"Origin": "http://engine"}),
        ("GET", {"Origin": "http://engine:8080.evil.example"}),
        ("PUT", {PAGE_HEADER: "1", "Origin": "http://[broken"}),
        ("PUT", {PAGE_HEADER: "1", "Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_another_site_may_not(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(CrossSite):
        require_same_site(method, headers, "engine:8080")


def test_a_call_that_costs_is_marked_whatever_its_method() -> None:
    with pytest.raises(CrossSite):
        require_same_site("GET", {}, "engine", always=True)
    require_same_site("GET", {PAGE_HEADER: "1"}, "engine", always=True)


def ended(took_s: float | None, status: str = "Success", queue_s: float = 0.0) -> FinishedRequest:
    done = None if took_s is None else 100.0 + took_s
    return FinishedRequest(1, status in {"Success", "Cancelled"}, status, 100.0, 100.0 + queue_s, done)


def test_times_are_those_of_the_last_minute() -> None:
    times = AnswerTimes()
    times.add(ended(50.0), 0.0)
    for number in range(1, 21):
        times.add(ended(float(number), queue_s=0.5), 30.0)
    times.add(ended(0.1, "Error"), 30.0)
    found = times.figures(WINDOW_S + 1.0)
    assert (found.requests, found.failed) == (21, 1)
    assert (found.p50_s, found.p95_s, found.queue_p95_s) == (10.0, 19.0, 0.5)


def test_without_requests_nothing_is_known() -> None:
    found = AnswerTimes().figures(0.0)
    assert (found.requests, found.p50_s, found.p95_s, found.queue_p95_s) == (0, None, None, None)


@given(st.lists(st.none() | st.floats(), max_size=50))
def test_whatever_a_worker_claims_a_time_is_none_or_a_time(claims: list[float | None]) -> None:
    times = AnswerTimes()
    for claim in claims:
        times.add(ended(claim), 0.0)
    found = times.figures(0.0)
    assert found.requests == len(claims)
    assert found.p95_s is None or 0 <= found.p95_s < float("inf")


def test_only_the_newest_are_kept() -> None:
    times = AnswerTimes()
    for _ in range(MOST + 5):
        times.add(ended(1.0), 0.0)
    assert times.figures(0.0).requests == MOST
