"""Open sessions at work: their requests, which end with them, and the call to the model when they close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Generator
from typing import cast

import msgspec

from pyworker.errors import PyWorkerError
from pyworker.wire import AuthData, SessionSpec, dump
from pyworker.worker.books import Books
from pyworker.worker.core.ledger import Outcome
from pyworker.worker.core.sessions import Session, Sessions
from pyworker.worker.core.status import Finished
from pyworker.worker.model.upstream import ModelServer

__all__ = ["OpenSessions"]

log = logging.getLogger("pyworker.sessions")

CLOSE_CALL_S = 10.0


class OpenSessions:
    """Creates, prolongs and ends sessions; ``close_routes`` are the model routes that closing may call."""

    def __init__(self, sessions: Sessions, model: ModelServer, books: Books, close_routes: frozenset[str]) -> None:
        self.sessions = sessions
        self._model = model
        self._books = books
        self._close_routes = close_routes
        self._requests: dict[str, set[asyncio.Task[object]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._began_s: dict[str, float] = {}

    def create(self, auth_data: AuthData, spec: SessionSpec) -> Session:
        """Open one. Raises JsonDataException, TooManySessions."""
        session = self.sessions.create(
            secrets.token_urlsafe(16), auth_data, spec, time.time(), close_routes=self._close_routes
        )
        self._began_s[session.id] = time.monotonic()
        self._books.changed()
        log.info("session opened, lifetime %g s", session.lifetime_s)
        return session

    def authenticate(self, session_id: str, auth_data: AuthData) -> Session:
        """The session of a request, prolonged. Raises SessionGone, AuthenticationFailed."""
        return self.sessions.authenticate(session_id, auth_data, time.time())

    def get(self, session_id: str, session_auth: AuthData) -> Session:
        """The session, for its owner. Raises SessionNotFound, AuthenticationFailed."""
        return self.sessions.get(session_id, session_auth, time.time())

    def is_open(self, session: Session) -> bool:
        """Whether it has not been closed."""
        return self.sessions.holds(session)

    @contextlib.contextmanager
    def request_in(self, session: Session) -> Generator[None]:
        """The current task is a request in this session: it is cancelled when the session closes."""
        task = asyncio.current_task()
        assert task is not None
        requests = self._requests.setdefault(session.id, set())
        requests.add(task)
        try:
            yield
        finally:
            requests.discard(task)

    def end(self, session: Session) -> None:
        """Close it: cut its requests off, report it finished, call the model's close route in the background."""
        if not self.sessions.close(session):
            return
        for task in self._requests.pop(session.id, set()):
            task.cancel()
        began_s = self._began_s.pop(session.id)
        self._books.changed()
        if session.auth_data.request_idx:
            now_s = time.monotonic()
            self._books.outbox.add(Finished(session.auth_data.request_idx, Outcome.SERVED, began_s, began_s, now_s))
        if session.on_close_route is not None:
            task = asyncio.create_task(self._call_close_route(session, session.on_close_route))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        log.info("session closed")

    async def _call_close_route(self, session: Session, route: str) -> None:
        given = session.on_close_payload
        fields = cast("dict[str, object]", given) if isinstance(given, dict) else {}
        payload = {**fields, "session_id": session.id}
        try:
            async with asyncio.timeout(CLOSE_CALL_S):
                headers = ((b"Content-Type", b"application/json"),)
                async with await self._model.send("POST", route, headers, (dump(payload),)) as answer:
                    log.info("the session's close route %s answered %d", route, answer.status)
        except (PyWorkerError, TimeoutError) as error:
            log.warning("the session's close route %s failed: %s", route, str(error) or "no answer in time")

    async def expire_forever(self) -> None:
        """End sessions whose time has run out."""
        while True:
            for session in self.sessions.expired(time.time()):
                self.end(session)
            await asyncio.sleep(0.25)

    async def close(self) -> None:
        """End all of them and wait for the calls that their closing makes."""
        for session in list(self.sessions.open):
            self.end(session)
        if self._closing:
            await asyncio.wait(self._closing)


def as_json(session: Session) -> dict[str, object]:
    """What ``/session/get`` answers."""
    return {
        "session_id": session.id,
        "auth_data": msgspec.to_builtins(session.auth_data),
        "lifetime": session.lifetime_s,
        "expiration": session.expires_s,
        "created_at": session.created_s,
        "on_close_route": session.on_close_route,
        "on_close_payload": session.on_close_payload,
    }
