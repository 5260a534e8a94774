"""The way of a request through the gateway: read it, find a worker, send it there, pass the answer on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import yarl
from aiohttp import web

from pyworker.client.attempts import Answered, find_worker, first_answer, sent
from pyworker.client.pursuit import Pursuit
from pyworker.errors import PyWorkerError, WorkerUnreachable
from pyworker.gateway.answers import status_of
from pyworker.gateway.asked import COST_HEADER, OPENAI, PLAIN, Asked, claim_in, key_in, target_in
from pyworker.gateway.meters import Meters
from pyworker.gateway.relay import Relay
from pyworker.gateway.router import Router
from pyworker.gateway.way import Way
from pyworker.headers import request_headers
from pyworker.intake import Intake
from pyworker.net import keep_alive_socket
from pyworker.wire import RouteAnswer, dump_auth_header

__all__ = ["Gateway"]

SILENCE_S: Final = 5.0  # then a caller who wants events gets a comment, so that nobody on the way gives up
_OURS: Final = frozenset({COST_HEADER.lower().encode()})

_T = TypeVar("_T")


class Gateway:
    """To be used with ``async with``. ``timeout_s`` is the time from a request to the head of its answer.

    ``max_body_bytes`` bounds one body, ``max_held_bytes`` all those together that have no answer yet: a body is kept
    until then, since a worker may turn it away.
    """

    def __init__(
        self,
        router: Router,
        *,
        timeout_s: float = 600.0,
        max_body_bytes: int = 64 * 1024 * 1024,
        max_held_bytes: int = 512 * 1024 * 1024,
    ) -> None:
        self._router = router
        self._timeout_s = timeout_s
        self._intake = Intake(max_body_bytes=max_body_bytes, max_held_bytes=max_held_bytes)
        self.meters = Meters(self._intake)

    async def __aenter__(self) -> Gateway:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=keep_alive_socket),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    def routes(self) -> list[web.RouteDef]:
        """What a gateway answers: any method, any body."""
        return [
            web.route("*", f"/{OPENAI}/{{endpoint}}/{{route:v1(?:/.*)?}}", self.handle),
            web.route("*", f"/{PLAIN}/{{endpoint}}/{{route:.*}}", self.handle),
        ]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        began_s = time.monotonic()
        relay, way = Relay(request), Way(self._router.ask, began_s)
        self.meters.in_flight += 1
        try:
            asked, answered = await self._first_answer(request, relay, way)
            way.answered()
            self.meters.answered(asked.endpoint, answered.response.status, time.monotonic() - began_s)
            try:
                return await relay.answer(answered, way)
            except WorkerUnreachable as error:
                self.meters.broke_off(asked.endpoint)
                return await relay.failed(error)
            finally:
                answered.response.close()
        except PyWorkerError as error:
            self.meters.refused(status_of(error))
            return await relay.failed(error)
        finally:
            self.meters.in_flight -= 1

    async def _first_answer(self, request: web.Request, relay: Relay, way: Way) -> tuple[Asked, Answered]:
        """Read the request and get an answer for it; the body is let go of then."""
        endpoint, target = target_in(request.rel_url.raw_path, request.rel_url.raw_query_string)
        api_key = key_in(request.headers, request.query)
        self._router.require_key(api_key, endpoint)
        with self._intake.hold() as hold:
            body = await hold.read(request.content, request.content_length or 0)
            asked = Asked(endpoint, target, api_key, *claim_in(request.headers, body))
            pursuit = Pursuit(self._timeout_s)
            pursuing = self._pursue(pursuit, request, asked, body, way)
            if not asked.wants_events:
                return asked, await pursuing
            return asked, await _with_comments(pursuing, lambda: relay.comment(pursuit.reason))

    async def _pursue(
        self, pursuit: Pursuit, request: web.Request, asked: Asked, body: bytes | memoryview, way: Way
    ) -> Answered:
        find = partial(find_worker, ask=way.ask, endpoint=asked.endpoint, cost=asked.cost, api_key=asked.api_key)
        headers = _passed_on(request.raw_headers)
        send = partial(self._send, method=request.method, target=asked.target, headers=headers, body=body)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await first_answer(pursuit, find, send)
        except TimeoutError:
            raise pursuit.overdue() from None

    async def _send(
        self,
        routed: RouteAnswer,
        *,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | memoryview,
    ) -> aiohttp.ClientResponse | None:
        """The worker's answer; None when it does not accept connections. Raises WorkerUnreachable."""
        tls = await self._router.worker_tls() if routed.url.startswith("https:") else True
        url = yarl.URL(routed.url.rstrip("/") + target, encoded=True)
        proof = ("X-Auth-Data", dump_auth_header(routed.auth_data()))
        data = body if len(body) else None
        return await sent(self._http, method, url, routed, data=data, headers=[*headers, proof], ssl=tls)


def _passed_on(raw: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """The caller's headers that the worker gets."""
    kept = [header for header in request_headers(raw) if header[0].lower() not in _OURS]
    return [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in kept]


async def _with_comments(pursuing: Coroutine[Any, Any, _T], comment: Callable[[], Awaitable[None]]) -> _T:
    """Await this, and comment on each SILENCE_S that it takes."""
    task = asyncio.create_task(pursuing)
    try:
        while not (await asyncio.wait({task}, timeout=SILENCE_S))[0]:
            await comment()
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})
