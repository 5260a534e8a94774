"""Who is let in: a request is read and its sender checked, by its header before its body, or by its envelope."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from pyworker.errors import AuthenticationFailed, JsonDataException
from pyworker.intake import Intake
from pyworker.wire import AuthData, parse_auth_header
from pyworker.worker.core.gate import OPEN_GRANT, Gate, Grant, Mode
from pyworker.worker.core.sessions import Session
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.inbound.methods import is_bodiless
from pyworker.worker.open_sessions import OpenSessions
from pyworker.worker.reporting.engine_link import EngineLink
from pyworker.worker.routes import Call, Route

__all__ = ["Admission", "Entrance"]

ANONYMOUS = AuthData(cost=0, endpoint="", reqnum=0, url="", signature="")
ENVELOPE_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain"})  # curl -d says form


class Admission(msgspec.Struct):
    """A request that may come in: who vouches for it, and what it spends when it is admitted."""

    call: Call
    auth_data: AuthData
    grant: Grant
    session: Session | None


@dataclass(slots=True)
class Entrance:
    """Reads requests within the intake's limits and lets in whom gate or session vouch for."""

    gate: Gate
    intake: Intake
    sessions: OpenSessions
    engine: EngineLink

    async def let_in(self, request: Incoming, route: Route) -> Admission:
        """Read the request and check who sent it: by its header before its body is read, else by the envelope.

        Where it leads is settled here: a bad path is its client's fault, and must be in no book.
        """
        target = route.target(request)
        admission = await self._authenticated(request, route)
        admission.call.target = target
        return admission

    async def _authenticated(self, request: Incoming, route: Route) -> Admission:
        proof = route.proof(request)
        if proof is not None:
            return await self._let_in_plain(request, route, *parse_auth_header(proof))
        if is_bodiless(request.method, has_body=request.has_body) or not _may_be_envelope(request):
            if self.gate.mode is not Mode.OFF:
                raise AuthenticationFailed("no X-Auth-Data on a request that is no envelope")
            return await self._let_in_plain(request, route, ANONYMOUS, None)
        with self.intake.hold() as hold:
            call = self._parse(route, await request.read(hold))
            grant, session = await self.authenticate(call.auth_data or ANONYMOUS, call.session_id)
        return Admission(call, call.auth_data or ANONYMOUS, grant, session)

    def _parse(self, route: Route, body: bytes | memoryview) -> Call:
        """An envelope; or a payload with nothing around it, where there is nothing to be proved."""
        try:
            return route.parse_envelope(body)
        except JsonDataException:
            plain = route.parse_plain(body) if self.gate.mode is Mode.OFF else None
            if plain is None:
                raise
            return plain

    async def _let_in_plain(
        self, request: Incoming, route: Route, auth_data: AuthData, session_id: str | None
    ) -> Admission:
        grant, session = await self.authenticate(auth_data, session_id)
        call = await route.read_plain(request, _Reading(self.intake, request))
        return Admission(call, auth_data, grant, session)

    async def authenticate(self, auth_data: AuthData, session_id: str | None) -> tuple[Grant, Session | None]:
        """By an open session, or by ticket or signature; the engine's key is asked for anew before giving up.

        Raises AuthenticationFailed, TicketOvertaken, SessionGone, NotReady.
        """
        if session_id is not None:
            return OPEN_GRANT, self.sessions.authenticate(session_id, auth_data)
        try:
            return self.gate.check(auth_data, time.time()), None
        except AuthenticationFailed:
            if self.gate.mode is not Mode.SIGNATURE or not await self.engine.refresh_key():
                raise
        return self.gate.check(auth_data, time.time()), None


@dataclass(slots=True)
class _Reading:
    """The body of a request, for a route that wants all of it."""

    intake: Intake
    request: Incoming

    def fits(self) -> bool:
        return self.request.content_length is not None and self.intake.has_room(self.request.content_length)

    async def __call__(self) -> bytes | memoryview:
        with self.intake.hold() as hold:
            return await self.request.read(hold)


def _may_be_envelope(request: Incoming) -> bool:
    content_type = request.header("Content-Type")
    return content_type is None or content_type.partition(";")[0].strip().lower() in ENVELOPE_TYPES
