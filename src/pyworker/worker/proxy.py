"""The way of a request: let in, admit, wait for its turn, exchange with the model, settle."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pyworker.errors import AuthenticationFailed, ModelUnreachable, QueueFull, SessionGone
from pyworker.wire import AuthData, parse_auth_header
from pyworker.worker.books import Books, Turn
from pyworker.worker.core.gate import OPEN_GRANT, Gate, Grant, Mode
from pyworker.worker.core.ledger import Outcome
from pyworker.worker.core.readiness import Readiness
from pyworker.worker.core.sessions import Session
from pyworker.worker.engine_link import EngineLink
from pyworker.worker.incoming import Incoming
from pyworker.worker.intake import Intake
from pyworker.worker.open_sessions import OpenSessions
from pyworker.worker.routes import Call, Route

__all__ = ["Admission", "Proxy"]

_NO_SESSION = contextlib.nullcontext()
ANONYMOUS = AuthData(cost=0, endpoint="", reqnum=0, url="", signature="")
BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
ENVELOPE_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain"})  # curl -d says form


class Admission(msgspec.Struct):
    """A request that may come in: who vouches for it, and what it spends when it is admitted."""

    call: Call
    auth_data: AuthData
    grant: Grant
    session: Session | None


@dataclass(slots=True)
class Proxy:
    """Drives every request of every route. What it decides by is pure: gate, readiness, ledger, sessions."""

    gate: Gate
    intake: Intake
    sessions: OpenSessions
    readiness: Readiness
    books: Books
    engine: EngineLink
    model_unreachable: Callable[[], None]

    async def handle(self, request: Incoming, route: Route) -> None:
        """Answer one request. Raises a PyWorkerError with the status to answer."""
        admission = await self._let_in(request, route)  # 4xx: it is in no book
        self.readiness.require_ready()  # 503
        turn = self._admit(request, route, admission)  # 429
        try:
            with self.sessions.request_in(admission.session) if admission.session else _NO_SESSION:
                async with turn:  # waits in line; 429 when that takes too long; settles whatever happens
                    succeeded = await route.exchange(request, admission.call)
                    turn.outcome = Outcome.SERVED if succeeded else Outcome.ERRORED
        except QueueFull:
            self.gate.give_back(admission.grant)
            raise
        except Exception as error:
            request.cut_off()
            if isinstance(error, ModelUnreachable):
                self.model_unreachable()
            raise
        except asyncio.CancelledError:
            self._explain_cancellation(request, admission.session)
            raise

    async def _let_in(self, request: Incoming, route: Route) -> Admission:
        """Read the request and check who sent it: by its header before its body is read, else by the envelope."""
        header = request.header("X-Auth-Data")
        if header is not None:
            return await self._let_in_plain(request, route, *parse_auth_header(header))
        if request.method in BODILESS or not _may_be_envelope(request):
            if self.gate.mode is not Mode.OFF:
                raise AuthenticationFailed("no X-Auth-Data on a request that is no envelope")
            return await self._let_in_plain(request, route, ANONYMOUS, None)
        with self.intake.hold() as hold:
            call = route.parse_envelope(await hold.read(request))
            grant, session = await self.authenticate(call.auth_data or ANONYMOUS, call.session_id)
        return Admission(call, call.auth_data or ANONYMOUS, grant, session)

    async def _let_in_plain(
        self, request: Incoming, route: Route, auth_data: AuthData, session_id: str | None
    ) -> Admission:
        grant, session = await self.authenticate(auth_data, session_id)

        async def read() -> bytes:
            with self.intake.hold() as hold:
                return await hold.read(request)

        return Admission(await route.read_plain(request, read), auth_data, grant, session)

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

    def _admit(self, request: Incoming, route: Route, admission: Admission) -> Turn:
        """Spend the ticket and book the request: no other request comes between."""
        workload = route.workload(admission.call)
        self.gate.spend(admission.grant, time.time())
        try:
            turn = self.books.turn(
                route.lane,
                workload,
                max_wait_s=route.max_wait_s,
                request_idx=admission.auth_data.request_idx,
                in_session=admission.session is not None,
            )
        except QueueFull:
            self.gate.give_back(admission.grant)
            raise
        admission.call.on_head = turn.head_arrived
        turn.client_gone = lambda: request.client_gone or _closed(admission.session, self.sessions)
        return turn

    def _explain_cancellation(self, request: Incoming, session: Session | None) -> None:
        """A request that is cancelled because its session closed is told so, if it has not been answered yet."""
        task = asyncio.current_task()
        if task is None or request.client_gone or not _closed(session, self.sessions):
            return
        request.cut_off()
        task.uncancel()
        raise SessionGone() from None


def _may_be_envelope(request: Incoming) -> bool:
    content_type = request.header("Content-Type")
    return content_type is None or content_type.partition(";")[0].strip().lower() in ENVELOPE_TYPES


def _closed(session: Session | None, sessions: OpenSessions) -> bool:
    return session is not None and not sessions.is_open(session)
