"""The routes of sessions: create, get, health, end (the wire, section 5)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pyworker.errors import AuthenticationFailed, JsonDataException, PyWorkerError, SessionGone, SessionNotFound
from pyworker.fields import read_fields, read_part
from pyworker.wire import AuthData, SessionQuery, SessionSpec, decode_object, parse, parse_auth_data
from pyworker.worker.core.readiness import Readiness
from pyworker.worker.core.sessions import Session
from pyworker.worker.inbound.answers import json_response
from pyworker.worker.inbound.entrance import Entrance
from pyworker.worker.inbound.incoming import AiohttpIncoming
from pyworker.worker.open_sessions import as_json

__all__ = ["SessionApi"]


@dataclass(slots=True)
class SessionApi:
    """Handlers over the open sessions."""

    entrance: Entrance
    readiness: Readiness

    def pages(self) -> list[web.RouteDef]:
        """All four routes."""
        return [
            web.post("/session/create", self.create),
            web.post("/session/get", self.get),
            web.post("/session/health", self.health),
            web.post("/session/end", self.end),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """201, and spends the ticket."""
        entrance = self.entrance
        with entrance.intake.hold() as hold:
            auth_data, spec = _parse_create(await AiohttpIncoming(request).read(hold))
            grant, _ = await entrance.authenticate(auth_data, None)
        self.readiness.require_ready()
        entrance.gate.spend(grant, time.time())
        try:
            session = entrance.sessions.create(auth_data, spec)
        except PyWorkerError:
            entrance.gate.give_back(grant)
            raise
        return json_response({"session_id": session.id, "expiration": session.expires_s}, 201)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """What the session is."""
        return json_response(as_json(await self._owned(request)))

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Whether the session is open."""
        try:
            await self._owned(request)
        except SessionNotFound:
            return json_response({"ok": False})
        return json_response({"ok": True})

    async def end(self, request: web.Request) -> web.StreamResponse:
        """Close it. Raises SessionGone when it was closed before."""
        session = await self._owned(request, ended=True)
        self.entrance.sessions.end(session)
        return json_response({"ended": True, "removed_session": session.id})

    async def _owned(self, request: web.Request, *, ended: bool = False) -> Session:
        with self.entrance.intake.hold() as hold:
            query = parse(await AiohttpIncoming(request).read(hold), SessionQuery)
        try:
            session_auth = parse_auth_data(query.session_auth)
        except JsonDataException:
            raise AuthenticationFailed("session_auth is not auth_data") from None
        sessions = self.entrance.sessions
        if ended and sessions.sessions.was_closed(query.session_id):
            raise SessionGone()
        return sessions.get(query.session_id, session_auth)


def _parse_create(body: bytes | memoryview) -> tuple[AuthData, SessionSpec]:
    message = decode_object(body)
    problems: dict[str, Any] = {}
    auth_data = read_part(message, "auth_data", parse_auth_data, problems)
    given: dict[str, Any] = {"payload": {}, **{name: value for name, value in message.items() if value is not None}}
    spec = read_part(given, "payload", lambda payload: SessionSpec(**read_fields(payload, SessionSpec)), problems)
    if auth_data is None or spec is None:
        raise JsonDataException(problems)
    return auth_data, spec
