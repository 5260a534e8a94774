"""A session: several requests of one client at one worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from pyworker.client.attempts import Answered, first_answer
from pyworker.client.calling import Calling, whole
from pyworker.client.outgoing import Message, Outgoing, SessionOptions, enveloped
from pyworker.client.pursuit import Pursuit
from pyworker.client.requests import Requests
from pyworker.client.retry import NEVER
from pyworker.errors import AnsweredWithError, CallFailed, SessionGone, WorkerUnreachable
from pyworker.wire import AuthData, RouteAnswer, dump

__all__ = ["Session", "opened"]

END_S: Final = 10.0  # for a worker to say that it has ended one
_JSON: Final = {"Content-Type": "application/json"}


class Session(Requests):
    """An open session: its ``id`` and its worker's address. Its requests all go there, and are tried nowhere else.

    When the worker has closed it they raise SessionGone; when the worker is gone, WorkerUnreachable.
    """

    def __init__(
        self, calling: Calling, pursuit: Callable[[float | None], Pursuit], routed: RouteAnswer, session_id: str
    ) -> None:
        self.id = session_id
        self.worker_url = routed.url
        self._calling = calling
        self._new_pursuit = pursuit
        self._routed = routed
        self._closed = False

    def __repr__(self) -> str:
        return f"<Session at {self.worker_url}>"

    async def is_open(self) -> bool:
        """Whether the worker still has it. Raises WorkerUnreachable, NoAnswerInTime."""
        status, body = await self._ask("/session/health")
        return status == 200 and bool(msgspec.json.decode(body).get("ok"))

    async def close(self) -> None:
        """End it, whatever it is doing; a worker that does not hear of it ends it when its lifetime is over."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(CallFailed):
                await self._ask("/session/end")

    def _pursuit(self, timeout_s: float | None) -> Pursuit:
        return self._new_pursuit(timeout_s)

    async def _first(self, pursuit: Pursuit, out: Outgoing, cost: float) -> Answered:  # noqa: ARG002 - the session's
        if self._closed:
            raise SessionGone("this session was closed; open another one")
        answered = await first_answer(pursuit, self._find, lambda routed: self._send(routed, out), NEVER)
        if answered.response.status == SessionGone.status:
            answered.response.close()
            raise SessionGone(
                f"the worker at {self.worker_url} has closed this session: its lifetime is over, or the worker ends; "
                "open another one"
            )
        return answered

    async def _find(self, pursuit: Pursuit) -> RouteAnswer:  # noqa: ARG002 - it has its worker
        return self._routed

    async def _send(self, routed: RouteAnswer, out: Outgoing) -> aiohttp.ClientResponse:
        response = await self._calling.send(routed, out, self.id)
        if response is None:
            raise WorkerUnreachable(f"the session's worker at {routed.url} does not accept connections any more")
        return response

    async def _ask(self, route: str) -> tuple[int, bytes]:
        """Something about the session itself."""

        def message(auth_data: AuthData, session_id: str | None) -> Message:
            return Message(dump({"session_id": session_id, "session_auth": auth_data}), _JSON)

        async def first() -> Answered:
            return Answered(await self._send(self._routed, Outgoing("POST", route, message)), self._routed)

        answered = await whole(self._new_pursuit(END_S), first())
        return answered.answer.status, answered.body


async def opened(
    calling: Calling, new_pursuit: Callable[[float | None], Pursuit], endpoint: str, options: SessionOptions
) -> Session:
    """A new session at a worker of this endpoint."""
    pursuit, cost = new_pursuit(options.get("timeout_s")), options.get("cost", 100.0)
    spec = {"lifetime": options.get("lifetime", 60.0)}
    spec |= {name: options.get(name) for name in ("on_close_route", "on_close_payload")}
    out = enveloped("/session/create", spec)
    answer, body, _, routed = await whole(pursuit, calling.first(pursuit, endpoint, cost, out, NEVER))
    if answer.status != 201:
        words = body[:500].decode(errors="replace")
        raise AnsweredWithError(
            f"the worker at {answer.worker_url} opens no session, it answers {answer.status}: {words}"
        )
    try:
        session_id = str(msgspec.json.decode(body)["session_id"])
    except (msgspec.DecodeError, KeyError, TypeError):
        raise AnsweredWithError(f"the worker at {answer.worker_url} opened a session and did not name it") from None
    return Session(calling, new_pursuit, routed, session_id)
