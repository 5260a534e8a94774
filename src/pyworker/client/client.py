"""The client of an endpoint; see ``Client``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final

import aiohttp

from pyworker.client.answer import Answer
from pyworker.client.attempts import find_worker, first_answer, sent
from pyworker.client.engine_calls import EngineCalls
from pyworker.client.pursuit import Pursuit
from pyworker.net import keep_alive_socket
from pyworker.wire import AuthData, RouteAnswer, dump, dump_auth_header

__all__ = ["Client"]

_Message = tuple[bytes, Mapping[str, str]]  # body and headers
_MakeMessage = Callable[[AuthData], _Message]

_JSON: Final = {"Content-Type": "application/json"}


class Client:
    """Calls endpoints through one engine; to be used with ``async with``.

    ``api_key`` is the account's or the endpoint's. ``timeout_s`` is the time from a call to its answer's head, waiting
    for a worker and all retries included. ``web_url`` is where the root certificate lies when not at the engine.
    ``on_obstacle`` is told what a call waits for, each time that it is tried in vain.
    """

    def __init__(
        self,
        engine_url: str,
        api_key: str,
        *,
        timeout_s: float = 600.0,
        web_url: str | None = None,
        on_obstacle: Callable[[str], None] | None = None,
    ) -> None:
        self._on_obstacle = on_obstacle
        self._engine_url = engine_url.rstrip("/")
        self._web_url = (web_url or engine_url).rstrip("/")
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Client:
        http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, socket_factory=keep_alive_socket
            ),  # a full pool would wait without a word
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._http = await self._open.enter_async_context(http)
        self._engine = EngineCalls(http, self._engine_url, self._web_url, self._api_key)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @asynccontextmanager
    async def call(
        self, endpoint: str, route: str, payload: Mapping[str, Any], *, cost: float = 100.0
    ) -> AsyncGenerator[Answer, None]:
        """Send a request to a worker of ``endpoint`` and give its answer, whatever its status.

        A worker that answers 408, 429 or 503, or does not accept connections, has not begun: then the engine is asked
        again. Raises EngineUnreachable, EngineRefused, WorkerUnreachable, or NoAnswerInTime after ``timeout_s``.
        """

        def envelope(auth_data: AuthData) -> _Message:
            return dump({"auth_data": auth_data, "payload": payload, "session_id": None}), _JSON

        async with self._answered(endpoint, route, envelope, cost) as answer:
            yield answer

    @asynccontextmanager
    async def call_with_body(
        self, endpoint: str, route: str, body: bytes, content_type: str, *, cost: float = 100.0
    ) -> AsyncGenerator[Answer, None]:
        """The same for a body that is no JSON, a form or an image, to a route that passes it through as it is."""

        def message(auth_data: AuthData) -> _Message:
            return body, {"Content-Type": content_type, "X-Auth-Data": dump_auth_header(auth_data)}

        async with self._answered(endpoint, route, message, cost) as answer:
            yield answer

    @asynccontextmanager
    async def _answered(
        self, endpoint: str, route: str, message: _MakeMessage, cost: float
    ) -> AsyncGenerator[Answer, None]:
        pursuit = Pursuit(self._timeout_s, self._on_obstacle)
        find = partial(find_worker, ask=self._engine.ask, endpoint=endpoint, cost=cost, api_key=self._api_key)
        send = partial(self._send, route=route, message=message)
        try:
            async with asyncio.timeout(self._timeout_s):
                answered = await first_answer(pursuit, find, send)
        except TimeoutError:
            raise pursuit.overdue() from None
        try:
            yield Answer(answered.response, answered.routed.url, answered.routed.request_idx)
        finally:
            answered.response.close()

    async def _send(self, routed: RouteAnswer, route: str, message: _MakeMessage) -> aiohttp.ClientResponse | None:
        """The worker's answer; None when it does not accept connections. Raises WorkerUnreachable."""
        body, headers = message(routed.auth_data())
        tls = await self._engine.worker_tls() if routed.url.startswith("https:") else True
        url = routed.url.rstrip("/") + "/" + route.lstrip("/")
        return await sent(self._http, "POST", url, routed, data=body, headers=headers, ssl=tls)
