"""Open sessions: a client pinned to this worker until it ends or its time runs out. Pure; time is an argument."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyworker.errors import (
    AuthenticationFailed,
    JsonDataException,
    SessionGone,
    SessionNotFound,
    TooManySessions,
)
from pyworker.wire import AuthData, SessionSpec, dump
from pyworker.worker.core.ledger import MOST_WORKLOAD

__all__ = ["MIN_LIFETIME_S", "Session", "Sessions"]

MIN_LIFETIME_S = 1.0
CLOSED_REMEMBERED = 1000


@dataclass(slots=True, eq=False)
class Session:
    """One open session. Times in epoch s, ``lifetime_s`` from each authenticated request on."""

    id: str
    auth_data: AuthData
    lifetime_s: float
    created_s: float
    expires_s: float
    on_close_route: str | None
    on_close_payload: Any


class Sessions:
    """All open sessions, at most ``max_sessions`` (None: no limit), none longer than ``max_lifetime_s``."""

    def __init__(self, *, max_sessions: int | None, max_lifetime_s: float) -> None:
        self._max_sessions = max_sessions or None
        self._max_lifetime_s = max_lifetime_s
        self._open: dict[str, Session] = {}
        self._closed: deque[str] = deque(maxlen=CLOSED_REMEMBERED)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def open(self) -> Iterable[Session]:
        """The open sessions, oldest first."""
        return self._open.values()

    @property
    def reserved_load(self) -> float:
        """The cost of all open sessions, as their clients claim it."""
        return sum(min(session.auth_data.cost, MOST_WORKLOAD) for session in self._open.values())

    def create(
        self, session_id: str, auth_data: AuthData, spec: SessionSpec, now_s: float, close_routes: frozenset[str]
    ) -> Session:
        """Open a session. ``close_routes`` are the model routes that may be called when it closes.

        Raises JsonDataException for a lifetime or close route that is not allowed, TooManySessions.
        """
        self._check(spec, close_routes)
        if self._max_sessions is not None and len(self._open) >= self._max_sessions:
            soonest_s = min(session.expires_s for session in self._open.values())
            raise TooManySessions(retry_after_s=soonest_s - now_s)
        lifetime_s = float(spec.lifetime)
        session = Session(
            id=session_id,
            auth_data=auth_data,
            lifetime_s=lifetime_s,
            created_s=now_s,
            expires_s=now_s + lifetime_s,
            on_close_route=spec.on_close_route,
            on_close_payload=spec.on_close_payload,
        )
        self._open[session_id] = session
        return session

    def _check(self, spec: SessionSpec, close_routes: frozenset[str]) -> None:
        problems: dict[str, str] = {}
        if not MIN_LIFETIME_S <= spec.lifetime <= self._max_lifetime_s:  # an int may be larger than any float
            problems["lifetime"] = f"must be {MIN_LIFETIME_S:g} to {self._max_lifetime_s:g} seconds"
        if spec.on_close_route is not None and spec.on_close_route not in close_routes:
            problems["on_close_route"] = (
                "must be the path of one of this worker's own routes, or one of its Backend's close_routes"
            )
        if problems:
            raise JsonDataException({"payload": problems})

    def authenticate(self, session_id: str, auth_data: AuthData, now_s: float) -> Session:
        """The open session of a request, its time prolonged. Raises SessionGone, AuthenticationFailed."""
        session = self._live(session_id, now_s)
        if session is None:
            raise SessionGone()
        self._same_auth(session, auth_data)
        session.expires_s = max(session.expires_s, now_s + session.lifetime_s)
        return session

    def get(self, session_id: str, session_auth: AuthData, now_s: float) -> Session:
        """The open session, for its owner. Raises SessionNotFound, AuthenticationFailed."""
        session = self._live(session_id, now_s)
        if session is None:
            raise SessionNotFound()
        self._same_auth(session, session_auth)
        return session

    def close(self, session: Session) -> bool:
        """Take a session out. False when it was closed already."""
        if self._open.pop(session.id, None) is None:
            return False
        self._closed.append(session.id)
        return True

    def holds(self, session: Session) -> bool:
        """Whether it has not been closed."""
        return session.id in self._open

    def was_closed(self, session_id: str) -> bool:
        """Whether this was a session not long ago."""
        return session_id in self._closed

    def expired(self, now_s: float) -> list[Session]:
        """Open sessions whose time has run out."""
        return [session for session in self._open.values() if session.expires_s <= now_s]

    def _live(self, session_id: str, now_s: float) -> Session | None:
        session = self._open.get(session_id)
        return session if session is not None and session.expires_s > now_s else None

    def _same_auth(self, session: Session, auth_data: AuthData) -> None:
        if not hmac.compare_digest(dump(session.auth_data), dump(auth_data)):
            raise AuthenticationFailed("it is not the auth_data that its session was opened with")
