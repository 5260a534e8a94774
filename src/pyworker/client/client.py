"""The client of an engine's endpoints; see ``Client``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Final

import aiohttp

from pyworker.client.answer import Answer
from pyworker.client.calling import Calling, begun
from pyworker.client.endpoint import DEFAULT_RETRY, Endpoint
from pyworker.client.engine_calls import EngineCalls
from pyworker.client.gathering import Gathering
from pyworker.client.hedging import Hedge
from pyworker.client.outgoing import Outgoing, as_it_is, enveloped
from pyworker.client.pursuit import Pursuit
from pyworker.client.retry import NEVER, Retry
from pyworker.errors import CallFailed
from pyworker.net import keep_alive_socket

__all__ = ["Client"]

CONNECT_S: Final = 10.0  # a worker that does not even accept by then is gone


class Client:
    """Calls endpoints through one engine; to be used with ``async with``.

    ``api_key`` is the account's or the endpoint's. ``timeout_s`` is the time for a call, waiting for a worker and all
    retries included, when the call says nothing else. ``web_url`` is where endpoints and the root certificate are when
    not at the engine. ``on_obstacle`` is told what a call waits for, each time that it is tried in vain.
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
        self._is_open = False

    async def __aenter__(self) -> Client:
        http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, socket_factory=keep_alive_socket
            ),  # a full pool would wait without a word
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        await self._open.enter_async_context(http)
        self._engine = EngineCalls(http, self._engine_url, self._web_url, self._api_key)
        gathering = await self._open.enter_async_context(Gathering(self._engine))
        self._calling = Calling(http, self._engine, gathering.ask, self._api_key)
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._open.aclose()

    async def endpoint(self, name: str, *, retry: Retry = DEFAULT_RETRY, hedge: Hedge | None = None) -> Endpoint:
        """An endpoint by its name. Raises EngineUnreachable; NotFound when the account has none of that name.

        An endpoint's own key cannot list them: then the first request tells.
        """
        self._require_open()
        await self._engine.require_endpoint(name)
        return Endpoint(name, self._calling, self._pursuit, retry=retry, hedge=hedge)

    @asynccontextmanager
    async def call(
        self, endpoint: str, route: str, payload: Mapping[str, Any], *, cost: float = 100.0
    ) -> AsyncGenerator[Answer, None]:
        """Send a request to a worker of ``endpoint`` and give its answer, whatever its status.

        A worker that answers 408, 429 or 503, or does not accept connections, has not begun: then the engine is asked
        again. Raises EngineUnreachable, EngineRefused, WorkerUnreachable, or NoAnswerInTime after ``timeout_s``.
        """
        async with self._answered(endpoint, enveloped(route, payload), cost) as answer:
            yield answer

    @asynccontextmanager
    async def call_with_body(
        self,
        endpoint: str,
        route: str,
        body: bytes | None,
        content_type: str,
        *,
        cost: float = 100.0,
        method: str = "POST",
    ) -> AsyncGenerator[Answer, None]:
        """The same for a body that is no JSON, a form or an image, to a route that passes it through as it is."""
        headers = {"Content-Type": content_type} if body is not None else {}
        async with self._answered(endpoint, as_it_is(method, route, body, headers), cost) as answer:
            yield answer

    @asynccontextmanager
    async def _answered(self, endpoint: str, out: Outgoing, cost: float) -> AsyncGenerator[Answer, None]:
        pursuit = self._pursuit(None)
        async with begun(pursuit, self._calling.first(pursuit, endpoint, cost, out, NEVER)) as answer:
            yield answer

    def _require_open(self) -> None:
        if not self._is_open:
            raise CallFailed("this client is not open: call it within its `async with`")

    def _pursuit(self, timeout_s: float | None) -> Pursuit:
        self._require_open()
        return Pursuit(self._timeout_s if timeout_s is None else timeout_s, self._on_obstacle)
