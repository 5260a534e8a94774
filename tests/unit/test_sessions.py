"""Sessions: who may open, use and close one, and for how long (the wire, section 5)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from pyworker.errors import AuthenticationFailed, JsonDataException, SessionGone, SessionNotFound, TooManySessions
from pyworker.wire import AuthData, SessionSpec
from pyworker.worker.core.sessions import CLOSED_REMEMBERED, Session, Sessions

AUTH = AuthData(cost=30, endpoint="e", reqnum=5, url="http://w", signature="s", request_idx=7)
ROUTES = frozenset({"/generate", "/close"})


def some(*, max_sessions: int | None = 3, max_lifetime_s: float = 3600.0) -> Sessions:
    return Sessions(max_sessions=max_sessions, max_lifetime_s=max_lifetime_s)


def opened(sessions: Sessions, name: str = "one", *, now_s: float = 0.0, auth: AuthData = AUTH, **spec: Any) -> Session:
    return sessions.create(name, auth, SessionSpec(**spec), now_s, ROUTES)


def test_a_session_is_what_was_asked_for() -> None:
    session = opened(some(), now_s=10.0, lifetime=30, on_close_route="/close", on_close_payload={"a": 1})
    assert (session.created_s, session.expires_s, session.lifetime_s) == (10.0, 40.0, 30.0)
    assert (session.on_close_route, session.on_close_payload, session.auth_data) == ("/close", {"a": 1}, AUTH)


def test_it_lives_for_a_minute_unless_asked_otherwise() -> None:
    assert opened(some(), now_s=10.0).expires_s == 70.0


@pytest.mark.parametrize("lifetime", [1, 1.0, 3600])
def test_a_lifetime_within_the_limits_is_taken(lifetime: float) -> None:
    assert opened(some(), lifetime=lifetime).lifetime_s == lifetime


@pytest.mark.parametrize("lifetime", [0.99, 0, -5, 3600.5, math.inf, -math.inf, math.nan, 10**400])
def test_any_other_lifetime_is_refused(lifetime: float) -> None:
    sessions = some()
    with pytest.raises(JsonDataException) as refused:
        opened(sessions, lifetime=lifetime)
    assert refused.value.message == {"payload": {"lifetime": "must be 1 to 3600 seconds"}}
    assert len(sessions) == 0


@pytest.mark.parametrize(
    "route",
    ["/other", "http://169.254.169.254/", "//evil/generate", "/../generate", "/generate/../admin", "generate", ""],
)
def test_a_close_route_is_one_of_the_workers_own(route: str) -> None:
    with pytest.raises(JsonDataException) as refused:
        opened(some(), on_close_route=route)
    assert list(refused.value.message["payload"]) == ["on_close_route"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(JsonDataException) as refused:
        opened(some(), lifetime=0, on_close_route="/other")
    assert set(refused.value.message["payload"]) == {"lifetime", "on_close_route"}


def test_when_full_it_is_said_when_the_next_one_may_end() -> None:
    sessions = some(max_sessions=2)
    opened(sessions, "one", lifetime=100)
    opened(sessions, "two", lifetime=50)
    with pytest.raises(TooManySessions) as refused:
        opened(sessions, "three", now_s=10.0)
    assert refused.value.retry_after_s == 40
    sessions.close(sessions.get("one", AUTH, 10.0))
    assert opened(sessions, "three", now_s=10.0)


@pytest.mark.parametrize("max_sessions", [None, 0])
def test_there_may_be_no_limit(max_sessions: int | None) -> None:
    sessions = some(max_sessions=max_sessions)
    for number in range(100):
        opened(sessions, str(number))
    assert len(sessions) == 100


# --- requests in a session ------------------------------------------------------------------------


def test_a_request_prolongs_its_session() -> None:
    sessions = some()
    session = opened(sessions, lifetime=30)
    assert sessions.authenticate("one", AUTH, 20.0) is session
    assert session.expires_s == 50.0


def test_a_clock_that_goes_back_shortens_nothing() -> None:
    sessions = some()
    session = opened(sessions, now_s=100.0, lifetime=30)
    sessions.authenticate("one", AUTH, 90.0)
    assert session.expires_s == 130.0


def test_a_request_in_no_open_session_is_gone() -> None:
    sessions = some()
    opened(sessions, lifetime=30)
    for name, now_s in (("other", 1.0), ("", 1.0), ("one", 30.0)):
        with pytest.raises(SessionGone):
            sessions.authenticate(name, AUTH, now_s)


@pytest.mark.parametrize(
    "changed",
    [{"signature": "t"}, {"cost": 31}, {"cost": 30.0}, {"reqnum": 6}, {"request_idx": 8}, {"url": "http://x"}],
)
def test_only_its_own_auth_data_opens_a_session_and_no_other_prolongs_it(changed: dict[str, Any]) -> None:
    sessions = some()
    session = opened(sessions, lifetime=30)
    other = replace(AUTH, **changed)
    with pytest.raises(AuthenticationFailed):
        sessions.authenticate("one", other, 20.0)
    with pytest.raises(AuthenticationFailed):
        sessions.get("one", other, 20.0)
    assert session.expires_s == 30.0


# --- looking and closing --------------------------------------------------------------------------


def test_its_owner_sees_it_without_prolonging_it() -> None:
    sessions = some()
    session = opened(sessions, lifetime=30)
    assert sessions.get("one", AUTH, 20.0) is session
    assert session.expires_s == 30.0


def test_one_that_is_not_open_is_not_found() -> None:
    sessions = some()
    opened(sessions, lifetime=30)
    for name, now_s in (("other", 1.0), ("one", 31.0)):
        with pytest.raises(SessionNotFound):
            sessions.get(name, AUTH, now_s)


def test_it_closes_once() -> None:
    sessions = some()
    session = opened(sessions)
    assert not sessions.was_closed("one")
    assert sessions.close(session)
    assert not sessions.close(session)
    assert sessions.was_closed("one")
    assert len(sessions) == 0


def test_only_the_last_closed_ones_are_remembered() -> None:
    sessions = some(max_sessions=None)
    for number in range(CLOSED_REMEMBERED + 1):
        sessions.close(opened(sessions, str(number)))
    assert not sessions.was_closed("0")
    assert sessions.was_closed("1")


def test_those_whose_time_has_run_out_are_named_until_they_are_closed() -> None:
    sessions = some()
    short, _long = opened(sessions, "short", lifetime=10), opened(sessions, "long", lifetime=20)
    assert sessions.expired(9.9) == []
    assert sessions.expired(10.0) == [short]
    sessions.close(short)
    assert sessions.expired(10.0) == []


def test_open_sessions_reserve_their_cost() -> None:
    sessions = some()
    one = opened(sessions, "one")
    opened(sessions, "two", auth=replace(AUTH, cost=12.5))
    assert sessions.reserved_load == 42.5
    sessions.close(one)
    assert sessions.reserved_load == 12.5


def test_costs_beyond_all_reason_stay_a_number() -> None:
    sessions = some()
    opened(sessions, "one", auth=replace(AUTH, cost=1.7e308))
    opened(sessions, "two", auth=replace(AUTH, cost=1.7e308))
    assert math.isfinite(sessions.reserved_load)
