"""The way of a request: let in, admit, wait for its turn, exchange with the model, settle."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pyworker.errors import ModelUnreachable, QueueFull, SessionGone
from pyworker.worker.books import Books, Turn
from pyworker.worker.core.ledger import Outcome
from pyworker.worker.core.readiness import Readiness
from pyworker.worker.core.sessions import Session
from pyworker.worker.inbound.entrance import Admission, Entrance
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.open_sessions import OpenSessions
from pyworker.worker.routes import Route

__all__ = ["Proxy"]

_NO_SESSION = contextlib.nullcontext()


@dataclass(slots=True)
class Proxy:
    """Drives every request of every route. What it decides by is pure: gate, readiness, ledger, sessions."""

    entrance: Entrance
    sessions: OpenSessions
    readiness: Readiness
    books: Books
    model_unreachable: Callable[[], None]

    async def handle(self, request: Incoming, route: Route) -> None:
        """Answer one request. Raises a PyWorkerError with the status to answer."""
        admission = await self.entrance.let_in(request, route)  # 4xx: it is in no book
        await self._prepare(route, admission)  # 503 when it is not ready; what the author says of the payload
        turn = self._admit(request, route, admission)  # 429
        try:
            with self.sessions.request_in(admission.session) if admission.session else _NO_SESSION:
                async with turn:  # waits in line; 429 when that takes too long; settles whatever happens
                    succeeded = await route.exchange(request, admission.call)
                    turn.outcome = Outcome.SERVED if succeeded else Outcome.ERRORED
                    if admission.call.answered is not None:
                        turn.correct(admission.call.answered)
        except QueueFull:
            self.entrance.gate.give_back(admission.grant)
            raise
        except Exception as error:
            request.cut_off()
            if isinstance(error, ModelUnreachable):
                self.model_unreachable()
            raise
        except asyncio.CancelledError:
            self._explain_cancellation(request, admission.session)
            raise

    async def _prepare(self, route: Route, admission: Admission) -> None:
        """An author's code may need what is there once the worker is ready, and by its end it may be so no more."""
        in_session = admission.session is not None
        self.readiness.require_ready(in_session=in_session)
        if route.prepares:
            await route.prepare(admission.call)
            self.readiness.require_ready(in_session=in_session)

    def _admit(self, request: Incoming, route: Route, admission: Admission) -> Turn:
        """Spend the ticket and book the request: no other request comes between."""
        session = admission.session
        if _closed(session, self.sessions):  # while the body came in
            raise SessionGone()
        workload = route.workload(admission.call)
        self.entrance.gate.spend(admission.grant, time.time())
        try:
            turn = self.books.turn(
                route.lane,
                workload,
                max_wait_s=route.max_wait_s,
                request_idx=admission.auth_data.request_idx,
                in_session=session is not None,
            )
        except QueueFull:
            self.entrance.gate.give_back(admission.grant)
            raise
        admission.call.on_head = turn.head_arrived
        turn.teaches_capacity = route.teaches_capacity
        # the turn does not know the admission, which knows it: a circle would keep the payload until it is found
        turn.client_gone = lambda: request.client_gone or _closed(session, self.sessions)
        return turn

    def _explain_cancellation(self, request: Incoming, session: Session | None) -> None:
        """A request that is cancelled because its session closed is told so, if it has not been answered yet."""
        task = asyncio.current_task()
        if task is None or request.client_gone or not _closed(session, self.sessions):
            return
        request.cut_off()
        task.uncancel()
        raise SessionGone() from None


def _closed(session: Session | None, sessions: OpenSessions) -> bool:
    return session is not None and not sessions.is_open(session)
