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
from pyworker.wire import RouteAnswer, dump

__all__ = ["Client"]

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
        pursuit = Pursuit(self._timeout_s, self._on_obstacle)
        find = partial(find_worker, ask=self._engine.ask, endpoint=endpoint, cost=cost, api_key=self._api_key)
        send = partial(self._send, route=route, payload=payload)
        try:
            async with asyncio.timeout(self._timeout_s):
                answered = await first_answer(pursuit, find, send)
        except TimeoutError:
            raise pursuit.overdue() from None
        try:
            yield Answer(answered.response, answered.routed.url, answered.routed.request_idx)
        finally:
            answered.response.close()

    async def _send(self, routed: RouteAnswer, route: str, payload: Mapping[str, Any]) -> aiohttp.ClientResponse | None:
        """The worker's answer; None when it does not accept connections. Raises WorkerUnreachable."""
        envelope = dump({"auth_data": routed.auth_data(), "payload": payload, "session_id": None})
        tls = await self._engine.worker_tls() if routed.url.startswith("https:") else True
        url = routed.url.rstrip("/") + "/" + route.lstrip("/")
        return await sent(self._http, "POST", url, routed, data=envelope, headers=_JSON, ssl=tls)
